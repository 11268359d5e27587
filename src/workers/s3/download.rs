//! Reading objects: parts of them, all of them, or into a file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use crate::incident::ObjectRef;
use crate::workers::{Cancel, Disposition, WorkerError};

use super::arrival::{Arrival, GRAIN, names};
use super::{Place, Progress};

/// One request brings 85–90 MB/s at the most, so a file is fetched by several, each for a part of it.
const PART: u64 = 8 << 20;
const AT_ONCE: usize = 8;
/// How often a part is asked for again from where it broke off, and how long after.
const AGAIN: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A part of which less than [`LEAST`] bytes arrive in so long is asked for again.
const SILENCE: Duration = Duration::from_secs(30);
/// 2 KiB/s: whoever sends slower than that is as good as silent.
const LEAST: u64 = 60 << 10;
/// What is left free on the disk for others, in bytes.
const SPARE: u64 = 64 << 20;

/// A download that was begun: its file, and what of it is there.
#[derive(Debug)]
pub struct Download {
    file: File,
    arrival: Arrival,
}

/// How fast an answer must arrive.
struct Pace {
    until: Instant,
    left: u64,
}

impl Pace {
    fn begin() -> Self {
        Self { until: Instant::now() + SILENCE, left: LEAST }
    }

    fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            *self = Self::begin();
        }
    }
}

/// An object's parts in the order in which they are fetched: those of `first` (from, length), then the rest.
fn parts(size: u64, first: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut wanted: Vec<u64> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let stretches = first.iter().copied().chain([(0, size)]);
    for (from, length) in stretches {
        for part in from / PART..from.saturating_add(length).min(size).div_ceil(PART) {
            if seen.insert(part) {
                wanted.push(part);
            }
        }
    }
    wanted.into_iter().map(|part| (part * PART, ((part + 1) * PART).min(size))).collect()
}

impl Place {
    /// Asks for a part of an object, or all of it, as it was when `object` was looked at.
    async fn get(&self, object: &ObjectRef, range: Option<(u64, u64)>) -> Result<GetObjectOutput, WorkerError> {
        self.clients
            .quick
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
        self.collect(object, reply.body).await
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
        let body = self.collect(object, reply.body).await?;
        if body.len() as u64 == end - from { Ok(body) } else { Err(self.short(object, body.len() as u64)) }
    }

    async fn collect(&self, object: &ObjectRef, mut body: ByteStream) -> Result<Vec<u8>, WorkerError> {
        let (mut all, mut pace) = (Vec::new(), Pace::begin());
        while let Some(bytes) = self.next(object, &mut body, &mut pace).await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
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
        let (mut got, mut pace) = (0, Pace::begin());
        while let Some(bytes) = self.next(object, &mut body, &mut pace).await? {
            got += bytes.len() as u64;
            each(&bytes);
        }
        if got == object.size { Ok(()) } else { Err(self.short(object, got)) }
    }

    /// Fetches an object into a file, in parts at once. The file appears under its name only when it is whole; while it
    /// arrives, [`super::Arriving`] reads it. What an earlier attempt fetched is not fetched again. The parts that
    /// `first` covers (from, length) come first, in that order. The result is the checksum by which it was proved to be
    /// what S3 keeps; none where S3 keeps none of it as a whole.
    ///
    /// # Errors
    /// There is no room, S3 says no, the object changed, its checksum is another, or it was cancelled
    /// ([`Disposition::Retry`]).
    pub async fn download(
        &self,
        object: &ObjectRef,
        to: &Path,
        first: &[(u64, u64)],
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<Option<&'static str>, WorkerError> {
        let download = self.begin(object, to)?;
        self.fetch(object, to, download, first, progress, cancel).await
    }

    /// Makes the file, and takes it from whoever else might fetch it: from here on [`super::Arriving`] can open it.
    ///
    /// # Errors
    /// There is no room, or the file cannot be made.
    pub fn begin(&self, object: &ObjectRef, to: &Path) -> Result<Download, WorkerError> {
        let (partial, map) = names(to);
        let disk = |error: std::io::Error| Self::disk(object, &partial, &error);
        let fresh = !std::fs::metadata(&partial).is_ok_and(|found| found.len() == object.size);
        let arrival = Arrival::begin(&map, &object.etag, object.size, fresh).map_err(disk)?;
        let missing = arrival.missing(0, object.size).map_err(disk)?;
        Self::room_for(object, to, missing.iter().map(|(from, to)| to - from).sum())?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(fresh)
            .mode(0o600)
            .open(&partial)
            .map_err(disk)?;
        file.set_len(object.size).map_err(disk)?;
        Ok(Download { file, arrival })
    }

    /// As [`Place::download`], of a download that was begun.
    ///
    /// # Errors
    /// As there.
    pub async fn fetch(
        &self,
        object: &ObjectRef,
        to: &Path,
        download: Download,
        first: &[(u64, u64)],
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<Option<&'static str>, WorkerError> {
        let (partial, map) = names(to);
        let disk = |error: std::io::Error| Self::disk(object, &partial, &error);
        let mut stretches = Vec::new();
        for (from, to) in parts(object.size, first) {
            stretches.extend(download.arrival.missing(from, to).map_err(disk)?);
        }
        let missing: u64 = stretches.iter().map(|(from, to)| to - from).sum();
        let done = AtomicU64::new(object.size - missing);
        let parts = stream::iter(stretches).map(|(from, to)| self.part(object, &download, (from, to), &done, progress));
        let fetch = parts.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        tokio::select! {
            fetched = fetch => { fetched?; }
            () = cancel.cancelled() => {
                let stopped = WorkerError::new(format!("download {}", object.key), self.url(), "It was stopped.", "Retry (r) to go on with it.");
                return Err(stopped.with(Disposition::Retry));
            }
        }
        if !download.arrival.missing(0, object.size).map_err(disk)?.is_empty() {
            return Err(self.short(object, done.load(Ordering::Relaxed)));
        }
        let Download { file, arrival } = download;
        let verified = self.verify(object, &file).await.inspect_err(|_| {
            // What is wrong with it is unknown, so all of it is fetched again.
            let _ = std::fs::remove_file(&map);
        })?;
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(disk)?;
        std::fs::rename(&partial, to).map_err(disk)?;
        // Gone last: a reader that finds no map finds the whole file.
        let _ = std::fs::remove_file(&map);
        drop(arrival);
        Ok(verified)
    }

    /// Fetches a part; where the connection breaks it is asked for again from there, for on a bad link one of many breaks,
    /// and all the rest must not be lost with it.
    async fn part(
        &self,
        object: &ObjectRef,
        download: &Download,
        (start, end): (u64, u64),
        done: &AtomicU64,
        progress: Progress<'_>,
    ) -> Result<(), WorkerError> {
        let mut at = start;
        let mut left = AGAIN;
        let mut pause = FIRST_PAUSE;
        loop {
            let before = at;
            let error = match self.stretch(object, download, (start, &mut at, end), done, progress).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if at - before >= LEAST.min(end - before) {
                // It gets on: what counts is how often it breaks without.
                (left, pause) = (AGAIN, FIRST_PAUSE);
            }
            if left == 0 || error.disposition != Disposition::Retry {
                return Err(error);
            }
            left -= 1;
            tracing::warn!("{error} Asked for again from byte {at}.");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Fetches from `at` to `end` of a part that begins at `start`, by one request; `at` is where it came to.
    async fn stretch(
        &self,
        object: &ObjectRef,
        download: &Download,
        (start, at, end): (u64, &mut u64, u64),
        done: &AtomicU64,
        progress: Progress<'_>,
    ) -> Result<(), WorkerError> {
        let disk = |error: std::io::Error| Self::disk(object, Path::new("the download"), &error);
        let mut body = self.get(object, Some((*at, end - 1))).await?.body;
        let mut pace = Pace::begin();
        loop {
            let Some(bytes) = self.next(object, &mut body, &mut pace).await? else { break };
            let length = bytes.len() as u64;
            if *at + length > end {
                // A server that ignores the range would overwrite other parts.
                let error = self.short(object, *at + length);
                return Err(error.with(Disposition::AskOperator));
            }
            download.file.write_all_at(&bytes, *at).map_err(disk)?;
            // The grain in which the last bytes ended may be whole now.
            download.arrival.mark((*at / GRAIN * GRAIN).max(start), *at + length).map_err(disk)?;
            *at += length;
            progress(done.fetch_add(length, Ordering::Relaxed) + length, object.size);
        }
        if *at == end { Ok(()) } else { Err(self.short(object, *at)) }
    }

    /// The next bytes of an answer, unless it is as good as silent.
    async fn next(
        &self,
        object: &ObjectRef,
        body: &mut ByteStream,
        pace: &mut Pace,
    ) -> Result<Option<Bytes>, WorkerError> {
        let silent = || self.broken(object, &format!("less than {LEAST} bytes came in {} s", SILENCE.as_secs()));
        let next = tokio::time::timeout_at(pace.until, body.try_next()).await.map_err(|_| silent())?;
        let next = next.map_err(|error| self.broken(object, &error))?;
        pace.take(next.as_ref().map_or(0, |bytes| bytes.len() as u64));
        Ok(next)
    }

    fn room_for(object: &ObjectRef, to: &Path, wanted: u64) -> Result<(), WorkerError> {
        let folder = to.parent().unwrap_or(Path::new("/"));
        let disk = rustix::fs::statvfs(folder).map_err(|error| Self::disk(object, folder, &error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= wanted.saturating_add(SPARE) {
            return Ok(());
        }
        Err(WorkerError::new(
            format!("download {}", object.key),
            format!("{} on this host", folder.display()),
            format!("There is no room: it takes {} MiB and {} MiB are free.", wanted >> 20, free >> 20),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_wanted_first_come_first_and_none_twice() {
        let size = 4 * PART + 1;
        let order: Vec<u64> =
            parts(size, &[(0, 10), (3 * PART - 1, 2), (0, size)]).iter().map(|part| part.0 / PART).collect();
        assert_eq!(order, [0, 2, 3, 1, 4]);
        assert_eq!(parts(size, &[]).last(), Some(&(4 * PART, size)));
        assert_eq!(parts(0, &[(0, 5)]), []);
    }
}
