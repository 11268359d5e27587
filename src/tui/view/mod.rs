//! What is on screen. Views read [`App`] and write nothing but their own area.
//!
//! ```text
//!  header                                             one row
//!  ┌ 1 Checklist ┐┌ 2 Snapshots ────────────────────┐
//!  │             │├ 3 Output ───────────────────────┤ on a small screen one of them, under a row of tabs
//!  │             │├ 4 Timeline ─────────────────────┤
//!  └─────────────┘└─────────────────────────────────┘
//!  footer                                             one row
//! ```

mod alarm;
mod canvas;
mod card;
mod checklist;
mod compare;
mod details;
mod escalation;
mod export;
mod footer;
mod form;
mod header;
mod help;
mod hit;
mod log;
mod output;
mod palette;
mod phases;
mod prompt;
mod series;
mod sheet;
mod snapshot_details;
mod snapshots;
mod tabs;
mod timeline;

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border::Set;
use ratatui::symbols::merge::MergeStrategy;
use ratatui::text::{Line, Span};
use ratatui::widgets::Clear;

use super::app::{App, Pane, SMALLEST};
use super::card::{Card, Sight, Stage};
use super::overlay::Overlay;
use super::text;
use super::theme::Theme;
pub(super) use canvas::Canvas;
pub(super) use checklist::{how_far, standing};
pub(super) use header::words as status;
pub(super) use hit::hit;
use sheet::Sheet;

/// Columns of a screen on which nothing is wrapped.
const ONE_LINE: usize = 20_000;
/// Columns of one where lines hold bars.
const ONE_BAR: usize = 76;

/// Draws everything.
pub(super) fn draw(canvas: &mut Canvas<'_>, app: &App) {
    everything(canvas, app);
    ground(canvas, app.theme);
    scrub(canvas, app.theme);
}

/// What a move of the cursor is seen by, while nothing lies over the panes: the focused pane and the keys.
pub(super) fn under_the_eye(app: &App) -> [Rect; 2] {
    let [_, _, foot] = outer(app.area());
    // The focused pane is drawn last.
    let pane = pane_areas(under_alarm(app), app).pop().map_or(Rect::ZERO, |(_, area)| inside(area));
    [pane, foot]
}

/// Draws one of the parts that [`under_the_eye`] names, as [`draw`] would.
pub(super) fn draw_part(canvas: &mut Canvas<'_>, app: &App) {
    let area = canvas.area();
    // Below the keys is nothing.
    if area.bottom() == app.size.1 {
        footer::render(canvas, area, app);
    } else {
        fill(canvas, area, app, app.ui.pane);
    }
    ground(canvas, app.theme);
    scrub(canvas, app.theme);
}

fn everything(canvas: &mut Canvas<'_>, app: &App) {
    let area = canvas.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let words = format!("relight needs {}x{} (now {}x{})", SMALLEST.0, SMALLEST.1, area.width, area.height);
        let lines: Vec<Line<'_>> = text::wrap(&words, usize::from(area.width)).into_iter().map(Line::from).collect();
        put(canvas, area, &lines);
        return;
    }
    let [head, body, foot] = outer(area);
    header::render(canvas, head, app);
    let body = alarm::render(canvas, body, app);
    panes(canvas, body, app);
    footer::render(canvas, footer::area(foot, app), app);
    if app.ui.overlay.as_ref().is_some_and(|overlay| !matches!(overlay, Overlay::Search(_))) {
        // What lies under a card steps back.
        canvas.buffer_mut().set_style(body, app.theme.behind());
    }
    match &app.ui.overlay {
        Some(Overlay::Log) => log::render(canvas, over(body), app),
        Some(overlay) => {
            if let Some(sheet) = sheet_of(app, overlay, sheet::inner_width(body)) {
                sheet::render(canvas, body, app, &sheet);
            }
        }
        None => {}
    }
}

/// Header, body, footer.
fn outer(area: Rect) -> [Rect; 3] {
    Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(area)
}

fn panes(canvas: &mut Canvas<'_>, body: Rect, app: &App) {
    if !app.is_wide() {
        tabs::render(canvas, Rect { height: 1.min(body.height), ..body }, app);
    }
    for (pane, area) in pane_areas(body, app) {
        render(canvas, area, app, pane);
    }
}

/// Where the panes are that are on screen, in the order in which they are drawn.
fn pane_areas(body: Rect, app: &App) -> Vec<(Pane, Rect)> {
    if !app.is_wide() {
        let [_, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(body);
        return vec![(app.ui.pane, area)];
    }
    let left = (body.width / 3).clamp(36, 56);
    let [list, right] = Layout::horizontal([Constraint::Length(left), Constraint::Min(0)]).areas(body);
    let listed = if app.dumps.is_listed() { app.dumps.count() + 2 } else { 2 };
    let most = usize::from(body.height / 3);
    let snapshots = text::cells((listed + 2).clamp(4, most.max(4)));
    let timeline = (body.height / 4).max(5);
    let output = body.height.saturating_sub(snapshots + timeline).saturating_add(2);
    // Neighbours share a border line, so each begins on the last row of the one above.
    let mut areas = vec![
        (Pane::Checklist, list),
        (Pane::Snapshots, Rect { height: snapshots, ..right }),
        (Pane::Output, Rect { y: right.y + snapshots - 1, height: output, ..right }),
        (Pane::Timeline, Rect { y: right.y + snapshots + output - 2, height: timeline, ..right }),
    ];
    // The focused pane goes last, so that its border wins.
    areas.sort_by_key(|(pane, _)| *pane == app.ui.pane);
    areas
}

fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App, pane: Pane) {
    let width = usize::from(area.width);
    let note = match pane {
        Pane::Checklist => Line::default(),
        Pane::Snapshots => snapshots::note(app, width),
        Pane::Output => output::note(app, width),
        Pane::Timeline => timeline::note(app, width),
    };
    pane_frame(canvas, area, app, pane, note);
    fill(canvas, inside(area), app, pane);
}

fn fill(canvas: &mut Canvas<'_>, inside: Rect, app: &App, pane: Pane) {
    match pane {
        Pane::Checklist => checklist::fill(canvas, inside, app),
        Pane::Snapshots => snapshots::fill(canvas, inside, app),
        Pane::Output => output::fill(canvas, inside, app),
        Pane::Timeline => timeline::fill(canvas, inside, app),
    }
}

/// What a pane's frame leaves of its area.
fn inside(area: Rect) -> Rect {
    area.inner(Margin::new(1, 1))
}

/// A pane's frame with its title and a note beside it.
fn pane_frame(canvas: &mut Canvas<'_>, area: Rect, app: &App, pane: Pane, note: Line<'static>) {
    let focused = app.ui.pane == pane;
    let title = format!(" {} {} ", pane.number(), pane.title());
    let mut style = if focused { app.theme.active() } else { app.theme.dim() };
    let mut heading = app.theme.strong();
    if focused {
        style = style.remove_modifier(Modifier::DIM);
        heading = heading.patch(app.theme.selected());
    }
    border(canvas.buffer_mut(), area, app.theme.border(), style);
    let above = Rect { height: 1.min(area.height), ..area }.inner(Margin::new(1, 0));
    let title = Line::from(Span::styled(title, heading));
    let beside = text::cells(title.width() + 1).min(above.width);
    put(canvas, above, &[title]);
    put(canvas, Rect { x: above.x + beside, width: above.width - beside, ..above }, &[note]);
}

/// Draws around an area. Where a neighbour drew already lines are joined, and its words stay.
fn border(buffer: &mut Buffer, area: Rect, set: Set<'_>, style: Style) {
    if area.width < 2 || area.height < 2 {
        return;
    }
    let mut put = |x: u16, y: u16, symbol: &str| {
        let Some(cell) = buffer.cell_mut((x, y)) else { return };
        // To join a line with itself would take longer than all else here.
        if cell.symbol() != symbol {
            cell.merge_symbol(symbol, MergeStrategy::Exact);
        }
        cell.set_style(style);
    };
    let (left, right, top, bottom) = (area.left(), area.right() - 1, area.top(), area.bottom() - 1);
    for x in left + 1..right {
        put(x, top, set.horizontal_top);
        put(x, bottom, set.horizontal_bottom);
    }
    for y in top + 1..bottom {
        put(left, y, set.vertical_left);
        put(right, y, set.vertical_right);
    }
    put(left, top, set.top_left);
    put(right, top, set.top_right);
    put(left, bottom, set.bottom_left);
    put(right, bottom, set.bottom_right);
}

/// The overlay's text for a width; none for overlays that draw themselves.
fn sheet_of(app: &App, overlay: &Overlay, width: usize) -> Option<Sheet> {
    match overlay {
        Overlay::Card(card) => Some(card::sheet(app, card, width)),
        Overlay::Prompt(prompt) => Some(prompt::sheet(app, prompt, width)),
        Overlay::Confirm { confirm, scroll } => Some(Sheet { scroll: *scroll, ..prompt::confirm(app, confirm, width) }),
        Overlay::Settle { attempt, scroll } => Some(Sheet { scroll: *scroll, ..prompt::settle(app, *attempt, width) }),
        Overlay::Palette { editor, selected } => Some(palette::sheet(app, editor, *selected, width)),
        Overlay::Phases { scroll } => Some(phases::sheet(app, *scroll, width)),
        Overlay::Help { scroll } => Some(help::sheet(app, *scroll, width)),
        Overlay::Escalation { selected } => Some(escalation::sheet(app, *selected, width)),
        Overlay::Details { step, scroll } => Some(details::sheet(app, step, *scroll, width)),
        Overlay::Snapshot { key, scroll } => Some(snapshot_details::sheet(app, key, *scroll, width)),
        Overlay::Compare { keys, scroll } => Some(compare::sheet(app, keys, *scroll, width)),
        Overlay::Text { title, text, scroll } => Some(prompt::text(app, title, text, *scroll, width)),
        Overlay::Export(exporting) => Some(export::sheet(app, exporting, width)),
        Overlay::Outbox { selected, scroll } => Some(prompt::outbox(app, *selected, *scroll, width)),
        Overlay::Handover { page, offered, scroll } => Some(prompt::handover(app, page, *offered, *scroll, width)),
        Overlay::Search(_) | Overlay::Log => None,
    }
}

/// What lies over the panes, for whoever has no screen: its title, and each thing in it on one line.
pub(super) fn said(app: &App) -> Vec<String> {
    let Some(overlay) = &app.ui.overlay else { return Vec::new() };
    // Bars are as long as there is room.
    let width = if matches!(overlay, Overlay::Phases { .. }) { ONE_BAR } else { ONE_LINE };
    let Some(sheet) = sheet_of(app, overlay, width) else { return Vec::new() };
    let in_columns = matches!(overlay, Overlay::Snapshot { .. } | Overlay::Compare { .. });
    // What stands in columns on a screen is separated by more than a space.
    let words = |line: &Line<'_>| {
        let line = line.spans.iter().map(|span| span.content.as_ref()).collect::<String>();
        if !in_columns {
            return line.trim().to_owned();
        }
        line.split("   ").map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    };
    let body = sheet.body.iter().map(words);
    // Where nothing is typed into it yet, a field is nothing to read.
    let body = body.filter(|line| !line.is_empty() && line != ">");
    std::iter::once(text::clean(&sheet.title).into_owned()).chain(body).collect()
}

/// Keeps a scrolled overlay within its text, so that the next key moves what is seen.
pub(super) fn clamp_scroll(app: &mut App) {
    let Some(overlay) = &app.ui.overlay else { return };
    if app.is_too_small() {
        return;
    }
    let body = under_alarm(app);
    let Some(sheet) = sheet_of(app, overlay, sheet::inner_width(body)) else { return };
    let most = sheet::most_scroll(body, &sheet);
    match &mut app.ui.overlay {
        Some(Overlay::Card(card)) => {
            card.scroll = card.scroll.min(most);
        }
        Some(overlay) => {
            if let Some(scroll) = overlay.scroll() {
                *scroll = (*scroll).min(most);
            }
        }
        None => {}
    }
}

/// What a frame shows of what a key may consent to; none where there is nothing.
pub(super) fn sight(app: &App) -> Option<Sight> {
    if let Some(digest) = app.ui.overlay.as_ref().and_then(|overlay| overlay.asked(app)) {
        return Some(Sight { digest, size: app.size, rows: 0..0 });
    }
    let card = app.card().filter(|card| card.stage == Stage::Review && !app.is_too_small())?;
    let (_, digest) = card.plan.as_ref()?;
    let body = under_alarm(app);
    let sheet = card::sheet(app, card, sheet::inner_width(body));
    let from = card.scroll.min(sheet::most_scroll(body, &sheet));
    Some(Sight { digest: digest.clone(), size: app.size, rows: from..from + sheet::body_rows(body, &sheet) })
}

/// The area between header and footer, less what an alarm takes.
fn under_alarm(app: &App) -> Rect {
    let [_, body, _] = outer(app.area());
    let taken = alarm::rows(app).min(body.height);
    Rect { y: body.y + taken, height: body.height - taken, ..body }
}

/// Whether something that a consent is about has not been on screen yet.
pub(super) fn is_unread(app: &App, card: &Card) -> bool {
    card::sheet(app, card, sheet::inner_width(under_alarm(app))).essential > card.seen
}

/// Nearly all of an area.
fn over(area: Rect) -> Rect {
    let sides = if area.width > 60 { 2 } else { 0 };
    Rect { x: area.x + sides, width: area.width - 2 * sides, ..area }
}

/// Puts lines into an area, each cut at its right border.
fn put(canvas: &mut Canvas<'_>, area: Rect, lines: &[Line<'_>]) {
    let buffer = canvas.buffer_mut();
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        let mut x = area.left();
        for span in line {
            let (style, room) = (line.style.patch(span.style), area.right().saturating_sub(x));
            if text::is_plain(&span.content) {
                // Nothing has to be known about these characters, and a screen holds few others.
                for letter in span.content.chars().take(usize::from(room)) {
                    if let Some(cell) = buffer.cell_mut((x, y)) {
                        cell.set_char(letter).set_style(style);
                    }
                    x += 1;
                }
            } else {
                x = buffer.set_stringn(x, y, &span.content, usize::from(room), style).0;
            }
        }
    }
}

fn clear(canvas: &mut Canvas<'_>, area: Rect) {
    canvas.render_widget(Clear, area);
}

/// A text with the letters of a match marked: by their style, and underlined where there is no colour.
fn marked(app: &App, words: &str, places: &[Range<usize>], style: Style) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut from = 0;
    for place in places {
        // Places beyond what a narrow column shows of the text are left out.
        let (Some(before), Some(found)) = (words.get(from..place.start), words.get(place.clone())) else { break };
        spans.push(Span::styled(before.to_owned(), style));
        // On the selected row another ink could not be read.
        let letter = if style == app.theme.selected() {
            style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
        } else {
            style.patch(app.theme.letter())
        };
        spans.push(Span::styled(found.to_owned(), letter));
        from = place.end;
    }
    spans.push(Span::styled(words.get(from..).unwrap_or_default().to_owned(), style));
    spans
}

/// First row of a window of `height` rows that holds row `at` of `count`.
fn window(at: usize, count: usize, height: usize) -> usize {
    at.saturating_sub(height / 2).min(count.saturating_sub(height))
}

/// A theme with a ground of its own has it everywhere.
fn ground(canvas: &mut Canvas<'_>, theme: Theme) {
    let base = theme.base();
    if base == Style::new() {
        return;
    }
    for cell in &mut canvas.buffer_mut().content {
        if let (Color::Reset, Some(ink)) = (cell.fg, base.fg) {
            cell.set_fg(ink);
        }
        if let (Color::Reset, Some(ground)) = (cell.bg, base.bg) {
            cell.set_bg(ground);
        }
    }
}

/// The last line of defence: a cell never holds a byte that a terminal would take for an order, nor one that a terminal of
/// ASCII cannot show, wherever the text came from.
fn scrub(canvas: &mut Canvas<'_>, theme: Theme) {
    for cell in &mut canvas.buffer_mut().content {
        // By far the most.
        if let [b' '..=b'~'] = cell.symbol().as_bytes() {
            continue;
        }
        if cell.symbol().chars().any(char::is_control) {
            cell.set_symbol(" ");
        } else if theme.is_ascii() && !cell.symbol().is_ascii() {
            cell.set_symbol(in_ascii(cell.symbol()));
        }
    }
}

/// What comes nearest in one cell.
fn in_ascii(symbol: &str) -> &'static str {
    match symbol {
        "→" => ">",
        "←" => "<",
        "–" | "—" | "−" | "‑" => "-",
        "×" => "x",
        "·" | "…" | "•" => ".",
        "“" | "”" | "„" => "\"",
        "‘" | "’" => "'",
        "\u{a0}" | "\u{3000}" => " ",
        _ => "?",
    }
}
