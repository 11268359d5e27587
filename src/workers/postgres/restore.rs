//! Going back to a dump over the live database: as the written procedure does it, `pg_restore --clean --if-exists`, or
//! the same in one transaction.
//!
//! The first is not atomic: where it stops, the database is partly restored. So everything that can be known beforehand
//! is proved first, above all that the dump is whole and that nobody is connected.

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::Toc;
use crate::incident::{Fact, Finding, ObjectRef, Plan, TargetIdentity, clock, duration_text};
use crate::runbook::{StepId, TargetRef};
use crate::snapshots::size_text;
use crate::workers::process::{self, Adopted, Exit, Rows, Spec};
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

use super::judge::{has_way_back, judge, list_without_foreign};
use super::local_copy;
use super::progress::Progress;
use super::server::{FOREIGN, Server, ident, shell};
use super::session::Session;
use super::sessions::{RESTORE, name_some, others, prepared};
use super::source::{self, Source};
use super::target_lock::TargetLock;
use super::tools::{self, Tool};
use super::{identify, unreadable_basis};

const WHAT: &str = "restore the database";
const MIXED: &str = "The database is mixed: partly restored, partly as it was.";
const INTACT: &str = "The old data is intact: the transaction was rolled back.";
const MIXED_NEXT: &str =
    "Keep the writers stopped. Mend the cause and retry (r), or go back to the safety dump (section Rollback).";

/// Restores a database over itself.
#[derive(Debug)]
pub struct RestoreInPlace {
    /// The database.
    pub database: TargetRef,
    /// The step that chose the snapshot or made the safety dump.
    pub from: StepId,
    /// In one transaction, all of it or nothing.
    pub atomic: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    object: ObjectRef,
    taken_at: Timestamp,
    jobs: u32,
    /// A table that the restore makes anew, and its number now: it tells afterwards whether a single transaction went
    /// through.
    #[serde(default)]
    witness: Option<(String, u32)>,
}

#[async_trait]
impl Worker for RestoreInPlace {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let Source { object, taken_at, safety } = source::found(cx, &server, &self.from)?;
        let session = server.connect(&cx.knowledge.incident, "plan").await?;
        let identity = session.identity().await?;
        // One transaction is one session.
        let jobs = if self.atomic { 1 } else { server.settings.jobs.unwrap_or(1).max(1) };
        let mut plan = Plan::new(cx.step.clone(), identity.target(&server));
        let age = duration_text(cx.knowledge.now.duration_since(taken_at));
        let what = if safety { "the safety dump" } else { "the snapshot" };
        plan.effects = vec![
            format!(
                "Fetches {what} {} of {} ({age} old, {}) and reads it to its end",
                object.key,
                clock(taken_at),
                size_text(object.size)
            ),
            format!(
                "drops and replaces everything of it in {}, as {}, with {jobs} jobs; whatever was written since {} is gone",
                server.name(),
                server.settings.owner,
                clock(taken_at)
            ),
            if self.atomic {
                "is one transaction: stopped half-way, the old data is intact".to_owned()
            } else {
                "is not atomic: stopped half-way, the database is mixed".to_owned()
            },
        ];
        let local = local_copy::path(&cx.work()?, &object);
        let tool = tools::find("pg_restore", &server.settings, identity.major).await;
        let arguments: Vec<String> =
            arguments(&server, (jobs, self.atomic), &local, None).iter().map(|word| shell(word)).collect();
        let version = object.version_id.as_ref().map_or_else(String::new, |id| format!(" --version-id {}", shell(id)));
        plan.commands = vec![
            format!(
                "aws s3api get-object --bucket {} --key {}{version} --if-match {} {}",
                shell(&object.bucket),
                shell(&object.key),
                shell(&object.etag),
                shell(&local.display().to_string())
            ),
            format!("pg_restore {}", arguments.join(" ")),
        ];
        plan.undo = if safety {
            "Only by restoring another dump over it.".to_owned()
        } else {
            "Back to the safety dump: Rollback, which takes as long again.".to_owned()
        };
        plan.type_name = Some(server.database.clone());
        let (findings, toc) = judge(cx, &server, &session, &object, tool.as_ref(), self.atomic).await?;
        plan.findings = findings;
        let witness = match toc {
            Some(toc) if self.atomic => witness(&session, &toc).await?,
            _ => None,
        };
        if let Err(error) = &tool {
            plan.findings.push(Finding::blocking(format!("{} {}", error.cause, error.next)));
        }
        if !safety && !has_way_back(cx, &server) {
            plan.findings.push(Finding::warning(format!(
                "There is no safety dump of {}: what it holds now is gone for good once this has begun.",
                server.name()
            )));
        }
        session.close().await;
        plan.basis = serde_json::to_value(Basis { object, taken_at, jobs, witness }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = server.connect(&cx.knowledge.incident, "preflight").await?;
        let mut findings = prepared(&session, &server).await?;
        let others = others(&session, &server, &cx.knowledge.incident).await?;
        session.close().await;
        findings.push(if others.is_empty() {
            Finding::good(format!("No other session is on {}", server.database))
        } else {
            Finding::blocking(format!(
                "Others are connected, and a restore would wait for them or lose their writes: {}. End them first.",
                name_some(&others)
            ))
        });
        findings.extend(source::fetchable(cx, &basis.object).await?);
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis = basis(plan)?;
        let untouched = || Ok(Ran::Stopped("nothing was changed in the database".to_owned()));
        let server = Server::of(&cx.config, &self.database).await?;
        let incident = &cx.knowledge.incident;
        let session = server.connect(incident, "restoring").await?;
        let identity = session.identity().await?;
        let lock = TargetLock::take_on(&server, &identity, incident).await?;
        let tool = tools::find("pg_restore", &server.settings, identity.major).await?;
        let Some(local) = local_copy::fetch(cx, io, &basis.object).await? else { return untouched() };
        let toc = local_copy::local_toc(&local).await?;
        let damaged = "Nothing was changed in the database. Retry (r) to fetch it again, or choose another snapshot.";
        let walked = local_copy::walk_to_end(&local, &toc, damaged).await;
        if walked.is_err() {
            // A copy that was damaged on its way must not be found again by the next attempt.
            let _ = std::fs::remove_file(&local);
        }
        io.line(walked?);
        io.line(format!("reading the dump to its end with {}", tool.describe()));
        let read = local_copy::read_to_end(io, &tool, &local).await?;
        if read.stopped {
            return untouched();
        }
        if !read.succeeded() {
            let _ = std::fs::remove_file(&local);
        }
        read.require(local_copy::READ_TO_END, &basis.object.key, damaged)?;
        let list = list_without_foreign(&session, &server, &toc, &local, io).await?;
        // The last look before the first change.
        let others = others(&session, &server, incident).await?;
        if !others.is_empty() || !lock.is_held() {
            let cause = if others.is_empty() {
                "The server dropped our lock.".to_owned()
            } else {
                format!("Others are connected: {}.", name_some(&others))
            };
            return Err(WorkerError::new(
                WHAT,
                server.name(),
                cause,
                "Nothing was changed. Stop them at their source and end their sessions, then retry (r).",
            ));
        }
        if io.cancel.is_cancelled() {
            return untouched();
        }
        session.close().await;
        let how = (basis.jobs, self.atomic);
        let restored = restore(io, cx, &server, &tool, how, &local, list.as_deref(), &toc).await?;
        lock.release().await;
        if self.atomic && !restored.exit.succeeded() {
            return self.all_or_nothing(cx, &server, &basis, &restored.exit).await;
        }
        finish(&server, &basis, &toc, restored)
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let Some(log) = cx.log() else { return Ok(Probe::Unknown("The attempt has no log.".to_owned())) };
        let adopted = match process::adopt(&log) {
            Adopted::Running(running) => running.wait().await,
            adopted => adopted,
        };
        let session = server.connect(&cx.knowledge.incident, "probe").await?;
        let left = others(&session, &server, &cx.knowledge.incident).await?;
        let own = super::server::application(&cx.knowledge.incident, RESTORE);
        let left: Vec<_> = left.into_iter().filter(|other| other.application == own).collect();
        session.close().await;
        if !left.is_empty() {
            return Ok(Probe::Unknown(format!(
                "Sessions of this restore still work on the server: {}. End them, then look again.",
                name_some(&left)
            )));
        }
        match adopted {
            Adopted::Ended(exit) if exit.what != WHAT => {
                Ok(Probe::DidNot("it had not begun to change the database".to_owned()))
            }
            Adopted::Nothing => Ok(Probe::DidNot("pg_restore was never started".to_owned())),
            Adopted::Ended(exit) if exit.succeeded() => Ok(Probe::Happened(done(&server, &basis, None, &exit))),
            Adopted::Ended(exit) if exit.refused.is_some() => Ok(Probe::DidNot(format!("pg_restore {}", exit.how()))),
            Adopted::Ended(exit) if self.atomic => match self.all_or_nothing(cx, &server, &basis, &exit).await {
                Ok(Ran::Done(done)) => Ok(Probe::Happened(done)),
                Ok(Ran::Stopped(why)) => Ok(Probe::DidNot(why)),
                Err(error) if error.cause.contains(INTACT) => Ok(Probe::DidNot(error.cause)),
                Err(error) => Ok(Probe::Unknown(error.cause)),
            },
            Adopted::Ended(exit) => Ok(Probe::Unknown(format!("{} {MIXED} {MIXED_NEXT}", exit.cause()))),
            Adopted::Unknown(why) if self.atomic => Ok(Probe::Unknown(format!(
                "{why} It was one transaction: the data is all old or all new, never mixed."
            ))),
            Adopted::Unknown(why) => Ok(Probe::Unknown(format!("{why} {MIXED} {MIXED_NEXT}"))),
            Adopted::Running(_) => Ok(Probe::Unknown("pg_restore still runs.".to_owned())),
        }
    }
}

impl RestoreInPlace {
    /// What became of a single transaction whose pg_restore failed: the table that it makes anew tells.
    async fn all_or_nothing(
        &self,
        cx: &Context,
        server: &Server,
        basis: &Basis,
        exit: &Exit,
    ) -> Result<Ran, WorkerError> {
        let session = server.connect(&cx.knowledge.incident, "looks").await?;
        let now = match &basis.witness {
            Some((name, _)) => number(&session, name).await?,
            None => None,
        };
        session.close().await;
        let before = basis.witness.as_ref().map(|(_, oid)| *oid);
        if before.is_some() && now != before {
            // The answer to its COMMIT was lost.
            return Ok(Ran::Done(done(server, basis, None, exit)));
        }
        if exit.stopped {
            return Ok(Ran::Stopped(INTACT.to_owned()));
        }
        Err(WorkerError::new(
            WHAT,
            server.name(),
            format!("{} {INTACT}", exit.cause()),
            "Mend the cause and retry (r), or choose another snapshot.",
        ))
    }
}

/// A table of the dump that is there now, and its number.
async fn witness(session: &Session, toc: &Toc) -> Result<Option<(String, u32)>, WorkerError> {
    for entry in toc.entries.iter().filter(|entry| entry.desc == "TABLE") {
        let name = format!("{}.{}", ident(entry.namespace.as_deref().unwrap_or("public")), ident(&entry.tag));
        if let Some(oid) = number(session, &name).await? {
            return Ok(Some((name, oid)));
        }
    }
    Ok(None)
}

async fn number(session: &Session, table: &str) -> Result<Option<u32>, WorkerError> {
    Ok(session.one("look for a table", "SELECT to_regclass($1)::oid", &[&table]).await?.get(0))
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

fn arguments(server: &Server, (jobs, atomic): (u32, bool), file: &Path, list: Option<&Path>) -> Vec<String> {
    let mut arguments = vec![
        "--clean".to_owned(),
        "--if-exists".to_owned(),
        "--no-owner".to_owned(),
        "--exit-on-error".to_owned(),
        format!("--role={}", server.settings.owner),
        if atomic { "--single-transaction".to_owned() } else { format!("--jobs={jobs}") },
        "--verbose".to_owned(),
    ];
    arguments.extend(list.map(|list| format!("--use-list={}", list.display())));
    arguments.extend(server.arguments());
    arguments.push(file.display().to_string());
    arguments
}

/// An exit, and whether pg_restore was seen to begin its work.
struct Restored {
    exit: Exit,
    touched: bool,
}

#[expect(clippy::too_many_arguments, reason = "everything that one command line is made of, called from one place")]
async fn restore(
    io: &Io,
    cx: &Context,
    server: &Server,
    tool: &Tool,
    how: (u32, bool),
    local: &Path,
    list: Option<&Path>,
    toc: &Toc,
) -> Result<Restored, WorkerError> {
    let mut argv = vec![tool.path.display().to_string()];
    argv.extend(arguments(server, how, local, list));
    let mut spec = Spec::new(WHAT, server.name(), argv);
    spec.env = server.environment(&cx.knowledge.incident, RESTORE);
    spec.env_remove = FOREIGN.map(str::to_owned).to_vec();
    spec.redact = server.secrets();
    spec.rows = Rows::Postgres;
    let progress = std::sync::Arc::new(std::sync::Mutex::new(Progress::new(toc, how.0 > 1)));
    let (seen, shown) = (std::sync::Arc::clone(&progress), io.clone());
    spec.on_line = Some(Box::new(move |line| {
        let step = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).line(line);
        if let Some(step) = step {
            shown.progress(step.label, step.done, Some(step.total), "items");
        }
    }));
    // From here on an error leaves open what happened.
    let exit = process::run(io, spec).await.map_err(|error| match error.disposition {
        Disposition::InDoubt if !how.1 => WorkerError { cause: format!("{} {MIXED}", error.cause), ..error },
        _ => error,
    })?;
    let touched = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).touched();
    Ok(Restored { exit, touched })
}

fn finish(server: &Server, basis: &Basis, toc: &Toc, restored: Restored) -> Result<Ran, WorkerError> {
    let Restored { exit, touched } = restored;
    if exit.succeeded() {
        return Ok(Ran::Done(done(server, basis, Some(toc), &exit)));
    }
    let unreached = !touched && exit.tail.iter().any(|line| line.contains("connection to server"));
    if exit.refused.is_some() || unreached {
        return Err(WorkerError::new(
            WHAT,
            server.name(),
            exit.cause(),
            "Nothing was changed. Mend that, then retry (r).",
        ));
    }
    if exit.stopped {
        return Ok(Ran::Stopped(format!("{MIXED} {MIXED_NEXT}")));
    }
    Err(WorkerError::new(WHAT, server.name(), format!("{} {MIXED}", exit.cause()), MIXED_NEXT))
}

fn done(server: &Server, basis: &Basis, toc: Option<&Toc>, exit: &Exit) -> Done {
    let took = duration_text(exit.ended_at.duration_since(exit.started_at));
    let mut evidence =
        vec![format!("{} restored from {} of {} in {took}", server.name(), basis.object.key, clock(basis.taken_at))];
    if let Some(toc) = toc {
        evidence.push(format!(
            "pg_restore ended with exit code 0 over {} entries, {} tables with data",
            toc.entries.len(),
            toc.summary().tables_with_data
        ));
    }
    if exit.lost_bytes > 0 {
        evidence.push(format!("{} bytes of its output are lost: the disk with the log was full", exit.lost_bytes));
    }
    let fact = Fact::Restored { object: basis.object.clone(), taken_at: basis.taken_at, at: exit.ended_at };
    Done { evidence, facts: vec![fact] }
}
