//! The counts to return to: Kubernetes forgets them when a deployment is scaled to zero, the incident does not.

use serde::Deserialize;

use crate::incident::{AttemptId, Fact, Knowledge, Replicas};
use crate::runbook::StepId;

use super::scale::Writer;

/// What is left of an earlier attempt's plan.
#[derive(Deserialize)]
struct Past {
    target: String,
    namespace: String,
    writers: Vec<Writer>,
}

/// The count that a deployment had before this incident's stop, if it was not started since.
pub(super) fn remembered(known: &Knowledge, target: &str, namespace: &str, deployment: &str) -> Option<u32> {
    let started = known.facts.iter().rev().find(|known| matches!(known.fact, Fact::WritesStarted { .. }));
    let since = started.map_or(AttemptId(0), |started| started.attempt);
    let facts = known.facts.iter().rev().filter(|known| known.attempt > since);
    let fits = |replicas: &&Replicas| {
        replicas.target == target && replicas.namespace == namespace && replicas.deployment == deployment
    };
    let from_facts = facts
        .filter_map(|known| match &known.fact {
            Fact::WritesStopped { replicas, .. } => replicas.iter().find(fits).map(|found| found.count),
            _ => None,
        })
        .find(|count| *count > 0);
    let from_plans = || {
        let past = known.past.iter().rev().filter(|past| past.id > since);
        past.filter_map(|past| serde_json::from_value::<Past>(past.plan.basis.clone()).ok())
            .filter(|past| past.target == target && past.namespace == namespace)
            .filter_map(|past| past.writers.into_iter().find(|writer| writer.deployment == deployment))
            .map(|writer| writer.count)
            .find(|count| *count > 0)
    };
    from_facts.or_else(from_plans)
}

/// What a stopping step remembered, whether its success still stands or not; the newest.
pub(super) fn stopped_by(known: &Knowledge, step: &StepId) -> Option<Vec<Replicas>> {
    known.facts.iter().rev().filter(|known| &known.step == step).find_map(|known| match &known.fact {
        Fact::WritesStopped { replicas, .. } => Some(replicas.clone()),
        _ => None,
    })
}

/// What an earlier attempt of starting was to bring back; the newest.
pub(super) fn planned_before(known: &Knowledge) -> Option<Vec<Replicas>> {
    known.past.iter().rev().find_map(|past| {
        let past: Past = serde_json::from_value(past.plan.basis.clone()).ok()?;
        let Past { target, namespace, writers } = past;
        let back = |writer: Writer| Replicas {
            target: target.clone(),
            namespace: namespace.clone(),
            deployment: writer.deployment,
            count: writer.count,
        };
        Some(writers.into_iter().map(back).collect())
    })
}
