//! Every command, found by its name.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::tui::app::App;
use crate::tui::edit::Editor;
use crate::tui::text;
use crate::tui::update::palette;

use super::card::keys;
use super::sheet::Sheet;

pub(super) fn sheet(app: &App, editor: &Editor, selected: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let filter = Line::from(vec![Span::styled(": ", theme.key()), Span::raw(editor.text().to_owned())]);
    let mut body: Vec<Line<'static>> = palette(editor.text())
        .into_iter()
        .enumerate()
        .map(|(at, action)| {
            let key = text::left(&app.keymap.shown(action), 8, "");
            let name = text::left(action.name(), 17, "");
            let about = text::fit(action.about(), width.saturating_sub(25), theme.ellipsis());
            if at == selected {
                let words = text::left(&format!("{key}{name}{about}"), width, "");
                return Line::from(Span::styled(words, theme.selected()));
            }
            Line::from(vec![
                Span::styled(key, theme.key()),
                Span::styled(name, Style::new()),
                Span::styled(about, theme.dim()),
            ])
        })
        .collect();
    if body.is_empty() {
        body.push(Line::from(Span::styled("no such command", theme.dim())));
    }
    let mut foot = vec![filter];
    foot.extend(keys(app, &[("Enter", "do it"), ("Up Down", "choose"), ("Esc", "cancel")], width));
    let column = editor.column();
    Sheet {
        title: "Commands".to_owned(),
        keep: Some(selected.min(body.len() - 1)),
        body,
        foot,
        foot_cursor: Some((0, column + 2)),
        ..Sheet::default()
    }
}
