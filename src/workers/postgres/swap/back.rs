//! Giving the live name back to the kept database.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Fact, Finding, Plan, TargetIdentity};
use crate::runbook::{StepId, TargetRef};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::beside::{Properties, aside, literal, mark};
use super::super::server::{Server, ident};
use super::super::sessions::prepared;
use super::super::target_lock::TargetLock;
use super::super::unreadable_basis;
use super::exchange::{Exchange, exchange};
use super::forward::{hangs_on, identity, written};
use super::gate::{PATIENCE, admin, bearer, in_the_way, names, open};

/// Swaps back.
#[derive(Debug)]
pub struct SwapBack {
    /// The live database.
    pub database: TargetRef,
    /// The step that swapped.
    pub swap: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    /// Name and number of the kept database.
    kept: (String, u32),
    live_oid: u32,
    /// What the database that is live now is called afterwards.
    aside: String,
}

#[async_trait]
impl Worker for SwapBack {
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
        let swapped = cx.knowledge.last_of(&self.swap, |fact| matches!(fact, Fact::Swapped { .. }));
        let Some(Fact::Swapped { live_oid, came_from, kept, kept_oid, written: before, at, .. }) = swapped else {
            return Err(WorkerError::new(
                "find the kept database",
                server.name(),
                format!("The step {} has swapped nothing that still stands.", self.swap),
                "There is nothing to take back.",
            ));
        };
        let there = names(&session).await?;
        let aside = aside(came_from, |name| there.iter().any(|it| it == name));
        let mut plan = Plan::new(cx.step.clone(), target);
        let since =
            written(cx, &server, &server.database).await.zip(*before).map(|(now, before)| now.saturating_sub(before));
        plan.effects = vec![
            format!(
                "Closes {} for some milliseconds, ends its sessions, and gives the live name back to {kept}",
                server.name()
            ),
            format!("The database that is live now stays as {aside}, closed; nothing of it is lost"),
            match since {
                Some(since) => format!(
                    "About {since} rows were written, changed or deleted in it since the swap; the service will not see them"
                ),
                None => "How many rows were written in it since the swap cannot be read; the service will not see them"
                    .to_owned(),
            },
        ];
        if cx.knowledge.writes_stopped_at.is_some() {
            plan.effects.push(
                "Writes stay stopped: to serve from it, take the step that stopped them back (u on it)".to_owned(),
            );
        }
        plan.undo = String::from("Swap again: the same exchange.");
        plan.type_name = Some(server.database.clone());
        if bearer(&session, &server.database).await?.map(|(oid, _)| oid) != Some(*live_oid) {
            plan.findings
                .push(Finding::blocking("Another database bears the live name now: somebody renamed it since."));
        }
        if bearer(&session, kept).await?.map(|(oid, _)| oid) != Some(*kept_oid) {
            plan.findings.push(Finding::blocking(format!("{kept} is not there any more, or is another database.")));
        }
        let started = cx.knowledge.facts.iter().filter_map(|known| match &known.fact {
            Fact::WritesStarted { at } => Some(*at),
            _ => None,
        });
        if cx.knowledge.writes_stopped_at.is_none() && started.max().is_some_and(|started| started > *at) {
            plan.findings.push(Finding::blocking(
                "The writers run on the new database: stop them first (u on Start writes), so that nothing is written between the two.",
            ));
        }
        plan.findings.extend(hangs_on(&session, &server, *live_oid).await?);
        session.close().await;
        let basis = Basis { kept: (kept.clone(), *kept_oid), live_oid: *live_oid, aside };
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
        let session = admin(&server, &cx.knowledge.incident, "swap back").await?;
        let own = session.identity().await?;
        let _lock = TargetLock::take_on(&server, &own, &cx.knowledge.incident).await?;
        // The mark tells later attempts whose it is; the kept database has its own comment and rights as before.
        let live = Properties::read(&session, &server.database, own.major).await?;
        let marked =
            format!("COMMENT ON DATABASE {} IS {}", ident(&server.database), literal(&mark(&cx.knowledge.incident)));
        let kept = bearer(&session, &basis.kept.0).await?;
        session.close().await;
        if live.is_none_or(|live| live.oid != basis.live_oid) || kept.is_none_or(|(oid, _)| oid != basis.kept.1) {
            return Err(WorkerError::new(
                "swap back",
                server.name(),
                "The databases are not any more what the plan was made for.",
                "Nothing was changed. Prepare the step again (a).",
            ));
        }
        let rights = vec![marked];
        let of = Exchange {
            server: &server,
            live: (&server.database, basis.live_oid),
            comes: (&basis.kept.0, basis.kept.1),
            aside: &basis.aside,
            rights: &rights,
        };
        exchange(cx, io, &of).await?;
        Ok(Ran::Done(done(&server, &basis)))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server::of(&cx.config, &self.database).await?;
        let session = admin(&server, &cx.knowledge.incident, "probe").await?;
        // As in the swap: a fence that our own attempt left up keeps everybody out.
        open(&server, &server.database, None, PATIENCE).await?;
        match bearer(&session, &server.database).await? {
            Some((oid, true)) if oid == basis.kept.1 => Ok(Probe::Happened(done(&server, &basis))),
            Some((oid, true)) if oid == basis.live_oid => {
                Ok(Probe::DidNot(format!("{} bears the live name as before", server.name())))
            }
            _ => Ok(Probe::Unknown("Another database bears the live name now.".to_owned())),
        }
    }
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

fn done(server: &Server, basis: &Basis) -> Done {
    let evidence = vec![
        format!("{} is the database from before the swap again", server.name()),
        format!("the one that was live meanwhile is kept as {}, closed", basis.aside),
    ];
    Done { evidence, facts: Vec::new() }
}
