//! ` 1 Checklist  2 Snapshots  3 Output  4 Timeline`, where one pane is on screen at a time.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::tui::app::{App, Pane};
use crate::tui::text;

use super::Canvas;

pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let mut line = Line::default();
    for pane in Pane::ALL {
        let name = name(app, area.width, pane);
        let style = if pane == app.ui.pane { app.theme.selected() } else { app.theme.dim() };
        line.push_span(Span::styled(name, style));
        line.push_span(Span::raw(" "));
    }
    if app.ui.zoom {
        line.push_span(Span::styled("zoomed", app.theme.dim()));
    }
    super::put(canvas, area, &[line]);
}

fn name(app: &App, columns: u16, pane: Pane) -> String {
    match columns {
        ..52 if pane != app.ui.pane => format!(" {} ", pane.number()),
        _ => format!(" {} {} ", pane.number(), pane.title()),
    }
}

/// The tab at a column.
pub(super) fn at(app: &App, columns: u16, column: u16) -> Option<Pane> {
    let mut ends = 0;
    Pane::ALL.into_iter().find(|pane| {
        ends += text::width(&name(app, columns, *pane)) + 1;
        usize::from(column) < ends
    })
}
