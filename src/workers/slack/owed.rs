//! Messages that Slack did not take when they were meant to go: sent later, each once.

use jiff::Timestamp;

use crate::config::Config;
use crate::incident::{IncidentId, OwedMessage};
use crate::workers::WorkerError;

use super::api::{Api, Mark, Of, configured};
use super::post::since;
use super::webhook::Webhook;

/// Whether what was posted can be read back.
#[must_use]
pub fn reads(config: &Config) -> bool {
    configured(config).is_ok_and(|slack| slack.webhook.is_none())
}

/// Posts an owed message and gives Slack's id of it. `maybe_sent_before` looks for it in the channel first.
///
/// # Errors
/// As Slack says.
pub async fn send_owed(
    config: &Config,
    incident: &IncidentId,
    message: &OwedMessage,
    maybe_sent_before: bool,
) -> Result<String, WorkerError> {
    if let Some(hook) = Webhook::open(config).await? {
        hook.post(&message.text).await?;
        return Ok(format!("posted {} by webhook, which gives no id", Timestamp::now().strftime("%H:%M:%SZ")));
    }
    let api = Api::open(config).await?;
    let mark = Mark { incident: incident.to_string(), of: Of::Owed(message.id.0) };
    if maybe_sent_before && let Some(ts) = api.find(&mark, since(message.at)).await? {
        return Ok(ts);
    }
    Ok(api.post(&message.text, &mark).await?)
}
