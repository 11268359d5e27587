//! What typed lines do where keys do not: name an action or a row, answer a question whole.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;

use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::card::{Card, Stage};
use crate::tui::checklist::{self, Row};
use crate::tui::form::Form;
use crate::tui::msg::{Msg, Out};
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
    let row = step.map(|step| Row::Step(step.id.clone())).or_else(|| {
        let phase = state.runbook.phases.iter().find(|phase| phase.id == named);
        phase.map(|phase| Row::Phase(phase.id.clone()))
    });
    let Some(row) = row else { return false };
    // A folded phase hides its steps from the cursor.
    if let (Row::Step(_), Some(phase)) = (&row, checklist::phase_of(state, &row)) {
        app.ui.folds.insert(phase.id.clone(), false);
    }
    app.ui.row = Some(row);
    true
}

/// The questions that are open.
pub(super) fn form(app: &mut App) -> Option<&mut Form> {
    match app.card_mut() {
        Some(Card { stage: Stage::Form(form), .. }) => Some(form),
        _ => None,
    }
}
