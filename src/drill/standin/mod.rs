//! Strict HTTP stand-ins for the paid services that a drill cannot run: PagerDuty, LaunchDarkly, Slack and Grafana.
//!
//! Each holds to its vendor's documented contract: wrong or missing headers, tokens, rights, ids and bodies are refused in
//! the vendor's own shape, and what was accepted is kept, so that effects can be asserted. A stand-in that accepts
//! anything proves nothing.
//!
//! ```text
//!  client ──▶ serve (read, fault?, record) ──▶ Service::answer(&mut self, &Request, now) ──▶ Reply
//!  test   ──▶ control (/_control/…)        ──▶ Service::{state, set}, Faults, Recorder
//! ```
//!
//! A service is a synchronous state machine behind one mutex; only `serve` and `control` know of the network. The control
//! routes, which need no token:
//!
//! | route | effect |
//! |---|---|
//! | `GET /_control/state` | the service's state as JSON |
//! | `POST /_control/set` | a change made by somebody else; each service documents its own; all or nothing |
//! | `POST /_control/faults` | queues one [`Fault`] or a list of them; `GET` lists, `DELETE` drops those that wait |
//! | `POST /_control/release` | lets held requests go |
//! | `GET /_control/held?count=N` | answers when N requests are held |
//! | `GET /_control/arrived?method=M&path_prefix=P&count=N` | answers when N such requests were answered |
//! | `GET /_control/requests` | the [`Recorded`] requests still in memory |

mod control;
mod faults;
pub mod grafana;
pub mod launchdarkly;
mod message;
pub mod pagerduty;
mod recorder;
mod serve;
pub mod slack;

use std::{fmt, io, net::Ipv4Addr, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

pub use self::{
    faults::{Fault, FaultKind},
    message::Tokens,
    recorder::Recorded,
};
use self::{
    message::Service,
    recorder::Recorder,
    serve::{CuttableListener, Line, Shared},
};

/// A running stand-in. Dropping it stops it: no new connection is taken, idle ones end, held requests are cut.
pub struct StandIn {
    /// `http://127.0.0.1:PORT`, under which also `/_control` lies.
    pub url: String,
    /// What goes into the service's `base_url` (or `url`) of a configuration; for Slack this ends in `/api`.
    pub base_url: String,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Binds a free port of the loopback and serves until dropped. Needs a tokio runtime.
    async fn start(
        service: Box<dyn Service>,
        secrets: Vec<String>,
        record_to: Option<PathBuf>,
        base_path: &str,
    ) -> io::Result<Self> {
        let recorder = Recorder::open(record_to.as_deref(), secrets)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(service, recorder));
        let router = control::routes()
            .fallback(serve::answer)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Line>();
        let until = Arc::clone(&shared);
        let serving = axum::serve(CuttableListener(listener), router)
            .with_graceful_shutdown(async move { until.stopped().await });
        let server = tokio::spawn(async move {
            // axum's server has no way to fail once it is bound.
            let _ = serving.await;
        });
        Ok(Self { base_url: format!("{url}{base_path}"), url, shared, server: Some(server) })
    }

    /// The service's state, as `GET /_control/state` gives it.
    #[must_use]
    pub fn state(&self) -> Value {
        self.shared.service().state()
    }

    /// Changes something as other people would; an error says what was not understood.
    pub fn set(&self, change: &Value) -> Result<(), String> {
        self.shared.service().set(change, Timestamp::now())
    }

    /// Queues a fault. An error says what is wrong with it.
    pub fn fault(&self, fault: Fault) -> Result<(), String> {
        fault.check()?;
        self.shared.faults.push(fault);
        Ok(())
    }

    /// Lets go of every request that is held now.
    pub fn release(&self) {
        self.shared.faults.release();
    }

    /// Returns once at least that many requests are held.
    pub async fn held(&self, count: usize) {
        self.shared.faults.held(count).await;
    }

    /// The requests still in memory, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.recorder.requests()
    }

    /// Returns once at least `count` requests of that method (any if `None`) under that path were answered.
    pub async fn arrived(&self, method: Option<&str>, path_prefix: Option<&str>, count: usize) {
        let recorder = &self.shared.recorder;
        recorder.arrived(method, path_prefix, count).await;
    }

    /// Stops it and returns when its connections have ended.
    pub async fn stop(mut self) {
        self.shared.stop.send_replace(true);
        if let Some(server) = self.server.take() {
            // A panic of the server's task has nothing left to tell here.
            let _ = server.await;
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StandIn").field("url", &self.url).finish_non_exhaustive()
    }
}
