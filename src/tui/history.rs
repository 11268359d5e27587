//! The timeline as it is looked at: which entries are shown, in which time, and everything about one of them.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::incident::{Level, MessageState, TimelineEntry};

use super::app::App;

/// Whether an entry passes the filter.
pub(super) fn is_shown(app: &App, entry: &TimelineEntry) -> bool {
    !app.ui.milestones || entry.milestone
}

/// Places of the entries that are shown.
pub(super) fn shown(app: &App) -> Vec<usize> {
    let entries = app.state.as_ref().map(|state| state.timeline.as_slice()).unwrap_or_default();
    entries.iter().enumerate().filter(|(_, entry)| is_shown(app, entry)).map(|(at, _)| at).collect()
}

/// The place of the selected entry: where the filter hides it, of the one before it, else of the one after.
pub(super) fn selected(app: &App) -> Option<usize> {
    let entries = &app.state.as_ref()?.timeline;
    let wanted = app.ui.entry.map_or(entries.len(), |seq| entries.partition_point(|entry| entry.seq <= seq));
    let before = entries.iter().take(wanted).rposition(|entry| is_shown(app, entry));
    before.or_else(|| entries.iter().position(|entry| is_shown(app, entry)))
}

/// The selected entry.
pub(super) fn entry(app: &App) -> Option<&TimelineEntry> {
    app.state.as_ref()?.timeline.get(selected(app)?)
}

/// The clock's time of a moment: nine columns, UTC by its Z.
pub(super) fn time(app: &App, at: Timestamp) -> String {
    if app.ui.local {
        format!("{} ", at.to_zoned_datetime(app.zone.clone()).strftime("%H:%M:%S"))
    } else {
        at.strftime("%H:%M:%SZ").to_string()
    }
}

/// The day of a moment, with the zone that it is a day of.
pub(super) fn day(app: &App, at: Timestamp) -> String {
    if app.ui.local {
        at.to_zoned_datetime(app.zone.clone()).strftime("%Y-%m-%d UTC%:z").to_string()
    } else {
        at.strftime("%Y-%m-%d UTC").to_string()
    }
}

/// What the zone is called.
pub(super) fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("this host")
}

/// The zone is UTC under one of its names.
pub(super) fn is_utc(zone: &TimeZone) -> bool {
    *zone == TimeZone::UTC
        || zone.iana_name().is_some_and(|name| matches!(name, "UTC" | "Etc/UTC" | "Etc/UCT" | "Zulu"))
}

/// An entry's words, as a line begins with them.
pub(super) fn words(entry: &TimelineEntry) -> String {
    let who = if entry.level == Level::Note { format!("{}: ", entry.actor) } else { String::new() };
    let corrected = if entry.corrected.is_some() { " (corrected)" } else { "" };
    format!("{who}{}{corrected}", entry.text)
}

/// Everything about an entry.
pub(super) fn details(app: &App, entry: &TimelineEntry) -> String {
    let Some(state) = &app.state else { return String::new() };
    let at = entry.at;
    let local = at.to_zoned_datetime(app.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z");
    let mut out = format!("{} by {}\n", at.strftime("%Y-%m-%d %H:%M:%SZ"), entry.actor);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{local} ({})\n\n{}", zone_name(&app.zone), entry.text);
    if let Some(by) = entry.corrected {
        let _ = writeln!(out, "\nCorrected by event {by}. Before, it said:");
        for before in &entry.before {
            let _ = writeln!(out, "  {before}");
        }
    }
    let told = state.told(entry);
    if !told.is_empty() {
        let _ = writeln!(out, "\nSent");
    }
    for one in told {
        let _ = writeln!(out, "  {}: {}", one.channel.name(), one.how.name());
    }
    for message in state.messages_about(entry.seq) {
        match &message.state {
            MessageState::InDoubt(problem) | MessageState::Failed(problem) => {
                let _ = writeln!(out, "    {} {}", problem.why, problem.next);
            }
            MessageState::Sent(reference) => {
                let _ = writeln!(out, "    as {reference}");
            }
            MessageState::Unsent => {}
        }
        let _ = writeln!(out, "    {}", message.text);
    }
    out
}
