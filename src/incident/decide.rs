//! What a command leads to. Pure: the same state, plans and command give the same decision.

use jiff::Timestamp;

use crate::runbook::{Approval, Step, StepId};

use super::pending::{PLAN_LIFETIME, PendingPlans};
use super::time::duration_text;
use super::{
    Actor, Attempt, AttemptId, Command, Digest, Effect, EventKind, Fact, First, Level, ObjectRef, Outcome, Refusal,
    Settlement, State, StepStatus,
};

/// What to do about a command.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// Events to commit.
    pub events: Vec<EventKind>,
    /// Effects that no event records: they only read.
    pub effects: Vec<Effect>,
}

impl Decision {
    fn events(events: Vec<EventKind>) -> Self {
        Self { events, effects: Vec::new() }
    }
}

/// Decides on a command.
///
/// # Errors
/// Why it is refused; nothing changes then.
pub fn decide(
    state: &State,
    plans: &PendingPlans,
    actor: &Actor,
    command: &Command,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    // A closed incident still takes notes: the review afterwards is part of it.
    if state.closed_at.is_some()
        && !matches!(command, Command::Note { .. } | Command::Correct { .. } | Command::SettleMessage { .. })
    {
        return Err(Refusal::Closed);
    }
    match command {
        Command::Prepare { step, inputs, undoes } => {
            let step = find(state, step)?;
            may_start(state, step, undoes.as_ref())?;
            Ok(Decision {
                events: Vec::new(),
                effects: vec![Effect::Plan { step: step.id.clone(), inputs: inputs.clone(), undoes: undoes.clone() }],
            })
        }
        Command::Approve { step, digest, typed } => {
            approve(state, plans, find(state, step)?, &Consenting { actor, digest, typed: typed.as_deref(), now })
        }
        Command::Skip { step, reason } => {
            let step = find(state, step)?;
            may_settle_by_hand(state, step, reason, "why it is left out")?;
            Ok(Decision::events(vec![EventKind::Skipped { step: step.id.clone(), reason: reason.trim().to_owned() }]))
        }
        Command::DoneByHand { step, note } => {
            let step = find(state, step)?;
            may_settle_by_hand(state, step, note, "what was done")?;
            Ok(Decision::events(vec![EventKind::DoneByHand { step: step.id.clone(), note: note.trim().to_owned() }]))
        }
        Command::Retry { step } => retry(state, find(state, step)?),
        Command::Stop { attempt } => stop(state, *attempt),
        Command::Probe { attempt } => {
            doubtful(state, *attempt)?;
            Ok(Decision { events: Vec::new(), effects: vec![Effect::Probe { attempt: *attempt }] })
        }
        Command::Withdraw { step } => {
            let step = find(state, step)?;
            if !state.consents.contains_key(&step.id) {
                let why = format!("nobody approved `{}` yet, so there is nothing to take back", step.title);
                return Err(Refusal::WrongState { why });
            }
            let because = format!("{} took it back", actor.name);
            Ok(Decision::events(vec![EventKind::ConsentWithdrawn { step: step.id.clone(), because }]))
        }
        Command::Settle { attempt, happened, note } => settle(state, *attempt, *happened, note),
        Command::SettleMessage { message, arrived, note } => {
            not_empty(note, "how you know")?;
            if !state.doubtful_messages().any(|doubtful| doubtful.id == *message) {
                return Err(Refusal::WrongState { why: format!("message {message} is not in doubt") });
            }
            let note = note.trim().to_owned();
            Ok(Decision::events(vec![EventKind::MessageSettled { message: *message, arrived: *arrived, note }]))
        }
        Command::Correct { note, text } => {
            not_empty(text, "a note")?;
            if state.entry(*note).is_none_or(|entry| entry.level != Level::Note) {
                return Err(Refusal::WrongState { why: "only notes can be corrected".to_owned() });
            }
            Ok(Decision::events(vec![EventKind::Corrected { note: *note, text: text.trim().to_owned() }]))
        }
        Command::OfferHandover { text } => {
            not_empty(text, "the page")?;
            Ok(Decision::events(vec![EventKind::HandoverOffered { text: text.clone() }]))
        }
        Command::TakeOver { page } => take_over(state, page),
        Command::Note { text } => {
            not_empty(text, "a note")?;
            Ok(Decision::events(vec![EventKind::Noted { text: text.trim().to_owned() }]))
        }
        Command::Escalate { role, note } => {
            if !state.runbook.contacts.iter().any(|contact| &contact.role == role) {
                return Err(Refusal::WrongState { why: format!("the runbook has no contact `{role}`") });
            }
            not_empty(note, "what was said")?;
            Ok(Decision::events(vec![EventKind::Escalated { role: role.clone(), note: note.trim().to_owned() }]))
        }
    }
}

fn find<'a>(state: &'a State, step: &StepId) -> Result<&'a Step, Refusal> {
    state.runbook.step(step).ok_or_else(|| Refusal::NoSuchStep { step: step.clone() })
}

fn not_empty(text: &str, what: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::WrongState { why: format!("{what} must not be empty") });
    }
    Ok(())
}

/// A step may be prepared or approved: its needs are met, it is not at work, and it is not done for good.
/// As the undo of a step it only needs that step to have succeeded.
fn may_start(state: &State, step: &Step, undoes: Option<&StepId>) -> Result<(), Refusal> {
    let title = &step.title;
    match state.status(&step.id) {
        StepStatus::Running(_) => {
            return Err(Refusal::WrongState { why: format!("`{title}` is at work already") });
        }
        StepStatus::InDoubt(_) => {
            return Err(Refusal::WrongState {
                why: format!("`{title}` is in doubt: say first whether its last attempt had its effect"),
            });
        }
        _ => {}
    }
    if let Some(undone) = undoes {
        let undone = find(state, undone)?;
        if undone.undo.as_ref() != Some(&step.id) {
            return Err(Refusal::WrongState { why: format!("`{title}` is not the undo of `{}`", undone.title) });
        }
        return match state.status(&undone.id) {
            StepStatus::Succeeded(_) | StepStatus::Failed(_) | StepStatus::Stopped(_) => Ok(()),
            // Opened again, because what it rests on was: what it did to the world is still so.
            StepStatus::Pending if state.has_succeeded(&undone.id) => Ok(()),
            _ => Err(Refusal::WrongState {
                why: format!("`{}` has had no effect that could be taken back", undone.title),
            }),
        };
    }
    let waits_for = state.waits_for(step);
    if !waits_for.is_empty() {
        let titles: Vec<&str> = waits_for.iter().map(|step| step.title.as_str()).collect();
        return Err(Refusal::NotReady { title: title.clone(), waits_for: titles.join(", ") });
    }
    match state.status(&step.id) {
        StepStatus::Pending => Ok(()),
        StepStatus::Failed(_) | StepStatus::Stopped(_) => {
            Err(Refusal::WrongState { why: format!("`{title}` did not succeed: retry it first (r)") })
        }
        _ if step.repeat => Ok(()),
        _ => Err(Refusal::WrongState { why: format!("`{title}` is done already; retry (r) opens it again") }),
    }
}

/// Who approves what, and when.
struct Consenting<'a> {
    actor: &'a Actor,
    digest: &'a Digest,
    typed: Option<&'a str>,
    now: Timestamp,
}

fn approve(state: &State, plans: &PendingPlans, step: &Step, by: &Consenting<'_>) -> Result<Decision, Refusal> {
    let changed = |why: String| Refusal::PlanChanged { why };
    // The second of two people approves what the first one did, and no plan of their own.
    let consent = state.consents.get(&step.id).filter(|consent| consent.plan.digest() == *by.digest);
    let plan = match consent {
        Some(consent) => {
            let age = by.now.duration_since(consent.at);
            if age > PLAN_LIFETIME {
                let why = format!("the first approval is {} old, and the world may have moved on", duration_text(age));
                return Err(changed(why));
            }
            &*consent.plan
        }
        None => plans.approvable(state, &step.id, by.digest, by.now).map_err(changed)?,
    };
    may_start(state, step, plan.undoes.as_ref())?;
    if plan.context != state.context(&step.id) {
        return Err(changed("a step that it rests on moved on".to_owned()));
    }
    if let Some(why) = plan.obstacle() {
        return Err(Refusal::Obstacle { why });
    }
    if step.approval.is_typed() || plan.by_name {
        let expected = plan.type_name.clone().unwrap_or_else(|| plan.target.name.clone());
        if by.typed != Some(expected.as_str()) {
            return Err(Refusal::WrongName { expected });
        }
    }
    if let Some(target) = state.destroys(step, &plan.inputs) {
        let busy = state
            .running()
            .filter_map(|attempt| Some((state.runbook.step(&attempt.step)?, &attempt.plan.inputs)))
            .find(|(other, inputs)| state.destroys(other, inputs).as_deref() == Some(target.as_str()))
            .map(|(other, _)| other);
        if let Some(busy) = busy {
            return Err(Refusal::TargetBusy { running: busy.title.clone(), target });
        }
    }
    // What takes something back loses nothing that anybody agreed to lose.
    if plan.undoes.is_none() && !step.action.is_way_back() {
        agreement_holds(state, step, by.now)?;
    }
    if let Some(reason) = &plan.nothing_to_do {
        return Ok(Decision::events(vec![EventKind::Skipped { step: step.id.clone(), reason: reason.clone() }]));
    }
    let first = match consent {
        _ if step.approval != Approval::TwoPerson => None,
        None => return Ok(Decision::events(vec![EventKind::Consented { plan: Box::new(plan.clone()) }])),
        Some(consent) => {
            let asserted = consent.by.uid == by.actor.uid;
            if asserted && !state.one_account {
                return Err(Refusal::SecondPerson { title: step.title.clone(), first: consent.by.name.clone() });
            }
            Some(First { by: consent.by.clone(), at: consent.at, asserted })
        }
    };
    let attempt = state.next_attempt();
    Ok(Decision::events(vec![EventKind::Approved { attempt, plan: Box::new(plan.clone()), first }]))
}

fn take_over(state: &State, page: &Digest) -> Result<Decision, Refusal> {
    let wrong = |why: &str| Refusal::WrongState { why: why.to_owned() };
    let offered = state.handover.as_ref().ok_or_else(|| wrong("nobody hands the incident over"))?;
    if Digest::of(offered.page.as_bytes()) != *page {
        return Err(wrong("a newer page was written meanwhile: read that one"));
    }
    Ok(Decision::events(vec![EventKind::TakenOver { page: page.clone() }]))
}

/// Steps that rest on an agreement need it to be about the snapshot that is chosen now, and its loss.
fn agreement_holds(state: &State, step: &Step, now: Timestamp) -> Result<(), Refusal> {
    for ancestor in state.runbook.ancestors(&step.id) {
        let crate::runbook::Action::RecordAgreement { snapshot, .. } = &ancestor.action else {
            continue;
        };
        let Some((agreed, ceiling)) = state.facts_of(&ancestor.id).find_map(|fact| match fact {
            Fact::Agreement { object, loses_seconds, .. } => Some((object, *loses_seconds)),
            _ => None,
        }) else {
            // It was skipped or done by hand, which the timeline says; nothing is bound then.
            continue;
        };
        let chosen: Option<(&ObjectRef, Timestamp)> = state.facts_of(snapshot).find_map(|fact| match fact {
            Fact::Snapshot { object, taken_at } => Some((object, *taken_at)),
            _ => None,
        });
        let Some((object, taken_at)) = chosen else {
            continue;
        };
        let why = if object == agreed {
            let now_lost = state.loses(taken_at, now);
            (now_lost.as_secs() > ceiling).then(|| {
                format!(
                    "it covers a loss of up to {}, and {} would be lost now",
                    duration_text(jiff::SignedDuration::from_secs(ceiling)),
                    duration_text(now_lost)
                )
            })
        } else {
            Some("it was given for another snapshot".to_owned())
        };
        if let Some(why) = why {
            return Err(Refusal::Obstacle {
                why: format!("the agreement `{}` is void: {why}. Retry it (r) and ask again", ancestor.title),
            });
        }
    }
    Ok(())
}

fn may_settle_by_hand(state: &State, step: &Step, text: &str, what: &str) -> Result<(), Refusal> {
    not_empty(text, what)?;
    match state.status(&step.id) {
        StepStatus::Pending | StepStatus::Failed(_) | StepStatus::Stopped(_) => Ok(()),
        StepStatus::Running(_) => {
            Err(Refusal::WrongState { why: format!("`{}` is at work; stop it first (x)", step.title) })
        }
        StepStatus::InDoubt(_) => Err(Refusal::WrongState {
            why: format!("`{}` is in doubt: say whether its last attempt had its effect", step.title),
        }),
        _ => Err(Refusal::WrongState { why: format!("`{}` is settled already; retry (r) opens it again", step.title) }),
    }
}

fn retry(state: &State, step: &Step) -> Result<Decision, Refusal> {
    match state.status(&step.id) {
        StepStatus::Pending => {
            return Err(Refusal::WrongState { why: format!("`{}` is open already", step.title) });
        }
        StepStatus::Running(_) => {
            return Err(Refusal::WrongState { why: format!("`{}` is at work; stop it first (x)", step.title) });
        }
        StepStatus::InDoubt(_) => {
            return Err(Refusal::WrongState {
                why: format!("`{}` is in doubt: say first whether its last attempt had its effect", step.title),
            });
        }
        _ => {}
    }
    let dependents = state.runbook.dependents(&step.id);
    if let Some(running) = dependents.iter().find(|other| matches!(state.status(&other.id), StepStatus::Running(_))) {
        return Err(Refusal::WrongState {
            why: format!("`{}` rests on it and is at work; stop that first (x)", running.title),
        });
    }
    let mut events = vec![EventKind::Reopened { step: step.id.clone(), because: "it is retried".to_owned() }];
    events.extend(reopen_dependents(state, step, "is retried"));
    Ok(Decision::events(events))
}

/// Puts every settled step that rests on `step` back to pending. Steps at work or in doubt keep their state:
/// what they did to the world is not known yet.
pub(super) fn reopen_dependents<'a>(
    state: &'a State,
    step: &Step,
    what: &str,
) -> impl Iterator<Item = EventKind> + use<'a> {
    let because = format!("`{}` {what}", step.title);
    let dependents = state.runbook.dependents(&step.id);
    dependents.into_iter().filter_map(move |other| match state.status(&other.id) {
        StepStatus::Pending | StepStatus::Running(_) | StepStatus::InDoubt(_) => None,
        _ => Some(EventKind::Reopened { step: other.id.clone(), because: because.clone() }),
    })
}

fn stop(state: &State, attempt: AttemptId) -> Result<Decision, Refusal> {
    match state.attempts.get(&attempt) {
        // A program of one that is in doubt may outlive the engine that started it.
        Some(running) if running.outcome.is_none() || running.is_being_asked() => {
            Ok(Decision::events(vec![EventKind::StopRequested { attempt }]))
        }
        _ => Err(Refusal::WrongState { why: format!("attempt {attempt} is not at work") }),
    }
}

fn doubtful(state: &State, attempt: AttemptId) -> Result<&Attempt, Refusal> {
    state
        .attempts
        .get(&attempt)
        .filter(|doubtful| state.status(&doubtful.step) == &StepStatus::InDoubt(attempt))
        .ok_or_else(|| Refusal::WrongState { why: format!("attempt {attempt} is not in doubt") })
}

fn settle(state: &State, attempt: AttemptId, happened: bool, note: &str) -> Result<Decision, Refusal> {
    not_empty(note, "how you know")?;
    let doubtful = doubtful(state, attempt)?;
    if doubtful.is_being_asked() {
        let why = format!(
            "the target of attempt {attempt} is still being asked, and what runs of it is waited for: stop it, or wait"
        );
        return Err(Refusal::WrongState { why });
    }
    let note = note.trim().to_owned();
    let Some(step) = state.runbook.step(&doubtful.step) else {
        return Err(Refusal::NoSuchStep { step: doubtful.step.clone() });
    };
    // A person's word proves no facts: what later steps would rest on is not known, so the step counts as done by hand.
    let events = if happened {
        vec![
            EventKind::Settled { attempt, by: Settlement::Person, outcome: Outcome::Stopped { detail: note.clone() } },
            EventKind::DoneByHand { step: step.id.clone(), note },
        ]
    } else {
        vec![EventKind::Settled {
            attempt,
            by: Settlement::Person,
            outcome: Outcome::Stopped { detail: format!("had no effect: {note}") },
        }]
    };
    Ok(Decision::events(events))
}
