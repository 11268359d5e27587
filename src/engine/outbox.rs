//! Messages owed to the outside: to each receiver one after the other, tried until they arrive, never in the way of a step
//! or of another receiver's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::failpoint;
use crate::incident::{Channel, Knowledge, MessageId, Notice, OwedMessage, Report};
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

/// The queues' entrance.
pub(super) struct Outbox {
    queues: BTreeMap<Channel, mpsc::UnboundedSender<Owed>>,
    known: BTreeSet<MessageId>,
}

impl Outbox {
    /// Starts a sending task for each receiver.
    pub(super) fn start(hands: &Arc<dyn Hands>, handle: &Handle) -> Self {
        let queue = |channel| {
            let (tx, rx) = mpsc::unbounded_channel();
            tokio::spawn(send_all(Arc::clone(hands), handle.clone(), rx));
            (channel, tx)
        };
        Self { queues: Channel::ALL.into_iter().map(queue).collect(), known: BTreeSet::new() }
    }

    /// Queues a message; one that is queued already is not queued twice.
    pub(super) fn queue(&mut self, owed: Owed) {
        if self.known.insert(owed.message.id)
            && let Some(queue) = self.queues.get(&owed.message.channel)
        {
            // The task ends only with the engine.
            let _ = queue.send(owed);
        }
    }

    /// Lets a message be queued again: a person looked, and it did not arrive.
    pub(super) fn forget(&mut self, message: MessageId) {
        self.known.remove(&message);
    }
}

async fn send_all(hands: Arc<dyn Hands>, handle: Handle, mut rx: mpsc::UnboundedReceiver<Owed>) {
    while let Some(owed) = rx.recv().await {
        let message = owed.message.id;
        let report = match send_one(&*hands, &handle, owed).await {
            Ok(reference) => Report::Sent { message, result: Ok(reference) },
            Err(error) if error.disposition == Disposition::InDoubt => {
                Report::SentInDoubt { message, problem: error.into_problem() }
            }
            Err(error) => Report::Sent { message, result: Err(error.into_problem()) },
        };
        if !handle.send(Input::Report(report)).await {
            return;
        }
    }
}

/// Sends it. An error that is in doubt is one that only a person can settle; other errors are for good.
async fn send_one(hands: &dyn Hands, handle: &Handle, owed: Owed) -> Result<String, WorkerError> {
    let reads = hands.reads(owed.message.channel);
    let mut again = owed.again;
    let mut wait = FIRST_WAIT;
    if again && !reads {
        let name = owed.message.channel.name();
        return Err(WorkerError::new(
            "send a message",
            name,
            "relight ended while it was being sent, and what was posted there cannot be read back.",
            "Look whether it is there, then say so.",
        )
        .with(Disposition::InDoubt));
    }
    loop {
        let sent = hands.send(&owed.message, &owed.knowledge, again).await;
        failpoint::point(&format!("sent:{}", owed.message.id));
        let error = match sent {
            Ok(reference) => return Ok(reference),
            Err(error) => error,
        };
        let pause = match error.disposition {
            Disposition::Fatal => return Err(error),
            Disposition::InDoubt if !reads => return Err(error),
            Disposition::Wait(asked) => asked.min(LONGEST_WAIT * 5),
            Disposition::InDoubt => {
                again = true;
                wait
            }
            Disposition::Retry | Disposition::AskOperator => wait,
        };
        tracing::warn!("{error}");
        handle.notice(Notice::OutboxWaits { why: format!("{} {}", error.cause, error.next) });
        hands.pause(owed.message.channel, pause).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
