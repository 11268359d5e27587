//! The mouse selects and scrolls, wherever things are drawn, and does nothing else.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::histories::{Story, with_questions};
use super::press;
use crate::tui::app::{App, Pane};
use crate::tui::card::Stage;
use crate::tui::frame::frame_text;
use crate::tui::msg::Msg;
use crate::tui::overlay::Overlay;
use crate::tui::update::update;

fn used(app: &mut App, kind: MouseEventKind, column: usize, row: usize) {
    let (column, row) = (u16::try_from(column).expect("small"), u16::try_from(row).expect("small"));
    let now = app.now;
    let outs = update(app, Msg::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }), now);
    assert!(outs.is_empty(), "{outs:?}");
}

/// Presses where these words are drawn.
fn press_on(app: &mut App, words: &str) {
    let frame = frame_text(app, app.size.0, app.size.1);
    let (row, line) = frame.lines().enumerate().find(|(_, line)| line.contains(words)).expect("they are on screen");
    let column = line.find(words).map(|at| line[..at].chars().count()).expect("there");
    used(app, MouseEventKind::Down(MouseButton::Left), column, row);
}

/// Where the cursor's mark is.
fn marked(app: &App) -> String {
    let frame = frame_text(app, app.size.0, app.size.1);
    frame.lines().find(|line| line.contains('›')).expect("a selected row").to_owned()
}

#[test]
fn what_is_pressed_is_selected() {
    for (columns, rows) in [(120, 32), (200, 50), (80, 24)] {
        let mut story = Story::restoring("drill");
        let now = story.app.now;
        update(&mut story.app, Msg::Resize(columns, rows), now);
        for title in ["Prove the tables", "Safety dump", "Declare the incident", "Swap"] {
            press_on(&mut story.app, title);
            assert!(marked(&story.app).contains(title), "{columns}x{rows}: {}", marked(&story.app));
        }
        if columns == 80 {
            press_on(&mut story.app, "2 Snapshots");
        }
        // The onset's line lies between these two.
        for taken in ["11-23 09:00", "11-23 03:00", "11-23 06:00"] {
            press_on(&mut story.app, taken);
            assert_eq!(story.app.ui.pane, Pane::Snapshots);
            assert!(marked(&story.app).contains(taken), "{columns}x{rows}: {}", marked(&story.app));
        }
        press_on(&mut story.app, "─ onset");
        assert!(marked(&story.app).contains("11-23 06:00"), "a line that is no dump selects none");
        if columns > 80 {
            press_on(&mut story.app, "4 Timeline");
            assert_eq!(story.app.ui.pane, Pane::Timeline);
        }
    }
}

#[test]
fn a_tab_is_pressed_where_its_name_is() {
    let mut story = Story::restoring("drill");
    let now = story.app.now;
    for columns in [80, 50, 40] {
        update(&mut story.app, Msg::Resize(columns, 20), now);
        for pane in [Pane::Timeline, Pane::Output, Pane::Snapshots, Pane::Checklist] {
            let frame = frame_text(&story.app, columns, 20);
            let tabs = frame.lines().nth(1).expect("the tabs");
            let column = tabs.find(&pane.number().to_string()).expect("a tab for each");
            used(&mut story.app, MouseEventKind::Down(MouseButton::Left), column, 1);
            assert_eq!(story.app.ui.pane, pane, "{columns} columns");
        }
    }
}

#[test]
fn the_wheel_scrolls_what_is_read_and_answers_nothing() {
    let mut story = Story::restoring("drill");
    press(&mut story.app, "?");
    used(&mut story.app, MouseEventKind::ScrollDown, 0, 0);
    assert!(matches!(story.app.ui.overlay, Some(Overlay::Help { scroll: 3 })));
    press(&mut story.app, "<esc>");

    let mut story = Story::new("drill");
    story.checked();
    story.declared();
    press(&mut story.app, "a");
    story.planned(&with_questions("select.snapshot"));
    let before = story.app.card().cloned();
    assert!(before.as_ref().is_some_and(|card| matches!(card.stage, Stage::Form(_))));
    for kind in [MouseEventKind::ScrollDown, MouseEventKind::ScrollUp, MouseEventKind::Down(MouseButton::Left)] {
        used(&mut story.app, kind, 40, 10);
    }
    assert_eq!(story.app.card().cloned(), before);
}
