//! Opening an incident, or adopting the one that just paged, so that everybody works on one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Ask, AskKind, Choice, Fact, Finding, Plan, TargetIdentity, duration_text};
use crate::workers::http::{CallError, basis, curl, excerpt, tell};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, New, configured};
use super::model::{Bridge, Incident, IncidentType, Monitored};
use super::{TOKEN, filled};

/// The answer to `incident` that opens a new one.
const NEW: &str = "new";

/// Opens an incident in PagerDuty, or adopts an open one.
#[derive(Debug, Clone)]
pub struct DeclareIncident {
    /// The incident type as people call it (its display name).
    pub incident_type: String,
    /// Title of the incident; a template.
    pub title: String,
    /// Plain-text details; a template.
    pub details: String,
}

/// What the plan holds itself to.
#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    /// The incident to adopt; none to open a new one.
    adopt: Option<String>,
    /// Makes opening safe to repeat.
    key: String,
    service: String,
    title: String,
    details: String,
    /// The API's name of the type; none where the account has no types.
    kind: Option<String>,
    policy: Option<String>,
    bridge: Option<Bridge>,
}

impl Basis {
    fn as_new(&self) -> New<'_> {
        New {
            title: &self.title,
            details: &self.details,
            service: &self.service,
            key: &self.key,
            kind: self.kind.as_deref(),
            policy: self.policy.as_deref(),
            bridge: self.bridge.as_ref(),
        }
    }
}

/// The configured service, and it as a target.
pub(super) async fn service_identity(cx: &Context) -> Result<(Api, Monitored, TargetIdentity), WorkerError> {
    let target = configured(&cx.config)?;
    let api = Api::open(&cx.config).await?;
    let service = api.monitored(&target.service).await?;
    let proofs =
        BTreeMap::from([("service".to_owned(), service.id.clone()), ("address".to_owned(), api.base().to_owned())]);
    let identity = TargetIdentity { name: format!("PagerDuty service {}", service.name), proofs };
    Ok((api, service, identity))
}

#[async_trait]
impl Worker for DeclareIncident {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        service_identity(cx).await.map(|(_, _, identity)| identity)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let target = configured(&cx.config)?;
        let (api, service, identity) = service_identity(cx).await?;
        let mut plan = Plan::new(cx.step.clone(), identity);
        let open = api.open_incidents(&service.id).await?;
        let chosen = cx.inputs.get("incident").map_or(NEW, String::as_str).to_owned();
        let adopted = open.iter().find(|incident| incident.id == chosen);
        if chosen != NEW && adopted.is_none() {
            plan.findings.push(Finding::blocking(format!(
                "The incident {chosen} is no longer open on {}: choose another, or a new one",
                service.name
            )));
        }
        plan.asks = asks(cx, &open, &chosen);
        let bridge = Bridge::of(target.bridge.as_ref());
        let kind = self.kind(&api, adopted.is_some(), &mut plan.findings).await?;
        let basis = Basis {
            adopt: (chosen != NEW).then_some(chosen),
            key: cx.knowledge.incident.to_string(),
            service: service.id.clone(),
            title: filled(cx, &self.title)?,
            details: filled(cx, &self.details)?,
            kind: kind.as_ref().map(|kind| kind.name.clone()),
            policy: target.escalation_policy.clone(),
            bridge,
        };
        let own = open.iter().find(|incident| incident.incident_key.as_deref() == Some(&basis.key));
        plan.effects = match (adopted, own) {
            (Some(incident), _) => adopting(incident, basis.bridge.as_ref()),
            (None, Some(own)) => vec![format!("Takes {}, which is open under our key already", own.label())],
            (None, None) => opening(&basis, &service, kind.as_ref()),
        };
        let headers =
            [format!("From: {}", target.from), "Content-Type: application/json".to_owned(), ACCEPT.to_owned()];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        if basis.adopt.is_none() {
            let url = format!("{}/incidents", api.base());
            plan.commands = vec![curl("POST", &url, TOKEN, &headers, Some(&basis.as_new().body()))];
        }
        plan.undo = "Resolve the incident in PagerDuty; whom it paged stays paged.".into();
        plan.basis = serde_json::json!(basis);
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        if let Some(id) = &basis.adopt {
            let incident = api.incident(id).await?;
            return Ok(vec![if incident.is_open() {
                Finding::good(format!("{} is {}", incident.label(), incident.status))
            } else {
                Finding::blocking(format!("{} was resolved meanwhile", incident.label()))
            }]);
        }
        let service = api.monitored(&basis.service).await?;
        Ok(vec![match service.closed() {
            None => Finding::good(format!("Service {} takes incidents ({})", service.name, service.status)),
            Some(why) => Finding::blocking(why),
        }])
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        let done = match &basis.adopt {
            Some(id) => adopt(&api, cx, &basis, id).await?,
            None => match api.create(&basis.as_new()).await {
                Ok(created) => opened(&api, cx, &basis, &created, false).await,
                Err(refused) => match known_already(&api, &basis, &refused).await {
                    Some(own) => opened(&api, cx, &basis, &own, true).await,
                    None => return Err(explained(refused, &basis).into()),
                },
            },
        };
        tell(io, &done.evidence);
        Ok(Ran::Done(done))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        if let Some(id) = &basis.adopt {
            let incident = api.incident(id).await?;
            return Ok(if incident.is_open() {
                Probe::Happened(opened(&api, cx, &basis, &incident, true).await)
            } else {
                Probe::DidNot(format!("{} is resolved", incident.label()))
            });
        }
        Ok(match api.by_key(&basis.service, &basis.key).await? {
            Some(own) if own.is_open() => Probe::Happened(opened(&api, cx, &basis, &own, false).await),
            Some(own) => Probe::DidNot(format!("{} of our key is resolved and none is open", own.label())),
            None => Probe::DidNot(format!("PagerDuty has no incident with the key {}", basis.key)),
        })
    }
}

impl DeclareIncident {
    /// The type by the name that people use, among the enabled ones.
    async fn kind(
        &self,
        api: &Api,
        adopting: bool,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<IncidentType>, WorkerError> {
        let types = match api.types().await {
            Ok(types) => types,
            Err(failed) if failed.status == Some(402) => {
                findings.push(Finding::warning(format!(
                    "The account's plan has no incident types: the incident is opened without \"{}\"",
                    self.incident_type
                )));
                return Ok(None);
            }
            Err(failed) => return Err(failed.into()),
        };
        let named = |kind: &&IncidentType| kind.label().to_lowercase() == self.incident_type.to_lowercase();
        if let Some(kind) = types.iter().filter(|kind| kind.enabled).find(named) {
            return Ok(Some(kind.clone()));
        }
        let text = if types.iter().any(|kind| named(&kind)) {
            format!("The incident type \"{}\" is disabled in PagerDuty: enable it there", self.incident_type)
        } else {
            let enabled: Vec<_> = types.iter().filter(|kind| kind.enabled).map(IncidentType::label).collect();
            format!("PagerDuty has no incident type \"{}\"; it has {}", self.incident_type, enabled.join(", "))
        };
        // An adopted incident keeps the type that it has.
        findings.push(if adopting { Finding::warning(text) } else { Finding::blocking(text) });
        Ok(None)
    }
}

const ACCEPT: &str = "Accept: application/vnd.pagerduty+json;version=2";

fn asks(cx: &Context, open: &[Incident], chosen: &str) -> Vec<Ask> {
    let mut choices = vec![Choice { value: NEW.to_owned(), label: "Open a new incident".to_owned() }];
    choices.extend(open.iter().map(|incident| {
        let age = incident.created_at.map(|at| {
            let ago = duration_text(cx.knowledge.now.duration_since(at));
            format!(", {ago} ago")
        });
        let label = format!("Adopt {} ({}{})", incident.label(), incident.status, age.unwrap_or_default());
        Choice { value: incident.id.clone(), label }
    }));
    vec![
        Ask {
            name: "incident".to_owned(),
            label: "Which incident".to_owned(),
            kind: AskKind::Choice(choices),
            value: chosen.to_owned(),
            required: true,
            offered: false,
        },
        Ask {
            name: "regulated".to_owned(),
            label: "Is regulated data (personal, payment) concerned?".to_owned(),
            kind: AskKind::YesNo,
            value: cx.inputs.get("regulated").cloned().unwrap_or_default(),
            required: true,
            offered: false,
        },
    ]
}

fn adopting(incident: &Incident, bridge: Option<&Bridge>) -> Vec<String> {
    let mut effects = vec![format!("Adopts {}: pages nobody and opens nothing", incident.label())];
    if let Some(bridge) = bridge {
        effects.push(format!("Gives it the conference bridge {}, unless it has one", bridge.label()));
    }
    effects
}

fn opening(basis: &Basis, service: &Monitored, kind: Option<&IncidentType>) -> Vec<String> {
    let kind = kind.map_or_else(|| "without a type".to_owned(), |kind| format!("of type {}", kind.label()));
    let policy = basis.policy.as_deref().or(service.escalation_policy.as_ref().map(super::model::Reference::label));
    let mut effects = vec![
        format!("Opens \"{}\" {kind} on {}, urgency high", basis.title, service.name),
        format!("Pages who is on call for {}", policy.unwrap_or("the service's escalation policy")),
        format!("Details: {}", excerpt(&basis.details, 200)),
    ];
    if let Some(bridge) = &basis.bridge {
        effects.push(format!("Conference bridge: {}", bridge.label()));
    }
    effects
}

async fn adopt(api: &Api, cx: &Context, basis: &Basis, id: &str) -> Result<Done, WorkerError> {
    let incident = api.incident(id).await?;
    if !incident.is_open() {
        return Err(WorkerError::new(
            "adopt the incident",
            api.target(),
            format!("{} was resolved meanwhile.", incident.label()),
            "Nothing was done. Retry (r) and choose another, or a new one.",
        ));
    }
    if let (Some(bridge), None) = (&basis.bridge, &incident.conference_bridge) {
        api.set_bridge(id, bridge).await?;
    }
    Ok(opened(api, cx, basis, &incident, true).await)
}

/// An open incident with our key, where the refusal says that there is one.
async fn known_already(api: &Api, basis: &Basis, refused: &CallError) -> Option<Incident> {
    let said = refused.said.to_lowercase();
    if refused.status != Some(400) || !(said.contains("dedup key") || said.contains("already exists")) {
        return None;
    }
    api.by_key(&basis.service, &basis.key).await.ok().flatten().filter(Incident::is_open)
}

fn explained(refused: Box<CallError>, basis: &Basis) -> Box<CallError> {
    match refused.code.as_deref() {
        Some("1015") => refused.explained(
            "The escalation policy has nobody on call, so PagerDuty opens nothing (1015).",
            "Put somebody on call in PagerDuty, or name another policy in pagerduty.escalation_policy.",
        ),
        Some("1014") => refused.explained(
            format!("PagerDuty knows no escalation policy {} (1014).", basis.policy.as_deref().unwrap_or_default()),
            "Mend pagerduty.escalation_policy in the config.",
        ),
        _ => refused,
    }
}

/// The proof, read back: PagerDuty drops what it does not understand without a word. What was opened stays opened
/// whatever is missing, so what is missing is told and is no failure.
async fn opened(api: &Api, cx: &Context, basis: &Basis, incident: &Incident, adopted: bool) -> Done {
    let verb = if adopted { "adopted" } else { "opened" };
    let read = api.incident(&incident.id).await;
    let now = read.as_ref().unwrap_or(incident);
    let mut evidence = vec![format!("PagerDuty incident {} {verb} ({})", now.label(), now.status)];
    if let Err(failed) = &read {
        evidence.push(format!("It could not be read back: {}", failed.error.cause));
    }
    match (&basis.kind, now.incident_type.as_ref().map(|kind| &kind.name)) {
        (Some(wanted), Some(is)) if wanted == is => evidence.push(format!("Its type is {wanted}")),
        (Some(wanted), is) => evidence.push(format!(
            "Its type is {} and not {wanted}: set it by hand in PagerDuty",
            is.map_or("unknown", String::as_str)
        )),
        (None, _) => {}
    }
    match (&basis.bridge, &now.conference_bridge) {
        (Some(wanted), Some(is)) if wanted == is => evidence.push(format!("Conference bridge: {}", is.label())),
        (Some(_), Some(is)) => evidence.push(format!("It keeps its own conference bridge: {}", is.label())),
        (Some(wanted), None) if read.is_ok() => evidence.push(format!(
            "PagerDuty did not keep the conference bridge: give people {} by other means",
            wanted.label()
        )),
        _ => {}
    }
    let url = now.html_url.clone().unwrap_or_default();
    if !url.is_empty() {
        evidence.push(url.clone());
    }
    let mut facts = vec![Fact::PagerDuty { id: now.id.clone(), number: now.incident_number, url, adopted }];
    if let Some(answer) = cx.inputs.get("regulated") {
        facts.push(Fact::Regulated { yes: answer == "yes" });
    }
    Done { evidence, facts }
}
