//! A terminal that is drawn on as the loop does it, and looked at: after a move the part under the eye is right at once, and
//! after each frame all of it.

use std::num::NonZero;

use proptest::prelude::*;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;

use super::super::escapes::Bytes;
use crate::tui::app::App;
use crate::tui::frame::drawn;
use crate::tui::painter::Painter;
use crate::tui::view;

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a screen has cells")
}

pub(super) struct Glass {
    painter: Painter<Bytes>,
    bytes: Bytes,
    screen: vt100::Parser,
}

impl Glass {
    pub(super) fn new((columns, rows): (u16, u16)) -> Self {
        let bytes = Bytes::default();
        let painter = Painter::new(bytes.clone(), Rect::new(0, 0, columns, rows));
        let mut screen = vt100::Parser::new(cells(rows), cells(columns), 0);
        // As whoever takes a terminal over begins.
        screen.process(b"\x1b[?25l");
        Self { painter, bytes, screen }
    }

    /// Draws what the loop would after a message; `moves` where that only moved the cursor, and nothing where it is not due yet.
    pub(super) fn follow(&mut self, app: &App, moves: bool, due: bool) -> Result<(), TestCaseError> {
        let area = app.area();
        let (whole, cursor) = drawn(app, app.size.0, app.size.1);
        self.screen.screen_mut().set_size(cells(area.height), cells(area.width));
        if moves {
            self.painter.draw_move(app).expect("a drawing");
            for part in view::under_the_eye(app) {
                self.shows(app, &whole, part)?;
            }
        }
        if !due {
            return Ok(());
        }
        self.painter.draw(app).expect("a drawing");
        self.shows(app, &whole, area)?;
        let screen = self.screen.screen();
        prop_assert_eq!(screen.hide_cursor(), cursor.is_none());
        if let Some(at) = cursor {
            prop_assert_eq!(screen.cursor_position(), (at.y, at.x));
        }
        Ok(())
    }

    /// The painter knows that the area is shown, and what it wrote makes a terminal show it.
    fn shows(&mut self, app: &App, whole: &Buffer, area: Rect) -> Result<(), TestCaseError> {
        self.screen.process(&self.bytes.take());
        for at in area.positions() {
            prop_assert_eq!(self.painter.shown(at), whole.cell(at), "at {}", at);
            // About the width of what else there is terminals do not agree.
            if app.theme.is_ascii() {
                let seen = self.screen.screen().cell(at.y, at.x).filter(|cell| cell.has_contents());
                let seen = seen.map_or(" ", vt100::Cell::contents);
                prop_assert_eq!(seen, whole.cell(at).map_or(" ", Cell::symbol), "at {}", at);
            }
        }
        Ok(())
    }
}
