//! Proving the token, the people and the rights that the runbook will need.

use async_trait::async_trait;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::workers::http::{Checklist, curl, only_reads, reading};
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, configured};
use super::{TOKEN, declare};

/// Reads what declaring and calling in will need, and proves the right to write with a call that must be refused.
#[derive(Debug, Clone, Copy)]
pub struct CheckPagerDuty;

#[async_trait]
impl Worker for CheckPagerDuty {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        declare::service_identity(cx).await.map(|(_, _, identity)| identity)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let (api, service, identity) = declare::service_identity(cx).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        plan.effects = vec![format!(
            "Reads the service {}, people, policies and incident types, and proves the right to write with a request \
             that PagerDuty must refuse as incomplete; changes nothing",
            service.name
        )];
        let url = format!("{}/services/{}", api.base(), service.id);
        plan.commands = vec![curl("GET", &url, TOKEN, &["Accept: application/vnd.pagerduty+json;version=2"], None)];
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
    let target = configured(&cx.config)?;
    let api = Api::open(&cx.config).await?;
    let wrong = |operation: &str, cause: String, next: &str| WorkerError::new(operation, api.target(), cause, next);
    let mut list = Checklist::default();
    let service = api.monitored(&target.service).await?;
    let open = match service.closed() {
        None => Ok(((), format!("service {} ({}) is {}", service.name, service.id, service.status))),
        Some(why) => Err(wrong("read the service", why, "Enable it in PagerDuty, or end the maintenance window.")),
    };
    list.take(io, open);
    let from = match api.user(&target.from).await {
        Ok(Some(_)) => Ok(((), format!("writes are made in the name of {}", target.from))),
        Ok(None) => Err(wrong(
            "look up the user of pagerduty.from",
            format!("No user of the account has the e-mail {}.", target.from),
            "Write the e-mail of a user of the account into pagerduty.from.",
        )),
        Err(failed) => Err(failed.error),
    };
    list.take(io, from);
    for email in &target.responders {
        let found = match api.user(email).await {
            Ok(Some(_)) => Ok(((), format!("responder {email} is known"))),
            Ok(None) => Err(wrong(
                "look up a responder",
                format!("No user of the account has the e-mail {email}."),
                "Mend pagerduty.responders in the config.",
            )),
            Err(failed) => Err(failed.error),
        };
        list.take(io, found);
    }
    for id in target.responder_policies.iter().chain(&target.escalation_policy) {
        let found = api.policy(id).await;
        list.take(
            io,
            found
                .map(|policy| ((), format!("escalation policy {} ({}) is known", policy.name, policy.id)))
                .map_err(WorkerError::from),
        );
    }
    if !target.responders.is_empty() || !target.responder_policies.is_empty() {
        let able = match api.abilities().await {
            Ok(abilities) if abilities.iter().any(|it| it == "coordinated_responding") => {
                Ok(((), "responders can be called in (coordinated_responding)".to_owned()))
            }
            Ok(_) => Err(wrong(
                "read the account's abilities",
                "The account's plan lacks coordinated_responding, so responders cannot be called in.".to_owned(),
                "Call them by other means, or have the plan changed.",
            )),
            Err(failed) => Err(failed.error),
        };
        list.take(io, able);
    }
    let types = match api.types().await {
        Ok(types) => {
            let names: Vec<_> = types.iter().filter(|it| it.enabled).map(|it| it.label().to_owned()).collect();
            Ok(((), format!("incident types: {}", names.join(", "))))
        }
        Err(failed) if failed.status == Some(402) => {
            Ok(((), "the account's plan has no incident types; incidents are opened without one".to_owned()))
        }
        Err(failed) => Err(failed.error),
    };
    list.take(io, types);
    let writes = api.may_write().await.map(|()| ((), "the token may open incidents".to_owned()));
    list.take(io, writes.map_err(WorkerError::from));
    list.finish()
}
