//! What follows from an event: side effects, and further events that are owed.

use crate::runbook::{Action, Begins, Step, StepId};

use super::{Channel, Effect, Event, EventKind, MessageId, Outcome, Problem, Seal, State, StepStatus};

/// The side effects that an event calls for, once it is durable and applied.
#[must_use]
pub fn effects(state: &State, event: &Event) -> Vec<Effect> {
    match &event.kind {
        EventKind::Approved { attempt, plan, .. } => {
            let mut effects = vec![Effect::Run { attempt: *attempt }];
            // Starting or stopping writes changes the counts that are watched, so the watch ends first.
            effects.splice(0..0, watched_by(state, &plan.step).map(|step| Effect::Unwatch { step }));
            effects
        }
        EventKind::StopRequested { attempt } => vec![Effect::Stop { attempt: *attempt }],
        // A person who looked and did not find it has it sent again.
        EventKind::MessageQueued { message, .. } | EventKind::MessageSettled { message, arrived: false, .. } => {
            vec![Effect::Send { message: *message }]
        }
        EventKind::Closed {} => vec![Effect::End],
        EventKind::Skipped { step, .. } | EventKind::DoneByHand { step, .. } => begun_by(state, step).collect(),
        EventKind::Reopened { step, .. } => beginning(state).filter(|open| &open.id == step).map(begin).collect(),
        // What nobody knows is asked at once, by whoever can only look.
        EventKind::Finished { attempt, outcome: Outcome::InDoubt { .. } } => vec![Effect::Probe { attempt: *attempt }],
        EventKind::Finished { attempt, outcome: Outcome::Succeeded { .. } }
        | EventKind::Settled { attempt, outcome: Outcome::Succeeded { .. }, .. } => {
            let Some(step) = state.attempts.get(attempt).and_then(|done| state.runbook.step(&done.step)) else {
                return Vec::new();
            };
            let watched = matches!(step.action, Action::StopWrites { .. });
            let watch = watched.then_some(Effect::Watch { attempt: *attempt });
            watch.into_iter().chain(begun_by(state, &step.id)).collect()
        }
        _ => Vec::new(),
    }
}

/// Steps that begin by themselves and can.
fn beginning(state: &State) -> impl Iterator<Item = &Step> {
    let open = |step: &&Step| step.begins == Begins::ByItself && state.status(&step.id) == &StepStatus::Pending;
    state.runbook.steps().filter(open).filter(|step| state.closed_at.is_none() && state.is_ready(step))
}

/// What begins by itself because a step is met now.
fn begun_by(state: &State, met: &StepId) -> impl Iterator<Item = Effect> {
    let waited = beginning(state).filter(|step| step.needs.contains(met));
    waited.map(begin)
}

fn begin(step: &Step) -> Effect {
    Effect::Begin { step: step.id.clone() }
}

/// The step whose counts a step is about to change.
fn watched_by(state: &State, step: &StepId) -> Option<StepId> {
    match &state.runbook.step(step)?.action {
        Action::StartWrites { from } => Some(from.clone()),
        Action::StopWrites { .. } => Some(step.clone()),
        _ => None,
    }
}

/// Events that the state calls for by itself: milestones that are not told yet, and the end.
///
/// It is asked after every change and at every start, so nothing owed is forgotten when an engine dies in between.
///
/// `head` is the digest of the journal's last line: notes carry the beginning of it, so that a journal that was cut
/// short or written anew can be told from what PagerDuty holds.
#[must_use]
pub fn owed(state: &State, head: &str) -> Vec<EventKind> {
    let mut owed = Vec::new();
    if state.pagerduty().is_some() {
        let mut next = state.next_message().0;
        let seal = Seal { seq: state.seq, head: head.to_owned() };
        for entry in state.untold.iter().filter_map(|seq| state.entry(*seq)) {
            owed.push(EventKind::MessageQueued {
                message: MessageId(next),
                channel: Channel::PagerDutyNote,
                text: format!(
                    "{} {} (journal {}) [{} #{}]",
                    entry.at.strftime("%H:%M:%SZ"),
                    entry.text,
                    seal.short(),
                    state.id,
                    entry.seq
                ),
                about: entry.seq,
            });
            next = next.saturating_add(1);
        }
    }
    let closing = state.runbook.steps().any(|step| {
        matches!(step.action, Action::CloseIncident { .. })
            && matches!(state.status(&step.id), StepStatus::Succeeded(_))
    });
    // What is at work is seen to its end: it would be cut off with the engine, and nobody would hear what it found.
    if closing && state.closed_at.is_none() && state.running().next().is_none() {
        owed.push(EventKind::Closed {});
    }
    owed
}

/// What a new engine does with what its predecessor left: attempts that were at work are in doubt and looked
/// into, messages that are owed are sent, and stopped writers are watched again.
#[must_use]
pub fn recover(state: &State) -> (Vec<EventKind>, Vec<Effect>) {
    let mut events = Vec::new();
    let mut effects = Vec::new();
    for attempt in state.attempts.values() {
        match &attempt.outcome {
            None => {
                events.push(EventKind::Finished {
                    attempt: attempt.id,
                    outcome: Outcome::InDoubt {
                        problem: Problem {
                            what: state.runbook.step(&attempt.step).map_or_else(String::new, |step| step.title.clone()),
                            target: attempt.plan.target.name.clone(),
                            why: "relight ended while it was at work.".to_owned(),
                            next: "The target is being asked what became of it.".to_owned(),
                        },
                    },
                });
            }
            Some(Outcome::InDoubt { .. }) if state.status(&attempt.step) == &StepStatus::InDoubt(attempt.id) => {
                effects.push(Effect::Probe { attempt: attempt.id });
            }
            Some(_) => {}
        }
    }
    effects.extend(state.unsent().map(|message| Effect::Send { message: message.id }));
    if state.writes_stopped_at().is_some() {
        let watched = state.runbook.steps().find_map(|step| match (&step.action, state.status(&step.id)) {
            (Action::StopWrites { .. }, StepStatus::Succeeded(attempt)) => Some(*attempt),
            _ => None,
        });
        effects.extend(watched.map(|attempt| Effect::Watch { attempt }));
    }
    effects.extend(beginning(state).map(begin));
    if state.closed_at.is_some() {
        effects.push(Effect::End);
    }
    (events, effects)
}
