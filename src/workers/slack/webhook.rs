//! Slack by an incoming webhook: an address to which anybody may post who knows it. It answers with a word and no id, and
//! nothing can be read back: a message whose answer was lost stays in doubt.

use reqwest::Method;
use serde_json::json;

use crate::config::Config;
use crate::incident::TargetIdentity;
use crate::workers::WorkerError;
use crate::workers::http::{Call, Called, Effect, Pace, Service};

use super::api::configured;

/// An incoming webhook.
pub(super) struct Webhook {
    service: Service,
    pub(super) channel_name: String,
}

impl Webhook {
    /// The config's webhook; none where it has a bot's token.
    pub(super) async fn open(config: &Config) -> Result<Option<Self>, WorkerError> {
        let target = configured(config)?;
        let Some(address) = &target.webhook else { return Ok(None) };
        let service = Service::open_hook("Slack", address, config, Pace::SLACK).await?;
        Ok(Some(Self { service, channel_name: target.channel_name.clone() }))
    }

    /// Who it is, as far as that can be told without posting.
    pub(super) fn identity(&self) -> TargetIdentity {
        TargetIdentity {
            name: format!("Slack {} by webhook", self.channel_name),
            proofs: [("webhook".to_owned(), self.service.mark())].into(),
        }
    }

    /// The same by hand.
    pub(super) fn command(text: &str) -> String {
        let body = json!({"text": text}).to_string().replace('\'', r"'\''");
        format!("curl -X POST \"$SLACK_WEBHOOK\" -H 'Content-Type: application/json' -d '{body}'")
    }

    /// Posts. Every call posts again.
    pub(super) async fn post(&self, text: &str) -> Called<()> {
        let call = Call {
            operation: "post the message",
            effect: Effect::Once,
            right: "this webhook",
            subject: "this webhook: it was removed, or its channel is gone",
        };
        let request = self
            .service
            .hook(Method::POST)?
            .header("content-type", "application/json")
            .body(json!({"text": text}).to_string());
        let answer = self.service.send(&call, request).await?;
        let said = String::from_utf8_lossy(&answer.body).trim().to_owned();
        if !answer.status.is_success() {
            return Err(self.service.refused(&call, &answer, Some(said.clone()), &said));
        }
        // A proxy that answers in Slack's place says something else than this word.
        if said != "ok" {
            return Err(self.service.unreadable(&call, "is not `ok`"));
        }
        Ok(())
    }
}
