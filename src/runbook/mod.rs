//! The procedure as data: a [`Runbook`] of [`Phase`]s of [`Step`]s, each with one typed [`Action`].
//!
//! A runbook is a TOML file (`assets/runbooks/backup-and-restore.toml` is built in). Reading it proves it:
//! a [`Runbook`] value has unique ids, no unknown keys or actions, no cycles, and every step that another
//! one names exists. Faults carry file, line and column, see [`RunbookError`].
//!
//! This room imports nothing of the crate.

mod action;
mod parse;
mod target;

pub use action::{Action, STRATEGY, Strategy};
pub use parse::{Position, RunbookError};
pub use target::{TargetRef, TargetRefError};

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The runbook that is built into the program, as TOML.
pub const BUILT_IN: &str = include_str!("../../assets/runbooks/backup-and-restore.toml");

/// A step's id, unique in its runbook: lower-case words joined by `-` or `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Wraps an id; that it exists in a runbook is the runbook's business.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a person consents to a step's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// Read-only steps: the key that asks for the plan also starts it.
    None,
    /// `y` on the plan card.
    Confirm,
    /// The target's name, typed on the plan card.
    Type,
    /// The target's name, typed by two people, one after the other, who read the same plan.
    TwoPerson,
}

impl Approval {
    /// Whether the target's name is typed.
    #[must_use]
    pub fn is_typed(self) -> bool {
        matches!(self, Self::Type | Self::TwoPerson)
    }
}

/// Who begins a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begins {
    /// A person.
    #[default]
    Asked,
    /// The engine, as soon as what it needs is met; it only reads, and goes on beside everything else.
    ByItself,
}

/// A page to read beside a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What the page is.
    pub title: String,
    /// Its address.
    pub url: String,
}

/// One step of the procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the runbook.
    pub id: StepId,
    /// What the checklist shows.
    pub title: String,
    /// Why the step exists, for somebody who is tired.
    pub why: String,
    /// What it does.
    pub action: Action,
    /// The consent that it takes.
    pub approval: Approval,
    /// Steps that must be done (or skipped) first.
    pub needs: Vec<StepId>,
    /// The step that takes this one's effect back.
    pub undo: Option<StepId>,
    /// Pages to read beside it.
    pub links: Vec<Link>,
    /// The incident can be closed without it.
    pub optional: bool,
    /// It may be run again after it succeeded (a status message, say).
    pub repeat: bool,
    /// Who begins it.
    #[serde(default)]
    pub begins: Begins,
    /// Its outcome is posted as a note on the PagerDuty incident.
    pub milestone: bool,
}

/// A group of steps, as the checklist shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Unique among the phases.
    pub id: String,
    /// What the checklist shows.
    pub title: String,
    /// In the order of the file.
    pub steps: Vec<Step>,
}

/// When the cockpit proposes to call a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalateWhen {
    /// A restore failed.
    RestoreFailed,
    /// The RTO target has passed.
    RtoPassed,
    /// Regulated data is concerned (asked once, at declaring).
    RegulatedData,
}

/// Somebody to call, and what to tell them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Who they are: "Database Reliability".
    pub role: String,
    /// Where they are reached.
    pub reach: String,
    /// When the cockpit proposes them.
    pub when: EscalateWhen,
    /// What to tell them; a template over the incident's facts.
    pub say: String,
}

/// A whole procedure, proved consistent when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runbook {
    /// Its short name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The phases, in the order of the file.
    pub phases: Vec<Phase>,
    /// Who to escalate to.
    pub contacts: Vec<Contact>,
}

impl Runbook {
    /// Reads and proves a runbook. `origin` is what an error calls the file.
    ///
    /// # Errors
    /// The first fault found, with its place in the file.
    pub fn parse(origin: &str, text: &str) -> Result<Self, RunbookError> {
        parse::parse(origin, text)
    }

    /// All steps, in the order of the file.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.phases.iter().flat_map(|phase| &phase.steps)
    }

    /// The step with this id.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps().find(|step| &step.id == id)
    }

    /// Every step that waits for `id`, directly or through others, in the order of the file.
    #[must_use]
    pub fn dependents(&self, id: &StepId) -> Vec<&Step> {
        let mut found: BTreeSet<&StepId> = BTreeSet::new();
        let mut queue = vec![id];
        while let Some(of) = queue.pop() {
            for step in self.steps().filter(|step| step.needs.contains(of)) {
                if found.insert(&step.id) {
                    queue.push(&step.id);
                }
            }
        }
        self.steps().filter(|step| found.contains(&step.id)).collect()
    }

    /// Every step that `id` waits for, directly or through others, in the order of the file.
    #[must_use]
    pub fn ancestors(&self, id: &StepId) -> Vec<&Step> {
        let mut found: BTreeSet<&StepId> = BTreeSet::new();
        let mut queue = vec![id];
        while let Some(of) = queue.pop() {
            for need in self.step(of).into_iter().flat_map(|step| &step.needs) {
                if found.insert(need) {
                    queue.push(need);
                }
            }
        }
        self.steps().filter(|step| found.contains(&step.id)).collect()
    }
}
