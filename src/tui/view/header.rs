//! ` relight  INC-7F3K   PRODUCTION financecopilot   RTO 00:23:41 / 1h since onset   loses 3h02m   engine ●`

use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{State, duration_text};
use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::text;

use super::Canvas;

/// A part of the header; where not all fit, those with the lowest rank come first.
struct Part {
    rank: u8,
    /// It belongs to the part before it.
    glued: bool,
    spans: Vec<(String, Style)>,
}

fn part(rank: u8, words: impl Into<String>, style: Style) -> Part {
    Part { rank, glued: false, spans: vec![(words.into(), style)] }
}

pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App) {
    let parts = parts(app);
    let cost = |part: &Part| {
        part.spans.iter().map(|(words, _)| text::width(words)).sum::<usize>() + if part.glued { 1 } else { 2 }
    };
    let mut ranked: Vec<&Part> = parts.iter().collect();
    ranked.sort_by_key(|part| part.rank);
    // The first one stands a column further left than the others.
    let mut room = usize::from(area.width) + 1;
    let kept: Vec<&Part> = ranked
        .into_iter()
        .filter(|part| {
            let fits = part.rank == 0 || cost(part) <= room;
            room = room.saturating_sub(if fits { cost(part) } else { 0 });
            fits
        })
        .collect();
    let shown = parts.iter().filter(|part| kept.iter().any(|kept| std::ptr::eq(*kept, *part)));
    super::put(canvas, area, &[line_of(shown)]);
}

/// All of it, for whoever has no screen.
pub(in crate::tui) fn words(app: &App) -> String {
    let words = line_of(parts(app).iter()).spans.iter().map(|span| span.content.as_ref()).collect::<String>();
    words.trim().to_owned()
}

fn line_of<'a>(parts: impl Iterator<Item = &'a Part>) -> Line<'static> {
    let mut line = Line::default();
    for (at, part) in parts.enumerate() {
        line.push_span(Span::raw(gap(at, part)));
        for (words, style) in &part.spans {
            line.push_span(Span::styled(words.clone(), *style));
        }
    }
    line
}

fn gap(at: usize, part: &Part) -> &'static str {
    if at == 0 || part.glued { " " } else { "  " }
}

fn parts(app: &App) -> Vec<Part> {
    let theme = app.theme;
    let Some(state) = &app.state else {
        return vec![part(0, "relight", theme.strong()), part(1, "waiting for the engine", theme.dim())];
    };
    let mut parts = vec![part(9, "relight", theme.strong()), part(4, state.id.to_string(), theme.strong())];
    let word = text::clean(&state.environment).to_uppercase();
    let plate = theme.plate(&state.environment);
    parts.push(part(0, format!(" {} ", text::fit(&word, 16, theme.ellipsis())), plate));
    parts.push(part(5, text::fit(&state.database, 32, theme.ellipsis()), Style::new()));
    parts.extend(clock(app, state));
    if let Some(taken_at) = state.snapshot_time() {
        parts.push(part(2, format!("loses {}", duration_text(app.loses(taken_at))), theme.warning()));
    }
    if let left @ 1.. = state.unvalidated().len() {
        let words = format!("serving, {left} {} unvalidated", if left == 1 { "constraint" } else { "constraints" });
        parts.push(part(3, words, theme.warning()));
    }
    if app.is_call_due() {
        parts.push(part(2, format!("{} call", app.key(UiAction::Escalation)), theme.bad()));
    }
    if app.watching.is_some() {
        parts.push(part(0, "WATCHING", theme.warning()));
    }
    if app.people.len() > 1 {
        parts.push(part(9, format!("{} people", app.people.len()), theme.dim()));
    }
    let doubtful = state.doubtful_messages().count();
    if doubtful > 0 {
        parts.push(part(2, format!("{} {doubtful} in doubt", app.key(UiAction::Outbox)), theme.bad()));
    }
    if app.unsent() > 0 {
        parts.push(part(3, format!("{} unsent", app.unsent()), theme.warning()));
    }
    let engine = match (&app.lost, state.closed_at) {
        (None, _) => {
            if app.size.0 >= 100 {
                parts.push(part(7, "engine", theme.dim()));
            }
            Part { glued: true, ..part(1, theme.engine(true), theme.good()) }
        }
        (Some(_), Some(_)) => part(1, "closed", theme.dim()),
        (Some(_), None) => part(1, format!("engine {} lost", theme.engine(false)), theme.bad()),
    };
    parts.push(engine);
    parts
}

fn clock(app: &App, state: &State) -> Vec<Part> {
    let theme = app.theme;
    // A clock that does not run from the onset must say so before anything else is said.
    let (from, label, rank) = match state.onset() {
        Some(onset) => (onset, "since onset", 8),
        None => (state.opened_at, "since opened", 1),
    };
    let back = state.service_back_at().filter(|_| state.onset().is_some());
    let until = back.or(state.closed_at).unwrap_or(app.now);
    let elapsed = elapsed(from, until);
    let over = elapsed > state.rto;
    let style = if over {
        theme.bad()
    } else if elapsed * 4 > state.rto * 3 {
        theme.warning()
    } else {
        theme.strong()
    };
    let mut parts = vec![part(0, format!("RTO {}", hours(elapsed)), style)];
    if over {
        parts.push(Part { glued: true, ..part(2, "OVER", theme.bad()) });
    }
    parts.push(Part { glued: true, ..part(3, format!("/ {}", duration_text(state.rto)), theme.dim()) });
    let label = if back.is_some() { "until service was back" } else { label };
    parts.push(Part { glued: true, ..part(rank, label, theme.dim()) });
    parts
}

fn elapsed(from: Timestamp, until: Timestamp) -> SignedDuration {
    until.duration_since(from).max(SignedDuration::ZERO)
}

fn hours(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60)
}
