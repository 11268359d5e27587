//! Posting a message. Slack has no key that would make it safe to repeat, so each carries the incident and the attempt
//! in its metadata, and is looked for before anything is said to be in doubt.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::incident::{Ask, AskKind, Fact, Finding, Plan, TargetIdentity};
use crate::workers::http::{basis, curl, excerpt, tell};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, Mark, in_doubt};
use super::{TOKEN, identity};

/// Slack cuts longer texts without a word.
const LONGEST: usize = 40_000;
/// How far Slack's clock may be behind ours.
const SLACK_CLOCK: SignedDuration = SignedDuration::from_mins(5);

/// Posts to the Slack channel of the config.
#[derive(Debug, Clone)]
pub struct PostMessage {
    /// The draft; a template.
    pub text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    channel: String,
    text: String,
    /// No message of this plan is older.
    planned_at: Timestamp,
}

#[async_trait]
impl Worker for PostMessage {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identity(&Api::open(&cx.config).await?).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let mut plan = Plan::new(cx.step.clone(), identity(&api).await?);
        let text = match cx.inputs.get("text") {
            Some(text) => text.trim().to_owned(),
            None => cx.knowledge.fill(&self.text).map(|text| text.trim().to_owned()).map_err(|why| {
                WorkerError::new("fill in the draft", cx.title.clone(), why, "Mend the template in the runbook.")
            })?,
        };
        plan.asks = vec![Ask {
            name: "text".to_owned(),
            label: format!("Message to {}", api.channel_name),
            kind: AskKind::Text,
            value: text.clone(),
            required: true,
            offered: false,
        }];
        if text.chars().count() > LONGEST {
            plan.findings.push(Finding::blocking(format!("The message is longer than the {LONGEST} that Slack takes")));
        }
        plan.effects = vec![format!("Posts to {}: {text}", api.channel_name)];
        let url = format!("{}/chat.postMessage", api.base());
        let body = json!({"channel": api.channel, "text": text});
        plan.commands =
            vec![curl("POST", &url, TOKEN, &["Content-Type: application/json; charset=utf-8"], Some(&body))];
        plan.undo = "Delete the message in Slack; whoever read it has read it.".into();
        plan.basis = json!(Basis { channel: api.channel.clone(), text, planned_at: cx.knowledge.now });
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let name = &api.channel_name;
        Ok(vec![match api.channel().await {
            Ok(channel) if channel.is_archived => Finding::blocking(format!("{name} is archived")),
            Ok(channel) if !channel.is_member => {
                Finding::blocking(format!("The app is not in {name}: write /invite and its name there"))
            }
            Ok(channel) => {
                let known = channel.name.map(|name| format!("#{name}")).unwrap_or_default();
                Finding::good(format!("The channel {} is {known} and the app is in it", api.channel))
            }
            Err(failed) if failed.is("missing_scope") => {
                Finding::warning(format!("Whether the app is in {name} cannot be told without channels:read"))
            }
            Err(failed) if failed.is("channel_not_found") => Finding::blocking(failed.error.cause),
            Err(failed) => return Err(failed.into()),
        }])
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        let mark = mark(cx);
        let (ts, lost) = match api.post(&basis.text, &mark).await {
            Ok(ts) => (ts, false),
            Err(failed) if in_doubt(&failed) => {
                io.line(format!("{} Looking for the message in the channel.", failed.error.cause));
                match api.find(&mark, since(&basis)).await {
                    Ok(Some(ts)) => (ts, true),
                    Ok(None) => return Err(failed.into()),
                    Err(blind) => {
                        io.line(format!("It cannot be looked for: {}", blind.error));
                        return Err(failed.into());
                    }
                }
            }
            Err(failed) => return Err(failed.into()),
        };
        let done = posted(&api, &basis, ts, lost);
        tell(io, &done.evidence);
        Ok(Ran::Done(done))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = Api::open(&cx.config).await?;
        match api.find(&mark(cx), since(&basis)).await {
            Ok(Some(ts)) => Ok(Probe::Happened(posted(&api, &basis, ts, true))),
            Ok(None) => Ok(Probe::DidNot(format!("{} holds no message of this attempt", api.channel_name))),
            Err(failed) if failed.is("missing_scope") => {
                Ok(Probe::Unknown(format!("{} Look into {} yourself.", failed.error.cause, api.channel_name)))
            }
            Err(failed) => Err(failed.into()),
        }
    }
}

fn mark(cx: &Context) -> Mark {
    Mark { incident: cx.knowledge.incident.to_string(), attempt: cx.attempt.map_or(0, |attempt| attempt.0) }
}

fn since(basis: &Basis) -> Timestamp {
    basis.planned_at.checked_sub(SLACK_CLOCK).unwrap_or(basis.planned_at)
}

fn posted(api: &Api, basis: &Basis, ts: String, lost: bool) -> Done {
    let mut evidence = vec![format!("Posted to {}: {}", api.channel_name, excerpt(&basis.text, 160))];
    if lost {
        evidence.push("Its answer was lost; it was found in the channel".to_owned());
    }
    evidence.push(format!("Slack's id of it is {ts}"));
    Done { evidence, facts: vec![Fact::Posted { ts }] }
}
