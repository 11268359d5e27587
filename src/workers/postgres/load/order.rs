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
        std::fs::write(&part, serde_json::to_vec(self)?)?;
        std::fs::rename(part, path)
    }

    /// What was last put there.
    pub(in super::super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}
