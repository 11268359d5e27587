//! What a person does in the pane of snapshots.

use crossterm::event::{KeyCode, KeyEvent};

use crate::incident::{Inputs, Query};
use crate::runbook::{Action, Step};
use crate::wire::ToEngine;

use super::action::UiAction;
use super::app::{App, Asked};
use super::dumps::Ranking;
use super::edit::Editor;
use super::movement;
use super::msg::Out;
use super::overlay::Overlay;
use super::perform;
use super::text;

/// Archives that stay opened.
const OPENED: usize = 8;

fn ranking(ranking: Option<Ranking>) -> Vec<Out> {
    ranking.map(Out::Rank).into_iter().collect()
}

/// A key while the filter is typed; whether it goes on.
pub(super) fn filter_key(app: &mut App, editor: &mut Editor, event: KeyEvent) -> (bool, Vec<Out>) {
    match event.code {
        KeyCode::Enter => (false, Vec::new()),
        KeyCode::Esc => (false, ranking(app.dumps.filter_by(""))),
        KeyCode::Up | KeyCode::Down => {
            let action = if event.code == KeyCode::Up { UiAction::Up } else { UiAction::Down };
            (true, movement::go(app, action))
        }
        _ => {
            editor.key(event);
            (true, filtered(app, editor.text()))
        }
    }
}

/// Shows what matches, from the best on.
pub(super) fn filtered(app: &mut App, filter: &str) -> Vec<Out> {
    if filter == app.dumps.filter() {
        return Vec::new();
    }
    app.ui.snapshot = None;
    ranking(app.dumps.filter_by(filter))
}

/// `S`: the next order.
pub(super) fn sort(app: &mut App) -> Vec<Out> {
    let outs = ranking(app.dumps.sort_on());
    app.say(format!("snapshots: {}", app.dumps.sort().name()));
    outs
}

/// `=`: marks a snapshot; on another one, both are shown side by side.
pub(super) fn compare(app: &mut App) -> Vec<Out> {
    let Some(key) = app.snapshot().map(|row| row.key.clone()) else { return Vec::new() };
    match app.ui.marked.take().filter(|marked| app.dumps.find(marked).is_some()) {
        None => {
            app.say(format!("marked: {} on another one shows both side by side", app.key(UiAction::Compare)));
            app.ui.marked = Some(key);
            Vec::new()
        }
        Some(marked) if marked == key => {
            app.say("no longer marked");
            Vec::new()
        }
        Some(marked) => read_both(app, [marked, key]),
    }
}

/// Enter: everything about the selected one.
pub(super) fn details(app: &mut App) -> Vec<Out> {
    app.snapshot().map(|row| row.key.clone()).map_or_else(Vec::new, |key| read(app, key))
}

/// Shows everything about a dump, and what its archive holds once that is known.
pub(super) fn read(app: &mut App, key: String) -> Vec<Out> {
    let outs = open(app, &key).into_iter().collect();
    app.ui.overlay = Some(Overlay::Snapshot { key, scroll: 0 });
    outs
}

/// Shows two of them side by side.
pub(super) fn read_both(app: &mut App, keys: [String; 2]) -> Vec<Out> {
    app.ui.marked = Some(keys[0].clone());
    let outs = keys.iter().filter_map(|key| open(app, key)).collect();
    app.ui.overlay = Some(Overlay::Compare { keys, scroll: 0 });
    outs
}

/// Asks what an archive holds, unless that is known or on its way.
fn open(app: &mut App, key: &str) -> Option<Out> {
    let asked = Asked::Contents(key.to_owned());
    let known = app.contents.get(key).is_some_and(Result::is_ok);
    if known || app.lost.is_some() || app.asked.values().any(|other| *other == asked) {
        return None;
    }
    app.contents.remove(key);
    if app.contents.len() >= OPENED {
        // The other one of two that are compared stays.
        let marked = app.ui.marked.clone();
        app.contents.retain(|other, _| Some(other) == marked.as_ref());
    }
    let id = app.ask(asked);
    Some(Out::Send(ToEngine::Query { id, query: Query::Contents { key: key.to_owned() } }))
}

/// Asks for the rows of a long listing that are not there yet.
pub(super) fn more(app: &mut App) -> Option<Out> {
    let (listing, from) = app.dumps.missing()?;
    let id = app.ask(Asked::Page);
    Some(Out::Send(ToEngine::Query { id, query: Query::SnapshotsFrom { listing, from } }))
}

/// A page has come: the next one is asked for, or the whole is put in order.
pub(super) fn listed(app: &mut App, page: crate::incident::Listing) -> Vec<Out> {
    app.listing_fault = None;
    let first = page.from == 0;
    match app.dumps.take(page) {
        // Further pages are asked for when the answer to the last question is there.
        Some(_) if first => more(app).into_iter().collect(),
        Some(_) => Vec::new(),
        None => ranking(app.dumps.rank()),
    }
}

/// `a` on a snapshot: the choosing step's card, with this snapshot as the answer.
pub(super) fn choose(app: &mut App) -> Vec<Out> {
    let Some(state) = &app.state else { return Vec::new() };
    let Some(row) = app.snapshot() else {
        app.warn(format!("there is no snapshot to choose; {} lists them again", app.key(UiAction::Retry)));
        return Vec::new();
    };
    if !row.eligible {
        let why = format!("not eligible: {}", row.verdict);
        app.warn(why);
        return Vec::new();
    }
    let chooses = |step: &&Step| matches!(step.action, Action::ChooseSnapshot { .. });
    let is_open = |step: &&Step| chooses(step) && state.is_ready(step);
    let selected = app.step().filter(is_open);
    // A choice of another kind, as that of an older snapshot when the first one was no good, is made on purpose or not at all.
    let Some(step) = selected.or_else(|| state.runbook.steps().filter(is_open).find(|step| !step.optional)) else {
        let done = state.runbook.steps().filter(chooses).find(|step| state.status(&step.id).is_met());
        let why = match done {
            Some(step) => format!(
                "a snapshot is chosen: for another, {} in the checklist on {}",
                app.key(UiAction::Retry),
                text::clean(&step.title)
            ),
            None => "the step that chooses a snapshot waits for others: see the checklist".to_owned(),
        };
        app.warn(why);
        return Vec::new();
    };
    let mut inputs = Inputs::from([("snapshot".to_owned(), row.key.clone())]);
    if let Some(onset) = app.onset() {
        inputs.insert("onset".to_owned(), onset.to_string());
    }
    let step = step.id.clone();
    vec![perform::open_card(app, step, inputs, None)]
}
