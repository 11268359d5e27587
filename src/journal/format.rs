//! One event, one line.
//!
//! A line is the event's JSON object with two more members at its end:
//! `,"prev":"<64 hex digits>","crc":"<8 hex digits>"}`. `prev` is the SHA-256 of the line before without its
//! newline (64 zeros for the first), `crc` the CRC32C of everything before `,"crc"`.

use sha2::{Digest as _, Sha256};

use crate::incident::Event;

/// `prev` of the first line.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Length of `,"crc":"xxxxxxxx"}`.
pub(super) const TAIL: usize = 18;
/// Digits of a digest.
pub(super) const DIGITS: usize = GENESIS.len();
const HEX: &[u8; 16] = b"0123456789abcdef";

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
    let crc = hex(&crc32c::crc32c(line.as_bytes()).to_be_bytes());
    line.push_str(",\"crc\":\"");
    line.push_str(&crc);
    line.push_str("\"}");
    Ok(line)
}

/// The event of a line, which must follow a line with the digest `prev`.
///
/// # Errors
/// What is wrong with it.
pub fn decode(line: &[u8], prev: &str) -> Result<Event, LineError> {
    let chained = sound(line)?;
    if chained.prev == prev { Ok(chained.event) } else { Err(LineError::Chain) }
}

/// An event, and what its line says of the line before.
pub(super) struct Chained {
    pub(super) prev: String,
    pub(super) event: Event,
}

/// The event of a line that is as it was written, whatever it follows.
pub(super) fn sound(line: &[u8]) -> Result<Chained, LineError> {
    let whole = Whole::of(line)?;
    let event = whole.event(&mut Vec::new())?;
    Ok(Chained { prev: String::from_utf8_lossy(whole.prev).into_owned(), event })
}

/// A line whose checksum fits.
pub(super) struct Whole<'a> {
    /// The event's object, without the brace that closes it.
    event: &'a [u8],
    /// The digest that it says the line before has.
    pub(super) prev: &'a [u8],
}

impl<'a> Whole<'a> {
    pub(super) fn of(line: &'a [u8]) -> Result<Self, LineError> {
        let (body, digits) =
            member(line.strip_suffix(b"}").unwrap_or_default(), b",\"crc\":\"", 8).ok_or(LineError::NoChecksum)?;
        if !is_hex_of(digits, &crc32c::crc32c(body).to_be_bytes()) {
            return Err(LineError::Checksum);
        }
        // One that says nothing of the line before follows none.
        let (event, prev) = member(body, b",\"prev\":\"", DIGITS).ok_or(LineError::Chain)?;
        Ok(Self { event, prev })
    }

    /// The event. `scratch` is overwritten; it saves an allocation a line.
    pub(super) fn event(&self, scratch: &mut Vec<u8>) -> Result<Event, LineError> {
        scratch.clear();
        scratch.extend_from_slice(self.event);
        scratch.push(b'}');
        serde_json::from_slice(scratch).map_err(|error| LineError::Event(error.to_string()))
    }
}

/// Splits a member with so many digits off the end of an object that is not closed.
fn member<'a>(object: &'a [u8], name: &[u8], digits: usize) -> Option<(&'a [u8], &'a [u8])> {
    let (before, member) = object.split_at_checked(object.len().checked_sub(name.len() + digits + 1)?)?;
    Some((before, member.strip_prefix(name)?.strip_suffix(b"\"")?))
}

/// The digest that the next line carries as `prev`.
pub(super) fn digest(line: &[u8]) -> String {
    hex(&Sha256::digest(line))
}

/// Whether the digits are what [`hex`] makes of the bytes.
fn is_hex_of(digits: &[u8], bytes: &[u8]) -> bool {
    let wanted = bytes.iter().flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    digits.iter().copied().eq(wanted)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 0xf)]));
    }
    text
}
