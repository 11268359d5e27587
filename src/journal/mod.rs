//! The only truth: an append-only file of events, one JSON object a line.
//!
//! Each line carries the SHA-256 of the line before (`prev`) and a CRC32C of itself (`crc`), so a changed,
//! dropped or swapped line is found. An append is on disk (`fdatasync`) before it is acknowledged.
//! Only the last line may be torn, which means that it has no newline: it is cut off when the journal is
//! opened. Anything else wrong stops, with the line's number; [`inspect()`] says all that is wrong, and where.

mod format;
mod inspect;
mod reader;
mod writer;

pub use format::{LineError, decode, encode};
pub use inspect::{Fault, inspect};
pub use reader::{End, History, digest_of, read, read_each};
pub use writer::Journal;

use std::io;
use std::path::PathBuf;

/// The journal's name in an incident's folder.
pub const FILE: &str = "journal.jsonl";

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {} cannot be {doing}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read`, `written`, …
        doing: &'static str,
        /// The system's word.
        error: io::Error,
    },
    /// A complete line is damaged.
    #[error(
        "the journal {} is damaged in line {line}: {error}. Nothing was changed. Keep the file as it is and start \
         from a copy, or go on by hand", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        error: LineError,
    },
    /// Another engine holds it.
    #[error("another engine holds the journal {}", .0.display())]
    Held(PathBuf),
    /// An earlier write failed and could not be taken back.
    #[error("the journal {} could not be written earlier; nothing more is written", .0.display())]
    Stopped(PathBuf),
}
