//! What is said, by the cockpit's own words: how things stand, steps, snapshots, output, history, what can be typed.

use crate::incident::{State, StepStatus};
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
pub(super) const OFFERED: [UiAction; 24] = [
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
    UiAction::Save,
    UiAction::Timeline,
    UiAction::Milestones,
    UiAction::LocalTime,
    UiAction::Phases,
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

/// What may stand behind a command.
fn behind(action: UiAction) -> &'static str {
    match action {
        _ if takes_step(action) => " [STEP]",
        UiAction::Snapshots => " [WORDS, by size, by verdict, NUMBER (opens it), NUMBER NUMBER (compares them)]",
        UiAction::Output | UiAction::Timeline => " [WORDS or how many lines]",
        UiAction::Note | UiAction::Correct => " [WORDS]",
        _ => "",
    }
}

pub(super) fn help(app: &App) -> Vec<String> {
    let mut lines = vec![
        "Type a letter or its word, then Enter. Behind it may stand a step, by its number: a 12.".to_owned(),
        "Enter alone says how things stand and what is next; it never acts.".to_owned(),
    ];
    lines.extend(OFFERED.iter().map(|action| {
        let (word, name) = (word(app, *action), action.name());
        let names = if word == name { name.to_owned() } else { format!("{word} or {name}") };
        let step = behind(*action);
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
        // Who only looks on is not told what to type.
        _ if app.watching.is_some() => return Some(format!("Next: {}.", step_line(app, state, step))),
        StepStatus::InDoubt(_) => "says what is known, and takes your word",
        StepStatus::Failed(_) | StepStatus::Stopped(_) => {
            let (retry, details) = (word(app, UiAction::Retry), word(app, UiAction::Details));
            return Some(format!(
                "Needs you: {}. {details} says why, {retry} opens it again.",
                step_line(app, state, step)
            ));
        }
        _ if step.approval == crate::runbook::Approval::None => "begins it; it needs no approval",
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

/// What the attempt looked at has printed: its last lines, as many as `words` say, or those that contain them.
pub(super) fn output(app: &App, words: &str) -> Vec<String> {
    let (Some(state), Some(attempt)) = (&app.state, app.attempt()) else { return vec!["Nothing ran yet.".to_owned()] };
    let mut lines = vec![format!("{}, attempt {}:", title(state, &attempt.step), attempt.id)];
    if let Some(buffer) = app.output.get(attempt.id) {
        let all: Vec<&str> = buffer.lines().iter().map(|line| line.text.as_str()).collect();
        let found = wanted(&all, words, |line| line);
        if !words.is_empty() && words.parse::<usize>().is_err() {
            let save = word(app, UiAction::Save);
            lines.push(format!(
                "{} of the last {} lines contain {words}; {save} writes all of them to a file.",
                found.len(),
                all.len()
            ));
        }
        lines.extend(found.into_iter().map(|line| (*line).to_owned()));
    } else {
        lines.push("It printed nothing so far.".to_owned());
    }
    lines
}

/// The timeline's last entries, as many as `words` say, or those that contain them.
pub(super) fn timeline(app: &App, words: &str) -> Vec<String> {
    let Some(state) = &app.state else { return Vec::new() };
    let shown = state.timeline.iter().filter(|entry| history::is_shown(app, entry));
    let lines: Vec<String> = shown.map(|entry| entry_line(app, entry)).collect();
    let found: Vec<String> = wanted(&lines, words, String::as_str).into_iter().cloned().collect();
    if found.is_empty() { vec![format!("No entry contains {words}.")] } else { found }
}

/// The last ones, as many as `words` say; all that contain them where they are no number.
fn wanted<'a, T>(all: &'a [T], words: &str, text: impl Fn(&'a T) -> &'a str) -> Vec<&'a T> {
    let count = if words.is_empty() { Some(USUAL) } else { words.parse().ok() };
    if let Some(count) = count {
        return all.iter().skip(all.len().saturating_sub(count)).collect();
    }
    let words = words.to_lowercase();
    all.iter().filter(|one| text(*one).to_lowercase().contains(&words)).collect()
}

pub(super) fn entry_line(app: &App, entry: &crate::incident::TimelineEntry) -> String {
    let time = history::time(app, entry.at);
    text::clean(&format!("{} {}", time.trim_end(), history::words(entry))).into_owned()
}
