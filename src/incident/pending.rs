//! Plans that wait for an approval, and what voids one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::runbook::StepId;

use super::state::Footing;
use super::time::duration_text;
use super::{Digest, Plan, State};

/// What a plan says is so old at the most when it is approved.
pub const PLAN_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// The newest plan of each step, as workers made them. They live in memory: a new engine has none, and
/// an approval of a plan that it did not make is refused.
#[derive(Debug, Default)]
pub struct PendingPlans(BTreeMap<StepId, Pending>);

#[derive(Debug)]
struct Pending {
    plan: Plan,
    /// What it rests on.
    footing: Footing,
    made_at: Timestamp,
    /// The plan before it, which somebody may still have on screen.
    before: Option<Plan>,
}

impl PendingPlans {
    /// Keeps a plan, in place of the step's former one.
    pub fn put(&mut self, plan: Plan, footing: Footing, made_at: Timestamp) {
        let step = plan.step.clone();
        let before = self.0.remove(&step).map(|pending| pending.plan);
        self.0.insert(step, Pending { plan, footing, made_at, before });
    }

    /// Forgets a step's plan.
    pub fn drop_plan(&mut self, step: &StepId) {
        self.0.remove(step);
    }

    /// A step's plan.
    #[must_use]
    pub fn get(&self, step: &StepId) -> Option<&Plan> {
        self.0.get(step).map(|pending| &pending.plan)
    }

    /// The plan of a step that has this digest and still holds.
    ///
    /// # Errors
    /// Why there is none: what changed since it was read.
    pub(super) fn approvable(
        &self,
        state: &State,
        step: &StepId,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<&Plan, String> {
        let pending = self.0.get(step).ok_or("relight holds no plan for this step")?;
        if pending.plan.digest() != *digest {
            let read = pending.before.as_ref().filter(|before| before.digest() == *digest);
            let changes = read.map(|before| pending.plan.changes_since(before)).unwrap_or_default();
            return Err(match changes.as_slice() {
                [] => "a newer plan was made".to_owned(),
                changes => changes.join("; "),
            });
        }
        let moved = moved(state, &pending.footing, &state.footing(step));
        if !moved.is_empty() {
            return Err(moved.join("; "));
        }
        let age = now.duration_since(pending.made_at);
        if age > PLAN_LIFETIME {
            return Err(format!("it is {} old, and the world may have moved on", duration_text(age)));
        }
        Ok(&pending.plan)
    }
}

/// What moved among the steps that a plan rests on.
fn moved(state: &State, then: &Footing, now: &Footing) -> Vec<String> {
    let steps = now.steps.iter().filter(|(id, found)| then.steps.get(*id) != Some(*found));
    let mut moved: Vec<String> = steps
        .map(|(id, _)| {
            let title = state.runbook.step(id).map_or_else(|| id.to_string(), |step| step.title.clone());
            format!("`{title}`, which it rests on, moved on")
        })
        .collect();
    if then.attempts != now.attempts {
        moved.push("the step was begun meanwhile".to_owned());
    }
    moved
}
