//! Telling the incident's subscribers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::incident::{Ask, AskKind, Finding, Plan, TargetIdentity};
use crate::runbook::StepId;
use crate::workers::http::{basis, curl, excerpt, tell};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, configured};
use super::{TOKEN, declared, filled, incident_identity, log, marker};

/// Sends a status update to the PagerDuty incident's subscribers.
#[derive(Debug, Clone)]
pub struct PostStatusUpdate {
    /// The declaring step.
    pub incident: StepId,
    /// The draft; a template.
    pub text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    incident: String,
    text: String,
}

#[async_trait]
impl Worker for PostStatusUpdate {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let api = Api::open(&cx.config).await?;
        Ok(incident_identity(&api, &declared(cx, &self.incident)?).await?.1)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let target = configured(&cx.config)?;
        let api = Api::open(&cx.config).await?;
        let (incident, identity) = incident_identity(&api, &declared(cx, &self.incident)?).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        let text = match cx.inputs.get("text") {
            Some(text) => text.trim().to_owned(),
            None => filled(cx, &self.text)?,
        };
        plan.asks = vec![Ask {
            name: "text".to_owned(),
            label: "The update".to_owned(),
            kind: AskKind::Text,
            value: text.clone(),
            required: true,
            offered: false,
        }];
        plan.effects = vec![format!("Sends to everybody who subscribed to {}: {text}", incident.label())];
        let url = format!("{}/incidents/{}/status_updates", api.base(), incident.id);
        let from = format!("From: {}", target.from);
        let headers = ["Content-Type: application/json", from.as_str()];
        plan.commands = vec![curl("POST", &url, TOKEN, &headers, Some(&json!({"message": text})))];
        plan.undo = "A sent update cannot be taken back; send another.".into();
        plan.basis = json!(Basis { incident: incident.id, text });
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        let message = format!("{} {}", basis.text, marker(cx));
        let id = match api.status_update(&basis.incident, &message).await {
            Ok(id) => id,
            Err(refused) if refused.status == Some(402) => {
                let cause = format!("The account's plan does not include status updates ({}).", refused.said);
                return Err(refused.explained(cause, "Nothing was sent. Skip this step (s).").into());
            }
            Err(failed) => return Err(failed.into()),
        };
        let evidence = vec![format!("Status update sent: {}", excerpt(&basis.text, 120)), format!("Its id is {id}")];
        tell(io, &evidence);
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        log::look_for(&api, &basis.incident, "status_update", &marker(cx)).await
    }
}
