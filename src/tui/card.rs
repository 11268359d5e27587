//! The plan card: where a person consents to what a step does.
//!
//! Consent counts for a plan that was on screen: a [`Sight`] is told by the loop once the terminal has the frame and everything
//! typed before that has been read. [`Card::shown`] and [`Card::seen`] come from nothing else, and are taken back whenever
//! another plan arrives.

use std::ops::Range;

use crate::incident::{Ask, Digest, Inputs, Plan, Problem};
use crate::runbook::{Step, StepId};

use super::edit::Editor;
use super::form::Form;

/// How far the card is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// The engine works the plan out.
    Loading,
    /// Questions are open.
    Form(Form),
    /// The plan is there to be read.
    Review,
    /// It was approved; the engine has not answered yet.
    Approving,
    /// There is no plan.
    Failed(Problem),
    /// The engine said no, in its words.
    Refused(String),
    /// Somebody else approved it while it was on screen, in words. Only Esc closes it.
    Overtaken(String),
}

/// What one frame shows of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub(super) digest: Digest,
    /// The screen's columns and rows: on another one the plan is broken into other rows.
    pub(super) size: (u16, u16),
    /// Rows of the plan.
    pub(super) rows: Range<usize>,
}

/// A card about one step's plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Card {
    pub(super) step: StepId,
    pub(super) undoes: Option<StepId>,
    /// What the person answered, kept for the next plan.
    pub(super) inputs: Inputs,
    pub(super) stage: Stage,
    pub(super) plan: Option<(Plan, Digest)>,
    /// The digest that was on screen before the keys that come now were typed.
    pub(super) shown: Option<Digest>,
    /// The plan changed while the card was open.
    pub(super) changed: bool,
    pub(super) typed: Editor,
    pub(super) scroll: usize,
    /// Rows of the plan that were on screen so far, from the first on.
    pub(super) seen: usize,
    /// What was wrong with the name.
    pub(super) fault: Option<String>,
}

impl Card {
    /// A card that waits for its plan.
    pub(super) fn new(step: StepId, undoes: Option<StepId>, inputs: Inputs) -> Self {
        Self {
            step,
            undoes,
            inputs,
            stage: Stage::Loading,
            plan: None,
            shown: None,
            changed: false,
            typed: Editor::line(""),
            scroll: 0,
            seen: 0,
            fault: None,
        }
    }

    /// Questions that were not put to the person yet, or need an answer.
    pub(super) fn is_open(&self, ask: &Ask, plan: &Plan) -> bool {
        if ask.offered && !ask.value.trim().is_empty() {
            return false;
        }
        let answered = self.inputs.contains_key(&ask.name) || plan.inputs.contains_key(&ask.name);
        !answered || (ask.required && ask.value.trim().is_empty())
    }

    /// Takes the newest plan. A plan other than the one on screen must be read again.
    pub(super) fn take(&mut self, plan: Plan) {
        let digest = plan.digest();
        if self.plan.as_ref().is_some_and(|(_, old)| *old == digest) && !matches!(self.stage, Stage::Loading) {
            return;
        }
        let was_read = matches!(self.stage, Stage::Review | Stage::Approving);
        self.shown = None;
        self.fault = None;
        self.typed = Editor::line("");
        self.scroll = 0;
        self.seen = 0;
        // Somebody else's plan must not throw away what is being typed; the answers make a new plan anyway.
        if matches!(self.stage, Stage::Form(_)) {
            self.plan = Some((plan, digest));
            return;
        }
        self.changed = was_read;
        // Whoever made it, this is what it does.
        self.undoes.clone_from(&plan.undoes);
        self.stage = match plan.asks.iter().position(|ask| self.is_open(ask, &plan)) {
            Some(open) => Stage::Form(Form::at(&plan.asks, open)),
            None => Stage::Review,
        };
        self.plan = Some((plan, digest));
    }

    /// Takes what a frame has shown, on a screen of this size; of another plan, or out of the order of reading, it counts for
    /// nothing.
    pub(super) fn saw(&mut self, sight: Sight, size: (u16, u16)) {
        if self.stage != Stage::Review || self.plan.as_ref().is_none_or(|(_, digest)| *digest != sight.digest) {
            return;
        }
        self.shown = Some(sight.digest);
        if sight.size == size && sight.rows.start <= self.seen {
            self.seen = self.seen.max(sight.rows.end);
        }
    }

    /// What was on screen is there no more.
    pub(super) fn unseen(&mut self) {
        self.shown = None;
        self.seen = 0;
        // It is read again from its beginning.
        self.scroll = 0;
    }

    /// A frame with this would show something for the first time.
    pub(super) fn is_new(&self, sight: &Sight) -> bool {
        !self.is_shown() || (sight.rows.start <= self.seen && sight.rows.end > self.seen)
    }

    /// The plan on screen may be approved by a key that comes now.
    pub(super) fn is_shown(&self) -> bool {
        self.stage == Stage::Review && self.plan.as_ref().is_some_and(|(_, digest)| self.shown.as_ref() == Some(digest))
    }
}

/// Whether a plan is approved by its name: so the runbook says of the step, or the plan itself.
pub(super) fn takes_name(plan: &Plan, step: Option<&Step>) -> bool {
    plan.by_name || step.is_none_or(|step| step.approval.is_typed())
}

/// The name that an approval by name takes.
pub(super) fn expected_name(plan: &Plan) -> &str {
    plan.type_name.as_deref().unwrap_or(&plan.target.name)
}
