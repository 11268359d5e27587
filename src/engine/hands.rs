//! What the engine needs of the outside: workers, the list of dumps, and somewhere to send notes.

use std::time::Duration;

use async_trait::async_trait;

use crate::incident::{Channel, Contents, Knowledge, Listing, OwedMessage};
use crate::runbook::Step;
use crate::workers::{Worker, WorkerError};

/// The engine's hands. Production has one; tests script their own.
#[async_trait]
pub trait Hands: Send + Sync + 'static {
    /// The worker of a step, its parameters resolved.
    fn worker(&self, step: &Step, knowledge: &Knowledge) -> Result<Box<dyn Worker>, WorkerError>;

    /// The dumps to choose from, judged; none where the runbook has no such step.
    async fn list(&self, step: &Step, knowledge: &Knowledge) -> Result<Option<Listing>, WorkerError>;

    /// What the dump of this key holds; none where the runbook has no such step.
    async fn open(&self, _step: &Step, _key: &str) -> Result<Option<Contents>, WorkerError> {
        Ok(None)
    }

    /// Whether what was sent there can be looked for before it is sent again.
    fn reads(&self, channel: Channel) -> bool;

    /// Sends a message and gives the receiver's id of it. `again` says that it may have arrived before, so the
    /// receiver must be looked at first.
    async fn send(&self, message: &OwedMessage, knowledge: &Knowledge, again: bool) -> Result<String, WorkerError>;

    /// Lets time pass before a message is tried again. It is the outbox's only clock, so a test can have an hour pass at once.
    async fn pause(&self, _channel: Channel, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}
