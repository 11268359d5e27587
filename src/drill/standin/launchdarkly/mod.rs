//! LaunchDarkly REST, API version 20240415, as its published OpenAPI file describes it.
//!
//! One project with its environments and boolean flags. `POST /_control/set` takes any of
//! `{"flag": {"environment"?, "flag"?, "on": bool}}` (toggled by somebody else),
//! `{"approval_required": bool | {"environment", "required", "tags"?: [..]}}`, `{"off_variation": index | null}`,
//! `{"dry_run_reports_approval": bool}` (whether a dry run answers 405 too is not documented),
//! `{"tags": {"flag", "tags": [..]}}`, `{"delete_flag": key}` and `{"approve": id}` (somebody reviews an approval request).

mod approval;
mod flag;
mod patch;
mod set;

use std::{io, path::PathBuf};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::{
    approval::Approval,
    flag::{Environment, Flag},
};
use super::{
    StandIn,
    message::{Reply, Request, Rights, Service, Tokens, changes},
};

/// The API version that `LD-API-Version` must name.
const VERSION: &str = "20240415";

/// How to start a LaunchDarkly.
#[derive(Debug, Clone)]
pub struct Config {
    /// The access tokens.
    pub tokens: Tokens,
    /// The project's key.
    pub project: String,
    /// The keys of its environments.
    pub environments: Vec<String>,
    /// The keys of its boolean flags, each off everywhere, with variations true and false, off serving false.
    pub flags: Vec<String>,
    /// A file to append every request to, as JSON lines.
    pub record_to: Option<PathBuf>,
}

impl Config {
    /// The project `default` with the environments `production` and `test`, and the flag `deployments_locked`.
    #[must_use]
    pub fn example(tokens: Tokens) -> Self {
        Self {
            tokens,
            project: "default".into(),
            environments: vec!["production".into(), "test".into()],
            flags: vec!["deployments_locked".into()],
            record_to: None,
        }
    }
}

/// Starts it. Errors are those of binding a port and of opening the record.
pub async fn start(config: Config) -> io::Result<StandIn> {
    let secrets = config.tokens.secrets();
    let record_to = config.record_to.clone();
    let service = LaunchDarkly::new(config, Timestamp::now());
    StandIn::start(Box::new(service), secrets, record_to, "").await
}

/// An answer, or the refusal that cut its making short.
type Outcome = Result<Reply, Reply>;

#[derive(Debug, Clone)]
struct LaunchDarkly {
    tokens: Tokens,
    project: String,
    environments: Vec<Environment>,
    flags: Vec<Flag>,
    approvals: Vec<Approval>,
    dry_run_reports_approval: bool,
    /// What was changed, in order: the audit log.
    changes: Vec<Value>,
}

impl LaunchDarkly {
    fn new(config: Config, now: Timestamp) -> Self {
        let flags = config.flags.into_iter();
        Self {
            tokens: config.tokens,
            project: config.project,
            flags: flags.map(|key| Flag::new(key, &config.environments, now)).collect(),
            environments: config.environments.into_iter().map(Environment::new).collect(),
            approvals: Vec::new(),
            dry_run_reports_approval: false,
            changes: Vec::new(),
        }
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Outcome {
        let rights = self.authenticate(request)?;
        if request.header("ld-api-version") != Some(VERSION) {
            let why = format!("LD-API-Version must be {VERSION}");
            return Err(invalid(&why));
        }
        if request.method != axum::http::Method::GET && rights == Rights::ReadOnly {
            return Err(forbidden());
        }
        let segments = request.segments();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["api", "v2", "caller-identity"]) => Ok(self.caller(rights)),
            ("GET", ["api", "v2", "flags", project, flag]) => {
                self.project(project)?;
                self.read(flag, request, rights)
            }
            ("PATCH", ["api", "v2", "flags", project, flag]) => {
                self.project(project)?;
                self.patch(flag, request, now)
            }
            ("GET", ["api", "v2", "projects", project, "environments", environment]) => {
                self.project(project)?;
                Ok(Reply::ok(self.environment(environment)?.json()))
            }
            (
                method,
                [
                    "api",
                    "v2",
                    "projects",
                    project,
                    "flags",
                    flag,
                    "environments",
                    environment,
                    "approval-requests",
                    rest @ ..,
                ],
            ) => {
                self.project(project)?;
                self.flag(flag)?;
                self.environment(environment)?;
                match (method, rest) {
                    ("POST", []) => self.ask(flag, environment, request, now),
                    ("GET", []) => Ok(self.asked(flag, environment)),
                    ("GET", [id]) => Ok(Reply::ok(self.approval(id)?.json())),
                    ("POST", [id, "apply"]) => self.apply(id, now),
                    _ => Err(not_found("no such resource")),
                }
            }
            _ => Err(not_found("no such resource")),
        }
    }

    /// The raw token, without any scheme.
    fn authenticate(&self, request: &Request) -> Result<Rights, Reply> {
        request.header("authorization").and_then(|token| self.tokens.rights(token)).ok_or_else(|| {
            let why = "Invalid or missing access token";
            fail(StatusCode::UNAUTHORIZED, "unauthorized", why)
        })
    }

    fn caller(&self, rights: Rights) -> Reply {
        let (name, role) = match rights {
            Rights::Full => ("relight", "writer"),
            Rights::ReadOnly => ("relight-read-only", "reader"),
        };
        Reply::ok(json!({
            "accountId": "5f0000000000000000000001", "authKind": "token", "tokenKind": "auth",
            "tokenName": name, "serviceToken": true, "scopes": [role], "projectName": self.project,
        }))
    }

    fn project(&self, key: &str) -> Result<(), Reply> {
        if key == self.project {
            return Ok(());
        }
        Err(not_found(&format!("Unknown project {key}")))
    }

    fn flag(&self, key: &str) -> Result<&Flag, Reply> {
        let found = self.flags.iter().find(|flag| flag.key == key);
        found.ok_or_else(|| not_found(&format!("Unknown flag key {key}")))
    }

    fn environment(&self, key: &str) -> Result<&Environment, Reply> {
        let found = self.environments.iter().find(|it| it.key == key);
        found.ok_or_else(|| not_found(&format!("Unknown environment key {key}")))
    }

    /// `GET /api/v2/flags/{project}/{flag}`, with all environments or those that `env` names.
    fn read(&self, key: &str, request: &Request, rights: Rights) -> Outcome {
        let flag = self.flag(key)?;
        let wanted = request.params("env");
        for environment in &wanted {
            self.environment(environment)?;
        }
        Ok(Reply::ok(flag.json(&wanted, rights)))
    }
}

impl Service for LaunchDarkly {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.route(request, now).unwrap_or_else(|refusal| refusal)
    }

    fn failure(&self, status: u16, _request: &Request, now: Timestamp) -> Reply {
        let code = match status {
            400 => "invalid_request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not_found",
            405 => "method_not_allowed",
            409 => "optimistic_locking_error",
            429 => "rate_limited",
            _ => "internal_service_error",
        };
        let message = match status {
            409 => "Conflict. Optimistic lock error. Try again later.",
            429 => "You have exceeded the rate limit.",
            _ => "The request failed.",
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = fail(status, code, message);
        if status != StatusCode::TOO_MANY_REQUESTS {
            return reply;
        }
        // The reset is a moment, in milliseconds of the epoch, at the end of a window of ten seconds.
        reply
            .with_header("x-ratelimit-global-remaining", 0)
            .with_header("x-ratelimit-route-remaining", 0)
            .with_header("x-ratelimit-reset", now.as_millisecond() + 10_000)
    }

    fn state(&self) -> Value {
        json!({
            "project": self.project,
            "flags": self.flags.iter().map(|it| it.json(&[], Rights::Full)).collect::<Vec<_>>(),
            "environments": self.environments.iter().map(Environment::json).collect::<Vec<_>>(),
            "approval_requests": self.approvals.iter().map(Approval::json).collect::<Vec<_>>(),
            "changes": self.changes,
        })
    }

    fn set(&mut self, change: &Value, now: Timestamp) -> Result<(), String> {
        let mut next = self.clone();
        for (key, value) in changes(change)? {
            next.change(key, value, now)?;
        }
        *self = next;
        Ok(())
    }
}

/// LaunchDarkly's error: `{code, message}`.
fn fail(status: StatusCode, code: &str, message: &str) -> Reply {
    Reply::json(status, json!({"code": code, "message": message}))
}

fn invalid(message: &str) -> Reply {
    fail(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn forbidden() -> Reply {
    let why = "Access to the requested resource was denied";
    fail(StatusCode::FORBIDDEN, "forbidden", why)
}

fn not_found(message: &str) -> Reply {
    fail(StatusCode::NOT_FOUND, "not_found", message)
}
