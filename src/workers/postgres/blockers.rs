//! Ending sessions that keep one of ours waiting: a forgotten transaction can hold a restore up for ever.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Finding, IncidentId, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::end_sessions::end;
use super::server::{Server, application, shell};
use super::session::Session;
use super::swap::identity;
use super::unreadable_basis;

/// Ends sessions that keep one of this incident's waiting.
#[derive(Debug)]
pub struct EndBlockers {
    /// The database whose restore waits.
    pub database: TargetRef,
}

/// A session in the way. Its beginning tells it from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Blocker {
    pid: i32,
    began: String,
    says: String,
}

impl Blocker {
    fn same(&self, other: &Self) -> bool {
        self.pid == other.pid && self.began == other.began
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    blockers: Vec<Blocker>,
}

#[async_trait]
impl Worker for EndBlockers {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        // From outside the database: its fence may be up, or itself be what is waited for.
        let session = open(cx, &server).await?;
        let identity = identity(&session, &server).await?;
        session.close().await;
        Ok(identity)
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let mut plan = Plan::new(cx.step.clone(), self.identify(cx).await?);
        let session = open(cx, &server).await?;
        let blockers = list(&session, &cx.knowledge.incident).await?;
        session.close().await;
        if blockers.is_empty() {
            plan.nothing_to_do = Some("no session is in the way of this incident's".to_owned());
            return Ok(plan);
        }
        plan.effects = blockers
            .iter()
            .map(|blocker| format!("Ends session {}; what it has not committed is rolled back", blocker.says))
            .collect();
        plan.commands = blockers
            .iter()
            .map(|blocker| {
                let sql = format!("SELECT pg_terminate_backend({})", blocker.pid);
                format!("psql -h {} -p {} postgres -c {}", shell(&server.host), server.port, shell(&sql))
            })
            .collect();
        plan.undo = String::from("None: the client must do again what it had not committed.");
        plan.basis = serde_json::to_value(Basis { blockers }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = open(cx, &server).await?;
        let major = session.identity().await?.major;
        let mut ended = Vec::new();
        for blocker in list(&session, &cx.knowledge.incident).await? {
            // Who came into the way after the approval is somebody to look at first.
            if !basis.blockers.iter().any(|known| known.same(&blocker)) {
                continue;
            }
            let doing = format!("end session {}", blocker.pid);
            end(&session, &doing, blocker.pid, major).await.map_err(|error| WorkerError {
                next: "Grant pg_signal_backend to this user, or have a superuser end it, then retry (r).".to_owned(),
                ..error
            })?;
            ended.push(blocker);
        }
        let left = still_there(&session, &ended).await?;
        session.close().await;
        for blocker in ended.iter().filter(|blocker| !left.contains(blocker)) {
            io.line(format!("ended {}", blocker.says));
        }
        if !left.is_empty() {
            return Err(WorkerError::new(
                "end who is in the way",
                server.name(),
                format!("Told to end, and still there: {}.", name(&left)),
                "Have its client stopped at its source, then retry (r).",
            ));
        }
        Ok(Ran::Done(Done { evidence: vec![evidence(ended.len(), basis.blockers.len())], facts: Vec::new() }))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = open(cx, &server).await?;
        // Whether they are in the way tells nothing: what they kept waiting may have ended with the engine.
        let left = still_there(&session, &basis.blockers).await?;
        session.close().await;
        Ok(if left.is_empty() {
            let evidence = "none of the sessions is there any more".to_owned();
            Probe::Happened(Done { evidence: vec![evidence], facts: Vec::new() })
        } else {
            Probe::DidNot(format!("still there: {}", name(&left)))
        })
    }
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

fn evidence(ended: usize, of: usize) -> String {
    match ended {
        0 => "none of them was in the way any more".to_owned(),
        1 => "1 session that was in the way is ended".to_owned(),
        ended => format!("{ended} of {of} sessions that were in the way are ended"),
    }
}

async fn open(cx: &Context, server: &Server) -> Result<Session, WorkerError> {
    server.connect_to("postgres", &application(&cx.knowledge.incident, "unblocks")).await
}

/// Those of them that the server still has.
async fn still_there(session: &Session, of: &[Blocker]) -> Result<Vec<Blocker>, WorkerError> {
    let sql = "SELECT pid, backend_start::text FROM pg_catalog.pg_stat_activity";
    let rows = session.query("look who is still there", sql, &[]).await?;
    let there: Vec<(i32, String)> =
        rows.iter().map(|row| (row.get(0), row.get::<_, Option<String>>(1).unwrap_or_default())).collect();
    let is_there = |known: &&Blocker| there.iter().any(|(pid, began)| *pid == known.pid && *began == known.began);
    Ok(of.iter().filter(is_there).cloned().collect())
}

fn name(blockers: &[Blocker]) -> String {
    blockers.iter().map(|blocker| blocker.says.as_str()).collect::<Vec<_>>().join("; ")
}

/// Clients' sessions that hold what a session of this incident waits for, themselves not of it.
async fn list(session: &Session, incident: &IncidentId) -> Result<Vec<Blocker>, WorkerError> {
    let sql = "SELECT DISTINCT b.pid, b.backend_start::text, b.pid || ' of ' || coalesce(b.usename::text, '?') || ' \"' \
             || coalesce(b.application_name, '') || '\" from ' || coalesce(host(b.client_addr), 'a socket') || ', ' \
             || coalesce(b.state, '?') || coalesce(', in a transaction since ' || to_char(b.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SSZ'), '') \
         FROM pg_catalog.pg_stat_activity r JOIN pg_catalog.pg_stat_activity b ON b.pid = ANY (pg_catalog.pg_blocking_pids(r.pid)) \
         WHERE starts_with(coalesce(r.application_name, ''), $1) AND NOT starts_with(coalesce(b.application_name, ''), $1) \
         AND (b.backend_type = 'client backend' OR (b.backend_type IS NULL AND b.usesysid IS NOT NULL)) ORDER BY 1";
    let own = format!("relight {incident} ");
    let rows = session.query("look who is in the way", sql, &[&own]).await?;
    let clean = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    Ok(rows
        .iter()
        .map(|row| Blocker {
            pid: row.get(0),
            began: row.get::<_, Option<String>>(1).unwrap_or_default(),
            says: clean(row.get(2)),
        })
        .collect())
}
