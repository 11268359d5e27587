//! The safety dump: the database as it is now, off this host, before anything is replaced.

mod moment;
mod proof;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::archive::Toc;
use crate::incident::{Fact, Finding, Plan, TargetIdentity, clock};
use crate::runbook::TargetRef;
use crate::snapshots::size_text;
use crate::workers::process::{self, Adopted, Exit, Rows, Spec};
use crate::workers::s3::{Growth, Place, give_up};
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::local_copy::{self, room};
use super::server::{FOREIGN, Server, shell};
use super::session::Session;
use super::sessions::DUMP;
use super::target_lock::TargetLock;
use super::{identify, tools, unreadable_basis};
use moment::Moment;
use proof::{Manifest, read_back, rows};

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
            format!("uploads it as it is made to s3://{}/{key}, where nothing is overwritten", place.bucket()),
            "reads it back: the same SHA-256, every table readable to its end; beside it a manifest with time, LSN and row counts".to_owned(),
            "later writes are not in it: after a swap they are in the kept database only".to_owned(),
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
            let _ = running.stop().await;
            running.wait().await;
        }
        let file = dump_file(&cx.work()?, &basis.key);
        give_up(&Place::open(&cx.config, &self.to).await?, &basis.key, &file).await;
        let _ = std::fs::remove_file(file);
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
        let tables: i64 = session
            .one("count the tables", "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'", &[])
            .await?
            .get(0);
        // Held open until pg_dump has ended: the dump is of exactly this moment.
        let moment = Moment::take(&session).await?;
        io.line(format!("the dump is of {} (LSN {})", clock(moment.taken_at), moment.lsn));
        let mut argv = vec![pg_dump.path.display().to_string(), format!("--snapshot={}", moment.snapshot)];
        argv.extend(arguments(&server, file));
        let mut spec = Spec::new(WHAT, server.name(), argv);
        spec.env = server.environment(incident, DUMP);
        spec.env_remove = FOREIGN.map(str::to_owned).to_vec();
        spec.redact = server.secrets();
        spec.rows = Rows::Postgres;
        spec.on_line = Some(tables_dumped(io, u64::try_from(tables).unwrap_or(0)));
        let place = Place::open(&cx.config, &self.to).await?;
        io.line(format!("uploading it to s3://{}/{} as it is made", place.bucket(), basis.key));
        let (grown, growth) = watch::channel(Growth::Growing);
        let dumping = async {
            let exit = process::run(io, spec).await;
            let whole = exit.as_ref().is_ok_and(Exit::succeeded) && !io.cancel.is_cancelled();
            grown.send_replace(if whole { Growth::Whole } else { Growth::Failed });
            exit
        };
        let metadata = BTreeMap::from([
            ("database".to_owned(), server.database.clone()),
            ("incident".to_owned(), incident.to_string()),
            ("taken-at".to_owned(), moment.taken_at.to_string()),
            ("lsn".to_owned(), moment.lsn.clone()),
        ]);
        let progress = |done: u64, total: u64| {
            // While it grows, pg_dump says more.
            if *grown.borrow() == Growth::Whole {
                io.progress("upload the dump", done, Some(total), "bytes");
            }
        };
        let contents = || first_data(file);
        let (exit, uploaded) = tokio::join!(
            dumping,
            place.upload_growing(&basis.key, file, &metadata, basis.bytes, &contents, growth, &progress)
        );
        let exit = exit?;
        if exit.stopped || io.cancel.is_cancelled() {
            return stopped();
        }
        exit.require(
            WHAT,
            &server.name(),
            "The database was only read. Mend the cause, then retry (r): without a safety dump there is no way back.",
        )?;
        session.close().await;
        let Some(object) = uploaded? else { return stopped() };
        let unusable = "Retry (r): a dump that cannot be read is no way back.";
        let toc = local_copy::local_toc(file).await?;
        // Every table's data is decompressed to its end and counted; only large objects need pg_restore for that.
        let rows = rows(file, &toc)
            .await
            .map_err(|cause| WorkerError::new("read the safety dump to its end", server.name(), cause, unusable))?;
        if toc.entries.iter().any(|entry| entry.has_data() && !entry.is_copy()) {
            let checked = local_copy::read_to_end(io, &pg_restore, file).await?;
            if checked.stopped {
                return stopped();
            }
            checked.require("read the safety dump to its end", &server.name(), unusable)?;
        }
        let manifest = Manifest {
            incident: incident.to_string(),
            database: server.name(),
            system: identity.system.clone(),
            taken_at: moment.taken_at,
            lsn: moment.lsn,
            writes_stopped_at: cx.knowledge.writes_stopped_at,
            later: "Whatever was written after taken_at is not in this dump. If the database was swapped, it is in the kept database only.".to_owned(),
            rows,
            sha256: String::new(),
            crc32c: String::new(),
            bytes: 0,
        };
        read_back(io, &place, object, file, manifest).await
    }
}

/// Where the data of a growing archive begins: what is before is written once more at the end, with the offsets.
fn first_data(file: &Path) -> Option<u64> {
    const MOST: u64 = 64 << 20;
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Toc::parse(&bytes).ok().map(|toc| toc.data_start)
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

/// To the millisecond: an engine that is killed and started again makes the next plan within the second.
fn key(place: &Place, cx: &Context, database: &str) -> String {
    let stamp = cx.knowledge.now.strftime("%Y%m%dT%H%M%S%.3fZ");
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
