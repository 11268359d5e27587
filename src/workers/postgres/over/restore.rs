//! Going back to a dump over the live database: as the written procedure does it, `pg_restore --clean --if-exists`, or
//! the same in one transaction.
//!
//! The first is not atomic: where it stops, the database is partly restored. So everything that can be known beforehand
//! is proved first, above all that the dump is whole and that nobody is connected.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::{Span, Toc};
use crate::incident::{Fact, Finding, ObjectRef, Plan, TargetIdentity, clock, duration_text};
use crate::runbook::{StepId, TargetRef};
use crate::snapshots::size_text;
use crate::workers::process::{self, Adopted, Exit};
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::count::count;
use super::super::judge::{has_way_back, judge, list_without_foreign};
use super::super::local_copy;
use super::super::server::{Server, shell};
use super::super::sessions::{name_some, others, prepared};
use super::super::source::{self, Source};
use super::super::target_lock::TargetLock;
use super::super::tools::{self, Tool};
use super::super::{identify, unreadable_basis};
use super::left::{self, Before, COMPLETE, INTACT, Left};
use super::running::{self, Job, arguments};

pub(super) const WHAT: &str = "restore the database";
const NEXT: &str = "Mend the cause and retry (r), or choose another snapshot.";
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
        plan.findings = judge(cx, &server, &session, &object, tool.as_ref(), self.atomic).await?;
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
        plan.basis = serde_json::to_value(Basis { object, taken_at, jobs }).unwrap_or_default();
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
        let prepared = self.prepare(cx, &basis, io).await.map_err(|error| {
            // Whatever failed up to here only read.
            WorkerError { cause: format!("{} {INTACT}: nothing was changed.", error.cause), ..error }
        })?;
        let Some(Prepared { server, tool, local, toc, list, spans, before, lock }) = prepared else {
            return Ok(Ran::Stopped(format!("{INTACT}: nothing was changed in the database")));
        };
        let how = (basis.jobs, self.atomic);
        let job = Job { server: &server, tool: &tool, how, archive: &local, list, toc: &toc, spans: &spans };
        let (exit, touched) = running::run(io, cx, &job).await.map_err(|error| match error.disposition {
            Disposition::InDoubt => error,
            _ => WorkerError { cause: format!("{} {INTACT}: nothing was changed.", error.cause), ..error },
        })?;
        lock.release().await;
        if exit.succeeded() {
            return Ok(Ran::Done(done(&server, &basis, Some(&toc), &exit)));
        }
        let cause = exit.cause();
        match self.left(cx, &server, &before, (touched, &local, &toc)).await? {
            Left::Old if exit.stopped => Ok(Ran::Stopped(format!("{INTACT}: {}", self.why_intact()))),
            Left::Old => {
                let cause = format!("{cause} {INTACT}: {}.", self.why_intact());
                Err(WorkerError::new(WHAT, server.name(), cause, NEXT))
            }
            // The answer to its COMMIT was lost.
            Left::New => Ok(Ran::Done(done(&server, &basis, None, &exit))),
            Left::Mixed(which) if exit.stopped => Ok(Ran::Stopped(format!("{which} {MIXED_NEXT}"))),
            Left::Mixed(which) => Err(WorkerError::new(WHAT, server.name(), format!("{cause} {which}"), MIXED_NEXT)),
            Left::Unknown => Err(WorkerError::new(WHAT, server.name(), format!("{cause} {NO_TABLE}"), MIXED_NEXT)
                .with(Disposition::InDoubt)),
        }
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let Some(log) = cx.log() else { return Ok(Probe::Unknown("The attempt has no log.".to_owned())) };
        let adopted = match process::adopt(&log) {
            Adopted::Running(running) => running.wait().await,
            adopted => adopted,
        };
        let intact = |why: &str| Ok(Probe::DidNot(format!("{why}. {INTACT}: nothing was changed")));
        let why = match &adopted {
            Adopted::Ended(exit) if exit.what != WHAT => return intact("It had not begun to change the database"),
            Adopted::Nothing => return intact("pg_restore was never started"),
            Adopted::Ended(exit) if exit.refused.is_some() => return intact(&format!("pg_restore {}", exit.how())),
            Adopted::Ended(exit) if exit.succeeded() => {
                return Ok(Probe::Happened(done(&server, &basis, None, exit)));
            }
            Adopted::Ended(exit) => exit.cause(),
            Adopted::Unknown(why) => why.clone(),
            Adopted::Running(_) => return Ok(Probe::Unknown("pg_restore still runs.".to_owned())),
        };
        let Some(before) = Before::kept(cx)? else {
            return intact(&format!("{} It had not begun to change the database", why.trim_end_matches('.')));
        };
        let local = local_copy::path(&cx.work()?, &basis.object);
        let toc = local_copy::local_toc(&local).await?;
        Ok(match self.left(cx, &server, &before, (running::had_begun(&log), &local, &toc)).await? {
            Left::Old => Probe::DidNot(format!("{why} {INTACT}: {}", self.why_intact())),
            Left::New => Probe::Happened(done_at(&server, &basis, cx.knowledge.now)),
            // It did have an effect, and not the one that was wanted.
            Left::Mixed(which) => Probe::Broken(format!("{why} {which}"), MIXED_NEXT.to_owned()),
            Left::Unknown => Probe::Unknown(format!("{why} {NO_TABLE}")),
        })
    }
}

const NO_TABLE: &str = "The dump has no table by which to tell whether it went through.";

/// Everything that is needed for the first change.
struct Prepared {
    server: Server,
    tool: Tool,
    local: PathBuf,
    toc: Toc,
    list: Option<PathBuf>,
    spans: Vec<Span>,
    before: Before,
    lock: TargetLock,
}

impl RestoreInPlace {
    /// Everything up to the first change; none where it was stopped.
    async fn prepare(&self, cx: &Context, basis: &Basis, io: &Io) -> Result<Option<Prepared>, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let incident = &cx.knowledge.incident;
        let session = server.connect(incident, "restoring").await?;
        let identity = session.identity().await?;
        let lock = TargetLock::take_on(&server, &identity, incident).await?;
        let tool = tools::find("pg_restore", &server.settings, identity.major).await?;
        let Some(local) = local_copy::fetch(cx, io, &basis.object).await? else { return Ok(None) };
        let toc = local_copy::local_toc(&local).await?;
        let damaged = "Retry (r) to fetch it again, or choose another snapshot.";
        let walked = local_copy::walk_to_end(&local, &toc, damaged).await;
        if walked.is_err() {
            // A copy that was damaged on its way must not be found again by the next attempt.
            let _ = std::fs::remove_file(&local);
        }
        let walked = walked?;
        io.line(walked.says);
        io.line(format!("reading the dump to its end with {}", tool.describe()));
        let read = local_copy::read_to_end(io, &tool, &local).await?;
        if read.stopped {
            return Ok(None);
        }
        if !read.succeeded() {
            let _ = std::fs::remove_file(&local);
        }
        read.require(local_copy::READ_TO_END, &basis.object.key, damaged)?;
        fill_in(&local, &toc, &walked.spans)?;
        let list = list_without_foreign(&session, &server, &toc, &local, io).await?;
        let before = Before::look(&session, &toc).await?;
        before.keep(cx)?;
        // The last look before the first change.
        let others = others(&session, &server, incident).await?;
        if !others.is_empty() || !lock.is_held() {
            let cause = if others.is_empty() {
                "The server dropped our lock.".to_owned()
            } else {
                format!("Others are connected: {}.", name_some(&others))
            };
            let next = "Stop them at their source and end their sessions, then retry (r).";
            return Err(WorkerError::new(WHAT, server.name(), cause, next));
        }
        session.close().await;
        let prepared = Prepared { server, tool, local, toc, list, spans: walked.spans, before, lock };
        Ok((!io.cancel.is_cancelled()).then_some(prepared))
    }

    /// What a restore left that did not end well, once nothing of it is at work any more.
    async fn left(
        &self,
        cx: &Context,
        server: &Server,
        before: &Before,
        (touched, local, toc): (bool, &Path, &Toc),
    ) -> Result<Left, WorkerError> {
        let looked = async {
            left::end_own(server, &cx.knowledge.incident).await?;
            let session = server.connect(&cx.knowledge.incident, "looks").await?;
            let found = if self.atomic {
                before.after_one_transaction(&session).await?
            } else {
                let counted = count(local, toc).await.unwrap_or_default();
                before.after(&session, server, (touched, toc, &counted)).await?
            };
            session.close().await;
            Ok::<_, WorkerError>(found)
        };
        // What cannot be looked at now is asked again.
        looked.await.map_err(|error| error.with(Disposition::InDoubt))
    }

    fn why_intact(&self) -> &'static str {
        if self.atomic { "the transaction was rolled back" } else { "nothing was changed" }
    }
}

fn fill_in(local: &Path, toc: &Toc, spans: &[Span]) -> Result<(), WorkerError> {
    let open = std::fs::File::options().read(true).write(true).open(local);
    open.and_then(|file| local_copy::fill_in(&file, toc, spans)).map_err(|error| {
        let place = format!("{} on this host", local.display());
        WorkerError::new(
            "write the places of the data into the copy",
            place,
            format!("It cannot be written: {error}."),
            "Free space there, then retry (r).",
        )
    })
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

/// What a success is, where no exit was recorded.
fn done_at(server: &Server, basis: &Basis, at: Timestamp) -> Done {
    let what = format!("{} restored from {} of {}", server.name(), basis.object.key, clock(basis.taken_at));
    let fact = Fact::Restored { object: basis.object.clone(), taken_at: basis.taken_at, at };
    Done { evidence: vec![what, format!("{COMPLETE}: its one transaction went through")], facts: vec![fact] }
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
    evidence.push(format!("{COMPLETE}; prove it before writes start"));
    if exit.lost_bytes > 0 {
        evidence.push(format!("{} bytes of its output are lost: the disk with the log was full", exit.lost_bytes));
    }
    let fact = Fact::Restored { object: basis.object.clone(), taken_at: basis.taken_at, at: exit.ended_at };
    Done { evidence, facts: vec![fact] }
}
