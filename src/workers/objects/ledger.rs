//! What attempts overwrote and created, on this host's disk.
//!
//! A failed attempt reports no facts, yet what it kept must be found when the next one succeeds and is taken back.
//! One JSON line an object, written and synced before the object is touched (`restored` is none) and again after.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::incident::{Fact, KeptObject, ObjectRef};
use crate::workers::{Context, WorkerError};

/// One object's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The whole key.
    pub(super) key: String,
    /// Where its former content is; none where it did not exist.
    pub(super) kept: Option<ObjectRef>,
    /// The entity tag that our write gave it; none before the write.
    pub(super) restored: Option<String>,
}

/// The step's ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    /// Several objects are restored at once.
    lines: Mutex<BTreeMap<String, Line>>,
}

impl Ledger {
    pub(super) fn open(cx: &Context) -> Result<Self, WorkerError> {
        // A step's id has letters, digits, dots and dashes only, so it is a file name.
        let path = cx.folder.join("work").join(format!("{}.kept.jsonl", cx.step));
        let ledger = Self { path, lines: Mutex::default() };
        let text = match std::fs::read_to_string(&ledger.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ledger.fault(&error)),
        };
        // A last line without its newline was being written when the power went: its object was not touched yet.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let line: Line = serde_json::from_str(line).map_err(|error| ledger.fault(&error.into()))?;
            ledger.lock().insert(line.key.clone(), line);
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            let cut = std::fs::OpenOptions::new().write(true).open(&ledger.path);
            cut.and_then(|file| file.set_len(whole as u64)).map_err(|error| ledger.fault(&error))?;
        }
        Ok(ledger)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a key.
    pub(super) fn get(&self, key: &str) -> Option<Line> {
        self.lock().get(key).cloned()
    }

    /// How many objects were written.
    pub(super) fn written(&self) -> usize {
        self.lock().values().filter(|line| line.restored.is_some()).count()
    }

    /// Adds a line and syncs it.
    pub(super) fn add(&self, line: Line) -> Result<(), WorkerError> {
        let mut lines = self.lock();
        self.append(&line).map_err(|error| self.fault(&error))?;
        lines.insert(line.key.clone(), line);
        Ok(())
    }

    fn append(&self, line: &Line) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            crate::private::folder(folder)?;
        }
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }

    /// The fact that undo rests on: everything that was written by any attempt of the step.
    pub(super) fn fact(&self, target: &str) -> Fact {
        let mut kept = Vec::new();
        let mut created = Vec::new();
        for line in self.lock().values() {
            let Some(restored) = &line.restored else {
                continue;
            };
            match &line.kept {
                Some(object) => kept.push(KeptObject {
                    key: line.key.clone(),
                    kept: object.clone(),
                    restored_etag: restored.clone(),
                }),
                None => created.push(line.key.clone()),
            }
        }
        Fact::ObjectsKept { target: target.to_owned(), kept, created }
    }

    fn fault(&self, error: &std::io::Error) -> WorkerError {
        WorkerError::new(
            "remember what is overwritten",
            format!("{} on this host", self.path.display()),
            format!("It cannot be read or written: {error}."),
            "Free space or mend the permissions there, then retry (r). No object is touched without it.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::*;

    fn line(key: &str, restored: Option<&str>) -> Line {
        Line { key: key.to_owned(), kept: None, restored: restored.map(str::to_owned) }
    }

    #[test]
    fn what_was_written_is_known_to_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let cx = context(folder.path());
        let ledger = Ledger::open(&cx).unwrap();
        for one in [line("a", None), line("a", Some("1")), line("b", None)] {
            ledger.add(one).unwrap();
        }
        drop(ledger);
        let again = Ledger::open(&cx).unwrap();
        assert_eq!(again.written(), 1);
        assert_eq!(again.get("b"), Some(line("b", None)), "begun, and not known to be written");
        let Fact::ObjectsKept { created, .. } = again.fact("s3.ofx") else { panic!() };
        assert_eq!(created, ["a"]);
    }

    #[test]
    fn a_torn_last_line_is_cut_and_others_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let cx = context(folder.path());
        let ledger = Ledger::open(&cx).unwrap();
        ledger.add(line("a", Some("1"))).unwrap();
        let path = ledger.path.clone();
        let torn = format!("{}{{\"key\":\"b", std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, torn).unwrap();
        let ledger = Ledger::open(&cx).unwrap();
        ledger.add(line("c", Some("2"))).unwrap();
        assert_eq!(Ledger::open(&cx).unwrap().written(), 2);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Ledger::open(&cx).unwrap_err().next.contains("No object is touched"));
    }
}
