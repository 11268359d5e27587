//! What can go wrong on the way, on request: each fault waits for the next request that it matches.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::message::Request;

/// A fault and the requests that it is meant for. As JSON for `POST /_control/faults`:
/// `{"method":"POST","path_prefix":"/incidents","times":2,"fault":{"kind":"answer","status":503}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only requests of this method; any when absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Only requests whose path and query begin so; any when absent.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// How many requests it strikes before it is used up.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub fault: FaultKind,
}

fn once() -> u32 {
    1
}

/// What happens to a request that a fault strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Another status instead of the true answer.
    Answer {
        /// The status, 200 to 599.
        status: u16,
        /// Headers; when neither these nor a body are given, the answer has the vendor's own shape, rate headers included.
        #[serde(default)]
        headers: Option<Map<String, Value>>,
        /// The body: a string is sent as it is, anything else as JSON.
        #[serde(default)]
        body: Option<Value>,
        /// The status alone, with neither headers nor body, as a proxy in between answers.
        #[serde(default)]
        bare: bool,
        /// Whether the request takes effect first, as under Slack's `internal_error`.
        #[serde(default)]
        effect: bool,
    },
    /// The request takes effect; its answer breaks off after so many bytes, the head included.
    Cut {
        /// Bytes of the HTTP response that still get through.
        after_bytes: usize,
    },
    /// The connection ends before the request is looked at: no effect, no answer.
    Drop,
    /// The request takes effect, then the connection ends without a byte of answer.
    LoseAnswer,
    /// The request is held until `POST /_control/release`, then goes its normal way.
    Hold {
        /// Held after it took effect rather than before.
        #[serde(default)]
        after_effect: bool,
    },
    /// The request takes effect; the answer is a 200 whose body is no JSON: the given text, or the true body cut in half.
    Garble {
        /// The text to send.
        #[serde(default)]
        body: Option<String>,
    },
}

impl FaultKind {
    /// Its name in the JSON form, which the record uses.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "answer",
            Self::Cut { .. } => "cut",
            Self::Drop => "drop",
            Self::LoseAnswer => "lose_answer",
            Self::Hold { .. } => "hold",
            Self::Garble { .. } => "garble",
        }
    }
}

impl Fault {
    /// A fault for the next request of any kind.
    #[must_use]
    pub fn next(fault: FaultKind) -> Self {
        Self { method: None, path_prefix: None, times: 1, fault }
    }

    /// A fault for the next request of this method under this path.
    #[must_use]
    pub fn on(method: &str, path_prefix: &str, fault: FaultKind) -> Self {
        Self { method: Some(method.to_owned()), path_prefix: Some(path_prefix.to_owned()), ..Self::next(fault) }
    }

    /// The same fault for that many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Refuses what could not be answered with.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.fault {
            FaultKind::Answer { status, .. } if !(200..600).contains(status) => {
                Err(format!("status {status} is outside 200 to 599"))
            }
            _ if self.times == 0 => Err("`times` must be at least 1".into()),
            _ => Ok(()),
        }
    }

    fn strikes(&self, request: &Request) -> bool {
        self.method.as_deref().is_none_or(|method| request.method.as_str().eq_ignore_ascii_case(method))
            && self.path_prefix.as_deref().is_none_or(|prefix| request.uri.to_string().starts_with(prefix))
    }
}

/// The faults that wait, and the requests that are held.
pub(super) struct Faults {
    waiting: Mutex<VecDeque<Fault>>,
    /// Goes up with every release; a held request waits for a number above the one it saw.
    releases: watch::Sender<u64>,
    held: watch::Sender<usize>,
}

impl Faults {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), releases: watch::Sender::new(0), held: watch::Sender::new(0) }
    }

    /// Queues one fault behind those that wait.
    pub(super) fn push(&self, fault: Fault) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Drops what waits and has not struck.
    pub(super) fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The faults that have not struck yet.
    pub(super) fn waiting(&self) -> Vec<Fault> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().cloned().collect()
    }

    /// Takes the first fault that is meant for this request.
    pub(super) fn take(&self, request: &Request) -> Option<FaultKind> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.iter().position(|fault| fault.strikes(request))?;
        let fault = waiting.get_mut(at)?;
        let kind = fault.fault.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            waiting.remove(at);
        }
        Some(kind)
    }

    /// Lets go of everything that is held now.
    pub(super) fn release(&self) {
        self.releases.send_modify(|number| *number += 1);
    }

    /// Holds the caller until the next release.
    pub(super) async fn hold(&self) {
        let mut releases = self.releases.subscribe();
        let before = *releases.borrow_and_update();
        self.held.send_modify(|held| *held += 1);
        // The sender lives in `self`, so this can only end by a release.
        let _ = releases.wait_for(|number| *number > before).await;
        self.held.send_modify(|held| *held -= 1);
    }

    /// Returns once at least that many requests are held at the same time.
    pub(super) async fn held(&self, count: usize) {
        let mut held = self.held.subscribe();
        let _ = held.wait_for(|held| *held >= count).await;
    }

    /// Requests held now.
    pub(super) fn holding(&self) -> usize {
        *self.held.borrow()
    }
}
