//! What is said, by the cockpit's own words: how things stand, steps, snapshots, output, history, what can be typed.

use crate::incident::{State, StepStatus, duration_text};
use crate::runbook::{Step, StepId};
use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::checklist;
use crate::tui::history;
use crate::tui::text;
use crate::tui::view;

/// Lines of output and of history that are read out where nobody says how many.
const USUAL: usize = 20;

/// What can be typed, in the order of help.
pub(super) const OFFERED: [UiAction; 20] = [
    UiAction::Approve,
    UiAction::Details,
    UiAction::Retry,
    UiAction::Skip,
    UiAction::ByHand,
    UiAction::Undo,
    UiAction::Stop,
    UiAction::Unblock,
    UiAction::Note,
    UiAction::Correct,
    UiAction::Checklist,
    UiAction::Snapshots,
    UiAction::Output,
    UiAction::Timeline,
    UiAction::Export,
    UiAction::Escalation,
    UiAction::Outbox,
    UiAction::Handover,
    UiAction::Help,
    UiAction::Detach,
];

/// The letter or word that stands for an action here.
pub(super) fn word(app: &App, action: UiAction) -> String {
    let key = app.keymap.shown(action);
    // A key without a letter cannot be typed into a line.
    if key.chars().count() == 1 { key } else { action.name().to_owned() }
}

/// Whether an action is about a step, which may be named behind it.
pub(super) fn takes_step(action: UiAction) -> bool {
    use UiAction as A;
    matches!(action, A::Approve | A::Details | A::Retry | A::Skip | A::ByHand | A::Undo | A::Stop)
}

pub(super) fn help(app: &App) -> Vec<String> {
    let mut lines = vec![
        "Type a letter or its word, then Enter. Behind it may stand a step, by its number: a 12.".to_owned(),
        "Enter alone says how things stand and what is next; it never acts.".to_owned(),
    ];
    lines.extend(OFFERED.iter().map(|action| {
        let (word, name) = (word(app, *action), action.name());
        let names = if word == name { name.to_owned() } else { format!("{word} or {name}") };
        let step = if takes_step(*action) { " [STEP]" } else { "" };
        format!("{names}{step}: {}", action.about())
    }));
    lines
}

/// The header and what is next.
pub(super) fn standing(app: &App) -> Vec<String> {
    let mut lines = vec![view::status(app)];
    lines.extend(running(app));
    lines.extend(next(app));
    lines
}

fn running(app: &App) -> Vec<String> {
    let Some(state) = &app.state else { return Vec::new() };
    let far = |step: &StepId, id| match app.progress.get(&id) {
        Some(progress) => format!("{}: {}", title(state, step), view::how_far(progress, app.now)),
        None => title(state, step),
    };
    state.running().map(|attempt| format!("At work: {}", far(&attempt.step, attempt.id))).collect()
}

/// The step that a letter without a number is about, and how it stands.
pub(super) fn next(app: &App) -> Option<String> {
    let state = app.state.as_ref()?;
    if state.closed_at.is_some() {
        return Some(format!("{} is closed. {} leaves.", state.id, word(app, UiAction::Detach)));
    }
    let step = state.runbook.step(app.calls.current.as_ref()?)?;
    let begin = match state.status(&step.id) {
        StepStatus::Running(_) => return None,
        StepStatus::InDoubt(_) => "says what is known, and takes your word",
        StepStatus::Failed(_) | StepStatus::Stopped(_) => {
            let (retry, details) = (word(app, UiAction::Retry), word(app, UiAction::Details));
            return Some(format!(
                "Needs you: {}. {details} says why, {retry} opens it again.",
                step_line(app, state, step)
            ));
        }
        _ if step.approval == crate::runbook::Approval::None => "begins it; it only reads",
        _ => "shows its plan",
    };
    let last = if step.action.is_point_of_no_return() { " It is the point of no return." } else { "" };
    Some(format!("Next: {}. {} {begin}.{last}", step_line(app, state, step), word(app, UiAction::Approve)))
}

fn title(state: &State, step: &StepId) -> String {
    state.runbook.step(step).map_or_else(|| step.to_string(), |step| text::clean(&step.title).into_owned())
}

/// `12 open, Stop writes (by name)`.
fn step_line(app: &App, state: &State, step: &Step) -> String {
    let number = state.runbook.steps().position(|known| known.id == step.id).map_or(0, |at| at + 1);
    let word = match state.status(&step.id) {
        StepStatus::Succeeded(_) => "done",
        StepStatus::Running(_) => "at work",
        StepStatus::Pending if state.is_ready(step) => "open",
        StepStatus::Pending => "waits",
        _ => "",
    };
    let after = view::standing(app, state, step);
    let (comma, after) = match (word.is_empty(), after.is_empty()) {
        (true, _) => (after.as_str(), String::new()),
        (false, true) => (word, String::new()),
        (false, false) => (word, format!(" ({after})")),
    };
    format!("{number} {comma}, {}{after}", text::clean(&step.title))
}

/// Every phase and step.
pub(super) fn checklist(app: &App) -> Vec<String> {
    let Some(state) = &app.state else { return Vec::new() };
    let mut lines = Vec::new();
    for phase in &state.runbook.phases {
        let (done, total) = checklist::phase_standing(state, phase).done;
        lines.push(format!("{}: {done} of {total} ({})", text::clean(&phase.title), phase.id));
        lines.extend(phase.steps.iter().map(|step| step_line(app, state, step)));
    }
    lines
}

/// Dumps that are read out at once.
const MOST_DUMPS: usize = 100;

/// The newest dumps, and the onset among them.
pub(super) fn snapshots(app: &App) -> Vec<String> {
    let dumps = &app.dumps;
    if !dumps.is_listed() {
        return vec![app.listing_fault.clone().unwrap_or_else(|| "The snapshots are not listed yet.".to_owned())];
    }
    let onset = app.onset();
    let mut lines = vec![format!("{}: {} dumps, newest first", text::clean(dumps.place()), dumps.count())];
    let mut before = false;
    for row in (0..dumps.shown().min(MOST_DUMPS)).filter_map(|place| dumps.get(dumps.at(place)?)) {
        if let Some(onset) = onset.filter(|onset| row.taken_at < *onset && !before) {
            before = true;
            lines.push(format!("The damage began at {}.", crate::incident::clock(onset)));
        }
        let loses =
            if row.eligible { format!(", loses {}", duration_text(app.loses(row.taken_at))) } else { String::new() };
        let chosen = if app.chosen() == Some(row.key.as_str()) { ", chosen" } else { "" };
        lines.push(format!(
            "{}, {} ago, {}{loses}: {}{chosen} ({})",
            crate::incident::clock(row.taken_at),
            duration_text(app.now.duration_since(row.taken_at)),
            text::bytes(row.size),
            text::clean(&row.verdict),
            text::clean(&row.key),
        ));
    }
    let left = dumps.count().saturating_sub(MOST_DUMPS);
    if left > 0 {
        lines.push(format!("and {left} older ones"));
    }
    lines
}

/// The last lines that the attempt looked at has printed.
pub(super) fn output(app: &App, count: &str) -> Vec<String> {
    let (Some(state), Some(attempt)) = (&app.state, app.attempt()) else { return vec!["Nothing ran yet.".to_owned()] };
    let mut lines = vec![format!("{}, attempt {}:", title(state, &attempt.step), attempt.id)];
    if let Some(buffer) = app.output.get(attempt.id) {
        let all = buffer.lines();
        lines.extend(all.iter().skip(all.len().saturating_sub(wanted(count))).map(|line| line.text.clone()));
    } else {
        lines.push("It printed nothing so far.".to_owned());
    }
    lines
}

/// The last entries of the timeline.
pub(super) fn timeline(app: &App, count: &str) -> Vec<String> {
    let Some(state) = &app.state else { return Vec::new() };
    let entries = &state.timeline;
    entries.iter().skip(entries.len().saturating_sub(wanted(count))).map(|entry| entry_line(app, entry)).collect()
}

pub(super) fn entry_line(app: &App, entry: &crate::incident::TimelineEntry) -> String {
    let time = history::time(app, entry.at);
    text::clean(&format!("{} {}", time.trim_end(), history::words(entry))).into_owned()
}

fn wanted(count: &str) -> usize {
    count.parse().unwrap_or(USUAL)
}
