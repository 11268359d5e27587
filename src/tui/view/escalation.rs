//! Whom to call, why now, and what to tell them.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::Gravity;
use crate::tui::app::App;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang};

pub(super) fn sheet(app: &App, selected: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let mut sheet = Sheet { title: "Escalation".to_owned(), ..Sheet::default() };
    for (at, one) in app.escalations().into_iter().enumerate() {
        let is_selected = at == selected;
        if is_selected {
            sheet.keep = Some(sheet.body.len());
        }
        let (glyph, style, state) = match (&one.due, one.told_at) {
            (Some(why), _) => {
                let (glyph, style) = theme.gravity(Gravity::Warning);
                (glyph, style, format!("call now: {why}"))
            }
            (None, Some(at)) => {
                let (glyph, style) = theme.gravity(Gravity::Good);
                (glyph, style, format!("told at {}", at.strftime("%H:%M:%SZ")))
            }
            (None, None) => (" ", theme.dim(), "not needed so far".to_owned()),
        };
        let cursor = if is_selected { theme.cursor() } else { " " };
        let name = if is_selected { theme.selected() } else { theme.strong() };
        let mut line = Line::from(vec![
            Span::styled(format!("{cursor}{glyph} "), style),
            Span::styled(one.contact.role.clone(), name),
        ]);
        // Why somebody is to be called is never cut.
        if line.width() + 2 + text::width(&state) <= width {
            line.push_span(Span::raw("  "));
            line.push_span(Span::styled(state, style));
            sheet.body.push(line);
        } else {
            sheet.body.push(line);
            sheet.body.extend(hang("  ", style, &state, style, width));
        }
        sheet.body.extend(hang("  ", theme.dim(), &one.contact.reach, Style::new(), width));
        // What is not so yet is not said as if it were.
        let then = if one.due.is_none() && one.told_at.is_none() { "to be said then: " } else { "" };
        sheet.body.extend(hang("  ", theme.dim(), &format!("{then}{}", one.say), theme.dim(), width));
        sheet.body.push(Line::default());
    }
    sheet.body.pop();
    if sheet.body.is_empty() {
        sheet.body.push(Line::from("This runbook names nobody to call."));
    }
    let offered = [("t", "record that they were told"), ("c", "copy the words"), ("j k", "choose"), ("Esc", "close")];
    sheet.foot = keys(app, &offered, width);
    sheet
}
