//! One event, one line.
//!
//! A line is the event's JSON object with two more members at its end:
//! `,"prev":"<64 hex digits>","crc":"<8 hex digits>"}`. `prev` is the SHA-256 of the line before without its
//! newline (64 zeros for the first), `crc` the CRC32C of everything before `,"crc"`.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::incident::{Digest, Event};

/// `prev` of the first line.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Length of `,"crc":"xxxxxxxx"}`.
pub(super) const TAIL: usize = 18;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has no checksum where one must be.
    #[error("it has no checksum")]
    NoChecksum,
    /// Its checksum does not fit.
    #[error("its checksum does not fit: it was changed after it was written")]
    Checksum,
    /// It is whole, but for its end.
    #[error("it is whole, and another byte stands where its line end belongs")]
    End,
    /// It does not follow the line before.
    #[error("it does not follow the line before: a line was changed, dropped or swapped")]
    Chain,
    /// It is no event.
    #[error("it is no event: {0}")]
    Event(String),
    /// Its number is not the next one.
    #[error("it is event {found} where event {expected} belongs")]
    Sequence {
        /// The number that belongs here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
}

#[derive(Deserialize)]
pub(super) struct Chained {
    pub(super) prev: String,
    #[serde(flatten)]
    pub(super) event: Event,
}

/// The line of an event, without a newline. `prev` is the digest of the line before.
///
/// # Errors
/// The event cannot be written as JSON.
pub fn encode(event: &Event, prev: &str) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(event)?;
    line.pop();
    line.push_str(",\"prev\":\"");
    line.push_str(prev);
    line.push('"');
    let crc = crc32c::crc32c(line.as_bytes());
    // Writing to a String cannot fail.
    let _ = write!(line, ",\"crc\":\"{crc:08x}\"}}");
    Ok(line)
}

/// The event of a line, which must follow a line with the digest `prev`.
///
/// # Errors
/// What is wrong with it.
pub fn decode(line: &[u8], prev: &str) -> Result<Event, LineError> {
    let chained = sound(line)?;
    if chained.prev != prev {
        return Err(LineError::Chain);
    }
    Ok(chained.event)
}

/// The event of a line that is as it was written, whatever it follows.
pub(super) fn sound(line: &[u8]) -> Result<Chained, LineError> {
    let split = line.len().checked_sub(TAIL).ok_or(LineError::NoChecksum)?;
    let (body, tail) = line.split_at(split);
    let digits = tail
        .strip_prefix(b",\"crc\":\"")
        .and_then(|rest| rest.strip_suffix(b"\"}"))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .ok_or(LineError::NoChecksum)?;
    if format!("{:08x}", crc32c::crc32c(body)) != digits {
        return Err(LineError::Checksum);
    }
    let mut json = body.to_vec();
    json.push(b'}');
    serde_json::from_slice(&json).map_err(|error| LineError::Event(error.to_string()))
}

/// The digest that the next line carries as `prev`.
pub(super) fn digest(line: &[u8]) -> String {
    Digest::of(line).0
}
