//! Slack's Web API. Errors come inside an HTTP 200, as `{"ok": false, "error": …}`.

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::{self, Config};
use crate::workers::http::{Answer, Call, CallError, Called, Effect, Pace, Service};
use crate::workers::{Disposition, WorkerError};

/// The name of our messages' metadata.
const EVENT: &str = "relight_message";

/// The client, and the channel that it speaks in.
#[derive(Debug)]
pub(super) struct Api {
    service: Service,
    pub(super) channel: String,
    pub(super) channel_name: String,
}

/// Who the token is.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Identity {
    #[serde(default)]
    pub(super) team: String,
    pub(super) team_id: String,
    #[serde(default)]
    pub(super) user: String,
}

/// A channel.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Channel {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) is_archived: bool,
    #[serde(default)]
    pub(super) is_member: bool,
}

/// What makes a message of ours known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) incident: String,
    pub(super) of: Of,
}

/// What a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// An attempt that posts it.
    Attempt(u32),
    /// A message that was owed.
    Owed(u32),
}

impl Of {
    fn part(self) -> (&'static str, u32) {
        match self {
            Self::Attempt(number) => ("attempt", number),
            Self::Owed(number) => ("owed", number),
        }
    }
}

impl Mark {
    fn json(&self) -> Value {
        let (name, number) = self.of.part();
        json!({"event_type": EVENT, "event_payload": {"incident": self.incident, name: number}})
    }

    fn is_on(&self, message: &Value) -> bool {
        let metadata = message.get("metadata");
        let payload = |key: &str| metadata?.get("event_payload")?.get(key);
        metadata.and_then(|metadata| metadata.get("event_type")).and_then(Value::as_str) == Some(EVENT)
            && payload("incident").and_then(Value::as_str) == Some(self.incident.as_str())
            && payload(self.of.part().0).and_then(Value::as_u64) == Some(u64::from(self.of.part().1))
    }
}

impl Api {
    /// Finds Slack in the config and reads its token.
    pub(super) async fn open(config: &Config) -> Result<Self, WorkerError> {
        let target = configured(config)?;
        let (Some(token), Some(channel)) = (&target.token, &target.channel) else {
            return Err(WorkerError::new(
                "read the config",
                "slack",
                "[slack] has neither a bot's token and the channel's id nor a webhook.",
                "Write token and channel there, or webhook.",
            ));
        };
        let base = target.base_url.as_deref().unwrap_or("https://slack.com/api");
        let service = Service::open("Slack", base, token, config, Pace::SLACK).await?;
        Ok(Self { service, channel: channel.clone(), channel_name: target.channel_name.clone() })
    }

    /// The address that calls go to.
    pub(super) fn base(&self) -> &str {
        self.service.base()
    }

    /// As errors name it.
    pub(super) fn target(&self) -> String {
        format!("{}, channel {}", self.service.target(), self.channel_name)
    }

    fn request(&self, method: Method, name: &str) -> Called<RequestBuilder> {
        Ok(self.service.request(method, &[name])?.header("authorization", self.service.authorization("Bearer ")?))
    }

    /// Sends it; gives the answer's body and headers where `ok` is true.
    async fn call<T: DeserializeOwned>(&self, call: &Call<'_>, request: RequestBuilder) -> Called<(T, Answer)> {
        #[derive(Deserialize)]
        struct Verdict {
            ok: bool,
            #[serde(default)]
            error: Option<String>,
            #[serde(default)]
            needed: Option<String>,
        }
        let answer = self.service.send(call, request).await?;
        if !answer.status.is_success() {
            let verdict = serde_json::from_slice::<Verdict>(&answer.body).ok();
            let code = verdict.and_then(|verdict| verdict.error);
            let said = code.clone().unwrap_or_default();
            return Err(self.service.refused(call, &answer, code, &said));
        }
        let verdict: Verdict = self.service.decode(call, &answer)?;
        if !verdict.ok {
            let code = verdict.error.unwrap_or_else(|| "no reason".to_owned());
            return Err(self.no(call, &answer, &code, verdict.needed.as_deref()));
        }
        Ok((self.service.decode(call, &answer)?, answer))
    }

    /// A refusal inside a 200, by what a person can do about it (error lists of the methods).
    fn no(&self, call: &Call<'_>, answer: &Answer, code: &str, needed: Option<&str>) -> Box<CallError> {
        // The words and the disposition of a refusal of that kind; the text is Slack's own code.
        let status = match code {
            "ratelimited" | "rate_limited" => 429,
            "fatal_error" | "internal_error" | "request_timeout" | "service_unavailable" => 503,
            "not_authed"
            | "invalid_auth"
            | "account_inactive"
            | "token_revoked"
            | "token_expired"
            | "not_allowed_token_type" => 401,
            "missing_scope" | "no_permission" | "ekm_access_denied" | "accesslimited" | "org_login_required" => 403,
            "channel_not_found" => 404,
            _ => 400,
        };
        let as_if = Answer {
            status: reqwest::StatusCode::from_u16(status).unwrap_or(reqwest::StatusCode::BAD_REQUEST),
            headers: answer.headers.clone(),
            body: Vec::new(),
        };
        let right = needed.map(|scope| format!("the scope {scope}"));
        let call = Call { right: right.as_deref().unwrap_or(call.right), ..*call };
        let mut failed = self.service.refused(&call, &as_if, Some(code.to_owned()), code);
        failed.status = Some(200);
        let name = &self.channel_name;
        match code {
            "not_in_channel" => {
                let cause = format!("The app is not in {name} (not_in_channel).");
                failed
                    .explained(cause, format!("Invite it: write /invite and the app's name in {name}, then retry (r)."))
            }
            "is_archived" => failed.explained(
                format!("{name} is archived (is_archived)."),
                "Write the id of another channel into slack.channel, or unarchive this one.",
            ),
            code if code.starts_with("restricted_action") => {
                let cause = format!("{name} does not let this app post ({code}).");
                failed.explained(cause, "Let the app post there in the channel's settings, then retry (r).")
            }
            _ => failed,
        }
    }

    /// Who the token is, and the scopes that it was granted, where Slack tells them.
    pub(super) async fn identity(&self) -> Called<(Identity, Option<Vec<String>>)> {
        let call = Call {
            operation: "read whose token it is",
            effect: Effect::Read,
            right: "a bot token",
            subject: "the method auth.test (slack.base_url)",
        };
        let (identity, answer) = self.call(&call, self.request(Method::POST, "auth.test")?).await?;
        let scopes = answer.headers.get("x-oauth-scopes").and_then(|value| value.to_str().ok());
        let scopes = scopes.map(|text| text.split(',').map(|scope| scope.trim().to_owned()).collect());
        Ok((identity, scopes))
    }

    /// The channel. The reading methods take their arguments from the query, never from JSON.
    pub(super) async fn channel(&self) -> Called<Channel> {
        #[derive(Deserialize)]
        struct Found {
            channel: Channel,
        }
        let subject = self.subject();
        let call = Call {
            operation: "read the channel",
            effect: Effect::Read,
            right: "the scope channels:read (groups:read for a private channel)",
            subject: &subject,
        };
        let request = self.request(Method::GET, "conversations.info")?.query(&[("channel", self.channel.as_str())]);
        let (found, _) = self.call::<Found>(&call, request).await?;
        Ok(found.channel)
    }

    fn subject(&self) -> String {
        format!("a channel {} (slack.channel), or the app was not invited to it", self.channel)
    }

    /// The body of a message.
    pub(super) fn message(&self, text: &str, mark: &Mark) -> Value {
        json!({"channel": self.channel, "text": text, "metadata": mark.json()})
    }

    /// Posts a message and gives its `ts`. Every call posts again.
    pub(super) async fn post(&self, text: &str, mark: &Mark) -> Called<String> {
        #[derive(Deserialize)]
        struct Posted {
            ts: String,
        }
        let subject = self.subject();
        let call = Call {
            operation: "post the message",
            effect: Effect::Once,
            right: "the scope chat:write",
            subject: &subject,
        };
        let request = self
            .request(Method::POST, "chat.postMessage")?
            .header("content-type", "application/json; charset=utf-8")
            .body(self.message(text, mark).to_string());
        let (posted, _) = self.call::<Posted>(&call, request).await?;
        Ok(posted.ts)
    }

    /// The `ts` of our message, looked for among those since a moment.
    pub(super) async fn find(&self, mark: &Mark, since: jiff::Timestamp) -> Called<Option<String>> {
        #[derive(Deserialize)]
        struct Page {
            messages: Vec<Value>,
            #[serde(default)]
            response_metadata: Cursor,
        }
        #[derive(Default, Deserialize)]
        struct Cursor {
            #[serde(default)]
            next_cursor: String,
        }
        let subject = self.subject();
        let call = Call {
            operation: "look for the message in the channel",
            effect: Effect::Read,
            right: "the scope channels:history (groups:history for a private channel)",
            subject: &subject,
        };
        let oldest = format!("{}.000000", since.as_second());
        let mut cursor = String::new();
        loop {
            let query = [
                ("channel", self.channel.as_str()),
                ("oldest", oldest.as_str()),
                ("limit", "200"),
                ("include_all_metadata", "true"),
                ("cursor", cursor.as_str()),
            ];
            // An empty cursor is left out, whatever Slack would make of it.
            let used = if cursor.is_empty() { query.get(..4).unwrap_or(&query) } else { &query };
            let request = self.request(Method::GET, "conversations.history")?.query(used);
            let (page, _) = self.call::<Page>(&call, request).await?;
            let found = page.messages.iter().find(|message| mark.is_on(message));
            if let Some(ts) = found.and_then(|message| message.get("ts")).and_then(Value::as_str) {
                return Ok(Some(ts.to_owned()));
            }
            if page.response_metadata.next_cursor.is_empty() || page.messages.is_empty() {
                return Ok(None);
            }
            cursor = page.response_metadata.next_cursor;
        }
    }
}

/// Whether nobody knows what became of the call.
pub(super) fn in_doubt(failed: &CallError) -> bool {
    failed.error.disposition == Disposition::InDoubt
}

/// The `[slack]` of the config.
pub(super) fn configured(config: &Config) -> Result<&config::Slack, WorkerError> {
    config.slack.as_ref().ok_or_else(|| {
        WorkerError::new("read the config", "slack", "The config has no [slack].", "Add it to the config.")
    })
}
