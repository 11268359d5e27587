//! Puts frames on a terminal, as the difference to what it shows already; all of one, or the parts that a key changes.
//!
//! ratatui's own terminal draws every frame anew and compares all of it. After a pause most of the time from a key to its frame
//! is fetching that memory, and a move of the cursor changes a fraction of it.

use std::io::{self, Write};

use crossterm::queue;
use crossterm::style::ResetColor;
use crossterm::terminal::{Clear, ClearType};
use ratatui::backend::{Backend as _, CrosstermBackend};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect};

use super::app::App;
use super::view::{self, Canvas};

/// A terminal that frames are drawn on.
#[derive(Debug)]
pub(super) struct Painter<W: Write> {
    backend: CrosstermBackend<W>,
    /// What the terminal shows.
    shown: Buffer,
    /// What the next frame is drawn on.
    next: Buffer,
    /// Where the cursor stands; none while it is hidden.
    cursor: Option<Position>,
    /// Where the last whole frame has what a move is seen by; none where something lay over it.
    bare: Option<[Rect; 2]>,
}

impl<W: Write> Painter<W> {
    /// Of a terminal that shows nothing, and no cursor.
    pub(super) fn new(terminal: W, area: Rect) -> Self {
        let backend = CrosstermBackend::new(terminal);
        Self { backend, shown: Buffer::empty(area), next: Buffer::empty(area), cursor: None, bare: None }
    }

    /// Where anything else goes that the terminal is told.
    pub(super) fn writer(&mut self) -> &mut CrosstermBackend<W> {
        &mut self.backend
    }

    /// What the terminal shows in a place.
    #[cfg(test)]
    pub(super) fn shown(&self, at: Position) -> Option<&Cell> {
        self.shown.cell(at)
    }

    /// Makes the next drawing draw everything.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        queue!(self.backend, ResetColor, Clear(ClearType::All))?;
        self.shown.reset();
        self.bare = None;
        // Whoever had the terminal meanwhile may have left its cursor visible.
        self.cursor = None;
        self.backend.hide_cursor()
    }

    /// Draws a whole frame.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, app: &App) -> io::Result<()> {
        let area = app.area();
        if area != self.shown.area {
            // The terminal may have moved what it showed.
            self.shown = Buffer::empty(area);
            self.next = Buffer::empty(area);
            self.clear()?;
        }
        self.next.reset();
        let mut canvas = Canvas::new(&mut self.next);
        view::draw(&mut canvas, app);
        let cursor = canvas.cursor();
        let mut changes = self.shown.diff_iter(&self.next).peekable();
        let draws = changes.peek().is_some();
        if draws {
            self.backend.draw(changes)?;
        }
        std::mem::swap(&mut self.shown, &mut self.next);
        self.bare = app.is_bare().then(|| view::under_the_eye(app));
        self.point(cursor, draws)
    }

    /// Draws what a move of the cursor is seen by. Where the last whole frame had something else there, as an overlay that is
    /// gone by now, it draws a whole one; says whether it did.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw_move(&mut self, app: &App) -> io::Result<bool> {
        let parts = view::under_the_eye(app);
        if !app.is_bare() || self.bare != Some(parts) {
            return self.draw(app).map(|()| true);
        }
        let mut changed = Vec::new();
        for area in parts {
            let mut part = Buffer::empty(area);
            view::draw_part(&mut Canvas::new(&mut part), app);
            let rows = part.area.rows().zip(part.content.chunks(usize::from(area.width).max(1)));
            changed.extend(rows.filter_map(|(row, cells)| {
                let shown = self.row(row)?;
                let buffer = |cells: &[Cell]| Buffer { area: row, content: cells.to_vec() };
                (*shown != *cells).then(|| (buffer(shown), buffer(cells)))
            }));
        }
        if !changed.is_empty() {
            self.backend.draw(changed.iter().flat_map(|(before, row)| before.diff_iter(row)))?;
        }
        for (_, row) in changed {
            if let Some(shown) = self.row(row.area) {
                shown.clone_from_slice(&row.content);
            }
        }
        Ok(false)
    }

    /// What is shown in a part of one row.
    fn row(&mut self, row: Rect) -> Option<&mut [Cell]> {
        let from = usize::from(row.y) * usize::from(self.shown.area.width) + usize::from(row.x);
        self.shown.content.get_mut(from..from + usize::from(row.width))
    }

    /// Puts the cursor where it is wanted; drawing has moved it.
    fn point(&mut self, cursor: Option<Position>, moved: bool) -> io::Result<()> {
        match cursor {
            Some(at) if moved || self.cursor != cursor => {
                self.backend.show_cursor()?;
                self.backend.set_cursor_position(at)?;
            }
            None if self.cursor.is_some() => self.backend.hide_cursor()?,
            _ => {}
        }
        self.cursor = cursor;
        Ok(())
    }
}
