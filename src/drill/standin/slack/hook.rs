//! The incoming webhook: `POST /services/<team>/<app>/<secret>` with JSON. It answers in plain words and gives no id.

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{BOT_USER, Message, Slack, TEAM};
use crate::drill::standin::message::{Reply, Request, Rights};

/// The app's part of the address.
const APP: &str = "B0RELIGHT1";

/// The path of the webhook whose secret is `token`. What is posted there lands in the first channel.
pub(super) fn path(token: &str) -> String {
    format!("/services/{TEAM}/{APP}/{token}")
}

/// What it says when Slack is not well. A limit says for how long.
pub(super) fn failure(status: u16) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match status {
        StatusCode::TOO_MANY_REQUESTS => says(status, "rate_limited").with_header("retry-after", 3),
        _ => says(status, "rollup_error"),
    }
}

fn says(status: StatusCode, word: &str) -> Reply {
    Reply { status: status.as_u16(), headers: Vec::new(), body: Some(json!(word)) }
}

impl Slack {
    /// One post to the webhook.
    pub(super) fn hook(&mut self, at: [&str; 3], request: &Request, now: Timestamp) -> Reply {
        let [team, app, secret] = at;
        if request.method != Method::POST {
            return says(StatusCode::BAD_REQUEST, "invalid_payload");
        }
        if team != TEAM || app != APP {
            return says(StatusCode::NOT_FOUND, "no_service");
        }
        if self.tokens.rights(secret) != Some(Rights::Full) || self.token_revoked {
            return says(StatusCode::FORBIDDEN, "invalid_token");
        }
        let Some(channel) = self.channels.first() else { return says(StatusCode::NOT_FOUND, "channel_not_found") };
        if channel.archived {
            return says(StatusCode::GONE, "channel_is_archived");
        }
        let json = request.media_type().is_some_and(|media| media.is_json());
        let Some(text) = payload(request).filter(|_| json) else {
            return says(StatusCode::BAD_REQUEST, "invalid_payload");
        };
        if text.trim().is_empty() {
            return says(StatusCode::BAD_REQUEST, "no_text");
        }
        // An app posts through its webhook whether or not it is in the channel.
        let message = Message::plain(self.ts(now), BOT_USER, &text);
        self.channels.iter_mut().take(1).for_each(|channel| channel.messages.push(message.clone()));
        says(StatusCode::OK, "ok")
    }
}

fn payload(request: &Request) -> Option<String> {
    match request.object().ok()?.get("text")? {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}
