//! Measured numbers as a line each: `✓ Replication lag  0.4 s  ▁▁▂▁▁▃▁  warn 5 bad 30`.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Gravity, Series};
use crate::tui::app::App;
use crate::tui::pace::Pace;
use crate::tui::text;

/// A number with two digits behind the point, or fewer where they say nothing.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub(super) fn line(app: &App, series: &Series, width: usize) -> Line<'static> {
    let last = series.points.iter().rev().find_map(|(_, value)| *value);
    let (glyph, style) = match last {
        Some(value) => gravity_of(app, series, value),
        None => app.theme.gravity(Gravity::Warning),
    };
    let now = last.map_or_else(|| "no data".to_owned(), |value| format!("{} {}", number(value), series.unit));
    let limits = format!("  warn {} bad {}", number(series.warn), number(series.bad));
    let title = text::left(&series.title, 24.min(width / 3), app.theme.ellipsis());
    let now = text::right(&now, 14.min(width / 4), app.theme.ellipsis());
    let taken = text::width(&title) + text::width(&now) + text::width(&limits) + 6;
    let mut line = Line::from(vec![
        Span::styled(format!(" {glyph} "), style),
        Span::raw(title),
        Span::styled(now, style),
        Span::raw("  "),
    ]);
    line.extend(spark(app, series, width.saturating_sub(taken)));
    line.push_span(Span::styled(limits, app.theme.dim()));
    line
}

/// The last points as heights, each in the colour of its threshold; the scale goes up to the limit, or to the highest point
/// above it.
fn spark(app: &App, series: &Series, room: usize) -> Vec<Span<'static>> {
    let first = series.points.len().saturating_sub(room);
    let points = series.points.get(first..).unwrap_or_default();
    let top = points.iter().filter_map(|(_, value)| *value).fold(series.bad.max(f64::MIN_POSITIVE), f64::max);
    points
        .iter()
        .map(|(_, value)| match value {
            None => Span::raw(" "),
            Some(value) => Span::styled(height(app, value / top), gravity_of(app, series, *value).1),
        })
        .collect()
}

fn gravity_of(app: &App, series: &Series, value: f64) -> (&'static str, Style) {
    app.theme.gravity(if value > series.bad {
        Gravity::Blocking
    } else if value > series.warn {
        Gravity::Warning
    } else {
        Gravity::Good
    })
}

/// One of eight heights.
fn height(app: &App, share: f64) -> &'static str {
    let share = share.clamp(0.0, 1.0);
    // Which of the eight steps: counted up instead of cast.
    let at = (1_u8..8).take_while(|step| share * 8.0 >= f64::from(*step)).count();
    app.theme.heights().get(at).copied().unwrap_or(" ")
}

/// `throughput  3.50 MiB/s  ▁▂▅▇▇▆  most 5.10 MiB/s`
pub(super) fn pace(app: &App, pace: &Pace, width: usize) -> Line<'static> {
    let rates = pace.rates();
    let per_second = |rate: u64| format!("{}/s", text::bytes(rate));
    let most = rates.iter().copied().max().unwrap_or(0);
    let now = format!(" throughput  {}  ", per_second(rates.back().copied().unwrap_or(0)));
    let limit = format!("  most {}", per_second(most));
    let room = width.saturating_sub(text::width(&now) + text::width(&limit) + 1);
    // Eighths in whole numbers: up to the highest of all.
    let step = |rate: &u64| u128::from(*rate) * 8 / u128::from(most.max(1));
    let bars: String = rates
        .iter()
        .skip(rates.len().saturating_sub(room))
        .map(|rate| {
            let at = usize::try_from(step(rate)).unwrap_or(7).min(7);
            app.theme.heights().get(at).copied().unwrap_or(" ")
        })
        .collect();
    Line::from(vec![
        Span::styled(now, app.theme.dim()),
        Span::styled(bars, app.theme.active()),
        Span::styled(limit, app.theme.dim()),
    ])
}
