//! Giving the live name to the database that was restored beside.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::incident::{Fact, Finding, ObjectRef, Plan, TargetIdentity, clock};
use crate::runbook::{StepId, TargetRef};
use crate::snapshots::size_text;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::beside::{Properties, kept};
use super::super::judge::has_way_back;
use super::super::server::{Server, ident, shell};
use super::super::session::Session;
use super::super::sessions::{name_some, others, prepared};
use super::super::target_lock::TargetLock;
use super::super::unreadable_basis;
use super::exchange::{Exchange, exchange};
use super::gate::{PATIENCE, admin, bearer, in_the_way, names, open};

const WHAT: &str = "swap the databases";

/// What is typed besides the name where there is no way back off this server.
const WITHOUT: &str = "without a safety dump";

/// Swaps.
#[derive(Debug)]
pub struct SwapDatabase {
    /// The live database.
    pub database: TargetRef,
    /// The step that restored beside it.
    pub restore: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    /// Name and number of the database that was restored beside.
    beside: (String, u32),
    live_oid: u32,
    kept: String,
    object: ObjectRef,
    taken_at: Timestamp,
    /// It bears the live name already: the step was opened again after it had swapped.
    #[serde(default)]
    already: bool,
    /// Rows that the server's counters say were written into it before the swap.
    #[serde(default)]
    written: Option<u64>,
}

#[async_trait]
impl Worker for SwapDatabase {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "identify").await?;
        let identity = identity(&session, &server).await?;
        session.close().await;
        Ok(identity)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "plan").await?;
        let target = identity(&session, &server).await?;
        let mut plan = Plan::new(cx.step.clone(), target);
        let Some((beside, oid, object, taken_at)) = restored(cx, &self.restore) else {
            plan.nothing_to_do =
                Some(format!("{} was not restored beside, so there is nothing to exchange", server.name()));
            return Ok(plan);
        };
        if let Some(already) = self.already(cx, &session, &server, oid).await? {
            plan.effects = vec![format!(
                "{} is the restored database already, and {} is kept: nothing is exchanged, this is looked at and recorded",
                server.name(),
                already.0
            )];
            plan.type_name = Some(server.database.clone());
            plan.undo = String::from("Back by the same exchange (u): a few milliseconds.");
            let (kept, live_oid, written) = already;
            let basis = Basis { beside: (beside, oid), live_oid, kept, object, taken_at, already: true, written };
            plan.basis = serde_json::to_value(basis).unwrap_or_default();
            session.close().await;
            return Ok(plan);
        }
        let major = session.identity().await?.major;
        let (live, new) = both(&session, &server, &beside, major).await?;
        let there = names(&session).await?;
        let kept = kept(&server.database, &cx.knowledge.incident, |name| there.iter().any(|it| it == name));
        let sessions = others(&session, &server, &cx.knowledge.incident).await?;
        plan.effects = vec![
            format!(
                "Closes {} for some milliseconds, ends {} on it, and exchanges the names: {} becomes {kept}, {beside} becomes {}",
                server.name(),
                count(sessions.len(), "session"),
                server.database,
                server.database
            ),
            format!(
                "From then on the service works on the data of {} ({}); what was written since is only in {kept}",
                clock(taken_at),
                object.key
            ),
            format!("{kept} stays as the way back, closed to everybody; it takes {}", size_text(live.bytes)),
            "If this is killed half-way, a guard opens whichever database bears the live name".to_owned(),
        ];
        plan.commands = commands(&server, &beside, &kept, &live.rights_for(&beside, &new));
        plan.undo = String::from("Back by the same exchange (u): a few milliseconds.");
        plan.type_name = Some(server.database.clone());
        if new.oid != oid {
            plan.findings
                .push(Finding::blocking(format!("{beside} is not the database that was restored: restore again.")));
        }
        for statement in live.settings_for(&beside, &new) {
            plan.findings.push(Finding::blocking(format!(
                "A setting of {} is lacking in {beside}. As a superuser: {statement};",
                server.database
            )));
        }
        if !sessions.is_empty() {
            plan.findings.push(Finding::warning(format!("Will be ended: {}.", name_some(&sessions))));
        }
        plan.findings.extend(hangs_on(&session, &server, live.oid).await?);
        if cx.knowledge.writes_stopped_at.is_none() {
            plan.findings.push(Finding::warning(
                "Writes are not stopped: what is written until the exchange stays in the kept database only.",
            ));
        }
        if has_way_back(cx, &server) {
            plan.findings.push(Finding::good("There is a safety dump besides the kept database"));
        } else {
            plan.type_name = Some(format!("{} {WITHOUT}", server.database));
            plan.findings.push(Finding::warning(
                "There is no safety dump off this server: the kept database is the only way back. The name to type says so.",
            ));
        }
        if let left @ 1.. = unchecked(cx, &self.restore) {
            plan.findings.push(Finding::warning(format!(
                "{left} foreign keys are not checked for the dump's rows yet: after the swap it serves, and counts as restored once they are."
            )));
        }
        session.close().await;
        let written = written(cx, &server, &beside).await;
        let live_oid = live.oid;
        let basis = Basis { beside: (beside, oid), live_oid, kept, object, taken_at, already: false, written };
        plan.basis = serde_json::to_value(basis).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "preflight").await?;
        let mut findings = prepared(&session, &server).await?;
        findings.extend(in_the_way(&session, &server.database).await?);
        session.close().await;
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "swap").await?;
        let own = session.identity().await?;
        let _lock = TargetLock::take_on(&server, &own, &cx.knowledge.incident).await?;
        if basis.already {
            return match self.already(cx, &session, &server, basis.beside.1).await? {
                Some((kept, oid, _)) if kept == basis.kept && oid == basis.live_oid => {
                    Ok(Ran::Done(done(&server, &basis)))
                }
                _ => Err(WorkerError::new(
                    WHAT,
                    server.name(),
                    "The databases are not any more what the plan was made for.",
                    "Nothing was changed. Prepare the step again (a).",
                )),
            };
        }
        let (live, new) = both(&session, &server, &basis.beside.0, own.major).await?;
        let lacking = live.settings_for(&basis.beside.0, &new);
        if live.oid != basis.live_oid || new.oid != basis.beside.1 || !lacking.is_empty() {
            return Err(WorkerError::new(
                WHAT,
                server.name(),
                "The databases are not any more what the plan was made for. The old data is intact.",
                "Prepare the step again (a).",
            ));
        }
        session.close().await;
        let rights = live.rights_for(&basis.beside.0, &new);
        let of = Exchange {
            server: &server,
            live: (&server.database, basis.live_oid),
            comes: (&basis.beside.0, basis.beside.1),
            aside: &basis.kept,
            rights: &rights,
        };
        match exchange(cx, io, &of).await {
            Ok(()) => Ok(Ran::Done(done(&server, &basis))),
            Err(error) if io.cancel.is_cancelled() && error.cause.contains("old data is intact") => {
                Ok(Ran::Stopped(error.cause))
            }
            Err(error) => Err(error),
        }
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "probe").await?;
        // The one thing that a probe changes: a fence that our own attempt left up keeps everybody out.
        open(&server, &server.database, None, PATIENCE).await?;
        match bearer(&session, &server.database).await? {
            Some((oid, true)) if oid == basis.beside.1 => Ok(Probe::Happened(done(&server, &basis))),
            Some((oid, true)) if oid == basis.live_oid => {
                Ok(Probe::DidNot(format!("the old data is intact: {} bears the live name as before", server.name())))
            }
            Some((oid, _)) => Ok(Probe::Unknown(format!("Another database (number {oid}) bears the live name now."))),
            None => Ok(Probe::Unknown("No database bears the live name.".to_owned())),
        }
    }
}

impl SwapDatabase {
    /// The kept database's name and number, and what had been written by the swap, where the restored one bears the live
    /// name already, by an earlier success of this step.
    async fn already(
        &self,
        cx: &Context,
        session: &Session,
        server: &Server,
        oid: u32,
    ) -> Result<Option<(String, u32, Option<u64>)>, WorkerError> {
        let swapped =
            cx.knowledge.last_of(&cx.step, |fact| matches!(fact, Fact::Swapped { live_oid, .. } if *live_oid == oid));
        let Some(Fact::Swapped { kept, kept_oid, written, .. }) = swapped else { return Ok(None) };
        let bears = |found: Option<(u32, bool)>, number: u32| found.is_some_and(|(found, _)| found == number);
        let there =
            bears(bearer(session, &server.database).await?, oid) && bears(bearer(session, kept).await?, *kept_oid);
        Ok(there.then(|| (kept.clone(), *kept_oid, *written)))
    }
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

/// What the standing success of the restoring step made.
fn restored(cx: &Context, step: &StepId) -> Option<(String, u32, ObjectRef, Timestamp)> {
    let found = cx.knowledge.facts_of(step).filter_map(|fact| match fact {
        Fact::RestoredBeside { database, oid, object, taken_at, .. } => {
            Some((database.clone(), *oid, object.clone(), *taken_at))
        }
        _ => None,
    });
    found.last()
}

/// How many foreign keys that step left for later.
fn unchecked(cx: &Context, step: &StepId) -> usize {
    let left = cx.knowledge.facts_of(step).filter_map(|fact| match fact {
        Fact::RestoredBeside { unchecked, .. } => Some(unchecked.len()),
        _ => None,
    });
    left.last().unwrap_or(0)
}

/// The server and the database that bears the live name, seen from outside of it.
pub(in super::super) async fn identity(session: &Session, server: &Server) -> Result<TargetIdentity, WorkerError> {
    let mut identity = session.identity().await?;
    let Some((oid, _)) = bearer(session, &server.database).await? else {
        return Err(WorkerError::new(
            "find the live database",
            server.name(),
            "The server has no such database.",
            "Check host and database in the config.",
        ));
    };
    identity.database_oid = oid;
    Ok(identity.target(server))
}

async fn both(
    session: &Session,
    server: &Server,
    beside: &str,
    major: u32,
) -> Result<(Properties, Properties), WorkerError> {
    let live = Properties::read(session, &server.database, major).await?;
    let new = Properties::read(session, beside, major).await?;
    live.zip(new).ok_or_else(|| {
        WorkerError::new(
            WHAT,
            server.name(),
            format!("{} or {beside} is not there.", server.database),
            "Restore again (r on the restore step).",
        )
    })
}

/// The logical replication slots of a database.
pub(in super::super) async fn slots(session: &Session, database: &str) -> Result<Vec<String>, WorkerError> {
    let sql = "SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = $1 ORDER BY 1";
    let rows = session.query("look for replication slots", sql, &[&database]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What depends on the database's number and stays with the old one.
pub(in super::super) async fn hangs_on(
    session: &Session,
    server: &Server,
    oid: u32,
) -> Result<Vec<Finding>, WorkerError> {
    let doing = "look for what hangs on the database";
    let names = slots(session, &server.database).await?;
    let mut findings = Vec::new();
    if !names.is_empty() {
        findings.push(Finding::warning(format!(
            "Replication slots stay with the old database and must be made again in the new one: {}.",
            names.join(", ")
        )));
    }
    let sql = "SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid = $1 ORDER BY 1";
    // Before version 16 only superusers may read it.
    if let Ok(subscriptions) = session.query(doing, sql, &[&oid]).await
        && !subscriptions.is_empty()
    {
        let names: Vec<String> = subscriptions.iter().map(|row| row.get(0)).collect();
        findings.push(Finding::warning(format!(
            "Subscriptions stay with the old database; in the new one they are disabled: {}.",
            names.join(", ")
        )));
    }
    Ok(findings)
}

/// Rows that were written into a database, by the server's counters; none where they cannot be read.
pub(super) async fn written(cx: &Context, server: &Server, database: &str) -> Option<u64> {
    let sql = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_catalog.pg_stat_user_tables";
    let count = async {
        let session =
            server.connect_to(database, &super::super::server::application(&cx.knowledge.incident, "counts")).await?;
        let count: i64 = session.one("count what was written", sql, &[]).await?.get(0);
        session.close().await;
        Ok::<_, WorkerError>(count)
    };
    count.await.ok().and_then(|count| u64::try_from(count).ok())
}

fn commands(server: &Server, beside: &str, kept: &str, rights: &[String]) -> Vec<String> {
    let psql = |sql: &str| {
        format!(
            "psql -h {} -p {} -U {} postgres -c {}",
            shell(&server.host),
            server.port,
            shell(&server.user),
            shell(sql)
        )
    };
    let live = ident(&server.database);
    let mut renames = vec!["BEGIN".to_owned()];
    renames.extend_from_slice(rights);
    renames.push(format!("ALTER DATABASE {live} RENAME TO {}", ident(kept)));
    renames.push(format!("ALTER DATABASE {} RENAME TO {live}", ident(beside)));
    renames.push(format!("ALTER DATABASE {live} ALLOW_CONNECTIONS true"));
    renames.push("COMMIT".to_owned());
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND backend_type IN ('client backend', 'walsender')",
        server.database.replace('\'', "''")
    );
    vec![psql(&format!("ALTER DATABASE {live} ALLOW_CONNECTIONS false")), psql(&end), psql(&renames.join("; "))]
}

pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn done(server: &Server, basis: &Basis) -> Done {
    let at = Timestamp::now();
    let evidence = vec![
        format!("{} is the database of {} ({})", server.name(), clock(basis.taken_at), basis.object.key),
        format!("the former one is kept as {}, closed; u on this step goes back to it", basis.kept),
    ];
    let facts = vec![
        Fact::Swapped {
            live: server.database.clone(),
            live_oid: basis.beside.1,
            came_from: basis.beside.0.clone(),
            kept: basis.kept.clone(),
            kept_oid: basis.live_oid,
            written: basis.written,
            at,
        },
        Fact::Restored { object: basis.object.clone(), taken_at: basis.taken_at, at },
    ];
    Done { evidence, facts }
}
