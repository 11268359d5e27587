//! Phases and their steps: where everything stands, what is at work, what waits for what.

use std::fmt::Write as _;

use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{AttemptId, State, StepStatus, duration_text};
use crate::runbook::{Approval, Phase, Step};
use crate::tui::app::{App, Pane, Progress};
use crate::tui::checklist::{self, Folding, PhaseStanding, Row};
use crate::tui::text;

use super::{Canvas, window};

pub(super) fn fill(canvas: &mut Canvas<'_>, inside: Rect, app: &App) {
    let Some(state) = &app.state else {
        super::put(canvas, inside, &[Line::from(Span::styled(" waiting for the incident", app.theme.dim()))]);
        return;
    };
    let height = usize::from(inside.height);
    let (lines, at) = lines(app, state, usize::from(inside.width));
    let first = window(at, lines.len(), height);
    let seen: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).map(|(line, _)| line).collect();
    super::put(canvas, inside, &seen);
}

/// The row whose line is shown at this height of the pane.
pub(super) fn row_at(app: &App, inside: Rect, line: usize) -> Option<usize> {
    let (lines, at) = lines(app, app.state.as_ref()?, usize::from(inside.width));
    let first = window(at, lines.len(), usize::from(inside.height));
    lines.get(first + line).map(|(_, row)| *row)
}

/// Every line with the number of its row, and which line is the selected row's.
fn lines(app: &App, state: &State, width: usize) -> (Vec<(Line<'static>, usize)>, usize) {
    let folding = Folding::of(state, &app.ui.folds, &app.calls);
    let selected = folding.selected(app.ui.row.as_ref());
    let mut lines = Vec::new();
    let mut at = 0;
    for (number, row) in folding.rows().enumerate() {
        let is_selected = Some(row) == selected;
        if is_selected {
            at = lines.len();
        }
        let marker = is_selected && (app.ui.pane == Pane::Checklist);
        match row {
            Row::Phase(phase) => {
                lines.push((mark(phase_line(app, &folding, state, phase, width), marker, app), number));
            }
            Row::Step(step) => {
                if step.action.is_point_of_no_return() && !state.status(&step.id).is_met() {
                    lines.push((point_of_no_return(app, width), number));
                }
                if is_selected {
                    at = lines.len();
                }
                lines.push((mark(step_line(app, state, step, width), marker, app), number));
                lines.extend(below(app, state, step, is_selected, width).into_iter().map(|line| (line, number)));
            }
        }
    }
    (lines, at)
}

/// The selected row is reversed and has a mark at its beginning.
fn mark(line: Line<'static>, selected: bool, app: &App) -> Line<'static> {
    if !selected {
        return line;
    }
    let mut words: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    if words.starts_with(' ') {
        words.replace_range(..1, app.theme.cursor());
    }
    Line::from(Span::styled(words, app.theme.selected()))
}

/// `before` and `words`, and `after` at the right border.
fn row(before: (&str, Style), words: &str, style: Style, after: &str, width: usize, app: &App) -> Line<'static> {
    let taken = text::width(before.0) + text::width(after) + 2;
    Line::from(vec![
        Span::styled(before.0.to_owned(), before.1),
        Span::styled(text::left(words, width.saturating_sub(taken), app.theme.ellipsis()), style),
        Span::styled(format!(" {after} "), app.theme.dim()),
    ])
}

fn phase_line(app: &App, folding: &Folding<'_>, state: &State, phase: &Phase, width: usize) -> Line<'static> {
    let PhaseStanding { status, ready, done: (done, total), optional } = checklist::phase_standing(state, phase);
    let (glyph, glyph_style) = app.theme.step(status, ready);
    let fold = app.theme.folded(folding.holds(phase));
    let style = if optional || status.is_met() { app.theme.dim() } else { app.theme.strong() };
    let after = if optional { "optional".to_owned() } else { format!("{done}/{total}") };
    row((&format!(" {fold} {glyph} "), glyph_style), &phase.title, style, &after, width, app)
}

fn step_line(app: &App, state: &State, step: &Step, width: usize) -> Line<'static> {
    let status = state.status(&step.id);
    let (glyph, glyph_style) = app.theme.step(status, state.is_ready(step));
    let style = match status {
        StepStatus::Running(_) => app.theme.strong(),
        StepStatus::Failed(_) | StepStatus::InDoubt(_) => app.theme.bad(),
        StepStatus::Pending if state.is_ready(step) && !step.optional => Style::new(),
        StepStatus::Pending => app.theme.dim(),
        _ => Style::new(),
    };
    let after = standing(app, state, step);
    row((&format!("   {glyph} "), glyph_style), &step.title, style, &after, width, app)
}

/// Stands above a step behind which nothing leads back.
fn point_of_no_return(app: &App, width: usize) -> Line<'static> {
    let rule = app.theme.rule();
    let words = format!("   {rule}{rule} point of no return ");
    let rest = rule.repeat(width.saturating_sub(text::width(&words) + 1));
    Line::from(Span::styled(text::fit(&format!("{words}{rest}"), width, ""), app.theme.warning()))
}

/// What is said of a step besides its title.
pub(in crate::tui) fn standing(app: &App, state: &State, step: &Step) -> String {
    match state.status(&step.id) {
        StepStatus::Skipped(_) => "skipped".to_owned(),
        StepStatus::DoneByHand(_) => "by hand".to_owned(),
        StepStatus::InDoubt(_) => "in doubt".to_owned(),
        StepStatus::Failed(_) => "failed".to_owned(),
        StepStatus::Stopped(_) => "stopped".to_owned(),
        StepStatus::Pending if state.consents.contains_key(&step.id) => "1 of 2".to_owned(),
        StepStatus::Pending if state.is_ready(step) => match step.approval {
            Approval::None => "reads".to_owned(),
            Approval::Confirm => String::new(),
            Approval::Type => "by name".to_owned(),
            Approval::TwoPerson => "by two".to_owned(),
        },
        StepStatus::Pending => String::new(),
        StepStatus::Running(id) | StepStatus::Succeeded(id) => took(state, *id, app.now),
    }
}

/// How far an attempt is, in words: `restoring table data, 61 %, 7m left`.
pub(in crate::tui) fn how_far(progress: &Progress, now: Timestamp) -> String {
    let mut words = text::clean(&progress.label).into_owned();
    let counted = |count: u64| if progress.unit == "bytes" { text::bytes(count) } else { count.to_string() };
    match progress.total.filter(|total| *total > 0) {
        Some(total) => {
            let done = progress.done.min(total);
            // Writing to a String cannot fail, here and below.
            let _ = write!(words, ", {} %", percent(done, total));
            words.extend(left(progress, done, total, now).map(|left| format!(", {left}")));
        }
        None if progress.done > 0 => {
            let _ = write!(words, ", {}", counted(progress.done));
        }
        None => {}
    }
    words.extend(progress.stalled.as_ref().map(|why| format!(". {}", text::clean(why))));
    words
}

/// A step that is at work is not done: the whole is reached when its outcome is.
fn percent(done: u64, total: u64) -> u128 {
    (u128::from(done) * 100 / u128::from(total)).min(99)
}

fn took(state: &State, attempt: AttemptId, now: Timestamp) -> String {
    state.attempts.get(&attempt).map_or_else(String::new, |attempt| {
        duration_text(attempt.finished_at.unwrap_or(now).duration_since(attempt.started_at))
    })
}

/// What stands under a step: how far it is, what it waits for.
fn below(app: &App, state: &State, step: &Step, selected: bool, width: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(6);
    let dim = |words: &str| {
        let words = text::fit(words, room, app.theme.ellipsis());
        Line::from(Span::styled(format!("     {words}"), app.theme.dim()))
    };
    match state.status(&step.id) {
        StepStatus::Running(id) => {
            let stopping = state.attempts.get(id).is_some_and(|attempt| attempt.stop_requested);
            let mut lines = Vec::new();
            if let Some(progress) = app.progress.get(id) {
                lines.push(bar(app, progress, room));
                let rate = rate(progress, app.now).map_or_else(String::new, |rate| format!("  {rate}"));
                lines.push(dim(&format!("{}{rate}", progress.label)));
                if let Some(why) = &progress.stalled {
                    let why = text::fit(why, room, app.theme.ellipsis());
                    lines.push(Line::from(Span::styled(format!("     {why}"), app.theme.warning())));
                }
            }
            if stopping {
                lines.push(Line::from(Span::styled("     stopping as asked", app.theme.warning())));
            }
            lines
        }
        StepStatus::Pending if selected && !state.waits_for(step).is_empty() => {
            let titles: Vec<&str> = state.waits_for(step).iter().map(|step| step.title.as_str()).collect();
            vec![dim(&format!("waits for {}", titles.join(", ")))]
        }
        _ => Vec::new(),
    }
}

/// `██████░░░░ 61 %  7m left`, or what is counted where the whole is not known.
fn bar(app: &App, progress: &Progress, room: usize) -> Line<'static> {
    let counted = |count: u64| if progress.unit == "bytes" { text::bytes(count) } else { count.to_string() };
    let Some(total) = progress.total.filter(|total| *total > 0) else {
        let unit = if progress.unit == "bytes" { "" } else { progress.unit.as_str() };
        let words = format!("     {} {unit}", counted(progress.done));
        return Line::from(Span::styled(text::fit(&words, room, app.theme.ellipsis()), app.theme.active()));
    };
    let done = progress.done.min(total);
    let mut words = format!(" {:>3} %", percent(done, total));
    if let Some(left) = left(progress, done, total, app.now) {
        words.push_str("  ");
        words.push_str(&left);
    }
    let cells = room.saturating_sub(text::width(&words)).min(24);
    let full = usize::try_from(u128::from(done) * (cells as u128) / u128::from(total)).unwrap_or(cells);
    let (block, empty) = app.theme.bar();
    Line::from(vec![
        Span::raw("     "),
        Span::styled(block.repeat(full), app.theme.active()),
        Span::styled(empty.repeat(cells - full), app.theme.dim()),
        Span::raw(words),
    ])
}

/// `12.3 MiB/s`: the pace so far, where what is counted are bytes: of a file, or of the archive that weighs the work.
fn rate(progress: &Progress, now: Timestamp) -> Option<String> {
    if !matches!(progress.unit.as_str(), "bytes" | "of the work") {
        return None;
    }
    let (since, before) = progress.since;
    let seconds = u64::try_from(now.duration_since(since).as_secs()).ok().filter(|seconds| *seconds >= 3)?;
    let made = progress.done.checked_sub(before).filter(|made| *made > 0)?;
    Some(format!("{}/s", text::bytes(made / seconds)))
}

/// How long it still takes, at the pace so far.
fn left(progress: &Progress, done: u64, total: u64, now: Timestamp) -> Option<String> {
    if let Some((least, most)) = progress.left {
        let text =
            |seconds: u64| duration_text(jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
        let (least, most) = (text(least), text(most));
        return Some(if least == most { format!("{least} left") } else { format!("{least} to {most} left") });
    }
    let (since, before) = progress.since;
    let seconds = u128::try_from(now.duration_since(since).as_secs()).ok()?;
    let made = u128::from(done.checked_sub(before)?);
    // The first moments say nothing about the pace.
    if made == 0 || seconds < 3 {
        return None;
    }
    let missing = i64::try_from(u128::from(total - done) * seconds / made).ok()?;
    Some(format!("{} left", duration_text(jiff::SignedDuration::from_secs(missing))))
}
