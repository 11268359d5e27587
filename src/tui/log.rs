//! The program's own log: which lines of it are shown.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget as _;
use tui_logger::{TuiLoggerTargetWidget, TuiWidgetEvent, TuiWidgetState};

/// What is selected and shown of the log, as its widgets keep it.
#[derive(Default)]
pub(super) struct LogView(pub(super) TuiWidgetState);

impl fmt::Debug for LogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogView")
    }
}

impl LogView {
    /// Takes a key; false where it leaves the log.
    pub(super) fn key(&self, event: KeyEvent) -> bool {
        let turn = match event.code {
            KeyCode::Esc | KeyCode::Char('q' | 'L') => return false,
            KeyCode::Char('k') | KeyCode::Up => TuiWidgetEvent::UpKey,
            KeyCode::Char('j') | KeyCode::Down => TuiWidgetEvent::DownKey,
            KeyCode::Char('-' | '<') | KeyCode::Left => TuiWidgetEvent::LeftKey,
            KeyCode::Char('+' | '=' | '>') | KeyCode::Right => TuiWidgetEvent::RightKey,
            KeyCode::Char('o') => TuiWidgetEvent::FocusKey,
            KeyCode::PageUp => TuiWidgetEvent::PrevPageKey,
            KeyCode::PageDown => TuiWidgetEvent::NextPageKey,
            KeyCode::Char('f' | 'G') | KeyCode::End => TuiWidgetEvent::EscapeKey,
            _ => return true,
        };
        self.0.transition(turn);
        // The widget works out what the next key does while it is drawn, and keys may come faster than frames.
        let row = Rect::new(0, 0, 16, 1);
        TuiLoggerTargetWidget::default().state(&self.0).render(row, &mut Buffer::empty(row));
        true
    }
}
