//! A frame as text, for tests and tools.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::app::App;
use super::text;
use super::view;

/// What the screen shows at this size: a line a row, without the spaces at their ends.
#[must_use]
pub fn frame_text(app: &App, columns: u16, rows: u16) -> String {
    text_of(drawn(app, columns, rows).buffer())
}

/// A screen of this size with everything on it.
pub(super) fn drawn(app: &App, columns: u16, rows: u16) -> TestBackend {
    // The test backend cannot fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| view::draw(frame, app));
    terminal.backend().clone()
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
