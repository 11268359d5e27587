//! Every index and table of the restored database, page by page, with PostgreSQL's `amcheck`.
//!
//! Where the extension is not there it is made in a transaction that is always rolled back, so that nothing of it is left
//! in the database, whatever is killed.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Finding, Notice, Plan, TargetIdentity};
use crate::runbook::{StepId, TargetRef};
use crate::snapshots::size_text;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::beside::made;
use super::super::server::{Server, shell};
use super::super::session::Session;
use super::super::{identify, unreadable_basis};
use super::{is_still, open};

const WHAT: &str = "check indexes and tables";
const BEGIN: &str = "BEGIN; CREATE EXTENSION IF NOT EXISTS amcheck";

/// Reads every index and table with `amcheck`.
#[derive(Debug)]
pub struct CheckStorage {
    /// The live database.
    pub database: TargetRef,
    /// The restoring step.
    pub restore: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    database: String,
    oid: u32,
}

/// What is checked.
struct Relation {
    oid: u32,
    name: String,
    bytes: u64,
    index: bool,
}

#[async_trait]
impl Worker for CheckStorage {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let live = Server::of(&cx.config, &self.database).await?;
        let mut plan = Plan::new(cx.step.clone(), identify(cx, &self.database).await?);
        let (server, oid) = match made(cx, &live, &self.restore).await? {
            Some(made) => (made.server, made.oid),
            None => (live.clone(), 0),
        };
        let session = open(cx, &server).await?;
        let oid = if oid == 0 { session.identity().await?.database_oid } else { oid };
        plan.commands = vec![format!(
            "pg_amcheck -h {} -p {} --install-missing --heapallindexed {}",
            shell(&server.host),
            server.port,
            shell(&server.database)
        )];
        if let Err(why) = usable(&session).await {
            plan.nothing_to_do = Some(format!(
                "amcheck cannot be used by {} in {}: {why}. A superuser can, with pg_amcheck",
                server.user, server.database
            ));
            return Ok(plan);
        }
        let relations = list(&session).await?;
        session.close().await;
        let bytes = relations.iter().map(|relation| relation.bytes).sum();
        plan.effects = vec![
            format!(
                "Reads {} indexes and {} tables of {} ({}) page by page, and every row against its indexes",
                relations.iter().filter(|relation| relation.index).count(),
                relations.iter().filter(|relation| !relation.index).count(),
                server.name(),
                size_text(bytes)
            ),
            "reading and writing go on meanwhile; nothing is left in the database".to_owned(),
        ];
        plan.undo = String::from("Nothing to take back: it only reads.");
        if server.database != live.database {
            plan.findings
                .push(Finding::warning(format!("{} does not serve yet: a swap meanwhile ends this.", server.database)));
        }
        plan.basis = serde_json::to_value(Basis { database: server.database, oid }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        let server = Server { database: basis.database, ..Server::of(&cx.config, &self.database).await? };
        let session = open(cx, &server).await?;
        is_still(&session, &server, basis.oid).await?;
        let relations = list(&session).await?;
        let total: u64 = relations.iter().map(|relation| relation.bytes).sum();
        let (mut done, mut wrong) = (0, Vec::new());
        for relation in &relations {
            io.notice(Notice::Progress {
                attempt: io.attempt,
                label: relation.name.clone(),
                done,
                total: Some(total),
                unit: "bytes".to_owned(),
                left: None,
                stalled: None,
            });
            let found = tokio::select! {
                () = io.cancel.cancelled() => return Ok(Ran::Stopped("it only read".to_owned())),
                found = look(&session, relation) => found?,
            };
            if let Some(found) = found {
                io.line(&found);
                wrong.push(found);
            }
            done += relation.bytes;
        }
        session.close().await;
        if !wrong.is_empty() {
            return Err(WorkerError::new(
                WHAT,
                server.name(),
                wrong.join(" "),
                "An index: REINDEX INDEX CONCURRENTLY mends it. A table: swap back (u on Swap), or call Database Reliability (E).",
            ));
        }
        let indexes = relations.iter().filter(|relation| relation.index).count();
        let evidence = format!(
            "{indexes} indexes and {} tables read page by page ({}); none is damaged",
            relations.len() - indexes,
            size_text(total)
        );
        io.line(&evidence);
        Ok(Ran::Done(Done { evidence: vec![evidence], facts: Vec::new() }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only read; check again".to_owned()))
    }
}

/// Whether the extension is there, or could be, and its functions may be called; else the server's reason.
async fn usable(session: &Session) -> Result<(), String> {
    let ask = async {
        session.batch("look for amcheck", BEGIN).await?;
        let schema = schema(session).await?;
        let sql = "SELECT pg_catalog.has_function_privilege(($1 || '.bt_index_check(regclass, boolean)')::regprocedure, 'EXECUTE')";
        Ok::<bool, WorkerError>(session.one("look for amcheck", sql, &[&schema]).await?.get(0))
    };
    let found = ask.await;
    session.batch("look for amcheck", "ROLLBACK").await.map_err(|error| error.cause)?;
    match found {
        Ok(true) => Ok(()),
        Ok(false) => Err("it may not execute bt_index_check".to_owned()),
        Err(error) => Err(error.cause.trim_end_matches('.').to_owned()),
    }
}

/// The schema that the extension is in, quoted.
async fn schema(session: &Session) -> Result<String, WorkerError> {
    let sql = "SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e \
         JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'";
    Ok(session.one("look for amcheck", sql, &[]).await?.get(0))
}

/// The valid B-tree indexes, and the tables and materialized views that the extension can read.
async fn list(session: &Session) -> Result<Vec<Relation>, WorkerError> {
    let tables = if session.identity().await?.major >= 14 { "c.relkind IN ('r', 'm')" } else { "false" };
    let sql = format!(
        "SELECT c.oid, n.nspname || '.' || c.relname, pg_catalog.pg_relation_size(c.oid), c.relkind = 'i' FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am a ON a.oid = c.relam \
         LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
         WHERE c.relpersistence = 'p' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
         AND ((c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid) OR (a.amname = 'heap' AND {tables})) ORDER BY 3 DESC, 2"
    );
    let rows = session.query("list indexes and tables", &sql, &[]).await?;
    let relation = |row: &tokio_postgres::Row| Relation {
        oid: row.get(0),
        name: row.get(1),
        bytes: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
        index: row.get(3),
    };
    Ok(rows.iter().map(relation).collect())
}

/// What is wrong with one of them. The extension reports a damaged index as an error, and a damaged table as rows.
async fn look(session: &Session, relation: &Relation) -> Result<Option<String>, WorkerError> {
    let doing = format!("check {}", relation.name);
    session.batch(&doing, BEGIN).await?;
    let found = async {
        let schema = schema(session).await?;
        if relation.index {
            let sql = format!("SELECT {schema}.bt_index_check($1::oid::regclass, true)");
            session.query(&doing, &sql, &[&relation.oid]).await?;
            return Ok(None);
        }
        let sql =
            format!("SELECT blkno, msg FROM {schema}.verify_heapam($1::oid::regclass, on_error_stop => true) LIMIT 1");
        let rows = session.query(&doing, &sql, &[&relation.oid]).await?;
        Ok(rows.first().map(|row| {
            let (block, said): (i64, String) = (row.get(0), row.get(1));
            format!("{}, block {block}: {said}.", relation.name)
        }))
    };
    let found: Result<Option<String>, WorkerError> = found.await;
    if session.is_closed() {
        return found;
    }
    session.batch(&doing, "ROLLBACK").await?;
    Ok(found.unwrap_or_else(|error| Some(format!("{}: {}", relation.name, error.cause))))
}
