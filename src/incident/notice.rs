//! What is worth seeing but not worth keeping: broadcast to whoever looks, never journalled, droppable.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runbook::StepId;

use super::{AttemptId, Plan, Precedent, Problem};

/// One row of the snapshot browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// The object's key.
    pub key: String,
    /// Its version, where the bucket has versions.
    pub version_id: Option<String>,
    /// Bytes.
    pub size: u64,
    /// When S3 says that the object was written.
    pub last_modified: Timestamp,
    /// When the data in it was read, as far as that is known.
    pub taken_at: Timestamp,
    /// What that time rests on: `archive header`, `file name`, `last modified`.
    pub taken_from: String,
    /// S3's storage class, where it is not the usual one.
    pub storage_class: Option<String>,
    /// The usual size of the dumps taken right before and after it, where there are enough of them.
    pub usual: Option<u64>,
    /// It may be restored.
    pub eligible: bool,
    /// It is the one that is proposed.
    pub proposed: bool,
    /// Something about it should be looked into first; `verdict` names it, `detail` says it.
    #[serde(default)]
    pub doubtful: bool,
    /// Why, or why not, in a column's width.
    pub verdict: String,
    /// The same in full sentences.
    pub detail: String,
    /// What is inside, where its table of contents was read: table and compressed bytes.
    pub tables: Vec<(String, u64)>,
}

/// The dumps in a place, newest first: all of them, or a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Tells it from the listings before it.
    pub number: u64,
    /// `s3://bucket/prefix`.
    pub place: String,
    /// How many dumps there are.
    pub count: usize,
    /// How many of them come before `rows`.
    pub from: usize,
    /// The rows from there on.
    pub rows: Vec<SnapshotRow>,
    /// The onset that they were judged against.
    pub onset: Option<Timestamp>,
}

/// About how many bytes a page may have: far less than a message may, and little enough to come between other messages.
const PAGE: usize = 512 << 10;

impl Listing {
    /// A whole listing.
    #[must_use]
    pub fn new(place: String, rows: Vec<SnapshotRow>, onset: Option<Timestamp>) -> Self {
        Self { number: 0, place, count: rows.len(), from: 0, rows, onset }
    }

    /// The rows behind the first `from`, as many as one message may have, and one at least.
    #[must_use]
    pub fn page(&self, from: usize) -> Self {
        let mut bytes = 0;
        let fits = |row: &&SnapshotRow| {
            let first = bytes == 0;
            bytes += row.weight();
            first || bytes <= PAGE
        };
        let rows = self.rows.iter().skip(from).take_while(fits).cloned().collect();
        Self { number: self.number, place: self.place.clone(), count: self.count, from, rows, onset: self.onset }
    }
}

impl SnapshotRow {
    /// About how many bytes it takes in a message.
    fn weight(&self) -> usize {
        let tables: usize = self.tables.iter().map(|(table, _)| table.len() + 16).sum();
        350 + self.key.len() + self.verdict.len() + self.detail.len() + tables
    }
}

/// What an archive holds, as its own table of contents tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The object's key.
    pub key: String,
    /// Its version, where the bucket has versions.
    pub version_id: Option<String>,
    /// When pg_dump began: wall-clock time of its host, whose zone is not in the archive.
    pub created: Option<String>,
    /// The database that was dumped.
    pub database: Option<String>,
    /// The version of the server that it ran on.
    pub server: Option<String>,
    /// The version of pg_dump that wrote it.
    pub pg_dump: Option<String>,
    /// How its data is compressed.
    pub compression: String,
    /// The tables with data, largest first.
    pub tables: Vec<TableContents>,
}

/// One table in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableContents {
    /// With its schema: `public.accounts`.
    pub name: String,
    /// Its data in the archive, compressed.
    pub bytes: u64,
    /// Its rows, where there were few enough bytes to count them.
    pub rows: Option<u64>,
}

/// A measured series against its thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The panel's title.
    pub title: String,
    /// The unit behind the numbers.
    pub unit: String,
    /// Above this it is a warning.
    pub warn: f64,
    /// Above this it is a failure.
    pub bad: f64,
    /// Unix milliseconds and value, oldest first; no value where there was none.
    pub points: Vec<(i64, Option<f64>)>,
}

/// Somebody who is attached to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their login name.
    pub name: String,
    /// Their account's number.
    pub uid: Option<u32>,
    /// They only look on.
    pub watches: bool,
}

/// How grave a line of the program's own log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Something did not work.
    Error,
    /// Something worked only in part, or not yet.
    Warn,
    /// Something worth knowing.
    Info,
    /// For whoever looks for a fault in relight.
    Debug,
}

/// Something to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// A plan that was asked for, or why there is none.
    Planned {
        /// The step.
        step: StepId,
        /// The plan.
        result: Result<Box<Plan>, Problem>,
    },
    /// Lines that an attempt printed, redacted.
    Output {
        /// Which.
        attempt: AttemptId,
        /// Byte offset in the attempt's log where `text` begins.
        offset: u64,
        /// Whole lines, each with its newline.
        text: String,
    },
    /// Which lines of a stretch of a log hold what is searched for.
    Found {
        /// The attempt.
        attempt: AttemptId,
        /// What was searched for.
        needle: String,
        /// Where those lines begin.
        at: Vec<u64>,
        /// Everything before this byte was looked through.
        upto: u64,
        /// The log's length.
        size: u64,
    },
    /// How far an attempt is.
    Progress {
        /// Which.
        attempt: AttemptId,
        /// What it is doing.
        label: String,
        /// How much is done.
        done: u64,
        /// Of how much, where that is known.
        total: Option<u64>,
        /// What is counted: `bytes`, `items`, `pods`.
        unit: String,
        /// The least and the most seconds that are left, where the one who works can tell better than its pace does.
        #[serde(default)]
        left: Option<(u64, u64)>,
        /// Nothing moves; since when and why.
        #[serde(default)]
        stalled: Option<String>,
    },
    /// The dumps that there are, or the first of them.
    Snapshots(Listing),
    /// What an archive holds, or why that cannot be read.
    Contents {
        /// The object's key.
        key: String,
        /// What it holds, or why nobody can tell.
        result: Result<Contents, String>,
    },
    /// Numbers that a step read.
    Measured {
        /// The step.
        step: StepId,
        /// One for each panel.
        series: Vec<Series>,
    },
    /// What steps took the last time; each that is known.
    Precedents {
        /// By step.
        steps: BTreeMap<StepId, Precedent>,
    },
    /// Who is attached now.
    People {
        /// All of them.
        people: Vec<Person>,
    },
    /// Messages are waiting: why the last try did not go through.
    OutboxWaits {
        /// In words.
        why: String,
    },
    /// A line of the engine's own log.
    Log {
        /// When.
        at: Timestamp,
        /// How grave it is.
        level: LogLevel,
        /// What it says.
        text: String,
    },
    /// The engine cannot write its journal and does nothing more.
    JournalStopped {
        /// The operating system's reason.
        why: String,
    },
}
