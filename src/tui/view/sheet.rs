//! A framed text over the panes: a body that scrolls and a foot that stays.

use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Block;

use crate::tui::app::App;
use crate::tui::text;

use super::Canvas;

/// Text over the panes.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) title: String,
    pub(super) body: Vec<Line<'static>>,
    pub(super) foot: Vec<Line<'static>>,
    pub(super) scroll: usize,
    /// A row of the body that must be seen.
    pub(super) keep: Option<usize>,
    /// Where the terminal's cursor goes: row and column of the body.
    pub(super) cursor: Option<(usize, usize)>,
    /// The same in the foot.
    pub(super) foot_cursor: Option<(usize, usize)>,
    /// Rows of the body, from the first on, that nobody may consent to unseen.
    pub(super) essential: usize,
    /// Its frame says that this is for real.
    pub(super) grave: bool,
}

const WIDEST: u16 = 100;

fn outer_width(area: Rect) -> u16 {
    let margin = if area.width > 60 { 4 } else { 0 };
    (area.width - margin).min(WIDEST)
}

/// Columns of text in a sheet over this area.
pub(super) fn inner_width(area: Rect) -> usize {
    usize::from(outer_width(area).saturating_sub(4))
}

/// Rows of the body that are seen at once.
pub(super) fn body_rows(area: Rect, sheet: &Sheet) -> usize {
    usize::from(area.height).saturating_sub(2 + foot_rows(sheet)).min(sheet.body.len())
}

fn foot_rows(sheet: &Sheet) -> usize {
    if sheet.foot.is_empty() { 0 } else { sheet.foot.len() + 1 }
}

/// The furthest that a sheet can be scrolled.
pub(super) fn most_scroll(area: Rect, sheet: &Sheet) -> usize {
    sheet.body.len().saturating_sub(body_rows(area, sheet))
}

pub(super) fn render(canvas: &mut Canvas<'_>, area: Rect, app: &App, sheet: &Sheet) {
    let rows = body_rows(area, sheet);
    let width = outer_width(area);
    let height = text::cells(rows + foot_rows(sheet) + 2).min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    super::clear(canvas, place);
    let style = if sheet.grave { app.theme.bad() } else { app.theme.active() };
    let most = most_scroll(area, sheet);
    let mut scroll = sheet.scroll.min(most);
    if let Some(keep) = sheet.keep {
        // On a screen so small that no row is seen there is nothing to keep in view.
        scroll = scroll.clamp((keep + 1).saturating_sub(rows.max(1)), keep).min(most);
    }
    let title = text::fit(&format!(" {} ", sheet.title), usize::from(width).saturating_sub(4), app.theme.ellipsis());
    let mut block = Block::bordered()
        .border_set(app.theme.border())
        .border_style(style)
        .title(Line::from(Span::styled(title, app.theme.strong())));
    if scroll < most {
        let more = format!(" {} ({}) ", app.theme.more(), most - scroll);
        block = block.title_bottom(Line::from(Span::styled(more, app.theme.warning())).right_aligned());
    }
    let inside = block.inner(place);
    canvas.render_widget(block, place);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    let [body, rule, foot] = Layout::vertical([
        Constraint::Length(text::cells(rows)),
        Constraint::Length(u16::from(!sheet.foot.is_empty())),
        Constraint::Min(0),
    ])
    .areas(inside);
    let lines: Vec<Line<'_>> = sheet.body.iter().skip(scroll).take(rows).cloned().collect();
    super::put(canvas, body, &lines);
    let line = app.theme.rule().repeat(usize::from(rule.width));
    super::put(canvas, rule, &[Line::from(Span::styled(line, app.theme.dim()))]);
    super::put(canvas, foot, &sheet.foot);
    if let Some((row, column)) = sheet.cursor
        && row >= scroll
        && row < scroll + rows
    {
        put_cursor(canvas, body, row - scroll, column);
    }
    if let Some((row, column)) = sheet.foot_cursor {
        put_cursor(canvas, foot, row, column);
    }
}

fn put_cursor(canvas: &mut Canvas<'_>, area: Rect, row: usize, column: usize) {
    let at = Position {
        x: area.x.saturating_add(text::cells(column)).min(area.right().saturating_sub(1)),
        y: area.y.saturating_add(text::cells(row)),
    };
    if area.contains(at) {
        canvas.set_cursor_position(at);
    }
}

/// A text with a glyph before its first line and the rest hanging under it.
pub(super) fn hang(glyph: &str, glyph_style: Style, words: &str, style: Style, width: usize) -> Vec<Line<'static>> {
    let indent = text::width(glyph) + 1;
    text::wrap(words, width.saturating_sub(indent))
        .into_iter()
        .enumerate()
        .map(|(at, line)| {
            let before = if at == 0 { format!("{glyph} ") } else { " ".repeat(indent) };
            Line::from(vec![Span::styled(before, glyph_style), Span::styled(line, style)])
        })
        .collect()
}

/// A heading with a blank line before it.
pub(super) fn heading(words: &str, app: &App) -> [Line<'static>; 2] {
    [Line::default(), Line::from(Span::styled(words.to_owned(), app.theme.strong()))]
}
