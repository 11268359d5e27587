//! Exit codes, and what an error says at the edge.

use std::process::ExitCode;

use color_eyre::Report;

use crate::config::ConfigError;
use crate::engine::{EngineError, HomeError};
use crate::journal::JournalError;
use crate::runbook::RunbookError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the call, the config or the runbook is not right.
    Usage,
    /// 3: refused by a guard.
    Refused,
    /// 4: verification failed.
    Unverified,
    /// 5: in doubt.
    InDoubt,
    /// 6: another engine holds the incident.
    Held,
    /// 130: interrupted.
    Interrupted,
    /// The code of a command that this process stands in for.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unverified => 4,
            Exit::InDoubt => 5,
            Exit::Held => 6,
            Exit::Interrupted => 130,
            Exit::Of(code) => code,
        })
    }
}

/// A fault of the call: its text is whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

impl Exit {
    /// The code for an error.
    pub(super) fn of(report: &Report) -> Self {
        let held = |error: &JournalError| matches!(error, JournalError::Held(_));
        for cause in report.chain() {
            let code = if cause.is::<Usage>() || cause.is::<ConfigError>() || cause.is::<RunbookError>() {
                Some(Self::Usage)
            } else if let Some(error) = cause.downcast_ref::<JournalError>() {
                held(error).then_some(Self::Held)
            } else if let Some(EngineError::Journal(error)) = cause.downcast_ref::<EngineError>() {
                held(error).then_some(Self::Held)
            } else if let Some(HomeError::Foreign { .. }) = cause.downcast_ref::<HomeError>() {
                Some(Self::Refused)
            } else {
                None
            };
            if let Some(code) = code {
                return code;
            }
        }
        Self::Failed
    }
}

/// The error and its causes in one sentence.
pub(super) fn sentence(report: &Report) -> String {
    let mut text = String::new();
    for cause in report.chain() {
        let part = cause.to_string();
        // A transparent error repeats its cause.
        if text.contains(&part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}
