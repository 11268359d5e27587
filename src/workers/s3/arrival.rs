//! Which parts of a download have arrived, in a file beside it: a later attempt goes on from there, and who restores
//! from the download reads each part as soon as it is there.
//!
//! The file begins with a line of JSON, filled up with blanks to [`HEAD`] bytes, and holds one byte for each grain of
//! [`GRAIN`] bytes of the object: 1 when the grain is written. Nothing of it is synced to the disk. A process that is
//! killed leaves what it wrote to the kernel; a kernel that stops does not, so the line names the boot, and what another
//! boot left is fetched again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// What is marked at once.
pub(super) const GRAIN: u64 = 256 << 10;
const HEAD: u64 = 512;
const HEAD_BYTES: usize = 512;
/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(5);
/// Looks after which it is asked whether there is still somebody who downloads.
const ASK: u32 = 100;

/// Whose parts they are.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    boot: String,
    etag: String,
    size: u64,
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The side that downloads. It holds a lock on the file for as long as it lives.
#[derive(Debug)]
pub(super) struct Arrival {
    map: File,
    size: u64,
}

impl Arrival {
    /// Goes on from what an earlier attempt left at `path`, if that was the same object on the same boot; else begins.
    /// `fresh` begins in any case.
    pub(super) fn begin(path: &Path, etag: &str, size: u64, fresh: bool) -> io::Result<Self> {
        let map = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        hold(&map)?;
        let head = Head { boot: boot(), etag: etag.to_owned(), size };
        let arrival = Self { map, size };
        if fresh || arrival.head().ok().as_ref() != Some(&head) || head.boot.is_empty() {
            arrival.map.set_len(0)?;
            arrival.map.set_len(HEAD + size.div_ceil(GRAIN))?;
            let mut line = serde_json::to_vec(&head)?;
            if line.len() >= HEAD_BYTES {
                return Err(io::Error::other("the entity tag is too long"));
            }
            line.resize(HEAD_BYTES, b' ');
            arrival.map.write_all_at(&line, 0)?;
        }
        Ok(arrival)
    }

    fn head(&self) -> io::Result<Head> {
        let mut line = [0; HEAD_BYTES];
        self.map.read_exact_at(&mut line, 0)?;
        Ok(serde_json::from_slice(&line)?)
    }

    /// `from..to` is written. Grains that it covers only in part stay unmarked, but for the object's last.
    pub(super) fn mark(&self, from: u64, to: u64) -> io::Result<()> {
        let first = from.div_ceil(GRAIN);
        let last = if to == self.size { to.div_ceil(GRAIN) } else { to / GRAIN };
        if first >= last {
            return Ok(());
        }
        self.map.write_all_at(&vec![1; usize::try_from(last - first).unwrap_or_default()], HEAD + first)
    }

    /// What is still to be fetched of `from..to`: stretches that begin and end with a grain.
    pub(super) fn missing(&self, from: u64, to: u64) -> io::Result<Vec<(u64, u64)>> {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        let mut marks = vec![0; usize::try_from(to.div_ceil(GRAIN) - from / GRAIN).unwrap_or_default()];
        self.map.read_exact_at(&mut marks, HEAD + from / GRAIN)?;
        for (grain, mark) in (from / GRAIN..).zip(marks) {
            let (begin, end) = ((grain * GRAIN).max(from), ((grain + 1) * GRAIN).min(to));
            match stretches.last_mut() {
                _ if mark == 1 => {}
                Some((_, last)) if *last == begin => *last = end,
                _ => stretches.push((begin, end)),
            }
        }
        Ok(stretches)
    }
}

/// Takes the lock. Readers hold it for a moment when they ask whether anybody downloads.
fn hold(map: &File) -> io::Result<()> {
    for _ in 0..200 {
        match flock(map, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOOK),
            taken => return taken.map_err(io::Error::from),
        }
    }
    Err(io::Error::other("another download of it is at work"))
}

/// A file that may still be arriving. Reads wait for what is not there yet.
#[derive(Debug)]
pub struct Arriving {
    file: File,
    map: Option<File>,
    size: u64,
    at: u64,
}

impl Arriving {
    /// Opens a download by the name that it bears when it is `whole`, or has while it arrives.
    ///
    /// # Errors
    /// It is under neither name.
    pub fn open(whole: &Path, size: u64) -> io::Result<Self> {
        let (part, map) = names(whole);
        let opened = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        if let Ok(file) = opened(whole) {
            return Ok(Self { file, map: None, size, at: 0 });
        }
        match (opened(&part), File::open(map)) {
            (Ok(file), Ok(map)) => Ok(Self { file, map: Some(map), size, at: 0 }),
            // It was finished in this moment.
            _ => Ok(Self { file: opened(whole)?, map: None, size, at: 0 }),
        }
    }

    /// The file itself, where parts may still be holes.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The object's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Another reader of the same file, at its beginning.
    ///
    /// # Errors
    /// The operating system's.
    pub fn again(&self) -> io::Result<Self> {
        let map = self.map.as_ref().map(File::try_clone).transpose()?;
        Ok(Self { file: self.file.try_clone()?, map, size: self.size, at: 0 })
    }

    /// Waits until `from..to` is there.
    ///
    /// # Errors
    /// Nobody downloads any more.
    pub fn wait(&self, from: u64, to: u64) -> io::Result<()> {
        let Some(map) = &self.map else { return Ok(()) };
        let to = to.min(self.size);
        if from >= to {
            return Ok(());
        }
        let mut marks = vec![0; usize::try_from(to.div_ceil(GRAIN) - from / GRAIN).unwrap_or_default()];
        let mut there = || -> io::Result<bool> {
            map.read_exact_at(&mut marks, HEAD + from / GRAIN)?;
            Ok(marks.iter().all(|mark| *mark == 1))
        };
        let mut looks = 0;
        while !there()? {
            looks += 1;
            if looks % ASK == 0 && flock(map, FlockOperation::NonBlockingLockShared).is_ok() {
                flock(map, FlockOperation::Unlock)?;
                if there()? {
                    break;
                }
                return Err(io::Error::other("the download ended before everything was there"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until the download is `whole`: everything is there, it is what S3 keeps, and it bears its name. Before that
    /// nothing may be written into it.
    ///
    /// # Errors
    /// Nobody downloads any more.
    pub fn settled(&self, whole: &Path) -> io::Result<()> {
        let Some(map) = &self.map else { return Ok(()) };
        self.wait(0, self.size)?;
        let mut looks = 0;
        while !whole.exists() {
            looks += 1;
            if looks % ASK == 0 && flock(map, FlockOperation::NonBlockingLockShared).is_ok() {
                flock(map, FlockOperation::Unlock)?;
                if whole.exists() {
                    break;
                }
                return Err(io::Error::other("the download ended without its proof"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = into.len().min(left);
        self.wait(self.at, self.at + count as u64)?;
        let got = self.file.read_at(into.get_mut(..count).unwrap_or_default(), self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Arriving {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// The names of a download while it arrives: its bytes, and what of them is there.
pub(super) fn names(whole: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    (whole.with_extension("part"), whole.with_extension("map"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 3 * GRAIN + 100;

    #[test]
    fn what_is_marked_is_not_fetched_again_and_the_rest_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.map");
        let begin = |etag: &str, fresh| Arrival::begin(&path, etag, SIZE, fresh).expect("a map");
        let arrival = begin("e", false);
        assert_eq!(arrival.missing(0, SIZE).expect("read"), [(0, SIZE)]);
        // The first grain is not whole; the second is, and so is the short one at the end.
        arrival.mark(1, 2 * GRAIN + 7).expect("marked");
        arrival.mark(3 * GRAIN, SIZE).expect("marked");
        drop(arrival);
        let arrival = begin("e", false);
        assert_eq!(arrival.missing(0, SIZE).expect("read"), [(0, GRAIN), (2 * GRAIN, 3 * GRAIN)]);
        assert_eq!(arrival.missing(GRAIN, 2 * GRAIN).expect("read"), []);
        drop(arrival);
        for (etag, fresh) in [("another", false), ("another", true)] {
            let arrival = begin(etag, fresh);
            assert_eq!(arrival.missing(0, SIZE).expect("read"), [(0, SIZE)], "{etag} {fresh}");
            arrival.mark(0, SIZE).expect("marked");
        }
        let whole = std::fs::read(&path).expect("read");
        let other_boot = String::from_utf8_lossy(&whole).replacen(&boot(), &"0".repeat(boot().len()), 1);
        std::fs::write(&path, other_boot).expect("written");
        assert_eq!(begin("another", false).missing(0, SIZE).expect("read"), [(0, SIZE)], "of another boot");
    }

    #[test]
    fn a_reader_waits_for_what_arrives_and_not_for_a_download_that_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = folder.path().join("a.dump");
        let (part, map) = names(&whole);
        let file = File::create(&part).expect("made");
        file.set_len(SIZE).expect("sized");
        let arrival = Arrival::begin(&map, "e", SIZE, true).expect("a map");
        let mut arriving = Arriving::open(&whole, SIZE).expect("opened");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            arriving.seek(SeekFrom::Start(GRAIN)).and_then(|_| arriving.read_to_end(&mut bytes)).map(|_| bytes)
        });
        file.write_all_at(b"here", GRAIN).expect("written");
        arrival.mark(GRAIN, SIZE).expect("marked");
        let bytes = reader.join().expect("joined").expect("read");
        assert_eq!((bytes.len() as u64, &bytes[..4]), (SIZE - GRAIN, &b"here"[..]));

        arrival.mark(0, SIZE).expect("marked");
        let settling = Arriving::open(&whole, SIZE).expect("opened");
        let named = whole.clone();
        let waits = std::thread::spawn(move || settling.settled(&named));
        std::fs::hard_link(&part, &whole).expect("named");
        waits.join().expect("joined").expect("settled");
        std::fs::remove_file(&whole).expect("taken away");

        drop(arrival);
        let arrival = Arrival::begin(&map, "e", SIZE, true).expect("a map");
        let mut arriving = Arriving::open(&whole, SIZE).expect("opened");
        drop(arrival);
        let error = arriving.read(&mut [0; 10]).expect_err("the first grain never came");
        assert!(error.to_string().contains("the download ended"), "{error}");
    }
}
