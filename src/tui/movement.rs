//! Moving through panes: rows, pages, matches.

use crate::incident::AttemptId;
use crate::runbook::Phase;

use super::action::UiAction;
use super::app::{App, Pane};
use super::checklist::{self, Place, Row};
use super::history;
use super::msg::Out;
use super::perform;

/// Bytes of older output that one look back fetches.
const LOOK_BACK: u64 = 256 * 1024;

/// Where a step of `action` leads among `count` rows.
fn target(action: UiAction, at: usize, count: usize, page: usize) -> usize {
    let last = count.saturating_sub(1);
    match action {
        UiAction::Up => at.saturating_sub(1),
        UiAction::Down => at + 1,
        UiAction::PageUp => at.saturating_sub(page),
        UiAction::PageDown => at + page,
        UiAction::Top => 0,
        _ => last,
    }
    .min(last)
}

pub(super) fn go(app: &mut App, action: UiAction) -> Vec<Out> {
    if matches!(action, UiAction::Left | UiAction::Right) {
        other_attempt(app, action == UiAction::Right);
        return Vec::new();
    }
    let page = usize::from(app.size.1 / 2).max(1);
    let (at, count) = place(app);
    if count == 0 {
        return Vec::new();
    }
    let to = target(action, at, count, page);
    if app.ui.pane == Pane::Output && to == 0 {
        let older = older(app);
        select(app, to);
        return older.into_iter().collect();
    }
    let more = if app.ui.pane == Pane::Output && to + 1 == count { newer(app) } else { None };
    select(app, to);
    more.into_iter().collect()
}

/// Lines behind those that are held, where somebody reads up to there.
fn newer(app: &mut App) -> Option<Out> {
    let id = app.attempt()?.id;
    let buffer = app.output.get(id).filter(|buffer| buffer.is_behind())?;
    let end = buffer.end();
    Some(perform::fetch(app, id, Some(end), u32::try_from(LOOK_BACK).unwrap_or(u32::MAX)))
}

/// The selected row of the pane, and how many there are.
fn place(app: &App) -> (usize, usize) {
    match app.ui.pane {
        Pane::Checklist => {
            let Some(folding) = app.folding() else { return (0, 0) };
            let selected = folding.selected(app.ui.row.as_ref());
            let rows: Vec<Row<'_>> = folding.rows().collect();
            (rows.iter().position(|row| Some(*row) == selected).unwrap_or(0), rows.len())
        }
        Pane::Snapshots => {
            let at = app.snapshot_row().and_then(|row| app.dumps.place_of(row)).unwrap_or(0);
            (at, app.dumps.shown())
        }
        Pane::Output => {
            let Some(buffer) = app.attempt().and_then(|attempt| app.output.get(attempt.id)) else { return (0, 0) };
            let count = buffer.lines().len();
            (app.ui.line.map_or(count.saturating_sub(1), |offset| buffer.at(offset)), count)
        }
        Pane::Timeline => {
            let shown = history::shown(app);
            (history::selected(app).map_or(0, |at| shown.partition_point(|other| *other < at)), shown.len())
        }
    }
}

/// Selects a row of the pane.
pub(super) fn select(app: &mut App, to: usize) {
    match app.ui.pane {
        Pane::Checklist => {
            app.ui.row = app.folding().and_then(|folding| folding.rows().nth(to)).map(Row::place);
            app.ui.attempt = None;
            app.ui.line = None;
        }
        Pane::Snapshots => {
            app.ui.snapshot = app.dumps.at(to).and_then(|row| app.dumps.get(row)).map(|row| row.key.clone());
        }
        Pane::Output => {
            let Some(id) = app.attempt().map(|attempt| attempt.id) else { return };
            let Some(buffer) = app.output.get(id) else { return };
            let at_end = to + 1 >= buffer.lines().len() && !buffer.is_behind();
            app.ui.line = if at_end { None } else { buffer.lines().get(to).map(|line| line.offset) };
            // Whoever reads an attempt's output keeps it, whatever begins meanwhile.
            app.ui.attempt = Some(id);
        }
        Pane::Timeline => {
            let Some(state) = &app.state else { return };
            let shown = history::shown(app);
            let at_end = to + 1 >= shown.len();
            let entry = shown.get(to).and_then(|at| state.timeline.get(*at));
            app.ui.entry = if at_end { None } else { entry.map(|entry| entry.seq) };
        }
    }
}

/// Lines before those that are held, if the log has some.
fn older(app: &mut App) -> Option<Out> {
    let id = app.attempt()?.id;
    let start = app.output.get(id)?.start();
    if start == 0 {
        return None;
    }
    let from = start.saturating_sub(LOOK_BACK);
    let most = u32::try_from(start - from).unwrap_or(u32::MAX);
    Some(perform::fetch(app, id, Some(from), most))
}

fn other_attempt(app: &mut App, later: bool) {
    let Some(state) = &app.state else { return };
    let all: Vec<AttemptId> = state.attempts.keys().copied().collect();
    let Some(at) = app.attempt().and_then(|attempt| all.iter().position(|id| *id == attempt.id)) else { return };
    let to = if later { at + 1 } else { at.wrapping_sub(1) };
    if let Some(id) = all.get(to) {
        app.ui.attempt = Some(*id);
        app.ui.line = None;
    }
}

/// The selected line of the output.
pub(super) fn output_line(app: &App) -> Option<&str> {
    let buffer = app.output.get(app.attempt()?.id)?;
    let at = app.ui.line.map_or(buffer.lines().len().saturating_sub(1), |offset| buffer.at(offset));
    buffer.lines().get(at).map(|line| line.text.as_str())
}

/// Goes to the next row of the pane that holds the searched text.
pub(super) fn find(app: &mut App, forward: bool) {
    if app.ui.pane == Pane::Snapshots && !app.dumps.filter().is_empty() {
        go(app, if forward { UiAction::Down } else { UiAction::Up });
        return;
    }
    let needle = app.ui.needle.to_lowercase();
    if needle.is_empty() {
        app.warn("search first: /");
        return;
    }
    if app.ui.pane == Pane::Checklist {
        return find_step(app, &needle, forward);
    }
    let (at, count) = place(app);
    let shown = if app.ui.pane == Pane::Timeline { history::shown(app) } else { Vec::new() };
    let matches: Vec<usize> =
        (0..count).filter(|row| row_text(app, *row, &shown).to_lowercase().contains(&needle)).collect();
    if let Some(row) = next_match(app, &matches, at, forward) {
        select(app, row);
    }
}

/// The match behind or before a row, from the other end on where there is none; says which of how many it is.
fn next_match(app: &mut App, matches: &[usize], at: usize, forward: bool) -> Option<usize> {
    let needle = app.ui.needle.clone();
    let (Some(first), Some(last)) = (matches.first(), matches.last()) else {
        app.warn(format!("no match for {needle}"));
        return None;
    };
    let found = if forward {
        *matches.iter().find(|row| **row > at).unwrap_or(first)
    } else {
        *matches.iter().rev().find(|row| **row < at).unwrap_or(last)
    };
    let place = matches.iter().position(|row| *row == found).map_or(0, |place| place + 1);
    match matches.len() {
        // In the checklist the keys for what was found are worth more than a count.
        _ if found != at && app.ui.pane == Pane::Checklist => {}
        1 => app.say(format!("the only match for {needle}")),
        count => app.say(format!("match {place} of {count} for {needle}")),
    }
    Some(found)
}

/// In the checklist, folded phases are searched too, and unfolded for what is found.
fn find_step(app: &mut App, needle: &str, forward: bool) {
    let Some(state) = &app.state else { return };
    let rows: Vec<Row<'_>> = checklist::all_rows(state).collect();
    let selected = app.row();
    let at = rows.iter().position(|row| Some(*row) == selected).unwrap_or(0);
    let matches: Vec<usize> = (0_usize..)
        .zip(&rows)
        .filter(|(_, row)| row.text().to_lowercase().contains(needle))
        .map(|(place, _)| place)
        .collect();
    let folded = |phase: &&Phase| app.folding().is_some_and(|folding| folding.holds(phase));
    // Where each match is, and the phase that has to be unfolded for it.
    let places: Vec<(Place, Option<String>)> = matches
        .iter()
        .filter_map(|at| rows.get(*at))
        .map(|row| match row {
            Row::Step(_) => (row.place(), row.phase(state).filter(folded).map(|phase| phase.id.clone())),
            Row::Phase(_) => (row.place(), None),
        })
        .collect();
    let Some(found) = next_match(app, &matches, at, forward) else { return };
    let Some((place, unfold)) = matches.iter().position(|row| *row == found).and_then(|at| places.into_iter().nth(at))
    else {
        return;
    };
    app.ui.row = Some(place);
    app.ui.folds.extend(unfold.map(|phase| (phase, false)));
    app.ui.attempt = None;
    app.ui.line = None;
}

/// A row's words; `shown` are the places of the timeline's rows.
fn row_text(app: &App, row: usize, shown: &[usize]) -> String {
    let text = match app.ui.pane {
        // The checklist is searched with what is folded in it; of the snapshots, what is shown matches.
        Pane::Checklist | Pane::Snapshots => None,
        Pane::Output => {
            app.attempt().and_then(|attempt| app.output.get(attempt.id)?.lines().get(row)).map(|line| line.text.clone())
        }
        Pane::Timeline => {
            let entry = app.state.as_ref().and_then(|state| state.timeline.get(*shown.get(row)?));
            entry.map(history::words)
        }
    };
    text.unwrap_or_default()
}
