//! The report after the incident, in Markdown.

use std::fmt::Write as _;

use crate::incident::{Seal, State, clock, duration_text};

use super::chart::Chart;
use super::one_line;
use super::report::{Report, all_remarks, moment};

/// Columns of a bar.
const BAR: i64 = 48;

pub(super) fn report(state: &State, seal: Option<&Seal>) -> String {
    let report = Report::of(state);
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# {}\n", escape(&report.title));
    let _ = writeln!(out, "## Impact\n\n| | |\n|---|---|");
    for (name, value) in &report.impact {
        let _ = writeln!(out, "| {name} | {} |", escape(value));
    }
    for goal in &report.goals {
        let _ = writeln!(out, "| **{}** | {} |", goal.name, escape(&goal.words()));
    }
    if !report.failures.is_empty() {
        let _ = writeln!(out, "\n## What failed\n");
        for failure in &report.failures {
            let (step, target, words) = (escape(&failure.step), escape(&failure.target), escape(&failure.words));
            let _ = writeln!(out, "- `{}` {step} on {target}: {words}", moment(failure.at));
        }
    }
    let _ = writeln!(out, "\n## Where the time went\n\n```text\n{}```", chart(&report.chart));
    let _ = writeln!(out, "\n## Decisions\n");
    for entry in &report.decisions {
        let _ = writeln!(out, "- `{}` **{}**: {}", moment(entry.at), escape(&entry.actor), escape(&entry.text));
    }
    if report.decisions.is_empty() {
        let _ = writeln!(out, "None yet.");
    }
    let _ = writeln!(out, "\n## Timeline (UTC)\n");
    for entry in &state.timeline {
        let remarks = all_remarks(state, entry);
        let remarks = if remarks.is_empty() { String::new() } else { format!(" *({})*", escape(&remarks)) };
        let _ = writeln!(out, "- `{}` {}{remarks}", moment(entry.at), escape(&entry.text));
    }
    let _ = writeln!(out, "\n## Steps\n\n| step | outcome | by | took | proof |\n|---|---|---|---|---|");
    for step in &report.steps {
        let (title, outcome, by) = (escape(&step.title), escape(&step.outcome), escape(&step.by));
        let _ = writeln!(out, "| {title} | {outcome} | {by} | {} | {} |", step.took, escape(&step.proof));
    }
    if let Some(seal) = seal {
        let _ = writeln!(
            out,
            "\nJournal `{seal}`. `relight audit {} --against` proves that it still holds this.",
            state.id
        );
    }
    out
}

/// The phases as bars of text: they stand in a block that is shown as it is.
fn chart(chart: &Chart) -> String {
    let title = |title: &str| -> String { one_line(title).replace('`', "'").chars().take(30).collect() };
    let widest = chart.rows.iter().map(|row| title(&row.title).chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for row in &chart.rows {
        let name = title(&row.title);
        let (bar, busy) = (chart.bar(row, BAR), duration_text(row.busy));
        let _ = writeln!(out, "{name:<widest$} |{bar}| {busy:>7}");
    }
    let (from, to) = (clock(chart.from), clock(chart.to));
    let gap = usize::try_from(BAR).unwrap_or(0).saturating_sub(from.len() + to.len());
    let _ = writeln!(out, "{:<widest$}  {from}{}{to}", "", " ".repeat(gap));
    let _ = writeln!(
        out,
        "█ at work  ░ between two steps of the phase. {} in all, {} of it nothing was at work.",
        duration_text(chart.length()),
        duration_text(chart.idle)
    );
    out
}

/// Text that came from outside must not become markup, and must stay in its table cell.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        if matches!(c, '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' | '#' | '~' | '&') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
