//! What is said of the dumps: all of them or what is asked for, one of them opened, or two side by side.

use crate::incident::{SnapshotRow, clock, duration_text};
use crate::tui::app::App;
use crate::tui::browse;
use crate::tui::dumps::haystack;
use crate::tui::fuzzy::Fuzzy;
use crate::tui::msg::Out;
use crate::tui::overlay::Overlay;
use crate::tui::text;

/// Dumps that are read out at once.
const MOST: usize = 100;

/// What of the dumps is asked for by the words behind the command.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    All,
    BySize,
    ByVerdict,
    Matching(&'a str),
    One(usize),
    Two(usize, usize),
}

impl<'a> Wanted<'a> {
    fn of(words: &'a str) -> Self {
        let numbers: Option<Vec<usize>> = words.split_whitespace().map(|word| word.parse().ok()).collect();
        match (words, numbers.as_deref()) {
            ("" | "by time", _) => Self::All,
            ("by size", _) => Self::BySize,
            ("by verdict", _) => Self::ByVerdict,
            (_, Some([one])) => Self::One(*one),
            (_, Some([one, other])) => Self::Two(*one, *other),
            _ => Self::Matching(words),
        }
    }
}

/// Says what is wanted, or begins to open it.
pub(super) fn tell(app: &mut App, words: &str) -> (Vec<String>, Vec<Out>) {
    if !app.dumps.is_listed() {
        let why = app.listing_fault.clone().unwrap_or_else(|| "The snapshots are not listed yet.".to_owned());
        return (vec![why], Vec::new());
    }
    let key = |number: usize| Some(app.dumps.get(number.checked_sub(1)?)?.key.clone());
    match Wanted::of(words) {
        Wanted::One(number) => match key(number) {
            Some(key) => (Vec::new(), browse::read(app, key)),
            None => (vec![format!("There is no snapshot {number}.")], Vec::new()),
        },
        Wanted::Two(one, other) => match key(one).zip(key(other)) {
            Some((one, other)) => (Vec::new(), browse::read_both(app, [one, other])),
            None => (vec![format!("There are no two snapshots {one} and {other}.")], Vec::new()),
        },
        wanted => (list(app, &wanted), Vec::new()),
    }
}

/// An archive that somebody wants to read is still being opened.
pub(super) fn is_opening(app: &App) -> bool {
    let keys: &[String] = match &app.ui.overlay {
        Some(Overlay::Snapshot { key, .. }) => std::slice::from_ref(key),
        Some(Overlay::Compare { keys, .. }) => keys,
        _ => &[],
    };
    app.lost.is_none() && keys.iter().any(|key| !app.contents.contains_key(key))
}

fn list(app: &App, wanted: &Wanted<'_>) -> Vec<String> {
    let dumps = &app.dumps;
    let mut rows: Vec<(usize, &SnapshotRow)> = (0..dumps.count()).filter_map(|at| Some((at, dumps.get(at)?))).collect();
    let order = match wanted {
        Wanted::BySize => {
            rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.size));
            "largest first".to_owned()
        }
        Wanted::ByVerdict => {
            rows.sort_by_key(|(_, row)| (!row.eligible, !row.proposed, row.verdict.as_str()));
            "by verdict".to_owned()
        }
        Wanted::Matching(words) => {
            let mut fuzzy = Fuzzy::new(words);
            let mut found: Vec<(u32, (usize, &SnapshotRow))> =
                rows.into_iter().filter_map(|row| Some((fuzzy.score(&haystack(row.1))?, row))).collect();
            found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
            rows = found.into_iter().map(|(_, row)| row).collect();
            format!("{} match {words}", rows.len())
        }
        _ => "newest first".to_owned(),
    };
    let mut lines = vec![format!("{}: {} dumps, {order}", text::clean(dumps.place()), dumps.count())];
    // Only by time it lies among them.
    let mut onset = app.onset().filter(|_| *wanted == Wanted::All);
    for (at, row) in rows.iter().take(MOST) {
        if let Some(onset) = onset.take_if(|onset| row.taken_at < *onset) {
            lines.push(format!("The damage began at {}.", clock(onset)));
        }
        lines.push(line(app, at + 1, row));
    }
    let left = rows.len().saturating_sub(MOST);
    if left > 0 {
        lines.push(format!("and {left} more"));
    }
    lines
}

fn line(app: &App, number: usize, row: &SnapshotRow) -> String {
    let loses =
        if row.eligible { format!(", loses {}", duration_text(app.loses(row.taken_at))) } else { String::new() };
    let chosen = if app.chosen() == Some(row.key.as_str()) { ", chosen" } else { "" };
    format!(
        "{number}: {}, {} ago, {}{loses}: {}{chosen} ({})",
        clock(row.taken_at),
        duration_text(app.now.duration_since(row.taken_at)),
        text::bytes(row.size),
        text::clean(&row.verdict),
        text::clean(&row.key),
    )
}
