//! Proving that a place can be read.

use async_trait::async_trait;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::Place;

/// Lists a place and reads one object's head.
#[derive(Debug)]
pub struct CheckS3 {
    /// The place.
    pub target: TargetRef,
}

#[async_trait]
impl Worker for CheckS3 {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(Place::open(&cx.config, &self.target).await?.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let place = Place::open(&cx.config, &self.target).await?;
        let mut plan = Plan::new(cx.step.clone(), place.identity());
        plan.effects = vec![format!("Lists {} and reads the head of its newest object; changes nothing", place.url())];
        plan.commands = vec![format!("aws s3 ls {}", place.url())];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let place = Place::open(&cx.config, &self.target).await?;
        let objects = place.list("").await?;
        let newest = objects.iter().max_by_key(|object| object.last_modified);
        let Some(newest) = newest else {
            return Err(WorkerError::new(
                "find objects",
                place.url(),
                "There is nothing under this prefix.",
                "Check bucket and prefix in the config: without objects there is nothing to go back to.",
            ));
        };
        let head = place.head(&newest.key, None).await?;
        let Some(head) = head else {
            return Err(WorkerError::new(
                "read the newest object",
                place.url(),
                format!("{} is listed and cannot be read.", newest.key),
                "Check the right s3:GetObject of these credentials.",
            ));
        };
        place.prefix_of(&head, 1).await?;
        let line = format!("{} objects in {}, newest {} readable", objects.len(), place.url(), newest.key);
        io.line(&line);
        let mut evidence =
            vec![line, "Not proved: that it may be written to, which only writing would show".to_owned()];
        // Without it another account's bucket of this name passes for this one.
        if !place.identity().proofs.contains_key("bucket owner") {
            evidence.push("Not proved: whose bucket it is, which takes the right s3:GetBucketAcl".to_owned());
        }
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only reads".to_owned()))
    }
}
