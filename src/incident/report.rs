//! What workers tell the engine, and what the engine asks to be done.

use serde::{Deserialize, Serialize};

use crate::runbook::StepId;

use super::{AttemptId, Inputs, MessageId, Outcome, Problem};

/// What came of something that the engine had asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// An attempt ended.
    Finished {
        /// Which.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// An attempt in doubt was looked into; an outcome that is again in doubt leaves it to a person.
    Probed {
        /// Which.
        attempt: AttemptId,
        /// What the target says.
        outcome: Outcome,
    },
    /// A message arrived, or never will.
    Sent {
        /// Which.
        message: MessageId,
        /// The receiver's id of it, or why it was given up.
        result: Result<String, Problem>,
    },
    /// Nobody knows whether a message arrived, and nobody can be asked but a person.
    SentInDoubt {
        /// Which.
        message: MessageId,
        /// Why not.
        problem: Problem,
    },
    /// Something about an attempt at work belongs into the timeline.
    Remarked {
        /// Which.
        attempt: AttemptId,
        /// What.
        text: String,
    },
    /// Something happened on a watched target.
    Alarm {
        /// The step that watches.
        step: StepId,
        /// What.
        text: String,
    },
}

/// A side effect that is called for. Only the engine runs effects, and never while it replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a worker for a plan.
    Plan {
        /// The step.
        step: StepId,
        /// What the person said.
        inputs: Inputs,
        /// The step to take back.
        undoes: Option<StepId>,
    },
    /// Ask a worker for a plan of a step that begins by itself, and begin it.
    Begin {
        /// The step.
        step: StepId,
    },
    /// Run an approved attempt.
    Run {
        /// Which.
        attempt: AttemptId,
    },
    /// Stop it.
    Stop {
        /// Which.
        attempt: AttemptId,
    },
    /// Ask the target what became of it.
    Probe {
        /// Which.
        attempt: AttemptId,
    },
    /// Send a message.
    Send {
        /// Which.
        message: MessageId,
    },
    /// Watch what an attempt achieved, until [`Effect::Unwatch`].
    Watch {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Stop watching what this step achieved.
    Unwatch {
        /// The step.
        step: StepId,
    },
    /// The incident is over: end when nothing is owed any more.
    End,
}
