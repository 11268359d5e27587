//! Proving that a cache can be reached and may be emptied, without emptying it.

use async_trait::async_trait;

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::server::Server;

/// Connects, looks at role and rights.
#[derive(Debug)]
pub struct CheckRedis {
    /// The server.
    pub target: TargetRef,
}

#[async_trait]
impl Worker for CheckRedis {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(Server::connect(&cx.config, &self.target).await?.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::connect(&cx.config, &self.target).await?;
        let mut plan = Plan::new(cx.step.clone(), server.identity());
        plan.effects = vec![format!("Asks {} for its role, its keys and our rights; changes nothing", server.name)];
        plan.commands = vec![format!("redis-cli -h {} INFO replication", server.address)];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let server = Server::connect(&cx.config, &self.target).await?;
        let findings = rights(&server).await;
        for finding in &findings {
            io.line(&finding.text);
        }
        if let Some(bad) = findings.iter().find(|finding| finding.gravity == crate::incident::Gravity::Blocking) {
            let next = "Mend that, then retry (r); until then the cache cannot be flushed from here.";
            return Err(WorkerError::new("check the cache", server.name.clone(), bad.text.clone(), next));
        }
        let mut evidence = vec![format!("{} answers, {} keys", server.name, server.keys().await?)];
        evidence.extend(findings.into_iter().map(|finding| finding.text));
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only reads".to_owned()))
    }
}

/// What can be known about flushing without doing it. Managed servers forbid some of the questions; those degrade to
/// "unknown", which never blocks.
pub(super) async fn rights(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    if server.is_cluster() {
        findings.push(Finding::blocking(
            "This server belongs to a Redis Cluster. FLUSHDB there empties only the node that is asked, so relight does \
             not do it: flush every master by hand (redis-cli --cluster call HOST:PORT FLUSHDB) and mark the step done (m).",
        ));
    }
    match server.info("role") {
        Some("master") => findings.push(Finding::good("It is the master.")),
        Some(role) => findings.push(Finding::blocking(format!(
            "It is a {role}, not the master (that is {}:{}).",
            server.info("master_host").unwrap_or("unknown"),
            server.info("master_port").unwrap_or("?")
        ))),
        None => findings.push(Finding::warning("Unknown whether it is the master: the server does not say.")),
    }
    findings.push(may_flush(server).await);
    findings
}

async fn may_flush(server: &Server) -> Finding {
    let Ok(user) = server.try_ask::<String>(&["ACL", "WHOAMI"]).await else {
        return Finding::warning(
            "Unknown whether FLUSHDB is permitted: the server does not tell who we are (ACL WHOAMI).",
        );
    };
    // OK arrives as a status; a refusal arrives as text, not as an error.
    match server.try_ask::<String>(&["ACL", "DRYRUN", &user, "FLUSHDB"]).await {
        Ok(answer) if answer == "OK" => Finding::good(format!("User {user} may run FLUSHDB.")),
        Ok(refusal) => Finding::blocking(format!("User {user} may not run FLUSHDB. Redis says: {refusal}")),
        Err(error) if error.detail().is_some_and(|said| said.contains("not found")) => {
            Finding::blocking("The server has no FLUSHDB: it was renamed or switched off (rename-command).")
        }
        Err(_) => Finding::warning(
            "Unknown whether FLUSHDB is permitted: ACL DRYRUN is not allowed, or the server is older than Redis 7.",
        ),
    }
}
