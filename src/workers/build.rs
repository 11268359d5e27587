//! From an action to the worker that does it.

use crate::runbook::{Action, TargetRef};

use super::kubernetes::{CheckKubernetes, StartWrites, StopWrites};
use super::s3::CheckS3;
use super::snapshot::{ChooseSnapshot, RecordAgreement};
use super::{Worker, WorkerError};

/// The worker of an action.
///
/// # Errors
/// The action names a kind of target that it cannot be done to.
pub fn build(action: &Action) -> Result<Box<dyn Worker>, WorkerError> {
    Ok(match action.clone() {
        Action::Check { target } => return check(target),
        Action::ChooseSnapshot { from, database } => Box::new(ChooseSnapshot { from, database }),
        Action::RecordAgreement { snapshot, with } => Box::new(RecordAgreement { snapshot, with }),
        Action::StopWrites { cluster } => Box::new(StopWrites { cluster }),
        Action::StartWrites { from } => Box::new(StartWrites { from }),
        other => return Err(unfit(other.name(), "relight")),
    })
}

fn check(target: TargetRef) -> Result<Box<dyn Worker>, WorkerError> {
    Ok(match target {
        TargetRef::S3(_) => Box::new(CheckS3 { target }),
        TargetRef::Kubernetes(_) => Box::new(CheckKubernetes { target }),
        other => return Err(unfit("check", &other.to_string())),
    })
}

fn unfit(action: &str, target: &str) -> WorkerError {
    WorkerError::new(action, target, "It cannot be done to a target of this kind.", "Correct the runbook.")
}
