//! The program's own log.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Block;
use tui_logger::TuiLoggerWidget;

use crate::tui::app::App;

pub(super) fn render(frame: &mut Frame<'_>, area: Rect, app: &App) {
    super::clear(frame, area);
    let block = Block::bordered()
        .border_set(app.theme.border())
        .border_style(app.theme.active())
        .title(Line::from(Span::styled(" Program log ", app.theme.strong())))
        .title_bottom(Line::from(" Esc close "));
    let widget = TuiLoggerWidget::default()
        .block(block)
        .style_error(app.theme.bad())
        .style_warn(app.theme.warning())
        .style_debug(app.theme.dim())
        .style_trace(app.theme.dim())
        // A line begins with the engine's time for it.
        .output_timestamp(None)
        .output_target(false)
        .output_file(false)
        .output_line(false);
    frame.render_widget(widget, area);
}
