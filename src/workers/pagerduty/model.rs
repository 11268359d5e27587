//! PagerDuty's objects, as far as they matter here (REST v2, published schema).

use serde::{Deserialize, Serialize};

/// `{id, type, summary}`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Reference {
    pub(super) id: String,
    #[serde(default)]
    pub(super) summary: Option<String>,
}

impl Reference {
    /// What people call it.
    pub(super) fn label(&self) -> &str {
        self.summary.as_deref().unwrap_or(&self.id)
    }
}

/// An incident.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are PagerDuty's")]
pub(crate) struct Incident {
    pub(super) id: String,
    #[serde(default)]
    pub(super) incident_number: u64,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) html_url: Option<String>,
    pub(super) status: String,
    #[serde(default)]
    pub(super) created_at: Option<jiff::Timestamp>,
    #[serde(default)]
    pub(super) incident_key: Option<String>,
    #[serde(default)]
    pub(super) incident_type: Option<TypeName>,
    /// Only where it was asked for with `include[]`.
    #[serde(default)]
    pub(super) conference_bridge: Option<Bridge>,
}

impl Incident {
    /// `#12 Data loss: financecopilot`.
    pub(super) fn label(&self) -> String {
        format!("#{} {}", self.incident_number, self.title.as_deref().unwrap_or_default()).trim_end().to_owned()
    }

    pub(super) fn is_open(&self) -> bool {
        self.status != "resolved"
    }
}

/// The type of an incident; only the name can be written.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct TypeName {
    pub(super) name: String,
}

/// A conference bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bridge {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) conference_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) conference_url: Option<String>,
}

impl Bridge {
    /// The config's bridge; none where it holds neither number nor address.
    pub(super) fn of(bridge: Option<&crate::config::Bridge>) -> Option<Self> {
        let bridge = bridge?;
        let some = bridge.number.is_some() || bridge.url.is_some();
        some.then(|| Self { conference_number: bridge.number.clone(), conference_url: bridge.url.clone() })
    }

    /// Number and address in one line.
    pub(super) fn label(&self) -> String {
        let parts = [self.conference_number.as_deref(), self.conference_url.as_deref()];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" or ")
    }
}

/// A service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Monitored {
    pub(super) id: String,
    pub(super) name: String,
    /// `active`, `warning`, `critical`, `maintenance` or `disabled`.
    pub(super) status: String,
    #[serde(default)]
    pub(super) escalation_policy: Option<Reference>,
}

impl Monitored {
    /// Why no incident can be opened on it; PagerDuty opens none in these two states.
    pub(super) fn closed(&self) -> Option<String> {
        match self.status.as_str() {
            "disabled" => Some(format!("The PagerDuty service {} is disabled and opens no incidents.", self.name)),
            "maintenance" => {
                Some(format!("The PagerDuty service {} is in a maintenance window and opens no incidents.", self.name))
            }
            _ => None,
        }
    }
}

/// A user.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) email: Option<String>,
}

/// An escalation policy.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Policy {
    pub(super) id: String,
    pub(super) name: String,
}

/// An incident type. `name` is what the API takes, `display_name` what people say.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct IncidentType {
    pub(super) name: String,
    #[serde(default)]
    pub(super) display_name: Option<String>,
    #[serde(default)]
    pub(super) enabled: bool,
}

impl IncidentType {
    pub(super) fn label(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.name)
    }
}

/// A note.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) content: String,
}
