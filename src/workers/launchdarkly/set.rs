//! Setting a flag and remembering how it was.

use async_trait::async_trait;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::workers::http::basis;
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::api::Api;
use super::turn::{self, Basis, word};

/// Sets a LaunchDarkly flag and remembers its former state. It runs even where the flag has the state already, since
/// the former state must be remembered.
#[derive(Debug, Clone)]
pub struct SetFlag {
    /// The flag's key.
    pub flag: String,
    /// The state to give it.
    pub on: bool,
}

#[async_trait]
impl Worker for SetFlag {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        turn::identity(&Api::open(&cx.config).await?, &self.flag).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let identity = turn::identity(&api, &self.flag).await?;
        let (flag, switch) = turn::read(&api, &self.flag).await?;
        let was = turn::remembered(cx, &self.flag).or_else(|| self.seen_before(cx)).unwrap_or(switch.on);
        let basis = Basis { flag: self.flag.clone(), on: self.on, was, found: switch.on };
        let mut plan = turn::plan(cx, &api, identity, &flag, &basis);
        if switch.archived {
            plan.findings.push(Finding::warning(format!("{} is archived in this environment", self.flag)));
        }
        plan.undo = format!("Give {} its former state back: {}.", self.flag, word(was));
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        turn::preflight(cx, &basis(plan)?).await
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        turn::run(cx, &basis(plan)?, io).await
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        turn::probe(cx, &basis(plan)?).await
    }
}

impl SetFlag {
    /// What an attempt that may have turned the flag saw before: what is read now may be its own doing.
    fn seen_before(&self, cx: &Context) -> Option<bool> {
        let mut past = cx.knowledge.past.iter().filter(|attempt| attempt.may_have_acted);
        past.find_map(|attempt| {
            let basis: Basis = serde_json::from_value(attempt.plan.basis.clone()).ok()?;
            (basis.flag == self.flag).then_some(basis.was)
        })
    }
}
