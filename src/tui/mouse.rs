//! The mouse, for whoever turned it on: it looks around and selects, as the arrow keys do, and never acts.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::action::UiAction;
use super::app::App;
use super::card::Stage;
use super::movement;
use super::msg::Out;
use super::overlay::Overlay;
use super::view;

/// Lines that one turn of the wheel goes.
const TURN: usize = 3;

pub(super) fn used(app: &mut App, event: MouseEvent) -> Vec<Out> {
    if app.is_too_small() {
        return Vec::new();
    }
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => pressed(app, event),
        MouseEventKind::ScrollUp => turned(app, event, UiAction::Up),
        MouseEventKind::ScrollDown => turned(app, event, UiAction::Down),
        _ => Vec::new(),
    }
}

fn pressed(app: &mut App, event: MouseEvent) -> Vec<Out> {
    if app.ui.overlay.is_some() {
        return Vec::new();
    }
    let Some(hit) = view::hit(app, event.column, event.row) else { return Vec::new() };
    app.ui.pane = hit.pane;
    if let Some(row) = hit.row {
        movement::select(app, row);
    }
    Vec::new()
}

fn turned(app: &mut App, event: MouseEvent, way: UiAction) -> Vec<Out> {
    if let Some(overlay) = &mut app.ui.overlay {
        if let Some(scroll) = scroll(overlay) {
            *scroll = if way == UiAction::Up { scroll.saturating_sub(TURN) } else { scroll.saturating_add(TURN) };
            view::clamp_scroll(app);
        }
        return Vec::new();
    }
    let Some(hit) = view::hit(app, event.column, event.row) else { return Vec::new() };
    app.ui.pane = hit.pane;
    (0..TURN).flat_map(|_| movement::go(app, way)).collect()
}

/// What a wheel may move: text that is read, and nothing that is answered.
fn scroll(overlay: &mut Overlay) -> Option<&mut usize> {
    match overlay {
        Overlay::Card(card) => matches!(card.stage, Stage::Review).then_some(&mut card.scroll),
        other => other.scroll(),
    }
}
