//! From the begin of an attempt to its end, and where among them to look.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Attempt, State, StepStatus};
use crate::incident::{Actor, AttemptId, Fact, Outcome, Plan, Problem};
use crate::runbook::StepId;

/// The attempts that every frame and every decision asks for, among the thousands of a long history.
#[derive(Debug, Clone, Default)]
pub(super) struct Notable {
    at_work: BTreeSet<AttemptId>,
    /// Those that found something.
    found: BTreeSet<AttemptId>,
}

impl State {
    pub(super) fn begin(&mut self, id: AttemptId, plan: Arc<Plan>, by: Actor, at: Timestamp) {
        if let Some(step) = self.steps.get_mut(&plan.step) {
            step.attempts.push(id);
            step.status = StepStatus::Running(id);
        }
        self.notable.at_work.insert(id);
        let step = plan.step.clone();
        let attempt = Attempt {
            id,
            step,
            plan,
            by,
            started_at: at,
            finished_at: None,
            outcome: None,
            stop_requested: false,
            asked: false,
        };
        self.attempts.insert(id, attempt);
    }

    pub(super) fn finish(&mut self, id: AttemptId, outcome: Outcome, at: Timestamp) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let status = match outcome {
            Outcome::Succeeded { .. } => StepStatus::Succeeded(id),
            Outcome::Failed { .. } => StepStatus::Failed(id),
            Outcome::Stopped { .. } => StepStatus::Stopped(id),
            Outcome::InDoubt { .. } => StepStatus::InDoubt(id),
        };
        attempt.outcome = Some(outcome);
        attempt.finished_at = Some(at);
        self.notable.at_work.remove(&id);
        if attempt.facts().is_some_and(|facts| !facts.is_empty()) {
            self.notable.found.insert(id);
        } else {
            self.notable.found.remove(&id);
        }
        let step = attempt.step.clone();
        self.set(&step, status);
    }

    /// Its target was asked, and cannot tell.
    pub(super) fn stay_in_doubt(&mut self, id: AttemptId, problem: Problem) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.outcome = Some(Outcome::InDoubt { problem });
            attempt.asked = true;
            self.notable.at_work.remove(&id);
            self.notable.found.remove(&id);
        }
    }

    /// A step had its effect at least once, whatever became of it since.
    #[must_use]
    pub fn has_succeeded(&self, step: &StepId) -> bool {
        self.attempts_of(step).rev().any(|attempt| attempt.facts().is_some())
    }

    /// A step's attempts, oldest first.
    #[must_use]
    pub fn attempts_of(&self, step: &StepId) -> impl DoubleEndedIterator<Item = &Attempt> {
        let ids = self.steps.get(step).map(|step| step.attempts.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.attempts.get(id))
    }

    /// Attempts at work, oldest first.
    pub fn running(&self) -> impl Iterator<Item = &Attempt> {
        self.notable.at_work.iter().filter_map(|id| self.attempts.get(id))
    }

    /// Facts of every success, whether or not it still stands: what happened in the world happened.
    #[must_use]
    pub fn all_facts(&self) -> impl DoubleEndedIterator<Item = (&Attempt, &Fact)> {
        self.notable
            .found
            .iter()
            .filter_map(|id| self.attempts.get(id))
            .flat_map(|attempt| attempt.facts().unwrap_or_default().iter().map(move |fact| (attempt, fact)))
    }

    /// The next attempt's id.
    #[must_use]
    pub fn next_attempt(&self) -> AttemptId {
        AttemptId(self.attempts.keys().next_back().map_or(1, |last| last.0.saturating_add(1)))
    }
}

impl Attempt {
    /// It is in doubt, and its target has not told yet what became of it; what still runs of it is waited for.
    #[must_use]
    pub fn is_being_asked(&self) -> bool {
        !self.asked && matches!(self.outcome, Some(Outcome::InDoubt { .. }))
    }

    /// What it found, if it succeeded.
    #[must_use]
    pub fn facts(&self) -> Option<&[Fact]> {
        match &self.outcome {
            Some(Outcome::Succeeded { facts, .. }) => Some(facts),
            _ => None,
        }
    }
}
