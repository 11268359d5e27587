//! PagerDuty: declaring the incident, calling people in, telling subscribers, closing.

mod api;
mod check;
mod close;
mod declare;
mod log;
mod model;
mod responders;
mod update;

pub use check::CheckPagerDuty;
pub use close::CloseIncident;
pub use declare::DeclareIncident;
pub use responders::CallResponders;
pub use update::PostStatusUpdate;

pub(super) use api::Api;

use std::collections::BTreeMap;

use crate::incident::{Fact, TargetIdentity};
use crate::runbook::StepId;

use super::{Context, WorkerError};

/// The header that a command by hand carries.
const TOKEN: &str = "Authorization: Token token=$PAGERDUTY_TOKEN";

/// The PagerDuty incident that a step found or opened; where that step was done by hand, the newest one known.
fn declared(cx: &Context, step: &StepId) -> Result<String, WorkerError> {
    let id = |fact: &Fact| match fact {
        Fact::PagerDuty { id, .. } => Some(id.clone()),
        _ => None,
    };
    let own = cx.knowledge.facts_of(step).find_map(id);
    own.or_else(|| cx.knowledge.facts.iter().rev().find_map(|known| id(&known.fact))).ok_or_else(|| {
        WorkerError::new(
            "find the PagerDuty incident",
            "PagerDuty",
            "No step has opened or adopted one yet.",
            format!("Do {step} first, or do this by hand and mark it done (m)."),
        )
    })
}

/// An incident as a target.
async fn incident_identity(api: &Api, id: &str) -> Result<(model::Incident, TargetIdentity), WorkerError> {
    let incident = api.incident(id).await?;
    let identity = TargetIdentity {
        // Without its title, which people edit while they work on it.
        name: format!("PagerDuty incident #{}", incident.incident_number),
        proofs: BTreeMap::from([
            ("incident".to_owned(), incident.id.clone()),
            ("address".to_owned(), api.base().to_owned()),
        ]),
    };
    Ok((incident, identity))
}

/// A template of the runbook, filled in.
fn filled(cx: &Context, template: &str) -> Result<String, WorkerError> {
    cx.knowledge
        .fill(template)
        .map(|text| text.trim().to_owned())
        .map_err(|why| WorkerError::new("fill in the text", cx.title.clone(), why, "Mend the template in the runbook."))
}

/// What an attempt leaves in its message, so that it can be found again.
fn marker(cx: &Context) -> String {
    let attempt = cx.attempt.map_or(0, |attempt| attempt.0);
    format!("({} attempt {attempt})", cx.knowledge.incident)
}
