//! What can be wrong with an archive, in words that say what to do.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Foreign, Version};

/// Why bytes could not be read as a custom-format archive. It travels as JSON, so that a client and the journal
/// carry the reason itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ArchiveError {
    /// The bytes are fine so far, but they are only the beginning. Read more and parse again from the start.
    #[error("only the beginning of the archive was read; at least {at_least} bytes of it are needed")]
    NeedMore {
        /// A lower bound of the bytes that the parsed part takes. It is a minimum, not a good size of the next read:
        /// ask for at least twice what was there before, so that the number of reads stays small.
        at_least: u64,
    },
    /// There is no byte at all.
    #[error(
        "the file is empty (0 bytes): pg_dump wrote nothing, or its upload failed. Choose another snapshot, and find \
         out why the backup job did not fail"
    )]
    Empty,
    /// The file begins like an archive but ends before its header or table of contents does.
    #[error(
        "the archive is cut off inside its {part}: it is {size} bytes long and needs at least {at_least}. The dump or \
         its upload was interrupted; choose another snapshot"
    )]
    CutOff {
        /// The file's size in bytes.
        size: u64,
        /// How many bytes there should be at least.
        at_least: u64,
        /// The part that is cut: "header and table of contents", or a table's name.
        part: String,
    },
    /// It is something else than a custom-format archive.
    #[error("this is not a custom-format pg_dump archive but {}. {}", .looks_like, .looks_like.advice())]
    NotAnArchive {
        /// What it looks like.
        looks_like: Foreign,
    },
    /// A newer PostgreSQL wrote it.
    #[error(
        "archive version {version} is newer than {newest}, the newest this program knows (PostgreSQL 17 and 18). Restore it \
         with the pg_restore of the PostgreSQL that wrote it",
        newest = Version::NEWEST
    )]
    Newer {
        /// The version that its header names.
        version: Version,
    },
    /// PostgreSQL 11 or older wrote it.
    #[error(
        "archive version {version} is older than {oldest} (PostgreSQL 12), the oldest this program reads. Restore it by \
         hand with pg_restore, which still reads it",
        oldest = Version::OLDEST
    )]
    Older {
        /// The version that its header names.
        version: Version,
    },
    /// The archive was written on a platform with other integer sizes.
    #[error(
        "the archive has integers of {int_size} and file offsets of {offset_size} bytes; only 4 and 8 are written by \
         PostgreSQL's usual builds. Either its header is damaged or it comes from an unusual platform"
    )]
    ForeignSizes {
        /// Bytes of an integer without its sign byte.
        int_size: u8,
        /// Bytes of a file offset.
        offset_size: u8,
    },
    /// A value cannot be what it should be.
    #[error("the archive is damaged at byte {at}: {what}. Choose another snapshot, or fetch this one again")]
    Corrupt {
        /// Offset of the fault from the file's beginning.
        at: u64,
        /// What is wrong there.
        what: Cow<'static, str>,
    },
    /// The file itself could not be read.
    #[error("reading the archive at byte {at} failed: {cause}. Check the disk and the file's permissions")]
    Read {
        /// Offset that was being read.
        at: u64,
        /// The operating system's words.
        cause: String,
    },
}

impl ArchiveError {
    /// The same error, judged with the file's whole `size` in bytes at hand: more cannot be read than there is, so
    /// [`ArchiveError::NeedMore`] beyond it means that the file is cut off.
    #[must_use]
    pub fn given_size(self, size: u64) -> Self {
        match self {
            Self::NeedMore { .. } if size == 0 => Self::Empty,
            Self::NeedMore { at_least } if at_least > size => {
                Self::CutOff { size, at_least, part: "header and table of contents".to_owned() }
            }
            other => other,
        }
    }

    /// At most 34 characters, for a column.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::NeedMore { .. } => "read only in part".to_owned(),
            Self::Empty => "empty (0 bytes)".to_owned(),
            Self::CutOff { .. } => "truncated".to_owned(),
            Self::NotAnArchive { looks_like } => looks_like.short().to_owned(),
            Self::Newer { version } => format!("archive version {version} is too new"),
            Self::Older { version } => format!("archive version {version} is too old"),
            Self::ForeignSizes { .. } => "written on an unusual platform".to_owned(),
            Self::Corrupt { .. } => "damaged".to_owned(),
            Self::Read { .. } => "could not be read".to_owned(),
        }
    }

    pub(super) fn corrupt(at: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { at, what: what.into() }
    }
}
