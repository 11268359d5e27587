//! The checklist's rows, and which step is the one to look at.

use std::collections::BTreeMap;

use crate::incident::{State, StepStatus};
use crate::runbook::{Approval, Phase, Step, StepId};

/// A row that can be selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// A phase, by its id.
    Phase(String),
    /// A step.
    Step(StepId),
}

/// The step that a person should look at: one that ended badly, else one at work, else the first that can be begun.
pub(super) fn current(state: &State) -> Option<&Step> {
    let main = || state.runbook.steps().filter(|step| !step.optional);
    let bad = |step: &&Step| {
        matches!(state.status(&step.id), StepStatus::InDoubt(_) | StepStatus::Failed(_) | StepStatus::Stopped(_))
    };
    let running = |step: &&Step| matches!(state.status(&step.id), StepStatus::Running(_));
    let open = |step: &&Step| !state.status(&step.id).is_met();
    let ready = |step: &&Step| open(step) && state.is_ready(step);
    main()
        .find(bad)
        .or_else(|| state.runbook.steps().find(running))
        .or_else(|| main().find(ready))
        .or_else(|| main().find(open))
}

/// Which phases are folded, for as long as nothing happens.
pub(super) struct Folding<'a> {
    state: &'a State,
    /// What the person said.
    folds: &'a BTreeMap<String, bool>,
    current: Option<&'a StepId>,
}

impl<'a> Folding<'a> {
    pub(super) fn of(state: &'a State, folds: &'a BTreeMap<String, bool>) -> Self {
        Self { state, folds, current: current(state).map(|step| &step.id) }
    }

    pub(super) fn holds(&self, phase: &Phase) -> bool {
        self.folds.get(&phase.id).copied().unwrap_or_else(|| self.folds_by_itself(phase))
    }

    /// Where the person has not said, what is at work or went wrong is open, and the step to look at.
    fn folds_by_itself(&self, phase: &Phase) -> bool {
        let lively = |step: &Step| {
            matches!(
                self.state.status(&step.id),
                StepStatus::Running(_) | StepStatus::InDoubt(_) | StepStatus::Failed(_) | StepStatus::Stopped(_)
            )
        };
        !phase.steps.iter().any(|step| Some(&step.id) == self.current || lively(step))
    }
}

/// Whether a phase is folded.
pub(super) fn is_folded(state: &State, folds: &BTreeMap<String, bool>, phase: &Phase) -> bool {
    Folding::of(state, folds).holds(phase)
}

/// All rows, top to bottom.
pub(super) fn rows(state: &State, folds: &BTreeMap<String, bool>) -> Vec<Row> {
    let folding = Folding::of(state, folds);
    let mut rows = Vec::new();
    for phase in &state.runbook.phases {
        rows.push(Row::Phase(phase.id.clone()));
        if !folding.holds(phase) {
            rows.extend(phase.steps.iter().map(|step| Row::Step(step.id.clone())));
        }
    }
    rows
}

/// Every row, as if nothing were folded.
pub(super) fn all_rows(state: &State) -> Vec<Row> {
    let phase_rows = |phase: &Phase| {
        let steps = phase.steps.iter().map(|step| Row::Step(step.id.clone()));
        std::iter::once(Row::Phase(phase.id.clone())).chain(steps).collect::<Vec<Row>>()
    };
    state.runbook.phases.iter().flat_map(phase_rows).collect()
}

/// The phase that a row is or lies in.
pub(super) fn phase_of<'a>(state: &'a State, row: &Row) -> Option<&'a Phase> {
    state.runbook.phases.iter().find(|phase| match row {
        Row::Phase(id) => &phase.id == id,
        Row::Step(id) => phase.steps.iter().any(|step| &step.id == id),
    })
}

/// What a search looks at.
pub(super) fn row_text(state: &State, row: &Row) -> String {
    match row {
        Row::Phase(_) => phase_of(state, row).map_or_else(String::new, |phase| phase.title.clone()),
        Row::Step(id) => state.runbook.step(id).map_or_else(String::new, |step| format!("{} {id}", step.title)),
    }
}

/// A phase in one status: the gravest of its steps.
pub(super) fn phase_status(state: &State, phase: &Phase) -> (StepStatus, bool) {
    let first = |wanted: fn(&StepStatus) -> bool| {
        phase.steps.iter().map(|step| state.status(&step.id)).find(|status| wanted(status)).cloned()
    };
    let grave = first(|status| matches!(status, StepStatus::InDoubt(_)))
        .or_else(|| first(|status| matches!(status, StepStatus::Failed(_))))
        .or_else(|| first(|status| matches!(status, StepStatus::Running(_))))
        .or_else(|| first(|status| matches!(status, StepStatus::Stopped(_))));
    let (done, total) = done(state, phase);
    let all = (total > 0 && done == total).then(|| first(StepStatus::is_met)).flatten();
    let ready = phase.steps.iter().any(|step| state.is_ready(step));
    (grave.or(all).unwrap_or(StepStatus::Pending), ready)
}

/// Steps that are met, of those that count.
pub(super) fn done(state: &State, phase: &Phase) -> (usize, usize) {
    let optional = phase.steps.iter().all(|step| step.optional);
    let counted = || phase.steps.iter().filter(|step| optional || !step.optional);
    (counted().filter(|step| state.status(&step.id).is_met()).count(), counted().count())
}

/// Steps of a phase that only read and can be begun.
pub(super) fn ready_reads<'a>(state: &'a State, phase: &'a Phase) -> impl Iterator<Item = &'a Step> {
    phase
        .steps
        .iter()
        .filter(|step| step.approval == Approval::None && !state.status(&step.id).is_met() && state.is_ready(step))
}
