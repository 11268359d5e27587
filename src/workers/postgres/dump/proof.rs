//! That the dump is whole where it lies: read to its end here, read back from there, and described beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::archive::{Toc, count_rows};
use crate::incident::{Fact, ObjectRef, clock};
use crate::snapshots::size_text;
use crate::workers::s3::Place;
use crate::workers::{Done, Io, Ran, WorkerError};

use super::super::local_copy::Thinned;

/// What lies beside a safety dump, as `<key>.manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) incident: String,
    pub(super) database: String,
    pub(super) system: Option<String>,
    pub(super) taken_at: Timestamp,
    pub(super) lsn: String,
    pub(super) writes_stopped_at: Option<Timestamp>,
    pub(super) later: String,
    pub(super) rows: BTreeMap<String, u64>,
    pub(super) sha256: String,
    pub(super) crc32c: String,
    pub(super) bytes: u64,
}

/// Reads an archive to its end; the rows of each table.
pub(super) async fn rows(file: &Path, toc: &Toc) -> Result<BTreeMap<String, u64>, String> {
    let (file, toc) = (file.to_owned(), toc.clone());
    let count = move || -> Result<BTreeMap<String, u64>, String> {
        let file = File::open(&file).map_err(|error| format!("{error}."))?;
        let counts = count_rows(file, &toc).map_err(|error| format!("{error}."))?;
        Ok(counts.into_iter().map(|count| (count.table, count.rows)).collect())
    };
    tokio::task::spawn_blocking(count).await.map_err(|error| error.to_string())?
}

/// Reads an uploaded dump back, compares it with the file, and puts its manifest beside it.
pub(super) async fn read_back(
    io: &Io,
    place: &Place,
    object: ObjectRef,
    file: &Path,
    mut manifest: Manifest,
) -> Result<Ran, WorkerError> {
    (manifest.sha256, manifest.crc32c, manifest.bytes) = digests(file).await?;
    let (url, bytes) = (format!("s3://{}/{}", place.bucket(), object.key), manifest.bytes);
    let mut hash = Sha256::new();
    let mut read = 0;
    let back = |done: u64, total: u64| io.progress("read the dump back", done, Some(total), "bytes");
    let back = Thinned::new(&back);
    let tell = back.sink();
    let mut each = |piece: &[u8]| {
        hash.update(piece);
        read += piece.len() as u64;
        tell(read, bytes);
    };
    tokio::select! {
        read = place.read(&object, &mut each) => read?,
        () = io.cancel.cancelled() => {
            return Ok(Ran::Stopped(format!("the database was only read; the dump lies at {url} and was not read back")));
        }
    }
    let got = hex(&hash.finalize());
    if got != manifest.sha256 {
        return Err(WorkerError::new(
            "read the safety dump back",
            url,
            format!("What came back is not what was sent: SHA-256 {got}, not {}.", manifest.sha256),
            "Do not rest on this dump: retry (r), and look at the storage if it happens again.",
        ));
    }
    let beside = file.with_extension("manifest.json");
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    let local = |error: std::io::Error| {
        WorkerError::new(
            "write the safety dump's manifest",
            beside.display().to_string(),
            format!("{error}."),
            "Retry (r).",
        )
    };
    crate::private::write(&beside, text).map_err(local)?;
    let kept =
        place.upload(&format!("{}.manifest.json", object.key), &beside, &BTreeMap::new(), &|_, _| (), &io.cancel).await;
    // In S3, or of no use.
    let _ = std::fs::remove_file(&beside);
    kept?;
    let total: u64 = manifest.rows.values().sum();
    let line = format!(
        "{url} holds {} as of {}: {}, read back, SHA-256 {}",
        manifest.database,
        clock(manifest.taken_at),
        size_text(bytes),
        manifest.sha256
    );
    io.line(&line);
    let evidence = vec![
        line,
        format!(
            "{} tables with {total} rows read to their end; LSN {}; CRC32C {}",
            manifest.rows.len(),
            manifest.lsn,
            manifest.crc32c
        ),
        "Later writes are not in it; beside it lies its manifest".to_owned(),
    ];
    Ok(Ran::Done(Done { evidence, facts: vec![Fact::SafetyDump { object, taken_at: manifest.taken_at }] }))
}

/// SHA-256 and CRC32C in hexadecimal, and the size.
async fn digests(path: &Path) -> Result<(String, String, u64), WorkerError> {
    let owned = path.to_owned();
    let read = move || -> std::io::Result<(String, String, u64)> {
        let mut file = File::open(&owned)?;
        let mut buffer = vec![0; 1 << 20];
        let (mut hash, mut crc, mut bytes) = (Sha256::new(), 0, 0);
        loop {
            let count = file.read(&mut buffer)?;
            let piece = buffer.get(..count).unwrap_or_default();
            if piece.is_empty() {
                return Ok((hex(&hash.finalize()), format!("{crc:08x}"), bytes));
            }
            hash.update(piece);
            crc = crc32c::crc32c_append(crc, piece);
            bytes += count as u64;
        }
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other).and_then(|read| read);
    read.map_err(|error| {
        WorkerError::new("read the safety dump", path.display().to_string(), format!("{error}."), "Retry (r).")
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
