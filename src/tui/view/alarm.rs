//! What stays on screen until it is mended, under the header.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::incident::Gravity;
use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::text;

use super::Canvas;

/// Rows that it may take.
const LONGEST: usize = 3;

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
    words(app).map_or(0, |words| text::cells(lines(app, &words, app.size.0).len()))
}

fn lines(app: &App, words: &str, columns: u16) -> Vec<String> {
    text::rows(words, usize::from(columns.saturating_sub(4)), LONGEST, app.theme.ellipsis())
}

/// Draws it, if there is one, and gives back what is left of the area.
pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App) -> Rect {
    let Some(words) = words(app) else { return area };
    let words = lines(app, &words, area.width);
    let rows = text::cells(words.len()).min(area.height);
    let closed = app.state.as_ref().is_some_and(|state| state.closed_at.is_some());
    let gravity = if closed && app.alarm.is_none() { Gravity::Good } else { Gravity::Blocking };
    let (glyph, _) = app.theme.gravity(gravity);
    let lines: Vec<Line<'_>> = words
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
