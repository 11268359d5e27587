//! From a silence or a refusal to what a person, or the engine, may do about it.

use std::error::Error as _;

use jiff::Timestamp;
use reqwest::StatusCode;

use crate::workers::{Disposition, WorkerError};

use super::{Answer, Call, Effect, Service};

/// A call that did not succeed: what the service said, for those who know its codes, and the error for all others.
#[derive(Debug)]
pub(crate) struct CallError {
    /// The HTTP status, where there was an answer.
    pub(crate) status: Option<u16>,
    /// The service's own code.
    pub(crate) code: Option<String>,
    /// The service's own words.
    pub(crate) said: String,
    /// The error.
    pub(crate) error: WorkerError,
}

/// What a call gives.
pub(crate) type Called<T> = Result<T, Box<CallError>>;

impl From<Box<CallError>> for WorkerError {
    fn from(failed: Box<CallError>) -> Self {
        failed.error
    }
}

impl From<WorkerError> for Box<CallError> {
    fn from(error: WorkerError) -> Self {
        Box::new(CallError { status: None, code: None, said: String::new(), error })
    }
}

impl CallError {
    /// Whether the service said that code.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The same with another cause and another next step.
    pub(crate) fn explained(mut self: Box<Self>, cause: impl Into<String>, next: impl Into<String>) -> Box<Self> {
        self.error.cause = cause.into();
        self.error.next = next.into();
        self
    }
}

impl Service {
    fn failed(&self, call: &Call<'_>, cause: String, next: String, disposition: Disposition) -> Box<CallError> {
        WorkerError::new(call.operation, self.target(), cause, next).with(disposition).into()
    }

    /// No answer, or none that came through whole.
    pub(crate) fn unanswered(&self, call: &Call<'_>, error: reqwest::Error) -> Box<CallError> {
        let (connect, timeout, builder) = (error.is_connect(), error.is_timeout(), error.is_builder());
        let why = causes(error);
        if builder {
            let next = "Check its address in the config.".to_owned();
            return self.failed(call, format!("The request cannot be made: {why}."), next, Disposition::Fatal);
        }
        if connect {
            let certificate = why.contains("certificate");
            let (next, disposition) = if certificate {
                let next = "Check this host's certificate authorities, and whether a proxy answers in its place.";
                (next, Disposition::AskOperator)
            } else {
                ("Nothing was sent. Check the network of this host, then retry (r).", Disposition::Retry)
            };
            return self.failed(call, format!("{} cannot be reached: {why}.", self.name), next.to_owned(), disposition);
        }
        let what = if timeout {
            format!("{} did not answer within {} s", self.name, self.limit.as_secs_f64())
        } else {
            format!("The connection to {} broke off before the answer was through ({why})", self.name)
        };
        if call.effect == Effect::Read {
            let next = "Nothing was changed. Retry (r).".to_owned();
            return self.failed(call, format!("{what}."), next, Disposition::Retry);
        }
        let cause = format!("{what}, so nobody knows whether it happened.");
        self.failed(call, cause, format!("Look at {} before it is tried again.", self.name), Disposition::InDoubt)
    }

    /// A success whose body cannot be read.
    pub(crate) fn unreadable(&self, call: &Call<'_>, kind: &str) -> Box<CallError> {
        let said = format!("{} says that all went well, but its answer {kind}", self.name);
        if call.effect == Effect::Read {
            let next = "Check its address in the config, and whether a proxy answers in its place.".to_owned();
            return self.failed(call, format!("{said}."), next, Disposition::AskOperator);
        }
        let cause = format!("{said}: nobody knows whether it happened.");
        self.failed(call, cause, format!("Look at {} before it is tried again.", self.name), Disposition::InDoubt)
    }

    /// A refusal. `code` and `said` are the service's own, from its body.
    pub(crate) fn refused(&self, call: &Call<'_>, answer: &Answer, code: Option<String>, said: &str) -> Box<CallError> {
        let said = self.clean(said);
        let status = answer.status.as_u16();
        let detail = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        let (name, source) = (self.name, &self.source);
        let retry = "then retry (r).";
        let (cause, next, disposition) = match answer.status {
            StatusCode::UNAUTHORIZED => (
                format!("{name} does not accept the token ({detail})."),
                format!("Put a valid token into {source}, {retry}"),
                Disposition::AskOperator,
            ),
            StatusCode::FORBIDDEN => (
                format!("{name} refuses this to the token ({detail}); it lacks {}.", call.right),
                format!("Grant it {}, or put another token into {source}, {retry}", call.right),
                Disposition::AskOperator,
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => (
                format!("{name} does not know {} ({detail}).", call.subject),
                format!("Check it there and in the config, {retry}"),
                Disposition::AskOperator,
            ),
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = self.pace.wait(&answer.headers, Timestamp::now());
                (
                    format!("{name} asks to be left alone for {} s ({detail}).", wait.as_secs_f64().ceil()),
                    format!("Nothing was done. Wait {} s, {retry}", wait.as_secs_f64().ceil()),
                    Disposition::Wait(wait),
                )
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                if call.effect == Effect::Once {
                    (
                        format!("{name} failed on its side ({detail}); nobody knows whether it happened."),
                        format!("Look at {name} before it is tried again."),
                        Disposition::InDoubt,
                    )
                } else {
                    (
                        format!("{name} failed on its side ({detail})."),
                        "Trying again is safe: retry (r).".to_owned(),
                        Disposition::Retry,
                    )
                }
            }
            StatusCode::CONFLICT => (
                format!("Somebody else changed it at the same moment ({detail})."),
                "Nothing was done. Retry (r).".to_owned(),
                Disposition::Retry,
            ),
            status if status.is_redirection() => (
                format!("{name} points elsewhere ({detail}); its API does not do that."),
                "Check its address in the config.".to_owned(),
                Disposition::AskOperator,
            ),
            _ => (
                format!("{name} refuses it ({detail})."),
                format!("Nothing was done. Mend what it names, {retry}"),
                Disposition::AskOperator,
            ),
        };
        let error = WorkerError::new(call.operation, self.target(), cause, next).with(disposition);
        Box::new(CallError { status: Some(status), code, said, error })
    }
}

/// The error and its causes in one line. The address is left out: it is in the target already.
pub(super) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
