//! Slack's Web API: methods under `/api/`, errors inside an HTTP 200.
//!
//! Writing methods take JSON or an encoded form. The reading `conversations.*` methods take their arguments from the query or
//! an encoded form only; a JSON body counts as no arguments and ends in `invalid_arguments`, as with the real service.
//! [`webhook`] is the incoming webhook beside it, which takes JSON and answers in plain words.
//!
//! `POST /_control/set` takes any of `{"channel": {"id"?, "archived"?, "member"?}}`, `{"token_revoked": bool}`,
//! `{"edit_window_closed": bool}`, `{"scopes": [..]}`, `{"message": {"channel"?, "text", "thread_ts"?}}` (posted by somebody
//! else) and `{"deleted": ts}`.

mod channel;
mod hook;
mod read;
mod write;

use std::{io, path::PathBuf};

use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::channel::{Channel, Message};
use super::{
    StandIn,
    message::{Reply, Request, Rights, Service, Tokens, change_bool, change_list, change_text, changes, text},
};

/// The user that the bot token speaks for.
const BOT_USER: &str = "U0RELIGHT1";
/// The workspace.
const TEAM: &str = "T0FINANCE1";
/// Anybody else.
const SOMEBODY: &str = "U0SOMEBODY";

/// How to start a Slack.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bot tokens; the read-only one lacks `chat:write`.
    pub tokens: Tokens,
    /// The workspace's channels as `(id, name)`; the bot is a member of each.
    pub channels: Vec<(String, String)>,
    /// A file to append every request to, as JSON lines.
    pub record_to: Option<PathBuf>,
}

impl Config {
    /// The channels `C0123456789` `#status` and `C0GENERAL01` `#general`.
    #[must_use]
    pub fn example(tokens: Tokens) -> Self {
        Self {
            tokens,
            channels: vec![("C0123456789".into(), "status".into()), ("C0GENERAL01".into(), "general".into())],
            record_to: None,
        }
    }
}

/// Starts it; its `base_url` ends in `/api`. Errors are those of binding a port and of opening the record.
pub async fn start(config: Config) -> io::Result<StandIn> {
    let secrets = config.tokens.secrets();
    let record_to = config.record_to.clone();
    let service = Slack::new(config);
    StandIn::start(Box::new(service), secrets, record_to, "/api").await
}

/// The whole address of a started Slack's incoming webhook, whose secret part is one of its tokens.
#[must_use]
pub fn webhook(slack: &StandIn, token: &str) -> String {
    let base = slack.base_url.strip_suffix("/api").unwrap_or(&slack.base_url);
    format!("{base}{}", hook::path(token))
}

/// The members of a successful answer besides `ok`, or the refusal.
type Outcome = Result<Value, Refusal>;

/// Why `ok` is false.
#[derive(Debug)]
struct Refusal {
    error: &'static str,
    /// Members besides `ok` and `error`.
    more: Value,
}

impl From<&'static str> for Refusal {
    fn from(error: &'static str) -> Self {
        Self { error, more: Value::Null }
    }
}

#[derive(Debug, Clone)]
struct Slack {
    tokens: Tokens,
    channels: Vec<Channel>,
    scopes: Vec<String>,
    token_revoked: bool,
    edit_window_closed: bool,
    /// The last `ts` given out, in microseconds.
    last: i64,
}

/// What a method needs and how it takes its arguments.
struct Needs {
    scope: Option<&'static str>,
    writes: bool,
}

impl Slack {
    fn new(config: Config) -> Self {
        let channels = config.channels.into_iter();
        Self {
            tokens: config.tokens,
            channels: channels.map(|(id, name)| Channel::new(id, name)).collect(),
            scopes: ["chat:write", "channels:read", "channels:history"].map(str::to_owned).to_vec(),
            token_revoked: false,
            edit_window_closed: false,
            last: 0,
        }
    }

    /// A fresh `ts`: seconds, a dot, six digits; unique and increasing whatever the clock does.
    fn ts(&mut self, now: Timestamp) -> String {
        self.last = now.as_microsecond().max(self.last + 1);
        format!("{}.{:06}", self.last / 1_000_000, self.last % 1_000_000)
    }

    fn granted(&self, rights: Rights) -> Vec<&str> {
        let all = self.scopes.iter().map(String::as_str);
        all.filter(|scope| rights == Rights::Full || *scope != "chat:write").collect()
    }

    fn route(&mut self, name: &str, request: &Request, now: Timestamp) -> Outcome {
        let method = match name {
            "auth.test" => Needs { scope: None, writes: true },
            "chat.postMessage" | "chat.update" => Needs { scope: Some("chat:write"), writes: true },
            "conversations.info" => Needs { scope: Some("channels:read"), writes: false },
            "conversations.history" | "conversations.replies" => {
                Needs { scope: Some("channels:history"), writes: false }
            }
            _ => {
                return Err(Refusal { error: "unknown_method", more: json!({"req_method": name}) });
            }
        };
        let rights = self.authenticate(request)?;
        if let Some(needed) = method.scope {
            let granted = self.granted(rights);
            if !granted.contains(&needed) {
                return Err(Refusal {
                    error: "missing_scope",
                    more: json!({"needed": needed, "provided": granted.join(",")}),
                });
            }
        }
        let arguments = arguments(request, method.writes)?;
        match name {
            "auth.test" => Ok(json!({
                "url": "https://financecopilot.slack.com/", "team": "FinanceCopilot",
                "user": "relight", "team_id": TEAM, "user_id": BOT_USER,
                "bot_id": "B0RELIGHT1",
            })),
            "chat.postMessage" => self.post(&arguments, BOT_USER, now),
            "chat.update" => self.update(&arguments, now),
            "conversations.info" => self.info(&arguments),
            "conversations.history" => self.history(&arguments),
            _ => self.replies(&arguments),
        }
    }

    fn authenticate(&self, request: &Request) -> Result<Rights, Refusal> {
        let Some(header) = request.header("authorization") else {
            return Err("not_authed".into());
        };
        // A token without its scheme is, to Slack, no token at all.
        let Some(token) = header.strip_prefix("Bearer ") else {
            return Err("not_authed".into());
        };
        let rights = self.tokens.rights(token).ok_or("invalid_auth")?;
        if self.token_revoked {
            return Err("token_revoked".into());
        }
        Ok(rights)
    }

    fn channel(&self, arguments: &Map<String, Value>) -> Result<&Channel, Refusal> {
        let id = text(arguments, "channel");
        let found = self.channels.iter().find(|it| Some(it.id.as_str()) == id);
        Ok(found.ok_or("channel_not_found")?)
    }

    fn channel_mut(&mut self, id: &str) -> Result<&mut Channel, Refusal> {
        let found = self.channels.iter_mut().find(|it| it.id == id);
        Ok(found.ok_or("channel_not_found")?)
    }

    fn change(&mut self, key: &str, change: &Value, now: Timestamp) -> Result<(), String> {
        let id = change
            .get(if key == "message" { "channel" } else { "id" })
            .and_then(Value::as_str)
            .map(str::to_owned)
            .or_else(|| self.channels.first().map(|it| it.id.clone()))
            .unwrap_or_default();
        match key {
            "channel" => {
                let found = self.channels.iter_mut().find(|it| it.id == id);
                let channel = found.ok_or("no such channel")?;
                if let Some(archived) = change.get("archived") {
                    channel.archived = change_bool(archived, "archived")?;
                }
                if let Some(member) = change.get("member") {
                    channel.member = change_bool(member, "member")?;
                }
            }
            "token_revoked" => self.token_revoked = change_bool(change, key)?,
            "edit_window_closed" => self.edit_window_closed = change_bool(change, key)?,
            "scopes" => self.scopes = change_list(change, key)?,
            "message" => {
                let mut arguments = Map::new();
                arguments.insert("channel".into(), json!(id));
                arguments.insert("text".into(), json!(change_text(change, "text")?));
                if let Some(thread) = change.get("thread_ts") {
                    arguments.insert("thread_ts".into(), thread.clone());
                }
                self.post(&arguments, SOMEBODY, now).map_err(|refusal| refusal.error.to_owned())?;
            }
            "deleted" => {
                let ts = change.as_str().ok_or("`deleted` must be a ts")?;
                let channels = &mut self.channels;
                let gone = channels.iter_mut().any(|channel| {
                    let before = channel.messages.len();
                    channel.messages.retain(|message| message.ts != ts);
                    channel.messages.len() < before
                });
                if !gone {
                    return Err(format!("no message {ts}"));
                }
            }
            _ => return Err(format!("nothing here is called `{key}`")),
        }
        Ok(())
    }
}

/// The arguments of a call, by the rules of the method's kind.
fn arguments(request: &Request, writes: bool) -> Result<Map<String, Value>, Refusal> {
    let collect = |pairs: &[(String, String)]| -> Map<String, Value> {
        let pairs = pairs.iter();
        pairs.map(|(key, value)| (key.clone(), json!(value))).collect()
    };
    let mut arguments = collect(request.query());
    if request.method == Method::GET {
        return Ok(arguments);
    }
    if request.body.is_empty() {
        return Ok(arguments);
    }
    let media = request.media_type().ok_or("missing_post_type")?;
    let charset = media.parameter("charset").unwrap_or("utf-8");
    if !["utf-8", "iso-8859-1"].contains(&charset.to_ascii_lowercase().as_str()) {
        return Err("invalid_charset".into());
    }
    if media.is_form() {
        arguments.extend(collect(&request.form()));
    } else if !media.is_json() {
        return Err("invalid_post_type".into());
    } else if writes {
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(object)) => arguments.extend(object),
            Ok(_) => return Err("json_not_object".into()),
            Err(_) => return Err("invalid_json".into()),
        }
    }
    Ok(arguments)
}

impl Service for Slack {
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply {
        let segments = request.segments();
        if let ["services", team, app, secret] = *segments.as_slice() {
            return self.hook([team, app, secret], request, now);
        }
        let ["api", name] = segments.as_slice() else {
            return Reply::json(StatusCode::NOT_FOUND, json!({"ok": false, "error": "not_found"}));
        };
        if ![Method::GET, Method::POST].contains(&request.method) {
            return Reply::ok(json!({"ok": false, "error": "invalid_post_type"}));
        }
        let mut body = Map::new();
        match self.route(name, request, now) {
            Ok(Value::Object(members)) => {
                body.insert("ok".into(), json!(true));
                body.extend(members);
            }
            Ok(_) => {
                body.insert("ok".into(), json!(true));
            }
            Err(refusal) => {
                body.insert("ok".into(), json!(false));
                body.insert("error".into(), json!(refusal.error));
                if let Value::Object(more) = refusal.more {
                    body.extend(more);
                }
            }
        }
        let missing_charset =
            request.media_type().is_some_and(|media| media.is_json() && media.parameter("charset").is_none());
        if missing_charset {
            body.insert("warning".into(), json!("missing_charset"));
        }
        let reply = Reply::ok(Value::Object(body));
        match self.authenticate(request) {
            Ok(rights) => reply.with_header("x-oauth-scopes", self.granted(rights).join(",")),
            Err(_) => reply,
        }
    }

    fn failure(&self, status: u16, request: &Request, _now: Timestamp) -> Reply {
        if request.segments().first() == Some(&"services") {
            return hook::failure(status);
        }
        let error = match status {
            // Slack spells it in two ways, by method.
            429 if request.uri.path().ends_with("chat.postMessage") => "rate_limited",
            429 => "ratelimited",
            503 => "service_unavailable",
            _ => "internal_error",
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let reply = Reply::json(status, json!({"ok": false, "error": error}));
        if status == StatusCode::TOO_MANY_REQUESTS {
            return reply.with_header("retry-after", 3);
        }
        reply
    }

    fn state(&self) -> Value {
        json!({
            "channels": self.channels.iter().map(Channel::whole).collect::<Vec<_>>(),
            "scopes": self.scopes,
        })
    }

    fn set(&mut self, change: &Value, now: Timestamp) -> Result<(), String> {
        let mut next = self.clone();
        for (key, value) in changes(change)? {
            next.change(key, value, now)?;
        }
        *self = next;
        Ok(())
    }
}
