//! What happened, in UTC or in the person's own time, with what people wrote and where it was sent.

use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Level, Sending, TimelineEntry};
use crate::tui::action::UiAction;
use crate::tui::app::{App, Pane};
use crate::tui::history;
use crate::tui::text;

use super::Canvas;

/// Columns before an entry's words: the cursor, the time, the mark.
const INDENT: usize = 13;

pub(super) fn fill(canvas: &mut Canvas<'_>, inside: Rect, app: &App) {
    let Some(state) = &app.state else { return };
    let (height, width) = (usize::from(inside.height), usize::from(inside.width));
    let Some(selected) = history::selected(app) else {
        let words = text::fit(
            &format!(" no milestone yet; {} shows everything", app.key(UiAction::Milestones)),
            width,
            app.theme.ellipsis(),
        );
        super::put(canvas, inside, &[Line::from(Span::styled(words, app.theme.dim()))]);
        return;
    };
    // Rows are built from the selected entry outwards until the pane is full: a long history costs nothing.
    let is_shown = |(_, entry): &(usize, &TimelineEntry)| history::is_shown(app, entry);
    let entries = || state.timeline.iter().enumerate();
    let mut below = Vec::new();
    let mut previous = state.timeline.get(selected);
    for (_, entry) in entries().skip(selected + 1).filter(is_shown) {
        below.extend(entry_lines(app, entry, false, previous, width));
        previous = Some(entry);
        if below.len() >= height / 2 {
            break;
        }
    }
    below.truncate(height / 2);
    let room = height.saturating_sub(below.len());
    let mut lines: Vec<Line<'_>> = Vec::new();
    let mut above = entries().take(selected + 1).rev().filter(is_shown).peekable();
    while let Some((at, entry)) = above.next() {
        let marked = at == selected && app.ui.pane == Pane::Timeline && app.ui.entry.is_some();
        let mut more = entry_lines(app, entry, marked, above.peek().map(|(_, entry)| *entry), width);
        more.append(&mut lines);
        lines = more;
        if lines.len() >= room {
            break;
        }
    }
    let cut = lines.len().saturating_sub(room);
    let mut seen: Vec<Line<'_>> = lines.split_off(cut);
    seen.extend(below);
    super::put(canvas, inside, &seen);
}

/// What the pane's title says besides: whose time, which entries, what is not sent.
pub(super) fn note(app: &App, width: usize) -> Line<'static> {
    let mut parts = Vec::new();
    if app.ui.local {
        parts.push((format!("time of {}", history::zone_name(&app.zone)), app.theme.active()));
    }
    if app.ui.milestones {
        parts.push(("milestones only".to_owned(), app.theme.active()));
    }
    let unsent = app.unsent();
    if unsent > 0 {
        let why = app.outbox_waits.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        parts.push((format!("{unsent} unsent{why}"), app.theme.warning()));
    }
    if app.ui.entry.is_some() {
        parts.push((format!("paused, {} follows", app.key(UiAction::Follow)), app.theme.dim()));
    }
    let mut room = width.saturating_sub(17);
    let mut line = Line::default();
    for (words, style) in parts {
        let words = text::fit(&format!(" {words} "), room, app.theme.ellipsis());
        room = room.saturating_sub(text::width(&words));
        line.push_span(Span::styled(words, style));
    }
    line
}

fn entry_lines(
    app: &App,
    entry: &TimelineEntry,
    marked: bool,
    previous: Option<&TimelineEntry>,
    width: usize,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let day = history::day(app, entry.at);
    if previous.is_none_or(|previous| history::day(app, previous.at) != day) {
        lines.push(Line::from(Span::styled(format!(" {day}"), app.theme.dim())));
    }
    let (glyph, style) = app.theme.level(entry.level);
    let room = width.saturating_sub(INDENT);
    let words_style = match entry.level {
        Level::Failure => style,
        Level::Note => app.theme.strong(),
        Level::Normal | Level::Warning => Style::new(),
    };
    let mut rows: Vec<Vec<Span<'static>>> = text::wrap(&history::words(entry), room)
        .into_iter()
        .map(|row| vec![Span::styled(row, if marked { app.theme.selected() } else { words_style })])
        .collect();
    for (words, style) in told(app, entry) {
        let taken = rows.last().map_or(0, |row| row.iter().map(Span::width).sum::<usize>());
        let words = text::fit(&words, room, app.theme.ellipsis());
        let style = if marked { app.theme.selected() } else { style };
        match rows.last_mut() {
            Some(row) if taken > 0 && taken + 2 + text::width(&words) <= room => {
                let between = if marked { app.theme.selected() } else { Style::new() };
                row.extend([Span::styled("  ", between), Span::styled(words, style)]);
            }
            _ => rows.push(vec![Span::styled(words, style)]),
        }
    }
    for (at, row) in rows.into_iter().enumerate() {
        let cursor = if marked { app.theme.cursor() } else { " " };
        let begin =
            if at == 0 { format!("{cursor}{} {glyph} ", history::time(app, entry.at)) } else { " ".repeat(INDENT) };
        let begin = text::left(&begin, INDENT.min(width), "");
        let begin_style = if marked {
            app.theme.selected()
        } else if at == 0 && entry.level != Level::Normal {
            style
        } else {
            app.theme.dim()
        };
        let mut line = Line::from(Span::styled(begin, begin_style));
        line.extend(row);
        if marked {
            let missing = width.saturating_sub(line.width());
            line.push_span(Span::styled(" ".repeat(missing), app.theme.selected()));
        }
        lines.push(line);
    }
    lines
}

/// Where an entry was sent. What has arrived and what waits for its turn say so by their marks; what needs an eye says it
/// in words.
fn told(app: &App, entry: &TimelineEntry) -> Vec<(String, Style)> {
    let Some(state) = &app.state else { return Vec::new() };
    let words = |told: crate::incident::Told| {
        let (glyph, style) = app.theme.sending(told.how);
        let channel = told.channel.name();
        let words = match told.how {
            Sending::Sent | Sending::Planned => format!("{glyph} {channel}"),
            how => format!("{glyph} {channel} {}", how.name()),
        };
        (words, style)
    };
    state.told(entry).into_iter().map(words).collect()
}
