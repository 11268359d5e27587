//! What views draw on.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::Widget;

/// The cells of the screen or of a part of it, and where the cursor is to stand.
#[derive(Debug)]
pub(in crate::tui) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    cursor: Option<Position>,
}

impl<'a> Canvas<'a> {
    /// A canvas that covers the buffer's area.
    pub(in crate::tui) fn new(buffer: &'a mut Buffer) -> Self {
        Self { buffer, cursor: None }
    }

    pub(super) fn area(&self) -> Rect {
        self.buffer.area
    }

    pub(super) fn buffer_mut(&mut self) -> &mut Buffer {
        self.buffer
    }

    pub(super) fn render_widget(&mut self, widget: impl Widget, area: Rect) {
        widget.render(area, self.buffer);
    }

    pub(super) fn set_cursor_position(&mut self, at: Position) {
        self.cursor = Some(at);
    }

    /// Where the cursor is to stand; none where it is to be hidden.
    pub(in crate::tui) fn cursor(&self) -> Option<Position> {
        self.cursor
    }
}
