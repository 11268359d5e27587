//! The memory of what arrived. It exists so that a test, also one in another process, can assert on what was really sent.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::message::Request;

/// Requests kept in memory; older ones are only in the file.
const KEPT: usize = 4096;

/// The headers worth keeping. `authorization` is kept for its format only.
const HEADERS: [&str; 10] = [
    "authorization",
    "accept",
    "content-type",
    "from",
    "ld-api-version",
    "x-grafana-org-id",
    "x-cache-skip",
    "x-http-method-override",
    "content-length",
    "user-agent",
];

/// One request that arrived, and how it was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Counts from 1 in the order in which the requests were answered.
    pub seq: u64,
    /// When it had arrived.
    pub at: Timestamp,
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Selected headers by lower-case name; a token reads `[redacted]`, its scheme is kept.
    pub headers: Map<String, Value>,
    /// The body as JSON where it is JSON, else as text, else null.
    pub body: Value,
    /// The status that was put on the wire, `null` where nothing was answered.
    pub status: Option<u16>,
    /// Whether the service itself saw the request, so that its effect took place (if it was valid).
    pub processed: bool,
    /// The fault that struck it, by name.
    pub fault: Option<String>,
}

impl Recorded {
    /// Whether this is a request of that method (any, if `None`) under that path.
    #[must_use]
    pub fn matches(&self, method: Option<&str>, path_prefix: Option<&str>) -> bool {
        method.is_none_or(|method| self.method.eq_ignore_ascii_case(method))
            && path_prefix.is_none_or(|prefix| self.path.starts_with(prefix))
    }
}

#[derive(Debug)]
struct Kept {
    next: u64,
    requests: VecDeque<Recorded>,
    file: Option<File>,
    /// The first failure to write the file; a record that is silently short would prove the wrong thing.
    broken: Option<String>,
}

/// Keeps what arrived, in memory and, if a path was given, as JSON lines.
pub(super) struct Recorder {
    secrets: Vec<String>,
    kept: Mutex<Kept>,
    count: watch::Sender<u64>,
}

impl Recorder {
    /// Opens the record, appending to an existing file.
    pub(super) fn open(path: Option<&Path>, secrets: Vec<String>) -> io::Result<Self> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).mode(0o600).open(path)).transpose()?;
        Ok(Self {
            secrets,
            kept: Mutex::new(Kept { next: 1, requests: VecDeque::new(), file, broken: None }),
            count: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one request. The line is in the file before the answer leaves, so whoever has the answer finds the line.
    pub(super) fn note(
        &self,
        request: &Request,
        at: Timestamp,
        status: Option<u16>,
        processed: bool,
        fault: Option<&str>,
    ) {
        let body = self.body(request);
        let headers = HEADERS
            .iter()
            .filter_map(|name| {
                let value = request.header(name)?;
                let value = if *name == "authorization" { redact_authorization(value) } else { self.redact(value) };
                Some(((*name).to_owned(), Value::String(value)))
            })
            .collect();
        let mut kept = self.lock();
        let recorded = Recorded {
            seq: kept.next,
            at,
            method: request.method.to_string(),
            path: self.redact(&request.uri.to_string()),
            headers,
            body,
            status,
            processed,
            fault: fault.map(str::to_owned),
        };
        kept.next += 1;
        if let Some(file) = kept.file.as_mut() {
            let written = serde_json::to_vec(&recorded).map_err(io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                file.write_all(&line)
            });
            if let Err(error) = written {
                kept.broken.get_or_insert_with(|| error.to_string());
            }
        }
        if kept.requests.len() == KEPT {
            kept.requests.pop_front();
        }
        kept.requests.push_back(recorded);
        drop(kept);
        self.count.send_modify(|count| *count += 1);
    }

    /// What is still in memory, oldest first.
    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.iter().cloned().collect()
    }

    /// Why the file is incomplete, if it is.
    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.clone()
    }

    /// Returns once at least `count` matching requests were answered.
    pub(super) async fn arrived(&self, method: Option<&str>, path: Option<&str>, count: usize) {
        let mut changed = self.count.subscribe();
        loop {
            changed.mark_unchanged();
            let found = self.lock().requests.iter().filter(|recorded| recorded.matches(method, path)).count();
            if found >= count || changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn body(&self, request: &Request) -> Value {
        if request.body.is_empty() {
            return Value::Null;
        }
        let text = self.redact(&String::from_utf8_lossy(&request.body));
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
    }
}

/// Keeps the scheme, which a test may want to see, and nothing of what follows it, right or wrong.
fn redact_authorization(value: &str) -> String {
    for scheme in ["Token token=", "Bearer ", "Basic "] {
        if value.starts_with(scheme) {
            return format!("{scheme}[redacted]");
        }
    }
    "[redacted]".to_owned()
}

#[cfg(test)]
mod tests {
    use super::redact_authorization;

    #[test]
    fn authorization_keeps_its_format_only() {
        assert_eq!(redact_authorization("Bearer abc"), "Bearer [redacted]");
        assert_eq!(redact_authorization("Token token=abc"), "Token token=[redacted]");
        assert_eq!(redact_authorization("api-123"), "[redacted]");
        assert_eq!(redact_authorization("bearer abc"), "[redacted]");
    }
}
