//! What a report leads to. Reports about attempts that are over already are dropped.

use crate::runbook::{Action, Strategy};

use super::decide::reopen_dependents;
use super::{AttemptId, EventKind, Fact, MessageId, MessageState, Outcome, Report, Settlement, State, StepStatus};

/// The events that a report calls for.
#[must_use]
pub fn react(state: &State, report: &Report) -> Vec<EventKind> {
    match report {
        Report::Remarked { attempt, text } if at_work(state, *attempt) => {
            vec![EventKind::Remarked { attempt: *attempt, text: text.clone() }]
        }
        // A plan is no event: it changes nothing until it is approved.
        Report::Remarked { .. } => Vec::new(),
        Report::Finished { attempt, outcome } => {
            if !at_work(state, *attempt) {
                return Vec::new();
            }
            let mut events = vec![EventKind::Finished { attempt: *attempt, outcome: outcome.clone() }];
            events.extend(consequences(state, *attempt, outcome));
            events
        }
        Report::Probed { attempt, outcome } => {
            let doubtful = state
                .attempts
                .get(attempt)
                .is_some_and(|doubtful| state.status(&doubtful.step) == &StepStatus::InDoubt(*attempt));
            if !doubtful {
                return Vec::new();
            }
            // A probe that cannot tell leaves the step in doubt: a person is asked, with what the target does say.
            if let Outcome::InDoubt { problem } = outcome {
                let known =
                    state.attempts.get(attempt).is_some_and(|it| it.asked && it.outcome.as_ref() == Some(outcome));
                let event = EventKind::StillInDoubt { attempt: *attempt, problem: problem.clone() };
                return if known { Vec::new() } else { vec![event] };
            }
            let mut events =
                vec![EventKind::Settled { attempt: *attempt, by: Settlement::Probe, outcome: outcome.clone() }];
            events.extend(consequences(state, *attempt, outcome));
            events
        }
        Report::Sent { message, result } => {
            if state.messages.get(message).is_none_or(|owed| owed.state != MessageState::Unsent) {
                return Vec::new();
            }
            vec![match result {
                Ok(reference) => EventKind::MessageSent { message: *message, reference: reference.clone() },
                Err(problem) => EventKind::MessageFailed { message: *message, problem: problem.clone() },
            }]
        }
        Report::SentInDoubt { message, problem } => {
            let owed = state.messages.get(message).is_some_and(|owed| owed.state == MessageState::Unsent);
            let event = EventKind::MessageInDoubt { message: *message, problem: problem.clone() };
            if owed { vec![event] } else { Vec::new() }
        }
        Report::Alarm { step, text } => vec![EventKind::Alarm { step: step.clone(), text: text.clone() }],
    }
}

fn at_work(state: &State, attempt: AttemptId) -> bool {
    state.attempts.get(&attempt).is_some_and(|attempt| attempt.outcome.is_none())
}

/// A success that takes another step back, or replaces the database, puts what rested on the former state
/// back to pending.
fn consequences(state: &State, attempt: AttemptId, outcome: &Outcome) -> Vec<EventKind> {
    if !matches!(outcome, Outcome::Succeeded { .. }) {
        return Vec::new();
    }
    let Some(done) = state.attempts.get(&attempt) else {
        return Vec::new();
    };
    let Some(step) = state.runbook.step(&done.step) else {
        return Vec::new();
    };
    let mut events: Vec<EventKind> = Vec::new();
    if let Outcome::Succeeded { facts, .. } = outcome {
        let owed = facts.iter().filter_map(|fact| match fact {
            Fact::Owed { channel, text } => Some((*channel, text.clone())),
            _ => None,
        });
        let ids = (state.next_message().0..).map(MessageId);
        events.extend(ids.zip(owed).map(|(message, (channel, text))| EventKind::MessageQueued {
            message,
            channel,
            text,
            // The end of the attempt, which is the event right before.
            about: state.seq + 1,
        }));
    }
    // Swapping back takes its swap back, whichever way it was asked for.
    let taken_back = match (&done.plan.undoes, &step.action) {
        (Some(undone), _) => Some(undone),
        (None, Action::SwapBack { swap, .. }) => Some(swap),
        (None, _) => None,
    };
    if let Some(undone) = taken_back.and_then(|id| state.runbook.step(id)) {
        events.push(EventKind::Reopened { step: undone.id.clone(), because: format!("`{}` took it back", step.title) });
        events.extend(reopen_dependents(state, undone, "was taken back"));
        // The undo may itself rest on what it takes back, as starting writes rests on stopping them. It is at work
        // until this very report, so it is not among the reopened yet.
        if state.runbook.dependents(&undone.id).iter().any(|other| other.id == step.id) {
            let because = format!("`{}` was taken back", undone.title);
            events.push(EventKind::Reopened { step: step.id.clone(), because });
        }
    }
    if let Action::RestoreDatabase { database, strategy: Strategy::InPlace | Strategy::Runbook, .. } =
        &step.action.chosen(&done.plan.inputs)
    {
        for prove in state.runbook.steps() {
            let concerned = matches!(&prove.action, Action::ProveTables { database: proved, .. } if proved == database);
            let settled = !matches!(
                state.status(&prove.id),
                StepStatus::Pending | StepStatus::Running(_) | StepStatus::InDoubt(_)
            );
            if concerned && settled {
                let because = format!("`{}` replaced the database", step.title);
                events.push(EventKind::Reopened { step: prove.id.clone(), because });
                events.extend(reopen_dependents(state, prove, "must be proved again"));
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    events.retain(|event| !matches!(event, EventKind::Reopened { step, .. } if !seen.insert(step.clone())));
    events
}
