//! The exact effect that a step would have now, and what a person must say before it may have it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::runbook::StepId;

/// What a person told a step, by the name that its [`Ask`] has.
pub type Inputs = BTreeMap<String, String>;

/// Which system an action works on, in a form that can be compared right before the effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TargetIdentity {
    /// What it is called on screen: `financecopilot@db-1:5432`.
    pub name: String,
    /// What proves that it is the same one later: system identifier, cluster UID, run id.
    pub proofs: BTreeMap<String, String>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// Looked at, and good.
    Good,
    /// Look at it before you approve.
    Warning,
    /// The plan cannot be approved.
    Blocking,
}

/// One thing that a preflight found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How grave.
    pub gravity: Gravity,
    /// One sentence.
    pub text: String,
}

impl Finding {
    /// A good finding.
    pub fn good(text: impl Into<String>) -> Self {
        Self { gravity: Gravity::Good, text: text.into() }
    }

    /// A warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { gravity: Gravity::Warning, text: text.into() }
    }

    /// A finding that blocks.
    pub fn blocking(text: impl Into<String>) -> Self {
        Self { gravity: Gravity::Blocking, text: text.into() }
    }
}

/// What kind of answer an [`Ask`] takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskKind {
    /// One line.
    Line,
    /// Several lines; a draft to edit.
    Text,
    /// A point in time: RFC 3339, `HH:MM` (today, UTC), or `40m ago`.
    Time,
    /// A whole number of at least 0.
    Count,
    /// `yes` or `no`.
    YesNo,
    /// One of these.
    Choice(Vec<Choice>),
}

/// One possible answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What is answered.
    pub value: String,
    /// What is shown.
    pub label: String,
}

/// Something that a person must (or may) say before a plan is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The answer's name in [`Inputs`].
    pub name: String,
    /// The question.
    pub label: String,
    /// The form of the answer.
    pub kind: AskKind,
    /// The answer that stands until the person gives another: the one given before, or a proposal.
    pub value: String,
    /// Without an answer the plan cannot be approved.
    pub required: bool,
    /// The value is a choice already made that may be changed: nobody is asked before the plan is shown.
    #[serde(default)]
    pub offered: bool,
}

/// The exact effect of a step, as it would be now. A person approves one of these, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The step.
    pub step: StepId,
    /// The step whose effect this takes back, where the plan was asked for as an undo.
    pub undoes: Option<StepId>,
    /// What it works on.
    pub target: TargetIdentity,
    /// What will happen to what, a sentence each.
    pub effects: Vec<String>,
    /// Shell commands that would do the same by hand. Never holds a secret.
    pub commands: Vec<String>,
    /// How to take it back, in a sentence; empty for reading steps.
    pub undo: String,
    /// What was looked at beforehand.
    pub findings: Vec<Finding>,
    /// What must be said first.
    pub asks: Vec<Ask>,
    /// What the person said.
    pub inputs: Inputs,
    /// The name to type, for steps whose approval is `type`.
    pub type_name: Option<String>,
    /// Takes the name whatever the runbook says of the step: what was chosen on the card is graver than its default.
    #[serde(default)]
    pub by_name: bool,
    /// Set where there is nothing to do; approving then skips the step with this as the evidence.
    pub nothing_to_do: Option<String>,
    /// What the worker found and will hold itself to when it runs: its own form.
    pub basis: serde_json::Value,
    /// Digest of what the incident knew when the plan was made, see [`super::State::context`].
    pub context: Digest,
}

/// A SHA-256 digest in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in Sha256::digest(bytes) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Of a value's JSON.
    #[must_use]
    pub fn of_json(value: &impl Serialize) -> Self {
        // A value that cannot be written as JSON has no stable digest; the empty one matches nothing that was shown.
        serde_json::to_vec(value).map_or_else(|_| Self::default(), |bytes| Self::of(&bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fields of what a plan holds itself to that are said at most.
const FIELDS: usize = 3;

/// Names the fields that differ, with what they are and were.
fn differences(name: &str, now: &Value, then: &Value, said: &mut Vec<String>) {
    if now == then || said.len() == FIELDS {
        return;
    }
    if let (Value::Object(new), Value::Object(old)) = (now, then) {
        for key in new.keys().chain(old.keys().filter(|key| !new.contains_key(*key))) {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            differences(&name, &of(new), &of(old), said);
        }
        return;
    }
    let name = if name.is_empty() { "it" } else { name };
    said.push(format!("{name} is {now}, and it was {then}"));
}

impl Plan {
    /// An empty plan for a step; a worker fills it.
    #[must_use]
    pub fn new(step: StepId, target: TargetIdentity) -> Self {
        Self {
            step,
            undoes: None,
            target,
            effects: Vec::new(),
            commands: Vec::new(),
            undo: String::new(),
            findings: Vec::new(),
            asks: Vec::new(),
            inputs: Inputs::new(),
            type_name: None,
            by_name: false,
            nothing_to_do: None,
            basis: serde_json::Value::Null,
            context: Digest::default(),
        }
    }

    /// What an approval is bound to: everything in the plan.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// What another plan of the same step said otherwise, for somebody who read that one; in sentences.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.target != before.target {
            let (then, now) = (&before.target, &self.target);
            changes.push(if now.name == then.name {
                format!("{} is another one: {:?}, and it was {:?}", now.name, now.proofs, then.proofs)
            } else {
                format!("the target is {}, and it was {}", now.name, then.name)
            });
        }
        if self.inputs != before.inputs {
            changes.push("what was answered to its questions".to_owned());
        }
        let new = |now: &[String], then: &[String]| -> Vec<String> {
            now.iter().filter(|line| !then.contains(line)).cloned().collect()
        };
        let said = new(&self.effects, &before.effects);
        if !said.is_empty() {
            changes.push(format!("it would now: {}", said.join("; ")));
        }
        let texts = |plan: &Self| plan.findings.iter().map(|finding| finding.text.clone()).collect::<Vec<_>>();
        let found = new(&texts(self), &texts(before));
        if !found.is_empty() {
            changes.push(format!("it was found: {}", found.join("; ")));
        }
        if changes.is_empty() && self.basis != before.basis {
            let mut fields = Vec::new();
            differences("", &self.basis, &before.basis, &mut fields);
            changes.push(format!("what it holds itself to: {}", fields.join("; ")));
        }
        if changes.is_empty() && self.digest() != before.digest() {
            changes.push("what it holds itself to".to_owned());
        }
        changes
    }

    /// The first reason why the plan cannot be approved as it is.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if let Some(ask) = self.asks.iter().find(|ask| ask.required && ask.value.trim().is_empty()) {
            return Some(format!("{} is not answered yet", ask.label));
        }
        let blocking = self.findings.iter().find(|finding| finding.gravity == Gravity::Blocking)?;
        Some(blocking.text.clone())
    }
}
