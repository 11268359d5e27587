//! Grafana's HTTP API as far as a reader of one dashboard needs it: health, search, the dashboard, its queries.
//!
//! The folder "Platform" holds the dashboard "Database" in the classic schema. Its look-alikes exist too: a folder
//! "Platform (retired)" and a dashboard "Database" elsewhere, since a search matches parts of titles. Panel "Replication
//! lag" names its data source in the target; panel "Error rate" sits in a collapsed row and leaves it to the panel, by a
//! variable. Both expressions hold the variable `cluster`, which a browser would substitute; left as it is, a query finds
//! nothing.
//!
//! `POST /_control/set` takes any of `{"database_up": bool}` (Grafana's own), `{"visible": bool}` (false: the token sees no
//! dashboard, which a search shows as an empty list), `{"datasource_denied": bool}`, `{"datasource_up": bool}`,
//! `{"multi_status": bool}` (207 instead of 400 for a partial failure) and
//! `{"failing": ["replication_lag" | "error_rate", ..]}` (queries for these fail).

mod dashboard;
mod query;

use std::{fmt, io, path::PathBuf, sync::Arc};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    StandIn,
    message::{Reply, Request, Rights, Service, Tokens, change_bool, change_list, changes},
};

/// What the panels measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// How far the replica is behind, in seconds.
    ReplicationLag,
    /// Requests that fail, in percent.
    ErrorRate,
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Self::ReplicationLag => "replication_lag",
            Self::ErrorRate => "error_rate",
        }
    }
}

/// Where the numbers come from.
pub trait Metrics: Send + Sync {
    /// Samples between two moments (milliseconds of the epoch, both inclusive), about `step_ms` apart, oldest first. A
    /// sample's value may be missing, NaN or infinite; `None` means that there is no such series. It is called while the
    /// stand-in's state is locked, so it must answer from memory.
    fn series(&self, metric: Metric, from_ms: i64, to_ms: i64, step_ms: i64) -> Option<Vec<(i64, Option<f64>)>>;
}

/// How to start a Grafana.
#[derive(Clone)]
pub struct Config {
    /// The service accounts' tokens; the read-only one may look at dashboards but lacks `datasources:query`.
    pub tokens: Tokens,
    /// The numbers behind the panels.
    pub metrics: Arc<dyn Metrics>,
    /// The organisation's id, which `X-Grafana-Org-Id` must name if it is sent.
    pub org_id: u64,
    /// The value of the variable `cluster` under which there are series.
    pub cluster: String,
    /// A file to append every request to, as JSON lines.
    pub record_to: Option<PathBuf>,
}

impl Config {
    /// Organisation 1 and the cluster `primary`.
    #[must_use]
    pub fn example(tokens: Tokens, metrics: Arc<dyn Metrics>) -> Self {
        Self { tokens, metrics, org_id: 1, cluster: "primary".into(), record_to: None }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("org_id", &self.org_id)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Starts it. Errors are those of binding a port and of opening the record.
pub async fn start(config: Config) -> io::Result<StandIn> {
    let secrets = config.tokens.secrets();
    let record_to = config.record_to.clone();
    let service = Grafana::new(config);
    StandIn::start(Box::new(service), secrets, record_to, "").await
}

/// An answer, or the refusal that cut its making short.
type Outcome = Result<Reply, Reply>;

#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own that a test turns; no two exclude each other"
)]
struct Grafana {
    tokens: Tokens,
    metrics: Arc<dyn Metrics>,
    org_id: u64,
    cluster: String,
    database_up: bool,
    visible: bool,
    datasource_denied: bool,
    datasource_up: bool,
    multi_status: bool,
    failing: Vec<String>,
    /// The expressions that were asked for, with the number of values that each found.
    queried: Vec<Value>,
}

impl Grafana {
    fn new(config: Config) -> Self {
        Self {
            tokens: config.tokens,
            metrics: config.metrics,
            org_id: config.org_id,
            cluster: config.cluster,
            database_up: true,
            visible: true,
            datasource_denied: false,
            datasource_up: true,
            multi_status: false,
            failing: Vec::new(),
            queried: Vec::new(),
        }
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Outcome {
        let segments = request.segments();
        if (request.method.as_str(), segments.as_slice()) == ("GET", &["api", "health"]) {
            return Ok(self.health());
        }
        let rights = self.authenticate(request)?;
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "search"]) => self.search(request),
            ("GET", ["api", "dashboards", "uid", uid]) => self.dashboard(uid),
            ("GET", ["api", "frontend", "settings"]) => Ok(Self::settings(request)),
            ("GET", ["api", "datasources", "uid", uid, "health"]) => {
                self.datasource(uid)?;
                if self.datasource_up {
                    let body = json!({"status": "OK", "message": "Successfully queried the API."});
                    return Ok(Reply::ok(body));
                }
                let body = json!({"status": "ERROR", "message": "connection refused"});
                Err(Reply::json(StatusCode::BAD_REQUEST, body))
            }
            ("POST", ["api", "ds", "query"]) => {
                if rights == Rights::ReadOnly {
                    return Err(denied("datasources:query"));
                }
                self.query(request, now)
            }
            _ => Err(fail(StatusCode::NOT_FOUND, "Not found")),
        }
    }

    fn health(&self) -> Reply {
        let (status, database) =
            if self.database_up { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "failing") };
        let body = json!({"commit": "b58701869e", "database": database, "version": "11.4.0"});
        Reply::json(status, body)
    }

    fn authenticate(&self, request: &Request) -> Result<Rights, Reply> {
        let rights = request
            .header("authorization")
            .and_then(|header| header.strip_prefix("Bearer "))
            .and_then(|token| self.tokens.rights(token))
            .ok_or_else(|| fail(StatusCode::UNAUTHORIZED, "Invalid API key"))?;
        match request.header("x-grafana-org-id") {
            Some(id) if id != self.org_id.to_string() => {
                Err(fail(StatusCode::FORBIDDEN, "No access to this organization"))
            }
            _ => Ok(rights),
        }
    }

    /// What the front end starts with: the public address and the default data source.
    fn settings(request: &Request) -> Reply {
        let host = request.header("host").unwrap_or("127.0.0.1");
        Reply::ok(json!({
            "appUrl": format!("http://{host}/"), "appSubUrl": "",
            "defaultDatasource": "Prometheus",
            "datasources": {"Prometheus": {
                "uid": dashboard::DATASOURCE, "type": "prometheus", "name": "Prometheus",
                "isDefault": true,
            }},
        }))
    }

    fn datasource(&self, uid: &str) -> Result<(), Reply> {
        if uid != dashboard::DATASOURCE {
            return Err(fail(StatusCode::NOT_FOUND, "Data source not found"));
        }
        if self.datasource_denied {
            return Err(fail(StatusCode::FORBIDDEN, "Access denied to data source"));
        }
        Ok(())
    }

    fn change(&mut self, key: &str, change: &Value) -> Result<(), String> {
        let flag = match key {
            "failing" => {
                let names = change_list(change, key)?;
                let known = [Metric::ReplicationLag, Metric::ErrorRate].map(Metric::name);
                if let Some(other) = names.iter().find(|name| !known.contains(&name.as_str())) {
                    return Err(format!("no metric `{other}`"));
                }
                self.failing = names;
                return Ok(());
            }
            "database_up" => &mut self.database_up,
            "visible" => &mut self.visible,
            "datasource_denied" => &mut self.datasource_denied,
            "datasource_up" => &mut self.datasource_up,
            "multi_status" => &mut self.multi_status,
            _ => return Err(format!("nothing here is called `{key}`")),
        };
        *flag = change_bool(change, key)?;
        Ok(())
    }
}

impl Service for Grafana {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.route(request, now).unwrap_or_else(|refusal| refusal)
    }

    fn failure(&self, status: u16, _request: &Request, _now: Timestamp) -> Reply {
        let message = match status {
            401 => "Unauthorized",
            403 => "Access denied to data source",
            404 => "Not found",
            429 => "Too many requests",
            500 => "Query data error",
            _ => "Service unavailable",
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = fail(status, message);
        if status == StatusCode::TOO_MANY_REQUESTS {
            return reply.with_header("retry-after", 5);
        }
        reply
    }

    fn state(&self) -> Value {
        json!({
            "database_up": self.database_up, "visible": self.visible,
            "datasource_denied": self.datasource_denied, "failing": self.failing,
            "queried": self.queried,
        })
    }

    fn set(&mut self, change: &Value, _now: Timestamp) -> Result<(), String> {
        let mut next = self.clone();
        for (key, value) in changes(change)? {
            next.change(key, value)?;
        }
        *self = next;
        Ok(())
    }
}

/// Grafana's error: `{message}` and, newer, the status again.
fn fail(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, json!({"message": message, "statusCode": status.as_u16(), "traceID": ""}))
}

/// 403: the service account's role lacks a permission.
fn denied(permission: &str) -> Reply {
    let message = "You'll need additional permissions to perform this action. Permissions needed: ";
    Reply::json(
        StatusCode::FORBIDDEN,
        json!({
            "title": "Access denied", "message": format!("{message}{permission}"),
            "accessErrorId": "ACE0000000001",
        }),
    )
}
