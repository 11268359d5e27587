//! From a file to its history.
//!
//! A line is checked, hashed and parsed without its neighbours, so a long journal is dealt out in pieces to all cores; that
//! each line follows the one before is seen where the pieces come together again.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::incident::Event;

use super::format::{GENESIS, Whole, decode, digest};
use super::{JournalError, LineError};

/// About so many bytes are a piece.
const PIECE: usize = 1 << 20;
/// More threads would wait for the disk.
const MOST_THREADS: usize = 8;

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

/// Where a journal ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The number of its last event.
    pub seq: u64,
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
    let mut events = Vec::new();
    let End { head, whole, torn, .. } = read_each(path, |event| events.push(event))?;
    Ok(History { events, head, whole, torn })
}

/// Reads and proves a journal, and hands over its events one by one, oldest first: those before a damage too.
///
/// # Errors
/// As [`read`].
pub fn read_each(path: &Path, mut take: impl FnMut(Event)) -> Result<End, JournalError> {
    let io = |error| JournalError::Io { path: path.to_owned(), doing: "read", error };
    let file = File::open(path).map_err(io)?;
    let long = file.metadata().map_err(io)?.len() > PIECE as u64;
    let mut pieces = Pieces { file, rest: Vec::new(), spare: Vec::new() };
    let mut end = End { seq: 0, head: GENESIS.to_owned(), whole: 0, torn: 0 };
    let mut add = |part: Part, end: &mut End| {
        end.add(part, &mut take).map_err(|(line, error)| JournalError::Damaged { path: path.to_owned(), line, error })
    };
    if long {
        in_parallel(&mut pieces, |part| add(part, &mut end), &io)?;
    } else {
        while let Some(piece) = pieces.next().map_err(io)? {
            add(Part::of(piece), &mut end)?;
        }
    }
    // A write that was cut off leaves the beginning of a line, never a whole one with something else behind it. A zero may
    // be a block that did not reach the disk.
    if let Some((last, text)) = pieces.rest.split_last()
        && *last != 0
        && decode(text, &end.head).is_ok()
    {
        return Err(JournalError::Damaged { path: path.to_owned(), line: end.seq + 1, error: LineError::End });
    }
    end.torn = pieces.rest.len() as u64;
    Ok(end)
}

/// Deals pieces out to threads in turn, and takes what they make of them in the same order.
fn in_parallel(
    pieces: &mut Pieces,
    mut take: impl FnMut(Part) -> Result<Vec<u8>, JournalError>,
    io: &impl Fn(io::Error) -> JournalError,
) -> Result<(), JournalError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..threads)
            .map(|_| {
                let (give, given) = sync_channel::<Vec<u8>>(1);
                let (tell, made) = sync_channel(1);
                scope.spawn(move || {
                    // Whoever reads has given up when nobody takes a part.
                    given.iter().map(Part::of).all(|part| tell.send(part).is_ok())
                });
                (give, made)
            })
            .collect();
        let next = |made: &Receiver<Part>| made.recv().map_err(|_| io(io::Error::other("a thread that read it died")));
        let mut dealt = 0;
        let mut taken = 0;
        while let Some(piece) = pieces.next().map_err(io)? {
            // Each thread has one piece at work and one that waits, no more: memory stays small however long the file is.
            if dealt - taken == 2 * threads {
                let used = take(next(&hands[taken % threads].1)?)?;
                pieces.spare.push(used);
                taken += 1;
            }
            // A thread that died is found where its part is missed.
            let _ = hands[dealt % threads].0.send(piece);
            dealt += 1;
        }
        for at in taken..dealt {
            take(next(&hands[at % threads].1)?)?;
        }
        Ok(())
    })
}

/// Stretches of whole lines. What is left in the end is a torn line.
struct Pieces {
    file: File,
    rest: Vec<u8>,
    /// Pieces that were dealt with, for their memory.
    spare: Vec<Vec<u8>>,
}

impl Pieces {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let before = self.rest.len();
            self.rest.reserve(PIECE);
            let read = (&self.file).take(PIECE as u64).read_to_end(&mut self.rest)?;
            if read == 0 {
                return Ok(None);
            }
            if let Some(last) = memchr::memrchr(b'\n', &self.rest[before..]) {
                let mut rest = self.spare.pop().unwrap_or_default();
                rest.clear();
                rest.extend_from_slice(&self.rest[before + last + 1..]);
                self.rest.truncate(before + last + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, rest)));
            }
        }
    }
}

/// What became of a piece: its lines up to the first that is damaged.
struct Part {
    piece: Vec<u8>,
    events: Vec<Event>,
    bytes: u64,
    /// What the first line says of the line before it.
    follows: Vec<u8>,
    /// Digest of the last line.
    head: String,
    damage: Option<LineError>,
}

impl Part {
    fn of(piece: Vec<u8>) -> Self {
        let mut part = Self {
            piece: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            follows: Vec::new(),
            head: String::new(),
            damage: None,
        };
        let mut scratch = Vec::new();
        for end in memchr::memchr_iter(b'\n', &piece) {
            let start = usize::try_from(part.bytes).unwrap_or(piece.len());
            let line = piece.get(start..end).unwrap_or_default();
            if let Err(error) = part.line(line, &mut scratch) {
                part.damage = Some(error);
                break;
            }
        }
        part.piece = piece;
        part
    }

    fn line(&mut self, line: &[u8], scratch: &mut Vec<u8>) -> Result<(), LineError> {
        let whole = Whole::of(line)?;
        let event = whole.event(scratch)?;
        match self.events.last() {
            None => self.follows = whole.prev.to_vec(),
            Some(_) if whole.prev != self.head.as_bytes() => return Err(LineError::Chain),
            Some(before) => follows(before.seq, &event)?,
        }
        self.head = digest(line);
        self.bytes += line.len() as u64 + 1;
        self.events.push(event);
        Ok(())
    }
}

fn follows(before: u64, event: &Event) -> Result<(), LineError> {
    let expected = before.saturating_add(1);
    if event.seq == expected { Ok(()) } else { Err(LineError::Sequence { expected, found: event.seq }) }
}

impl End {
    /// Goes on by a part and gives its memory back; else says which line is damaged, and how.
    fn add(&mut self, part: Part, take: &mut impl FnMut(Event)) -> Result<Vec<u8>, (u64, LineError)> {
        if let Some(first) = part.events.first() {
            if part.follows != self.head.as_bytes() {
                return Err((self.seq + 1, LineError::Chain));
            }
            follows(self.seq, first).map_err(|error| (self.seq + 1, error))?;
            self.head = part.head;
        }
        self.whole += part.bytes;
        self.seq += part.events.len() as u64;
        part.events.into_iter().for_each(take);
        part.damage.map_or(Ok(part.piece), |error| Err((self.seq + 1, error)))
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
