//! The questions of a plan, one after the other: each is answered by a line, or by a text of several.

use jiff::Timestamp;

use crate::incident::{AskKind, clock};
use crate::tui::draft::Draft;
use crate::tui::edit::Editor;
use crate::tui::form::{Field, Form};

/// Choices that are read out; more are there by their number.
const CHOICES: usize = 20;

/// What a line did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// Another question follows.
    More,
    /// Every question has its answer.
    All,
    /// It is no answer, and why.
    Fault(String),
}

/// The question in focus as lines.
pub(super) fn put(form: &Form) -> Vec<String> {
    let Some(field) = form.fields.get(form.focus) else { return Vec::new() };
    let optional = if field.ask.required { "" } else { " (optional)" };
    let mut lines =
        vec![format!("Question {} of {}: {}{optional}", form.focus + 1, form.fields.len(), field.ask.label)];
    let value = shown(field);
    match &field.ask.kind {
        AskKind::Choice(choices) => {
            let named = choices.iter().enumerate().map(|(at, choice)| format!("{}: {}", at + 1, choice.label));
            lines.extend(named.take(CHOICES));
            if choices.len() > CHOICES {
                lines.push(format!("There are {} more, up to number {}.", choices.len() - CHOICES, choices.len()));
            }
        }
        AskKind::Text if !value.is_empty() => lines.extend(value.lines().map(|line| format!("| {line}"))),
        _ => {}
    }
    let kind = match field.ask.kind {
        AskKind::Line => "Type a line",
        AskKind::Text => "Type lines, and a line with a dot alone after the last",
        AskKind::Time => "Type a time: 08:48, 40m ago, or 2026-11-23T08:48:00Z",
        AskKind::Count => "Type a whole number",
        AskKind::YesNo => "Type yes or no",
        AskKind::Choice(_) => "Type a number",
    };
    let keeps = match field.ask.kind {
        _ if value.is_empty() => String::new(),
        AskKind::Text => ", or Enter alone to leave it as it is".to_owned(),
        _ => format!(", or Enter alone for: {value}"),
    };
    let cancels = if field.ask.kind == AskKind::Text { "" } else { "; a dot alone cancels" };
    lines.push(format!("{kind}{keeps}{cancels}."));
    lines
}

/// An answer as people read it.
fn shown(field: &Field) -> String {
    let value = field.value();
    match &field.ask.kind {
        AskKind::Time => value.parse().map_or(value, clock),
        AskKind::Choice(choices) => {
            choices.iter().find(|choice| choice.value == value).map_or(value, |choice| choice.label.clone())
        }
        _ => value,
    }
}

/// Whether the question in focus takes several lines.
pub(super) fn takes_lines(form: &Form) -> bool {
    form.fields.get(form.focus).is_some_and(|field| field.ask.kind == AskKind::Text)
}

/// Takes an answer to the question in focus; nothing leaves it as it stands.
pub(super) fn answer(form: &mut Form, typed: &str, now: Timestamp) -> Answered {
    let count = form.fields.len();
    let Some(field) = form.fields.get_mut(form.focus) else { return Answered::All };
    if !typed.is_empty()
        && let Err(fault) = fill(field, typed)
    {
        return Answered::Fault(fault);
    }
    if let Some(fault) = field.fault(now) {
        return Answered::Fault(fault);
    }
    if form.focus + 1 == count {
        return Answered::All;
    }
    form.focus += 1;
    Answered::More
}

fn fill(field: &mut Field, typed: &str) -> Result<(), String> {
    match &field.ask.kind {
        AskKind::Choice(choices) => {
            let at = typed.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let Some(at) = at.filter(|at| *at < choices.len()) else {
                return Err(format!("type a number from 1 to {}", choices.len()));
            };
            field.choice = Some(at);
        }
        AskKind::YesNo => match typed.to_lowercase().as_str() {
            "y" | "yes" => field.editor = Editor::line("yes"),
            "n" | "no" => field.editor = Editor::line("no"),
            _ => return Err("type yes or no".to_owned()),
        },
        AskKind::Text => field.draft = Draft::new(typed),
        AskKind::Line | AskKind::Time | AskKind::Count => field.editor = Editor::line(typed),
    }
    Ok(())
}
