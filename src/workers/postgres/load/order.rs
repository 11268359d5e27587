//! What the process is told, and how far it tells it is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::server::Address;

/// What the process is told, in a file. It holds no secret: the password is in the environment, as libpq takes it.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Order {
    /// The server.
    pub(in super::super) address: Address,
    /// The database to restore into: made for it, and empty.
    pub(in super::super) database: String,
    /// The role that owns everything in it.
    pub(in super::super) role: String,
    /// Its sessions' name.
    pub(in super::super) application: String,
    /// How many of them at once.
    pub(in super::super) jobs: u32,
    /// The archive's file, by the name that it bears when it is whole.
    pub(in super::super) archive: PathBuf,
    /// Its size in bytes.
    pub(in super::super) size: u64,
    /// pg_restore of the server's version.
    pub(in super::super) pg_restore: PathBuf,
    /// Settings of every session, besides those that a restore takes in any case: `synchronous_commit=off`.
    pub(in super::super) settings: Vec<(String, String)>,
    /// Where it says how far it is, as [`Standing`].
    pub(in super::super) standing: PathBuf,
    /// Where it leaves the rows that it counted in the archive, as [`crate::archive::RowCount`]s.
    pub(in super::super) counts: PathBuf,
    /// The beginning of the names of files that it makes for pg_restore.
    pub(in super::super) lists: PathBuf,
    /// Entries that are not restored at all.
    pub(in super::super) left_out: Vec<i32>,
    /// Foreign keys bind new rows, and those of the dump are checked another time.
    #[serde(default)]
    pub(in super::super) foreign_keys_later: bool,
}

/// How far it is. The work is weighed in bytes of the archive: data by its own, an index by its table's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Standing {
    /// What is being done.
    pub(in super::super) label: String,
    /// Of the weight of everything, so much is done.
    pub(in super::super) done: u64,
    /// The weight of everything.
    pub(in super::super) total: u64,
    /// Seconds since the last of it was done, as of the last look.
    pub(in super::super) idle_s: u64,
}

impl Standing {
    /// Puts it where the engine looks, whole or not at all.
    pub(super) fn put(&self, path: &Path) -> std::io::Result<()> {
        let part = path.with_extension("part");
        crate::private::write(&part, serde_json::to_vec(self)?)?;
        std::fs::rename(part, path)
    }

    /// What was last put there.
    pub(in super::super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// Where the time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Types, tables, functions, in milliseconds.
    pub definitions_ms: u64,
    /// Until the last row was loaded; indexes are built beside that.
    pub rows_ms: u64,
    /// From then until the last index, key and statistic.
    pub indexes_ms: u64,
    /// What pg_restore did at the end.
    pub rest_ms: u64,
}

impl Phases {
    const BEGIN: &str = "took ";
    const WORDS: [&str; 4] =
        ["s for definitions, ", "s for rows, ", "s more for indexes, keys and statistics, ", "s for the rest"];

    /// As a line of the log.
    pub(super) fn line(&self) -> String {
        let times = [self.definitions_ms, self.rows_ms, self.indexes_ms, self.rest_ms];
        let parts = times.iter().zip(Self::WORDS).map(|(millis, words)| {
            let (seconds, rest) = (millis / 1000, millis % 1000);
            format!("{seconds}.{rest:03}{words}")
        });
        parts.fold(Self::BEGIN.to_owned(), |line, part| line + &part)
    }

    /// Whether a line of the log is one of these.
    pub(in super::super) fn is_line(line: &str) -> bool {
        Self::read(line).is_some()
    }

    /// What a line of the log says.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let mut rest = line.strip_prefix(Self::BEGIN)?;
        let mut times = [0; 4];
        for (time, words) in times.iter_mut().zip(Self::WORDS) {
            let (number, after) = rest.split_once(words)?;
            let (seconds, millis) = number.split_once('.')?;
            *time = seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(millis.parse().ok()?)?;
            rest = after;
        }
        let [definitions_ms, rows_ms, indexes_ms, rest_ms] = times;
        Some(Self { definitions_ms, rows_ms, indexes_ms, rest_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::Phases;

    #[test]
    fn where_the_time_went_is_read_back_from_the_log() {
        let phases = Phases { definitions_ms: 70, rows_ms: 12_345, indexes_ms: 0, rest_ms: 9 };
        assert_eq!(
            phases.line(),
            "took 0.070s for definitions, 12.345s for rows, 0.000s more for indexes, keys and statistics, 0.009s for the rest"
        );
        assert_eq!(Phases::read(&phases.line()), Some(phases));
        assert_eq!(Phases::read("took a walk"), None);
    }
}
