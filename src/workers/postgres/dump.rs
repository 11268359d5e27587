//! The safety dump: the database as it is now, off this host, before anything is replaced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::incident::{Fact, Finding, Plan, TargetIdentity, clock};
use crate::runbook::TargetRef;
use crate::snapshots::size_text;
use crate::workers::process::{self, Adopted, Rows, Spec};
use crate::workers::s3::Place;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::local_copy::{self, Thinned, room};
use super::server::{FOREIGN, Server, shell};
use super::session::Session;
use super::sessions::DUMP;
use super::target_lock::TargetLock;
use super::{identify, tools, unreadable_basis};

const WHAT: &str = "dump the database";
const STOPPED: &str = "the database was only read; an incomplete dump was thrown away";
/// pg_dump's output is several times smaller than the database; less room than this share of it is too little for sure.
const LEAST_SHARE: u64 = 8;

/// Dumps a database to S3 and reads the dump back.
#[derive(Debug)]
pub struct SafetyDump {
    /// The database.
    pub database: TargetRef,
    /// Where the dump goes.
    pub to: TargetRef,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    key: String,
    bytes: u64,
}

#[async_trait]
impl Worker for SafetyDump {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let session = server.connect(&cx.knowledge.incident, "plan").await?;
        let identity = session.identity().await?;
        let bytes = size(&session).await?;
        session.close().await;
        let place = Place::open(&cx.config, &self.to).await?;
        let key = key(&place, cx, &server.database);
        let mut plan = Plan::new(cx.step.clone(), identity.target(&server));
        plan.effects = vec![
            format!(
                "Dumps {} ({} on its server) with pg_dump to {}",
                server.name(),
                size_text(bytes),
                cx.folder.join("work").display()
            ),
            format!("uploads it to s3://{}/{key}, where nothing is overwritten", place.bucket()),
            "reads it back: the same SHA-256, and readable by pg_restore to its end".to_owned(),
        ];
        let arguments: Vec<String> =
            arguments(&server, Path::new("safety.dump")).iter().map(|word| shell(word)).collect();
        plan.commands = vec![
            format!("pg_dump {}", arguments.join(" ")),
            format!("aws s3 cp safety.dump s3://{}/{key}", place.bucket()),
        ];
        plan.undo = String::from("Nothing to take back: the database is only read. The dump stays in S3.");
        if tools::find("pg_dump", &server.settings, identity.major).await.is_err() {
            plan.findings
                .push(Finding::blocking(format!("There is no pg_dump of version {} on this host.", identity.major)));
        }
        plan.basis = serde_json::to_value(Basis { key, bytes }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        let mut findings = self.listed(cx);
        let work = cx.work()?;
        if let Err(free) = room(&work, basis.bytes / LEAST_SHARE) {
            findings.push(Finding::blocking(format!(
                "There is no room for the dump in {}: {} are free, and the database takes {}.",
                work.display(),
                size_text(free),
                size_text(basis.bytes)
            )));
        } else if let Err(free) = room(&work, basis.bytes / 2) {
            findings.push(Finding::warning(format!(
                "Room may run short in {}: {} are free.",
                work.display(),
                size_text(free)
            )));
        }
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        let file = dump_file(&cx.work()?, &basis.key);
        let ran = self.dump(cx, io, &basis, &file).await;
        // On success it is in S3; on failure it is worth nothing, and the disk may be what failed.
        let _ = std::fs::remove_file(&file);
        ran
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        if let Some(Adopted::Running(running)) = cx.log().map(|log| process::adopt(&log)) {
            // Without an engine nobody would upload what it writes.
            let _ = running.stop();
            running.wait().await;
        }
        let _ = std::fs::remove_file(dump_file(&cx.work()?, &basis.key));
        Ok(Probe::DidNot(format!(
            "it was not read back; if s3://…/{} exists, it may be incomplete. The database was only read: dump again",
            basis.key
        )))
    }
}

impl SafetyDump {
    /// A safety dump among the listed snapshots would be offered as one, and thrown away by the same retention.
    fn listed(&self, cx: &Context) -> Vec<Finding> {
        let own = match &self.to {
            TargetRef::S3(name) => cx.config.s3.get(name),
            _ => None,
        };
        let Some(own) = own else { return Vec::new() };
        let chosen_from_here = cx.knowledge.facts.iter().any(|known| match &known.fact {
            Fact::Snapshot { object, .. } => object.target == self.to.to_string(),
            _ => false,
        });
        let mut around: Vec<String> = Vec::new();
        for (name, place) in &cx.config.s3 {
            let other = TargetRef::S3(name.clone()) != self.to;
            let same_server = place.bucket == own.bucket && place.endpoint == own.endpoint;
            if other && same_server && own.prefix.starts_with(&place.prefix) {
                around.push(format!("s3.{name} (s3://{}/{})", place.bucket, place.prefix));
            }
        }
        if chosen_from_here {
            around.push(self.to.to_string());
        }
        around
            .into_iter()
            .map(|place| {
                Finding::blocking(format!(
                    "The safety dump would lie within {place}, where it would be listed as a backup: give {} a prefix of its own in the config.",
                    self.to
                ))
            })
            .collect()
    }

    async fn dump(&self, cx: &Context, io: &Io, basis: &Basis, file: &Path) -> Result<Ran, WorkerError> {
        let stopped = || Ok(Ran::Stopped(STOPPED.to_owned()));
        let server = Server::of(&cx.config, &self.database).await?;
        let incident = &cx.knowledge.incident;
        let session = server.connect(incident, "safety dump").await?;
        let identity = session.identity().await?;
        let _lock = TargetLock::take_on(&server, &identity, incident).await?;
        let (pg_dump, pg_restore) = (
            tools::find("pg_dump", &server.settings, identity.major).await?,
            tools::find("pg_restore", &server.settings, identity.major).await?,
        );
        let taken: i64 = session
            .one("ask the server's clock", "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::bigint", &[])
            .await?
            .get(0);
        let taken_at = Timestamp::from_second(taken).unwrap_or_else(|_| Timestamp::now());
        let tables: i64 = session
            .one("count the tables", "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'", &[])
            .await?
            .get(0);
        session.close().await;
        let mut argv = vec![pg_dump.path.display().to_string()];
        argv.extend(arguments(&server, file));
        let mut spec = Spec::new(WHAT, server.name(), argv);
        spec.env = server.environment(incident, DUMP);
        spec.env_remove = FOREIGN.map(str::to_owned).to_vec();
        spec.redact = server.secrets();
        spec.rows = Rows::Postgres;
        spec.on_line = Some(tables_dumped(io, u64::try_from(tables).unwrap_or(0)));
        let exit = process::run(io, spec).await?;
        if exit.stopped {
            return stopped();
        }
        exit.require(
            WHAT,
            &server.name(),
            "The database was only read. Mend the cause, then retry (r): without a safety dump there is no way back.",
        )?;
        let checked = local_copy::read_to_end(io, &pg_restore, file).await?;
        if checked.stopped {
            return stopped();
        }
        checked.require(
            "read the safety dump to its end",
            &server.name(),
            "Retry (r): a dump that cannot be read is no way back.",
        )?;
        self.keep(cx, io, &server.database, basis, file, taken_at).await
    }

    /// Uploads a dump and reads it back.
    async fn keep(
        &self,
        cx: &Context,
        io: &Io,
        database: &str,
        basis: &Basis,
        file: &Path,
        taken_at: Timestamp,
    ) -> Result<Ran, WorkerError> {
        let (sha256, crc, bytes) = digests(file).await?;
        let place = Place::open(&cx.config, &self.to).await?;
        let metadata = BTreeMap::from([
            ("sha256".to_owned(), sha256.clone()),
            ("crc32c".to_owned(), crc.clone()),
            ("database".to_owned(), database.to_owned()),
            ("incident".to_owned(), cx.knowledge.incident.to_string()),
            ("taken-at".to_owned(), taken_at.to_string()),
        ]);
        io.line(format!("uploading {} to s3://{}/{}", size_text(bytes), place.bucket(), basis.key));
        let progress = |done: u64, total: u64| io.progress("upload the dump", done, Some(total), "bytes");
        let object = match place.upload(&basis.key, file, &metadata, &Thinned::new(&progress).sink(), &io.cancel).await
        {
            Ok(object) => object,
            Err(_) if io.cancel.is_cancelled() => return Ok(Ran::Stopped(STOPPED.to_owned())),
            Err(error) => return Err(error),
        };
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
            () = io.cancel.cancelled() => return Ok(Ran::Stopped(format!(
                "the database was only read; the dump lies at s3://{}/{} and was not read back", place.bucket(), basis.key
            ))),
        }
        let got = hex(&hash.finalize());
        if got != sha256 {
            return Err(WorkerError::new(
                "read the safety dump back",
                format!("s3://{}/{}", place.bucket(), basis.key),
                format!("What came back is not what was sent: SHA-256 {got}, not {sha256}."),
                "Do not rest on this dump: retry (r), and look at the storage if it happens again.",
            ));
        }
        let line = format!(
            "s3://{}/{} holds {} as of {}: {}, read back, SHA-256 {sha256}",
            place.bucket(),
            basis.key,
            database,
            clock(taken_at),
            size_text(bytes)
        );
        io.line(&line);
        let evidence = vec![line, format!("pg_restore reads it to its end; CRC32C {crc}")];
        Ok(Ran::Done(Done { evidence, facts: vec![Fact::SafetyDump { object, taken_at }] }))
    }
}

fn arguments(server: &Server, file: &Path) -> Vec<String> {
    let mut arguments = vec![
        "--format=custom".to_owned(),
        "--compress=1".to_owned(),
        "--verbose".to_owned(),
        format!("--role={}", server.settings.owner),
        format!("--file={}", file.display()),
    ];
    arguments.extend(server.arguments());
    arguments
}

fn key(place: &Place, cx: &Context, database: &str) -> String {
    let stamp = cx.knowledge.now.strftime("%Y%m%dT%H%M%SZ");
    let prefix = place.prefix().trim_end_matches('/');
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("{prefix}{slash}{}/{database}-{stamp}.dump", cx.knowledge.incident)
}

/// The local file of a dump that is to get this key.
fn dump_file(work: &Path, key: &str) -> PathBuf {
    let name = key.rsplit('/').next().unwrap_or("safety.dump");
    work.join(format!("safety-{name}"))
}

async fn size(session: &Session) -> Result<u64, WorkerError> {
    let row = session
        .one("ask how large the database is", "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", &[])
        .await?;
    let bytes: i64 = row.get(0);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn tables_dumped(io: &Io, tables: u64) -> Box<dyn FnMut(&str) + Send> {
    let io = io.clone();
    let mut done = 0;
    Box::new(move |line| {
        if let Some(table) = line.strip_prefix("pg_dump: dumping contents of table ") {
            done += 1;
            io.progress(format!("dump {}", table.trim_matches('"')), done, Some(tables.max(done)), "tables");
        }
    })
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
