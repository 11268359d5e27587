//! Everything about a dump.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Gravity, duration_text};
use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::perform::known;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang, heading};

pub(super) fn sheet(app: &App, key: &str, scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let row = app.listing.as_ref().and_then(|listing| listing.rows.iter().find(|row| row.key == key));
    let chooses = format!("close, then {} chooses it", app.key(UiAction::Approve));
    let foot = keys(app, &[("j k", "scroll"), ("Esc", &chooses)], width);
    let Some(row) = row else {
        let body = vec![Line::from("It is not listed any more.")];
        return Sheet { title: key.to_owned(), body, foot, ..Sheet::default() };
    };
    let gravity = if row.eligible { Gravity::Good } else { Gravity::Blocking };
    let (glyph, style) = theme.gravity(gravity);
    let mut body = hang(glyph, style, &row.detail, Style::new(), width);
    body.push(Line::default());
    let loses =
        if row.eligible { duration_text(app.loses(row.taken_at)) } else { "nothing is restored from it".to_owned() };
    let facts = [
        ("taken", format!("{} ({})", row.taken_at.strftime("%Y-%m-%d %H:%M:%SZ"), row.taken_from)),
        ("onset", known(app.onset())),
        ("loses", loses),
        ("size", text::bytes(row.size)),
        ("written", row.last_modified.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        ("key", row.key.clone()),
        ("version", row.version_id.clone().unwrap_or_else(|| "the bucket has none".to_owned())),
        ("class", row.storage_class.clone().unwrap_or_else(|| "usual".to_owned())),
    ];
    for (name, value) in facts {
        body.extend(hang(&text::left(name, 8, ""), theme.dim(), &value, Style::new(), width));
    }
    body.extend(heading("Tables, compressed", app));
    if row.tables.is_empty() {
        body.push(Line::from(Span::styled("its table of contents was not read", theme.dim())));
    }
    for (table, bytes) in &row.tables {
        let size = text::right(&text::bytes(*bytes), 12, "");
        let name = text::fit(table, width.saturating_sub(14), theme.ellipsis());
        body.push(Line::from(vec![Span::raw(size), Span::raw("  "), Span::raw(name)]));
    }
    Sheet { title: "Snapshot".to_owned(), body, foot, scroll, ..Sheet::default() }
}
