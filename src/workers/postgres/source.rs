//! The dump that an earlier step found, and whether it can be fetched.

use jiff::Timestamp;

use crate::incident::{Fact, Finding, ObjectRef};
use crate::runbook::StepId;
use crate::snapshots::size_text;
use crate::workers::{Context, WorkerError};

use super::local_copy::{self, is_whole, room};
use super::server::Server;

/// A dump to restore.
pub(super) struct Source {
    pub(super) object: ObjectRef,
    pub(super) taken_at: Timestamp,
    /// It is a safety dump of this incident.
    pub(super) safety: bool,
}

/// What the step `from` found.
///
/// # Errors
/// It found none yet.
pub(super) fn found(cx: &Context, server: &Server, from: &StepId) -> Result<Source, WorkerError> {
    let found = cx.knowledge.facts_of(from).filter_map(|fact| match fact {
        Fact::Snapshot { object, taken_at } => {
            Some(Source { object: object.clone(), taken_at: *taken_at, safety: false })
        }
        Fact::SafetyDump { object, taken_at } => {
            Some(Source { object: object.clone(), taken_at: *taken_at, safety: true })
        }
        _ => None,
    });
    found.last().ok_or_else(|| {
        WorkerError::new(
            "find the dump to restore",
            server.name(),
            format!("The step {from} has found none yet."),
            "Do that step first.",
        )
    })
}

/// Whether the dump is here or can be brought here.
pub(super) async fn fetchable(cx: &Context, object: &ObjectRef) -> Result<Vec<Finding>, WorkerError> {
    let work = cx.work()?;
    if is_whole(&local_copy::path(&work, object), object) {
        return Ok(vec![Finding::good("The dump is on this host already".to_owned())]);
    }
    let mut findings = Vec::new();
    if let Err(free) = room(&work, object.size) {
        findings.push(Finding::blocking(format!(
            "There is no room for the dump in {}: it takes {} and {} are free. Free space, or set state_dir to a larger disk.",
            work.display(),
            size_text(object.size),
            size_text(free)
        )));
    }
    let place = local_copy::place_of(cx, object).await?;
    let now = place.head(&object.key, object.version_id.as_deref()).await?;
    if now.is_none_or(|now| now.etag != object.etag || now.size != object.size) {
        findings
            .push(Finding::blocking(format!("{} changed or went away since it was chosen: choose again.", object.key)));
    }
    Ok(findings)
}
