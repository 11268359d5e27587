//! Messages owed to the outside: sent one after the other, tried until they arrive, never in the way of a step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::incident::{Knowledge, MessageId, Notice, OwedMessage, Report};
use crate::workers::{Disposition, WorkerError};

use super::{Handle, Hands, Input};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// A message to send, and what was known when it became owed.
pub(super) struct Owed {
    pub(super) message: OwedMessage,
    pub(super) knowledge: Arc<Knowledge>,
    /// An earlier engine may have sent it already.
    pub(super) again: bool,
}

/// The queue's entrance.
pub(super) struct Outbox {
    tx: mpsc::UnboundedSender<Owed>,
    known: BTreeSet<MessageId>,
}

impl Outbox {
    /// Starts the sending task.
    pub(super) fn start(hands: Arc<dyn Hands>, handle: Handle) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::spawn(send_all(hands, handle, rx));
        Self { tx, known: BTreeSet::new() }
    }

    /// Queues a message; one that is queued already is not queued twice.
    pub(super) fn queue(&mut self, owed: Owed) {
        if self.known.insert(owed.message.id) {
            // The task ends only with the engine.
            let _ = self.tx.send(owed);
        }
    }
}

async fn send_all(hands: Arc<dyn Hands>, handle: Handle, mut rx: mpsc::UnboundedReceiver<Owed>) {
    while let Some(owed) = rx.recv().await {
        let id = owed.message.id;
        let result = send_one(&*hands, &handle, owed).await;
        let report = Report::Sent { message: id, result: result.map_err(WorkerError::into_problem) };
        if !handle.send(Input::Report(report)).await {
            return;
        }
    }
}

async fn send_one(hands: &dyn Hands, handle: &Handle, owed: Owed) -> Result<String, WorkerError> {
    let mut again = owed.again;
    let mut wait = FIRST_WAIT;
    loop {
        let error = match hands.send(&owed.message, &owed.knowledge, again).await {
            Ok(reference) => return Ok(reference),
            Err(error) => error,
        };
        let pause = match error.disposition {
            Disposition::Fatal => return Err(error),
            Disposition::Wait(asked) => asked.min(LONGEST_WAIT * 5),
            Disposition::InDoubt => {
                again = true;
                wait
            }
            Disposition::Retry | Disposition::AskOperator => wait,
        };
        tracing::warn!("{error}");
        handle.notice(Notice::OutboxWaits { why: format!("{} {}", error.cause, error.next) });
        tokio::time::sleep(pause).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
