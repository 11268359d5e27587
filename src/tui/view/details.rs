//! Everything about a step.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Attempt, Gravity, Outcome, State, StepStatus, duration_text};
use crate::runbook::{Approval, Begins, Step, StepId};
use crate::tui::app::App;

use super::card::{keys, the_last_time};
use super::series;
use super::sheet::{Sheet, hang, heading};

pub(super) fn sheet(app: &App, id: &StepId, scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let Some((state, step)) = app.state.as_ref().and_then(|state| Some((state, state.runbook.step(id)?))) else {
        return Sheet::default();
    };
    let mut body = hang(" ", theme.dim(), &step.why, Style::new(), width);
    let consent = match step.approval {
        Approval::None if step.begins == Begins::ByItself => "reads only, begins by itself after what it needs",
        Approval::None => "reads only, begins at once",
        Approval::Confirm => "approved with y",
        Approval::Type => "approved by typing the target's name",
        Approval::TwoPerson => "approved by two people, each typing the target's name",
    };
    let dot = theme.dot();
    let words = format!("{} {dot} {} {dot} {consent}", step.id, step.action.name());
    body.extend(hang(" ", theme.dim(), &words, theme.dim(), width));
    match state.status(id) {
        StepStatus::Skipped(why) => {
            body.extend(hang(" ", theme.dim(), &format!("Left out: {why}"), theme.strong(), width));
        }
        StepStatus::DoneByHand(what) => {
            body.extend(hang(" ", theme.dim(), &format!("Done by hand: {what}"), theme.strong(), width));
        }
        _ => {}
    }
    let measured = app.series.get(id).map(Vec::as_slice).unwrap_or_default();
    if !measured.is_empty() {
        body.extend(heading("Measured", app));
        body.extend(measured.iter().map(|series| series::line(app, series, width)));
    }
    body.extend(attempts(app, state, id, width));
    body.extend(the_last_time(app, id, width));
    body.extend(needs(app, state, step, width));
    if let Some(undo) = step.undo.as_ref().and_then(|undo| state.runbook.step(undo)) {
        body.extend(heading("The way back (u)", app));
        body.extend(hang(theme.bullet(), theme.dim(), &undo.title, Style::new(), width));
    }
    if !step.links.is_empty() {
        body.extend(heading("Read", app));
        for link in &step.links {
            body.extend(hang(
                theme.bullet(),
                theme.dim(),
                &format!("{}: {}", link.title, link.url),
                Style::new(),
                width,
            ));
        }
    }
    let foot = keys(app, &[("j k", "scroll"), ("Esc", "close")], width);
    Sheet { title: step.title.clone(), body, foot, scroll, ..Sheet::default() }
}

fn needs(app: &App, state: &State, step: &Step, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if step.needs.is_empty() {
        return lines;
    }
    lines.extend(heading("Needs", app));
    for need in step.needs.iter().filter_map(|id| state.runbook.step(id)) {
        let (glyph, style) = app.theme.step(state.status(&need.id), state.is_ready(need));
        lines.extend(hang(glyph, style, &need.title, Style::new(), width));
    }
    lines
}

fn attempts(app: &App, state: &State, id: &StepId, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let all = state.steps.get(id).map(|step| step.attempts.as_slice()).unwrap_or_default();
    for attempt in all.iter().rev().filter_map(|id| state.attempts.get(id)) {
        lines.extend(heading(&attempt_heading(app, attempt), app));
        lines.extend(outcome(app, attempt, width));
    }
    lines
}

fn attempt_heading(app: &App, attempt: &Attempt) -> String {
    let took = duration_text(attempt.finished_at.unwrap_or(app.now).duration_since(attempt.started_at));
    format!(
        "Attempt {} by {} at {}, {took}",
        attempt.id,
        attempt.by.name,
        attempt.started_at.strftime("%Y-%m-%d %H:%M:%SZ")
    )
}

fn outcome(app: &App, attempt: &Attempt, width: usize) -> Vec<Line<'static>> {
    let theme = app.theme;
    let on = hang("on", theme.dim(), &attempt.plan.target.name, Style::new(), width);
    let mut lines = on;
    match &attempt.outcome {
        None => lines.extend(hang(theme.bullet(), theme.active(), "at work", theme.active(), width)),
        Some(Outcome::Succeeded { evidence, .. }) => {
            let (glyph, style) = theme.gravity(Gravity::Good);
            for line in evidence {
                lines.extend(hang(glyph, style, line, Style::new(), width));
            }
        }
        Some(Outcome::Stopped { detail }) => {
            lines.extend(hang(theme.bullet(), theme.warning(), &format!("stopped: {detail}"), theme.warning(), width));
        }
        Some(Outcome::Failed { problem } | Outcome::InDoubt { problem }) => {
            let (glyph, style) = theme.gravity(Gravity::Blocking);
            lines.extend(hang(glyph, style, &format!("{} on {}", problem.what, problem.target), style, width));
            lines.extend(hang("why ", theme.dim(), &problem.why, Style::new(), width));
            lines.extend(hang("next", theme.dim(), &problem.next, theme.strong(), width));
        }
    }
    for command in &attempt.plan.commands {
        lines.extend(hang("$", theme.dim(), command, theme.dim(), width));
    }
    if lines.is_empty() {
        lines.push(Line::from(Span::raw("")));
    }
    lines
}
