//! What earlier rehearsals measured: one JSON object a line in `rehearsals.jsonl`, beside the incidents.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::incident::{ago, duration_text};

use super::super::load::Phases;

/// One rehearsal of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// When it began.
    pub at: Timestamp,
    /// The database: `financecopilot@db-1:5432`.
    pub database: String,
    /// The dump's key.
    pub snapshot: String,
    /// The dump's size in bytes.
    pub bytes: u64,
    /// From the beginning until the dump was here and walked to its end, in milliseconds.
    pub fetch_ms: u64,
    /// Making the database and restoring into it.
    pub restore_ms: u64,
    /// Proving every table.
    pub prove_ms: u64,
    /// What restoring took, by kinds of work.
    #[serde(default)]
    pub phases: Option<Phases>,
    /// It was the restore of an incident, and no rehearsal.
    #[serde(default)]
    pub real: bool,
    /// It was restored and proved.
    pub passed: bool,
    /// What went wrong, if something did.
    pub fault: Option<String>,
}

impl Rehearsal {
    /// From the beginning to the proof.
    #[must_use]
    pub fn took(&self) -> SignedDuration {
        let millis = self.fetch_ms.saturating_add(self.restore_ms).saturating_add(self.prove_ms);
        SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// How long restoring a dump of `bytes` would take at its pace, beside and behind the download.
    #[must_use]
    pub fn expects(&self, bytes: u64) -> Duration {
        let took = u128::from(self.fetch_ms.saturating_add(self.restore_ms));
        let scaled = took.saturating_mul(u128::from(bytes)) / u128::from(self.bytes.max(1));
        Duration::from_millis(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// Adds it to the history.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep(&self, root: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path(root))?;
        let mut line = Vec::new();
        // A line that a crash left without its end must not take this one with it.
        let mut last = [b'\n'];
        if let Some(at) = file.metadata()?.len().checked_sub(1) {
            file.read_exact_at(&mut last, at)?;
        }
        if last != [b'\n'] {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, self)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()
    }

    /// The last one of a database that passed; a rehearsal, or any restore. Lines that cannot be read are passed over.
    #[must_use]
    pub fn last(root: &Path, database: &str, real_too: bool) -> Option<Self> {
        let file = std::fs::File::open(path(root)).ok()?;
        BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<Self>(&line).ok())
            .filter(|found| found.passed && found.database == database && (real_too || !found.real))
            .last()
    }

    /// `Last rehearsed 3 days ago: 14m02s, proof included`
    #[must_use]
    pub fn says(&self, now: Timestamp) -> String {
        format!("Last rehearsed {}: {}, proof included", ago(self.at, now), duration_text(self.took()))
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("rehearsals.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_good_one_of_a_database_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = |database: &str, at: &str, passed| Rehearsal {
            at: at.parse().expect("a time"),
            database: database.to_owned(),
            snapshot: "a.dump".to_owned(),
            bytes: 1,
            fetch_ms: 1000,
            restore_ms: 60_000,
            prove_ms: 500,
            phases: None,
            real: false,
            passed,
            fault: None,
        };
        let wanted = one("a@h:1", "2026-11-20T01:00:00Z", true);
        for rehearsal in [
            &one("a@h:1", "2026-11-19T01:00:00Z", true),
            &wanted,
            &one("a@h:1", "2026-11-21T01:00:00Z", false),
            &one("b@h:1", "2026-11-22T01:00:00Z", true),
        ] {
            rehearsal.keep(folder.path()).expect("kept");
        }
        OpenOptions::new().append(true).open(path(folder.path())).expect("open").write_all(b"torn").expect("written");
        let found = Rehearsal::last(folder.path(), "a@h:1", false).expect("one");
        assert_eq!(found, wanted);
        let now = "2026-11-23T01:00:00Z".parse().expect("a time");
        assert_eq!(found.says(now), "Last rehearsed 3 days ago: 1m01s, proof included");
        assert_eq!(Rehearsal::last(folder.path(), "c@h:1", true), None);
        // The restore of an incident is no rehearsal, but it says how long the next one takes.
        let real = Rehearsal { real: true, bytes: 4, fetch_ms: 1000, restore_ms: 3000, ..wanted.clone() };
        real.keep(folder.path()).expect("kept");
        assert_eq!(Rehearsal::last(folder.path(), "a@h:1", false), Some(wanted));
        let last = Rehearsal::last(folder.path(), "a@h:1", true).expect("one");
        assert_eq!(last.expects(8), Duration::from_secs(8));
    }
}
