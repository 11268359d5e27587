//! How a sandbox is kept, steered and ended: the control socket with its idle clock, and `/_control/…` over HTTP.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::error::SandboxError;
use super::kubernetes::Cluster;
use super::meters::Meters;

/// Why a sandbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `POST /_control/stop`.
    Asked,
    /// A signal.
    Signal,
    /// Nobody was connected for as long as the options allow.
    Idle,
}

/// The idle clock: it runs while nobody holds a connection to the socket, and starts anew whenever somebody lets go of one.
pub(crate) fn watch_clients(socket: &Path, idle: Duration, end: mpsc::Sender<End>) -> Result<(), SandboxError> {
    let listener = UnixListener::bind(socket).map_err(SandboxError::io("listen on", socket))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))
        .map_err(SandboxError::io("protect", socket))?;
    let (clients, mut count) = watch::channel(0_usize);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            clients.send_modify(|count| *count += 1);
            let clients = clients.clone();
            tokio::spawn(async move {
                wait_for_hang_up(stream).await;
                clients.send_modify(|count| *count -= 1);
            });
        }
    });
    tokio::spawn(async move {
        idle_clock(&mut count, idle).await;
        let _ = end.send(End::Idle).await;
    });
    Ok(())
}

/// Returns when nobody was there for `idle` in one piece.
async fn idle_clock(clients: &mut watch::Receiver<usize>, idle: Duration) {
    loop {
        if *clients.borrow_and_update() > 0 {
            // The sender lives in the task that accepts clients; without it there is nobody to wait for.
            if clients.changed().await.is_err() {
                return;
            }
        } else if !matches!(tokio::time::timeout(idle, clients.changed()).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What a client says means nothing; that it is there does.
async fn wait_for_hang_up(mut stream: UnixStream) {
    let mut ignored = [0; 64];
    while matches!(stream.read(&mut ignored).await, Ok(read) if read > 0) {}
}

/// A client's hold on a sandbox: while it lives, the idle clock stands still.
#[derive(Debug)]
pub struct Hold {
    _stream: UnixStream,
}

impl Hold {
    /// Connects to the control socket that `ready.json` names.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn take(socket: &Path) -> Result<Self, SandboxError> {
        let stream = UnixStream::connect(socket).await.map_err(SandboxError::io("connect to", socket))?;
        Ok(Self { _stream: stream })
    }
}

#[derive(Clone)]
struct Controls {
    cluster: Cluster,
    meters: Meters,
    end: mpsc::Sender<End>,
}

/// Serves `/_control/…` on a free port of 127.0.0.1 and returns the base address.
///
/// - `POST /_control/stop` ends the sandbox;
/// - `POST /_control/kubernetes/scale` `{"deployment", "replicas"}`: somebody else scales;
/// - `POST /_control/kubernetes/hang` `{"deployment", "hang"}`: its pods do not end when told to, or do again;
/// - `GET /_control/meters`: writes counted so far.
pub(crate) async fn serve(cluster: Cluster, meters: Meters, end: mpsc::Sender<End>) -> Result<String, SandboxError> {
    let address = PathBuf::from("127.0.0.1:0");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(SandboxError::io("bind", &address))?;
    let port = listener.local_addr().map_err(SandboxError::io("bind", &address))?.port();
    let router = Router::new()
        .route("/_control/stop", post(stop))
        .route("/_control/kubernetes/scale", post(scale))
        .route("/_control/kubernetes/hang", post(hang))
        .route("/_control/meters", get(totals))
        .with_state(Controls { cluster, meters, end });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the control routes ended");
        }
    });
    Ok(format!("http://127.0.0.1:{port}"))
}

async fn stop(State(controls): State<Controls>) -> StatusCode {
    let _ = controls.end.send(End::Asked).await;
    StatusCode::ACCEPTED
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleTo {
    deployment: String,
    replicas: i32,
}

async fn scale(State(controls): State<Controls>, Json(to): Json<ScaleTo>) -> StatusCode {
    if to.replicas < 0 {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    if controls.cluster.scale(&to.deployment, to.replicas) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hang {
    deployment: String,
    hang: bool,
}

async fn hang(State(controls): State<Controls>, Json(to): Json<Hang>) -> StatusCode {
    controls.cluster.hang(&to.deployment, to.hang);
    StatusCode::OK
}

async fn totals(State(controls): State<Controls>) -> Json<Value> {
    let (good, bad) = controls.meters.totals();
    Json(json!({ "good": good, "bad": bad }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_idle_clock_stands_still_while_somebody_is_there() {
        use futures_util::FutureExt as _;
        let (clients, mut count) = watch::channel(1);
        let mut clock = std::pin::pin!(idle_clock(&mut count, Duration::ZERO));
        assert!(clock.as_mut().now_or_never().is_none());
        clients.send_replace(2);
        assert!(clock.as_mut().now_or_never().is_none());
        clients.send_replace(0);
        clock.await;
    }
}
