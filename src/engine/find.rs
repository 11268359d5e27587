//! Searching an attempt's log where it lies, a stretch at a time, so that gigabytes hold up nobody.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::{memchr, memchr2_iter, memmem, memrchr};

/// Bytes that are read at once, that a line may have, and that one question looks through.
const BLOCK: usize = 1 << 20;
const LONGEST: usize = 8 << 20;
const STRETCH: u64 = 128 << 20;
/// Lines that one answer names.
const MOST: usize = 20_000;

/// What was found in a stretch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Where lines begin that hold what was searched for.
    pub(super) at: Vec<u64>,
    /// The end of the stretch, where the next one begins.
    pub(super) upto: u64,
    /// The log's length at that moment.
    pub(super) size: u64,
}

/// Searches a log from the line that begins at `from`. What is written in small letters matches capitals too.
///
/// # Errors
/// The disk's.
pub(super) fn find(path: &Path, from: u64, needle: &str) -> io::Result<Found> {
    let file = File::open(path)?;
    let mut found = Found { at: Vec::new(), upto: from, size: file.metadata()?.len() };
    let needle = Needle::new(needle);
    let mut buffer = Vec::new();
    loop {
        let there = buffer.len();
        buffer.resize(there + BLOCK, 0);
        let read = file.read_at(buffer.get_mut(there..).unwrap_or_default(), found.upto + there as u64)?;
        buffer.truncate(there + read);
        let lines = match memrchr(b'\n', &buffer) {
            Some(last) => last + 1,
            None if read > 0 && buffer.len() < LONGEST => continue,
            None => buffer.len(),
        };
        needle.lines(buffer.get(..lines).unwrap_or_default(), found.upto, &mut found.at);
        found.upto += lines as u64;
        buffer.drain(..lines);
        if read == 0 || found.upto - from >= STRETCH || found.at.len() >= MOST {
            found.size = found.size.max(found.upto);
            return Ok(found);
        }
    }
}

struct Needle<'a> {
    bytes: &'a [u8],
    any_case: bool,
}

impl<'a> Needle<'a> {
    fn new(needle: &'a str) -> Self {
        Self { bytes: needle.as_bytes(), any_case: !needle.chars().any(char::is_uppercase) }
    }

    fn first(&self, text: &[u8]) -> Option<usize> {
        let first = *self.bytes.first()?;
        if !self.any_case {
            return memmem::find(text, self.bytes);
        }
        memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), text)
            .find(|at| text.get(*at..at + self.bytes.len()).is_some_and(|here| here.eq_ignore_ascii_case(self.bytes)))
    }

    /// Adds where the lines of a text begin that hold it; the text begins at `offset`.
    fn lines(&self, text: &[u8], offset: u64, into: &mut Vec<u64>) {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| self.first(rest)).map(|at| from + at) {
            let begin = memrchr(b'\n', text.get(..at).unwrap_or_default()).map_or(0, |before| before + 1);
            into.push(offset + begin as u64);
            // One match tells that the line has one.
            match memchr(b'\n', text.get(at..).unwrap_or_default()) {
                Some(end) => from = at + end + 1,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_across_blocks_and_stretch_by_stretch() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.log");
        let mut text = String::new();
        let mut expected = Vec::new();
        while text.len() < 3 * BLOCK {
            if text.len().is_multiple_of(7) {
                expected.push(text.len() as u64);
                text.push_str("an ERROR and one more error\n");
            }
            text.push_str("launching item 3507 TABLE DATA\n");
        }
        expected.push(text.len() as u64);
        text.push_str("Error without an end");
        std::fs::write(&path, &text).expect("written");
        let found = find(&path, 0, "error").expect("searched");
        assert_eq!((found.at.len(), found.upto, found.size), (expected.len(), text.len() as u64, text.len() as u64));
        assert_eq!(found.at, expected);
        assert_eq!(find(&path, 0, "Error").expect("searched").at.len(), 1, "capitals are meant");
        let half = expected[expected.len() / 2];
        assert_eq!(find(&path, half, "error").expect("searched").at, expected[expected.len() / 2..]);
        assert!(find(&path, 0, "nowhere").expect("searched").at.is_empty());
        assert!(find(&path, 0, "").expect("searched").at.is_empty());
    }
}
