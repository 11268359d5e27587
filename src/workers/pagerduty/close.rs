//! Resolving the incident.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::StepId;
use crate::workers::http::{basis, curl, tell};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, configured, resolving};
use super::model::Incident;
use super::{TOKEN, declared, filled, incident_identity};

/// Resolves the PagerDuty incident. That ours closes with it is the engine's part, so it runs even where PagerDuty's
/// is resolved already.
#[derive(Debug, Clone)]
pub struct CloseIncident {
    /// The declaring step.
    pub incident: StepId,
    /// Stored with the resolution; a template.
    pub resolution: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    incident: String,
    resolution: String,
}

#[async_trait]
impl Worker for CloseIncident {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let api = Api::open(&cx.config).await?;
        Ok(incident_identity(&api, &declared(cx, &self.incident)?).await?.1)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let target = configured(&cx.config)?;
        let api = Api::open(&cx.config).await?;
        let (incident, identity) = incident_identity(&api, &declared(cx, &self.incident)?).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        let resolution = filled(cx, &self.resolution)?;
        plan.effects = vec![
            if incident.is_open() {
                format!("{}: {} → resolved", incident.label(), incident.status)
            } else {
                format!("{} is resolved in PagerDuty already", incident.label())
            },
            format!("Stored with it: {resolution}"),
            format!(
                "Closes {}, once nothing is at work any more: rollback is no longer open afterwards",
                cx.knowledge.incident
            ),
        ];
        let url = format!("{}/incidents/{}", api.base(), incident.id);
        let from = format!("From: {}", target.from);
        let headers = ["Content-Type: application/json", from.as_str()];
        plan.commands = vec![curl("PUT", &url, TOKEN, &headers, Some(&resolving(&resolution)))];
        plan.undo = "PagerDuty's incident can be reopened there; ours stays closed.".into();
        plan.basis = json!(Basis { incident: incident.id, resolution });
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let left = &cx.knowledge.unvalidated;
        if left.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Finding::blocking(format!(
            "It serves, and {} foreign keys are not checked for the dump's rows yet, so it does not count as restored: check them first.",
            left.len()
        ))])
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        match api.resolve(&basis.incident, &basis.resolution).await {
            Ok(_) => {}
            // Resolved already, by us before or by somebody else: that is what was wanted.
            Err(refused) if refused.is("1001") => io.line("PagerDuty says that it was resolved already."),
            Err(failed) => return Err(failed.into()),
        }
        let now = api.incident(&basis.incident).await;
        let now = now.map_err(|failed| failed.error.unproved("PagerDuty took the resolution"))?;
        if now.is_open() {
            return Err(WorkerError::new(
                "prove that the incident is resolved",
                api.target(),
                format!("PagerDuty took the resolution, and {} is {} all the same.", now.label(), now.status),
                "Somebody may have reopened it: look at it in PagerDuty, then retry (r).",
            ));
        }
        let done = resolved(&now);
        tell(io, &done.evidence);
        Ok(Ran::Done(done))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis = basis(plan)?;
        let now = Api::open(&cx.config).await?.incident(&basis.incident).await?;
        Ok(if now.is_open() {
            Probe::DidNot(format!("{} is {}", now.label(), now.status))
        } else {
            Probe::Happened(resolved(&now))
        })
    }
}

fn resolved(now: &Incident) -> Done {
    Done { evidence: vec![format!("PagerDuty incident {} is resolved", now.label())], facts: Vec::new() }
}
