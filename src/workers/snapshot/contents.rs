//! Opening a dump where it lies: its header, its tables, and the rows of those that are small enough to be counted.

use std::io::Cursor;

use futures_util::{StreamExt as _, stream};

use crate::archive::{ArchiveError, Compression, Rows, Span, Toc, TocEntry, open_data};
use crate::config::Config;
use crate::incident::{Contents, ObjectRef, TableContents};
use crate::runbook::TargetRef;
use crate::workers::WorkerError;
use crate::workers::s3::Place;

/// The first bytes that are read, and the most that a table of contents may take.
const FIRST: u64 = 128 << 10;
const MOST: u64 = 64 << 20;
/// A table of more bytes is not counted, and of all tables no more than so many are read: a look must not take the line
/// from a restore.
const TABLE: u64 = 8 << 20;
const ALL: u64 = 32 << 20;
/// Tables that are read at once.
const AT_ONCE: usize = 4;

/// What a dump holds.
///
/// # Errors
/// It is not there, cannot be read, or is no archive.
pub async fn open_snapshot(config: &Config, from: &TargetRef, key: &str) -> Result<Contents, WorkerError> {
    let place = Place::open(config, from).await?;
    let fault = |cause: String, next: &str| WorkerError::new(format!("open {key}"), place.url(), cause, next);
    let object = place.head(key, None).await?;
    let Some(object) = object else {
        return Err(fault("There is no such object any more.".to_owned(), "List the snapshots again (r)."));
    };
    let toc =
        read_toc(&place, &object).await?.map_err(|error| fault(format!("{error}."), "Choose another snapshot."))?;
    let spans = toc.spans(object.size);
    let mut tables = Vec::new();
    let mut counted = Vec::new();
    let mut left = ALL;
    let mut by_size: Vec<(&TocEntry, Span)> =
        spans.into_iter().filter_map(|span| Some((toc.entry(span.dump_id)?, span))).collect();
    by_size.sort_by_key(|(_, span)| span.len);
    for (entry, span) in by_size.into_iter().filter(|(entry, _)| entry.desc == "TABLE DATA") {
        let counts = entry.is_copy() && span.len <= TABLE.min(left);
        if counts {
            left -= span.len;
            counted.push((tables.len(), entry.clone(), span));
        }
        tables.push(TableContents { name: entry.name(), bytes: span.len, rows: None });
    }
    let (place, object, compression) = (&place, &object, toc.header.compression);
    let counts = stream::iter(counted).map(|(at, entry, span)| async move {
        let bytes = place.range(object, span.start, span.len).await.ok()?;
        let rows = tokio::task::spawn_blocking(move || count(bytes, compression, &entry, span)).await.ok()?.ok()?;
        Some((at, rows))
    });
    let counts: Vec<Option<(usize, u64)>> = counts.buffer_unordered(AT_ONCE).collect().await;
    // What cannot be read now has no count; that is said by its row.
    for (at, rows) in counts.into_iter().flatten() {
        if let Some(table) = tables.get_mut(at) {
            table.rows = Some(rows);
        }
    }
    tables.reverse();
    let header = &toc.header;
    Ok(Contents {
        key: key.to_owned(),
        version_id: object.version_id.clone(),
        created: header.created.map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        database: header.database.clone(),
        server: header.server_version.clone(),
        pg_dump: header.pg_dump_version.clone(),
        compression: header.compression.to_string(),
        tables,
    })
}

async fn read_toc(place: &Place, object: &ObjectRef) -> Result<Result<Toc, ArchiveError>, WorkerError> {
    let mut most = FIRST;
    loop {
        let bytes = place.prefix_of(object, most).await?;
        match Toc::parse(&bytes).map_err(|error| error.given_size(object.size)) {
            Err(ArchiveError::NeedMore { at_least }) if most < MOST.min(object.size) => {
                most = (most * 4).max(at_least).min(MOST);
            }
            parsed => return Ok(parsed),
        }
    }
}

fn count(bytes: Vec<u8>, compression: Compression, entry: &TocEntry, span: Span) -> Result<u64, ArchiveError> {
    let data = open_data(Cursor::new(bytes), compression, entry, span.start)?;
    let mut rows = Rows::new(data, entry, span.start);
    while rows.piece()?.is_some() {}
    Ok(rows.counted().0)
}
