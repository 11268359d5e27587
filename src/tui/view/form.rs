//! The questions of a plan.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{AskKind, Gravity, clock, read_time};
use crate::tui::app::App;
use crate::tui::card::Card;
use crate::tui::form::{Field, Form, question};
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang};

/// Rows of a choice that are shown at once.
const CHOICES: usize = 8;
/// So many choices are read in full beside each other.
const FEW: usize = 3;

pub(super) fn sheet(app: &App, form: &Form, card: &Card, width: usize) -> Sheet {
    let theme = app.theme;
    let mut sheet = Sheet::default();
    if let Some((plan, _)) = &card.plan {
        let grave = plan.findings.iter().filter(|finding| finding.gravity != Gravity::Good);
        for finding in grave {
            let (glyph, style) = theme.gravity(finding.gravity);
            sheet.body.extend(hang(glyph, style, &finding.text, style, width));
        }
        if !sheet.body.is_empty() {
            sheet.body.push(Line::default());
        }
    }
    for (at, field) in form.fields.iter().enumerate() {
        let focused = at == form.focus;
        // How a time is said stands below the line that takes it.
        let asked = question(&field.ask);
        let label = if field.ask.required { asked.to_owned() } else { format!("{asked} (optional)") };
        let (glyph, style) = if focused { (theme.cursor(), theme.key()) } else { (" ", theme.dim()) };
        sheet.body.extend(hang(glyph, style, &label, if focused { theme.strong() } else { Style::new() }, width));
        let from = sheet.body.len();
        answer(app, field, focused, width, &mut sheet);
        if focused && sheet.keep.is_none() {
            sheet.keep = Some(sheet.cursor.map_or(from, |(row, _)| row));
        }
        sheet.body.push(Line::default());
    }
    sheet.body.pop();
    if let Some(error) = &form.error {
        let (glyph, style) = theme.gravity(Gravity::Blocking);
        sheet.foot.extend(hang(glyph, style, error, style, width));
    }
    let many = form.fields.get(form.focus).is_some_and(|field| field.ask.kind == AskKind::Text);
    let send = if many { "Ctrl-S" } else { "Enter" };
    let mut offered = vec![(send, "show the plan")];
    if form.fields.len() > 1 {
        offered.push(("Tab", "next"));
    }
    offered.push(("Esc", "cancel"));
    sheet.foot.extend(keys(app, &offered, width));
    sheet
}

fn answer(app: &App, field: &Field, focused: bool, width: usize, sheet: &mut Sheet) {
    let theme = app.theme;
    let room = width.saturating_sub(4);
    match &field.ask.kind {
        AskKind::Choice(choices) => {
            let at = field.choice.unwrap_or(0);
            let first = super::window(at, choices.len(), CHOICES);
            for (row, choice) in choices.iter().enumerate().skip(first).take(CHOICES) {
                let chosen = field.choice == Some(row);
                if chosen && focused {
                    sheet.keep = Some(sheet.body.len());
                }
                let style = if chosen && focused { theme.selected() } else { Style::new() };
                let room = room.saturating_sub(4);
                // What is chosen, and what is one of a few, is read to its end.
                let lines = if chosen || choices.len() <= FEW {
                    text::wrap(&choice.label, room)
                } else {
                    vec![text::fit(&choice.label, room, theme.ellipsis())]
                };
                let mark = format!("({}) ", if chosen { theme.bullet() } else { " " });
                for (row, words) in lines.into_iter().enumerate() {
                    let before = if row == 0 { mark.as_str() } else { "    " };
                    sheet
                        .body
                        .push(Line::from(vec![Span::raw("    "), Span::styled(format!("{before}{words}"), style)]));
                }
            }
            if choices.len() > CHOICES {
                let words = format!("    {} of {}, j k", at + 1, choices.len());
                sheet.body.push(Line::from(Span::styled(words, theme.dim())));
            }
        }
        AskKind::YesNo => {
            let mut line = Line::from("    ");
            for (key, word) in [("y", "yes"), ("n", "no")] {
                let chosen = field.editor.text() == word;
                let words = format!("({}) {word}", if chosen { theme.bullet() } else { " " });
                line.push_span(Span::styled(words, if chosen && focused { theme.selected() } else { Style::new() }));
                line.push_span(Span::styled(format!(" {key}   "), theme.dim()));
            }
            sheet.body.push(line);
        }
        AskKind::Text => {
            let style = if focused { theme.strong() } else { Style::new() };
            let (rows, (row, column)) = field.draft.rows(room);
            if focused {
                sheet.cursor = Some((sheet.body.len() + row, column + 4));
            }
            sheet.body.extend(
                rows.into_iter()
                    .map(|line| Line::from(vec![Span::styled("  | ", theme.dim()), Span::styled(line, style)])),
            );
        }
        AskKind::Line | AskKind::Count | AskKind::Time => {
            let column = field.editor.column();
            let shift = (column + 1).saturating_sub(room);
            let seen: String = field.editor.text().chars().skip(shift).collect();
            let seen = text::left(&seen, room, if shift == 0 { theme.ellipsis() } else { "" });
            let style = if focused { theme.strong() } else { Style::new() };
            if focused {
                sheet.cursor = Some((sheet.body.len(), column - shift + 4));
            }
            sheet.body.push(Line::from(vec![Span::styled("  | ", theme.dim()), Span::styled(seen, style)]));
            if field.ask.kind == AskKind::Time {
                let read = read_time(field.editor.text(), app.now).map_or_else(
                    |_| "2026-11-23T08:48Z, 08:48 (UTC) or 40m ago".to_owned(),
                    |at| format!("= {}", clock(at)),
                );
                sheet.body.push(Line::from(Span::styled(format!("    {read}"), theme.dim())));
            }
        }
    }
}
