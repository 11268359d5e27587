//! Emptying one database of a cache.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::check::rights;
use super::server::Server;

/// Empties the selected database of a Redis server.
#[derive(Debug)]
pub struct FlushCache {
    /// The server.
    pub cache: TargetRef,
}

/// What the server said when the plan was made.
#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    run_id: Option<String>,
    keys: u64,
    /// How often FLUSHDB had been called; the probe compares.
    flushes: Option<u64>,
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| {
        let cause = format!("The approved plan cannot be read: {error}.");
        WorkerError::new("read the plan", "relight", cause, "Prepare the step again.")
    })
}

#[async_trait]
impl Worker for FlushCache {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(Server::connect(&cx.config, &self.cache).await?.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::connect(&cx.config, &self.cache).await?;
        let keys = server.keys().await?;
        let mut plan = Plan::new(cx.step.clone(), server.identity());
        plan.type_name = Some(server.short.clone());
        plan.effects = vec![
            format!(
                "Deletes all {keys} keys of database {} on {} ({})",
                server.db,
                server.address,
                server.info("role").unwrap_or("role unknown")
            ),
            "Leaves the server's other databases as they are".to_owned(),
        ];
        match server.sample().await {
            Ok(sample) if sample.keys > 0 => plan.effects.push(format!("Among them: {}", sample.text())),
            Ok(_) => {}
            Err(error) => {
                plan.findings.push(Finding::warning(format!("What the keys are is unknown: {}", error.cause)));
            }
        }
        if keys == 0 {
            plan.nothing_to_do = Some(format!("Database {} on {} holds no keys already.", server.db, server.address));
        }
        if cx.knowledge.writes_stopped_at.is_none() {
            plan.findings
                .push(Finding::warning("Writes are not known to be stopped: a live writer refills the cache."));
        }
        plan.commands =
            vec![format!("redis-cli -h {} -n {} FLUSHDB ASYNC", server.address.replace(':', " -p "), server.db)];
        plan.undo = String::from("There is no way back: the cache fills itself again from the database.");
        let basis = Basis { run_id: server.run_id().map(str::to_owned), keys, flushes: server.flushes() };
        plan.basis = serde_json::to_value(basis).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let server = Server::connect(&cx.config, &self.cache).await?;
        Ok(rights(&server).await)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let planned = basis(plan)?;
        let server = Server::connect(&cx.config, &self.cache).await?;
        if server.is_cluster() || server.run_id().map(str::to_owned) != planned.run_id {
            let cause = "It is not the server process that the plan was made for: it restarted or failed over.";
            return Err(WorkerError::new("flush the cache", server.name.clone(), cause, "Prepare the step again."));
        }
        if io.cancel.is_cancelled() {
            return Ok(Ran::Stopped("Nothing was sent to Redis.".to_owned()));
        }
        io.line(format!("FLUSHDB on {} ({} keys now)", server.name, server.keys().await?));
        let how = flush(&server).await?;
        let left = server.keys().await.map_err(|error| error.unproved("Redis took the FLUSHDB"))?;
        if left > 0 {
            return Err(came_back(&server, left).await);
        }
        let line = format!("{} emptied ({how}): {} keys before, 0 now", server.name, planned.keys);
        io.line(&line);
        Ok(Ran::Done(Done { evidence: vec![line], facts: Vec::new() }))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let planned = basis(plan)?;
        let server = Server::connect(&cx.config, &self.cache).await?;
        let left = server.keys().await?;
        if left == 0 {
            let line = format!("{} holds no keys", server.name);
            return Ok(Probe::Happened(Done { evidence: vec![line], facts: Vec::new() }));
        }
        if server.run_id().map(str::to_owned) != planned.run_id {
            return Ok(Probe::Unknown(format!("the server restarted since, and holds {left} keys")));
        }
        match (planned.flushes, server.flushes()) {
            (Some(before), Some(now)) if now == before => {
                Ok(Probe::DidNot(format!("FLUSHDB was not called on it since the plan; it holds {left} keys")))
            }
            (Some(_), Some(_)) => Ok(Probe::Unknown(format!(
                "FLUSHDB was called since the plan, and there are {left} keys again: a writer is alive, or somebody else flushed"
            ))),
            _ => Ok(Probe::Unknown(format!("the server does not count its commands; it holds {left} keys"))),
        }
    }
}

/// In the background where the server can, so that it goes on answering. Tells which.
async fn flush(server: &Server) -> Result<&'static str, WorkerError> {
    let error = match server.try_ask::<String>(&["FLUSHDB", "ASYNC"]).await {
        Ok(_) => return Ok("in the background"),
        // Before Redis 4 the word ASYNC is a syntax error, and nothing was done.
        Err(error) if error.detail().is_some_and(|said| said.contains("syntax error")) => {
            match server.try_ask::<String>(&["FLUSHDB"]).await {
                Ok(_) => return Ok("at once"),
                Err(error) => error,
            }
        }
        Err(error) => error,
    };
    let fault = super::error::fault("flush the cache", &server.name, &error);
    // Sent and not answered: it may have been carried out.
    let unanswered = error.is_timeout() || error.is_connection_dropped() || error.is_io_error();
    Err(if unanswered || error.code().is_none() { fault.unproved("FLUSHDB was sent") } else { fault })
}

async fn came_back(server: &Server, left: u64) -> WorkerError {
    let what = match server.sample().await {
        Ok(sample) => format!(": {}", sample.text()),
        Err(_) => String::new(),
    };
    WorkerError::new(
        "prove the cache empty",
        server.name.clone(),
        format!("It was flushed, and {left} keys are there again{what}. A writer is still alive."),
        "Find and stop the writer (CLIENT LIST shows who is connected), then retry (r).",
    )
}
