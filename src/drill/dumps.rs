//! Dumps of the growing database at simulated times, each with a manifest of what it holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::db::{TableState, table_states};
use super::error::SandboxError;
use super::postgres::{Cluster, DATABASE};
use super::programs::Nursery;
use super::s3::Store;
use super::scenario::DumpKind;

/// The bucket of backups.
pub const BACKUPS: &str = "financecopilot-backups";
/// Where the dumps lie in it.
pub const PREFIX: &str = "postgres/";
/// How long a dump is said to have taken, in seconds: the object's time lies that much after the header's.
const DUMP_SECONDS: i64 = 38;

/// What a dump holds, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The object's key in the bucket of backups.
    pub key: String,
    /// When it was taken, as its header says.
    pub taken: Timestamp,
    /// The object's LastModified.
    pub last_modified: Timestamp,
    /// What became of it.
    pub kind: DumpKind,
    /// Size of the object in bytes.
    pub size: u64,
    /// Every table at that moment; empty unless the dump is good.
    pub tables: BTreeMap<String, TableState>,
}

/// Takes dumps.
#[derive(Debug)]
pub(crate) struct Dumper {
    pub(crate) nursery: Nursery,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) store: Arc<Store>,
    /// A folder for files that are not objects yet.
    pub(crate) work: PathBuf,
}

impl Dumper {
    /// Fixes the snapshot, then dumps and sums up beside whatever grows meanwhile.
    ///
    /// The dump and its manifest see one exported snapshot, so they agree. The schema must not change before the task has ended:
    /// pg_dump reads part of the catalogue outside its snapshot.
    pub(crate) async fn take(
        self: &Arc<Self>,
        taken: Timestamp,
        kind: DumpKind,
    ) -> Result<JoinHandle<Result<Manifest, SandboxError>>, SandboxError> {
        let manifest = Manifest {
            key: key(taken),
            taken,
            last_modified: Timestamp::from_second(taken.as_second().saturating_add(DUMP_SECONDS)).unwrap_or(taken),
            kind,
            size: 0,
            tables: BTreeMap::new(),
        };
        let dumper = Arc::clone(self);
        if kind == DumpKind::Empty {
            return Ok(tokio::spawn(async move { dumper.upload(manifest, Vec::new()).await }));
        }
        let session = self.cluster.as_superuser().connect("backup", "-c max_parallel_workers_per_gather=0").await?;
        session
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(SandboxError::pg("begin a snapshot"))?;
        let row = session
            .query_one("SELECT pg_export_snapshot()", &[])
            .await
            .map_err(SandboxError::pg("export a snapshot"))?;
        let snapshot: String = row.get(0);
        Ok(tokio::spawn(async move {
            let file = dumper.work.join(format!("{}.dump", taken.as_second()));
            let (tables, ()) = tokio::try_join!(table_states(&session), dumper.pg_dump(&snapshot, &file))?;
            session.close().await;
            let mut bytes = tokio::fs::read(&file).await.map_err(SandboxError::io("read", &file))?;
            let _ = tokio::fs::remove_file(&file).await;
            set_header_time(&mut bytes, taken)
                .map_err(|reason| SandboxError::Program { program: "pg_dump", reason: reason.to_owned() })?;
            let mut manifest = manifest;
            match kind {
                DumpKind::Good => manifest.tables = tables,
                // Cut well behind the table of contents: `pg_restore --list` still works on it.
                DumpKind::Truncated => bytes.truncate(bytes.len() * 2 / 5),
                DumpKind::Empty => bytes.clear(),
            }
            dumper.upload(manifest, bytes).await
        }))
    }

    async fn pg_dump(&self, snapshot: &str, file: &Path) -> Result<(), SandboxError> {
        let mut command = self.nursery.command(self.cluster.bin.join("pg_dump"), "TERM", None);
        command
            .args(["--format=custom", "--compress=1", "--host=127.0.0.1", "--username=postgres", "--no-password"])
            .arg(format!("--port={}", self.cluster.port))
            .arg(format!("--snapshot={snapshot}"))
            .arg("--file")
            .arg(file)
            .arg(DATABASE)
            .env("PGPASSWORD", self.cluster.superuser_password());
        self.nursery.run("pg_dump", command).await
    }

    async fn upload(&self, mut manifest: Manifest, bytes: Vec<u8>) -> Result<Manifest, SandboxError> {
        manifest.size = bytes.len() as u64;
        self.store.put(BACKUPS, &manifest.key, bytes, manifest.last_modified).await?;
        Ok(manifest)
    }
}

/// `postgres/financecopilot-20261123T060000Z.dump`.
fn key(taken: Timestamp) -> String {
    let stamp = taken.to_zoned_datetime(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("{PREFIX}{DATABASE}-{stamp}.dump")
}

/// Writes `taken` into the header of a custom-format archive, where pg_dump put the time of this host.
///
/// Layout (PostgreSQL's `pg_backup_archiver.c`, `WriteHead`): "PGDMP", three version bytes, the sizes of int and offset,
/// the format, the compression (one byte from archive version 1.15 on, an int before), then sec, min, hour, mday, mon,
/// year − 1900 and isdst as ints, each a sign byte and little-endian bytes.
fn set_header_time(archive: &mut [u8], taken: Timestamp) -> Result<(), &'static str> {
    const FOREIGN: &str = "it did not write a custom-format archive";
    let [b'P', b'G', b'D', b'M', b'P', major, minor, _, int_size, ..] = *archive else {
        return Err(FOREIGN);
    };
    let int = 1 + usize::from(int_size);
    let compression = if (major, minor) >= (1, 15) { 1 } else { int };
    let clock = taken.to_zoned_datetime(TimeZone::UTC);
    let fields = [
        i32::from(clock.second()),
        i32::from(clock.minute()),
        i32::from(clock.hour()),
        i32::from(clock.day()),
        i32::from(clock.month()) - 1,
        i32::from(clock.year()) - 1900,
        0,
    ];
    let dates = archive.get_mut(11 + compression..).ok_or(FOREIGN)?;
    for (slot, field) in dates.chunks_exact_mut(int).zip(fields) {
        let (sign, rest) = slot.split_first_mut().ok_or(FOREIGN)?;
        *sign = u8::from(field < 0);
        for (byte, value) in rest.iter_mut().zip(field.unsigned_abs().to_le_bytes()) {
            *byte = value;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_time_is_patched_in_both_layouts() {
        let taken: Timestamp = "2026-11-23T06:07:08Z".parse().unwrap();
        for (minor, compression) in [(14u8, 5usize), (16, 1)] {
            let mut archive = b"PGDMP".to_vec();
            archive.extend([1, minor, 0, 4, 8, 1]);
            archive.extend(vec![9; compression]);
            archive.extend(vec![7; 35]);
            archive.extend(b"tail");
            set_header_time(&mut archive, taken).unwrap();
            let dates = &archive[11 + compression..];
            let ints: Vec<i32> = dates[..35]
                .chunks(5)
                .map(|c| i32::from_le_bytes([c[1], c[2], c[3], c[4]]) * if c[0] == 0 { 1 } else { -1 })
                .collect();
            assert_eq!(ints, [8, 7, 6, 23, 10, 126, 0]);
            assert_eq!(&archive[11..11 + compression], vec![9; compression]);
            assert!(archive.ends_with(b"tail"));
        }
        assert!(set_header_time(&mut b"<Error>".to_vec(), taken).is_err());
    }

    #[test]
    fn keys_carry_the_time() {
        let taken: Timestamp = "2026-11-23T06:07:08Z".parse().unwrap();
        assert_eq!(key(taken), "postgres/financecopilot-20261123T060708Z.dump");
    }
}
