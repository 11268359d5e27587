//! The dumps, newest first, with the onset drawn where it lies among them.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::incident::{Listing, SnapshotRow, clock, duration_text};
use crate::runbook::{Action, Step};
use crate::tui::app::{App, Pane};
use crate::tui::text;

use super::window;

pub(super) fn render(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let note = app.listing.as_ref().map_or_else(Line::default, |listing| note(app, listing, usize::from(area.width)));
    let inside = super::pane_frame(frame, area, app, Pane::Snapshots, note);
    let Some(listing) = &app.listing else {
        let words = app.listing_fault.clone().unwrap_or_else(|| {
            let chooses = |step: &Step| matches!(step.action, Action::ChooseSnapshot { .. });
            match &app.state {
                Some(state) if !state.runbook.steps().any(chooses) => {
                    "no step of this runbook chooses a dump".to_owned()
                }
                _ => "listing the dumps".to_owned(),
            }
        });
        say(frame, inside, app, &words);
        return;
    };
    if listing.rows.is_empty() {
        say(frame, inside, app, &format!("there are no dumps in {}", listing.place));
        return;
    }
    let width = usize::from(inside.width);
    let columns = Columns::for_width(width);
    let selected = app.snapshot().map(|row| row.key.as_str());
    let mut lines = Vec::new();
    let mut at = 0;
    let mut onset = app.onset();
    for row in &listing.rows {
        if let Some(when) = onset.filter(|onset| row.taken_at < *onset) {
            lines.push(onset_line(app, &clock(when), width));
            onset = None;
        }
        let is_selected = selected == Some(row.key.as_str());
        if is_selected {
            at = lines.len();
        }
        lines.push(row_line(app, row, &columns, is_selected && app.ui.pane == Pane::Snapshots));
    }
    if let Some(when) = onset {
        lines.push(onset_line(app, &clock(when), width));
    }
    let height = usize::from(inside.height).saturating_sub(1);
    let first = window(at, lines.len(), height);
    let mut seen = vec![columns.heading(app)];
    seen.extend(lines.into_iter().skip(first).take(height));
    frame.render_widget(Paragraph::new(seen), inside);
}

fn say(frame: &mut Frame<'_>, area: Rect, app: &App, words: &str) {
    let width = usize::from(area.width.saturating_sub(2));
    let lines: Vec<Line<'_>> = text::wrap(words, width)
        .into_iter()
        .map(|line| Line::from(Span::styled(format!(" {line}"), app.theme.dim())))
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn note(app: &App, listing: &Listing, width: usize) -> Line<'static> {
    let eligible = listing.rows.iter().filter(|row| row.eligible).count();
    let count = format!("{eligible} of {} eligible ", listing.rows.len());
    let place = listing.place.strip_prefix("s3://").unwrap_or(&listing.place);
    let room = width.saturating_sub(text::width(&count) + 20);
    let place = if room > 8 { format!(" {}  ", text::fit(place, room, app.theme.ellipsis())) } else { " ".to_owned() };
    Line::from(vec![Span::styled(place, app.theme.dim()), Span::raw(count)])
}

fn onset_line(app: &App, when: &str, width: usize) -> Line<'static> {
    let rule = app.theme.rule();
    let words = format!("{rule}{rule} onset {when} ");
    let rest = rule.repeat(width.saturating_sub(text::width(&words)));
    Line::from(Span::styled(text::fit(&format!("{words}{rest}"), width, ""), app.theme.warning()))
}

struct Columns {
    age: bool,
    size: bool,
    verdict: usize,
}

impl Columns {
    fn for_width(width: usize) -> Self {
        let age = width >= 66;
        let size = width >= 54;
        let taken = 3 + 11 + 9 + if age { 9 } else { 0 } + if size { 12 } else { 0 } + 2;
        Self { age, size, verdict: width.saturating_sub(taken) }
    }

    fn cells(&self, app: &App, cells: [&str; 5]) -> String {
        let [taken, age, size, loses, verdict] = cells;
        let mark = app.theme.ellipsis();
        let mut line = text::left(taken, 11, mark);
        if self.age {
            line.push_str(&text::right(age, 9, mark));
        }
        if self.size {
            line.push_str(&text::right(size, 12, mark));
        }
        line.push_str(&text::right(loses, 9, mark));
        line.push_str("  ");
        line.push_str(&text::left(verdict, self.verdict, mark));
        line
    }

    fn heading(&self, app: &App) -> Line<'static> {
        let words = self.cells(app, ["TAKEN (UTC)", "AGE", "SIZE", "LOSES", "VERDICT"]);
        Line::from(Span::styled(format!("   {words}"), app.theme.dim()))
    }
}

fn row_line(app: &App, row: &SnapshotRow, columns: &Columns, selected: bool) -> Line<'static> {
    let loses = if row.eligible { duration_text(app.loses(row.taken_at)) } else { app.theme.dash().to_owned() };
    let (glyph, style) = if app.chosen() == Some(row.key.as_str()) {
        (app.theme.chosen(), app.theme.good())
    } else if row.proposed {
        (app.theme.proposed(), app.theme.good())
    } else if row.eligible {
        (" ", Style::new())
    } else {
        (app.theme.refused(), app.theme.dim())
    };
    let cells = columns.cells(
        app,
        [
            &row.taken_at.strftime("%m-%d %H:%M").to_string(),
            &duration_text(app.now.duration_since(row.taken_at)),
            &text::bytes(row.size),
            &loses,
            &row.verdict,
        ],
    );
    if selected {
        return Line::from(Span::styled(format!("{}{glyph} {cells}", app.theme.cursor()), app.theme.selected()));
    }
    let words = if row.eligible { Style::new() } else { app.theme.dim() };
    Line::from(vec![Span::styled(format!(" {glyph} "), style), Span::styled(cells, words)])
}
