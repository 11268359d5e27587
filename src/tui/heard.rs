//! What the engine says, folded into the cockpit.

use jiff::SignedDuration;

use crate::incident::{Actor, Event, EventKind, Fact, Notice, Outcome, Plan, Problem, Query, State};
use crate::runbook::StepId;
use crate::wire::{FromEngine, ToClient, ToEngine};

use super::action::UiAction;
use super::app::{App, Asked, Progress};
use super::browse;
use super::card::{Card, Stage};
use super::checklist::Calls;
use super::msg::Out;
use super::overlay::Overlay;
use super::pace::Pace;
use super::perform;
use super::seek;

/// Bytes of a log's end that are fetched when it is first looked at.
pub(super) const TAIL: u32 = 256 * 1024;
/// Buffers that are held before the ones that nobody looks at are let go.
const MOST_BUFFERS: usize = 8;
/// Nobody looks elsewhere while something shorter than this is at work.
const LONG: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn heard(app: &mut App, from: FromEngine) -> Vec<Out> {
    match from {
        FromEngine::Lost(why) => {
            app.lost = Some(why);
            app.at_once.clear();
            if let Some(card) = app.card_mut()
                && matches!(card.stage, Stage::Loading | Stage::Approving)
            {
                card.stage = Stage::Refused("the engine is gone; what it was asked last may have happened".to_owned());
            }
            Vec::new()
        }
        FromEngine::Message(ToClient::Event { event }) => {
            let mut outs = happened(app, &event);
            outs.extend(needs_somebody(app, &event).then_some(Out::Ring));
            outs
        }
        FromEngine::Message(ToClient::Notice { notice }) => noticed(app, notice),
        FromEngine::Message(ToClient::Reply { id, result }) => {
            let Some(asked) = app.asked.remove(&id) else { return Vec::new() };
            replied(app, id, asked, result.map_err(|refusal| refusal.to_string()))
        }
        FromEngine::Message(ToClient::CaughtUp { seal }) => {
            app.caught_up = true;
            app.seal = Some(seal);
            offered_page(app);
            vec![list_snapshots(app)]
        }
        FromEngine::Message(ToClient::Sealed { seal }) => {
            app.seal = Some(seal);
            Vec::new()
        }
        FromEngine::Message(ToClient::Welcome { .. }) => Vec::new(),
        FromEngine::Message(ToClient::Unwelcome { why }) => {
            app.lost = Some(why);
            Vec::new()
        }
    }
}

/// Whether an event calls somebody back who looks elsewhere: something went wrong, something long has ended and nothing
/// else is at work, or somebody else waits for an answer.
fn needs_somebody(app: &App, event: &Event) -> bool {
    let Some(state) = app.state.as_ref().filter(|_| app.caught_up) else { return false };
    match &event.kind {
        EventKind::Finished { outcome: Outcome::Failed { .. } | Outcome::InDoubt { .. }, .. }
        | EventKind::StillInDoubt { .. }
        | EventKind::Alarm { .. } => true,
        EventKind::Finished { attempt, .. } => {
            let long = state.attempts.get(attempt).is_some_and(|one| event.at.duration_since(one.started_at) >= LONG);
            long && state.running().next().is_none()
        }
        EventKind::Consented { .. } | EventKind::HandoverOffered { .. } => event.actor != app.you,
        _ => false,
    }
}

/// Shows a page that waits to be taken over to whoever did not write it, if nothing else is on screen.
fn offered_page(app: &mut App) {
    let offered = app.state.as_ref().and_then(|state| state.handover.as_ref());
    if let Some(offered) = offered.filter(|offered| offered.by != app.you)
        && app.ui.overlay.is_none()
    {
        app.ui.overlay = Some(Overlay::Handover { page: offered.page.clone(), offered: true, scroll: 0 });
    }
}

pub(super) fn list_snapshots(app: &mut App) -> Out {
    app.listing_fault = None;
    let id = app.ask(Asked::Snapshots);
    Out::Send(ToEngine::Query { id, query: Query::Snapshots })
}

fn happened(app: &mut App, event: &Event) -> Vec<Out> {
    let folded = match &mut app.state {
        Some(state) => state.apply(event),
        none => State::open(event).map(|state| *none = Some(state)),
    };
    if let Err(error) = folded {
        app.alarm = Some(format!("this screen cannot be trusted any more: {error}. Detach and attach again"));
        return Vec::new();
    }
    app.calls = app.state.as_ref().map(Calls::of).unwrap_or_default();
    match &event.kind {
        EventKind::Approved { attempt, plan, .. } => {
            app.plans.remove(&plan.step);
            app.answers.remove(&plan.step);
            app.ui.line = None;
            app.ui.attempt = None;
            // What is in the journal needs no answer to be shown: a card that stayed until then would take a key that is meant
            // for what is behind it.
            let words = format!("{} approved it (attempt {attempt}).", event.actor.name);
            if close(app, &plan.step, &event.actor, words) {
                // The eye goes on to what runs now.
                app.ui.row = None;
            }
        }
        EventKind::Finished { attempt, outcome } | EventKind::Settled { attempt, outcome, .. } => {
            app.progress.remove(attempt);
            app.paces.remove(attempt);
            let is_settled = !matches!(outcome, Outcome::InDoubt { .. });
            if is_settled && matches!(app.ui.overlay, Some(Overlay::Settle { attempt: one, .. }) if one == *attempt) {
                app.ui.overlay = None;
            }
            let judged_anew = matches!(outcome, Outcome::Succeeded { facts, .. }
                if facts.iter().any(|fact| matches!(fact, Fact::Onset { .. } | Fact::Snapshot { .. })));
            if judged_anew && app.caught_up {
                return vec![list_snapshots(app)];
            }
        }
        EventKind::Consented { plan } => {
            app.plans.remove(&plan.step);
            let who = if event.actor == app.you { "you" } else { event.actor.name.as_str() };
            let key = app.key(UiAction::Approve);
            let words = format!("{who} approved it as the first of two: another account presses {key} on it");
            close(app, &plan.step, &event.actor, words.clone());
            app.say(words);
        }
        EventKind::HandoverOffered { .. } if app.caught_up => {
            let key = app.key(UiAction::Handover);
            app.warn(format!("{} hands the incident over: {key} shows the page", event.actor.name));
        }
        EventKind::TakenOver { .. } => {
            if matches!(app.ui.overlay, Some(Overlay::Handover { offered: true, .. })) {
                app.ui.overlay = None;
            }
        }
        EventKind::MessageSent { .. } => app.outbox_waits = None,
        EventKind::Alarm { text, .. } if app.caught_up => app.warn(text.clone()),
        _ => {}
    }
    Vec::new()
}

fn noticed(app: &mut App, notice: Notice) -> Vec<Out> {
    match notice {
        Notice::Planned { step, result } => return planned(app, &step, result),
        Notice::Output { attempt, offset, text } => {
            app.output.take(attempt, offset, &text, app.now);
            if app.output.len() > MOST_BUFFERS {
                let looked_at = app.attempt().map(|attempt| attempt.id);
                let state = app.state.as_ref();
                app.output.keep_only(|id| {
                    Some(id) == looked_at
                        || state.is_some_and(|state| state.attempts.get(&id).is_none_or(|a| a.outcome.is_none()))
                });
                let output = &app.output;
                app.fetched.retain(|id| output.get(*id).is_some() || output.fault(*id).is_some());
            }
        }
        Notice::Progress { attempt, label, done, total, unit, left, stalled } => {
            let since = app
                .progress
                .get(&attempt)
                .filter(|known| known.label == label && known.done <= done)
                .map_or((app.now, done), |known| known.since);
            if matches!(unit.as_str(), "bytes" | "of the work") {
                let now = app.now;
                app.paces.entry(attempt).or_insert_with(|| Pace::new(&label, now, done)).take(&label, now, done);
            }
            app.progress.insert(attempt, Progress { label, done, total, unit, since, left, stalled });
        }
        Notice::Snapshots(listing) => return browse::listed(app, listing),
        Notice::Found { attempt, needle, at, upto, size } => {
            return seek::found(app, attempt, &needle, at, (upto, size));
        }
        Notice::Contents { key, result } => {
            app.contents.insert(key, result);
        }
        Notice::Measured { step, series } => {
            app.series.insert(step, series);
        }
        Notice::Log { at, level, text } => {
            return vec![Out::Log(level, format!("{} {text}", at.strftime("%H:%M:%SZ")))];
        }
        Notice::Precedents { steps } => app.precedents = steps,
        Notice::People { people } => app.people = people,
        Notice::OutboxWaits { why } => app.outbox_waits = Some(why),
        Notice::JournalStopped { why } => {
            app.alarm = Some(format!(
                "{why}; nothing more is begun, and the engine ends when what is at work has ended. Make room, leave ({}), and attach again",
                app.key(UiAction::Detach)
            ));
        }
    }
    Vec::new()
}

/// Closes the card of a step that was approved, where that is what its person just did. One that somebody works at otherwise
/// stays: the keys on their way to it are not meant for what is behind. Says whether it closed one.
fn close(app: &mut App, step: &StepId, actor: &Actor, words: String) -> bool {
    let ours = *actor == app.you;
    let Some(card) = app.card_mut().filter(|card| card.step == *step) else { return false };
    if card.stage == Stage::Approving && ours {
        app.ui.overlay = None;
        return true;
    }
    card.stage = Stage::Overtaken(words);
    card.scroll = 0;
    false
}

fn planned(app: &mut App, step: &StepId, result: Result<Box<Plan>, Problem>) -> Vec<Out> {
    let at_once = app.at_once.iter().position(|waiting| waiting == step).map(|at| app.at_once.remove(at)).is_some();
    if let Ok(plan) = &result {
        app.plans.insert(step.clone(), (**plan).clone());
    } else {
        app.plans.remove(step);
    }
    if let Some(card) = app.card_mut()
        && &card.step == step
    {
        match result {
            _ if matches!(card.stage, Stage::Overtaken(_)) => {}
            Ok(plan) => card.take(*plan),
            Err(problem) => card.stage = Stage::Failed(problem),
        }
        return Vec::new();
    }
    if !at_once {
        return Vec::new();
    }
    let answers = app.answers.get(step).cloned().unwrap_or_default();
    let mut card = Card::new(step.clone(), None, answers);
    match result {
        Ok(plan)
            // What somebody answered before they cancelled is no consent to it.
            if card.inputs.is_empty()
                && plan.obstacle().is_none()
                && !plan.by_name
                && !plan.asks.iter().any(|ask| ask.required && card.is_open(ask, &plan)) =>
        {
            return vec![perform::approve(app, step.clone(), plan.digest(), None)];
        }
        Ok(plan) => card.take(*plan),
        Err(problem) => card.stage = Stage::Failed(problem),
    }
    // What the person is doing is not taken from under their hands.
    if app.ui.overlay.is_some() {
        let title = app.state.as_ref().and_then(|state| state.runbook.step(step)).map_or("", |step| &step.title);
        app.warn(format!("{title} could not start: press {} on it to see why", app.key(UiAction::Approve)));
    } else {
        app.ui.overlay = Some(Overlay::Card(Box::new(card)));
    }
    Vec::new()
}

fn replied(app: &mut App, id: u64, asked: Asked, result: Result<(), String>) -> Vec<Out> {
    match asked {
        Asked::Prepare(step) => {
            if let Err(why) = result {
                app.at_once.retain(|waiting| *waiting != step);
                refuse(app, &step, why);
            }
        }
        // That it was approved is an event, which closes the card.
        Asked::Approve(step) => {
            if let Err(why) = result {
                refuse(app, &step, why);
            }
        }
        Asked::Prompt => match (&mut app.ui.overlay, result) {
            (Some(Overlay::Prompt(prompt)), Ok(())) if prompt.sent == Some(id) => app.ui.overlay = None,
            (Some(Overlay::Prompt(prompt)), Err(why)) if prompt.sent == Some(id) => {
                prompt.sent = None;
                prompt.fault = Some(why);
            }
            (_, Err(why)) => app.warn(why),
            (_, Ok(())) => {}
        },
        Asked::Retry | Asked::Stop | Asked::Plain => {
            if let Err(why) = result {
                app.warn(why);
            }
        }
        Asked::Snapshots => {
            // A listing that is on its way takes this back when it comes.
            let key = app.key(UiAction::Retry);
            app.listing_fault = Some(result.err().unwrap_or_else(|| format!("nothing was listed; {key} lists again")));
        }
        Asked::Find => return seek::answered(app, result),
        Asked::Page => return result.ok().and_then(|()| browse::more(app)).into_iter().collect(),
        Asked::Contents(key) => {
            if let Err(why) = result {
                app.contents.insert(key, Err(why));
            }
        }
        Asked::Output(attempt) => {
            if let Err(why) = result {
                app.output.fail(attempt, why);
            }
        }
    }
    Vec::new()
}

fn refuse(app: &mut App, step: &StepId, why: String) {
    match app.card_mut() {
        Some(card) if &card.step == step && matches!(card.stage, Stage::Overtaken(_)) => {}
        Some(card) if &card.step == step => card.stage = Stage::Refused(why),
        _ => app.warn(why),
    }
}
