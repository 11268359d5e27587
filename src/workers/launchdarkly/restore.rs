//! Giving a flag the state back that it had before the incident.

use async_trait::async_trait;

use crate::incident::{Fact, Finding, Plan, TargetIdentity};
use crate::runbook::StepId;
use crate::workers::http::basis;
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::api::Api;
use super::turn::{self, Basis, word};

/// Gives a flag the oldest state back that this incident remembers of it.
#[derive(Debug, Clone)]
pub struct RestoreFlag {
    /// The step that remembered it.
    pub from: StepId,
}

impl RestoreFlag {
    fn flag(&self, cx: &Context) -> Result<String, WorkerError> {
        let found = cx.knowledge.facts.iter().find_map(|known| match &known.fact {
            Fact::Flag { flag, .. } if known.step == self.from => Some(flag.clone()),
            _ => None,
        });
        found.ok_or_else(|| {
            WorkerError::new(
                "find the flag's former state",
                "LaunchDarkly",
                format!("The step {} has not set a flag yet, so there is no state to give back.", self.from),
                "Where the flag was set by hand, give it back by hand and mark this done (m).",
            )
        })
    }
}

#[async_trait]
impl Worker for RestoreFlag {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        turn::identity(&Api::open(&cx.config).await?, &self.flag(cx)?).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let key = self.flag(cx)?;
        let api = Api::open(&cx.config).await?;
        let identity = turn::identity(&api, &key).await?;
        let (flag, switch) = turn::read(&api, &key).await?;
        let was = turn::remembered(cx, &key).unwrap_or(switch.on);
        let basis = Basis { flag: key, on: was, was, found: switch.on };
        let mut plan = turn::plan(cx, &api, identity, &flag, &basis);
        if switch.on == was {
            plan.nothing_to_do = Some(format!("{} is {}, as before the incident", basis.flag, word(was)));
        }
        plan.undo = format!("Turn {} {} again.", basis.flag, word(!was));
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        if plan.nothing_to_do.is_some() {
            return Ok(Vec::new());
        }
        turn::preflight(cx, &basis(plan)?).await
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        turn::run(cx, &basis(plan)?, io).await
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        turn::probe(cx, &basis(plan)?).await
    }
}
