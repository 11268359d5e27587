//! The engine's hands in production: the workers of this crate.

use std::sync::Arc;

use async_trait::async_trait;

use crate::config::Config;
use crate::engine::Hands;
use crate::incident::{Channel, Contents, Knowledge, Listing, OwedMessage};
use crate::runbook::{Action, Step};
use crate::workers::{self, Disposition, Worker, WorkerError};

/// Workers over a config's targets.
pub(crate) struct Workers {
    config: Arc<Config>,
}

impl Workers {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Hands for Workers {
    fn worker(&self, step: &Step, _knowledge: &Knowledge) -> Result<Box<dyn Worker>, WorkerError> {
        workers::build(&step.action)
    }

    async fn list(&self, step: &Step, knowledge: &Knowledge) -> Result<Option<Listing>, WorkerError> {
        let Action::ChooseSnapshot { from, database } = &step.action else {
            return Ok(None);
        };
        workers::snapshot::list_snapshots(&self.config, from, database, knowledge.onset, knowledge.now).await.map(Some)
    }

    async fn open(&self, step: &Step, key: &str) -> Result<Option<Contents>, WorkerError> {
        let Action::ChooseSnapshot { from, .. } = &step.action else {
            return Ok(None);
        };
        workers::snapshot::open_snapshot(&self.config, from, key).await.map(Some)
    }

    fn reads(&self, channel: Channel) -> bool {
        match channel {
            Channel::PagerDutyNote => true,
            Channel::SlackMessage => workers::slack::reads(&self.config),
        }
    }

    async fn send(&self, message: &OwedMessage, knowledge: &Knowledge, again: bool) -> Result<String, WorkerError> {
        if message.channel == Channel::SlackMessage {
            return workers::slack::send_owed(&self.config, &knowledge.incident, message, again).await;
        }
        let incident = knowledge.facts.iter().rev().find_map(|known| match &known.fact {
            crate::incident::Fact::PagerDuty { id, .. } => Some(id.clone()),
            _ => None,
        });
        let Some(incident) = incident else {
            let error = WorkerError::new(
                "send a note",
                "PagerDuty",
                "This incident has no PagerDuty incident.",
                "Declare it, or adopt the open one.",
            );
            return Err(error.with(Disposition::Retry));
        };
        // The marker ends every note's text; it is how a note that may have arrived is found again.
        let marker = format!("[{} #{}]", knowledge.incident, message.about);
        workers::send_note(&self.config, &incident, &message.text, &marker, again).await
    }
}
