//! Every command, found by its name.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::tui::app::App;
use crate::tui::edit::Editor;
use crate::tui::palette;
use crate::tui::text;

use super::card::keys;
use super::sheet::Sheet;

pub(super) fn sheet(app: &App, editor: &Editor, selected: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let filter = Line::from(vec![Span::styled(": ", theme.key()), Span::raw(editor.text().to_owned())]);
    let mut body: Vec<Line<'static>> = palette::found(editor.text())
        .into_iter()
        .enumerate()
        .map(|(at, found)| {
            let action = found.action;
            let [plain, keys, dim] =
                if at == selected { [theme.selected(); 3] } else { [Style::new(), theme.key(), theme.dim()] };
            let about = text::left(action.about(), width.saturating_sub(25), theme.ellipsis());
            let mut line = Line::from(Span::styled(text::left(&app.keymap.shown(action), 8, ""), keys));
            line.extend(super::marked(app, &text::left(action.name(), 17, ""), &found.name, plain));
            line.extend(super::marked(app, &about, &found.about, dim));
            line
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
