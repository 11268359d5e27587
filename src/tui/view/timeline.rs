//! What happened, in UTC.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::incident::{Level, TimelineEntry};
use crate::tui::app::{App, Pane};
use crate::tui::text;

pub(super) fn render(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let unsent = app.unsent();
    let note = if unsent > 0 {
        let why = app.outbox_waits.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        let room = usize::from(area.width).saturating_sub(18);
        let words = text::fit(&format!(" PagerDuty: {unsent} unsent{why} "), room, app.theme.ellipsis());
        Line::from(Span::styled(words, app.theme.warning()))
    } else {
        Line::default()
    };
    let inside = super::pane_frame(frame, area, app, Pane::Timeline, note);
    let Some(state) = &app.state else { return };
    let height = usize::from(inside.height);
    let width = usize::from(inside.width);
    let selected = app.entry();
    // Rows are built from the selected entry outwards until the pane is full: a long history costs nothing.
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut below = Vec::new();
    for (at, entry) in state.timeline.iter().enumerate().skip(selected + 1) {
        below.extend(entry_lines(app, entry, false, day_before(&state.timeline, at), width));
        if below.len() >= height / 2 {
            break;
        }
    }
    below.truncate(height / 2);
    let room = height.saturating_sub(below.len());
    for (at, entry) in state.timeline.iter().enumerate().take(selected + 1).rev() {
        let marked = at == selected && app.ui.pane == Pane::Timeline && app.ui.entry.is_some();
        let mut more = entry_lines(app, entry, marked, day_before(&state.timeline, at), width);
        more.append(&mut lines);
        lines = more;
        if lines.len() >= room {
            break;
        }
    }
    let cut = lines.len().saturating_sub(room);
    let mut seen: Vec<Line<'_>> = lines.split_off(cut);
    seen.extend(below);
    frame.render_widget(Paragraph::new(seen), inside);
}

/// Whether the entry before is of another day.
fn day_before(entries: &[TimelineEntry], at: usize) -> bool {
    let day = |at: usize| entries.get(at).map(|entry| entry.at.strftime("%Y-%m-%d").to_string());
    at == 0 || day(at) != day(at - 1)
}

fn entry_lines(app: &App, entry: &TimelineEntry, marked: bool, new_day: bool, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if new_day {
        lines.push(Line::from(Span::styled(format!(" {}", entry.at.strftime("%Y-%m-%d UTC")), app.theme.dim())));
    }
    let (glyph, style) = app.theme.level(entry.level);
    let indent = 13;
    let words = text::wrap(&entry.text, width.saturating_sub(indent));
    for (at, line) in words.into_iter().enumerate() {
        let begin = if at == 0 {
            let cursor = if marked { app.theme.cursor() } else { " " };
            format!("{cursor}{} ", entry.at.strftime("%H:%M:%SZ"))
        } else {
            " ".repeat(indent - 2)
        };
        let mark = if at == 0 { glyph } else { " " };
        if marked {
            let whole = text::left(&format!("{begin}{mark} {line}"), width, "");
            lines.push(Line::from(Span::styled(whole, app.theme.selected())));
            continue;
        }
        let words_style = if entry.level == Level::Failure { style } else { ratatui::style::Style::new() };
        lines.push(Line::from(vec![
            Span::styled(begin, app.theme.dim()),
            Span::styled(format!("{mark} "), style),
            Span::styled(line, words_style),
        ]));
    }
    lines
}
