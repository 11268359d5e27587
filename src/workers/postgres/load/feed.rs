//! Reads a table's rows out of the archive, ahead of those who write them.

use std::io::{BufReader, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex as StdMutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};

use crate::archive::{ArchiveError, Compression, RowCount, Rows, Span, TocEntry, archive_error, open_data};
use crate::workers::s3::Arriving;

/// Pieces that wait to be written. With 256 KiB each, a feed holds a megabyte.
const AHEAD: usize = 4;

/// A table's rows on their way.
pub(super) struct Feed {
    pieces: Mutex<mpsc::Receiver<Result<Bytes, String>>>,
    span: Span,
    /// How many bytes of the block were read.
    read: std::sync::Arc<AtomicU64>,
    ended: AtomicBool,
    counted: std::sync::Arc<StdMutex<Option<RowCount>>>,
}

impl Feed {
    /// Begins to read the data block of `entry`.
    pub(super) fn start(archive: Arriving, compression: Compression, entry: TocEntry, span: Span) -> Self {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (read, counted) = (std::sync::Arc::<AtomicU64>::default(), std::sync::Arc::<StdMutex<_>>::default());
        let feed = Self {
            pieces: Mutex::new(receiver),
            span,
            read: std::sync::Arc::clone(&read),
            ended: AtomicBool::new(false),
            counted: std::sync::Arc::clone(&counted),
        };
        std::thread::spawn(move || {
            let outcome = pump(archive, compression, &entry, span, &read, &sender);
            match outcome {
                Ok(count) => *counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(count),
                // Nobody listens any more where a lane failed, which is said already.
                Err(error) => drop(sender.blocking_send(Err(format!("the data of {}: {error}", entry.name())))),
            }
        });
        feed
    }

    /// The next rows, whole ones; none behind the last.
    pub(super) async fn piece(&self) -> Option<Result<Bytes, String>> {
        let piece = self.pieces.lock().await.recv().await;
        if piece.is_none() {
            self.ended.store(true, Ordering::Relaxed);
        }
        piece
    }

    /// Nothing is left to write.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Bytes of the block that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.span.len.saturating_sub(self.read.load(Ordering::Relaxed))
    }

    /// What was counted, once everything was read.
    pub(super) fn counted(&self) -> Option<RowCount> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts what is read through it.
struct Metered<'a, R> {
    inner: R,
    read: &'a AtomicU64,
}

impl<R: std::io::Read> std::io::Read for Metered<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

fn pump(
    mut archive: Arriving,
    compression: Compression,
    entry: &TocEntry,
    span: Span,
    read: &AtomicU64,
    to: &mpsc::Sender<Result<Bytes, String>>,
) -> Result<RowCount, ArchiveError> {
    archive.seek(SeekFrom::Start(span.start)).map_err(|error| archive_error(span.start, &error))?;
    let source = BufReader::with_capacity(128 << 10, Metered { inner: archive, read });
    let data = open_data(source, compression, entry, span.start)?;
    let mut rows = Rows::new(data, entry, span.start);
    while let Some(piece) = rows.piece()? {
        if to.blocking_send(Ok(Bytes::from(piece))).is_err() {
            break;
        }
    }
    let (count, bytes) = rows.counted();
    Ok(RowCount { dump_id: entry.dump_id, table: entry.name(), rows: count, bytes })
}
