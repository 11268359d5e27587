//! The events that people care about, in words.

use jiff::Timestamp;

use crate::runbook::{Action, Step, StepId};

use super::{Actor, AttemptId, Channel, Event, EventKind, Fact, MessageId, Outcome, Settlement, State};

/// How an entry is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something went as it should.
    Normal,
    /// A person's note.
    Note,
    /// Something needs a person.
    Warning,
    /// Something failed.
    Failure,
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// The event's number.
    pub seq: u64,
    /// When, UTC.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What, in a sentence.
    pub text: String,
    /// It is told to PagerDuty.
    pub milestone: bool,
    /// How it is shown.
    pub level: Level,
    /// The event that made it say what it says now; the journal has what it said before.
    pub corrected: Option<u64>,
    /// What it said before it was corrected, oldest first.
    pub before: Vec<String>,
    /// A person decided something here.
    pub decision: bool,
    /// The step that ended here speaks to somebody: where, and whether it did.
    pub spoke: Option<(Channel, Spoke)>,
}

/// Whether a step that sends a message sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoke {
    /// It arrived.
    Sent,
    /// Nobody knows whether it arrived.
    InDoubt,
    /// It was not sent.
    Unsent,
}

/// The entry for an event, worded from the state before it; none for events that only matter to the machine.
pub(super) fn entry(state: &State, event: &Event) -> Option<TimelineEntry> {
    let (text, milestone, level) = words(state, event)?;
    Some(TimelineEntry {
        seq: event.seq,
        at: event.at,
        actor: event.actor.name.clone(),
        text,
        milestone,
        level,
        corrected: None,
        before: Vec::new(),
        decision: is_decision(event),
        spoke: spoke(state, event),
    })
}

/// Whether the event is a person's choice among what could have been done.
fn is_decision(event: &Event) -> bool {
    if event.actor == Actor::engine() && matches!(event.kind, EventKind::Skipped { .. } | EventKind::Approved { .. }) {
        return false;
    }
    match &event.kind {
        EventKind::Approved { .. }
        | EventKind::Consented { .. }
        | EventKind::ConsentWithdrawn { .. }
        | EventKind::StopRequested { .. }
        | EventKind::Skipped { .. }
        | EventKind::DoneByHand { .. }
        | EventKind::Settled { by: Settlement::Person, .. }
        | EventKind::MessageSettled { .. }
        | EventKind::Escalated { .. }
        | EventKind::TakenOver { .. } => true,
        EventKind::Finished { outcome: Outcome::Succeeded { facts, .. }, .. } => {
            facts.iter().any(|fact| matches!(fact, Fact::Snapshot { .. } | Fact::Agreement { .. }))
        }
        _ => false,
    }
}

/// Where a step that ends with this event was to speak, and whether it did. One that left its message to the outbox is
/// told by what becomes of that.
fn spoke(state: &State, event: &Event) -> Option<(Channel, Spoke)> {
    let (EventKind::Finished { attempt, outcome } | EventKind::Settled { attempt, outcome, .. }) = &event.kind else {
        return None;
    };
    let channel = match step_of(state, *attempt)?.action {
        Action::PostMessage { .. } => Channel::SlackMessage,
        Action::PostStatusUpdate { .. } => Channel::PagerDutyNote,
        _ => return None,
    };
    let how = match outcome {
        Outcome::Succeeded { facts, .. } if facts.iter().any(|fact| matches!(fact, Fact::Owed { .. })) => return None,
        Outcome::Succeeded { .. } => Spoke::Sent,
        Outcome::InDoubt { .. } => Spoke::InDoubt,
        Outcome::Failed { .. } | Outcome::Stopped { .. } => Spoke::Unsent,
    };
    Some((channel, how))
}

fn words(state: &State, event: &Event) -> Option<(String, bool, Level)> {
    let by = &event.actor.name;
    Some(match &event.kind {
        EventKind::Opened { id, environment, .. } => {
            (format!("Incident {id} opened by {by} in {environment}: {}", state.runbook.title), true, Level::Normal)
        }
        EventKind::EngineStarted { pid, .. } => {
            if state.seq <= 2 {
                return None;
            }
            (format!("relight took the incident up again (process {pid})"), false, Level::Warning)
        }
        EventKind::JournalRepaired { bytes } => (
            format!(
                "{bytes} bytes of an unfinished line were cut off the journal's end; nothing acknowledged was lost"
            ),
            false,
            Level::Warning,
        ),
        EventKind::Approved { plan, first, .. } => {
            // Reading steps that need no consent would only fill the timeline.
            if state.runbook.step(&plan.step).is_some_and(|step| step.approval == crate::runbook::Approval::None) {
                return None;
            }
            let effect = plan.effects.first().map_or(String::new(), |effect| format!(": {effect}"));
            let who = match first {
                Some(first) if first.asserted => {
                    format!("{} and {by}, from one account: that they are two people is asserted", first.by.name)
                }
                Some(first) => format!("{} and {by}", first.by.name),
                None => by.clone(),
            };
            (format!("{} approved by {who}{effect}", title_of(state, &plan.step)), false, Level::Normal)
        }
        EventKind::Consented { plan } => {
            let title = title_of(state, &plan.step);
            (format!("{title} approved by {by}; it takes a second person"), false, Level::Warning)
        }
        EventKind::ConsentWithdrawn { step, because } => {
            let title = title_of(state, step);
            (format!("The first approval of {title} is void: {because}"), false, Level::Normal)
        }
        EventKind::HandoverOffered { .. } => {
            (format!("{by} hands the incident over: the page waits to be read and taken"), false, Level::Warning)
        }
        EventKind::TakenOver { .. } => {
            let from = state.handover.as_ref().map_or_else(String::new, |page| format!(" from {}", page.by.name));
            (format!("{by} took the incident over{from}"), true, Level::Normal)
        }
        EventKind::Finished { attempt, outcome } => {
            let step = step_of(state, *attempt)?;
            finished(step, outcome)
        }
        EventKind::Settled { attempt, by: settlement, outcome } => {
            let step = step_of(state, *attempt)?;
            let (text, milestone, level) = finished(step, outcome);
            let how = match settlement {
                Settlement::Probe => "the target was asked".to_owned(),
                Settlement::Person => format!("{by} says"),
            };
            (format!("{text} ({how})"), milestone, level)
        }
        EventKind::Remarked { attempt, text } => {
            (format!("{}: {text}", step_of(state, *attempt)?.title), false, Level::Warning)
        }
        EventKind::StillInDoubt { attempt, problem } => {
            let title = &step_of(state, *attempt)?.title;
            (format!("{title} stays in doubt, the target cannot tell: {}", problem.why), false, Level::Warning)
        }
        EventKind::StopRequested { attempt } => {
            (format!("{by} asked to stop {}", step_of(state, *attempt)?.title), false, Level::Warning)
        }
        EventKind::Skipped { .. } | EventKind::DoneByHand { .. } | EventKind::Reopened { .. } => by_hand(state, event)?,
        EventKind::Noted { text } => (text.clone(), false, Level::Note),
        EventKind::MessageFailed { message, problem } => {
            let where_to = channel_of(state, *message);
            (
                format!("A message could not be sent to {where_to}: {} {}", problem.why, problem.next),
                false,
                Level::Failure,
            )
        }
        EventKind::MessageInDoubt { message, problem } => {
            let where_to = channel_of(state, *message);
            (
                format!("Whether a message to {where_to} arrived is in doubt: {} {}", problem.why, problem.next),
                false,
                Level::Warning,
            )
        }
        EventKind::MessageSettled { message, arrived, note } => {
            let (where_to, what) = (channel_of(state, *message), if *arrived { "arrived" } else { "did not arrive" });
            (format!("{by} says that the message to {where_to} {what}: {note}"), false, Level::Normal)
        }
        EventKind::Alarm { text, .. } => (text.clone(), true, Level::Warning),
        EventKind::Escalated { role, note } => (format!("{by} told {role}: {note}"), true, Level::Normal),
        EventKind::Closed {} => (format!("Incident {} closed", state.id), false, Level::Normal),
        EventKind::MessageQueued { .. } | EventKind::MessageSent { .. } | EventKind::Corrected { .. } => return None,
    })
}

/// What people did to steps without an attempt.
fn by_hand(state: &State, event: &Event) -> Option<(String, bool, Level)> {
    let by = &event.actor.name;
    Some(match &event.kind {
        // A step that would have begun by itself, and had nothing to do.
        EventKind::Skipped { step, reason } if event.actor == Actor::engine() => {
            (format!("{}: {reason}", title_of(state, step)), false, Level::Normal)
        }
        EventKind::Skipped { step, reason } => {
            (format!("{} skipped by {by}: {reason}", title_of(state, step)), is_milestone(state, step), Level::Normal)
        }
        EventKind::DoneByHand { step, note } => (
            format!("{} done by hand by {by}: {note}", title_of(state, step)),
            is_milestone(state, step),
            Level::Normal,
        ),
        EventKind::Reopened { step, because } => {
            (format!("{} is to be done again: {because}", title_of(state, step)), false, Level::Normal)
        }
        _ => return None,
    })
}

fn channel_of(state: &State, message: MessageId) -> &'static str {
    state.messages.get(&message).map_or("?", |message| message.channel.name())
}

fn title_of(state: &State, step: &StepId) -> String {
    state.runbook.step(step).map_or_else(|| step.to_string(), |step| step.title.clone())
}

fn step_of(state: &State, attempt: AttemptId) -> Option<&Step> {
    state.attempts.get(&attempt).and_then(|attempt| state.runbook.step(&attempt.step))
}

fn is_milestone(state: &State, step: &StepId) -> bool {
    state.runbook.step(step).is_some_and(|step| step.milestone)
}

fn finished(step: &Step, outcome: &Outcome) -> (String, bool, Level) {
    let title = &step.title;
    match outcome {
        Outcome::Succeeded { evidence, .. } => {
            let proof = evidence.first().map_or("done", String::as_str);
            (format!("{title}: {proof}"), step.milestone, Level::Normal)
        }
        Outcome::Failed { problem } => (format!("{title} failed: {}", problem.why), step.milestone, Level::Failure),
        Outcome::Stopped { detail } => (format!("{title} stopped: {detail}"), step.milestone, Level::Warning),
        Outcome::InDoubt { problem } => (format!("{title} is in doubt: {}", problem.why), false, Level::Warning),
    }
}
