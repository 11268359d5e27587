//! What is wrong with a journal that is not whole: every line that differs, and how.
//!
//! A line's own checksum tells a line that was changed from one that stands elsewhere than it was written, and where a
//! single bit differs, which one: the difference of a CRC is the same for the same bit, whatever the rest says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::format::{Chained, GENESIS, LineError, TAIL, digest, sound};
use super::{JournalError, read};

/// CRC32C's polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// What stands before a line's checksum.
const MARK: &[u8] = b",\"crc\":\"";

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: u64,
    /// What differs, in words.
    pub what: String,
}

/// Everything that is wrong with a journal, in the order of its lines; nothing where [`read`] takes it.
///
/// # Errors
/// It cannot be read.
pub fn inspect(path: &Path) -> Result<Vec<Fault>, JournalError> {
    match read(path) {
        Ok(_) => return Ok(Vec::new()),
        Err(JournalError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let bytes =
        std::fs::read(path).map_err(|error| JournalError::Io { path: path.to_owned(), doing: "read", error })?;
    Ok(faults(&bytes))
}

/// A line as it is.
struct Found<'a> {
    number: u64,
    text: &'a [u8],
    is: Result<Chained, LineError>,
}

fn faults(bytes: &[u8]) -> Vec<Fault> {
    let whole = bytes.split_inclusive(|byte| *byte == b'\n');
    let found: Vec<Found<'_>> = whole
        .zip(1_u64..)
        .map(|(line, number)| {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let is = match line.split_last() {
                Some((b'\n', _)) | None => sound(text),
                Some((_, most)) if sound(most).is_ok() => Err(LineError::End),
                Some(_) => sound(text),
            };
            Found { number, text, is }
        })
        .collect();
    let mut faults = changed(&found);
    faults.extend(moved(&found));
    faults.extend(rewritten(&found));
    faults.sort_by_key(|fault| fault.line);
    faults
}

/// Lines that are not as they were written.
fn changed(found: &[Found<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut lines = found.iter().peekable();
    while let Some(line) = lines.next() {
        let Err(error) = &line.is else { continue };
        // A bit that turned into a line end cut one line in two.
        let broken = lines.peek().and_then(|next| cut_in_two(line.text, next.text));
        if let Some(was) = broken {
            let at = line.text.len() + 1;
            faults.push(line.fault(format!("a line end stands where {} was written, at byte {at}", shown(was))));
            lines.next();
            continue;
        }
        faults.push(line.fault(match error {
            LineError::Checksum | LineError::NoChecksum => {
                one_bit(line.text).or_else(|| joined(line.text)).unwrap_or_else(|| error.to_string())
            }
            other => other.to_string(),
        }));
    }
    faults
}

/// Sound lines that stand elsewhere than they were written, and events that are not there.
fn moved(found: &[Found<'_>]) -> Vec<Fault> {
    // Where a line was cut in two or joined with the next, the rest is not out of place for that.
    let mut shift = 0_i64;
    let mut at: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut unsound = BTreeSet::new();
    let mut wrong: Vec<(&Found<'_>, u64, u64)> = Vec::new();
    let mut faults = Vec::new();
    let mut lines = found.iter().peekable();
    while let Some(line) = lines.next() {
        let belongs = line.number.saturating_add_signed(shift);
        match &line.is {
            Ok(chained) if chained.event.seq + 1 == belongs && at.contains_key(&chained.event.seq) => {
                faults.push(line.fault(format!("event {} stands here another time", chained.event.seq)));
                shift -= 1;
            }
            Ok(chained) => {
                at.entry(chained.event.seq).or_default().push(belongs);
                if chained.event.seq != belongs {
                    wrong.push((line, chained.event.seq, belongs));
                }
            }
            Err(_) => {
                unsound.insert(belongs);
                if lines.peek().is_some_and(|next| cut_in_two(line.text, next.text).is_some()) {
                    lines.next();
                    shift -= 1;
                } else if joined(line.text).is_some() && one_bit(line.text).is_none() {
                    unsound.insert(belongs + 1);
                    shift += 1;
                }
            }
        }
    }
    let last = at.last_key_value().map_or(0, |(seq, _)| *seq);
    let missing: Vec<u64> = (1..last).filter(|seq| !at.contains_key(seq) && !unsound.contains(seq)).collect();
    let mut told = missing.is_empty();
    for (line, seq, belongs) in wrong {
        let swapped = at.get(&belongs).is_some_and(|places| places.contains(&seq));
        if swapped {
            faults.push(line.fault(format!(
                "event {seq} stands where event {belongs} belongs, and that one in its place: they were swapped"
            )));
        } else if at.get(&seq).is_some_and(|places| places.len() > 1) {
            faults.push(line.fault(format!("event {seq} stands here another time")));
        } else if !told {
            told = true;
            let numbers: Vec<String> = missing.iter().map(u64::to_string).collect();
            let (event, is) = if numbers.len() == 1 { ("event", "is") } else { ("events", "are") };
            faults.push(line.fault(format!(
                "event {seq} stands where event {belongs} belongs: {event} {} {is} missing",
                numbers.join(", ")
            )));
        } else if missing.is_empty() {
            faults.push(line.fault(format!("event {seq} stands where event {belongs} belongs")));
        }
    }
    faults
}

/// Lines that are sound and follow another line than the one before them, which is sound too: whoever changed that one
/// knew how checksums are made.
fn rewritten(found: &[Found<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut before: Option<(u64, String)> = Some((0, GENESIS.to_owned()));
    for line in found {
        if let (Ok(chained), Some((seq, head))) = (&line.is, &before)
            && chained.event.seq == seq + 1
            && chained.prev != *head
        {
            faults.push(line.fault(format!(
                "it was written behind another event {seq} than the one before it: that has the digest {} here and had {}",
                head.get(..16).unwrap_or(head),
                chained.prev.get(..16).unwrap_or(&chained.prev)
            )));
        }
        before = line.is.as_ref().ok().map(|chained| (chained.event.seq, digest(line.text)));
    }
    faults
}

impl Found<'_> {
    fn fault(&self, what: String) -> Fault {
        Fault { line: self.number, what }
    }
}

/// The one bit that makes the line sound, in words; none where more than one differs.
fn one_bit(line: &[u8]) -> Option<String> {
    let split = line.len().checked_sub(TAIL)?;
    let (body, tail) = line.split_at(split);
    let digits = tail.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(b"\"}"));
    let stored = digits.and_then(|text| u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok());
    let in_body = stored.and_then(|stored| place_of(body.len(), stored ^ crc32c::crc32c(body)));
    let in_tail = || (0..TAIL).flat_map(|at| (0..8).map(move |bit| (split + at, bit)));
    in_body.into_iter().chain(in_tail()).find_map(|(at, bit)| {
        let mut mended = line.to_vec();
        *mended.get_mut(at)? ^= 1 << bit;
        sound(&mended).is_ok().then(|| {
            let (was, is) = (mended.get(at).copied()?, line.get(at).copied()?);
            Some(format!("one bit differs: byte {} is {} and was written as {}", at + 1, shown(is), shown(was)))
        })?
    })
}

/// The place of the bit that alone makes this difference of a checksum over `length` bytes.
fn place_of(length: usize, difference: u32) -> Option<(usize, u32)> {
    // What each bit of the last byte makes; a byte further to the left it is what a zero byte makes of that.
    let mut made: [u32; 8] = std::array::from_fn(|bit| zero_byte(1 << bit));
    for at in (0..length).rev() {
        if let Some(bit) = made.iter().position(|one| *one == difference) {
            return Some((at, u32::try_from(bit).ok()?));
        }
        made = made.map(zero_byte);
    }
    None
}

fn zero_byte(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 })
}

/// Where a line holds two events, because another byte stands where the line end between them belongs.
fn joined(line: &[u8]) -> Option<String> {
    let places = line.windows(MARK.len()).enumerate().filter(|(_, part)| *part == MARK).map(|(at, _)| at + TAIL);
    places.into_iter().find_map(|end| {
        let (first, rest) = line.split_at_checked(end)?;
        let (between, second) = rest.split_first()?;
        (sound(first).is_ok() && sound(second).is_ok())
            .then(|| format!("{} stands where a line end was written, at byte {}", shown(*between), end + 1))
    })
}

/// The byte with one bit that is a line end now, if these two were one line.
fn cut_in_two(first: &[u8], second: &[u8]) -> Option<u8> {
    let mut line = [first, b"\n", second].concat();
    let bits = (0..8).map(|bit| b'\n' ^ (1 << bit));
    bits.into_iter().find(|byte| {
        if let Some(place) = line.get_mut(first.len()) {
            *place = *byte;
        }
        sound(&line).is_ok()
    })
}

fn shown(byte: u8) -> String {
    if byte.is_ascii_graphic() { format!("`{}`", char::from(byte)) } else { format!("0x{byte:02x}") }
}
