//! Plain text for a PagerDuty note: UTC, no markup, cut at line ends.

use crate::incident::{Level, Seal, State};

/// The longest part, in bytes. PagerDuty documents no limit for a note; this is well below what its editor takes.
pub(super) const NOTE_BYTES: usize = 20_000;

/// The timeline in parts of at most `most` bytes, each with a heading that says which part it is.
pub(super) fn parts(state: &State, most: usize, seal: Option<&Seal>) -> Vec<String> {
    // Room for the heading with two-digit part numbers.
    let room = most.saturating_sub(160).max(1);
    let sealed = seal.map_or_else(String::new, |seal| format!("\njournal {}", seal.short()));
    let mut bodies: Vec<String> = vec![String::new()];
    for entry in &state.timeline {
        let mark = match entry.level {
            Level::Normal => "",
            Level::Note => "note: ",
            Level::Warning => "warning: ",
            Level::Failure => "failed: ",
        };
        let text = entry.text.replace('\n', " / ");
        let who = if entry.actor == "relight" { String::new() } else { format!(" ({})", entry.actor) };
        let line = cut(&format!("{} {mark}{text}{who}", entry.at.strftime("%Y-%m-%d %H:%M:%SZ")), room);
        let full = bodies.last().is_some_and(|body| !body.is_empty() && body.len() + 1 + line.len() > room);
        if full {
            bodies.push(String::new());
        }
        if let Some(body) = bodies.last_mut() {
            if !body.is_empty() {
                body.push('\n');
            }
            body.push_str(&line);
        }
    }
    let count = bodies.len();
    bodies
        .into_iter()
        .enumerate()
        .map(|(at, body)| {
            let part = if count > 1 { format!(", part {}/{count}", at + 1) } else { String::new() };
            // The seal stands in the last part, which ends with what it seals.
            let sealed = if at + 1 == count { sealed.as_str() } else { "" };
            format!(
                "Timeline of {} ({}, {}), all times UTC{part}\n{body}{sealed}",
                state.id, state.database, state.environment
            )
        })
        .collect()
}

/// A line that fits into `room` bytes, cut at a character's end.
fn cut(line: &str, room: usize) -> String {
    if line.len() <= room {
        return line.to_owned();
    }
    let mut end = room.saturating_sub('…'.len_utf8());
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &line[..end])
}
