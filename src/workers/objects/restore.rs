//! One object: looking again, keeping what is there, writing, proving.

use crate::incident::ObjectRef;
use crate::workers::s3::{Guard, Place};
use crate::workers::{Context, WorkerError};

use super::basis::Item;
use super::compare::{Live, same};
use super::ledger::{Ledger, Line};
use super::source::{Good, Source, pin, sha256};

/// The three places.
pub(super) struct Places {
    pub(super) source: Source,
    pub(super) to: Place,
    pub(super) keep: Place,
    /// The destination keeps versions by itself.
    pub(super) versioned: bool,
}

/// What became of one object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has the snapshot's content now; another object was there before.
    Overwritten,
    /// It has the snapshot's content now, and was not there before.
    Created,
    /// It had the snapshot's content already.
    Already,
    /// It is not as it was planned; it was left alone. Why.
    Left(String),
}

impl Places {
    pub(super) async fn restore(&self, cx: &Context, item: &Item, ledger: &Ledger) -> Result<Fate, WorkerError> {
        let key = format!("{}{}", self.to.prefix(), item.key);
        let good = Good { size: item.size, etag: item.source.clone() };
        let live = self.to.head(&key, None).await?;
        if let Some(live) = &live
            && self.holds(item, &good, live).await?
        {
            // Done by an attempt that was cut off between the write and its line in the ledger.
            if let Some(begun) = ledger.get(&key).filter(|line| line.restored.is_none()) {
                ledger.add(Line { restored: Some(live.etag.clone()), ..begun })?;
            }
            return Ok(Fate::Already);
        }
        if live.as_ref().map(|live| &live.etag) != item.live.as_ref() {
            return Ok(Fate::Left(match &live {
                None => "it was deleted since the plan".to_owned(),
                Some(_) => "somebody wrote it since the plan".to_owned(),
            }));
        }
        let kept = match &live {
            None => None,
            Some(live) => Some(self.keep(cx, item, live).await?),
        };
        ledger.add(Line { key: key.clone(), kept: kept.clone(), restored: None })?;
        let guard = live.as_ref().map_or(Guard::Absent, |live| Guard::Is(&live.etag));
        let written = match (&self.source, self.source.file(&item.key)) {
            (Source::S3(from), _) => self.to.copy_when(&pin(from, &item.key, &good), &key, Some(guard)).await?,
            (Source::Folder(..), Some(file)) => self.to.replace(&key, &file, guard).await?,
            (Source::Folder(..), None) => return Ok(Fate::Left("it has no file".to_owned())),
        };
        if !self.holds(item, &good, &written).await? {
            return Err(WorkerError::new(
                format!("prove {key}"),
                self.to.url(),
                "It was written, and its content is not the snapshot's.",
                "Prepare the step again: the comparison shows what it holds now. Its former content is kept.",
            ));
        }
        let fate = if kept.is_some() { Fate::Overwritten } else { Fate::Created };
        ledger.add(Line { key, kept, restored: Some(written.etag) })?;
        Ok(fate)
    }

    /// Whether the object has the snapshot's content.
    pub(super) async fn holds(&self, item: &Item, good: &Good, object: &ObjectRef) -> Result<bool, WorkerError> {
        let live = Live { size: object.size, etag: object.etag.clone(), modified: jiff::Timestamp::UNIX_EPOCH };
        same(&self.source, &self.to, &item.key, good, &live).await
    }

    /// Keeps what the bucket holds: its version where there are versions, else a copy outside.
    async fn keep(&self, cx: &Context, item: &Item, live: &ObjectRef) -> Result<ObjectRef, WorkerError> {
        if self.versioned && live.version_id.is_some() {
            return Ok(live.clone());
        }
        let incident = &cx.knowledge.incident;
        let first = format!("{}{incident}/objects/{}", self.keep.prefix(), item.key);
        let key = match self.keep.head(&first, None).await? {
            None => first,
            Some(there) if equal(&self.keep, &there, &self.to, live).await? => return Ok(there),
            // An earlier attempt kept other content here, which may still be wanted: it is never overwritten.
            Some(_) => {
                let attempt = cx.attempt.map_or_else(|| "by-hand".to_owned(), |attempt| attempt.to_string());
                format!("{}{incident}/objects-{attempt}/{}", self.keep.prefix(), item.key)
            }
        };
        let kept = self.keep.copy(live, &key).await?;
        if equal(&self.keep, &kept, &self.to, live).await? {
            return Ok(kept);
        }
        let next = "Nothing was overwritten. Retry (r).";
        Err(WorkerError::new(format!("keep {}", live.key), self.keep.url(), "The copy is not equal to it.", next))
    }
}

/// Whether two objects have the same content.
pub(super) async fn equal(
    place: &Place,
    object: &ObjectRef,
    other_place: &Place,
    other: &ObjectRef,
) -> Result<bool, WorkerError> {
    if object.size != other.size {
        return Ok(false);
    }
    if object.etag == other.etag {
        return Ok(true);
    }
    let (one, two) = tokio::try_join!(sha256(place, object), sha256(other_place, other))?;
    Ok(one == two)
}
