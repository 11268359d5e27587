//! Appending: write, `fdatasync`, only then acknowledge.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::failpoint;
use crate::incident::Event;

use super::format::{GENESIS, digest, encode};
use super::{End, FILE, History, JournalError, read_each};

/// An incident's journal, held for writing. There is one in the world for each incident: it holds the folder's lock.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    _lock: File,
    head: String,
    length: u64,
    stopped: bool,
}

impl Journal {
    /// Makes the journal of a new incident in its folder, which must exist.
    ///
    /// # Errors
    /// There is one already, or the disk says no.
    pub fn create(folder: &Path) -> Result<Self, JournalError> {
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| JournalError::Io { path: path.clone(), doing: "made", error })?;
        // The name must survive a power cut as surely as the lines do.
        sync_folder(folder).map_err(|error| JournalError::Io { path: path.clone(), doing: "made durable", error })?;
        Ok(Self { path, file, _lock: lock, head: GENESIS.to_owned(), length: 0, stopped: false })
    }

    /// Opens the journal of an incident to go on with it. A torn last line is cut off; [`History::torn`] says
    /// how long it was.
    ///
    /// # Errors
    /// Another engine holds it, it is damaged, or the disk says no.
    pub fn open(folder: &Path) -> Result<(Self, History), JournalError> {
        let mut events = Vec::new();
        let (journal, End { head, whole, torn, .. }) = Self::open_each(folder, |event| events.push(event))?;
        Ok((journal, History { events, head, whole, torn }))
    }

    /// As [`Journal::open`], with the events handed over one by one: they may be many.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_each(folder: &Path, take: impl FnMut(Event)) -> Result<(Self, End), JournalError> {
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let end = read_each(&path, take)?;
        let io = |doing| {
            let path = path.clone();
            move |error| JournalError::Io { path, doing, error }
        };
        let file = OpenOptions::new().append(true).open(&path).map_err(io("opened"))?;
        if end.torn > 0 {
            file.set_len(end.whole).map_err(io("cut"))?;
            file.sync_data().map_err(io("made durable"))?;
        }
        let journal = Self { path, file, _lock: lock, head: end.head.clone(), length: end.whole, stopped: false };
        Ok((journal, end))
    }

    /// Digest of its last line.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Bytes of the file, all of them complete lines.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends events; they are on disk when this returns. All of them, or none.
    ///
    /// # Errors
    /// The disk says no. What was written of it is cut off again; where even that fails nothing more is written.
    pub fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        if self.stopped {
            return Err(JournalError::Stopped(self.path.clone()));
        }
        let mut head = self.head.clone();
        let mut bytes = Vec::new();
        for event in events {
            let line = encode(event, &head).map_err(|error| JournalError::Io {
                path: self.path.clone(),
                doing: "written",
                error: io::Error::other(error),
            })?;
            head = digest(line.as_bytes());
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        failpoint::point("journal.before-write");
        if let Some(some) = failpoint::torn("journal.torn") {
            let _ = self.file.write_all(bytes.get(..some).unwrap_or(&bytes));
            failpoint::die("journal.torn");
        }
        let written = self.file.write_all(&bytes).and_then(|()| {
            failpoint::point("journal.before-sync");
            self.file.sync_data()
        });
        if let Err(error) = written {
            // A failed sync leaves open what reached the disk, so nothing may follow it in this process.
            self.stopped = true;
            let _ = self.file.set_len(self.length);
            return Err(JournalError::Io { path: self.path.clone(), doing: "written", error });
        }
        self.head = head;
        self.length += bytes.len() as u64;
        failpoint::point("journal.after-sync");
        Ok(())
    }
}

/// How long a lock is waited for. An engine that is killed while it starts a program leaves a child that holds the lock until
/// it has become that program: a moment, which is longer on a busy machine.
const LETTING_GO: Duration = Duration::from_secs(1);
/// How often it is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let io = |error| JournalError::Io { path: path.clone(), doing: "locked", error };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
    let until = Instant::now() + LETTING_GO;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(JournalError::Held(folder.join(FILE))),
            Err(error) => return Err(io(error.into())),
        }
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::incident::{Actor, EventKind};

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: "2026-11-23T08:48:00Z".parse().expect("a time"),
            actor: Actor { name: "ana".to_owned(), uid: Some(1000) },
            kind: EventKind::Noted { text: format!("note {seq}\nwith a second line, \"quotes\" and é") },
        }
    }

    fn three() -> (tempfile::TempDir, Vec<u8>) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::create(folder.path()).expect("a journal");
        journal.append(&[event(1), event(2)]).expect("appended");
        journal.append(&[event(3)]).expect("appended");
        drop(journal);
        let bytes = std::fs::read(folder.path().join(FILE)).expect("readable");
        (folder, bytes)
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let (folder, _) = three();
        let (mut journal, history) = Journal::open(folder.path()).expect("opened");
        assert_eq!(history.events, [event(1), event(2), event(3)]);
        journal.append(&[event(4)]).expect("appended");
        assert_eq!(read(&folder.path().join(FILE)).expect("read").events.len(), 4);
    }

    #[test]
    fn a_second_engine_is_refused() {
        let (folder, _) = three();
        let _held = Journal::open(folder.path()).expect("opened");
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::Held(_))));
    }

    #[test]
    fn a_line_torn_at_any_byte_is_cut_and_loses_nothing_before_it() {
        let (folder, bytes) = three();
        let second_end = bytes.len() - bytes.iter().rev().skip(1).position(|byte| *byte == b'\n').expect("a line") - 1;
        for end in second_end..bytes.len() {
            std::fs::write(folder.path().join(FILE), &bytes[..end]).expect("written");
            let (mut journal, history) = Journal::open(folder.path()).expect("opened");
            assert_eq!(history.events, [event(1), event(2)]);
            assert_eq!(history.torn, (end - second_end) as u64);
            journal.append(&[event(3)]).expect("appended");
            assert_eq!(std::fs::read(folder.path().join(FILE)).expect("readable"), bytes);
        }
    }

    #[test]
    fn any_flipped_bit_is_found_and_named() {
        let (folder, bytes) = three();
        let first_end = bytes.iter().position(|byte| *byte == b'\n').expect("a line");
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(folder.path().join(FILE), &damaged).expect("written");
            match read(&folder.path().join(FILE)) {
                Err(JournalError::Damaged { line, .. }) => {
                    assert!(at > first_end || line == 1, "byte {at}, line {line}");
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }

    #[test]
    fn dropped_and_swapped_lines_are_found() {
        let (folder, bytes) = three();
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for (order, bad) in [([0, 2, 2], 2), ([1, 0, 2], 1), ([0, 2, 1], 2)] {
            let text: Vec<u8> = order.iter().flat_map(|line| lines[*line].to_vec()).collect();
            std::fs::write(folder.path().join(FILE), text).expect("written");
            let error = read(&folder.path().join(FILE)).expect_err("found");
            assert!(matches!(error, JournalError::Damaged { line, .. } if line == bad), "{error}");
        }
    }

    #[test]
    fn a_full_disk_stops_the_journal() {
        let (folder, _) = three();
        let (mut journal, _) = Journal::open(folder.path()).expect("opened");
        journal.file = OpenOptions::new().write(true).open("/dev/full").expect("opened");
        let error = journal.append(&[event(4)]).expect_err("full").to_string();
        assert!(error.contains("No space left"), "{error}");
        assert!(matches!(journal.append(&[event(4)]), Err(JournalError::Stopped(_))));
    }
}
