//! Proving the token, the project and the environment.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::workers::http::{Checklist, curl, only_reads, reading};
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::TOKEN;
use super::api::Api;

/// Reads whose token it is and the environment that flags are turned in.
///
/// Which flag the runbook turns is not known here: the right to turn it is proved by the dry run in that step's plan.
#[derive(Debug, Clone, Copy)]
pub struct CheckLaunchDarkly;

#[async_trait]
impl Worker for CheckLaunchDarkly {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let caller = api.caller().await?;
        let account = caller.account_id.unwrap_or_else(|| "unknown".to_owned());
        Ok(TargetIdentity {
            name: format!("LaunchDarkly {}/{}", api.project, api.environment),
            proofs: BTreeMap::from([
                ("account".to_owned(), account),
                ("project".to_owned(), api.project.clone()),
                ("environment".to_owned(), api.environment.clone()),
            ]),
        })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let identity = self.identify(cx).await?;
        let api = Api::open(&cx.config).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        plan.effects = vec![format!(
            "Reads whose token it is and the environment {}/{}; changes nothing",
            api.project, api.environment
        )];
        let url = format!("{}/api/v2/caller-identity", api.base());
        plan.commands = vec![curl("GET", &url, TOKEN, &["LD-API-Version: 20240415"], None)];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        reading(io, look(cx, io)).await
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(only_reads())
    }
}

async fn look(cx: &Context, io: &Io) -> Result<Ran, WorkerError> {
    let api = Api::open(&cx.config).await?;
    let mut list = Checklist::default();
    let caller = api.caller().await?;
    let name = caller.token_name.unwrap_or_else(|| "without a name".to_owned());
    list.take(io, Ok(((), format!("the token {name} is valid"))));
    let environment = api.approval().await.map(|approval| {
        let place = format!("{}/{}", api.project, api.environment);
        let line = match (approval.required, approval.required_approval_tags.as_slice()) {
            (false, _) => format!("{place}: flags can be turned without another person's approval"),
            (true, []) => format!("{place}: every change of a flag needs another person's approval"),
            (true, tags) => format!("{place}: flags tagged {} need another person's approval", tags.join(", ")),
        };
        ((), line)
    });
    list.take(io, environment.map_err(WorkerError::from));
    list.finish()
}
