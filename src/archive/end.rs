//! Proves that an archive is whole, without decompressing it.

use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};

use super::{ArchiveError, Span, Toc, blocks::Walk};

/// How an archive ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// Every data block that the table of contents promises is there, and nothing follows the last.
    Complete,
    /// The file ends too early.
    Cut {
        /// What is the first to be incomplete or missing, for instance `TABLE DATA app.transactions`.
        inside: String,
    },
    /// The framing of the data is damaged.
    Corrupt {
        /// Offset of the fault.
        at: u64,
        /// What is wrong there.
        what: String,
    },
}

/// An entry whose data is not in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The entry.
    pub dump_id: i32,
    /// Its kind and name, for instance `TABLE DATA app.transactions`.
    pub name: String,
}

/// What a walk to the end of an archive found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndState {
    /// The file's size in bytes.
    pub bytes: u64,
    /// Number of whole data blocks.
    pub blocks: u32,
    /// Number of data blocks that there should be.
    pub expected: u32,
    /// The entries whose block is absent or incomplete.
    pub missing: Vec<Missing>,
    /// The verdict.
    pub end: End,
}

impl EndState {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }
}

/// Walks all data blocks of the archive in `reader`, whose table of contents is `toc`, to its end.
///
/// It reads the framing only and skips the content, so a truncated file, a lost block and a wrong offset are found,
/// as `pg_restore -l` does not; a flipped byte inside compressed data is not, since that takes decompression
/// ([`super::count_rows`]) or the object's checksum.
///
/// Errors: only [`ArchiveError::Read`]. What is wrong with the archive is in the result.
pub fn verify_end(reader: impl Read + Seek, toc: &Toc) -> Result<EndState, ArchiveError> {
    find_blocks(reader, toc, &mut |_| {})
}

/// The same walk, which also tells `found` of each data block as soon as it is known to be whole: so the blocks of an
/// archive without offsets are found while it arrives.
///
/// # Errors
/// As [`verify_end`].
pub fn find_blocks(reader: impl Read + Seek, toc: &Toc, found: &mut dyn FnMut(Span)) -> Result<EndState, ArchiveError> {
    let mut walk = Walk::new(reader, toc)?;
    let outcome = walk.run(toc, found);
    let expected: Vec<_> = toc.entries.iter().filter(|entry| entry.has_data()).collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|entry| !walk.blocks.contains_key(&entry.dump_id))
        .map(|entry| Missing { dump_id: entry.dump_id, name: entry.to_string() })
        .collect();
    let end = match (outcome, missing.first()) {
        (Err(error @ ArchiveError::Read { .. }), _) => return Err(error),
        (Err(ArchiveError::CutOff { part, .. }), _) => End::Cut { inside: part },
        (Err(ArchiveError::Corrupt { at, what }), _) => End::Corrupt { at, what: what.into_owned() },
        (Err(other), _) => End::Corrupt { at: toc.data_start, what: other.to_string() },
        (Ok(()), Some(first)) => End::Cut { inside: first.name.clone() },
        (Ok(()), None) => End::Complete,
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(EndState { bytes: walk.size, blocks: count(walk.blocks.len()), expected: count(expected.len()), missing, end })
}
