//! Opening an incident and changing it.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Outcome, PagerDuty, fail, incident::Incident, incident::Status, invalid, wrapped};
use crate::drill::standin::message::{Reply, Request, text};

/// What PagerDuty answers while an incident with the same key is open.
const DUPLICATE: &str = "Open incident with matching dedup key already exists on this service";

impl PagerDuty {
    /// `POST /incidents`. Fields it does not know are ignored without a word, so a client has to read back.
    pub(super) fn create(&mut self, request: &Request, now: Timestamp) -> Outcome {
        let from = self.from(request)?;
        let asked = wrapped(request, "incident")?;
        if text(&asked, "type") != Some("incident") {
            return Err(invalid(&["Type must be incident"]));
        }
        let title = text(&asked, "title").ok_or_else(|| invalid(&["Title cannot be empty"]))?;
        let service_id =
            referred(&asked, "service", "service_reference")?.ok_or_else(|| invalid(&["Service cannot be empty"]))?;
        let Some(service) = self.account.service(service_id) else {
            return Err(invalid(&["Service not found"]));
        };
        if ["disabled", "maintenance"].contains(&service.status.as_str()) {
            return Err(fail(
                StatusCode::BAD_REQUEST,
                2001,
                "Incident could not be created",
                &[&format!("Service is in status {}", service.status)],
            ));
        }
        let key = match asked.get("incident_key") {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) if key.is_empty() => None,
            Some(Value::String(key)) => Some(key.clone()),
            Some(_) => return Err(invalid(&["Incident key must be a string"])),
        };
        if let Some(key) = &key {
            let same = |it: &Incident| it.service == service_id && it.is_open() && it.has_key(key);
            if self.incidents.iter().any(same) {
                return Err(fail(StatusCode::BAD_REQUEST, 2002, "Arguments Caused Error", &[DUPLICATE]));
            }
        }
        let (policy, assignee) = self.notified(&asked, &service.policy)?;
        let mut incident =
            Incident::new(String::new(), self.incidents.len() as u64 + 1, title.to_owned(), service_id.to_owned(), now);
        incident.urgency = urgency(&asked)?.unwrap_or_else(|| "high".into());
        incident.priority = self.priority(&asked, false)?;
        incident.kind = self.type_asked(&asked)?;
        incident.details = details(&asked)?;
        incident.bridge = bridge(&asked)?;
        incident.policy = policy;
        incident.id = self.id('Q');
        incident.key = Some(key.unwrap_or_else(|| self.id('K').to_lowercase()));
        let agent = self.account.user_reference(&from);
        let entry = self.id('R');
        incident.log(&entry, "trigger_log_entry", &agent, now, json!({}));
        if assignee.as_ref() == Some(&from) {
            // Who assigns an incident to themselves has seen it: it opens acknowledged and pages nobody.
            let entry = self.id('R');
            incident.turn(Status::Acknowledged, None, &entry, &agent, now);
        }
        incident.assignee = assignee;
        let reply = Reply::json(StatusCode::CREATED, json!({"incident": incident.json(&self.account, &[])}));
        self.incidents.push(incident);
        Ok(reply)
    }

    /// Whom a new incident goes to: `(policy, assignee)`.
    fn notified(&self, asked: &Map<String, Value>, default: &str) -> Result<(String, Option<String>), Reply> {
        let policy = referred(asked, "escalation_policy", "escalation_policy_reference")?;
        let assignments = match asked.get("assignments") {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) => Some(list),
            Some(_) => return Err(invalid(&["Assignments must be a list"])),
        };
        if policy.is_some() && assignments.is_some() {
            return Err(invalid(&["Only one of assignments and escalation_policy may be given"]));
        }
        if let Some(assignments) = assignments {
            let [Value::Object(one)] = assignments.as_slice() else {
                return Err(invalid(&["Exactly one assignee is supported"]));
            };
            let id =
                referred(one, "assignee", "user_reference")?.ok_or_else(|| invalid(&["Assignee cannot be empty"]))?;
            if self.account.user(id).is_none() {
                return Err(fail(StatusCode::BAD_REQUEST, 1007, "Assigned-To User Not Found", &[]));
            }
            return Ok((default.to_owned(), Some(id.to_owned())));
        }
        let id = policy.unwrap_or(default);
        let Some(policy) = self.account.policy(id) else {
            return Err(policy_not_found());
        };
        let Some(user) = &policy.on_call else {
            return Err(fail(StatusCode::BAD_REQUEST, 1015, "Escalation Policy Has No User On Call", &[]));
        };
        Ok((policy.id.clone(), Some(user.clone())))
    }

    /// The type's API name; `id` and `display_name` are read-only and therefore ignored.
    fn type_asked(&self, asked: &Map<String, Value>) -> Result<String, Reply> {
        let name = match asked.get("incident_type") {
            None | Some(Value::Null) => return Ok(self.base_type()),
            Some(Value::Object(kind)) => match text(kind, "name") {
                Some(name) => name,
                None => return Ok(self.base_type()),
            },
            Some(_) => return Err(invalid(&["Incident type must be an object"])),
        };
        let types = &self.account.incident_types;
        let known = types.iter().any(|kind| kind.name == name && kind.enabled);
        match (known, self.refuse_unknown_type) {
            (true, _) => Ok(name.to_owned()),
            (false, true) => Err(invalid(&[&format!("Incident type {name} not found")])),
            (false, false) => Ok(self.base_type()),
        }
    }

    /// A priority by reference; where a bare name is allowed too, it takes the highest one of that name.
    fn priority(&self, asked: &Map<String, Value>, name_too: bool) -> Result<Option<Value>, Reply> {
        let unknown = || fail(StatusCode::BAD_REQUEST, 1020, "Invalid Priority", &[]);
        let priorities = &self.account.priorities;
        let found = match asked.get("priority") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(name)) if name_too => priorities.iter().find(|it| it.name == *name),
            Some(Value::Object(_)) => {
                let id = referred(asked, "priority", "priority_reference")?;
                priorities.iter().find(|it| Some(it.id.as_str()) == id)
            }
            Some(_) => return Err(unknown()),
        };
        Ok(Some(found.ok_or_else(unknown)?.json()))
    }

    /// `PUT /incidents/{id}`.
    pub(super) fn update(&mut self, id: &str, request: &Request, now: Timestamp) -> Outcome {
        let from = self.from(request)?;
        let current = self.incident(id)?.status;
        let asked = wrapped(request, "incident")?;
        if !matches!(text(&asked, "type"), Some("incident_reference" | "incident")) {
            return Err(invalid(&["Type must be incident_reference"]));
        }
        let status = match asked.get("status") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let status = value.as_str().and_then(Status::parse);
                Some(status.ok_or_else(|| invalid(&["Status is invalid"]))?)
            }
        };
        let already = match status {
            Some(Status::Resolved) if current == Status::Resolved => Some((1001, "Incident Already Resolved")),
            Some(Status::Acknowledged) if current == Status::Acknowledged => {
                Some((1002, "Incident Already Acknowledged"))
            }
            _ => None,
        };
        if let Some((code, message)) = already {
            return Err(fail(StatusCode::BAD_REQUEST, code, message, &[]));
        }
        let title = match asked.get("title") {
            None => None,
            Some(_) => Some(text(&asked, "title").ok_or_else(|| invalid(&["Title cannot be empty"]))?.to_owned()),
        };
        let urgency = urgency(&asked)?;
        let priority = self.priority(&asked, true)?;
        let bridge = bridge(&asked)?;
        let policy = referred(&asked, "escalation_policy", "escalation_policy_reference")?;
        if policy.is_some_and(|policy| self.account.policy(policy).is_none()) {
            return Err(policy_not_found());
        }
        let agent = self.account.user_reference(&from);
        let entry = self.id('R');
        let incident = self.incident_mut(id)?;
        incident.updated_at = now;
        if let Some(title) = title {
            incident.title = title;
        }
        if let Some(urgency) = urgency {
            incident.urgency = urgency;
        }
        if let Some(policy) = policy {
            policy.clone_into(&mut incident.policy);
        }
        incident.priority = priority.or(incident.priority.take());
        incident.bridge = bridge.or(incident.bridge.take());
        if let Some(status) = status {
            incident.turn(status, text(&asked, "resolution"), &entry, &agent, now);
        }
        let incident = self.incident(id)?;
        Ok(Reply::ok(json!({"incident": incident.json(&self.account, &[])})))
    }
}

pub(super) fn policy_not_found() -> Reply {
    fail(StatusCode::BAD_REQUEST, 1014, "Escalation Policy Not Found", &[])
}

/// The id of a reference object of the right type; absent is `None`.
fn referred<'a>(object: &'a Map<String, Value>, key: &str, kind: &str) -> Result<Option<&'a str>, Reply> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(reference)) if text(reference, "type") == Some(kind) => {
            let id = text(reference, "id");
            id.map(Some).ok_or_else(|| invalid(&[&format!("{key} needs an id")]))
        }
        Some(_) => Err(invalid(&[&format!("{key} must be a {kind}")])),
    }
}

fn urgency(asked: &Map<String, Value>) -> Result<Option<String>, Reply> {
    match asked.get("urgency") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(urgency)) if ["high", "low"].contains(&urgency.as_str()) => Ok(Some(urgency.clone())),
        Some(_) => Err(invalid(&["Urgency must be high or low"])),
    }
}

/// The body's text. The schema says object, but only strings are supported.
fn details(asked: &Map<String, Value>) -> Result<Option<String>, Reply> {
    match asked.get("body") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(body)) if text(body, "type") == Some("incident_body") => match body.get("details") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(details)) => Ok(Some(details.clone())),
            Some(_) => Err(invalid(&["Body details must be a string"])),
        },
        Some(_) => Err(invalid(&["Body must be an incident_body"])),
    }
}

/// The conference bridge: only its two known fields are kept.
fn bridge(asked: &Map<String, Value>) -> Result<Option<Value>, Reply> {
    let bridge = match asked.get("conference_bridge") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(bridge)) => bridge,
        Some(_) => return Err(invalid(&["Conference bridge must be an object"])),
    };
    let mut kept = Map::new();
    for key in ["conference_number", "conference_url"] {
        match bridge.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(value)) => {
                kept.insert(key.into(), json!(value));
            }
            Some(_) => return Err(invalid(&[&format!("{key} must be a string")])),
        }
    }
    Ok((!kept.is_empty()).then_some(Value::Object(kept)))
}
