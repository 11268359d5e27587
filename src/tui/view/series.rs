//! Measured numbers as a line each: `✓ Replication lag  0.4 s  ▁▁▂▁▁▃▁  warn 5 bad 30`.

use ratatui::text::{Line, Span};

use crate::incident::{Gravity, Series};
use crate::tui::app::App;
use crate::tui::text;

/// A number with two digits behind the point, or fewer where they say nothing.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub(super) fn line(app: &App, series: &Series, width: usize) -> Line<'static> {
    let last = series.points.iter().rev().find_map(|(_, value)| *value);
    let gravity = match last {
        Some(value) if value > series.bad => Gravity::Blocking,
        Some(value) if value > series.warn => Gravity::Warning,
        Some(_) => Gravity::Good,
        None => Gravity::Warning,
    };
    let (glyph, style) = app.theme.gravity(gravity);
    let now = last.map_or_else(|| "no data".to_owned(), |value| format!("{} {}", number(value), series.unit));
    let limits = format!("  warn {} bad {}", number(series.warn), number(series.bad));
    let title = text::left(&series.title, 24.min(width / 3), app.theme.ellipsis());
    let now = text::right(&now, 14.min(width / 4), app.theme.ellipsis());
    let taken = text::width(&title) + text::width(&now) + text::width(&limits) + 6;
    Line::from(vec![
        Span::styled(format!(" {glyph} "), style),
        Span::raw(title),
        Span::styled(now, style),
        Span::raw("  "),
        Span::styled(spark(app, series, width.saturating_sub(taken)), style),
        Span::styled(limits, app.theme.dim()),
    ])
}

/// The last points as heights; the scale goes up to the limit, or to the highest point above it.
fn spark(app: &App, series: &Series, room: usize) -> String {
    let heights = app.theme.heights();
    let first = series.points.len().saturating_sub(room);
    let points = series.points.get(first..).unwrap_or_default();
    let top = points.iter().filter_map(|(_, value)| *value).fold(series.bad.max(f64::MIN_POSITIVE), f64::max);
    points
        .iter()
        .map(|(_, value)| {
            let Some(value) = value else { return " " };
            let share = (value / top).clamp(0.0, 1.0);
            // Which of the eight steps: counted up instead of cast.
            let at = (1_u8..8).take_while(|step| share * 8.0 >= f64::from(*step)).count();
            heights.get(at).copied().unwrap_or(" ")
        })
        .collect()
}
