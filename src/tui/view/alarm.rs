//! What stays on screen until it is mended, under the header.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::text;

use super::Canvas;

fn words(app: &App) -> Option<String> {
    if let Some(alarm) = &app.alarm {
        return Some(alarm.clone());
    }
    let why = app.lost.as_ref()?;
    let closed = app.state.as_ref().is_some_and(|state| state.closed_at.is_some());
    Some(if closed {
        format!("The incident is closed and its engine has ended. {} leaves.", app.key(UiAction::Detach))
    } else {
        format!(
            "The engine is lost ({why}); this screen shows the past. {} starts it again, which asks every target what \
             became of what was at work. {} leaves.",
            app.key(UiAction::Retry),
            app.key(UiAction::Detach)
        )
    })
}

/// Rows that it takes.
pub(super) fn rows(app: &App) -> u16 {
    words(app).map_or(0, |words| rows_of(&words, app.size.0))
}

fn rows_of(words: &str, columns: u16) -> u16 {
    text::cells(text::wrap(words, usize::from(columns.saturating_sub(4))).len().min(3))
}

/// Draws it, if there is one, and gives back what is left of the area.
pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App) -> Rect {
    let Some(words) = words(app) else { return area };
    let rows = rows_of(&words, area.width).min(area.height);
    let (glyph, _) = app.theme.gravity(crate::incident::Gravity::Blocking);
    let lines: Vec<Line<'_>> = text::wrap(&words, usize::from(area.width.saturating_sub(4)))
        .into_iter()
        .enumerate()
        .map(|(at, line)| {
            let before = if at == 0 { glyph } else { " " };
            let line = format!(" {before} {line}");
            Line::from(Span::styled(text::left(&line, usize::from(area.width), ""), app.theme.live()))
        })
        .collect();
    super::put(canvas, Rect { height: rows, ..area }, &lines);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}
