//! Proving the token, its scopes and the channel.

use async_trait::async_trait;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::workers::http::{Checklist, curl, only_reads, reading};
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::api::Api;
use super::webhook::Webhook;
use super::{TOKEN, identity};

/// Reads whose token it is, what it may do, and whether it may speak in the channel.
#[derive(Debug, Clone, Copy)]
pub struct CheckSlack;

#[async_trait]
impl Worker for CheckSlack {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        match Webhook::open(&cx.config).await? {
            Some(hook) => Ok(hook.identity()),
            None => identity(&Api::open(&cx.config).await?).await,
        }
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        if let Some(hook) = Webhook::open(&cx.config).await? {
            let mut plan = Plan::new(cx.step.clone(), hook.identity());
            plan.effects = vec![format!("Looks whether {} has a webhook's address; posts nothing", hook.channel_name)];
            return Ok(plan);
        }
        let api = Api::open(&cx.config).await?;
        let mut plan = Plan::new(cx.step.clone(), identity(&api).await?);
        plan.effects = vec![format!("Reads whose token it is and the channel {}; posts nothing", api.channel_name)];
        plan.commands = vec![curl("POST", &format!("{}/auth.test", api.base()), TOKEN, &[], None)];
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
    let mut list = Checklist::default();
    if let Some(hook) = Webhook::open(&cx.config).await? {
        let line = format!("{} has a webhook; whether it works shows only when it posts", hook.channel_name);
        list.take(io, Ok(((), line)));
        return list.finish();
    }
    let api = Api::open(&cx.config).await?;
    let (who, scopes) = api.identity().await?;
    list.take(io, Ok(((), format!("the token is {}'s in {}", who.user, who.team))));
    let has = |scopes: &[String], wanted: &str| scopes.iter().any(|scope| scope == wanted);
    let wrong = |operation: &str, cause: String, next: &str| WorkerError::new(operation, api.target(), cause, next);
    let writing = match &scopes {
        Some(scopes) if !has(scopes, "chat:write") => Err(wrong(
            "read the token's scopes",
            format!("The token lacks the scope chat:write; it has {}.", scopes.join(", ")),
            "Add chat:write to the app's bot scopes and install the app again.",
        )),
        Some(_) => Ok(((), "it may post (chat:write)".to_owned())),
        None => Ok(((), "Slack does not tell its scopes; posting will show whether it may".to_owned())),
    };
    list.take(io, writing);
    if let Some(scopes) = &scopes {
        let history = has(scopes, "channels:history") || has(scopes, "groups:history");
        let line = if history {
            "a message whose answer was lost can be found again (channels:history)"
        } else {
            "without channels:history a message whose answer was lost cannot be found again"
        };
        list.take(io, Ok(((), line.to_owned())));
    }
    let name = &api.channel_name;
    let channel = match api.channel().await {
        Ok(channel) if channel.is_archived => Err(wrong(
            "read the channel",
            format!("{name} is archived."),
            "Write the id of another channel into slack.channel.",
        )),
        Ok(channel) if !channel.is_member => Err(wrong(
            "read the channel",
            format!("The app is not in {name}."),
            "Invite it: write /invite and the app's name in the channel.",
        )),
        Ok(channel) => {
            let known = channel.name.unwrap_or_default();
            Ok(((), format!("it is in the channel #{known} ({})", api.channel)))
        }
        // The right to read about the channel is not needed to post there.
        Err(failed) if failed.is("missing_scope") => {
            Ok(((), format!("whether it is in {name} cannot be told without channels:read")))
        }
        Err(failed) => Err(failed.error),
    };
    list.take(io, channel);
    list.finish()
}
