//! From an action to the worker that does it.

use crate::config::Config;
use crate::runbook::Action;

use super::{Worker, WorkerError};

/// The worker of an action over a config's targets.
///
/// # Errors
/// A target is not in the config.
pub fn build(action: &Action, _config: &Config) -> Result<Box<dyn Worker>, WorkerError> {
    Err(WorkerError::new(action.name(), "relight", "No worker is linked in yet.", ""))
}
