//! Dropping a database that this incident put aside, once its owner is sure that nobody needs it any more: the one from
//! before a swap, or one that was restored beside and serves nobody.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Ask, AskKind, Choice, Fact, Finding, Plan, TargetIdentity, clock};
use crate::runbook::{StepId, TargetRef};
use crate::snapshots::size_text;
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::server::{Server, ident};
use super::super::session::Session;
use super::super::target_lock::TargetLock;
use super::super::unreadable_basis;
use super::forward::identity;
use super::gate::{admin, bearer};

const WHAT: &str = "drop a database that was put aside";
/// The answer that says which.
const WHICH: &str = "database";

/// Drops a database that serves nobody.
#[derive(Debug)]
pub struct DropKept {
    /// The live database.
    pub database: TargetRef,
    /// The step that swapped first.
    pub swap: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    kept: String,
    oid: u32,
}

/// A database of this incident that does not bear the live name.
struct Aside {
    name: String,
    oid: u32,
    /// What is in it.
    holds: String,
    /// It was live before a swap: swapping back goes to it.
    way_back: bool,
}

/// The databases that steps of this incident made or put aside, as far as they are there and serve nobody. They are known
/// by their numbers: their names change with every swap.
async fn put_aside(cx: &Context, session: &Session, server: &Server) -> Result<Vec<Aside>, WorkerError> {
    let mut known: BTreeMap<u32, (String, bool)> = BTreeMap::new();
    for known_fact in &cx.knowledge.facts {
        match &known_fact.fact {
            Fact::RestoredBeside { oid, object, taken_at, .. } => {
                known.insert(*oid, (format!("what {} of {} restored", object.key, clock(*taken_at)), false));
            }
            Fact::Swapped { kept_oid, at, .. } => {
                let before = "the data from before the swap".to_owned();
                known
                    .entry(*kept_oid)
                    .or_insert((
                        format!("{before} of {}, with everything that was written after the dump", clock(*at)),
                        true,
                    ))
                    .1 = true;
            }
            _ => {}
        }
    }
    let sql =
        "SELECT oid, datname::text FROM pg_catalog.pg_database WHERE oid = ANY ($1) AND datname <> $2 ORDER BY oid";
    let numbers: Vec<u32> = known.keys().copied().collect();
    let rows = session.query("look for databases that were put aside", sql, &[&numbers, &server.database]).await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let oid: u32 = row.get(0);
            let (holds, way_back) = known.get(&oid)?.clone();
            Some(Aside { name: row.get(1), oid, holds, way_back })
        })
        .collect())
}

#[async_trait]
impl Worker for DropKept {
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
        let mut plan = Plan::new(cx.step.clone(), identity(&session, &server).await?);
        let there = put_aside(cx, &session, &server).await?;
        let chosen = match (cx.inputs.get(WHICH), there.as_slice()) {
            (_, []) => {
                plan.nothing_to_do = Some("no database of this incident is put aside any more".to_owned());
                session.close().await;
                return Ok(plan);
            }
            (Some(name), _) => there.iter().find(|it| it.name == *name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        if there.len() > 1 {
            let choices =
                there.iter().map(|it| Choice { value: it.name.clone(), label: format!("{}: {}", it.name, it.holds) });
            plan.asks.push(Ask {
                name: WHICH.to_owned(),
                label: "Which database?".to_owned(),
                kind: AskKind::Choice(choices.collect()),
                value: chosen.map_or_else(String::new, |it| it.name.clone()),
                required: true,
                offered: false,
            });
        }
        let Some(Aside { name, oid, holds, way_back }) = chosen else {
            session.close().await;
            return Ok(plan);
        };
        plan.type_name = Some(name.clone());
        plan.undo = String::from("None: what is dropped is gone.");
        plan.commands = vec![format!("psql postgres -c 'DROP DATABASE {}'", ident(name))];
        plan.basis = serde_json::to_value(Basis { kept: name.clone(), oid: *oid }).unwrap_or_default();
        plan.effects = vec![format!("Drops {name} ({}): {holds}", size_text(size(&session, name).await?))];
        if *way_back {
            plan.effects.push("Swapping back to it is not possible after this".to_owned());
            let copy = cx.knowledge.facts.iter().rev().find_map(|known| match &known.fact {
                Fact::SafetyDump { object, .. } => Some(object.key.clone()),
                _ => None,
            });
            plan.findings.push(match copy {
                Some(key) => Finding::good(format!("The safety dump {key} holds it as it was when that was made")),
                None => Finding::warning(
                    "There is no safety dump of this incident: this is the only copy of what was written after the dump",
                ),
            });
        }
        let ours = cx.knowledge.facts.iter().rev().find_map(|known| match &known.fact {
            Fact::Swapped { live_oid, kept_oid, .. } => Some([*live_oid, *kept_oid]),
            _ => None,
        });
        let live = bearer(&session, &server.database).await?.map(|(oid, _)| oid);
        if *way_back && ours.is_some_and(|ours| !live.is_some_and(|live| ours.contains(&live))) {
            plan.findings.push(Finding::blocking(format!(
                "Another database than one of this incident's bears the name {}: it was renamed since, and this one may be needed.",
                server.database
            )));
        }
        plan.findings.extend(in_the_way(&session, name, *oid).await?);
        session.close().await;
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "drops").await?;
        let own = session.identity().await?;
        let _lock = TargetLock::take_on(&server, &own, &cx.knowledge.incident).await?;
        let changed = |cause: String| {
            WorkerError::new(WHAT, server.name(), cause, "Nothing was dropped. Read the plan again (a).")
        };
        match bearer(&session, &basis.kept).await? {
            Some((oid, _)) if oid == basis.oid => {}
            _ => return Err(changed(format!("{} is another database now, or gone.", basis.kept))),
        }
        if let Some(finding) = in_the_way(&session, &basis.kept, basis.oid).await?.first() {
            return Err(changed(finding.text.clone()));
        }
        io.line(format!("DROP DATABASE {}", ident(&basis.kept)));
        // Without FORCE: it is closed, and whoever is in it nevertheless is somebody to ask.
        session.batch(WHAT, &format!("DROP DATABASE {}", ident(&basis.kept))).await.map_err(|error| {
            // A connection that broke leaves open whether the server went on.
            if session.is_closed() { error.with(Disposition::InDoubt) } else { error }
        })?;
        // It was asked for: that the answer cannot be looked at does not mean that nothing came of it.
        let left = bearer(&session, &basis.kept).await.map_err(|error| error.with(Disposition::InDoubt))?;
        session.close().await;
        if left.is_some() {
            return Err(changed(format!("{} is still there.", basis.kept)));
        }
        Ok(Ran::Done(done(&basis)))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "probe").await?;
        Ok(match bearer(&session, &basis.kept).await? {
            Some(_) => Probe::DidNot(format!("{} is still there", basis.kept)),
            None => Probe::Happened(done(&basis)),
        })
    }
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

fn done(basis: &Basis) -> Done {
    Done { evidence: vec![format!("{} is dropped", basis.kept)], facts: Vec::new() }
}

async fn size(session: &Session, name: &str) -> Result<u64, WorkerError> {
    let sql = "SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database WHERE datname = $1";
    // A role without CONNECT on it may not ask.
    let rows = session.query("ask how large the kept database is", sql, &[&name]).await.unwrap_or_default();
    Ok(rows.first().and_then(|row| u64::try_from(row.get::<_, i64>(0)).ok()).unwrap_or(0))
}

/// What would be lost with the database, or keeps it: replication slots (an inactive one goes with it without a word),
/// subscriptions, sessions.
async fn in_the_way(session: &Session, name: &str, oid: u32) -> Result<Vec<Finding>, WorkerError> {
    let doing = "look for what hangs on the kept database";
    let mut findings = Vec::new();
    let names =
        |rows: &[tokio_postgres::Row]| rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(", ");
    let slots = session
        .query(
            doing,
            "SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = $1 ORDER BY 1",
            &[&name],
        )
        .await?;
    if !slots.is_empty() {
        findings.push(Finding::blocking(format!(
            "The replication slots {} would be lost with it, with every change that their readers have not read: see that they are not needed and drop them first, SELECT pg_drop_replication_slot('…')",
            names(&slots)
        )));
    }
    // Before version 16 only superusers may read it; the server refuses to drop such a database anyway.
    let sql = "SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid = $1 ORDER BY 1";
    if let Ok(subscriptions) = session.query(doing, sql, &[&oid]).await
        && !subscriptions.is_empty()
    {
        findings
            .push(Finding::blocking(format!("It has the subscriptions {}: drop them first.", names(&subscriptions))));
    }
    let sessions = session
        .query(doing, "SELECT pid::text || ' ' || coalesce(usename::text, '?') FROM pg_catalog.pg_stat_activity WHERE datname = $1 AND (backend_type = 'client backend' OR (backend_type IS NULL AND usesysid IS NOT NULL))", &[&name])
        .await?;
    if !sessions.is_empty() {
        findings.push(Finding::blocking(format!("Somebody is connected to it: {}. Ask them.", names(&sessions))));
    }
    Ok(findings)
}
