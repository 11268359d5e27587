//! Plain text for PagerDuty notes: UTC, no markup, cut at line ends.

use crate::incident::{Level, Seal, State};

use super::one_line;
use super::parts::{self, Entry};
use super::report::{moment, remarks};

/// The timeline in parts of at most `most` bytes.
pub(super) fn parts(state: &State, most: usize, seal: Option<&Seal>) -> Vec<String> {
    let mut entries: Vec<Entry> = state
        .timeline
        .iter()
        .map(|entry| {
            let mark = match entry.level {
                Level::Normal => "",
                Level::Note => "note: ",
                Level::Warning => "warning: ",
                Level::Failure => "failed: ",
            };
            let remarks = parts::written(&one_line(&remarks(entry)), parts::REMARKS, as_it_is);
            Entry {
                before: format!("{} {mark}", moment(entry.at)),
                text: one_line(&entry.text),
                after: if remarks.is_empty() { String::new() } else { format!(" ({remarks})") },
            }
        })
        .collect();
    // The seal stands at the end of what it seals.
    entries.extend(seal.map(|seal| Entry::of(format!("journal {}", seal.short()))));
    let about = one_line(&format!("{} ({}, {})", state.id, state.database, state.environment));
    let about = parts::written(&about, parts::ABOUT, as_it_is);
    parts::parts(|part| format!("Timeline of {about}, all times UTC{part}"), &entries, most, as_it_is)
}

fn as_it_is(_: char) -> Option<&'static str> {
    None
}
