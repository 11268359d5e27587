//! Posting a message. Slack has no key that would make it safe to repeat, so each carries the incident and the attempt
//! in its metadata, and is looked for before anything is said to be in doubt.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::incident::{Ask, AskKind, Channel, Fact, Finding, Plan, TargetIdentity};
use crate::workers::http::{Called, basis, curl, excerpt, tell};
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, Mark, Of, in_doubt};
use super::webhook::Webhook;
use super::{TOKEN, identity};

/// Slack cuts longer texts without a word.
const LONGEST: usize = 40_000;
/// How far Slack's clock may be behind ours. A host whose clock is wrong by more has other troubles; a post that is not found
/// would be made twice, and a day more to look through costs a page or two.
const SLACK_CLOCK: SignedDuration = SignedDuration::from_hours(24);

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
        Ok(Way::open(cx).await?.identity().await?.0)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let way = Way::open(cx).await?;
        let (target, silent) = way.identity().await?;
        let mut plan = Plan::new(cx.step.clone(), target);
        let text = match cx.inputs.get("text") {
            Some(text) => text.trim().to_owned(),
            None => cx.knowledge.fill(&self.text).map(|text| text.trim().to_owned()).map_err(|why| {
                WorkerError::new("fill in the draft", cx.title.clone(), why, "Mend the template in the runbook.")
            })?,
        };
        plan.asks = vec![Ask {
            name: "text".to_owned(),
            label: format!("Message to {}", way.channel_name()),
            kind: AskKind::Text,
            value: text.clone(),
            required: true,
            offered: false,
        }];
        if text.chars().count() > LONGEST {
            plan.findings.push(Finding::blocking(format!("The message is longer than the {LONGEST} that Slack takes")));
        }
        plan.effects = vec![format!("Posts to {}: {text}", way.channel_name())];
        if let Some(error) = silent {
            plan.findings.push(Finding::warning(format!(
                "{} The message waits in the outbox with its time, and goes out as soon as Slack takes it",
                error.cause
            )));
        }
        plan.commands = vec![match &way {
            Way::Bot(api) => {
                let url = format!("{}/chat.postMessage", api.base());
                let body = json!({"channel": api.channel, "text": text});
                curl("POST", &url, TOKEN, &["Content-Type: application/json; charset=utf-8"], Some(&body))
            }
            Way::Hook(_) => Webhook::command(&text),
        }];
        plan.undo = "Delete the message in Slack; whoever read it has read it.".into();
        let channel = way.channel_name().to_owned();
        plan.basis = json!(Basis { channel, text, planned_at: cx.knowledge.now });
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let api = match Way::open(cx).await? {
            Way::Bot(api) => api,
            Way::Hook(_) => {
                return Ok(vec![Finding::warning(
                    "A webhook tells nothing of its channel, and what it posted cannot be read back: if its answer is lost, look yourself",
                )]);
            }
        };
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
            Err(failed) if waits(&failed.error) => {
                Finding::warning(format!("Whether the app is in {name} cannot be told while Slack does not answer"))
            }
            Err(failed) => return Err(failed.into()),
        }])
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = basis(plan)?;
        let posted = match Way::open(cx).await? {
            Way::Hook(hook) => hook.post(&basis.text).await.map(|()| {
                let evidence = vec![
                    format!("Posted to {} by webhook: {}", basis.channel, excerpt(&basis.text, 160)),
                    "Slack answered ok".to_owned(),
                ];
                Done { evidence, facts: Vec::new() }
            }),
            Way::Bot(api) => {
                // Asked first, by what only reads: a post into a service that is down could end in doubt.
                if let Err(error) = identity(&api).await {
                    if waits(&error) {
                        let done = owed(&basis, &error);
                        tell(io, &done.evidence);
                        return Ok(Ran::Done(done));
                    }
                    return Err(error);
                }
                by_bot(&api, &basis, &mark(cx), io).await
            }
        };
        let done = match posted {
            Ok(done) => done,
            // Nothing was sent for certain: the restore does not wait for Slack.
            Err(failed) if waits(&failed.error) => owed(&basis, &failed.error),
            Err(failed) => return Err(failed.into()),
        };
        tell(io, &done.evidence);
        Ok(Ran::Done(done))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis = basis(plan)?;
        let api = match Way::open(cx).await? {
            Way::Bot(api) => api,
            Way::Hook(_) => {
                return Ok(Probe::Unknown(format!(
                    "A webhook cannot be read back. Look into {} whether it says: {}",
                    basis.channel,
                    excerpt(&basis.text, 160)
                )));
            }
        };
        match api.find(&mark(cx), since(basis.planned_at)).await {
            Ok(Some(ts)) => Ok(Probe::Happened(posted(&api, &basis, ts, true))),
            Ok(None) => Ok(Probe::DidNot(format!("{} holds no message of this attempt", api.channel_name))),
            Err(failed) if failed.is("missing_scope") => {
                Ok(Probe::Unknown(format!("{} Look into {} yourself.", failed.error.cause, api.channel_name)))
            }
            Err(failed) => Err(failed.into()),
        }
    }
}

/// The two ways into a channel.
enum Way {
    Bot(Api),
    Hook(Webhook),
}

impl Way {
    async fn open(cx: &Context) -> Result<Self, WorkerError> {
        match Webhook::open(&cx.config).await? {
            Some(hook) => Ok(Self::Hook(hook)),
            None => Api::open(&cx.config).await.map(Self::Bot),
        }
    }

    fn channel_name(&self) -> &str {
        match self {
            Self::Bot(api) => &api.channel_name,
            Self::Hook(hook) => &hook.channel_name,
        }
    }

    /// Who it is; where Slack does not answer, as much as the config says, and why.
    async fn identity(&self) -> Result<(TargetIdentity, Option<WorkerError>), WorkerError> {
        match self {
            Self::Hook(hook) => Ok((hook.identity(), None)),
            Self::Bot(api) => match identity(api).await {
                Ok(found) => Ok((found, None)),
                Err(error) if waits(&error) => {
                    let name = format!("Slack {} (it does not answer)", api.channel_name);
                    let proofs = [("channel".to_owned(), api.channel.clone())].into();
                    Ok((TargetIdentity { name, proofs }, Some(error)))
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// Nothing was sent, and the same works later by itself.
fn waits(error: &WorkerError) -> bool {
    matches!(error.disposition, Disposition::Retry | Disposition::Wait(_))
}

/// The message goes into the outbox. It says when it was meant.
fn owed(basis: &Basis, error: &WorkerError) -> Done {
    let now = Timestamp::now().strftime("%H:%M:%SZ");
    let evidence = vec![
        format!("{} waits in the outbox: {}", basis.channel, excerpt(&basis.text, 160)),
        format!("Slack does not take it now: {}", error.cause),
    ];
    let text = format!("{}\n(written {now})", basis.text);
    Done { evidence, facts: vec![Fact::Owed { channel: Channel::SlackMessage, text }] }
}

async fn by_bot(api: &Api, basis: &Basis, mark: &Mark, io: &Io) -> Called<Done> {
    match api.post(&basis.text, mark).await {
        Ok(ts) => Ok(posted(api, basis, ts, false)),
        Err(failed) if in_doubt(&failed) => {
            io.line(format!("{} Looking for the message in the channel.", failed.error.cause));
            match api.find(mark, since(basis.planned_at)).await {
                Ok(Some(ts)) => Ok(posted(api, basis, ts, true)),
                Ok(None) => Err(failed),
                Err(blind) => {
                    io.line(format!("It cannot be looked for: {}", blind.error));
                    Err(failed)
                }
            }
        }
        Err(failed) => Err(failed),
    }
}

fn mark(cx: &Context) -> Mark {
    Mark { incident: cx.knowledge.incident.to_string(), of: Of::Attempt(cx.attempt.map_or(0, |attempt| attempt.0)) }
}

/// The time in Slack's clock from which on a message of ours of this moment may lie.
pub(super) fn since(at: Timestamp) -> Timestamp {
    at.checked_sub(SLACK_CLOCK).unwrap_or(at)
}

fn posted(api: &Api, basis: &Basis, ts: String, lost: bool) -> Done {
    let mut evidence = vec![format!("Posted to {}: {}", api.channel_name, excerpt(&basis.text, 160))];
    if lost {
        evidence.push("Its answer was lost; it was found in the channel".to_owned());
    }
    evidence.push(format!("Slack's id of it is {ts}"));
    Done { evidence, facts: vec![Fact::Posted { ts }] }
}
