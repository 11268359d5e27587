//! Searching an attempt's whole log: the engine looks through it stretch by stretch while the cockpit goes on.

use crate::incident::{AttemptId, Query};
use crate::wire::ToEngine;

use super::app::{App, Asked, Pane};
use super::movement;
use super::msg::Out;
use super::output::Buffer;
use super::perform;

/// Places that are kept; a search that finds more ends there.
const MOST: usize = 200_000;
/// Bytes before a match that are fetched with it.
const BEFORE: u64 = 64 << 10;

/// A search through one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) attempt: AttemptId,
    pub(super) needle: String,
    /// Where matching lines begin, in order.
    at: Vec<u64>,
    upto: u64,
    size: u64,
    /// The engine is looking.
    busy: bool,
    /// Which way the person wants to go as soon as something is found there.
    wish: Option<bool>,
}

impl Search {
    /// How far it is, in percent; none once everything was looked through.
    pub(super) fn percent(&self) -> Option<u64> {
        self.busy.then(|| self.upto.saturating_mul(100).checked_div(self.size).unwrap_or(0).min(99))
    }

    /// How many lines match, and whether that is all that was looked for.
    pub(super) fn count(&self) -> (usize, bool) {
        (self.at.len(), self.at.len() < MOST)
    }

    /// Which match a line is, counted from 1.
    pub(super) fn number(&self, line: u64) -> Option<usize> {
        self.at.binary_search(&line).ok().map(|at| at + 1)
    }
}

/// The search of the log that is looked at.
pub(super) fn current(app: &App) -> Option<&Search> {
    let attempt = app.attempt()?.id;
    app.search.as_ref().filter(|search| search.attempt == attempt && search.needle == app.ui.needle)
}

/// Begins to search the log that is looked at for what was typed, and goes to the last match before what is on screen.
pub(super) fn begin(app: &mut App) -> Vec<Out> {
    let Some(attempt) = app.attempt().map(|attempt| attempt.id) else { return Vec::new() };
    let needle = app.ui.needle.clone();
    if needle.is_empty() {
        app.search = None;
        return Vec::new();
    }
    app.search = Some(Search { attempt, needle, at: Vec::new(), upto: 0, size: 0, busy: false, wish: Some(false) });
    ask(app).into_iter().collect()
}

fn ask(app: &mut App) -> Option<Out> {
    if app.lost.is_some() {
        return None;
    }
    let search = app.search.as_mut()?;
    search.busy = true;
    let (attempt, needle, from) = (search.attempt, search.needle.clone(), search.upto);
    let id = app.ask(Asked::Find);
    Some(Out::Send(ToEngine::Query { id, query: Query::Find { attempt, needle, from } }))
}

/// A stretch was looked through.
pub(super) fn found(app: &mut App, attempt: AttemptId, needle: &str, at: Vec<u64>, reached: (u64, u64)) -> Vec<Out> {
    let Some(search) = app.search.as_mut().filter(|it| it.attempt == attempt && it.needle == needle) else {
        return Vec::new();
    };
    let last = search.at.last().copied();
    search.at.extend(at.into_iter().filter(|at| last.is_none_or(|last| *at > last)));
    search.at.truncate(MOST);
    (search.upto, search.size) = reached;
    match search.wish {
        // What lies before the screen is known once everything up to there was looked through.
        Some(forward) if forward || search.upto >= search.size => go(app, forward),
        _ => Vec::new(),
    }
}

/// The engine has answered: it is asked on, as long as this search is wanted and there is more.
pub(super) fn answered(app: &mut App, result: Result<(), String>) -> Vec<Out> {
    let Some(search) = app.search.as_mut() else { return Vec::new() };
    let more = search.upto < search.size && search.at.len() < MOST;
    match result {
        Ok(()) if more => return ask(app).into_iter().collect(),
        Ok(()) => search.busy = false,
        Err(why) => {
            search.busy = false;
            search.wish = None;
            app.warn(why);
        }
    }
    Vec::new()
}

/// Goes to the next match, or the one before.
pub(super) fn go(app: &mut App, forward: bool) -> Vec<Out> {
    let here = app.ui.line.unwrap_or(u64::MAX);
    let Some(attempt) = app.attempt().map(|attempt| attempt.id) else { return Vec::new() };
    let end = app.output.get(attempt).map_or(0, Buffer::log_end);
    let Some(search) = app.search.as_mut() else { return Vec::new() };
    let next = if forward {
        search.at.get(search.at.partition_point(|at| *at <= here)).copied()
    } else {
        search.at.partition_point(|at| *at < here).checked_sub(1).and_then(|at| search.at.get(at)).copied()
    };
    if let Some(line) = next {
        search.wish = None;
        return show(app, attempt, line);
    }
    if search.busy {
        search.wish = Some(forward);
        return Vec::new();
    }
    if forward && search.upto < end && search.at.len() < MOST {
        search.wish = Some(true);
        return ask(app).into_iter().collect();
    }
    search.wish = None;
    let words = match (search.at.is_empty(), forward) {
        (true, _) => format!("no line of this log holds {}", search.needle),
        (false, true) => format!("{} was the last one", search.needle),
        (false, false) => format!("{} was the first one", search.needle),
    };
    app.warn(words);
    Vec::new()
}

/// Selects a line of a log, which is fetched where it is not held.
fn show(app: &mut App, attempt: AttemptId, line: u64) -> Vec<Out> {
    app.ui.line = Some(line);
    app.ui.attempt = Some(attempt);
    if app.ui.pane != Pane::Output || app.output.get(attempt).is_some_and(|buffer| buffer.holds(line)) {
        return Vec::new();
    }
    app.output.seek(attempt, line);
    let from = line.saturating_sub(BEFORE);
    vec![perform::fetch(app, attempt, Some(from), u32::try_from(2 * BEFORE).unwrap_or(u32::MAX))]
}

/// `n` and `N`: the next match, of the pane or of the whole log.
pub(super) fn step(app: &mut App, forward: bool) -> Vec<Out> {
    if app.ui.pane == Pane::Output && !app.ui.needle.is_empty() {
        return if current(app).is_some() { go(app, forward) } else { begin(app) };
    }
    movement::find(app, forward);
    Vec::new()
}

/// Writes the log that is looked at into a file.
pub(super) fn save(app: &mut App) -> Vec<Out> {
    let Some((state, attempt)) = app.state.as_ref().zip(app.attempt()) else {
        app.warn("nothing has run yet");
        return Vec::new();
    };
    let name = format!("{}-output-{}.txt", state.id, attempt.id);
    let attempt = attempt.id;
    app.say("writing the output to a file");
    vec![Out::Save { attempt, name }]
}
