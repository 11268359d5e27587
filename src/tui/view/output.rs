//! What an attempt prints, as it prints it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::tui::action::UiAction;
use crate::tui::app::{App, Pane};
use crate::tui::output::OutputLine;
use crate::tui::text;

use super::{series, window};

pub(super) fn render(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let attempt = app.attempt();
    let buffer = attempt.and_then(|attempt| app.output.get(attempt.id));
    let note = attempt.map_or_else(Line::default, |attempt| {
        let how = if app.ui.line.is_some() {
            format!("paused, {} follows", app.key(UiAction::Follow))
        } else if attempt.outcome.is_none() {
            "following".to_owned()
        } else {
            "ended".to_owned()
        };
        let dot = app.theme.dot();
        let count = text::width(" 3 Output ") + 4;
        let words = format!(" {} {dot} attempt {} {dot} {how} ", attempt.step, attempt.id);
        let room = usize::from(area.width).saturating_sub(count);
        Line::from(Span::styled(text::fit(&words, room, app.theme.ellipsis()), app.theme.dim()))
    });
    let inside = super::pane_frame(frame, area, app, Pane::Output, note);
    let measured = attempt.and_then(|attempt| app.series.get(&attempt.step)).map(Vec::as_slice).unwrap_or_default();
    let strip = text::cells(measured.len()).min(inside.height / 2);
    let [strip, inside] = Layout::vertical([Constraint::Length(strip), Constraint::Min(0)]).areas(inside);
    let rows: Vec<Line<'_>> =
        measured.iter().map(|series| series::line(app, series, usize::from(strip.width))).collect();
    frame.render_widget(Paragraph::new(rows), strip);
    let Some(buffer) = buffer.filter(|buffer| !buffer.lines().is_empty()) else {
        let words = match attempt {
            None => "nothing has run yet",
            Some(attempt) if attempt.outcome.is_none() => "no output yet",
            Some(_) => "it printed nothing",
        };
        frame.render_widget(Paragraph::new(Span::styled(format!(" {words}"), app.theme.dim())), inside);
        return;
    };
    let lines = buffer.lines();
    let height = usize::from(inside.height);
    let selected = app.ui.line.map(|offset| buffer.at(offset));
    let first = selected.map_or(lines.len().saturating_sub(height), |at| window(at, lines.len(), height));
    let focused = app.ui.pane == Pane::Output;
    let needle = app.ui.needle.to_lowercase();
    let seen: Vec<Line<'_>> = lines
        .iter()
        .enumerate()
        .skip(first)
        .take(height)
        .map(|(at, line)| line_of(app, line, usize::from(inside.width), selected == Some(at) && focused, &needle))
        .collect();
    frame.render_widget(Paragraph::new(seen), inside);
}

fn line_of(app: &App, line: &OutputLine, width: usize, selected: bool, needle: &str) -> Line<'static> {
    let before = if selected { app.theme.cursor() } else { " " };
    let words = text::fit(&line.text, width.saturating_sub(1), app.theme.ellipsis());
    if selected {
        let whole = text::left(&format!("{before}{words}"), width, "");
        return Line::from(Span::styled(whole, app.theme.selected()));
    }
    let mut spans = vec![Span::raw(before)];
    spans.extend(highlighted(app, &words, needle));
    Line::from(spans)
}

/// The text in pieces, with every match marked.
fn highlighted(app: &App, words: &str, needle: &str) -> Vec<Span<'static>> {
    let lower = words.to_lowercase();
    // Lower case of some letters has another length; places found there would not fit the text.
    if needle.is_empty() || lower.len() != words.len() {
        return vec![Span::raw(words.to_owned())];
    }
    let mut spans = Vec::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(needle) {
        let (Some(before), Some(found)) = (words.get(from..at), words.get(at..at + found.len())) else { continue };
        spans.push(Span::raw(before.to_owned()));
        spans.push(Span::styled(found.to_owned(), app.theme.found()));
        from = at + found.len();
    }
    spans.push(Span::raw(words.get(from..).unwrap_or_default().to_owned()));
    spans
}
