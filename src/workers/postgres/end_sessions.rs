//! Proving that nobody else is connected, and ending those who are.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::server::{Server, shell};
use super::sessions::{Other, name_some, others, prepared};
use super::target_lock::TargetLock;
use super::{identify, unreadable_basis};

/// How often a client may come back before it counts as a writer that was not stopped.
const ROUNDS: u32 = 3;

/// Ends the sessions of a database.
#[derive(Debug)]
pub struct EndSessions {
    /// The database.
    pub database: TargetRef,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    sessions: Vec<Other>,
}

#[async_trait]
impl Worker for EndSessions {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let incident = &cx.knowledge.incident;
        let session = server.connect(incident, "sessions").await?;
        let mut plan = Plan::new(cx.step.clone(), session.identity().await?.target(&server));
        let sessions = others(&session, &server, incident).await?;
        plan.effects = if sessions.is_empty() {
            vec![format!("No other session is on {}; this is proved once more", server.database)]
        } else {
            let mut effects = vec![format!(
                "Ends {} on {}; what they have not committed is rolled back",
                many(sessions.len()),
                server.database
            )];
            effects.extend(sessions.iter().map(|other| format!("ends {}", other.describe())));
            effects
        };
        let sql = format!(
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            server.database.replace('\'', "''")
        );
        plan.commands = vec![format!(
            "psql -h {} -p {} -U {} postgres -c {}",
            shell(&server.host),
            server.port,
            shell(&server.user),
            shell(&sql)
        )];
        plan.undo = String::from("Nothing to take back: clients connect again by themselves.");
        plan.basis = serde_json::to_value(Basis { sessions }).unwrap_or_default();
        session.close().await;
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let session = server.connect(&cx.knowledge.incident, "sessions").await?;
        let mut findings = prepared(&session, &server).await?;
        if cx.knowledge.writes_stopped_at.is_none() {
            findings.push(Finding::warning("The writers are not stopped, so that their sessions will come back."));
        }
        session.close().await;
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        let server = Server::of(&cx.config, &self.database).await?;
        let incident = &cx.knowledge.incident;
        let session = server.connect(incident, "sessions").await?;
        let identity = session.identity().await?;
        let _lock = TargetLock::take_on(&server, &identity, incident).await?;
        let approved: BTreeSet<_> = basis.sessions.iter().map(Other::who).collect();
        let failed = |cause: String, next: &str| WorkerError::new("end the sessions", server.name(), cause, next);
        let mut ended = 0;
        for round in 0.. {
            if io.cancel.is_cancelled() {
                return Ok(Ran::Stopped(format!("{} ended so far; clients may connect again", many(ended))));
            }
            let now = others(&session, &server, incident).await?;
            if now.is_empty() {
                break;
            }
            let strangers: Vec<Other> = now.iter().filter(|other| !approved.contains(&other.who())).cloned().collect();
            if !strangers.is_empty() {
                return Err(failed(
                    format!("A session that was not in the plan is connected: {}.", name_some(&strangers)),
                    "Stop that client if it writes, then retry (r): the new plan lists it.",
                ));
            }
            let back: Vec<Other> =
                now.iter().filter(|other| !basis.sessions.iter().any(|old| old.same(other))).cloned().collect();
            if round >= ROUNDS {
                let (list, what) =
                    if back.is_empty() { (now, "does not end") } else { (back, "comes back every time") };
                return Err(failed(
                    format!("A session {what}: {}.", name_some(&list)),
                    "Stop that client at its source, then retry (r).",
                ));
            }
            for other in &now {
                let doing = format!("end the session {} of {}", other.pid, other.user);
                end(&session, &doing, other.pid, identity.major).await.map_err(|error| WorkerError {
                    next: "Grant pg_signal_backend to this user, or have a superuser end a superuser's session, then retry (r).".to_owned(),
                    ..error
                })?;
                ended += 1;
                io.line(format!("ended {}", other.describe()));
            }
        }
        let evidence = match ended {
            0 => format!("No other session on {}", server.name()),
            ended => format!("{} ended; no other session is left on {}", many(ended), server.name()),
        };
        io.line(&evidence);
        Ok(Ran::Done(Done { evidence: vec![evidence], facts: Vec::new() }))
    }

    async fn probe(&self, cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let session = server.connect(&cx.knowledge.incident, "sessions").await?;
        let now = others(&session, &server, &cx.knowledge.incident).await?;
        if now.is_empty() {
            let evidence = format!("No other session is on {}", server.name());
            return Ok(Probe::Happened(Done { evidence: vec![evidence], facts: Vec::new() }));
        }
        Ok(Probe::DidNot(format!("these are connected: {}", name_some(&now))))
    }
}

fn many(count: usize) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

/// Ends one, and waits until the server has taken it off its list (from version 14 on the server itself waits).
pub(super) async fn end(
    session: &super::session::Session,
    doing: &str,
    pid: i32,
    major: u32,
) -> Result<(), WorkerError> {
    if major >= 14 {
        session.query(doing, "SELECT pg_catalog.pg_terminate_backend($1, 10000)", &[&pid]).await?;
        return Ok(());
    }
    session.query(doing, "SELECT pg_catalog.pg_terminate_backend($1)", &[&pid]).await?;
    let left = "SELECT pg_catalog.pg_sleep(0.05) FROM pg_catalog.pg_stat_activity WHERE pid = $1";
    for _ in 0..200 {
        if session.query(doing, left, &[&pid]).await?.is_empty() {
            break;
        }
    }
    Ok(())
}
