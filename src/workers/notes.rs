//! Milestones as notes on the PagerDuty incident, for the outbox.

use crate::config::Config;

use super::pagerduty::Api;
use super::{Disposition, WorkerError};

/// PagerDuty documents no longest note; this is far above a milestone and far below what a request may hold.
const LONGEST: usize = 20_000;

/// Writes a note on a PagerDuty incident and gives its id.
///
/// The note ends in `marker`, which is added where `text` lacks it. `maybe_sent_before` looks through the notes first
/// and gives the id of the one that holds the marker.
///
/// # Errors
/// As PagerDuty says. `Fatal` where it can never work: an unknown incident, or one with its 2,000 notes.
pub async fn send_note(
    config: &Config,
    incident_id: &str,
    text: &str,
    marker: &str,
    maybe_sent_before: bool,
) -> Result<String, WorkerError> {
    let api = Api::open(config).await?;
    if maybe_sent_before {
        let known = api.notes(incident_id).await?;
        if let Some(note) = known.into_iter().find(|note| note.content.contains(marker)) {
            return Ok(note.id);
        }
    }
    match api.add_note(incident_id, &content(text, marker)).await {
        Ok(note) => Ok(note.id),
        Err(mut failed) => {
            if failed.is("2019") {
                failed = failed.explained(
                    "The PagerDuty incident holds the 2,000 notes that it can hold.",
                    "Write further notes elsewhere; the timeline here goes on.",
                );
                failed.error.disposition = Disposition::Fatal;
            } else if failed.status == Some(404) {
                failed.error.disposition = Disposition::Fatal;
            }
            Err(failed.into())
        }
    }
}

/// Text and marker, cut so that the marker is never lost.
fn content(text: &str, marker: &str) -> String {
    let bare = text.trim_end().strip_suffix(marker).unwrap_or(text).trim_end();
    let cut: String = bare.chars().take(LONGEST).collect();
    format!("{cut} {marker}")
}

#[cfg(test)]
mod tests {
    use super::content;

    #[test]
    fn a_note_ends_in_its_marker_once() {
        assert_eq!(content("Done. [INC-1 #4]", "[INC-1 #4]"), "Done. [INC-1 #4]");
        assert_eq!(content("Done.", "[INC-1 #4]"), "Done. [INC-1 #4]");
        let long = content(&"x".repeat(30_000), "[INC-1 #4]");
        assert!(long.ends_with(" [INC-1 #4]") && long.len() == 20_011);
    }
}
