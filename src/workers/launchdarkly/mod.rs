//! LaunchDarkly: turning one flag, and giving it its former state back.

mod api;
mod check;
mod restore;
mod set;
mod turn;

pub use check::CheckLaunchDarkly;
pub use restore::RestoreFlag;
pub use set::SetFlag;

use crate::config::Config;

use super::WorkerError;
use super::command::FlagReader;

/// The header that a command by hand carries.
const TOKEN: &str = "Authorization: $LAUNCHDARKLY_TOKEN";

/// Reads flags for commands that a flag blocks.
#[derive(Debug)]
pub struct Flags;

#[async_trait::async_trait]
impl FlagReader for Flags {
    async fn is_on(&self, config: &Config, flag: &str) -> Result<bool, WorkerError> {
        let (_, switch) = turn::read(&api::Api::open(config).await?, flag).await?;
        Ok(switch.on)
    }
}
