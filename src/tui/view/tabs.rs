//! ` 1 Checklist  2 Snapshots  3 Output  4 Timeline`, where one pane is on screen at a time.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::tui::app::{App, Pane};

pub(super) fn render(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut line = Line::default();
    for pane in Pane::ALL {
        let name = match area.width {
            ..52 if pane != app.ui.pane => format!(" {} ", pane.number()),
            _ => format!(" {} {} ", pane.number(), pane.title()),
        };
        let style = if pane == app.ui.pane { app.theme.selected() } else { app.theme.dim() };
        line.push_span(Span::styled(name, style));
        line.push_span(Span::raw(" "));
    }
    if app.ui.zoom {
        line.push_span(Span::styled("zoomed", app.theme.dim()));
    }
    frame.render_widget(Paragraph::new(line), area);
}
