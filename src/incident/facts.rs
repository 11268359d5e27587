//! What steps found out and later steps rest on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An object in S3, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The config's name of the place (`s3.backups`).
    pub target: String,
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
    /// Version, where the bucket has versions.
    pub version_id: Option<String>,
    /// Entity tag, with its quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// A deployment's replica count before it was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// The config's name of the cluster (`kubernetes.production`).
    pub target: String,
    /// Namespace.
    pub namespace: String,
    /// Deployment.
    pub deployment: String,
    /// The count to return to.
    pub count: u32,
}

/// What a step found out. Which step found it is known from the attempt that reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The PagerDuty incident that we work under.
    PagerDuty {
        /// PagerDuty's id.
        id: String,
        /// The number that people say.
        number: u64,
        /// Its page.
        url: String,
        /// It was open already and was adopted.
        adopted: bool,
    },
    /// A flag, and its state before we set it.
    Flag {
        /// The flag's key.
        flag: String,
        /// On before.
        was: bool,
        /// On now.
        now: bool,
    },
    /// When the damage began, as a person said.
    Onset {
        /// The time.
        at: Timestamp,
    },
    /// Whether regulated data is concerned, as a person said.
    Regulated {
        /// It is.
        yes: bool,
    },
    /// The chosen snapshot.
    Snapshot {
        /// The dump.
        object: ObjectRef,
        /// When its data was read.
        taken_at: Timestamp,
    },
    /// Who agreed to the loss.
    Agreement {
        /// Their name.
        who: String,
        /// Where it was said: a call, a message link.
        place: String,
        /// When.
        at: Timestamp,
        /// The dump that they agreed to.
        object: ObjectRef,
        /// The loss that was stated to them, in seconds.
        loses_seconds: i64,
    },
    /// Writers are at zero.
    WritesStopped {
        /// Since when.
        at: Timestamp,
        /// The counts to return to.
        replicas: Vec<Replicas>,
    },
    /// Writers are back.
    WritesStarted {
        /// Since when.
        at: Timestamp,
    },
    /// The database as it was before the restore.
    SafetyDump {
        /// The dump.
        object: ObjectRef,
        /// When its data was read.
        taken_at: Timestamp,
    },
    /// The database was restored.
    Restored {
        /// From this dump.
        object: ObjectRef,
        /// The data's time.
        taken_at: Timestamp,
        /// When the restore ended.
        at: Timestamp,
    },
    /// A dump was restored into a database of its own, beside the live one, which is as it was.
    RestoredBeside {
        /// That database.
        database: String,
        /// Its number on the server.
        oid: u32,
        /// From this dump.
        object: ObjectRef,
        /// The data's time.
        taken_at: Timestamp,
        /// When the restore ended.
        at: Timestamp,
        /// Foreign keys that bind new rows and were not checked against those of the dump, as `schema.table name`.
        #[serde(default)]
        unchecked: Vec<String>,
    },
    /// Foreign keys that were left unchecked hold for every row.
    ForeignKeysChecked {
        /// The number of their database.
        oid: u32,
    },
    /// A database took the live one's name; the former one is kept under another.
    Swapped {
        /// The live name.
        live: String,
        /// The number of the database that bears it now.
        live_oid: u32,
        /// The name that this database had before.
        came_from: String,
        /// The kept database's name: fenced, the way back.
        kept: String,
        /// Its number.
        kept_oid: u32,
        /// Rows that had been written into the new database by then, by the server's own counters; none where they could
        /// not be read.
        #[serde(default)]
        written: Option<u64>,
        /// When.
        at: Timestamp,
    },
    /// Objects that were overwritten, and where their former content is.
    ObjectsKept {
        /// The config's name of the bucket that was written to.
        target: String,
        /// Each object.
        kept: Vec<KeptObject>,
        /// Keys that did not exist before and were created.
        created: Vec<String>,
    },
    /// A message could not be sent yet; it goes out as soon as it can.
    Owed {
        /// Where to.
        channel: super::Channel,
        /// What it says, with the time at which it was meant to go.
        text: String,
    },
    /// A message was posted.
    Posted {
        /// Slack's id of the message.
        ts: String,
    },
}

/// An object's former content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptObject {
    /// The key that was overwritten.
    pub key: String,
    /// Where its former content is now.
    pub kept: ObjectRef,
    /// The entity tag that the overwriting gave the key, so that undo can see later changes.
    pub restored_etag: String,
}
