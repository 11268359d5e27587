//! What is wrong with an object itself, whenever it was taken.

use super::{Inspected, Judge, Listed, Reason, size_text};
use crate::archive::{ArchiveError, End};

/// The reason, its short and its long text.
pub(super) type Rejection = (Reason, String, String);

/// The most fundamental thing that is wrong with the object, if any.
pub(super) fn unfit(listed: &Listed, found: Option<&Inspected>, cx: &Judge) -> Option<Rejection> {
    if listed.size == 0 {
        return Some(reject(Reason::Empty, "empty (0 bytes)", &ArchiveError::Empty.to_string()));
    }
    if let Some(class @ ("GLACIER" | "DEEP_ARCHIVE")) = listed.storage_class.as_deref() {
        let detail = format!(
            "It lies in the storage class {class} and cannot be read before it is restored from there, which takes \
                 minutes to two days: aws s3api restore-object. Choose another snapshot unless it is the only one."
        );
        return Some(reject(Reason::Archived, "archived, not readable now", &detail));
    }
    let found = found?;
    let header = match &found.header {
        Ok(header) => header,
        Err(error) => {
            return Some(reject(reason_of(error), error.short(), &error.to_string()));
        }
    };
    let oldest = header.version.oldest_pg_restore();
    if oldest > cx.pg_restore_major {
        let detail = format!(
            "Its archive version {} needs pg_restore {oldest} or newer; the one at hand is {}. Install the client of \
                 PostgreSQL {oldest}, or choose another snapshot.",
            header.version, cx.pg_restore_major
        );
        return Some(reject(Reason::NewerVersion, format!("needs pg_restore {oldest}"), &detail));
    }
    if let (Some(wanted), Some(is)) = (&cx.database, &header.database)
        && wanted != is
    {
        let detail = format!("It is a dump of the database {is}, not of {wanted}. Choose one of {wanted}.");
        return Some(reject(Reason::ForeignDatabase, "dump of another database", &detail));
    }
    truncated(listed, found)
}

fn truncated(listed: &Listed, found: &Inspected) -> Option<Rejection> {
    match found.end.as_ref().map(|state| &state.end) {
        Some(End::Cut { inside }) => {
            let detail = format!(
                "It ends too early, in {inside}: the dump or its upload was interrupted. Choose another snapshot."
            );
            return Some(reject(Reason::Truncated, "truncated", &detail));
        }
        Some(End::Corrupt { at, what }) => {
            let damage = ArchiveError::Corrupt { at: *at, what: what.clone().into() };
            return Some(reject(Reason::Damaged, "damaged", &damage.to_string()));
        }
        Some(End::Complete) => return None,
        None => {}
    }
    let toc = found.toc.as_ref()?;
    let needed = toc.last_block_at.unwrap_or(0).max(toc.data_start.saturating_sub(1));
    let no_data = toc.tables_with_data > 0 && listed.size <= toc.data_start;
    (listed.size <= needed || no_data).then(|| {
        let detail = format!(
            "It is {} long, but its table of contents places data at byte {needed} and behind: the dump or its upload \
                 was interrupted. Choose another snapshot.",
            size_text(listed.size)
        );
        reject(Reason::Truncated, "truncated", &detail)
    })
}

/// A rejection, its `detail` made a sentence.
pub(super) fn reject(reason: Reason, short: impl Into<String>, detail: &str) -> Rejection {
    (reason, short.into(), sentence(detail))
}

/// Capital letter first, full stop last.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

fn reason_of(error: &ArchiveError) -> Reason {
    match error {
        ArchiveError::Empty => Reason::Empty,
        ArchiveError::CutOff { .. } => Reason::Truncated,
        ArchiveError::NotAnArchive { .. } => Reason::NotAnArchive,
        ArchiveError::Newer { .. } => Reason::NewerVersion,
        ArchiveError::Corrupt { .. } => Reason::Damaged,
        _ => Reason::Unreadable,
    }
}
