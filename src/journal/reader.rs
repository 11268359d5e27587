//! From a file to its history.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::incident::Event;

use super::format::{GENESIS, decode, digest};
use super::{JournalError, LineError};

/// What a journal holds.
#[derive(Debug, Clone)]
pub struct History {
    /// Its events, oldest first.
    pub events: Vec<Event>,
    /// Digest of its last line.
    pub head: String,
    /// Bytes of its complete lines.
    pub whole: u64,
    /// Bytes behind them: a torn last line.
    pub torn: u64,
}

/// Reads and proves a journal. Changes nothing.
///
/// # Errors
/// It cannot be read, or a complete line is damaged.
pub fn read(path: &Path) -> Result<History, JournalError> {
    let io = |error| JournalError::Io { path: path.to_owned(), doing: "read", error };
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
    let mut history = History { events: Vec::new(), head: GENESIS.to_owned(), whole: 0, torn: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).map_err(io)? as u64;
        if length == 0 {
            return Ok(history);
        }
        let number = history.events.len() as u64 + 1;
        let damaged = |error| JournalError::Damaged { path: path.to_owned(), line: number, error };
        let Some(text) = line.strip_suffix(b"\n") else {
            // A write that was cut off leaves the beginning of a line, never a whole one with something else behind it. A
            // zero may be a block that did not reach the disk.
            if let Some((end, text)) = line.split_last()
                && *end != 0
                && decode(text, &history.head).is_ok()
            {
                return Err(damaged(LineError::End));
            }
            history.torn = length;
            return Ok(history);
        };
        let event = decode(text, &history.head).map_err(damaged)?;
        if event.seq != number {
            return Err(damaged(LineError::Sequence { expected: number, found: event.seq }));
        }
        history.head = digest(text);
        history.whole += length;
        history.events.push(event);
    }
}

/// The digest of the line with this number, counted from 1. The journal was proved before.
///
/// # Errors
/// It cannot be read, or is shorter.
pub fn digest_of(path: &Path, seq: u64) -> Result<String, JournalError> {
    let io = |error| JournalError::Io { path: path.to_owned(), doing: "read", error };
    let reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
    let at = usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX);
    match reader.split(b'\n').nth(at) {
        Some(line) => Ok(digest(&line.map_err(io)?)),
        None => Err(io(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))),
    }
}
