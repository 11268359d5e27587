//! Restoring a dump into a new database beside the live one.
//!
//! Whatever happens here, the live database is as it was; what is left of a failed attempt is thrown away.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::{Toc, TocEntry};
use crate::incident::{Ask, AskKind, Choice, Fact, Finding, ObjectRef, Plan, TargetIdentity, clock, duration_text};
use crate::runbook::{StepId, TargetRef};
use crate::snapshots::size_text;
use crate::workers::process::{self, Adopted, Exit};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::after;
use super::super::gates;
use super::super::load::Phases;
use super::super::local_copy;
use super::super::server::{Server, application, ident, shell};
use super::super::session::Session;
use super::super::source::{self, Source};
use super::super::tools;
use super::super::{identify, judge, unreadable_basis};
use super::discard::{clear_up, throw_away};
use super::loading;
use super::names::{beside, mark};
use super::properties::{Properties, literal};
use super::rehearsals::Rehearsal;

pub(super) const WHAT: &str = "restore beside the live database";
/// The answer that says when foreign keys are checked, and what it may be.
const FOREIGN_KEYS: &str = "foreign_keys";
const CHECKED: &str = "checked";
const LATER: &str = "later";
const INTACT: &str = "The old data is intact: the live database was not touched.";
/// Where databases are made from: one that is never restored.
pub(super) const MAINTENANCE: &str = "postgres";

/// Restores a dump into a new database beside the live one.
#[derive(Debug)]
pub struct RestoreBeside {
    /// The live database.
    pub database: TargetRef,
    /// The step that chose the snapshot or made the safety dump.
    pub from: StepId,
    /// Nobody will be served by it: a rehearsal, whose history is written by whoever rehearses.
    pub rehearsal: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    object: ObjectRef,
    taken_at: Timestamp,
    jobs: u32,
    /// Foreign keys are checked after the swap.
    #[serde(default)]
    later: bool,
}

#[async_trait]
impl Worker for RestoreBeside {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let Source { object, taken_at, safety } = source::found(cx, &server, &self.from)?;
        let session = server.connect(&cx.knowledge.incident, "plan").await?;
        let identity = session.identity().await?;
        let live = live(&session, &server, identity.major).await?;
        let (jobs, whose) = gates::jobs(&server);
        let mut plan = Plan::new(cx.step.clone(), identity.target(&server));
        let age = duration_text(cx.knowledge.now.duration_since(taken_at));
        let name = cx.attempt.map_or_else(
            || format!("{}_restore_…", server.database),
            |attempt| beside(&server.database, &cx.knowledge.incident, attempt),
        );
        plan.effects = vec![
            format!(
                "Restores {} {} of {} ({age} old, {}) into a new database of its own, with {jobs} jobs ({whose})",
                if safety { "the safety dump" } else { "the snapshot" },
                object.key,
                clock(taken_at),
                size_text(object.size)
            ),
            format!("{} is not touched and goes on serving: it is exchanged by a step of its own, Swap", server.name()),
            format!(
                "why beside: nothing that is damaged in the live database can get into the restored one, \
                 and going back takes seconds. It takes about {} on the server for a while",
                size_text(live.bytes)
            ),
        ];
        let tool = tools::find("pg_restore", &server.settings, identity.major).await;
        let local = local_copy::path(&cx.work()?, &object);
        let arguments: Vec<String> = arguments(&server, &name, jobs, &local).iter().map(|word| shell(word)).collect();
        plan.commands = vec![
            format!("psql {MAINTENANCE} -c {}", shell(&live.create(&name))),
            format!("pg_restore {}", arguments.join(" ")),
        ];
        plan.undo = String::from("Nothing to take back: the new database serves nobody until the swap.");
        plan.type_name = Some(server.database.clone());
        let mut later = false;
        match judge::contents(cx, &object).await? {
            Ok(toc) => {
                later = foreign_keys(cx, &toc, &mut plan);
                plan.findings.extend(judge::fits(&server, &toc, tool.as_ref()));
                plan.findings.extend(gates::wants(&session, &toc).await?);
                plan.findings.extend(gates::alike(&live, &toc));
                plan.findings.extend(gates::untrusted_findings(&session, &server, &toc).await?);
                let left_out = gates::left_out(&session, &server, &toc).await?;
                plan.findings.extend(left_out.into_iter().filter_map(|(_, says)| Some(Finding::warning(says?))));
            }
            Err(finding) => plan.findings.push(finding),
        }
        if let Err(error) = &tool {
            plan.findings.push(Finding::blocking(format!("{} {}", error.cause, error.next)));
        }
        plan.findings.extend(gates::rights(&session, &server, &live).await?);
        plan.findings.push(gates::room(&session, &server, &live).await);
        plan.findings.extend(gates::swap_later(&session, &server, &live, &cx.knowledge.incident).await?);
        session.close().await;
        if let Some(last) = loading::history(cx).and_then(|root| Rehearsal::last(&root, &server.name(), false)) {
            plan.findings.push(Finding::good(last.says(cx.knowledge.now)));
        }
        plan.basis = serde_json::to_value(Basis { object, taken_at, jobs, later }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        source::fetchable(cx, &basis(plan)?.object).await
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        // Whatever fails, and however early or late: the live database is the same.
        self.restore(cx, plan, io).await.map_err(|error| {
            if error.cause.contains(INTACT) {
                return error;
            }
            WorkerError { cause: format!("{} {INTACT}", error.cause), ..error }
        })
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let (Some(log), Some(attempt)) = (cx.log(), cx.attempt) else {
            return Ok(Probe::Unknown("The attempt has no log.".to_owned()));
        };
        let server = Server::of(&cx.config, &self.database).await?;
        let adopted = match process::adopt(&log) {
            Adopted::Running(running) => running.wait().await,
            adopted => adopted,
        };
        let admin = server.connect_to(MAINTENANCE, &application(&cx.knowledge.incident, "probe")).await?;
        let major = admin.identity().await?.major;
        let name = beside(&server.database, &cx.knowledge.incident, attempt);
        let there = Properties::read(&admin, &name, major).await?.is_some();
        let local = local_copy::path(&cx.work()?, &basis.object);
        match adopted {
            // Without the whole file its checksum was not compared when the engine ended.
            Adopted::Ended(exit)
                if there && exit.what == WHAT && exit.succeeded() && local_copy::is_whole(&local, &basis.object) =>
            {
                let toc = local_copy::local_toc(&local).await?;
                Ok(Probe::Happened(done(cx, (&admin, &server), &basis, &name, &toc, &exit, major).await?))
            }
            adopted => {
                let how = match adopted {
                    Adopted::Ended(exit) => exit.cause(),
                    Adopted::Unknown(why) => why,
                    Adopted::Nothing | Adopted::Running(_) => "pg_restore was not started.".to_owned(),
                };
                let left = if there { format!(" The next attempt throws {name} away.") } else { String::new() };
                Ok(Probe::DidNot(format!("{how} {INTACT}{left}")))
            }
        }
    }
}

impl RestoreBeside {
    /// Adds a restore to the history, from which later ones tell how long they take.
    fn remember(&self, cx: &Context, server: &Server, basis: &Basis, exit: &Exit) {
        let Some(root) = loading::history(cx).filter(|_| !self.rehearsal) else { return };
        let took = exit.ended_at.duration_since(exit.started_at);
        let record = Rehearsal {
            at: exit.started_at,
            database: server.name(),
            snapshot: basis.object.key.clone(),
            bytes: basis.object.size,
            fetch_ms: 0,
            restore_ms: u64::try_from(took.as_millis()).unwrap_or(0),
            prove_ms: 0,
            phases: exit.tail.iter().find_map(|line| Phases::read(line)),
            real: true,
            passed: true,
            fault: None,
        };
        if let Err(error) = record.keep(&root) {
            // The next restore guesses worse, and nothing else.
            tracing::warn!("the history of restores cannot be written: {error}");
        }
    }

    async fn restore(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let local = local_copy::path(&cx.work()?, &basis.object);
        let fetching = local_copy::begin(cx, io, &basis.object).await?;
        let toc = match &fetching {
            Some(fetching) => fetching.contents().await?,
            None => local_copy::local_toc(&local).await?,
        };
        if io.cancel.is_cancelled() {
            return Ok(stopped());
        }
        let admin = server.connect_to(MAINTENANCE, &application(&cx.knowledge.incident, "beside")).await?;
        let major = admin.identity().await?.major;
        let tool = tools::find("pg_restore", &server.settings, major).await?;
        clear_up(cx, io, &admin, &server).await?;
        let name = beside(&server.database, &cx.knowledge.incident, io.attempt);
        let left_out: Vec<i32> =
            gates::left_out(&admin, &server, &toc).await?.into_iter().map(|(entry, _)| entry).collect();
        let copy = (local.as_path(), basis.object.size);
        let order = loading::order(cx, io, &server, &tool, basis.jobs, &name, copy, left_out, basis.later)?;
        let hushed = AtomicBool::new(false);
        let fetch = async {
            match fetching {
                Some(fetching) => fetching.finish(io, &loading::first(&toc, basis.object.size), &hushed).await,
                None => Ok(()),
            }
        };
        let restore = async {
            make(cx, io, &admin, &server, &name, major).await?;
            extensions(cx, io, &server, &name, &toc).await?;
            loading::run(io, cx, &server, &order, basis.object.size, &hushed).await
        };
        let (fetched, restored) = Box::pin(loading::together(fetch, restore)).await;
        let fetched = fetched.filter(|_| !io.cancel.is_cancelled());
        match (fetched, restored) {
            (None | Some(Ok(())), Ok(exit)) if exit.succeeded() => {
                self.remember(cx, &server, &basis, &exit);
                done(cx, (&admin, &server), &basis, &name, &toc, &exit, major).await.map(Ran::Done)
            }
            (Some(Err(error)), Ok(_)) => {
                let left = throw_away(&admin, &name).await;
                Err(WorkerError { cause: format!("{} {INTACT} {left}", error.cause), ..error })
            }
            (_, Ok(exit)) => {
                let left = throw_away(&admin, &name).await;
                if exit.stopped {
                    return Ok(Ran::Stopped(format!("{INTACT} {left}")));
                }
                let next = "Mend the cause and retry (r), or choose another snapshot.";
                let cause = exit.cause();
                let cause = format!("{}. {INTACT} {left}", cause.trim_end_matches('.'));
                Err(WorkerError::new(WHAT, server.name(), cause, next))
            }
            // Nobody knows how it ended, so it is left for the probe.
            (_, Err(error)) => Err(error),
        }
    }
}

/// Offers to check foreign keys after the swap, where the dump has any; whether that was chosen.
fn foreign_keys(cx: &Context, toc: &Toc, plan: &mut Plan) -> bool {
    let checked = |entry: &&TocEntry| {
        entry.desc == "FK CONSTRAINT" && entry.definition.as_deref().is_some_and(|sql| !sql.contains(" NOT VALID"))
    };
    let count = toc.entries.iter().filter(checked).count();
    if count == 0 {
        return false;
    }
    let later = cx.inputs.get(FOREIGN_KEYS).is_some_and(|answer| answer == LATER);
    let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
    plan.asks.push(Ask {
        name: FOREIGN_KEYS.to_owned(),
        label: format!("When are the {count} foreign keys checked for the dump's rows?"),
        kind: AskKind::Choice(vec![
            choice(CHECKED, "while restoring: what is swapped in is proved whole"),
            choice(LATER, "after the swap, in the background: it serves sooner, and counts as restored only then"),
        ]),
        value: if later { LATER } else { CHECKED }.to_owned(),
        required: false,
        offered: true,
    });
    if later {
        plan.effects.push(format!(
            "Adds {count} foreign keys NOT VALID: they bind new rows at once, and the dump's rows are checked after \
             the swap, in the background. Until then it serves and does not count as restored"
        ));
    }
    later
}

fn stopped() -> Ran {
    Ran::Stopped(INTACT.to_owned())
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

async fn live(session: &Session, server: &Server, major: u32) -> Result<Properties, WorkerError> {
    Properties::read(session, &server.database, major).await?.ok_or_else(|| {
        WorkerError::new(
            "find the live database",
            server.name(),
            "The server has no such database.",
            "Check host and database in the config.",
        )
    })
}

fn arguments(server: &Server, name: &str, jobs: u32, file: &Path) -> Vec<String> {
    let mut arguments = vec![
        "--exit-on-error".to_owned(),
        "--no-owner".to_owned(),
        format!("--role={}", server.settings.owner),
        format!("--jobs={jobs}"),
        "--verbose".to_owned(),
    ];
    arguments.extend(Server { database: name.to_owned(), ..server.clone() }.arguments());
    arguments.push(file.display().to_string());
    arguments
}

/// Makes the new database, closed to everybody but its owner, and gives it the live one's settings.
async fn make(
    cx: &Context,
    io: &Io,
    admin: &Session,
    server: &Server,
    name: &str,
    major: u32,
) -> Result<(), WorkerError> {
    let live = live(admin, server, major).await?;
    let doing = "make the new database";
    io.line(live.create(name));
    admin.batch(doing, &live.create(name)).await?;
    let settled = settle(cx, io, admin, server, &live, name, major).await;
    if settled.is_err() {
        throw_away(admin, name).await;
    }
    settled
}

async fn settle(
    cx: &Context,
    io: &Io,
    admin: &Session,
    server: &Server,
    live: &Properties,
    name: &str,
    major: u32,
) -> Result<(), WorkerError> {
    let doing = "make the new database";
    let comment = literal(&mark(&cx.knowledge.incident));
    admin.batch(doing, &format!("COMMENT ON DATABASE {} IS {comment}", ident(name))).await?;
    admin.batch(doing, &format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", ident(name))).await?;
    if live.owner != server.settings.owner {
        let owner = ident(&server.settings.owner);
        admin.batch(doing, &format!("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {owner}", ident(name))).await?;
    }
    let Some(new) = Properties::read(admin, name, major).await? else { return Ok(()) };
    for statement in live.settings_for(name, &new) {
        // Settings of roles may take more rights than ours. The swap looks again, and names what is lacking.
        match admin.batch(doing, &statement).await {
            Ok(()) => io.line(statement),
            Err(error) => io.line(format!("{statement}: {}", error.cause)),
        }
    }
    Ok(())
}

/// Makes the extensions that the restoring role may not, as the login role.
async fn extensions(cx: &Context, io: &Io, server: &Server, name: &str, toc: &Toc) -> Result<(), WorkerError> {
    let session = server.connect_to(name, &application(&cx.knowledge.incident, "extensions")).await?;
    for (extension, schema) in gates::untrusted(&session, server, toc).await? {
        if let Some(schema) = schema {
            let owner = ident(&server.settings.owner);
            let sql = format!("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {owner}", ident(&schema));
            session.batch(&format!("make the schema {schema}"), &sql).await?;
        }
        let of = |entry: &&TocEntry| entry.desc == "EXTENSION" && entry.tag == extension;
        let Some(sql) = toc.entries.iter().find(of).and_then(|entry| entry.definition.clone()) else { continue };
        io.line(format!("making the extension {extension} as {}", server.user));
        session.batch(&format!("make the extension {extension}"), &sql).await?;
    }
    session.close().await;
    Ok(())
}

/// Foreign keys of a database that are not checked, and are in the dump as ones that were: `schema.table name`.
async fn unchecked(cx: &Context, server: &Server, name: &str, toc: &Toc) -> Result<Vec<String>, WorkerError> {
    let session = server.connect_to(name, &application(&cx.knowledge.incident, "looks")).await?;
    let found = after::unchecked(&session).await?;
    session.close().await;
    let dumped = |key: &String| {
        toc.entries.iter().any(|entry| {
            entry.desc == "FK CONSTRAINT"
                && entry.definition.as_deref().is_some_and(|sql| sql.contains(" NOT VALID"))
                && *key == entry.name()
        })
    };
    Ok(found.into_iter().filter(|key| !dumped(key)).collect())
}

async fn done(
    cx: &Context,
    (admin, server): (&Session, &Server),
    basis: &Basis,
    name: &str,
    toc: &Toc,
    exit: &Exit,
    major: u32,
) -> Result<Done, WorkerError> {
    let oid = Properties::read(admin, name, major).await?.map_or(0, |found| found.oid);
    let took = duration_text(exit.ended_at.duration_since(exit.started_at));
    let left_out = gates::left_out(admin, server, toc).await?;
    let mut evidence = vec![
        format!(
            "{} of {} restored into {name} in {took}; nobody is served by it yet",
            basis.object.key,
            clock(basis.taken_at)
        ),
        format!(
            "all {} entries that are to be restored are, {} tables with data among them, each with as many rows written as were read",
            toc.entries.len() - left_out.len(),
            toc.summary().tables_with_data
        ),
    ];
    evidence.extend(left_out.into_iter().filter_map(|(_, says)| says));
    let unchecked = if basis.later { unchecked(cx, server, name, toc).await? } else { Vec::new() };
    if !unchecked.is_empty() {
        evidence.push(format!("{} foreign keys bind new rows, and the dump's are not checked yet", unchecked.len()));
    }
    evidence.extend(exit.tail.iter().filter(|line| Phases::is_line(line)).cloned());
    let fact = Fact::RestoredBeside {
        database: name.to_owned(),
        oid,
        object: basis.object.clone(),
        taken_at: basis.taken_at,
        at: exit.ended_at,
        unchecked,
    };
    Ok(Done { evidence, facts: vec![fact] })
}
