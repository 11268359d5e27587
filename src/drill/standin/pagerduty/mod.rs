//! PagerDuty REST v2, as its published schema and documentation describe it.
//!
//! `POST /_control/set` takes any of `{"abilities": [..]}`, `{"incident_types_available": bool}` (false: the plan lacks them),
//! `{"unknown_incident_type": "refuse" | "base"}` (what a create does with a type name it does not know is not documented),
//! `{"service_status": {"id", "status"}}`, `{"incident_type_enabled": {"name", "enabled"}}`,
//! `{"on_call": {"policy", "user": id | null}}`, `{"remove_user": email}`, `{"incident_status": {"id", "status"}}`
//! and `{"open_incident": OpenIncident}`.

mod account;
mod activity;
mod create;
mod incident;
mod list;
mod set;

use std::{io, path::PathBuf};

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::account::{Account, IncidentType, MonitoredService, OpenIncident, Policy, Priority, User};
use self::incident::Incident;
use super::{
    StandIn,
    message::{Reply, Request, Rights, Service, Tokens, changes},
};

/// The only media type of an answer that version 2 knows.
const ACCEPT: &str = "application/vnd.pagerduty+json;version=2";

/// How to start a PagerDuty.
#[derive(Debug, Clone)]
pub struct Config {
    /// The API keys.
    pub tokens: Tokens,
    /// The account's people, services and open incidents.
    pub account: Account,
    /// A file to append every request to, as JSON lines.
    pub record_to: Option<PathBuf>,
}

/// Starts it. Errors are those of binding a port and of opening the record.
pub async fn start(config: Config) -> io::Result<StandIn> {
    let secrets = config.tokens.secrets();
    let service = PagerDuty::new(config.tokens, config.account);
    StandIn::start(Box::new(service), secrets, config.record_to, "").await
}

/// An answer, or the refusal that cut its making short.
type Outcome = Result<Reply, Reply>;

#[derive(Debug, Clone)]
struct PagerDuty {
    tokens: Tokens,
    account: Account,
    incident_types_available: bool,
    refuse_unknown_type: bool,
    incidents: Vec<Incident>,
    /// Numbers everything that gets an id here.
    made: u64,
}

impl PagerDuty {
    fn new(tokens: Tokens, mut account: Account) -> Self {
        let open = std::mem::take(&mut account.open_incidents);
        let mut this = Self {
            tokens,
            account,
            incident_types_available: true,
            refuse_unknown_type: true,
            incidents: Vec::new(),
            made: 0,
        };
        for incident in open {
            this.open(incident);
        }
        this
    }

    /// A fresh id in PagerDuty's alphabet. Multiplying by a number prime to 36 scatters them without repeating one.
    fn id(&mut self, prefix: char) -> String {
        self.made += 1;
        let mut rest = (u128::from(self.made) * 2_862_933_555_777_941_757) % 36_u128.pow(12);
        let mut id = String::from(prefix);
        for _ in 0..12 {
            let digit = u32::try_from(rest % 36).unwrap_or_default();
            id.push(char::from_digit(digit, 36).unwrap_or('0').to_ascii_uppercase());
            rest /= 36;
        }
        id
    }

    fn route(&mut self, request: &Request, now: Timestamp) -> Outcome {
        let rights = self.authenticate(request)?;
        let accept = request.header("accept").unwrap_or_default();
        if !accept.replace(' ', "").eq_ignore_ascii_case(ACCEPT) {
            return Err(invalid(&[&format!("Accept must be {ACCEPT}")]));
        }
        if !request.media_type().is_some_and(|media| media.is_json()) {
            return Err(invalid(&["Content-Type must be application/json"]));
        }
        let segments = request.segments();
        if request.method != Method::GET && rights == Rights::ReadOnly {
            return Err(fail(StatusCode::FORBIDDEN, 2010, "Access Denied", &[]));
        }
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["abilities"]) => Ok(Reply::ok(json!({"abilities": self.account.abilities}))),
            ("GET", ["priorities"]) => {
                let all = self.account.priorities.iter().map(Priority::json).collect();
                list::page(request, "priorities", all)
            }
            ("GET", ["users"]) => self.users(request),
            ("GET", ["users", "me"]) => Err(invalid(&["The 'me' user is only available with a user-level API token"])),
            ("GET", ["users", id]) => {
                let user = self.account.user(id).ok_or_else(not_found)?;
                Ok(Reply::ok(json!({"user": user.json()})))
            }
            ("GET", ["services", id]) => self.service(id),
            ("GET", ["escalation_policies", id]) => {
                let policy = self.account.policy(id).ok_or_else(not_found)?;
                Ok(Reply::ok(json!({"escalation_policy": {
                    "id": policy.id, "type": "escalation_policy", "summary": policy.name,
                    "name": policy.name,
                }})))
            }
            ("GET", ["incidents", "types"]) => self.incident_types(request),
            ("GET", ["incidents", "types", wanted]) => self.incident_type(wanted),
            ("GET", ["incidents"]) => self.list(request, now),
            ("POST", ["incidents"]) => self.create(request, now),
            ("GET", ["incidents", id]) => self.read(id, request),
            ("PUT", ["incidents", id]) => self.update(id, request, now),
            ("GET", ["incidents", id, "notes"]) => self.notes(id),
            ("POST", ["incidents", id, "notes"]) => self.add_note(id, request, now),
            ("POST", ["incidents", id, "status_updates"]) => self.add_status_update(id, request, now),
            ("POST", ["incidents", id, "responder_requests"]) => self.request_responders(id, request, now),
            ("GET", ["incidents", id, "log_entries"]) => self.log_entries(id, request),
            _ => Err(not_found()),
        }
    }

    /// The exact format decides: `Token token=KEY`.
    fn authenticate(&self, request: &Request) -> Result<Rights, Reply> {
        request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Token token="))
            .and_then(|token| self.tokens.rights(token))
            .ok_or_else(|| fail(StatusCode::UNAUTHORIZED, 2006, "Authentication failed", &[]))
    }

    /// The user whom `From` names, whom every call that speaks for a person must name.
    fn from(&self, request: &Request) -> Result<String, Reply> {
        let Some(email) = request.header("from") else {
            return Err(fail(StatusCode::BAD_REQUEST, 2003, "Missing Arguments", &["From header is required"]));
        };
        self.account
            .users
            .iter()
            .find(|user| user.email.eq_ignore_ascii_case(email))
            .map(|user| user.id.clone())
            .ok_or_else(requester_not_found)
    }

    fn users(&self, request: &Request) -> Outcome {
        let query = request.param("query").unwrap_or_default().to_lowercase();
        let found = self
            .account
            .users
            .iter()
            .filter(|user| user.name.to_lowercase().contains(&query) || user.email.to_lowercase().contains(&query));
        list::page(request, "users", found.map(User::json).collect())
    }

    fn service(&self, id: &str) -> Outcome {
        let service = self.account.service(id).ok_or_else(not_found)?;
        Ok(Reply::ok(json!({"service": {
            "id": service.id, "type": "service", "summary": service.name, "name": service.name,
            "status": service.status,
            "escalation_policy": self.account.policy_reference(&service.policy),
        }})))
    }

    fn types_in_plan(&self) -> Result<(), Reply> {
        if self.incident_types_available {
            return Ok(());
        }
        Err(missing_ability("incident_types"))
    }

    fn incident_types(&self, request: &Request) -> Outcome {
        self.types_in_plan()?;
        let wanted: fn(&IncidentType) -> bool = match request.param("filter") {
            None | Some("enabled") => |kind| kind.enabled,
            Some("disabled") => |kind| !kind.enabled,
            Some("all") => |_| true,
            Some(_) => return Err(invalid(&["filter must be enabled, disabled or all"])),
        };
        let types = self.account.incident_types.iter();
        let types: Vec<_> = types.filter(|kind| wanted(kind)).map(IncidentType::json).collect();
        Ok(Reply::ok(json!({"incident_types": types})))
    }

    fn incident_type(&self, wanted: &str) -> Outcome {
        self.types_in_plan()?;
        let types = &self.account.incident_types;
        let kind = types.iter().find(|kind| kind.id == wanted || kind.name == wanted).ok_or_else(not_found)?;
        Ok(Reply::ok(json!({"incident_type": kind.json()})))
    }

    fn open(&mut self, seed: OpenIncident) {
        let id = self.id('Q');
        let number = self.incidents.len() as u64 + 1;
        let policy = self.account.service(&seed.service).map(|it| it.policy.clone());
        let mut incident = Incident::new(id, number, seed.title, seed.service, seed.created_at);
        incident.policy = policy.unwrap_or_default();
        incident.alert_key = seed.alert_key;
        incident.kind = self.base_type();
        let entry = self.id('R');
        incident.log(&entry, "trigger_log_entry", &Value::Null, seed.created_at, json!({}));
        self.incidents.push(incident);
    }

    fn base_type(&self) -> String {
        let base = self.account.incident_types.first();
        base.map_or_else(|| "incident_default".into(), |kind| kind.name.clone())
    }
}

impl Service for PagerDuty {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.route(request, now).unwrap_or_else(|refusal| refusal)
    }

    fn failure(&self, status: u16, _request: &Request, _now: Timestamp) -> Reply {
        let (code, message) = match status {
            429 => (2020, "Rate Limit Exceeded"),
            401 => (2006, "Authentication failed"),
            402 => (2014, "Account does not have the required ability"),
            403 => (2010, "Access Denied"),
            404 => (2100, "Not Found"),
            400 => (2001, "Invalid Input Provided"),
            _ => (2000, "Internal Error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = fail(status, code, message, &[]);
        if status != StatusCode::TOO_MANY_REQUESTS {
            return reply;
        }
        // `ratelimit-reset` counts seconds to wait; it is no moment.
        reply
            .with_header("ratelimit-limit", 960)
            .with_header("ratelimit-remaining", 0)
            .with_header("ratelimit-reset", 7)
    }

    fn state(&self) -> Value {
        json!({
            "incidents": self.incidents.iter().map(|it| it.whole(&self.account)).collect::<Vec<_>>(),
            "abilities": self.account.abilities,
            "services": self.account.services,
            "users": self.account.users,
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

/// PagerDuty's error: `{"error": {message, code, errors}}`.
fn fail(status: StatusCode, code: u32, message: &str, errors: &[&str]) -> Reply {
    Reply::json(status, json!({"error": {"message": message, "code": code, "errors": errors}}))
}

/// 400 with code 2001.
fn invalid(errors: &[&str]) -> Reply {
    fail(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided", errors)
}

fn not_found() -> Reply {
    fail(StatusCode::NOT_FOUND, 2100, "Not Found", &[])
}

fn requester_not_found() -> Reply {
    fail(StatusCode::BAD_REQUEST, 1008, "Requester User Not Found", &[])
}

/// 402: the account's plan lacks it.
fn missing_ability(ability: &str) -> Reply {
    fail(
        StatusCode::PAYMENT_REQUIRED,
        2014,
        "Account does not have the required ability",
        &[&format!("Your account needs the {ability} ability")],
    )
}

/// The object under `key` of the body, which every writing call wraps what it sends in.
fn wrapped(request: &Request, key: &str) -> Result<Map<String, Value>, Reply> {
    let mut body = request.object().map_err(|why| invalid(&[&why]))?;
    match body.remove(key) {
        Some(Value::Object(object)) => Ok(object),
        _ => Err(invalid(&[&format!("{key} must be an object")])),
    }
}
