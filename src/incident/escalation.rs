//! Whom to call now, and what to tell them.

use jiff::Timestamp;

use crate::runbook::{Action, Contact, EscalateWhen, StepId};

use super::{Knowledge, State, StepStatus};

/// A contact, whether calling them is due, and what to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// Who.
    pub contact: Contact,
    /// Why now; none where nothing calls for it.
    pub due: Option<String>,
    /// What to tell them, filled in.
    pub say: String,
    /// When they were told.
    pub told_at: Option<Timestamp>,
}

/// All contacts as they stand at `now`, in the runbook's order.
#[must_use]
pub fn escalations(state: &State, now: Timestamp) -> Vec<Escalation> {
    let knowledge = Knowledge::of(state, &StepId::new(""), now);
    state
        .runbook
        .contacts
        .iter()
        .map(|contact| {
            let told_at = state.escalated.get(&contact.role).copied();
            let due = due(state, contact, now);
            let say = knowledge.fill(&contact.say).unwrap_or_else(|_| contact.say.clone());
            Escalation { contact: contact.clone(), due, say, told_at }
        })
        .collect()
}

/// Whether calling somebody is due at `now`.
#[must_use]
pub fn is_call_due(state: &State, now: Timestamp) -> bool {
    state.runbook.contacts.iter().any(|contact| due(state, contact, now).is_some())
}

/// Why a contact is to be called, unless they were.
fn due(state: &State, contact: &Contact, now: Timestamp) -> Option<String> {
    if state.escalated.contains_key(&contact.role) { None } else { reason(state, contact.when, now) }
}

fn reason(state: &State, when: EscalateWhen, now: Timestamp) -> Option<String> {
    if state.closed_at.is_some() {
        return None;
    }
    match when {
        EscalateWhen::RestoreFailed => state
            .runbook
            .steps()
            .filter(|step| {
                matches!(
                    step.action,
                    Action::RestoreDatabase { .. } | Action::ProveTables { .. } | Action::SwapDatabase { .. }
                )
            })
            .find(|step| matches!(state.status(&step.id), StepStatus::Failed(_) | StepStatus::InDoubt(_)))
            .map(|step| format!("{} did not succeed", step.title)),
        EscalateWhen::RtoPassed => {
            let deadline = state.onset()?.checked_add(state.rto).ok()?;
            (now > deadline && state.service_back_at().is_none()).then(|| "the RTO target has passed".to_owned())
        }
        EscalateWhen::RegulatedData => {
            (state.regulated() == Some(true)).then(|| "regulated data is concerned".to_owned())
        }
    }
}
