//! Two dumps side by side, what differs first.

use std::collections::BTreeMap;

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{Contents, SnapshotRow, TableContents, duration_text};
use crate::tui::action::UiAction;
use crate::tui::app::App;
use crate::tui::text;

use super::card::keys;
use super::sheet::{Sheet, hang, heading};
use super::snapshot_details::archive;

/// A line of the comparison: what it is about, and what each of the two says.
struct Pair {
    name: String,
    sides: [String; 2],
    /// The further apart, the earlier; nothing where both say the same.
    apart: u64,
}

pub(super) fn sheet(app: &App, both: &[String; 2], scroll: usize, width: usize) -> Sheet {
    let theme = app.theme;
    let again = format!("close, then {} or {} goes on", app.key(UiAction::Compare), app.key(UiAction::Approve));
    let foot = keys(app, &[("j k", "scroll"), ("Esc", &again)], width);
    let title = "Two snapshots".to_owned();
    let [left, right] = both.each_ref().map(|key| app.dumps.find(key).and_then(|row| app.dumps.get(row)));
    let (Some(left), Some(right)) = (left, right) else {
        let body = vec![Line::from("One of them is not listed any more.")];
        return Sheet { title, body, foot, ..Sheet::default() };
    };
    let mut pairs = facts(app, left, right);
    let opened = both.each_ref().map(|key| app.contents.get(key).and_then(|opened| opened.as_ref().ok()));
    if let [Some(left), Some(right)] = opened {
        pairs.extend(
            archive(left).into_iter().zip(archive(right)).map(|((name, left), (_, right))| pair(name, left, right)),
        );
    }
    let mut body = Vec::new();
    let (differ, same): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().partition(|pair| pair.apart > 0);
    for pair in &differ {
        lines(app, pair, theme.strong(), width, &mut body);
    }
    if let [Some(left), Some(right)] = opened {
        tables(app, left, right, width, &mut body);
    } else {
        body.extend(heading("Tables", app));
        for key in both {
            match app.contents.get(key) {
                Some(Err(why)) => body.extend(hang("!", theme.warning(), why, Style::new(), width)),
                Some(Ok(_)) => {}
                None => body.extend(hang(" ", theme.dim(), &format!("opening {key}"), theme.dim(), width)),
            }
        }
    }
    if !same.is_empty() {
        body.extend(heading("The same in both", app));
        for pair in same {
            let words = format!("{} {}", text::left(&pair.name, 8, ""), pair.sides[0]);
            body.extend(hang(" ", theme.dim(), &words, theme.dim(), width));
        }
    }
    Sheet { title, body, foot, scroll, ..Sheet::default() }
}

fn pair(name: &str, left: String, right: String) -> Pair {
    let apart = u64::from(left != right);
    Pair { name: name.to_owned(), sides: [left, right], apart }
}

fn facts(app: &App, left: &SnapshotRow, right: &SnapshotRow) -> Vec<Pair> {
    let say = |name: &str, of: &dyn Fn(&SnapshotRow) -> String| pair(name, of(left), of(right));
    vec![
        say("key", &|row| row.key.rsplit('/').next().unwrap_or(&row.key).to_owned()),
        say("taken", &|row| row.taken_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        say("age", &|row| duration_text(app.now.duration_since(row.taken_at))),
        say("size", &|row| text::bytes(row.size)),
        say("loses", &|row| {
            if row.eligible { duration_text(app.loses(row.taken_at)) } else { "not to be restored".to_owned() }
        }),
        say("verdict", &|row| row.verdict.clone()),
        say("time by", &|row| row.taken_from.clone()),
        say("class", &|row| row.storage_class.clone().unwrap_or_else(|| "usual".to_owned())),
    ]
}

/// What a table has in each of the two.
fn tables(app: &App, left: &Contents, right: &Contents, width: usize, body: &mut Vec<Line<'static>>) {
    let mut all: BTreeMap<&str, [Option<&TableContents>; 2]> = BTreeMap::new();
    for (at, contents) in [left, right].into_iter().enumerate() {
        for table in &contents.tables {
            if let Some(side) = all.entry(&table.name).or_default().get_mut(at) {
                *side = Some(table);
            }
        }
    }
    let mut pairs: Vec<Pair> = all
        .into_iter()
        .map(|(name, sides)| {
            let words = sides.map(|table| {
                table.map_or_else(
                    || "not there".to_owned(),
                    |table| match table.rows {
                        Some(1) => format!("{}, 1 row", text::bytes(table.bytes)),
                        Some(rows) => format!("{}, {} rows", text::bytes(table.bytes), text::count(rows)),
                        None => text::bytes(table.bytes),
                    },
                )
            });
            let apart = match sides {
                [Some(left), Some(right)] => {
                    let rows = left.rows.zip(right.rows).map_or(0, |(left, right)| left.abs_diff(right));
                    left.bytes.abs_diff(right.bytes).max(rows)
                }
                // A table that one of them lacks matters more than any size.
                _ => u64::MAX,
            };
            Pair { name: name.to_owned(), sides: words, apart }
        })
        .collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.apart));
    let differ = pairs.iter().filter(|pair| pair.apart > 0).count();
    body.extend(heading(&format!("Tables: {differ} of {} differ", pairs.len()), app));
    for pair in &pairs {
        let style = if pair.apart > 0 { app.theme.strong() } else { app.theme.dim() };
        lines(app, pair, style, width, body);
    }
}

/// A pair in columns, or below each other where there is no room for columns.
fn lines(app: &App, pair: &Pair, style: Style, width: usize, body: &mut Vec<Line<'static>>) {
    let mark = app.theme.ellipsis();
    let side = width.saturating_sub(10) * 2 / 5;
    let name = width.saturating_sub(2 * side);
    let fits = side >= 24 && pair.sides.iter().all(|words| text::width(words) < side) && text::width(&pair.name) < name;
    if fits {
        let mut line = Line::from(Span::styled(text::left(&pair.name, name, mark), app.theme.dim()));
        line.extend(pair.sides.iter().map(|words| Span::styled(text::left(words, side, mark), style)));
        body.push(line);
        return;
    }
    let name = text::wrap(&pair.name, width).into_iter();
    body.extend(name.map(|words| Line::from(Span::styled(words, app.theme.dim()))));
    for words in &pair.sides {
        body.extend(hang("  ", app.theme.dim(), words, style, width));
    }
}
