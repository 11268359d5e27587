//! From an action to the worker that does it.

use std::sync::Arc;

use crate::runbook::{Action, TargetRef};

use super::command::{CheckCommand, RunCommand};
use super::endpoints::{CheckEndpoints, CheckHttp};
use super::grafana::{CheckGrafana, ReviewDashboard};
use super::kubernetes::{CheckKubernetes, StartWrites, StopWrites};
use super::launchdarkly::{CheckLaunchDarkly, Flags, RestoreFlag, SetFlag};
use super::objects::{PutBackObjects, RehydrateObjects};
use super::pagerduty::{CallResponders, CheckPagerDuty, CloseIncident, DeclareIncident, PostStatusUpdate};
use super::postgres::{
    CheckForeignKeys, CheckPostgres, CheckStorage, DropKept, EndBlockers, EndSessions, ProveTables, RestoreDatabase,
    SafetyDump, SwapBack, SwapDatabase,
};
use super::redis::{CheckRedis, FlushCache};
use super::s3::CheckS3;
use super::slack::{CheckSlack, PostMessage};
use super::snapshot::{ChooseSnapshot, RecordAgreement};
use super::{Worker, WorkerError};

/// The worker of an action.
///
/// # Errors
/// The action names a kind of target that it cannot be done to.
pub fn build(action: &Action) -> Result<Box<dyn Worker>, WorkerError> {
    Ok(match action.clone() {
        Action::Check { target } => return check(target),
        Action::DeclareIncident { incident_type, title, details } => {
            Box::new(DeclareIncident { incident_type, title, details })
        }
        Action::CallResponders { incident, message } => Box::new(CallResponders { incident, message }),
        Action::SetFlag { flag, on } => Box::new(SetFlag { flag, on }),
        Action::RestoreFlag { from } => Box::new(RestoreFlag { from }),
        Action::PostMessage { text } => Box::new(PostMessage { text }),
        Action::PostStatusUpdate { incident, text } => Box::new(PostStatusUpdate { incident, text }),
        Action::ChooseSnapshot { from, database } => Box::new(ChooseSnapshot { from, database }),
        Action::RecordAgreement { snapshot, with } => Box::new(RecordAgreement { snapshot, with }),
        Action::StopWrites { cluster } => Box::new(StopWrites { cluster }),
        Action::StartWrites { from } => Box::new(StartWrites { from }),
        Action::RehydrateObjects { from, to, keep } => Box::new(RehydrateObjects { from, to, keep }),
        Action::PutBackObjects { from } => Box::new(PutBackObjects { from }),
        Action::FlushCache { cache } => Box::new(FlushCache { cache }),
        Action::EndSessions { database } => Box::new(EndSessions { database }),
        Action::SafetyDump { database, to } => Box::new(SafetyDump { database, to }),
        Action::RestoreDatabase { database, from, strategy } => Box::new(RestoreDatabase { database, from, strategy }),
        Action::EndBlockers { database } => Box::new(EndBlockers { database }),
        Action::CheckForeignKeys { database, restore } => Box::new(CheckForeignKeys { database, restore }),
        Action::CheckStorage { database, restore } => Box::new(CheckStorage { database, restore }),
        Action::SwapDatabase { database, restore } => Box::new(SwapDatabase { database, restore }),
        Action::DropKept { database, swap } => Box::new(DropKept { database, swap }),
        Action::SwapBack { database, swap } => Box::new(SwapBack { database, swap }),
        Action::ProveTables { database, restore } => Box::new(ProveTables { database, restore }),
        Action::RunCommand { command, blocked_by, changes } => {
            Box::new(RunCommand { command, blocked_by, changes, flags: Some(Arc::new(Flags)) })
        }
        Action::CheckEndpoints { service } => Box::new(CheckEndpoints { service }),
        Action::ReviewDashboard { dashboard } => Box::new(ReviewDashboard { dashboard }),
        Action::CloseIncident { incident, resolution } => Box::new(CloseIncident { incident, resolution }),
    })
}

fn check(target: TargetRef) -> Result<Box<dyn Worker>, WorkerError> {
    Ok(match target {
        TargetRef::Postgres(_) => Box::new(CheckPostgres { target }),
        TargetRef::Command(_) => Box::new(CheckCommand { target }),
        TargetRef::S3(_) => Box::new(CheckS3 { target }),
        TargetRef::Kubernetes(_) => Box::new(CheckKubernetes { target }),
        TargetRef::Redis(_) => Box::new(CheckRedis { target }),
        TargetRef::Http(_) => Box::new(CheckHttp { target }),
        TargetRef::PagerDuty => Box::new(CheckPagerDuty),
        TargetRef::LaunchDarkly => Box::new(CheckLaunchDarkly),
        TargetRef::Slack => Box::new(CheckSlack),
        TargetRef::Grafana => Box::new(CheckGrafana),
        TargetRef::Folder(name) => return Err(unfit("check", &name)),
    })
}

fn unfit(action: &str, target: &str) -> WorkerError {
    WorkerError::new(action, target, "It cannot be done to a target of this kind.", "Correct the runbook.")
}
