//! Slack: posting to the status channel.

mod api;
mod check;
mod owed;
mod post;
mod webhook;

pub use check::CheckSlack;
pub use owed::{reads, send_owed};
pub use post::PostMessage;

use std::collections::BTreeMap;

use crate::incident::TargetIdentity;

use super::WorkerError;
use api::Api;

/// The header that a command by hand carries.
const TOKEN: &str = "Authorization: Bearer $SLACK_TOKEN";

/// The channel as a target.
async fn identity(api: &Api) -> Result<TargetIdentity, WorkerError> {
    let (who, _) = api.identity().await?;
    Ok(TargetIdentity {
        name: format!("Slack {} in {}", api.channel_name, who.team),
        proofs: BTreeMap::from([("team".to_owned(), who.team_id), ("channel".to_owned(), api.channel.clone())]),
    })
}
