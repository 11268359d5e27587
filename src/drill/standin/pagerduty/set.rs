//! What people elsewhere may change.

use jiff::Timestamp;
use serde_json::Value;

use super::{OpenIncident, PagerDuty, incident::Status};
use crate::drill::standin::message::{change_bool, change_list, change_text};

impl PagerDuty {
    /// Makes one change of `POST /_control/set`; on an error the caller throws this state away.
    pub(super) fn change(&mut self, key: &str, change: &Value, now: Timestamp) -> Result<(), String> {
        match key {
            "abilities" => self.account.abilities = change_list(change, key)?,
            "incident_types_available" => {
                self.incident_types_available = change_bool(change, key)?;
            }
            "unknown_incident_type" => match change.as_str() {
                Some("refuse") => self.refuse_unknown_type = true,
                Some("base") => self.refuse_unknown_type = false,
                _ => return Err("`unknown_incident_type` is `refuse` or `base`".into()),
            },
            "service_status" => {
                let (id, status) = (change_text(change, "id")?, change_text(change, "status")?);
                if !["active", "warning", "critical", "maintenance", "disabled"].contains(&status) {
                    return Err(format!("no service status `{status}`"));
                }
                let services = &mut self.account.services;
                let service = services.iter_mut().find(|service| service.id == id);
                status.clone_into(&mut service.ok_or("no such service")?.status);
            }
            "incident_type_enabled" => {
                let name = change_text(change, "name")?;
                let enabled = change_bool(change.get("enabled").unwrap_or(&Value::Null), "enabled")?;
                let types = &mut self.account.incident_types;
                let kind = types.iter_mut().find(|kind| kind.name == name);
                kind.ok_or("no such incident type")?.enabled = enabled;
            }
            "on_call" => {
                let id = change_text(change, "policy")?;
                let user = change.get("user").and_then(Value::as_str).map(str::to_owned);
                let policies = &mut self.account.policies;
                let policy = policies.iter_mut().find(|policy| policy.id == id);
                policy.ok_or("no such policy")?.on_call = user;
            }
            "remove_user" => {
                let email = change.as_str().ok_or("`remove_user` must be an e-mail")?;
                let before = self.account.users.len();
                self.account.users.retain(|user| user.email != email);
                if self.account.users.len() == before {
                    return Err(format!("no user {email}"));
                }
            }
            "incident_status" => {
                let status = Status::parse(change_text(change, "status")?).ok_or("no such status")?;
                let entry = self.id('R');
                let id = change_text(change, "id")?;
                let incident = self.incidents.iter_mut().find(|incident| incident.id == id);
                let incident = incident.ok_or("no such incident")?;
                incident.turn(status, None, &entry, &Value::Null, now);
            }
            "open_incident" => {
                let seed: OpenIncident = serde_json::from_value(change.clone()).map_err(|error| error.to_string())?;
                self.account.service(&seed.service).ok_or("no such service")?;
                self.open(seed);
            }
            _ => return Err(format!("nothing here is called `{key}`")),
        }
        Ok(())
    }
}
