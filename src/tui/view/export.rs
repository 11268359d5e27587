//! An export before it is sent: what it will say, in the form that is chosen.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::export::Format;
use crate::tui::app::App;
use crate::tui::export::Exporting;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang};

/// Bytes of a text that are shown: nobody reads further here, and every frame wraps them anew.
const SHOWN: usize = 48 * 1024;
/// A sheet narrower than this names its keys only.
const NARROW: usize = 60;

pub(super) fn sheet(app: &App, exporting: &Exporting, width: usize) -> Sheet {
    let theme = app.theme;
    let mut body = Vec::new();
    if let Some(done) = &exporting.done {
        let (glyph, style) =
            if done.bad { theme.gravity(crate::incident::Gravity::Warning) } else { (theme.bullet(), theme.good()) };
        body.extend(hang(glyph, style, &done.text, style, width));
        body.push(Line::default());
    }
    let whole = exporting.text();
    let end = (0..=SHOWN.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
    let shown = whole.get(..end).unwrap_or_default();
    body.extend(shown.lines().flat_map(|line| text::wrap(line, width)).map(Line::from));
    if end < whole.len() {
        body.push(Line::from(Span::styled("The rest is not shown here; it is sent.", theme.dim())));
    }
    let count = exporting.parts.len();
    let part = if count > 1 { format!(", part {}/{count}", exporting.part + 1) } else { String::new() };
    let title = format!("Export: {}{part}, {} bytes", exporting.format.name(), whole.len());
    let mut sheet = Sheet { title, body, scroll: exporting.scroll, ..Sheet::default() };
    if let Some(editor) = &exporting.sizing {
        if let Some(fault) = &exporting.fault {
            sheet.foot.extend(hang("!", theme.bad(), fault, theme.bad(), width));
        }
        let words = "Most bytes of a part: ";
        sheet.foot_cursor = Some((sheet.foot.len(), text::width(words) + editor.column()));
        sheet.foot.push(Line::from(vec![Span::raw(words), Span::styled(editor.text().to_owned(), theme.strong())]));
        sheet.foot.extend(keys(app, &[("Enter", "cut to it; nothing: the usual size"), ("Esc", "cancel")], width));
        return sheet;
    }
    if width < NARROW {
        let last = if count > 1 { ("n", "part") } else { ("Esc", "close") };
        sheet.foot = keys(app, &[("Tab", "form"), ("c", "copy + file"), last], width);
        return sheet;
    }
    let mut forms = Line::default();
    for (at, format) in Format::ALL.iter().enumerate() {
        let style = if *format == exporting.format { theme.selected() } else { Style::new() };
        forms.push_span(Span::styled(format!("{} ", at + 1), theme.key()));
        forms.push_span(Span::styled(format!(" {} ", format.name()), style));
        forms.push_span(Span::raw("  "));
    }
    sheet.foot.push(forms);
    let copies = if count > 1 { "copy this part, write all to a file" } else { "copy, and write to a file" };
    let mut offered = vec![("c", copies), ("w", "write only")];
    if count > 1 {
        offered.push(("n N", "parts"));
    }
    if exporting.format.usual_size().is_some() {
        offered.push(("s", "size"));
    }
    offered.extend([("j k", "scroll"), ("Esc", "close")]);
    sheet.foot.extend(keys(app, &offered, width));
    sheet
}
