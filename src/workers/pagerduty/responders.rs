//! Calling people onto the incident. Every call pages again, so it is never repeated blindly.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::StepId;
use crate::workers::http::{basis, curl, tell};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, configured};
use super::model::Bridge;
use super::{TOKEN, declared, filled, incident_identity, log, marker};

/// Asks the configured people onto the incident, with the conference bridge.
#[derive(Debug, Clone)]
pub struct CallResponders {
    /// The declaring step.
    pub incident: StepId,
    /// What they read; a template.
    pub message: String,
}

/// Somebody who is called: a user, or whoever is on call for a policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Called {
    id: String,
    /// `user_reference` or `escalation_policy_reference`; without it PagerDuty answers 403.
    kind: String,
    label: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    incident: String,
    requester: String,
    message: String,
    called: Vec<Called>,
}

impl Basis {
    /// The body of `POST /incidents/{id}/responder_requests`. The published schema lacks the inner wrapper.
    fn body(&self, marker: &str) -> Value {
        let targets: Vec<Value> = self
            .called
            .iter()
            .map(|called| json!({"responder_request_target": {"id": called.id, "type": called.kind}}))
            .collect();
        json!({
            "requester_id": self.requester,
            "message": format!("{} {marker}", self.message),
            "responder_request_targets": targets,
        })
    }
}

#[async_trait]
impl Worker for CallResponders {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let api = Api::open(&cx.config).await?;
        Ok(incident_identity(&api, &declared(cx, &self.incident)?).await?.1)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let target = configured(&cx.config)?;
        let api = Api::open(&cx.config).await?;
        let (incident, identity) = incident_identity(&api, &declared(cx, &self.incident)?).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        if target.responders.is_empty() && target.responder_policies.is_empty() {
            plan.nothing_to_do = Some("The config names nobody to call in".to_owned());
            return Ok(plan);
        }
        let called = who(&api, target, &mut plan.findings).await?;
        if called.is_empty() {
            plan.findings.push(Finding::blocking("Nobody of those in the config can be called in"));
        }
        let requester = api.user(&target.from).await?;
        if requester.is_none() {
            let text =
                format!("PagerDuty knows no user {}, in whose name people are called (pagerduty.from)", target.from);
            plan.findings.push(Finding::blocking(text));
        }
        let bridge = Bridge::of(target.bridge.as_ref()).or(incident.conference_bridge);
        let mut message = filled(cx, &self.message)?;
        if let Some(bridge) = bridge.filter(|bridge| !bridge.label().is_empty()) {
            message = format!("{message} Bridge: {}", bridge.label());
        }
        let basis = Basis {
            incident: incident.id,
            requester: requester.map(|user| user.id).unwrap_or_default(),
            message,
            called,
        };
        plan.effects = basis.called.iter().map(|called| format!("Pages {}", called.label)).collect();
        plan.effects.push(format!("They read: {}", basis.message));
        let url = format!("{}/incidents/{}/responder_requests", api.base(), basis.incident);
        let headers = ["Content-Type: application/json".to_owned(), format!("From: {}", target.from)];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        plan.commands = vec![curl("POST", &url, TOKEN, &headers, Some(&basis.body("")))];
        plan.undo = "Pages cannot be taken back; cancel the responder requests in PagerDuty.".into();
        plan.basis = json!(basis);
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        if plan.nothing_to_do.is_some() {
            return Ok(Vec::new());
        }
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        let incident = api.incident(&basis.incident).await?;
        let mut findings = Vec::new();
        if !incident.is_open() {
            findings.push(Finding::blocking(format!("{} is resolved: nobody can be called onto it", incident.label())));
        }
        findings.push(if api.abilities().await?.iter().any(|it| it == "coordinated_responding") {
            Finding::good("The account may call responders in (coordinated_responding)")
        } else {
            Finding::blocking(
                "The account's plan lacks coordinated_responding: call the people by other means and mark the step done",
            )
        });
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        let taken = match api.request_responders(&basis.incident, &basis.body(&marker(cx))).await {
            Ok(taken) => taken,
            Err(refused) if refused.status == Some(402) => {
                let cause = format!("The account's plan does not include calling responders in ({}).", refused.said);
                let next = "Nobody was paged. Call them by other means and mark the step done (m).";
                return Err(refused.explained(cause, next).into());
            }
            Err(failed) => return Err(failed.into()),
        };
        let evidence = proof(&basis, &taken);
        tell(io, &evidence);
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        log::look_for(&api, &basis.incident, "responder_request", &marker(cx)).await
    }
}

/// The configured people and policies, as far as PagerDuty knows them.
async fn who(
    api: &Api,
    target: &crate::config::PagerDuty,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Called>, WorkerError> {
    let mut called = Vec::new();
    for email in &target.responders {
        match api.user(email).await? {
            Some(user) => {
                let label = format!("{} <{email}>", user.name.as_deref().unwrap_or_default()).trim().to_owned();
                called.push(Called { id: user.id, kind: "user_reference".to_owned(), label });
            }
            None => findings.push(Finding::warning(format!(
                "PagerDuty knows no user with the e-mail {email}: this person is not called"
            ))),
        }
    }
    for id in &target.responder_policies {
        match api.policy(id).await {
            Ok(policy) => called.push(Called {
                id: policy.id,
                kind: "escalation_policy_reference".to_owned(),
                label: format!("whoever is on call for {}", policy.name),
            }),
            Err(failed) if failed.status == Some(404) => findings
                .push(Finding::warning(format!("PagerDuty knows no escalation policy {id}: nobody is called for it"))),
            Err(failed) => return Err(failed.into()),
        }
    }
    Ok(called)
}

/// Who was paged, by PagerDuty's own answer.
fn proof(basis: &Basis, taken: &Value) -> Vec<String> {
    let targets = taken.get("responder_request_targets").and_then(Value::as_array);
    let paged = |called: &&Called| {
        targets.is_some_and(|targets| {
            targets.iter().any(|target| {
                let inner = target.get("responder_request_target").unwrap_or(target);
                inner.get("id").and_then(Value::as_str) == Some(called.id.as_str())
            })
        })
    };
    let (yes, no): (Vec<&Called>, Vec<&Called>) = basis.called.iter().partition(paged);
    let names = |list: &[&Called]| list.iter().map(|called| called.label.clone()).collect::<Vec<_>>().join(", ");
    let mut evidence = Vec::new();
    if !yes.is_empty() {
        evidence.push(format!("Paged: {}", names(&yes)));
    }
    if !no.is_empty() {
        evidence.push(format!("PagerDuty took the request and does not name {}: call them by other means", names(&no)));
    }
    evidence
}
