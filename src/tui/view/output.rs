//! What an attempt prints, as it prints it.

use std::ops::Range;

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar as _;

use crate::incident::{Attempt, duration_text};
use crate::tui::action::UiAction;
use crate::tui::ansi::Tone;
use crate::tui::app::{App, LongLines, Pane};
use crate::tui::output::{Buffer, OutputLine};
use crate::tui::seek;
use crate::tui::text;

use super::{Canvas, series, window};

/// A program that prints nothing for so long is said to be silent.
const SILENCE: i64 = 30;

pub(super) fn fill(canvas: &mut Canvas<'_>, inside: Rect, app: &App) {
    let attempt = app.attempt();
    let buffer = attempt.and_then(|attempt| app.output.get(attempt.id));
    let measured = attempt.and_then(|attempt| app.series.get(&attempt.step)).map(Vec::as_slice).unwrap_or_default();
    let room = usize::from(inside.width);
    let mut rows: Vec<Line<'_>> = measured.iter().map(|series| series::line(app, series, room)).collect();
    let pace = attempt.and_then(|attempt| app.paces.get(&attempt.id)).filter(|pace| pace.rates().len() > 1);
    // A small pane is for what is printed.
    if let Some(pace) = pace.filter(|_| inside.height >= 6) {
        rows.push(series::pace(app, pace, room));
    }
    let strip = text::cells(rows.len()).min(inside.height / 2);
    let [strip, inside] = Layout::vertical([Constraint::Length(strip), Constraint::Min(0)]).areas(inside);
    super::put(canvas, strip, &rows);
    let Some(buffer) = buffer.filter(|buffer| !buffer.lines().is_empty()) else {
        let fault = attempt.and_then(|attempt| app.output.fault(attempt.id));
        let words = match attempt {
            None => "nothing has run yet",
            Some(_) if fault.is_some() => fault.unwrap_or_default(),
            Some(_) if app.ui.line.is_some() => "reading the log",
            Some(attempt) if attempt.outcome.is_none() => "no output yet",
            Some(_) => "it printed nothing",
        };
        super::put(canvas, inside, &[Line::from(Span::styled(format!(" {words}"), app.theme.dim()))]);
        return;
    };
    let (width, height) = (usize::from(inside.width), usize::from(inside.height));
    let seen = match app.ui.long {
        LongLines::Wrapped => wrapped(app, buffer, width, height),
        LongLines::From(column) => cut(app, buffer, column, (width, height)),
    };
    super::put(canvas, inside, &seen);
}

/// Whose output it is, how it is followed, and what is searched for in it.
pub(super) fn note(app: &App, width: usize) -> Line<'static> {
    let Some(attempt) = app.attempt() else { return Line::default() };
    let buffer = app.output.get(attempt.id);
    let (theme, dot) = (app.theme, app.theme.dot());
    let mut how = if app.ui.line.is_some() {
        let follows = format!("{} follows", app.key(UiAction::Follow));
        match buffer.map(Buffer::news).filter(|(lines, _)| *lines > 0) {
            Some((lines, more)) => {
                format!("paused, {}{} new, {follows}", text::count(lines), if more { "+" } else { "" })
            }
            None => format!("paused, {follows}"),
        }
    } else if attempt.outcome.is_none() {
        "following".to_owned()
    } else if attempt.is_being_asked() {
        "may go on".to_owned()
    } else {
        "ended".to_owned()
    };
    if let LongLines::From(column @ 1..) = app.ui.long {
        how = format!("{how} {dot} from column {}", column + 1);
    }
    let mut line = Line::default();
    let mut room = width.saturating_sub(text::width(" 3 Output ") + 4);
    let mut push = |words: String, style: Style| {
        let words = text::fit(&words, room, theme.ellipsis());
        room = room.saturating_sub(text::width(&words));
        line.push_span(Span::styled(words, style));
    };
    push(format!(" {} {dot} {} {dot} {how} ", attempt.step, tabs(app, attempt)), theme.dim());
    if let Some(words) = stalled(app, attempt, buffer) {
        push(format!("{dot} {words} "), theme.warning());
    }
    if let Some(search) = seek::current(app) {
        let (count, whole) = search.count();
        let number = app.ui.line.and_then(|line| search.number(line));
        let number = number.map_or_else(String::new, |number| format!("{number} of "));
        let more = if whole { "" } else { "+" };
        let percent = search.percent().map_or_else(String::new, |percent| format!(", {percent} % searched"));
        push(
            format!("{dot} /{}  {number}{}{more}{percent} ", search.needle, text::count(count as u64)),
            theme.active(),
        );
    }
    line
}

/// Attempts of the step that are named before the one looked at, and as many after it.
const BESIDE: usize = 3;

/// `attempt 19`; with those before and after it where the step has more: `attempts … 16 17 18 [19]`.
fn tabs(app: &App, attempt: &Attempt) -> String {
    let all = app.state.as_ref().and_then(|state| state.steps.get(&attempt.step)).map(|step| step.attempts.as_slice());
    let all = all.unwrap_or_default();
    // Attempts are numbered in the order in which they began.
    let Some(at) = all.binary_search(&attempt.id).ok().filter(|_| all.len() > 1) else {
        return format!("attempt {}", attempt.id);
    };
    let (from, to) = (at.saturating_sub(BESIDE), all.len().min(at + BESIDE + 1));
    let mut words = vec!["attempts".to_owned()];
    let more = app.theme.ellipsis();
    words.extend((from > 0).then(|| more.to_owned()));
    words.extend(
        all.iter().take(to).skip(from).map(|id| if *id == attempt.id { format!("[{id}]") } else { id.to_string() }),
    );
    words.extend((to < all.len()).then(|| more.to_owned()));
    words.join(" ")
}

/// Nothing moves, or nothing is printed.
fn stalled(app: &App, attempt: &Attempt, buffer: Option<&Buffer>) -> Option<String> {
    if attempt.outcome.is_some() {
        return None;
    }
    // Whoever says how far it is also says when it stalls.
    if let Some(progress) = app.progress.get(&attempt.id) {
        return progress.stalled.as_ref().map(|why| format!("stalled: {why}"));
    }
    let silent = app.now.duration_since(buffer?.heard()?);
    (silent.as_secs() >= SILENCE).then(|| format!("silent for {}", duration_text(silent)))
}

/// A row a line, from the column on that the person moved to.
fn cut(app: &App, buffer: &Buffer, column: usize, (width, height): (usize, usize)) -> Vec<Line<'static>> {
    let lines = buffer.lines();
    let selected = app.ui.line.map(|offset| buffer.at(offset));
    let first = selected.map_or(lines.len().saturating_sub(height), |at| window(at, lines.len(), height));
    let row = |(at, line): (usize, &OutputLine)| {
        let marked = selected == Some(at) && app.ui.pane == Pane::Output;
        let spans = part(spans(app, line, marked), column, width.saturating_sub(1), app.theme.ellipsis());
        framed(app, spans, marked, true, width)
    };
    lines.iter().enumerate().skip(first).take(height).map(row).collect()
}

/// As many rows a line as it takes, built from the selected line outwards.
fn wrapped(app: &App, buffer: &Buffer, width: usize, height: usize) -> Vec<Line<'static>> {
    let lines = buffer.lines();
    let selected = app.ui.line.map(|offset| buffer.at(offset));
    let at = selected.unwrap_or(lines.len().saturating_sub(1));
    let rows = |at: usize, line: &OutputLine| -> Vec<Line<'static>> {
        let marked = selected == Some(at) && app.ui.pane == Pane::Output;
        let mut spans = spans(app, line, marked);
        let room = width.saturating_sub(1).max(1);
        let mut rows = Vec::new();
        loop {
            let (row, rest) = split(spans, room);
            rows.push(framed(app, row, marked, rows.is_empty(), width));
            if rest.is_empty() || rows.len() >= height {
                return rows;
            }
            spans = rest;
        }
    };
    let mut above: Vec<Line<'static>> = Vec::new();
    for (at, line) in lines.iter().enumerate().take(at + 1).rev() {
        let mut more = rows(at, line);
        more.append(&mut above);
        above = more;
        if above.len() >= height {
            break;
        }
    }
    let mut below: Vec<Line<'static>> = Vec::new();
    for (at, line) in lines.iter().enumerate().skip(at + 1) {
        if below.len() >= height {
            break;
        }
        below.extend(rows(at, line));
    }
    // The selected line stays in the middle, but nothing is left empty.
    let under = below.len().min((height / 2).max(height.saturating_sub(above.len())));
    let over = above.len().min(height - under.min(height));
    let mut seen = above.split_off(above.len() - over);
    seen.extend(below.into_iter().take(under));
    seen
}

/// A row with the cursor before it, reversed to the border where it is the selected one.
fn framed(app: &App, spans: Vec<Span<'static>>, marked: bool, first: bool, width: usize) -> Line<'static> {
    let before = if marked && first { app.theme.cursor() } else { " " };
    let mut line = Line::from(Span::styled(before, if marked { app.theme.selected() } else { Style::new() }));
    line.extend(spans);
    if marked {
        let missing = width.saturating_sub(line.width());
        line.push_span(Span::styled(" ".repeat(missing), app.theme.selected()));
    }
    line
}

fn style_of(app: &App, tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => app.theme.good(),
        Tone::Warning => app.theme.warning(),
        Tone::Bad => app.theme.bad(),
        Tone::Active => app.theme.active(),
        Tone::Dim => app.theme.dim(),
        Tone::Strong => app.theme.strong(),
    }
}

/// A line in its tones, with every match marked.
fn spans(app: &App, line: &OutputLine, marked: bool) -> Vec<Span<'static>> {
    let words = line.text.as_str();
    let matches = matches(words, &app.ui.needle);
    let mut borders: Vec<usize> = line.tones.iter().map(|(at, _)| *at).collect();
    borders.extend(matches.iter().flat_map(|at| [at.start, at.end]));
    borders.extend([0, words.len()]);
    borders.sort_unstable();
    borders.dedup();
    let piece = |pair: &[usize]| {
        let [from, to] = *pair else { return None };
        let tone = line.tones.partition_point(|(at, _)| *at <= from).checked_sub(1).and_then(|at| line.tones.get(at));
        let style =
            if marked { app.theme.selected() } else { tone.map_or(Style::new(), |(_, tone)| style_of(app, *tone)) };
        let found = matches.iter().any(|at| at.contains(&from));
        let style = match (found, marked) {
            (true, false) => app.theme.found(),
            (true, true) => style.add_modifier(ratatui::style::Modifier::UNDERLINED | ratatui::style::Modifier::BOLD),
            _ => style,
        };
        Some(Span::styled(words.get(from..to)?.to_owned(), style))
    };
    borders.windows(2).filter_map(piece).collect()
}

/// Where a text holds what is searched for; small letters match capitals too.
fn matches(words: &str, needle: &str) -> Vec<Range<usize>> {
    if needle.is_empty() {
        return Vec::new();
    }
    let places =
        |hay: &str, needle: &str| hay.match_indices(needle).map(|(at, found)| at..at + found.len()).collect::<Vec<_>>();
    if needle.chars().any(char::is_uppercase) {
        return places(words, needle);
    }
    // Only these letters keep their length.
    places(&words.to_ascii_lowercase(), &needle.to_ascii_lowercase())
}

/// The first `columns` of a text, and the rest.
fn split(spans: Vec<Span<'static>>, columns: usize) -> (Vec<Span<'static>>, Vec<Span<'static>>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut used = 0;
    for span in spans {
        if !after.is_empty() {
            after.push(span);
            continue;
        }
        let fits = |(_, c): &(usize, char)| {
            used += c.width().unwrap_or(0);
            used > columns
        };
        match span.content.char_indices().find(fits) {
            None => before.push(span),
            Some((at, _)) => {
                let (left, right) = span.content.split_at(at);
                before.push(Span::styled(left.to_owned(), span.style));
                after.push(Span::styled(right.to_owned(), span.style));
            }
        }
    }
    // A character wider than the whole column can be shown nowhere.
    if before.iter().all(|span| span.content.is_empty()) && !after.is_empty() {
        return (before, Vec::new());
    }
    (before, after)
}

/// A stretch of columns of a text, with a mark where it goes on.
fn part(spans: Vec<Span<'static>>, from: usize, columns: usize, mark: &'static str) -> Vec<Span<'static>> {
    let spans = if from == 0 { spans } else { split(spans, from).1 };
    if spans.iter().map(Span::width).sum::<usize>() <= columns {
        return spans;
    }
    let mut seen = split(spans, columns.saturating_sub(text::width(mark))).0;
    if columns > 0 {
        seen.push(Span::raw(mark));
    }
    seen
}
