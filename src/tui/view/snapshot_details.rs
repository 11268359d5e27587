//! Everything about a dump.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Contents, Gravity, TableContents, duration_text};
use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::perform::known;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang, heading};

pub(super) fn sheet(app: &App, key: &str, scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let row = app.dumps.find(key).and_then(|row| app.dumps.get(row));
    let chooses = match row {
        Some(row) if row.eligible => format!("close, then {} chooses it", app.key(UiAction::Approve)),
        _ => "close".to_owned(),
    };
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
    let opened = app.contents.get(key);
    let contents = opened.and_then(|opened| opened.as_ref().ok());
    let version = row.version_id.as_ref().or_else(|| contents?.version_id.as_ref());
    let size = super::snapshots::share(row).map_or_else(String::new, |share| match share.as_str() {
        "as usual" => ", as its neighbours".to_owned(),
        share => format!(", {share} against its neighbours"),
    });
    let facts = [
        ("taken", format!("{} ({})", row.taken_at.strftime("%Y-%m-%d %H:%M:%SZ"), row.taken_from)),
        ("age", duration_text(app.now.duration_since(row.taken_at))),
        ("onset", known(app.onset())),
        ("loses", loses),
        ("size", format!("{}{size}", text::bytes(row.size))),
        ("written", row.last_modified.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        ("key", row.key.clone()),
        ("version", version.cloned().unwrap_or_else(|| "none".to_owned())),
        ("class", row.storage_class.clone().unwrap_or_else(|| "usual".to_owned())),
    ];
    for (name, value) in facts {
        body.extend(hang(&text::left(name, 8, ""), theme.dim(), &value, Style::new(), width));
    }
    match opened {
        Some(Ok(contents)) => {
            body.extend(heading("The archive says", app));
            for (name, value) in archive(contents) {
                body.extend(hang(&text::left(name, 8, ""), theme.dim(), &value, Style::new(), width));
            }
            body.extend(heading("Tables: compressed, rows", app));
            body.extend(chart(app, &contents.tables, width));
        }
        Some(Err(why)) => {
            body.extend(heading("The archive", app));
            body.extend(hang(theme.gravity(Gravity::Warning).0, theme.warning(), why, Style::new(), width));
        }
        None => {
            let opening = if app.lost.is_some() { "it was not opened" } else { "being opened" };
            body.extend(heading("Tables, compressed", app));
            body.push(Line::from(Span::styled(opening, theme.dim())));
            let listed =
                |(name, bytes): &(String, u64)| TableContents { name: name.clone(), bytes: *bytes, rows: None };
            let tables: Vec<TableContents> = row.tables.iter().map(listed).collect();
            body.extend(chart(app, &tables, width));
        }
    }
    Sheet { title: "Snapshot".to_owned(), body, foot, scroll, ..Sheet::default() }
}

/// What an archive's header says.
pub(super) fn archive(contents: &Contents) -> [(&'static str, String); 5] {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".to_owned());
    let begun = contents.created.as_ref().map_or_else(
        || "not said".to_owned(),
        |created| format!("{created} by the clock of the host that ran pg_dump; its zone is not in the archive"),
    );
    [
        ("began", begun),
        ("of", known(&contents.database)),
        ("server", known(&contents.server)),
        ("pg_dump", known(&contents.pg_dump)),
        ("packed", contents.compression.clone()),
    ]
}

/// `public.accounts  ██████░░░░   76.29 MiB      12,004`
fn chart(app: &App, tables: &[TableContents], width: usize) -> Vec<Line<'static>> {
    let theme = app.theme;
    let most = tables.iter().map(|table| table.bytes).max().unwrap_or(0).max(1);
    let counted = tables.iter().any(|table| table.rows.is_some());
    let (size, rows) = (12, if counted { 14 } else { 0 });
    let bar = width.saturating_sub(size + rows + 20).min(24);
    let name = width.saturating_sub(size + rows + bar);
    let (full, empty) = theme.bar();
    let line = |table: &TableContents| {
        let share = u128::from(table.bytes) * (bar as u128) / u128::from(most);
        // What is there is seen.
        let filled = usize::try_from(share).unwrap_or(bar).max(usize::from(table.bytes > 0)).min(bar);
        let count = table.rows.map_or_else(|| theme.dash().to_owned(), text::count);
        Line::from(vec![
            Span::raw(text::left(&table.name, name, theme.ellipsis())),
            Span::styled(full.repeat(filled), theme.active()),
            Span::styled(empty.repeat(bar - filled), theme.dim()),
            Span::raw(text::right(&text::bytes(table.bytes), size, theme.ellipsis())),
            Span::raw(text::right(if counted { &count } else { "" }, rows, theme.ellipsis())),
        ])
    };
    tables.iter().map(line).collect()
}
