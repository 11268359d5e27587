//! What people see happen on an incident: notes, status updates, responder requests, the log.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Outcome, PagerDuty, create::policy_not_found, fail, invalid, list, missing_ability, requester_not_found, wrapped,
};
use crate::drill::standin::message::{Reply, Request, text};

/// Notes that one incident takes.
const MOST_NOTES: usize = 2000;

impl PagerDuty {
    /// `GET /incidents/{id}/notes`.
    pub(super) fn notes(&self, id: &str) -> Outcome {
        Ok(Reply::ok(json!({"notes": self.incident(id)?.notes})))
    }

    /// `POST /incidents/{id}/notes`, which answers 200 and not 201.
    pub(super) fn add_note(&mut self, id: &str, request: &Request, now: Timestamp) -> Outcome {
        let from = self.from(request)?;
        self.incident(id)?;
        let note = wrapped(request, "note")?;
        let content = text(&note, "content").ok_or_else(|| invalid(&["Content cannot be empty"]))?;
        if self.incident(id)?.notes.len() >= MOST_NOTES {
            return Err(fail(
                StatusCode::BAD_REQUEST,
                2019,
                "Product Limit Reached",
                &[&format!("An incident takes at most {MOST_NOTES} notes")],
            ));
        }
        let user = self.account.user_reference(&from);
        let note = json!({
            "id": self.id('N'), "user": user, "channel": {"summary": "The PagerDuty website or APIs"},
            "content": content, "created_at": now, "updated_at": now,
        });
        let entry = self.id('R');
        let incident = self.incident_mut(id)?;
        incident.notes.push(note.clone());
        let channel = json!({"summary": content});
        incident.log(&entry, "annotate_log_entry", &user, now, channel);
        Ok(Reply::ok(json!({"note": note})))
    }

    /// `POST /incidents/{id}/status_updates`.
    pub(super) fn add_status_update(&mut self, id: &str, request: &Request, now: Timestamp) -> Outcome {
        let from = self.from(request)?;
        self.incident(id)?;
        let body = request.object().map_err(|why| invalid(&[&why]))?;
        let message = text(&body, "message").ok_or_else(|| invalid(&["Message cannot be empty"]))?;
        let (subject, html) = (text(&body, "subject"), text(&body, "html_message"));
        if subject.is_some() != html.is_some() {
            return Err(invalid(&["subject and html_message must be given together"]));
        }
        let sender = self.account.user_reference(&from);
        let mut update = json!({
            "id": self.id('U'), "message": message, "sender": sender, "created_at": now,
        });
        if let (Some(subject), Some(html), Value::Object(update)) = (subject, html, &mut update) {
            update.insert("subject".into(), json!(subject));
            update.insert("html_message".into(), json!(html));
        }
        let entry = self.id('R');
        let incident = self.incident_mut(id)?;
        incident.status_updates.push(update.clone());
        let channel = json!({"summary": message});
        incident.log(&entry, "status_update_log_entry", &sender, now, channel);
        Ok(Reply::ok(json!({"status_update": update})))
    }

    /// `POST /incidents/{id}/responder_requests`. Every call pages again: it is not idempotent.
    pub(super) fn request_responders(&mut self, id: &str, request: &Request, now: Timestamp) -> Outcome {
        if !self.account.can("coordinated_responding") {
            return Err(missing_ability("coordinated_responding"));
        }
        let reference = self.incident(id)?.reference();
        let body = request.object().map_err(|why| invalid(&[&why]))?;
        let Some(requester) = text(&body, "requester_id") else {
            return Err(fail(StatusCode::BAD_REQUEST, 2011, "You must specify requester_id", &[]));
        };
        if self.account.user(requester).is_none() {
            return Err(requester_not_found());
        }
        let message = text(&body, "message").ok_or_else(|| invalid(&["Message cannot be empty"]))?;
        let targets = match body.get("responder_request_targets") {
            Some(Value::Array(targets)) if !targets.is_empty() => targets,
            _ => return Err(invalid(&["responder_request_targets cannot be empty"])),
        };
        let targets: Vec<Value> = targets.iter().map(|target| self.target(target)).collect::<Result<_, _>>()?;
        let asked = json!({
            "incident": reference, "requester": self.account.user_reference(requester),
            "requested_at": now, "message": message, "responder_request_targets": targets,
        });
        let agent = self.account.user_reference(requester);
        let entry = self.id('R');
        let incident = self.incident_mut(id)?;
        incident.responder_requests.push(asked.clone());
        let channel = json!({"summary": message});
        incident.log(&entry, "responder_request_log_entry", &agent, now, channel);
        Ok(Reply::ok(json!({"responder_request": asked})))
    }

    /// One target in its wrapper, which the published schema forgets and the service wants.
    fn target(&self, target: &Value) -> Result<Value, Reply> {
        let Some(Value::Object(inner)) = target.get("responder_request_target") else {
            return Err(invalid(&["each target needs a responder_request_target"]));
        };
        let id = text(inner, "id").ok_or_else(|| invalid(&["a target needs an id"]))?;
        let user = match text(inner, "type") {
            Some("user_reference" | "user") => {
                let user = self.account.user(id);
                user.ok_or_else(|| invalid(&["Responder user not found"]))?
            }
            Some("escalation_policy_reference" | "escalation_policy") => {
                let policy = self.account.policy(id).ok_or_else(policy_not_found)?;
                let on_call = policy.on_call.as_deref().and_then(|id| self.account.user(id));
                on_call
                    .ok_or_else(|| fail(StatusCode::BAD_REQUEST, 1015, "Escalation Policy Has No User On Call", &[]))?
            }
            None if self.account.policy(id).is_some() => {
                return Err(fail(StatusCode::FORBIDDEN, 2010, "Access Denied", &[]));
            }
            _ => return Err(invalid(&["a target needs a known type"])),
        };
        Ok(json!({"responder_request_target": {
            "type": inner.get("type"), "id": id,
            "incidents_responders": [{
                "state": "pending", "user": self.account.user_reference(&user.id),
            }],
        }}))
    }

    /// `GET /incidents/{id}/log_entries`, newest first; the channels only show when they are asked for.
    pub(super) fn log_entries(&self, id: &str, request: &Request) -> Outcome {
        let channels = request.params("include[]").contains(&"channels");
        let mut entries = self.incident(id)?.entries.clone();
        entries.reverse();
        if !channels {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.insert("channel".into(), json!({"type": "api"}));
            }
        }
        list::page(request, "log_entries", entries)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, Uri};

    use super::*;
    use crate::drill::standin::{
        message::{Service, Tokens},
        pagerduty::{Account, OpenIncident},
    };

    #[test]
    fn an_incident_takes_two_thousand_notes() {
        let mut account = Account::example();
        account.open_incidents.push(OpenIncident {
            title: "paged".into(),
            service: "PWIXJZS".into(),
            created_at: Timestamp::UNIX_EPOCH,
            alert_key: None,
        });
        let mut pagerduty = PagerDuty::new(Tokens::new("key"), account);
        let id = pagerduty.incidents.first().map(|incident| incident.id.clone());
        let uri = format!("/incidents/{}/notes", id.expect("an incident"));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Token token=key"),
            ("accept", "application/vnd.pagerduty+json;version=2"),
            ("content-type", "application/json"),
            ("from", "oncall@example.com"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let request = Request::new(
            Method::POST,
            uri.parse::<Uri>().expect("a path"),
            headers,
            r#"{"note":{"content":"x"}}"#.into(),
        );
        for _ in 0..MOST_NOTES {
            assert_eq!(pagerduty.answer(&request, Timestamp::UNIX_EPOCH).status, 200);
        }
        let refused = pagerduty.answer(&request, Timestamp::UNIX_EPOCH);
        let code = refused.body.as_ref().and_then(|body| body.pointer("/error/code"));
        assert_eq!((refused.status, code), (400, Some(&json!(2019))));
    }
}
