//! What an account holds before anybody does anything: people, services, policies, types.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::drill::standin::message::reference;

/// The people, services and settings of an account, and the incidents that are open already.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// Users; their e-mail is what `From` must carry.
    pub users: Vec<User>,
    /// Services that incidents can be opened on.
    pub services: Vec<MonitoredService>,
    /// Escalation policies.
    pub policies: Vec<Policy>,
    /// Incident types; the first is the base type that an incident gets when none is asked for.
    pub incident_types: Vec<IncidentType>,
    /// Priorities, most severe first.
    pub priorities: Vec<Priority>,
    /// What the plan includes; `coordinated_responding` is what responder requests need.
    pub abilities: Vec<String>,
    /// Incidents that somebody, or some alert, has opened before.
    pub open_incidents: Vec<OpenIncident>,
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The id, such as `PUSER01`.
    pub id: String,
    /// The name that `GET /users?query=` searches.
    pub name: String,
    /// The address.
    pub email: String,
}

/// A service and whether it takes incidents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MonitoredService {
    /// The id, such as `PWIXJZS`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `active`, `warning`, `critical`, `maintenance` or `disabled`; the last two take no incident.
    pub status: String,
    /// The id of its escalation policy.
    pub policy: String,
}

/// An escalation policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Policy {
    /// The id, such as `PT20YPA`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of the user on call, if there is one.
    pub on_call: Option<String>,
}

/// An incident type.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IncidentType {
    /// The id.
    pub id: String,
    /// The API name, which `incident_type` takes.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// Whether incidents can be opened with it.
    pub enabled: bool,
}

/// A priority.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Priority {
    /// The id.
    pub id: String,
    /// Its name, such as `P1`.
    pub name: String,
}

/// An incident that is open before the drill begins, such as the one that just paged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenIncident {
    /// The title.
    pub title: String,
    /// The id of its service.
    pub service: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// The key of the alert that opened it. Such an incident has no `incident_key` of its own.
    #[serde(default)]
    pub alert_key: Option<String>,
}

impl Account {
    /// A small finance company: the service `PWIXJZS`, three people, two policies, the types "Base Incident", "Data Loss"
    /// (enabled) and "Security" (disabled), and the ability to coordinate responders.
    #[must_use]
    pub fn example() -> Self {
        let user = |id: &str, name: &str, email: &str| User { id: id.into(), name: name.into(), email: email.into() };
        let kind = |id: &str, name: &str, display: &str, enabled| IncidentType {
            id: id.into(),
            name: name.into(),
            display_name: display.into(),
            enabled,
        };
        let priority = |id: &str, name: &str| Priority { id: id.into(), name: name.into() };
        Self {
            users: vec![
                user("PONCALL", "Robin On-Call", "oncall@example.com"),
                user("PCTO001", "Kim Chief", "cto@example.com"),
                user("PVPENG1", "Sam Vice", "vp-engineering@example.com"),
            ],
            services: vec![MonitoredService {
                id: "PWIXJZS".into(),
                name: "FinanceCopilot API".into(),
                status: "active".into(),
                policy: "PT20YPA".into(),
            }],
            policies: vec![
                Policy { id: "PT20YPA".into(), name: "Platform".into(), on_call: Some("PCTO001".into()) },
                Policy { id: "PEP12AB".into(), name: "Executives".into(), on_call: Some("PVPENG1".into()) },
            ],
            incident_types: vec![
                kind("PTBASE1", "incident_default", "Base Incident", true),
                kind("PTLOSS1", "data_loss", "Data Loss", true),
                kind("PTSECU1", "security", "Security", false),
            ],
            priorities: vec![priority("PPRIO01", "P1"), priority("PPRIO02", "P2"), priority("PPRIO03", "P3")],
            abilities: vec!["teams".into(), "coordinated_responding".into()],
            open_incidents: Vec::new(),
        }
    }

    pub(super) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(super) fn service(&self, id: &str) -> Option<&MonitoredService> {
        self.services.iter().find(|service| service.id == id)
    }

    pub(super) fn policy(&self, id: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.id == id)
    }

    pub(super) fn can(&self, ability: &str) -> bool {
        self.abilities.iter().any(|has| has == ability)
    }

    /// A reference to a service by its id.
    pub(super) fn service_reference(&self, id: &str) -> Value {
        let name = self.service(id).map_or("", |service| &service.name);
        reference(id, "service_reference", name)
    }

    /// A reference to a policy by its id.
    pub(super) fn policy_reference(&self, id: &str) -> Value {
        let name = self.policy(id).map_or("", |policy| &policy.name);
        reference(id, "escalation_policy_reference", name)
    }

    /// A reference to a user by its id.
    pub(super) fn user_reference(&self, id: &str) -> Value {
        let name = self.user(id).map_or("", |user| &user.name);
        reference(id, "user_reference", name)
    }
}

impl User {
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id, "type": "user", "summary": self.name,
            "name": self.name, "email": self.email, "role": "user",
        })
    }
}

impl IncidentType {
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id, "type": "incident_type", "name": self.name,
            "display_name": self.display_name, "enabled": self.enabled,
        })
    }
}

impl Priority {
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id, "type": "priority", "summary": self.name, "name": self.name,
        })
    }
}
