//! Reads the format's integers and strings from a slice, and knows when the slice is only a beginning.

use super::ArchiveError;

/// A string longer than this is a damaged length, not a definition: PostgreSQL's own limit of a value is 1 GiB, and
/// asking for that much of an object because of one flipped bit would stall the listing.
const MAX_STRING: i32 = 64 * 1024 * 1024;

/// A place in the archive's first bytes.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ArchiveError> {
        let end = self.at.saturating_add(count);
        let taken = self.bytes.get(self.at..end).ok_or(ArchiveError::NeedMore { at_least: end as u64 })?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, ArchiveError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// `WriteInt`: a sign byte and four bytes, little endian.
    pub(super) fn int(&mut self, what: &'static str) -> Result<i32, ArchiveError> {
        let at = self.position();
        decode_int(self.take(5)?).ok_or_else(|| ArchiveError::corrupt(at, format!("{what} is not a number")))
    }

    /// `WriteStr`. Names are kept in the database's encoding, which may not be UTF-8; what does not decode is replaced,
    /// since these texts are shown, not executed.
    pub(super) fn string(&mut self, what: &'static str) -> Result<Option<String>, ArchiveError> {
        let at = self.position();
        let length = self.int(what)?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(count) if length <= MAX_STRING => Ok(Some(String::from_utf8_lossy(self.take(count)?).into_owned())),
            _ => Err(ArchiveError::corrupt(at, format!("{what} has the impossible length {length}"))),
        }
    }

    /// `WriteOffset` after its flag: eight bytes, little endian.
    pub(super) fn offset(&mut self) -> Result<u64, ArchiveError> {
        let raw = self.take(8)?;
        Ok(raw.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }
}

/// The value of an Int's five bytes; `None` where pg_dump cannot have written them.
pub(super) fn decode_int(raw: &[u8]) -> Option<i32> {
    let (sign, digits) = raw.split_first()?;
    let magnitude = i64::from(u32::from_le_bytes(digits.try_into().ok()?));
    match sign {
        0 => i32::try_from(magnitude).ok(),
        1 => i32::try_from(-magnitude).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_are_a_sign_and_four_bytes() {
        assert_eq!(decode_int(&[0, 1, 2, 0, 0]), Some(513));
        assert_eq!(decode_int(&[1, 1, 0, 0, 0]), Some(-1));
        assert_eq!(decode_int(&[1, 0, 0, 0, 0x80]), Some(i32::MIN));
        assert_eq!(decode_int(&[0, 0, 0, 0, 0x80]), None);
        assert_eq!(decode_int(&[2, 0, 0, 0, 0]), None);
    }

    #[test]
    fn a_huge_string_is_damage_and_a_long_one_asks_for_more() {
        let huge = [0, 0xff, 0xff, 0xff, 0x7f];
        assert!(matches!(Cursor::new(&huge, 0).string("a tag"), Err(ArchiveError::Corrupt { at: 0, .. })));
        let long = [0, 200, 0, 0, 0, b'x'];
        assert_eq!(Cursor::new(&long, 0).string("a tag"), Err(ArchiveError::NeedMore { at_least: 205 }));
    }
}
