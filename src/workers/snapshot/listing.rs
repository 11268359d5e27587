//! Listing dumps, reading the beginnings of those that matter, and judging them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::archive::{ArchiveError, Toc};
use crate::config::Config;
use crate::incident::{Listing, ObjectRef, SnapshotRow};
use crate::runbook::TargetRef;
use crate::snapshots::{Evidence, Flag, Inspected, Judge, Listed, Snapshot, Verdict, judge, propose};
use crate::workers::WorkerError;
use crate::workers::postgres::client_major;
use crate::workers::s3::Place;

/// The first bytes of a dump that are read: header and table of contents of most.
const FIRST_READ: u64 = 128 << 10;
/// A table of contents that is longer than this is not read for the list.
const LONGEST_READ: u64 = 16 << 20;
/// Dumps whose beginnings are read at once, and how many of the newest are read unasked.
const AT_ONCE: usize = 8;
const NEWEST: usize = 12;
/// A dump smaller than this share of its neighbours' median is of an odd size.
const SIZE_TOLERANCE: f64 = 0.5;

/// Dumps, judged, with what was read of them.
pub(super) struct Judged {
    pub(super) place: Place,
    pub(super) snapshots: Vec<Snapshot>,
    tables: BTreeMap<String, Vec<(String, u64)>>,
}

/// Lists and judges the dumps of a place, newest first.
///
/// # Errors
/// The place cannot be listed. A dump that cannot be read is in the list, with the reason.
pub async fn list_snapshots(
    config: &Config,
    from: &TargetRef,
    database: &TargetRef,
    onset: Option<Timestamp>,
    now: Timestamp,
) -> Result<Listing, WorkerError> {
    let judged = look(config, from, database, onset, now, None).await?;
    Ok(judged.listing(onset))
}

/// `wanted` is read too, wherever it stands in the list.
pub(super) async fn look(
    config: &Config,
    from: &TargetRef,
    database: &TargetRef,
    onset: Option<Timestamp>,
    now: Timestamp,
    wanted: Option<&str>,
) -> Result<Judged, WorkerError> {
    let place = Place::open(config, from).await?;
    let mut listed = place.list("").await?;
    // A folder marker is no dump.
    listed.retain(|object| !object.key.ends_with('/'));
    listed.sort_by_key(|object| std::cmp::Reverse(object.last_modified));
    let major = client_major(config, database).await?;
    let TargetRef::Postgres(name) = database else {
        return Err(WorkerError::new(
            "judge the dumps",
            database.to_string(),
            "It is no PostgreSQL database.",
            "Correct the runbook.",
        ));
    };
    let rules = Judge {
        pg_restore_major: major,
        server_major: major,
        now,
        size_tolerance: SIZE_TOLERANCE,
        database: config.postgres.get(name).map(|postgres| postgres.database.clone()),
        dump_host_zone: None,
    };
    let mut read = Read::default();
    let before = |object: &&Listed| onset.is_none_or(|onset| object.last_modified <= onset);
    let first: Vec<&Listed> = listed
        .iter()
        .take(NEWEST)
        .chain(listed.iter().filter(before).take(NEWEST))
        .chain(listed.iter().filter(|object| Some(object.key.as_str()) == wanted))
        .collect();
    read.inspect(&place, first).await;
    let mut snapshots = judge(&listed, &read.inspected, onset, &rules);
    // What is proposed was read: a dump that nobody looked into is not offered as the way back.
    while let Some(unread) = propose(&snapshots).filter(|proposal| proposal.flags.contains(&Flag::Unread)) {
        let at = listed.iter().find(|object| object.id() == unread.listed.id());
        let before = read.inspected.len();
        read.inspect(&place, at.into_iter().collect()).await;
        if read.inspected.len() == before {
            break;
        }
        snapshots = judge(&listed, &read.inspected, onset, &rules);
    }
    Ok(Judged { place, snapshots, tables: read.tables })
}

/// What was read of dumps so far.
#[derive(Default)]
struct Read {
    inspected: BTreeMap<String, Inspected>,
    tables: BTreeMap<String, Vec<(String, u64)>>,
}

impl Read {
    async fn inspect(&mut self, place: &Place, objects: Vec<&Listed>) {
        let mut seen = BTreeSet::new();
        let fresh: Vec<Listed> = objects
            .into_iter()
            .filter(|object| !self.inspected.contains_key(&object.id()) && seen.insert(object.id()))
            .cloned()
            .collect();
        let looks = stream::iter(fresh).map(|object| async move {
            let looked = beginning(place, &object).await;
            (object, looked)
        });
        let looks: Vec<_> = looks.buffer_unordered(AT_ONCE).collect().await;
        for (object, looked) in looks {
            match looked {
                Ok((inspected, tables)) => {
                    self.tables.insert(object.id(), tables);
                    self.inspected.insert(object.id(), inspected);
                }
                Err(error) => {
                    // It stays unread, which its verdict says, and is never proposed.
                    tracing::warn!("{error}");
                    let reason = ArchiveError::Read { at: 0, cause: error.cause.clone() };
                    self.inspected.insert(object.id(), Inspected { header: Err(reason), toc: None, end: None });
                }
            }
        }
    }
}

async fn beginning(place: &Place, object: &Listed) -> Result<(Inspected, Vec<(String, u64)>), WorkerError> {
    let pinned = pin(place, object);
    let mut most = FIRST_READ;
    loop {
        let bytes = place.prefix_of(&pinned, most).await?;
        match Inspected::from_prefix(&bytes, object.size) {
            Ok(inspected) => {
                let tables = Toc::parse(&bytes).map(|toc| tables(&toc, object.size)).unwrap_or_default();
                return Ok((inspected, tables));
            }
            Err(ArchiveError::NeedMore { at_least }) if most < LONGEST_READ.min(object.size) => {
                most = (most * 4).max(at_least).min(LONGEST_READ);
            }
            Err(error) => return Ok((Inspected { header: Err(error), toc: None, end: None }, Vec::new())),
        }
    }
}

fn tables(toc: &Toc, size: u64) -> Vec<(String, u64)> {
    let mut tables: Vec<(String, u64)> = toc
        .spans(size)
        .into_iter()
        .filter_map(|span| toc.entry(span.dump_id).map(|entry| (entry.name(), span.len)))
        .collect();
    tables.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
    tables
}

/// A listed object, pinned as it was listed.
pub(super) fn pin(place: &Place, object: &Listed) -> ObjectRef {
    ObjectRef {
        target: place.target().to_owned(),
        bucket: place.bucket().to_owned(),
        key: object.key.clone(),
        version_id: object.version_id.clone(),
        etag: object.etag.clone(),
        size: object.size,
    }
}

impl Judged {
    pub(super) fn proposed(&self) -> Option<&Snapshot> {
        propose(&self.snapshots)
    }

    pub(super) fn listing(&self, onset: Option<Timestamp>) -> Listing {
        let proposed = self.proposed().map(|snapshot| snapshot.listed.id());
        let rows = self
            .snapshots
            .iter()
            .map(|snapshot| SnapshotRow {
                key: snapshot.listed.key.clone(),
                version_id: snapshot.listed.version_id.clone(),
                size: snapshot.listed.size,
                last_modified: snapshot.listed.last_modified,
                taken_at: snapshot.taken_at,
                taken_from: match snapshot.taken_from {
                    Evidence::Header => "archive header",
                    Evidence::FileName => "file name",
                    Evidence::LastModified => "last modified",
                }
                .to_owned(),
                storage_class: snapshot.listed.storage_class.clone(),
                usual: snapshot.usual,
                eligible: matches!(snapshot.verdict, Verdict::Eligible { .. }),
                proposed: proposed.as_deref() == Some(snapshot.listed.id().as_str()),
                doubtful: snapshot.is_doubtful(),
                verdict: snapshot.short(),
                detail: snapshot.verdict.long(),
                tables: self.tables.get(&snapshot.listed.id()).cloned().unwrap_or_default(),
            })
            .collect();
        Listing::new(self.place.url(), rows, onset)
    }
}
