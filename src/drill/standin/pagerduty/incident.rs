//! One incident: what is kept of it and how it reads.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::account::Account;

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Triggered,
    Acknowledged,
    Resolved,
}

impl Status {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "triggered" => Some(Self::Triggered),
            "acknowledged" => Some(Self::Acknowledged),
            "resolved" => Some(Self::Resolved),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) service: String,
    pub(super) status: Status,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) key: Option<String>,
    pub(super) alert_key: Option<String>,
    pub(super) urgency: String,
    pub(super) priority: Option<Value>,
    pub(super) kind: String,
    pub(super) details: Option<String>,
    pub(super) policy: String,
    pub(super) assignee: Option<String>,
    pub(super) bridge: Option<Value>,
    pub(super) notes: Vec<Value>,
    pub(super) status_updates: Vec<Value>,
    pub(super) responder_requests: Vec<Value>,
    pub(super) entries: Vec<Value>,
}

impl Incident {
    pub(super) fn new(id: String, number: u64, title: String, service: String, created_at: Timestamp) -> Self {
        Self {
            id,
            number,
            title,
            service,
            status: Status::Triggered,
            created_at,
            updated_at: created_at,
            key: None,
            alert_key: None,
            urgency: "high".into(),
            priority: None,
            kind: String::new(),
            details: None,
            policy: String::new(),
            assignee: None,
            bridge: None,
            notes: Vec::new(),
            status_updates: Vec::new(),
            responder_requests: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.status != Status::Resolved
    }

    /// Whether a search for this key finds it: by its own key or by that of its alert.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.key.as_deref() == Some(key) || self.alert_key.as_deref() == Some(key)
    }

    /// Appends to the log. `channel` holds what only `include[]=channels` shows.
    pub(super) fn log(&mut self, id: &str, kind: &str, agent: &Value, at: Timestamp, channel: Value) {
        let mut channel = channel;
        if let Value::Object(channel) = &mut channel {
            channel.insert("type".into(), json!("api"));
        }
        self.entries.push(json!({
            "id": id, "type": kind, "created_at": at, "agent": agent, "channel": channel,
            "incident": self.reference(),
        }));
    }

    /// Changes the status and logs it.
    pub(super) fn turn(
        &mut self,
        status: Status,
        resolution: Option<&str>,
        entry: &str,
        agent: &Value,
        now: Timestamp,
    ) {
        self.status = status;
        self.updated_at = now;
        let kind = match status {
            Status::Triggered => "trigger_log_entry",
            Status::Acknowledged => "acknowledge_log_entry",
            Status::Resolved => "resolve_log_entry",
        };
        let mut channel = Map::new();
        if let Some(resolution) = resolution {
            channel.insert("details".into(), json!(resolution));
        }
        self.log(entry, kind, agent, now, Value::Object(channel));
    }

    fn summary(&self) -> String {
        format!("[#{}] {}", self.number, self.title)
    }

    pub(super) fn reference(&self) -> Value {
        json!({
            "id": self.id, "type": "incident_reference", "summary": self.summary(),
        })
    }

    /// The incident as the API shows it. The bridge and the body only show when they are asked for.
    pub(super) fn json(&self, account: &Account, include: &[&str]) -> Value {
        let mut assignments = Vec::new();
        if let Some(id) = &self.assignee {
            assignments.push(json!({"at": self.created_at, "assignee": account.user_reference(id)}));
        }
        let mut json = json!({
            "id": self.id, "type": "incident", "summary": self.summary(),
            "html_url": format!("https://example.pagerduty.com/incidents/{}", self.id),
            "incident_number": self.number, "title": self.title,
            "created_at": self.created_at, "updated_at": self.updated_at,
            "status": self.status.name(), "incident_key": self.key,
            "service": account.service_reference(&self.service),
            "assignments": assignments,
            "escalation_policy": account.policy_reference(&self.policy),
            "urgency": self.urgency, "priority": self.priority,
            "incident_type": {"name": self.kind},
        });
        if let Value::Object(json) = &mut json {
            if include.contains(&"conference_bridge") {
                json.insert("conference_bridge".into(), self.bridge.clone().into());
            }
            if include.contains(&"body") {
                json.insert("body".into(), json!({"type": "incident_body", "details": self.details}));
            }
        }
        json
    }

    /// Everything, for assertions.
    pub(super) fn whole(&self, account: &Account) -> Value {
        let mut json = self.json(account, &["conference_bridge", "body"]);
        if let Value::Object(json) = &mut json {
            json.insert("alert_key".into(), json!(self.alert_key));
            json.insert("notes".into(), json!(self.notes));
            json.insert("status_updates".into(), json!(self.status_updates));
            json.insert("responder_requests".into(), json!(self.responder_requests));
            json.insert("log_entries".into(), json!(self.entries));
        }
        json
    }
}
