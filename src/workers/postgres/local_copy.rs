//! A dump on this host's disk: fetched once, whole, and read to its end.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::{ArchiveError, End, Offset, Span, Toc, find_blocks};
use crate::incident::{Digest, ObjectRef};
use crate::runbook::TargetRef;
use crate::snapshots::size_text;
use crate::workers::process::{self, Exit, Rows, Spec};
use crate::workers::s3::{Download, Place};
use crate::workers::{Context, Io, WorkerError};

use super::tools::Tool;

/// What is read first of an archive; doubled until the table of contents is whole.
const FIRST: u64 = 256 << 10;
/// What reading a whole dump is called, in logs and messages.
pub(super) const READ_TO_END: &str = "read the dump to its end";
/// What is left free on the disk for others.
const SPARE: u64 = 64 << 20;

/// Where an object's copy lies. The name holds its entity tag and version, so that it is never another one's.
pub(super) fn path(work: &Path, object: &ObjectRef) -> PathBuf {
    let pinned = (&object.bucket, &object.key, &object.version_id, &object.etag, object.size);
    let digest: String = Digest::of_json(&pinned).0.chars().take(16).collect();
    work.join(format!("{digest}.dump"))
}

/// Whether the copy is there. A download gets its name only when it is whole.
pub(super) fn is_whole(path: &Path, object: &ObjectRef) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == object.size)
}

/// Opens the place where an object lies.
pub(super) async fn place_of(cx: &Context, object: &ObjectRef) -> Result<Place, WorkerError> {
    let target: TargetRef = object.target.parse().map_err(|error| {
        WorkerError::new("find the dump", &object.target, format!("{error}."), "Correct the config, then try again.")
    })?;
    Place::open(&cx.config, &target).await
}

/// The object's copy, fetched if it is not there yet; none where the attempt was stopped.
pub(super) async fn fetch(cx: &Context, io: &Io, object: &ObjectRef) -> Result<Option<PathBuf>, WorkerError> {
    let path = path(&cx.work()?, object);
    let Some(fetching) = begin(cx, io, object).await? else { return Ok(Some(path)) };
    match fetching.finish(io, &[], &AtomicBool::new(false)).await {
        Ok(()) => Ok(Some(path)),
        Err(_) if io.cancel.is_cancelled() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A download that was begun: from here on the file can be read while it arrives, see [`crate::workers::s3::Arriving`].
pub(super) struct Fetching {
    object: ObjectRef,
    path: PathBuf,
    place: Place,
    download: Download,
}

/// Begins to fetch an object; none where its copy is here already.
pub(super) async fn begin(cx: &Context, io: &Io, object: &ObjectRef) -> Result<Option<Fetching>, WorkerError> {
    let path = path(&cx.work()?, object);
    if is_whole(&path, object) {
        io.line(format!("{} is here already, whole: {}", object.key, size_text(object.size)));
        return Ok(None);
    }
    io.line(format!("downloading {} ({})", object.key, size_text(object.size)));
    let place = place_of(cx, object).await?;
    let download = place.begin(object, &path)?;
    Ok(Some(Fetching { object: object.clone(), path, place, download }))
}

impl Fetching {
    /// The table of contents, from the first bytes, before the rest is fetched.
    pub(super) async fn contents(&self) -> Result<Toc, WorkerError> {
        remote_toc(&self.place, &self.object).await?.map_err(|error| {
            let cause = format!("{error}.");
            WorkerError::new(
                "read the dump's contents",
                &self.object.key,
                cause,
                "Nothing was changed. Choose another snapshot.",
            )
        })
    }

    /// Fetches the rest, the parts that `first` covers (from, length) before others. It is shown how far it is for as
    /// long as nobody says that there is something better to show.
    pub(super) async fn finish(self, io: &Io, first: &[(u64, u64)], hushed: &AtomicBool) -> Result<(), WorkerError> {
        let Self { object, path, place, download } = self;
        let progress = |done: u64, total: u64| {
            if !hushed.load(Ordering::Relaxed) {
                io.progress("download the dump", done, Some(total), "bytes");
            }
        };
        let thinned = Thinned::new(&progress);
        let verified = place.fetch(&object, &path, download, first, &thinned.sink(), &io.cancel).await?;
        io.line(match verified {
            Some(name) => format!("{} is downloaded, and its {name} checksum is the one that S3 keeps", object.key),
            None => format!("{} is downloaded; S3 keeps no checksum of it as a whole", object.key),
        });
        Ok(())
    }
}

/// Lets through one report in a hundredth of the whole: a transfer reports every few kilobytes.
pub(super) struct Thinned<'a> {
    to: &'a (dyn Fn(u64, u64) + Send + Sync),
    last: std::sync::atomic::AtomicU64,
}

impl<'a> Thinned<'a> {
    pub(super) fn new(to: &'a (dyn Fn(u64, u64) + Send + Sync)) -> Self {
        Self { to, last: std::sync::atomic::AtomicU64::new(u64::MAX) }
    }

    pub(super) fn sink(&self) -> impl Fn(u64, u64) + Send + Sync + '_ {
        |done, total| {
            let step = done.saturating_mul(100) / total.max(1);
            if self.last.swap(step, Ordering::Relaxed) != step {
                (self.to)(done, total);
            }
        }
    }
}

/// Whether there is room for `bytes` more in a folder; where not, how much there is.
pub(super) fn room(folder: &Path, bytes: u64) -> Result<(), u64> {
    // What cannot be asked is found out when writing.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= bytes.saturating_add(SPARE) { Ok(()) } else { Err(free) }
}

/// The table of contents of an object, read from its first bytes.
pub(super) async fn remote_toc(place: &Place, object: &ObjectRef) -> Result<Result<Toc, ArchiveError>, WorkerError> {
    let mut most = FIRST;
    loop {
        let bytes = place.prefix_of(object, most).await?;
        match Toc::parse(&bytes) {
            Err(ArchiveError::NeedMore { .. }) if most < object.size => most = most.saturating_mul(4),
            parsed => return Ok(parsed.map_err(|error| error.given_size(object.size))),
        }
    }
}

/// The table of contents of a file.
pub(super) async fn local_toc(path: &Path) -> Result<Toc, WorkerError> {
    let owned = path.to_owned();
    let read = move || -> Result<Toc, String> {
        let size = std::fs::metadata(&owned).map_err(|error| error.to_string())?.len();
        let mut most = FIRST;
        loop {
            let mut bytes = Vec::new();
            let file = File::open(&owned).map_err(|error| error.to_string())?;
            file.take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            match Toc::parse(&bytes) {
                Err(ArchiveError::NeedMore { .. }) if most < size => most = most.saturating_mul(4),
                parsed => return parsed.map_err(|error| error.given_size(size).to_string()),
            }
        }
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string()).and_then(|read| read);
    read.map_err(|cause| {
        WorkerError::new(
            "read the dump's contents",
            path.display().to_string(),
            format!("{cause}."),
            "Nothing was changed. Choose another snapshot.",
        )
    })
}

/// A dump that was walked to its end.
pub(super) struct Walked {
    /// A sentence about it.
    pub(super) says: String,
    /// Where its data lies.
    pub(super) spans: Vec<Span>,
}

/// Walks a dump's data blocks to its end: every table that its table of contents promises is there.
///
/// # Errors
/// The file ends too early, is damaged, or cannot be read; `next` is what the person can do.
pub(super) async fn walk_to_end(path: &Path, toc: &Toc, next: &str) -> Result<Walked, WorkerError> {
    let (owned, contents) = (path.to_owned(), toc.clone());
    let walk = move || -> Result<Result<Walked, String>, String> {
        let file = File::open(&owned).map_err(|error| error.to_string())?;
        let mut spans = Vec::new();
        // The walk reads a few bytes before every piece of a table.
        let reader = std::io::BufReader::with_capacity(64 << 10, file);
        let state = find_blocks(reader, &contents, &mut |span| spans.push(span)).map_err(|error| error.to_string())?;
        Ok(match state.end {
            End::Complete => {
                let says = format!("{} of {} data blocks are whole", state.blocks, state.expected);
                Ok(Walked { says, spans })
            }
            End::Cut { inside } => Err(format!(
                "The dump is cut off: {} of {} data blocks are whole, and it ends inside {inside}.",
                state.blocks, state.expected
            )),
            End::Corrupt { at, what } => Err(format!("The dump is damaged at byte {at}: {what}.")),
        })
    };
    let walked = tokio::task::spawn_blocking(walk).await.map_err(|error| error.to_string()).and_then(|walked| walked);
    let verdict = walked.unwrap_or_else(|cause| Err(format!("It cannot be read: {cause}.")));
    verdict.map_err(|cause| WorkerError::new(READ_TO_END, path.display().to_string(), cause, next))
}

/// Writes where the data blocks are into a copy of an archive that does not say: pg_restore would look for each of them
/// from the beginning. Only into a copy that is proved to be what S3 keeps, for it is not that any more afterwards.
pub(super) fn fill_in(file: &File, toc: &Toc, spans: &[Span]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    for span in spans {
        let Some(entry) = toc.entry(span.dump_id) else { continue };
        if entry.offset == Offset::NotSet {
            // K_OFFSET_POS_SET of pg_backup_archiver.h, and the offset.
            let mut nine = vec![2];
            nine.extend(span.start.to_le_bytes());
            file.write_all_at(&nine, entry.offset_at)?;
        }
    }
    Ok(())
}

/// Reads a dump to its end with pg_restore, which decompresses everything and writes nothing.
pub(super) async fn read_to_end(io: &Io, tool: &Tool, path: &Path) -> Result<Exit, WorkerError> {
    let argv = vec![tool.path.display().to_string(), "--file=/dev/null".to_owned(), path.display().to_string()];
    let mut spec = Spec::new(READ_TO_END, path.display().to_string(), argv);
    spec.rows = Rows::Postgres;
    process::run(io, spec).await
}
