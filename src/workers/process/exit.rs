//! How a program ended, as its shim leaves it behind.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::workers::WorkerError;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What it was for, see [`super::Spec::what`].
    pub what: String,
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it could not be started.
    pub refused: Option<String>,
    /// It was ended because somebody asked for that.
    pub stopped: bool,
    /// It was ended because its time was up.
    pub timed_out: bool,
    /// Processes of it that could not be ended.
    pub left_behind: Vec<i32>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Bytes of its output that are not in the log because the disk was full.
    pub lost_bytes: u64,
    /// Where its output ends in the log.
    pub end_offset: u64,
    /// Its last lines, redacted.
    pub tail: Vec<String>,
}

impl Exit {
    /// It ended by itself and calls that a success.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0) && !self.stopped && !self.timed_out
    }

    /// How it ended, in a few words.
    #[must_use]
    pub fn how(&self) -> String {
        if let Some(why) = &self.refused {
            return format!("could not be started: {why}");
        }
        if self.timed_out {
            return "took too long and was ended".to_owned();
        }
        if self.stopped {
            return "was stopped".to_owned();
        }
        match (self.code, self.signal) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended in an unknown way".to_owned(),
        }
    }

    /// How it ended and the last lines that say why, as one sentence.
    #[must_use]
    pub fn cause(&self) -> String {
        let told: Vec<&str> = self.tail.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        let errors = told.iter().position(|line| line.contains("error:") || line.contains("ERROR:"));
        let from = errors.unwrap_or_else(|| told.len().saturating_sub(3));
        let words: Vec<&str> = told.iter().skip(from).take(4).copied().collect();
        let lost = match self.lost_bytes {
            0 => String::new(),
            lost => format!(" {lost} bytes of its output are lost: the disk with the log was full."),
        };
        if words.is_empty() {
            format!("It {}.{lost}", self.how())
        } else {
            format!("It {}: {}{lost}", self.how(), words.join(" / "))
        }
    }

    /// Success, or an error that names the last lines.
    ///
    /// # Errors
    /// It did not succeed.
    pub fn require(self, operation: &str, target: &str, next: &str) -> Result<Self, WorkerError> {
        if self.succeeded() { Ok(self) } else { Err(WorkerError::new(operation, target, self.cause(), next)) }
    }
}

/// `<log>.exit.json`
pub(super) fn exit_path(log: &Path) -> PathBuf {
    beside(log, ".exit.json")
}

/// `<log>.lock`
pub(super) fn lock_path(log: &Path) -> PathBuf {
    beside(log, ".lock")
}

/// `<log>.exit.json.part`, the room for an exit; there from before its program starts until the exit is whole.
pub(super) fn part_path(log: &Path) -> PathBuf {
    beside(log, ".exit.json.part")
}

fn beside(log: &Path, ending: &str) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// Reads what a shim left; none where there is nothing.
pub(super) fn read_exit(log: &Path) -> io::Result<Option<Exit>> {
    let text = match std::fs::read_to_string(exit_path(log)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_str(&text).map(Some).map_err(io::Error::from)
}

/// Room for the exit, taken before the program starts: a disk that its output fills must not cost its result.
pub(super) struct ExitFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
}

/// More than any exit takes: twenty lines of tail and a few numbers.
const ROOM: usize = 64 << 10;

impl ExitFile {
    pub(super) fn reserve(log: &Path) -> io::Result<Self> {
        let path = exit_path(log);
        let part = part_path(log);
        // An earlier program of this attempt may have left its own.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&vec![b' '; ROOM])?;
        file.sync_all()?;
        Ok(Self { file, part, path })
    }

    /// Writes the exit, durably, and under its name only when it is whole.
    pub(super) fn write(mut self, exit: &Exit) -> io::Result<()> {
        let json = serde_json::to_vec(exit)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&json)?;
        self.file.set_len(json.len() as u64)?;
        self.file.sync_all()?;
        std::fs::rename(&self.part, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The part of a log from `from` to `to`, whole lines only.
pub(super) fn read_log(log: &Path, from: u64, to: u64) -> io::Result<(u64, String)> {
    /// A catch-up shows the end; whoever wants all of it reads the log.
    const MOST: u64 = 64 << 10;
    let start = from.max(to.saturating_sub(MOST));
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(to.saturating_sub(start)).read_to_end(&mut bytes)?;
    let skip = if start == from { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
    let text = String::from_utf8_lossy(bytes.get(skip..).unwrap_or_default()).into_owned();
    Ok((start + skip as u64, text))
}
