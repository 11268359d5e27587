//! Foreign keys that a restore left for later: they bind new rows, and the dump's rows are looked at here.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::incident::{Fact, Finding, Notice, Plan, TargetIdentity};
use crate::runbook::{StepId, TargetRef};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::super::beside::made;
use super::super::server::{Server, ident};
use super::super::session::Session;
use super::super::{identify, unreadable_basis};
use super::{is_still, open};

const WHAT: &str = "check the foreign keys";
const LEFT: &str = "What was checked stays checked; the rest can be checked at any time.";

/// Checks the foreign keys that a restore left for later.
#[derive(Debug)]
pub struct CheckForeignKeys {
    /// The live database.
    pub database: TargetRef,
    /// The restoring step.
    pub restore: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    database: String,
    oid: u32,
    keys: Vec<String>,
}

/// Foreign keys of the session's database that are not checked for all rows, as `schema.table name`.
pub(in super::super) async fn unchecked(session: &Session) -> Result<Vec<String>, WorkerError> {
    Ok(list(session).await?.into_iter().map(|key| key.name).collect())
}

struct Key {
    /// `schema.table name`, as an archive's entry calls it.
    name: String,
    table: String,
    constraint: String,
}

async fn list(session: &Session) -> Result<Vec<Key>, WorkerError> {
    // The larger table is begun with what takes long.
    let sql = "SELECT n.nspname::text, c.relname::text, k.conname::text FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype = 'f' AND NOT k.convalidated ORDER BY c.relpages DESC, 1, 2, 3";
    let rows = session.query("list the foreign keys that are not checked", sql, &[]).await?;
    let key = |row: &tokio_postgres::Row| {
        let (schema, table, constraint): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        Key {
            name: format!("{schema}.{table} {constraint}"),
            table: format!("{}.{}", ident(&schema), ident(&table)),
            constraint: ident(&constraint),
        }
    };
    Ok(rows.iter().map(key).collect())
}

#[async_trait]
impl Worker for CheckForeignKeys {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let live = Server::of(&cx.config, &self.database).await?;
        let mut plan = Plan::new(cx.step.clone(), identify(cx, &self.database).await?);
        let Some(made) = made(cx, &live, &self.restore).await?.filter(|made| !made.unchecked.is_empty()) else {
            plan.nothing_to_do = Some("every foreign key was checked while it was restored".to_owned());
            return Ok(plan);
        };
        let session = open(cx, &made.server).await?;
        let mut keys = list(&session).await?;
        session.close().await;
        keys.retain(|key| made.unchecked.contains(&key.name));
        let names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
        if keys.is_empty() {
            plan.effects =
                vec![format!("Every foreign key of {} is checked already: this is recorded", made.server.name())];
            let basis = Basis { database: made.server.database, oid: made.oid, keys: Vec::new() };
            plan.basis = serde_json::to_value(basis).unwrap_or_default();
            return Ok(plan);
        }
        plan.effects = vec![
            format!(
                "Looks at every row of {} for {} foreign keys: {}",
                made.server.name(),
                keys.len(),
                names.join(", ")
            ),
            "reading and writing go on meanwhile; the server reads each table once, so it has more to do".to_owned(),
            "only then does the database count as restored".to_owned(),
        ];
        plan.commands = keys
            .iter()
            .map(|key| format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", key.table, key.constraint))
            .collect();
        plan.undo = String::from("Nothing to take back: no row is changed.");
        if made.server.database != live.database {
            plan.findings.push(Finding::warning(format!(
                "{} does not serve yet: a swap meanwhile ends this.",
                made.server.database
            )));
        }
        let basis = Basis { database: made.server.database, oid: made.oid, keys: names };
        plan.basis = serde_json::to_value(basis).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis = basis(plan)?;
        let server = Server { database: basis.database.clone(), ..Server::of(&cx.config, &self.database).await? };
        let session = open(cx, &server).await?;
        is_still(&session, &server, basis.oid).await?;
        session.batch(WHAT, &format!("SET ROLE {}", ident(&server.settings.owner))).await?;
        let keys = list(&session).await?;
        let mut wrong = Vec::new();
        for (done, key) in keys.iter().filter(|key| basis.keys.contains(&key.name)).enumerate() {
            io.notice(Notice::Progress {
                attempt: io.attempt,
                label: key.name.clone(),
                done: done as u64,
                total: Some(basis.keys.len() as u64),
                unit: "foreign keys".to_owned(),
                left: None,
                stalled: None,
            });
            let sql = format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", key.table, key.constraint);
            io.line(&sql);
            let doing = format!("check {}", key.name);
            let checked = tokio::select! {
                () = io.cancel.cancelled() => return Ok(Ran::Stopped(LEFT.to_owned())),
                checked = session.batch(&doing, &sql) => checked,
            };
            match checked {
                Ok(()) => io.line(format!("{} holds for every row", key.name)),
                // Whatever one key says, the next one is worth asking.
                Err(error) if !session.is_closed() => wrong.push(format!("{}: {}", key.name, error.cause)),
                Err(error) => return Err(WorkerError { cause: format!("{} {LEFT}", error.cause), ..error }),
            }
        }
        session.close().await;
        if wrong.is_empty() {
            return Ok(Ran::Done(done(&basis)));
        }
        Err(WorkerError::new(
            WHAT,
            server.name(),
            format!("{} {LEFT}", wrong.join(" ")),
            "Rows that refer to nothing: they were so in the dump, or a writer's. Find them (c copies the statements), decide, then retry (r); or swap back (u on Swap).",
        ))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let basis = basis(plan)?;
        let server = Server { database: basis.database.clone(), ..Server::of(&cx.config, &self.database).await? };
        let session = open(cx, &server).await?;
        is_still(&session, &server, basis.oid).await?;
        let mut left = unchecked(&session).await?;
        session.close().await;
        left.retain(|name| basis.keys.contains(name));
        Ok(if left.is_empty() {
            Probe::Happened(done(&basis))
        } else {
            Probe::DidNot(format!("these are not checked yet: {}", left.join(", ")))
        })
    }
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))
}

fn done(basis: &Basis) -> Done {
    let evidence = match basis.keys.len() {
        0 => "every foreign key was checked already".to_owned(),
        count => format!("{count} foreign keys hold for every row: {}", basis.keys.join(", ")),
    };
    Done { evidence: vec![evidence], facts: vec![Fact::ForeignKeysChecked { oid: basis.oid }] }
}
