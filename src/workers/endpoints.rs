//! The service's own endpoints: what they say about its health.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::config::{self, Config};
use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::TargetRef;

use super::http::{base_url, causes, excerpt, only_reads, plain, reading, secret};
use super::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

/// What is read of a body; a health answer is far shorter.
const LONGEST_BODY: usize = 64 << 10;
/// What is shown of it.
const SHOWN: usize = 160;

/// Asks the configured endpoints for their health: every path must answer 2xx.
#[derive(Debug, Clone)]
pub struct CheckEndpoints {
    /// The service: `http.NAME`.
    pub service: TargetRef,
}

/// Shows what the endpoints say now. The service may well be failing; it must be reachable.
#[derive(Debug, Clone)]
pub struct CheckHttp {
    /// The service: `http.NAME`.
    pub target: TargetRef,
}

/// What one path answered.
struct Seen {
    path: String,
    /// The status, or why there was none.
    status: Result<StatusCode, String>,
    took: Duration,
    /// The body's first bytes, where it is JSON with a `status`.
    body: Option<String>,
}

impl Seen {
    fn good(&self) -> bool {
        self.status.as_ref().is_ok_and(StatusCode::is_success)
    }

    fn line(&self) -> String {
        let body = self.body.as_ref().map(|body| format!(": {body}")).unwrap_or_default();
        match &self.status {
            Ok(status) => format!("{} answered {status} in {} ms{body}", self.path, self.took.as_millis()),
            Err(why) => format!("{} did not answer: {why}", self.path),
        }
    }
}

/// A service's endpoints, ready to be asked.
struct Endpoints<'a> {
    name: String,
    target: &'a config::Http,
    base: Url,
}

impl<'a> Endpoints<'a> {
    fn of(config: &'a Config, service: &TargetRef) -> Result<Self, WorkerError> {
        let target = match service {
            TargetRef::Http(name) => config.http.get(name),
            _ => None,
        };
        let target = target.ok_or_else(|| {
            let cause = format!("The config has no [{service}].");
            WorkerError::new("read the config", service.to_string(), cause, "Add it to the config.")
        })?;
        Ok(Self { name: service.to_string(), target, base: base_url(&service.to_string(), &target.base_url)? })
    }

    fn identity(&self) -> TargetIdentity {
        TargetIdentity {
            name: format!("{} ({})", self.name, self.target.base_url),
            proofs: BTreeMap::from([("address".to_owned(), self.target.base_url.clone())]),
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}/{}", self.base.as_str().trim_end_matches('/'), path.trim_start_matches('/'))
    }

    fn plan(&self, cx: &Context, must: &str) -> Plan {
        let mut plan = Plan::new(cx.step.clone(), self.identity());
        plan.effects = self.target.paths.iter().map(|path| format!("GET {}; {must}", self.address(path))).collect();
        let header = self.target.header.as_ref().map(|header| format!(" -H \"{}: $SECRET\"", header.name));
        let header = header.unwrap_or_default();
        plan.commands =
            self.target.paths.iter().map(|path| format!("curl -i '{}'{header}", self.address(path))).collect();
        if self.target.paths.is_empty() {
            plan.findings.push(Finding::blocking(format!("[{}] in the config names no paths", self.name)));
        }
        plan
    }

    /// Asks every path, also after one that failed.
    async fn ask(&self, cx: &Context, io: &Io) -> Result<Vec<Seen>, WorkerError> {
        let header = self.header().await?;
        let (client, limit) = plain(&self.base, &cx.config).map_err(|why| {
            WorkerError::new("make an HTTP client", self.name.clone(), why, "Check the certificates of this host.")
        })?;
        let mut all = Vec::new();
        for path in &self.target.paths {
            let mut request = client.get(self.address(path)).timeout(limit);
            if let Some((name, value)) = &header {
                request = request.header(name, value);
            }
            let began = Instant::now();
            let mut seen = Seen { path: path.clone(), status: Err(String::new()), took: Duration::ZERO, body: None };
            match request.send().await {
                Ok(mut response) => {
                    seen.status = Ok(response.status());
                    match beginning(&mut response).await {
                        Ok(body) => seen.body = health(&body),
                        Err(error) => seen.status = Err(format!("its answer broke off ({})", causes(error))),
                    }
                }
                Err(error) if error.is_timeout() && !error.is_connect() => {
                    seen.status = Err(format!("nothing within {} s", limit.as_secs_f64()));
                }
                Err(error) => seen.status = Err(causes(error)),
            }
            seen.took = began.elapsed();
            io.line(seen.line());
            all.push(seen);
        }
        Ok(all)
    }

    async fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, WorkerError> {
        let Some(header) = &self.target.header else {
            return Ok(None);
        };
        let value = match &header.value {
            config::Value::Plain(text) => SecretString::from(text.clone()),
            config::Value::Secret(source) => secret(&self.name, source).await?,
        };
        let name = HeaderName::try_from(header.name.as_str());
        let value = HeaderValue::try_from(value.expose_secret());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(WorkerError::new(
                "read the config",
                self.name.clone(),
                format!(
                    "The header {} of [{}] cannot be sent: its name or value is no HTTP header.",
                    header.name, self.name
                ),
                "Mend it in the config.",
            ));
        };
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

async fn beginning(response: &mut reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while body.len() < LONGEST_BODY {
        let Some(chunk) = response.chunk().await? else { break };
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The beginning of a JSON body that has a `status`; anything else may hold what is nobody's business.
fn health(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("status")?;
    Some(excerpt(&value.to_string(), SHOWN))
}

#[async_trait]
impl Worker for CheckEndpoints {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(Endpoints::of(&cx.config, &self.service)?.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        Ok(Endpoints::of(&cx.config, &self.service)?.plan(cx, "it must answer 2xx"))
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let endpoints = Endpoints::of(&cx.config, &self.service)?;
        reading(io, async {
            let (good, bad): (Vec<Seen>, Vec<Seen>) = endpoints.ask(cx, io).await?.into_iter().partition(Seen::good);
            if bad.is_empty() && !good.is_empty() {
                let evidence = good.iter().map(Seen::line).collect();
                return Ok(Ran::Done(Done { evidence, facts: Vec::new() }));
            }
            let said: Vec<_> = bad.iter().map(Seen::line).collect();
            let cause = if said.is_empty() { "No path is configured".to_owned() } else { said.join(". ") };
            Err(WorkerError::new(
                "validate the endpoints",
                endpoints.identity().name,
                format!("{cause}."),
                "Look at the service's own log; retry (r) when it has settled.",
            )
            .with(Disposition::Retry))
        })
        .await
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(only_reads())
    }
}

#[async_trait]
impl Worker for CheckHttp {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(Endpoints::of(&cx.config, &self.target)?.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        Ok(Endpoints::of(&cx.config, &self.target)?.plan(cx, "shown whatever it answers, to compare with afterwards"))
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let endpoints = Endpoints::of(&cx.config, &self.target)?;
        reading(io, async {
            let seen = endpoints.ask(cx, io).await?;
            let evidence: Vec<String> = seen.iter().map(Seen::line).collect();
            if seen.iter().any(|seen| seen.status.is_ok()) {
                return Ok(Ran::Done(Done { evidence, facts: Vec::new() }));
            }
            let cause = if evidence.is_empty() { "No path is configured".to_owned() } else { evidence.join(". ") };
            Err(WorkerError::new(
                "reach the endpoints",
                endpoints.identity().name,
                format!("{cause}."),
                "Check the address in the config and the network of this host: without it nothing can be validated.",
            )
            .with(Disposition::Retry))
        })
        .await
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(only_reads())
    }
}
