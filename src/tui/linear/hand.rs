//! What typed lines do where keys do not: name an action or a row, answer a question whole.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;

use crate::incident::Level;
use crate::tui::action::UiAction;
use crate::tui::app::{App, Pane};
use crate::tui::card::{Card, Stage};
use crate::tui::checklist::Row;
use crate::tui::draft::Draft;
use crate::tui::form::Form;
use crate::tui::msg::{Msg, Out};
use crate::tui::overlay::Overlay;
use crate::tui::perform;
use crate::tui::update::update;

/// Does what a key of the main screen does.
pub(super) fn act(app: &mut App, action: UiAction, now: Timestamp) -> Vec<Out> {
    app.now = now;
    app.ui.toast = None;
    let mut outs = perform::perform(app, action);
    outs.extend(update(app, Msg::Tick, now));
    outs
}

/// Asks what the last note should say; a line replaces what it said.
pub(super) fn correct_last(app: &mut App, now: Timestamp) -> Vec<Out> {
    let notes = app.state.iter().flat_map(|state| state.timeline.iter().rev());
    let last = notes.filter(|entry| entry.level == Level::Note).map(|entry| entry.seq).next();
    let before = (app.ui.pane, app.ui.entry);
    (app.ui.pane, app.ui.entry) = (Pane::Timeline, last.or(app.ui.entry));
    let outs = act(app, UiAction::Correct, now);
    (app.ui.pane, app.ui.entry) = before;
    outs
}

/// Answers what is asked with a line. It stands for all of the text: nobody can edit here what a note said before.
pub(super) fn answer(app: &mut App, line: String, now: Timestamp) -> Vec<Out> {
    if let Some(Overlay::Prompt(prompt)) = &mut app.ui.overlay {
        prompt.draft = Draft::new("");
    }
    let mut outs = update(app, Msg::Paste(line), now);
    outs.extend(press(app, KeyCode::Enter, now));
    outs
}

/// Presses a key.
pub(super) fn press(app: &mut App, code: KeyCode, now: Timestamp) -> Vec<Out> {
    update(app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)), now)
}

/// Presses a letter with Ctrl.
pub(super) fn control(app: &mut App, letter: char, now: Timestamp) -> Vec<Out> {
    update(app, Msg::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)), now)
}

/// Puts the cursor on the step with this number or name, or on the phase with this name; without one it follows what is
/// to be done next. False where there is none.
pub(super) fn select(app: &mut App, named: &str) -> bool {
    if named.is_empty() {
        app.ui.row = None;
        return true;
    }
    let Some(state) = &app.state else { return false };
    let mut steps = state.runbook.steps();
    let step = match named.parse::<usize>() {
        Ok(number) => number.checked_sub(1).and_then(|at| steps.nth(at)),
        Err(_) => steps.find(|step| step.id.as_str() == named),
    };
    let phase = || state.runbook.phases.iter().find(|phase| phase.id == named).map(Row::Phase);
    let row = step.map(Row::Step).or_else(phase);
    let Some(row) = row else { return false };
    // A folded phase hides its steps from the cursor.
    let unfold = match row {
        Row::Step(_) => row.phase(state).map(|phase| phase.id.clone()),
        Row::Phase(_) => None,
    };
    app.ui.row = Some(row.place());
    app.ui.folds.extend(unfold.map(|phase| (phase, false)));
    true
}

/// The questions that are open.
pub(super) fn form(app: &mut App) -> Option<&mut Form> {
    match app.card_mut() {
        Some(Card { stage: Stage::Form(form), .. }) => Some(form),
        _ => None,
    }
}
