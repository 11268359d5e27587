//! What a person asks of the engine, and why it may say no.

use serde::{Deserialize, Serialize};

use crate::runbook::StepId;

use super::{AttemptId, Digest, Inputs, MessageId};

/// What a person (or the program that plays one in a drill) asks of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Work out what a step would do now. Changes nothing; the answer is a plan.
    Prepare {
        /// The step.
        step: StepId,
        /// What the person said so far.
        inputs: Inputs,
        /// The step whose effect is to be taken back by it.
        undoes: Option<StepId>,
    },
    /// Do it: consent to the plan that was on screen.
    Approve {
        /// The step.
        step: StepId,
        /// Digest of the plan that the person read.
        digest: Digest,
        /// The name that the person typed, where the approval is `type`.
        typed: Option<String>,
    },
    /// Leave a step out.
    Skip {
        /// The step.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// A step was done outside relight.
    DoneByHand {
        /// The step.
        step: StepId,
        /// What was done.
        note: String,
    },
    /// Put a step that ended badly, and the steps that rest on it, back to pending.
    Retry {
        /// The step.
        step: StepId,
    },
    /// Stop a running attempt.
    Stop {
        /// Which.
        attempt: AttemptId,
    },
    /// Ask the target again what became of an attempt in doubt.
    Probe {
        /// Which.
        attempt: AttemptId,
    },
    /// Take back the first of two approvals.
    Withdraw {
        /// The step.
        step: StepId,
    },
    /// Say what became of an attempt in doubt.
    Settle {
        /// Which.
        attempt: AttemptId,
        /// It had its effect.
        happened: bool,
        /// How the person knows.
        note: String,
    },
    /// Write a note into the timeline.
    Note {
        /// The text.
        text: String,
    },
    /// Let a note say something else; what it said stays in the journal.
    Correct {
        /// The number of the event that is the note.
        note: u64,
        /// What it should say.
        text: String,
    },
    /// Say whether a message in doubt arrived.
    SettleMessage {
        /// Which.
        message: MessageId,
        /// It did.
        arrived: bool,
        /// How the person knows.
        note: String,
    },
    /// Write down how things stand for whoever takes over.
    OfferHandover {
        /// The page.
        text: String,
    },
    /// Take the incident over.
    TakeOver {
        /// Digest of the page that was read.
        page: Digest,
    },
    /// Record that a contact was told.
    Escalate {
        /// The contact's role in the runbook.
        role: String,
        /// What was said.
        note: String,
    },
}

/// A question that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case")]
pub enum Query {
    /// List the dumps; the answer is a [`super::Notice::Snapshots`].
    Snapshots,
    /// More of a long listing; the answer is a [`super::Notice::Snapshots`] to this client alone.
    SnapshotsFrom {
        /// The listing's number.
        listing: u64,
        /// How many of its rows are there already.
        from: usize,
    },
    /// Open an archive; the answer is a [`super::Notice::Contents`] to this client alone.
    Contents {
        /// The object's key.
        key: String,
    },
    /// Search an attempt's log; the answer is a [`super::Notice::Found`] to this client alone.
    Find {
        /// Which.
        attempt: AttemptId,
        /// What is searched for.
        needle: String,
        /// From the line that begins at this byte on.
        from: u64,
    },
    /// Lines of an attempt's log; the answer is a [`super::Notice::Output`] to this client alone.
    Output {
        /// Which.
        attempt: AttemptId,
        /// From this byte on, or the end of the log that fits into `most` where none is given.
        from: Option<u64>,
        /// At most this many bytes.
        most: u32,
    },
}

/// Why a command was not carried out. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum Refusal {
    /// The runbook has no such step.
    #[error("there is no step `{step}` in this runbook")]
    NoSuchStep {
        /// The step.
        step: StepId,
    },
    /// The step waits for others.
    #[error("`{title}` waits for: {waits_for}")]
    NotReady {
        /// The step's title.
        title: String,
        /// Titles of the steps that it waits for.
        waits_for: String,
    },
    /// The step is not in a state in which this can be asked.
    #[error("{0}", .why)]
    WrongState {
        /// The whole sentence.
        why: String,
    },
    /// The plan on screen is not the plan that the engine has.
    #[error("the plan changed since it was shown: {why}. Read it again before you approve")]
    PlanChanged {
        /// What changed.
        why: String,
    },
    /// It takes another person.
    #[error("`{title}` takes two people: {first} approved it first. Somebody else must, from another account")]
    SecondPerson {
        /// The step's title.
        title: String,
        /// Who approved it first.
        first: String,
    },
    /// Whoever asks only looks on.
    #[error("{why}")]
    Watching {
        /// Why they may not act.
        why: String,
    },
    /// The plan cannot be approved by anybody.
    #[error("this plan cannot be approved: {why}")]
    Obstacle {
        /// Why.
        why: String,
    },
    /// The wrong name was typed.
    #[error("the name typed does not match: this approval takes `{expected}`")]
    WrongName {
        /// The right one.
        expected: String,
    },
    /// Another attempt works on the same target.
    #[error("`{running}` is at work on {target}; wait for it or stop it first")]
    TargetBusy {
        /// The running step's title.
        running: String,
        /// The target.
        target: String,
    },
    /// The incident is over.
    #[error("this incident is closed; nothing more can be done in it")]
    Closed,
    /// The engine cannot write its journal, so it does nothing more.
    #[error(
        "the journal cannot be written ({why}); nothing is done until that is mended: free space on this host's disk and start relight again"
    )]
    JournalStopped {
        /// The operating system's reason.
        why: String,
    },
}
