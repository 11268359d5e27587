//! A frame as text, for tests and tools.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::app::App;
use super::text;
use super::view::{self, Canvas};

/// What the screen shows at this size: a line a row, without the spaces at their ends.
#[must_use]
pub fn frame_text(app: &App, columns: u16, rows: u16) -> String {
    text_of(&drawn(app, columns, rows).0)
}

/// A screen of this size with everything on it, and where its cursor is.
pub(super) fn drawn(app: &App, columns: u16, rows: u16) -> (Buffer, Option<Position>) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
    let mut canvas = Canvas::new(&mut buffer);
    view::draw(&mut canvas, app);
    let cursor = canvas.cursor();
    (buffer, cursor)
}

/// A line a row, without the spaces at their ends.
pub(super) fn text_of(buffer: &Buffer) -> String {
    let mut lines = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut line = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer.cell((x, y)).map_or(" ", ratatui::buffer::Cell::symbol);
            line.push_str(symbol);
            // A wide character owns the cell after it.
            x = x.saturating_add(text::cells(text::width(symbol)).max(1));
        }
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}
