//! Slack's mrkdwn. Slack has three characters that must be escaped, and no way to escape its marks: a backtick in the text
//! would begin code, so it is written as an apostrophe.

use crate::incident::{Level, Seal, State};

use super::one_line;
use super::parts::{self, Entry};
use super::report::{goals, moment, remarks};

/// What was reached, and the timeline, in parts of at most `most` bytes.
pub(super) fn parts(state: &State, most: usize, seal: Option<&Seal>) -> Vec<String> {
    let mut entries: Vec<Entry> = goals(state)
        .iter()
        .map(|goal| Entry {
            before: format!("• *{}:* ", goal.name),
            text: one_line(&goal.words()),
            after: String::new(),
        })
        .collect();
    entries.extend(state.timeline.iter().map(|entry| {
        let mark = match entry.level {
            Level::Normal => "",
            Level::Note => ":memo: ",
            Level::Warning => ":warning: ",
            Level::Failure => ":x: ",
        };
        let remarks = parts::written(&one_line(&remarks(entry)), parts::REMARKS, escape);
        Entry {
            before: format!("`{}` {mark}", moment(entry.at)),
            text: one_line(&entry.text),
            after: if remarks.is_empty() { String::new() } else { format!(" _({remarks})_") },
        }
    }));
    entries.extend(seal.map(|seal| Entry::of(format!("journal {}", seal.short()))));
    let about = one_line(&format!("{} ({}, {})", state.id, state.database, state.environment));
    let about = parts::written(&about, parts::ABOUT, escape);
    parts::parts(|part| format!("*Timeline of {about}*, all times UTC{part}"), &entries, most, escape)
}

fn escape(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '`' => Some("'"),
        _ => None,
    }
}
