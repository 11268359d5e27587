//! The database dumps that a bucket holds, and which of them may be the restore point. Pure: it takes what a listing
//! and a few range reads gave, and gives verdicts with their reasons.
//!
//! When a dump was taken is told by three witnesses, none of which is enough:
//! - the archive's header: when pg_dump began, just before its snapshot of the data, but in the dump host's local time
//!   without a zone;
//! - S3's `LastModified`: when the upload began (multipart) or ended (single PUT), in either case not before the snapshot,
//!   so an upper bound, and in true UTC;
//! - the time in the file's name, which a script made up, in some zone.
//!
//! A snapshot is eligible when even the upper bound is not after the onset. One that began before the onset and was
//! uploaded after it is eligible by its header, since a dump is consistent as of its start, unless the header's zone is in
//! doubt: a host that runs west of UTC writes headers that look hours older than the data is.

mod judge;
mod name;
mod taken;
mod text;
mod unfit;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveError, End, EndState, Header, Toc, TocSummary};

pub use judge::{Judge, judge, propose};
pub use name::{NameTime, time_in_name};
pub use text::{duration_text, size_text};

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listed {
    /// The object's whole key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// S3's `LastModified`.
    pub last_modified: Timestamp,
    /// S3's entity tag, as sent, quotes included; empty where there is none.
    pub etag: String,
    /// Its version, in a versioned bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// Its storage class; none means `STANDARD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

impl Listed {
    /// What names this content among all: the key, and behind an `@` the version where there is one. [`judge()`] looks
    /// inspections up by it.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.version_id {
            Some(version) => format!("{}@{version}", self.key),
            None => self.key.clone(),
        }
    }
}

/// What reading an object's first bytes, or all of it, gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// Its header, or what is wrong with it.
    pub header: Result<Header, ArchiveError>,
    /// Its table of contents in brief, where that was read.
    pub toc: Option<TocSummary>,
    /// How it ends, where that is known: from a walk over the whole object, or since not even its table of contents is
    /// whole.
    pub end: Option<EndState>,
}

impl Inspected {
    /// Judges an object of `size` bytes by its first bytes.
    ///
    /// Errors: only [`ArchiveError::NeedMore`]: fetch more of the object (at least what it says, and at least twice what
    /// was there) and ask again. Everything else that is wrong is a finding and part of the result.
    pub fn from_prefix(prefix: &[u8], size: u64) -> Result<Self, ArchiveError> {
        let header = match Header::parse(prefix).map_err(|error| error.given_size(size)) {
            Err(more @ ArchiveError::NeedMore { .. }) => return Err(more),
            header => header,
        };
        let toc = match (&header, Toc::parse(prefix).map_err(|error| error.given_size(size))) {
            (Err(_), _) => {
                return Ok(Self { header, toc: None, end: None });
            }
            (Ok(_), Err(more @ ArchiveError::NeedMore { .. })) => return Err(more),
            (Ok(_), toc) => toc,
        };
        let ends = |end| EndState { bytes: size, blocks: 0, expected: 0, missing: Vec::new(), end };
        Ok(match toc {
            Ok(toc) => Self { header, toc: Some(toc.summary()), end: None },
            Err(ArchiveError::CutOff { .. }) => {
                let end = End::Cut { inside: "table of contents".to_owned() };
                Self { header, toc: None, end: Some(ends(end)) }
            }
            Err(ArchiveError::Corrupt { at, what }) => {
                let end = End::Corrupt { at, what: what.into_owned() };
                Self { header, toc: None, end: Some(ends(end)) }
            }
            Err(other) => Self { header: Err(other), toc: None, end: None },
        })
    }
}

/// By what a snapshot's time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The archive's header.
    Header,
    /// The time in the file's name.
    FileName,
    /// S3's `LastModified`.
    LastModified,
}

/// Something about a snapshot that does not decide, but that a person should see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "flag", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flag {
    /// Its witnesses differ by a whole multiple of 15 minutes, as a forgotten time zone does.
    ZoneSuspect {
        /// The difference in minutes; positive when the header or name is later than S3's clock.
        minutes: i64,
    },
    /// Its header is later than its upload, which cannot be.
    HeaderAfterUpload {
        /// The difference in minutes.
        minutes: i64,
    },
    /// It began before the onset and its upload is dated after it.
    AcrossOnset {
        /// From its start to its upload, in minutes.
        minutes: i64,
    },
    /// Nothing of its content has been read yet.
    Unread,
    /// Its end has not been verified: a cut within the last table would not be seen.
    EndUnverified,
    /// A newer major version of pg_dump wrote it than the pg_restore at hand is.
    NewerPgDump {
        /// pg_dump's major version.
        pg_dump: u32,
    },
    /// It was dumped from a newer server than the one to restore into.
    NewerServer {
        /// The dumped server's major version.
        server: u32,
    },
    /// Its tables are `INSERT` statements, which restore slowly.
    Inserts,
    /// It is far larger than its neighbours.
    FarLarger {
        /// Its bytes.
        size: u64,
        /// Those of its neighbours.
        usual: u64,
    },
}

impl Flag {
    /// The flag as a sentence.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::ZoneSuspect { minutes } => format!(
                "its times differ by {}{}, a whole multiple of 15 min: perhaps the dump host does not run in UTC",
                if *minutes < 0 { "-" } else { "+" },
                duration_text(SignedDuration::from_mins(minutes.saturating_abs())),
            ),
            Self::HeaderAfterUpload { minutes } => format!(
                "its header is {} later than its upload, so the dump host does not run in UTC or its clock is wrong; \
                 the upload's time is taken",
                duration_text(SignedDuration::from_mins(*minutes)),
            ),
            Self::AcrossOnset { minutes } => format!(
                "it began before the onset and its upload is dated {} later, after the onset; a dump is consistent as \
                 of its start",
                duration_text(SignedDuration::from_mins(*minutes)),
            ),
            Self::Unread => "its content has not been read yet".to_owned(),
            Self::EndUnverified => {
                "only its head was read so far; the rest is proved before the live database is changed".to_owned()
            }
            Self::NewerPgDump { pg_dump } => {
                format!("pg_dump {pg_dump} wrote it, which is newer than the pg_restore here")
            }
            Self::NewerServer { server } => {
                format!("it comes from PostgreSQL {server}, newer than the server here")
            }
            Self::Inserts => "it holds INSERT statements and restores slowly".to_owned(),
            Self::FarLarger { size, usual } => format!(
                "it is {} long where its neighbours are about {}: see by its tables what it holds before it is restored",
                size_text(*size),
                size_text(*usual)
            ),
        }
    }

    /// What of the snapshot it puts in doubt, in one word for a column; none where it only informs.
    fn doubts(&self) -> Option<&'static str> {
        match self {
            Self::ZoneSuspect { .. } | Self::HeaderAfterUpload { .. } => Some("zone"),
            Self::FarLarger { .. } => Some("size"),
            _ => None,
        }
    }
}

/// Why a snapshot cannot be the restore point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It has no bytes.
    Empty,
    /// Its storage class does not allow reading it now.
    Archived,
    /// It is no custom-format archive.
    NotAnArchive,
    /// It ends too early.
    Truncated,
    /// Its framing is damaged.
    Damaged,
    /// The pg_restore at hand cannot read its version.
    NewerVersion,
    /// It is a dump of another database.
    ForeignDatabase,
    /// It is far smaller than its neighbours.
    OddSize,
    /// It was taken after the damage began.
    AfterOnset,
    /// Whether it was taken before or after the onset cannot be told.
    UnclearTime,
    /// It could not be read.
    Unreadable,
}

/// Where a snapshot stands among those that may be the restore point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is the newest from before the onset.
    Newest,
    /// A newer one from before the onset may as well.
    Older,
    /// As long as the onset is unknown nobody can say which are from before it.
    Undated,
}

/// Whether a snapshot may be the restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It may.
    Eligible {
        /// Where it stands among those that may.
        standing: Standing,
        /// What a person should know beforehand, as sentences.
        notes: Vec<String>,
    },
    /// It may not.
    Rejected {
        /// The reason's kind.
        reason: Reason,
        /// The reason in at most 34 characters, for a column.
        short: String,
        /// The reason in full, and what to do about it.
        detail: String,
    },
}

impl Verdict {
    /// At most 34 characters, for a column.
    #[must_use]
    pub fn short(&self) -> &str {
        match self {
            Self::Eligible { standing: Standing::Newest, .. } => "newest eligible",
            Self::Eligible { standing: Standing::Older, .. } => "eligible",
            Self::Eligible { standing: Standing::Undated, .. } => "readable; onset unknown",
            Self::Rejected { short, .. } => short,
        }
    }

    /// All that there is to say.
    #[must_use]
    pub fn long(&self) -> String {
        match self {
            Self::Eligible { notes, .. } if notes.is_empty() => format!("{}.", self.short()),
            Self::Eligible { notes, .. } => format!("{}: {}.", self.short(), notes.join("; ")),
            Self::Rejected { detail, .. } => detail.clone(),
        }
    }
}

/// A dump, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What the listing said.
    pub listed: Listed,
    /// The best knowledge of when its data was read.
    pub taken_at: Timestamp,
    /// The latest moment at which its data can have been read.
    pub taken_by: Timestamp,
    /// By what `taken_at` is known.
    pub taken_from: Evidence,
    /// The usual size of its neighbours, where there are enough of its kind.
    pub usual: Option<u64>,
    /// What a person should see.
    pub flags: Vec<Flag>,
    /// Whether it may be the restore point.
    pub verdict: Verdict,
}

impl Snapshot {
    /// Whether it may be the restore point.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        matches!(self.verdict, Verdict::Eligible { .. })
    }

    /// Something about it should be looked into before it is relied on, though it decides nothing.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.flags.iter().any(|flag| flag.doubts().is_some())
    }

    /// The verdict with what is in doubt, for a column: `newest eligible; zone?`.
    #[must_use]
    pub fn short(&self) -> String {
        let mut doubts: Vec<&str> = self.flags.iter().filter_map(Flag::doubts).collect();
        doubts.dedup();
        let doubts = if doubts.is_empty() { String::new() } else { format!("; {}?", doubts.join(", ")) };
        // The column cuts what comes last.
        match self.verdict.short().split_once("; ") {
            Some((first, rest)) => format!("{first}{doubts}; {rest}"),
            None => format!("{}{doubts}", self.verdict.short()),
        }
    }
}

/// The writes that restoring `snapshot` costs: from its time to the moment writes were stopped, else to `now`. Never
/// negative.
#[must_use]
pub fn loses(snapshot: &Snapshot, stopped_writes_at: Option<Timestamp>, now: Timestamp) -> SignedDuration {
    stopped_writes_at.unwrap_or(now).duration_since(snapshot.taken_at).max(SignedDuration::ZERO)
}
