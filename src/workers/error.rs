//! What went wrong on a target, and what may be done about it.

use std::time::Duration;

use crate::incident::{Outcome, Problem};

/// What the engine or the person may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The same again may work, and is safe: nothing had its effect.
    Retry,
    /// The same again after this long; the target said so.
    Wait(Duration),
    /// A person must change something first.
    AskOperator,
    /// It will never work as it is.
    Fatal,
    /// Nobody knows whether it had its effect: never blindly again.
    InDoubt,
}

/// An error of a worker: what failed, on which target, why, and what the person can do now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} failed on {target}: {cause} {next}")]
pub struct WorkerError {
    /// What was tried: `scale deployment api to 0`.
    pub operation: String,
    /// Where: `cluster prod-eu, namespace default`.
    pub target: String,
    /// Why it failed; a sentence. Never holds a secret or a customer's row.
    pub cause: String,
    /// What to do now; a sentence.
    pub next: String,
    /// What may be done about it.
    pub disposition: Disposition,
}

impl WorkerError {
    /// An error that a person must look at.
    pub fn new(
        operation: impl Into<String>,
        target: impl Into<String>,
        cause: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            operation: operation.into(),
            target: target.into(),
            cause: cause.into(),
            next: next.into(),
            disposition: Disposition::AskOperator,
        }
    }

    /// The same with another disposition.
    #[must_use]
    pub fn with(mut self, disposition: Disposition) -> Self {
        self.disposition = disposition;
        self
    }

    /// The same where only the proof of an effect failed: `done` was answered well, and nobody has seen what came of it.
    #[must_use]
    pub fn unproved(mut self, done: &str) -> Self {
        self.cause = format!("{done}, and what came of it could not be read: {}", self.cause);
        self.next = format!("Look at {} before it is tried again.", self.target);
        self.with(Disposition::InDoubt)
    }

    /// The journal's form.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        Problem { what: self.operation, target: self.target, why: self.cause, next: self.next }
    }

    /// The outcome of an attempt that ended in this error.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        match self.disposition {
            Disposition::InDoubt => Outcome::InDoubt { problem: self.into_problem() },
            _ => Outcome::Failed { problem: self.into_problem() },
        }
    }
}
