//! stub
use super::WorkerError;
use crate::config::Config;
use crate::runbook::TargetRef;
/// stub until merge
pub async fn client_major(_config: &Config, _database: &TargetRef) -> Result<u32, WorkerError> {
    Ok(15)
}
