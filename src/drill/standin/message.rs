//! What a stand-in is asked and what it answers, free of any server: the services are plain functions of these.

use std::fmt;

use axum::{
    body::Bytes,
    extract::Query,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// One request, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The HTTP method.
    pub(super) method: Method,
    /// Path and query as they were sent.
    pub(super) uri: Uri,
    /// All headers.
    pub(super) headers: HeaderMap,
    /// The whole body.
    pub(super) body: Bytes,
    /// Decoded name and value pairs of the query, in the order sent.
    query: Vec<(String, String)>,
}

impl Request {
    /// Takes a request apart. A query that cannot be decoded reads as empty.
    pub(super) fn new(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Self {
        let query = pairs(&uri);
        Self { method, uri, headers, body, query }
    }

    /// The path between its slashes, without empty parts.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.uri.path().split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The first value of a query parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a repeated query parameter such as `statuses[]`.
    pub(super) fn params(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// All decoded query parameters.
    pub(super) fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// A header as text; `None` when it is missing or no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The parsed `Content-Type`.
    pub(super) fn media_type(&self) -> Option<MediaType> {
        self.header("content-type").map(MediaType::parse)
    }

    /// The body as a JSON object, or what is wrong with it.
    pub(super) fn object(&self) -> Result<Map<String, Value>, String> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err("the body is not a JSON object".into()),
            Err(error) => Err(format!("the body is not JSON: {error}")),
        }
    }

    /// The body read as `application/x-www-form-urlencoded`.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        // A form is a query by another road: axum's decoder reads both.
        std::str::from_utf8(&self.body)
            .ok()
            .and_then(|text| format!("/?{text}").parse::<Uri>().ok())
            .map(|uri| pairs(&uri))
            .unwrap_or_default()
    }
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// A media type and its parameters, lower-cased names, as in RFC 9110 section 8.3.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| {
                let value = value.trim().trim_matches('"');
                (name.trim().to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self { essence, parameters }
    }

    /// Whether this is `application/json`, whatever its parameters.
    pub(super) fn is_json(&self) -> bool {
        self.essence == "application/json"
    }

    /// Whether this is an encoded form.
    pub(super) fn is_form(&self) -> bool {
        self.essence == "application/x-www-form-urlencoded"
    }

    /// A parameter's value.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    /// The status.
    pub(super) status: u16,
    /// Headers besides the content type and length.
    pub(super) headers: Vec<(String, String)>,
    /// The body: a string is sent as it is, anything else as JSON; `None` sends none.
    pub(super) body: Option<Value>,
}

impl Reply {
    /// An answer with a JSON body.
    pub(super) fn json(status: StatusCode, body: Value) -> Self {
        Self { status: status.as_u16(), headers: Vec::new(), body: Some(body) }
    }

    /// `200 OK` with a JSON body.
    pub(super) fn ok(body: Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// Adds a header.
    pub(super) fn with_header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// What a stand-in is behind its server. All of it is synchronous and sees the clock only as an argument, so that a test
/// can call it without a network and a runtime.
pub(super) trait Service: Send + 'static {
    /// Answers one request and changes the state accordingly.
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply;

    /// This vendor's shape of an error that a fault asks for, with its rate-limit headers where the status is 429.
    fn failure(&self, status: u16, request: &Request, now: Timestamp) -> Reply;

    /// The state, for assertions.
    fn state(&self) -> Value;

    /// Changes something as other people would; an error says what was not understood, and nothing has changed then.
    fn set(&mut self, change: &Value, now: Timestamp) -> Result<(), String>;
}

/// What a token is allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Everything.
    Full,
    /// Reading only.
    ReadOnly,
}

/// The tokens that a stand-in knows. Any other is refused.
#[derive(Clone)]
pub struct Tokens {
    full: String,
    read_only: Option<String>,
}

impl Tokens {
    /// One token that may do everything.
    #[must_use]
    pub fn new(full: impl Into<String>) -> Self {
        Self { full: full.into(), read_only: None }
    }

    /// Adds a second token that lacks the right to change anything (for Grafana: the right to query).
    #[must_use]
    pub fn with_read_only(mut self, token: impl Into<String>) -> Self {
        self.read_only = Some(token.into());
        self
    }

    /// What the presented token may do; `None` for a stranger. An empty token is never known.
    pub(super) fn rights(&self, presented: &str) -> Option<Rights> {
        if presented.is_empty() {
            None
        } else if presented == self.full {
            Some(Rights::Full)
        } else if self.read_only.as_deref() == Some(presented) {
            Some(Rights::ReadOnly)
        } else {
            None
        }
    }

    /// Every token, for redaction.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut all = vec![self.full.clone()];
        all.extend(self.read_only.clone());
        all.retain(|secret| !secret.is_empty());
        all
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tokens([redacted])")
    }
}

/// A non-empty string member.
pub(super) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The members of `change` by name, for `Service::set`; anything but an object is refused.
pub(super) fn changes(change: &Value) -> Result<&Map<String, Value>, String> {
    change.as_object().ok_or_else(|| "expected a JSON object of changes".into())
}

/// A required member of a change, read as text.
pub(super) fn change_text<'a>(change: &'a Value, key: &str) -> Result<&'a str, String> {
    change.get(key).and_then(Value::as_str).ok_or_else(|| format!("`{key}` must be a string"))
}

/// A change that is a plain yes or no.
pub(super) fn change_bool(change: &Value, key: &str) -> Result<bool, String> {
    change.as_bool().ok_or_else(|| format!("`{key}` must be true or false"))
}

/// A list of strings in a change.
pub(super) fn change_list(change: &Value, key: &str) -> Result<Vec<String>, String> {
    change
        .as_array()
        .and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>())
        .ok_or_else(|| format!("`{key}` must be a list of strings"))
}

/// A reference as the vendors write it: `{id, type, summary}`.
pub(super) fn reference(id: &str, kind: &str, summary: &str) -> Value {
    json!({"id": id, "type": kind, "summary": summary})
}
