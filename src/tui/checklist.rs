//! The checklist's rows, and which step is the one to look at.

use std::collections::BTreeMap;

use crate::incident::{State, StepStatus};
use crate::runbook::{Approval, Phase, Step, StepId};

/// A row of the checklist.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    /// A phase.
    Phase(&'a Phase),
    /// A step.
    Step(&'a Step),
}

/// Which row the cursor is on; it stays there while phases fold and unfold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A phase, by its id.
    Phase(String),
    /// A step.
    Step(StepId),
}

impl<'a> Row<'a> {
    pub(super) fn place(self) -> Place {
        match self {
            Self::Phase(phase) => Place::Phase(phase.id.clone()),
            Self::Step(step) => Place::Step(step.id.clone()),
        }
    }

    /// The phase that it is or lies in.
    pub(super) fn phase(self, state: &'a State) -> Option<&'a Phase> {
        match self {
            Self::Phase(phase) => Some(phase),
            Self::Step(step) => phase_of(state, &step.id),
        }
    }

    /// What a search looks at.
    pub(super) fn text(self) -> String {
        match self {
            Self::Phase(phase) => phase.title.clone(),
            Self::Step(step) => format!("{} {}", step.title, step.id),
        }
    }
}

impl PartialEq for Row<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Phase(one), Row::Phase(other)) => one.id == other.id,
            (Self::Step(one), Row::Step(other)) => one.id == other.id,
            _ => false,
        }
    }
}

fn phase_of<'a>(state: &'a State, id: &StepId) -> Option<&'a Phase> {
    state.runbook.phases.iter().find(|phase| phase.steps.iter().any(|step| &step.id == id))
}

/// The step that a person should look at: one that ended badly, else one at work, else the first that can be begun.
fn current(state: &State) -> Option<&Step> {
    let (mut running, mut ready, mut open) = (None, None, None);
    for step in state.runbook.steps() {
        let status = state.status(&step.id);
        match status {
            StepStatus::Running(_) => {
                running.get_or_insert(step);
            }
            StepStatus::InDoubt(_) | StepStatus::Failed(_) | StepStatus::Stopped(_) if !step.optional => {
                return Some(step);
            }
            _ => {}
        }
        if step.optional || status.is_met() {
            continue;
        }
        if ready.is_none() && state.is_ready(step) {
            ready = Some(step);
        }
        open.get_or_insert(step);
    }
    running.or(ready).or(open)
}

/// What of an incident calls for a look by itself. It is worked out with each event, because each key asks for it many times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// The step to look at, see [`current`].
    pub(super) current: Option<StepId>,
    /// Phases with that step, or with one that is at work or went wrong, by their ids.
    phases: Vec<String>,
}

impl Calls {
    pub(super) fn of(state: &State) -> Self {
        let current = current(state).map(|step| &step.id);
        let lively = |step: &Step| {
            matches!(
                state.status(&step.id),
                StepStatus::Running(_) | StepStatus::InDoubt(_) | StepStatus::Failed(_) | StepStatus::Stopped(_)
            )
        };
        let calls = |phase: &&Phase| phase.steps.iter().any(|step| Some(&step.id) == current || lively(step));
        let phases = state.runbook.phases.iter().filter(calls).map(|phase| phase.id.clone()).collect();
        Self { current: current.cloned(), phases }
    }
}

/// Which phases are folded, for as long as nothing happens.
pub(super) struct Folding<'a> {
    state: &'a State,
    /// What the person said.
    folds: &'a BTreeMap<String, bool>,
    calls: &'a Calls,
}

impl<'a> Folding<'a> {
    /// As `folds` says; where the person has not said, what calls for a look is open.
    pub(super) fn of(state: &'a State, folds: &'a BTreeMap<String, bool>, calls: &'a Calls) -> Self {
        Self { state, folds, calls }
    }

    pub(super) fn holds(&self, phase: &Phase) -> bool {
        self.folds.get(&phase.id).copied().unwrap_or_else(|| !self.calls.phases.contains(&phase.id))
    }

    /// The rows that are shown, top to bottom.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        self.state.runbook.phases.iter().flat_map(|phase| {
            let steps: &[Step] = if self.holds(phase) { &[] } else { &phase.steps };
            std::iter::once(Row::Phase(phase)).chain(steps.iter().map(Row::Step))
        })
    }

    /// The row that the cursor is on: that of a step in a folded phase is the phase, and without a place of its own it follows
    /// the current step.
    pub(super) fn selected(&self, place: Option<&Place>) -> Option<Row<'a>> {
        let phases = &self.state.runbook.phases;
        let shown = |id: &StepId| {
            let phase = phase_of(self.state, id)?;
            if self.holds(phase) {
                return Some(Row::Phase(phase));
            }
            phase.steps.iter().find(|step| &step.id == id).map(Row::Step)
        };
        let chosen = match place {
            Some(Place::Phase(id)) => phases.iter().find(|phase| &phase.id == id).map(Row::Phase),
            Some(Place::Step(id)) => shown(id),
            None => None,
        };
        let current = || self.calls.current.as_ref().and_then(shown).filter(|row| matches!(row, Row::Step(_)));
        chosen.or_else(current).or_else(|| phases.first().map(Row::Phase))
    }
}

/// Every row, as if nothing were folded.
pub(super) fn all_rows(state: &State) -> impl Iterator<Item = Row<'_>> {
    let phases = state.runbook.phases.iter();
    phases.flat_map(|phase| std::iter::once(Row::Phase(phase)).chain(phase.steps.iter().map(Row::Step)))
}

/// How a phase stands, of its steps.
pub(super) struct PhaseStanding<'a> {
    /// The gravest status of its steps.
    pub(super) status: &'a StepStatus,
    /// One of its steps can be begun.
    pub(super) ready: bool,
    /// Steps that are met, of those that count.
    pub(super) done: (usize, usize),
    /// None of its steps has to be done.
    pub(super) optional: bool,
}

pub(super) fn phase_standing<'a>(state: &'a State, phase: &Phase) -> PhaseStanding<'a> {
    let statuses: Vec<&StepStatus> = phase.steps.iter().map(|step| state.status(&step.id)).collect();
    let optional = phase.steps.iter().all(|step| step.optional);
    let counted = || phase.steps.iter().zip(&statuses).filter(|(step, _)| optional || !step.optional);
    let done = (counted().filter(|(_, status)| status.is_met()).count(), counted().count());
    let first = |wanted: fn(&StepStatus) -> bool| statuses.iter().copied().find(|status| wanted(status));
    let grave = first(|status| matches!(status, StepStatus::InDoubt(_)))
        .or_else(|| first(|status| matches!(status, StepStatus::Failed(_))))
        .or_else(|| first(|status| matches!(status, StepStatus::Running(_))))
        .or_else(|| first(|status| matches!(status, StepStatus::Stopped(_))));
    let all = (done.1 > 0 && done.0 == done.1).then(|| first(StepStatus::is_met)).flatten();
    let ready = phase.steps.iter().any(|step| state.is_ready(step));
    PhaseStanding { status: grave.or(all).unwrap_or(&StepStatus::Pending), ready, done, optional }
}

/// Steps of a phase that only read and can be begun.
pub(super) fn ready_reads<'a>(state: &'a State, phase: &'a Phase) -> impl Iterator<Item = &'a Step> {
    phase
        .steps
        .iter()
        .filter(|step| step.approval == Approval::None && !state.status(&step.id).is_met() && state.is_ready(step))
}
