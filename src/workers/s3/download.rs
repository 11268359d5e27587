//! Reading objects: parts of them, all of them, or into a file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::incident::ObjectRef;
use crate::workers::{Cancel, Disposition, WorkerError};

use super::{Place, Progress};

/// One request brings 85–90 MB/s at the most, so a file is fetched by several, each for a part of it.
const PART: u64 = 8 << 20;
const AT_ONCE: usize = 8;
/// What is left free on the disk for others, in bytes.
const SPARE: u64 = 64 << 20;

impl Place {
    /// Asks for a part of an object, or all of it, as it was when `object` was looked at.
    async fn get(&self, object: &ObjectRef, range: Option<(u64, u64)>) -> Result<GetObjectOutput, WorkerError> {
        self.client
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(object.version_id.clone())
            .set_expected_bucket_owner(self.owner.clone())
            .if_match(&object.etag)
            .set_range(range.map(|(from, to)| format!("bytes={from}-{to}")))
            .send()
            .await
            .map_err(|error| self.fault(&format!("read {}", object.key), error))
    }

    /// The first `most` bytes of an object, or all of it where it is shorter.
    ///
    /// # Errors
    /// S3 says no, or the object changed.
    pub async fn prefix_of(&self, object: &ObjectRef, most: u64) -> Result<Vec<u8>, WorkerError> {
        if object.size == 0 || most == 0 {
            return Ok(Vec::new());
        }
        let reply = self.get(object, Some((0, most.min(object.size) - 1))).await?;
        let body = reply.body.collect().await.map_err(|error| self.broken(object, &error))?;
        Ok(body.to_vec())
    }

    /// `length` bytes of an object from `from` on, or fewer where it ends before.
    ///
    /// # Errors
    /// S3 says no, or the object changed.
    pub async fn range(&self, object: &ObjectRef, from: u64, length: u64) -> Result<Vec<u8>, WorkerError> {
        let end = from.saturating_add(length).min(object.size);
        if from >= end {
            return Ok(Vec::new());
        }
        let reply = self.get(object, Some((from, end - 1))).await?;
        let body = reply.body.collect().await.map_err(|error| self.broken(object, &error))?.to_vec();
        if body.len() as u64 == end - from { Ok(body) } else { Err(self.short(object, body.len() as u64)) }
    }

    /// Streams a whole object through `each`.
    ///
    /// # Errors
    /// S3 says no, the object changed, or the stream ended early.
    pub async fn read(&self, object: &ObjectRef, each: &mut (dyn FnMut(&[u8]) + Send)) -> Result<(), WorkerError> {
        if object.size == 0 {
            return Ok(());
        }
        let mut body = self.get(object, None).await?.body;
        let mut got = 0;
        while let Some(bytes) = body.try_next().await.map_err(|error| self.broken(object, &error))? {
            got += bytes.len() as u64;
            each(&bytes);
        }
        if got == object.size { Ok(()) } else { Err(self.short(object, got)) }
    }

    /// Fetches an object into a file, in parts at once. The file appears under its name only when it is whole.
    ///
    /// # Errors
    /// There is no room, S3 says no, the object changed, or it was cancelled ([`Disposition::Retry`]).
    pub async fn download(
        &self,
        object: &ObjectRef,
        to: &Path,
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<(), WorkerError> {
        Self::room_for(object, to)?;
        let partial = to.with_extension("part");
        let disk = |error: std::io::Error| Self::disk(object, &partial, &error);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial).map_err(disk)?;
        file.set_len(object.size).map_err(disk)?;
        let done = AtomicU64::new(0);
        let starts = (0..object.size).step_by(usize::try_from(PART).unwrap_or(usize::MAX));
        let parts = stream::iter(starts).map(|start| self.part(object, &file, start, &done, progress));
        let fetch = parts.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        tokio::select! {
            fetched = fetch => { fetched?; }
            () = cancel.cancelled() => {
                let stopped = WorkerError::new(format!("download {}", object.key), self.url(), "It was stopped.", "Retry (r) to begin again.");
                return Err(stopped.with(Disposition::Retry));
            }
        }
        let got = done.load(Ordering::Relaxed);
        if got != object.size {
            return Err(self.short(object, got));
        }
        file.sync_all().map_err(disk)?;
        std::fs::rename(&partial, to).map_err(disk)
    }

    async fn part(
        &self,
        object: &ObjectRef,
        file: &File,
        start: u64,
        done: &AtomicU64,
        progress: Progress<'_>,
    ) -> Result<(), WorkerError> {
        let end = (start + PART).min(object.size);
        let mut body = self.get(object, Some((start, end - 1))).await?.body;
        let mut at = start;
        while let Some(bytes) = body.try_next().await.map_err(|error| self.broken(object, &error))? {
            let length = bytes.len() as u64;
            if at + length > end {
                // A server that ignores the range would overwrite other parts.
                return Err(self.short(object, at + length));
            }
            file.write_all_at(&bytes, at).map_err(|error| Self::disk(object, Path::new("the download"), &error))?;
            at += length;
            progress(done.fetch_add(length, Ordering::Relaxed) + length, object.size);
        }
        if at == end { Ok(()) } else { Err(self.short(object, at)) }
    }

    fn room_for(object: &ObjectRef, to: &Path) -> Result<(), WorkerError> {
        let folder = to.parent().unwrap_or(Path::new("/"));
        let disk = rustix::fs::statvfs(folder).map_err(|error| Self::disk(object, folder, &error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= object.size + SPARE {
            return Ok(());
        }
        Err(WorkerError::new(
            format!("download {}", object.key),
            format!("{} on this host", folder.display()),
            format!("There is no room: it takes {} MiB and {} MiB are free.", object.size >> 20, free >> 20),
            "Free space there, or set state_dir to a larger disk, then retry (r).",
        ))
    }

    fn disk(object: &ObjectRef, path: &Path, error: &std::io::Error) -> WorkerError {
        WorkerError::new(
            format!("download {}", object.key),
            format!("{} on this host", path.display()),
            format!("The file cannot be written: {error}."),
            "Free space or mend the permissions there, then retry (r).",
        )
    }

    fn broken(&self, object: &ObjectRef, error: &dyn std::fmt::Display) -> WorkerError {
        WorkerError::new(
            format!("read {}", object.key),
            self.url(),
            format!("The connection broke in the middle: {error}."),
            "Nothing is lost: retry (r).",
        )
        .with(Disposition::Retry)
    }

    fn short(&self, object: &ObjectRef, got: u64) -> WorkerError {
        WorkerError::new(
            format!("read {}", object.key),
            self.url(),
            format!("S3 sent {got} bytes of an object of {}.", object.size),
            "Nothing is lost: retry (r).",
        )
        .with(Disposition::Retry)
    }
}
