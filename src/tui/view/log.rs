//! The program's own log, and which parts of the program it is of.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Block;
use tui_logger::{TuiLoggerTargetWidget, TuiLoggerWidget};

use crate::tui::app::App;

use super::Canvas;

/// Columns of the parts' names.
const PARTS: u16 = 30;

pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    super::clear(canvas, area);
    let theme = app.theme;
    let block = |title: &'static str, keys: &'static str| {
        Block::bordered()
            .border_set(theme.border())
            .border_style(theme.active())
            .title(Line::from(Span::styled(title, theme.strong())))
            .title_bottom(Line::from(keys))
    };
    let [parts, right] = if area.width >= 3 * PARTS {
        Layout::horizontal([Constraint::Length(PARTS), Constraint::Min(0)]).areas(area)
    } else {
        // On a narrow screen above the lines, and on a very low one not at all.
        let rows = if area.height >= 16 { 6 } else { 0 };
        Layout::vertical([Constraint::Length(rows), Constraint::Min(0)]).areas(area)
    };
    let targets = TuiLoggerTargetWidget::default()
        .block(block(" Parts ", " j k, - + level "))
        .style_off(theme.dim())
        .style_hide(theme.dim())
        .style_show(theme.active())
        .highlight_style(theme.selected())
        .state(&app.log.0);
    canvas.render_widget(targets, parts);
    let keys = if area.width >= 60 { " PgUp PgDn, f newest, o only this part, Esc close " } else { " Esc close " };
    let lines = TuiLoggerWidget::default()
        .block(block(" Program log ", keys))
        .style_error(theme.bad())
        .style_warn(theme.warning())
        .style_debug(theme.dim())
        .style_trace(theme.dim())
        // A line begins with the engine's time for it.
        .output_timestamp(None)
        .output_target(false)
        .output_file(false)
        .output_line(false)
        .state(&app.log.0);
    canvas.render_widget(lines, right);
}
