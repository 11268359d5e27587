//! The hands: one folder or file per outside system, all behind one trait.
//!
//! A [`Worker`] is made for one step with its parameters resolved. The engine asks it in this order:
//! [`Worker::plan`] (reads, changes nothing) → a person approves → [`Worker::identify`] once more, which must
//! give the identity that was approved → [`Worker::run`]. After a crash, [`Worker::probe`] asks the target what
//! became of an attempt. Workers report through their return value and [`Io`]; they know nothing of the engine.

mod build;
pub mod command;
pub mod endpoints;
mod error;
pub mod grafana;
mod http;
mod io;
pub mod kubernetes;
pub mod launchdarkly;
mod notes;
pub mod objects;
pub mod pagerduty;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod s3;
pub mod slack;
pub mod snapshot;

pub use build::build;
pub use error::{Disposition, WorkerError};
pub use io::{Cancel, Io, Sink};
pub use notes::send_note;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::Config;
use crate::incident::{AttemptId, Fact, Finding, Inputs, Knowledge, Plan, TargetIdentity};
use crate::runbook::StepId;

/// What a worker is told when it is asked for something.
#[derive(Debug, Clone)]
pub struct Context {
    /// The step.
    pub step: StepId,
    /// Its title, for messages.
    pub title: String,
    /// The attempt; none while planning.
    pub attempt: Option<AttemptId>,
    /// What the person said.
    pub inputs: Inputs,
    /// The step to take back, where the plan is an undo.
    pub undoes: Option<StepId>,
    /// The incident.
    pub knowledge: Arc<Knowledge>,
    /// Targets and credentials.
    pub config: Arc<Config>,
    /// The incident's folder; workers keep files that must survive in `work/` below it.
    pub folder: PathBuf,
}

impl Context {
    /// The attempt's log, by which [`process::adopt`] finds what an earlier engine started; none while planning.
    #[must_use]
    pub fn log(&self) -> Option<PathBuf> {
        self.attempt.map(|attempt| self.folder.join("output").join(format!("{attempt}.log")))
    }

    /// The folder for files that must survive, made if it is not there. Only we can read it: dumps lie in it.
    ///
    /// # Errors
    /// The disk's.
    pub fn work(&self) -> Result<PathBuf, WorkerError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let work = self.folder.join("work");
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&work);
        made.map_err(|error| {
            let place = format!("{} on this host", work.display());
            WorkerError::new(
                "make the work folder",
                place,
                format!("It cannot be made: {error}."),
                "Free space or mend the permissions there, then retry (r).",
            )
        })?;
        Ok(work)
    }
}

/// A success: what proves it, and what later steps rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Lines of proof; the first goes into the timeline.
    pub evidence: Vec<String>,
    /// Facts.
    pub facts: Vec<Fact>,
}

/// How a run ended, where it did not end in an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Ran {
    /// As planned.
    Done(Done),
    /// Stopped, as a person asked; what it left.
    Stopped(String),
}

/// What the target says about an attempt in doubt.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// It had its effect.
    Happened(Done),
    /// It did not; why that is certain.
    DidNot(String),
    /// It had an effect, and not the one that was wanted: what it left, and what to do now.
    Broken(String, String),
    /// The target cannot tell; what it does say.
    Unknown(String),
}

/// One step's hands.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Reads who the target is. Called for the plan, and again right before the effect.
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError>;

    /// Works out what [`Worker::run`] would do now, with what is still to be asked. Changes nothing.
    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError>;

    /// Looks for whatever would make [`Worker::run`] fail or harm. Changes nothing. The engine adds these
    /// findings to the plan, and asks again right before the effect: a blocking one stops the attempt.
    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError>;

    /// Does what the plan says, proves it, and ends early when `io` is cancelled.
    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError>;

    /// Asks the target what became of an attempt of this plan. Changes nothing.
    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError>;

    /// Watches what a success achieved and tells `alarm` when somebody else changes it. Ends when cancelled.
    async fn watch(&self, _cx: &Context, _plan: &Plan, _alarm: &(dyn Fn(String) + Send + Sync), cancel: Cancel) {
        cancel.cancelled().await;
    }
}
