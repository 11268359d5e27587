//! The dumps, newest first, with the onset drawn where it lies among them.

use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::incident::{SnapshotRow, clock, duration_text};
use crate::runbook::{Action, Step};
use crate::tui::action::UiAction;
use crate::tui::app::{App, Pane};
use crate::tui::dumps::Sort;
use crate::tui::fuzzy::Fuzzy;
use crate::tui::text;

use super::{Canvas, window};

pub(super) fn fill(canvas: &mut Canvas<'_>, inside: Rect, app: &App) {
    let dumps = &app.dumps;
    if !dumps.is_listed() {
        let words = app.listing_fault.clone().unwrap_or_else(|| {
            let chooses = |step: &Step| matches!(step.action, Action::ChooseSnapshot { .. });
            match &app.state {
                Some(state) if !state.runbook.steps().any(chooses) => {
                    "no step of this runbook chooses a dump".to_owned()
                }
                _ => "listing the dumps".to_owned(),
            }
        });
        say(canvas, inside, app, &words);
        return;
    }
    if dumps.count() == 0 {
        say(canvas, inside, app, &format!("there are no dumps in {}", dumps.place()));
        return;
    }
    if dumps.shown() == 0 && !dumps.filter().is_empty() {
        say(canvas, inside, app, &format!("nothing matches {}; {} shows all", dumps.filter(), app.key(UiAction::Back)));
        return;
    }
    let width = usize::from(inside.width);
    let columns = Columns::for_width(width);
    let selected = app.snapshot_row();
    let onset = onset(app);
    let height = usize::from(inside.height).saturating_sub(1);
    let lines = dumps.shown() + usize::from(onset.is_some());
    let first = first_line(app, height);
    let mut fuzzy = (!dumps.filter().is_empty()).then(|| Fuzzy::new(dumps.filter()));
    let mut seen = vec![columns.heading(app)];
    let chosen = app.chosen();
    // Only what is on screen is looked at, however many there are.
    for line in first..lines.min(first + height) {
        let place = match onset {
            Some((at, when)) if at == line => {
                seen.push(onset_line(app, &clock(when), width));
                continue;
            }
            Some((at, _)) if line > at => line - 1,
            _ => line,
        };
        let Some((row, dump)) = dumps.at(place).and_then(|row| Some((row, dumps.get(row)?))) else { continue };
        let marked = selected == Some(row) && app.ui.pane == Pane::Snapshots;
        let glance = Glance { selected: marked, chosen: chosen == Some(dump.key.as_str()) };
        seen.push(row_line(app, dump, &columns, glance, fuzzy.as_mut()));
    }
    super::put(canvas, inside, &seen);
}

/// The onset is a line among the rows: its place and when it was.
fn onset(app: &App) -> Option<(usize, Timestamp)> {
    app.onset().and_then(|onset| Some((app.dumps.since(onset)?, onset)))
}

/// The first line under the heading that is shown where `height` fit.
fn first_line(app: &App, height: usize) -> usize {
    let onset = onset(app);
    let at = app.snapshot_row().and_then(|row| app.dumps.place_of(row)).unwrap_or(0);
    // Of the rows below the onset, each stands one line lower.
    let below = usize::from(onset.is_some_and(|(line, _)| at >= line));
    window(at + below, app.dumps.shown() + usize::from(onset.is_some()), height)
}

/// The place of the dump that is shown at this height of the pane.
pub(super) fn row_at(app: &App, inside: Rect, line: usize) -> Option<usize> {
    let line = first_line(app, usize::from(inside.height).saturating_sub(1)) + line.checked_sub(1)?;
    let place = match onset(app) {
        Some((at, _)) if at == line => return None,
        Some((at, _)) if line > at => line - 1,
        _ => line,
    };
    (place < app.dumps.shown()).then_some(place)
}

fn say(canvas: &mut Canvas<'_>, area: Rect, app: &App, words: &str) {
    let width = usize::from(area.width.saturating_sub(2));
    let lines: Vec<Line<'_>> = text::wrap(words, width)
        .into_iter()
        .map(|line| Line::from(Span::styled(format!(" {line}"), app.theme.dim())))
        .collect();
    super::put(canvas, area, &lines);
}

/// Where they are, how many, and what of them is shown.
pub(super) fn note(app: &App, width: usize) -> Line<'static> {
    let (dumps, theme) = (&app.dumps, app.theme);
    if !dumps.is_listed() {
        return Line::default();
    }
    let mut said = match dumps.missing() {
        Some((_, listed)) => format!("{listed} of {} listed ", dumps.count()),
        None if app.onset().is_none() => format!("{} of {} readable ", dumps.eligible(), dumps.count()),
        None => format!("{} of {} eligible ", dumps.eligible(), dumps.count()),
    };
    let dot = theme.dot();
    if !dumps.filter().is_empty() {
        let found = if dumps.is_ranking() { theme.ellipsis().to_owned() } else { dumps.shown().to_string() };
        said = format!("/{}  {found} of {} ", text::fit(dumps.filter(), 24, theme.ellipsis()), dumps.count());
    }
    if dumps.sort() != Sort::Time {
        said = format!("{said}{dot} {} ", dumps.sort().name());
    }
    let place = dumps.place();
    let place = place.strip_prefix("s3://").unwrap_or(place);
    let room = width.saturating_sub(text::width(&said) + 20);
    let place = if room > 8 { format!(" {}  ", text::fit(place, room, theme.ellipsis())) } else { " ".to_owned() };
    let said = text::fit(&said, width.saturating_sub(17), theme.ellipsis());
    Line::from(vec![Span::styled(place, theme.dim()), Span::raw(said)])
}

fn onset_line(app: &App, when: &str, width: usize) -> Line<'static> {
    let rule = app.theme.rule();
    let words = format!("{rule}{rule} onset {when} ");
    let rest = rule.repeat(width.saturating_sub(text::width(&words)));
    Line::from(Span::styled(text::fit(&format!("{words}{rest}"), width, ""), app.theme.warning()))
}

/// How many cells each column takes; none where there is no room for it.
struct Columns {
    size: usize,
    /// The size against what is usual; it comes before the age, which what is lost says as well.
    usual: usize,
    age: usize,
    /// The storage class.
    class: usize,
    /// The object's version.
    version: usize,
    verdict: usize,
}

impl Columns {
    /// Of a row, before all else.
    const TAKEN: usize = 11;
    const LOSES: usize = 8;

    fn for_width(width: usize) -> Self {
        let column = |from: usize, cells: usize| if width >= from { cells } else { 0 };
        let mut columns = Self {
            size: column(52, 12),
            usual: column(60, 9),
            age: column(74, 8),
            class: column(108, 18),
            version: column(126, 14),
            verdict: 0,
        };
        let Self { size, usual, age, class, version, .. } = columns;
        let taken = 3 + Self::TAKEN + age + size + usual + Self::LOSES + 2 + class + version;
        columns.verdict = width.saturating_sub(taken);
        columns
    }

    /// What stands before the verdict.
    fn cells(&self, app: &App, cells: [&str; 7]) -> String {
        let [taken, age, size, share, loses, class, version] = cells;
        let mark = app.theme.ellipsis();
        let mut line = text::left(taken, Self::TAKEN, mark);
        for (words, cells) in [(age, self.age), (size, self.size), (share, self.usual), (loses, Self::LOSES)] {
            line.push_str(&text::right(words, cells, mark));
        }
        line.push_str("  ");
        for (words, cells) in [(class, self.class), (version, self.version)] {
            // Two cells lie between what stands at the left of columns.
            line.push_str(&text::left(&text::fit(words, cells.saturating_sub(2), mark), cells, mark));
        }
        line
    }

    fn heading(&self, app: &App) -> Line<'static> {
        let words = self.cells(app, ["TAKEN (UTC)", "AGE", "SIZE", "VS USUAL", "LOSES", "CLASS", "VERSION"]);
        let verdict = text::fit("VERDICT", self.verdict, "");
        Line::from(Span::styled(format!("   {words}{verdict}"), app.theme.dim()))
    }
}

/// A size against what is usual: `+2 %`.
pub(super) fn share(row: &SnapshotRow) -> Option<String> {
    let usual = row.usual.filter(|usual| *usual > 0)?;
    let percent = i128::from(row.size) * 100 / i128::from(usual) - 100;
    Some(if percent == 0 { "as usual".to_owned() } else { format!("{percent:+} %") })
}

/// What a row's look depends on besides its dump.
#[derive(Clone, Copy)]
struct Glance {
    selected: bool,
    chosen: bool,
}

fn row_line(
    app: &App,
    row: &SnapshotRow,
    columns: &Columns,
    glance: Glance,
    fuzzy: Option<&mut Fuzzy>,
) -> Line<'static> {
    let theme = app.theme;
    let loses = if row.eligible { duration_text(app.loses(row.taken_at)) } else { theme.dash().to_owned() };
    let (glyph, style) = if app.ui.marked.as_deref() == Some(row.key.as_str()) {
        ("=", theme.key())
    } else if glance.chosen {
        (theme.chosen(), theme.good())
    } else if row.proposed {
        (theme.proposed(), theme.good())
    } else if row.eligible {
        (" ", Style::new())
    } else {
        (theme.refused(), theme.dim())
    };
    let share = share(row);
    let cells = columns.cells(
        app,
        [
            &row.taken_at.strftime("%m-%d %H:%M").to_string(),
            &duration_text(app.now.duration_since(row.taken_at)),
            &text::bytes(row.size),
            match share.as_deref() {
                Some("as usual") => "=",
                Some(share) => share,
                None => theme.dash(),
            },
            &loses,
            row.storage_class.as_deref().unwrap_or("usual"),
            row.version_id.as_deref().unwrap_or(theme.dash()),
        ],
    );
    let words = if row.eligible { Style::new() } else { theme.dim() };
    // Doubt stands out only where the dump could be chosen in spite of it.
    let judged = if row.eligible && row.doubtful { theme.warning() } else { words };
    let verdict = text::left(&row.verdict, columns.verdict, theme.ellipsis());
    if glance.selected {
        let line = format!("{}{glyph} {cells}{verdict}", theme.cursor());
        return Line::from(Span::styled(line, theme.selected()));
    }
    let mut line = Line::from(vec![Span::styled(format!(" {glyph} "), style), Span::styled(cells, words)]);
    match fuzzy {
        // Whoever filters wants to see by what: the name in place of the verdict, where the match is in it.
        Some(fuzzy) => {
            let places = fuzzy.places(&row.key);
            let name = row.key.rsplit('/').next().unwrap_or(&row.key);
            let cut = row.key.len() - name.len();
            if places.is_empty() {
                line.extend(super::marked(app, &verdict, &fuzzy.places(&verdict), judged));
            } else {
                let places: Vec<_> =
                    places.into_iter().filter(|at| at.start >= cut).map(|at| at.start - cut..at.end - cut).collect();
                let name = text::left(name, columns.verdict, theme.ellipsis());
                line.extend(super::marked(app, &name, &places, words));
            }
        }
        None => line.push_span(Span::styled(verdict, judged)),
    }
    line
}
