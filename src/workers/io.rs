//! What a running attempt may use: its log, its progress, its cancellation.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::incident::{AttemptId, Notice};

/// Tells work to end. Clones share the signal; it never goes back.
#[derive(Debug, Clone)]
pub struct Cancel(watch::Receiver<bool>);

impl Cancel {
    /// A signal, and the hand that gives it.
    #[must_use]
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it is given. Never resolves when the giving hand is gone without giving it.
    pub async fn cancelled(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|given| *given).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Where an attempt's lines and notices go. The engine gives one to each attempt.
pub trait Sink: Send + Sync {
    /// Appends a line to the attempt's log and shows it; secrets and customer rows are cut out on the way.
    fn line(&self, text: &str);
    /// Shows something that is not kept.
    fn notice(&self, notice: Notice);
    /// Records something about the attempt that belongs into the timeline; without one its line in the log is all.
    fn remark(&self, _text: &str) {}
}

/// What a running attempt may use.
#[derive(Clone)]
pub struct Io {
    /// The attempt.
    pub attempt: AttemptId,
    /// Ends when a person stops the attempt.
    pub cancel: Cancel,
    /// The attempt's log file; children write it through their shim.
    pub log: PathBuf,
    sink: Arc<dyn Sink>,
}

impl Io {
    /// For an attempt.
    pub fn new(attempt: AttemptId, cancel: Cancel, log: PathBuf, sink: Arc<dyn Sink>) -> Self {
        Self { attempt, cancel, log, sink }
    }

    /// Writes a line into the attempt's log.
    pub fn line(&self, text: impl AsRef<str>) {
        self.sink.line(text.as_ref());
    }

    /// Writes a line into the attempt's log and into the timeline.
    pub fn remark(&self, text: impl AsRef<str>) {
        self.sink.line(text.as_ref());
        self.sink.remark(text.as_ref());
    }

    /// Shows how far the attempt is.
    pub fn progress(&self, label: impl Into<String>, done: u64, total: Option<u64>, unit: &str) {
        self.sink.notice(Notice::Progress {
            attempt: self.attempt,
            label: label.into(),
            done,
            total,
            unit: unit.to_owned(),
            left: None,
            stalled: None,
        });
    }

    /// Shows something that is not kept.
    pub fn notice(&self, notice: Notice) {
        self.sink.notice(notice);
    }
}
