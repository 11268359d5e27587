//! What people elsewhere may change.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::LaunchDarkly;
use crate::drill::standin::message::{change_bool, change_list, change_text};

impl LaunchDarkly {
    /// Makes one change of `POST /_control/set`; on an error the caller throws this state away.
    pub(super) fn change(&mut self, key: &str, change: &Value, now: Timestamp) -> Result<(), String> {
        let first_flag = self.flags.first().map(|it| it.key.clone());
        let first_environment = self.environments.first().map(|it| it.key.clone());
        let named = |key: &str, or: Option<String>| {
            let given = change.get(key).and_then(Value::as_str).map(str::to_owned);
            given.or(or).ok_or_else(|| format!("`{key}` is missing"))
        };
        match key {
            "flag" => {
                let on = change_bool(change.get("on").unwrap_or(&Value::Null), "on")?;
                let (flag, environment) = (named("flag", first_flag)?, named("environment", first_environment)?);
                let flag = self.flags.iter_mut().find(|it| it.key == flag);
                let flag = flag.ok_or("no such flag")?;
                flag.turn(&environment, on, now).ok_or("no such environment")?;
                self.changes.push(json!({
                    "at": now, "flag": flag.key, "environment": environment, "on": on,
                    "by": "somebody else",
                }));
            }
            "approval_required" => {
                let required = change.get("required").unwrap_or(change);
                let required = change_bool(required, "required")?;
                let tags = match change.get("tags") {
                    None => Vec::new(),
                    Some(tags) => change_list(tags, "tags")?,
                };
                let environment = named("environment", first_environment)?;
                let found = self.environments.iter_mut().find(|it| it.key == environment);
                let found = found.ok_or("no such environment")?;
                found.approval_required = required;
                found.approval_tags = tags;
            }
            "off_variation" => {
                let index = match change {
                    Value::Null => None,
                    other => Some(other.as_u64().filter(|it| *it < 2).ok_or("no such variation")?),
                };
                for flag in &mut self.flags {
                    flag.off_variation = index;
                }
            }
            "dry_run_reports_approval" => {
                self.dry_run_reports_approval = change_bool(change, key)?;
            }
            "delete_flag" => {
                let key = change.as_str().ok_or("`delete_flag` must be a key")?;
                let before = self.flags.len();
                self.flags.retain(|flag| flag.key != key);
                if self.flags.len() == before {
                    return Err(format!("no flag {key}"));
                }
            }
            "approve" => {
                let id = change.as_str().ok_or("`approve` must be an id")?;
                let found = self.approvals.iter_mut().find(|it| it.id == id);
                found.ok_or("no such approval request")?.approved = true;
            }
            "tags" => {
                let flag = change_text(change, "flag")?;
                let tags = change_list(change.get("tags").unwrap_or(&Value::Null), "tags")?;
                let found = self.flags.iter_mut().find(|it| it.key == flag);
                found.ok_or("no such flag")?.tags = tags;
            }
            _ => return Err(format!("nothing here is called `{key}`")),
        }
        Ok(())
    }
}
