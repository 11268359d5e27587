//! Proving that the database holds what the dump holds, and that the service can read it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::archive::Toc;
use crate::incident::{Fact, Finding, ObjectRef, Plan, TargetIdentity};
use crate::runbook::{StepId, TargetRef};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::count::{Counted, count};
use super::server::{Server, ident};
use super::session::Session;
use super::{identify, local_copy, tools, unreadable_basis};

const NEXT: &str = "Keep the writers stopped. Restore again (r on the restore step), or go back to the safety dump.";

/// Compares a database with the dump that was restored last.
#[derive(Debug)]
pub struct ProveTables {
    /// The database.
    pub database: TargetRef,
    /// The restoring step.
    pub restore: StepId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    object: ObjectRef,
    /// The database that is looked at: the live one, or the one beside it.
    database: String,
}

#[async_trait]
impl Worker for ProveTables {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let server = Server::of(&cx.config, &self.database).await?;
        let (object, database) = self.restored(cx, &server)?;
        let server = Server { database, ..server };
        let mut plan = Plan::new(cx.step.clone(), identify(cx, &self.database).await?);
        let app = server.settings.app_role.as_deref().unwrap_or(&server.settings.owner);
        plan.effects = vec![
            format!("Counts the rows of {} and of every table of {}, in one transaction that only reads", object.key, server.name()),
            "looks for missing tables, invalid indexes, unchecked constraints, disabled triggers, empty views, sequences that lag".to_owned(),
            format!("reads every table as {app}"),
            "refreshes the planner's statistics at the end (ANALYZE), without which queries are slow after a restore".to_owned(),
        ];
        plan.commands = vec![format!(
            "psql -h {} -p {} -U {} {} -c 'SELECT count(*) FROM …' # for each table",
            server.host, server.port, server.user, server.database
        )];
        plan.basis = serde_json::to_value(Basis { object, database: server.database }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis =
            serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable_basis(&plan.target, &error))?;
        let stopped = || Ok(Ran::Stopped("it only read".to_owned()));
        let Some(path) = local_copy::fetch(cx, io, &basis.object).await? else { return stopped() };
        tokio::select! {
            () = io.cancel.cancelled() => stopped(),
            proved = self.prove(cx, io, path, basis.database) => proved,
        }
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only reads; prove again".to_owned()))
    }
}

/// The dump of the newest restore, whichever step did it.
fn restored_last(cx: &Context, server: &Server) -> Result<ObjectRef, WorkerError> {
    let restores = cx.knowledge.facts.iter().filter_map(|known| match &known.fact {
        Fact::Restored { object, at, .. } => Some((*at, object.clone())),
        _ => None,
    });
    restores.max_by_key(|(at, _)| *at).map(|(_, object)| object).ok_or_else(|| {
        WorkerError::new(
            "find the restored dump",
            server.name(),
            "Nothing was restored yet.",
            "Restore the database first.",
        )
    })
}

impl ProveTables {
    /// The dump that the restoring step brought back, and the database that holds it now.
    fn restored(&self, cx: &Context, server: &Server) -> Result<(ObjectRef, String), WorkerError> {
        let beside = cx.knowledge.facts_of(&self.restore).filter_map(|fact| match fact {
            Fact::RestoredBeside { database, oid, object, .. } => Some((database, *oid, object)),
            _ => None,
        });
        let Some((database, oid, object)) = beside.last() else {
            return Ok((restored_last(cx, server)?, server.database.clone()));
        };
        let swapped_in =
            cx.knowledge.facts.iter().any(
                |known| matches!(&known.fact, Fact::Swapped { live_oid, .. } if known.standing && *live_oid == oid),
            );
        Ok((object.clone(), if swapped_in { server.database.clone() } else { database.clone() }))
    }

    async fn prove(&self, cx: &Context, io: &Io, path: PathBuf, database: String) -> Result<Ran, WorkerError> {
        let server = Server { database, ..Server::of(&cx.config, &self.database).await? };
        let session = server.connect(&cx.knowledge.incident, "prove").await?;
        let identity = session.identity().await?;
        let tool = tools::find("pg_restore", &server.settings, identity.major).await?;
        let toc = local_copy::local_toc(&path).await?;
        io.line("counting the dump's rows");
        let counted = count(&tool, &path, &toc).await?;
        let mut wrong = Vec::new();
        let mut evidence = vec![same_rows(&session, &server, &toc, &counted, io, &mut wrong).await?];
        evidence.push(sound(&session, &toc, &mut wrong).await?);
        evidence.push(sequences(&session, &server, &mut wrong).await?);
        let role = server.settings.app_role.clone().unwrap_or_else(|| server.settings.owner.clone());
        evidence.push(readable(&session, &server, &role, &counted, &mut wrong).await?);
        for line in evidence.iter().chain(&wrong) {
            io.line(line);
        }
        if !wrong.is_empty() {
            return Err(WorkerError::new("prove the tables", server.name(), wrong.join(" "), NEXT));
        }
        io.line("refreshing the planner's statistics");
        session
            .batch(
                "refresh the planner's statistics",
                &format!("SET ROLE {}; ANALYZE; RESET ROLE", ident(&server.settings.owner)),
            )
            .await?;
        evidence.push("The planner's statistics are fresh".to_owned());
        session.close().await;
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }
}

fn quoted(table: &Counted) -> String {
    format!("{}.{}", ident(&table.schema), ident(&table.table))
}

/// `312004` as `312,004`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Every table of the dump is there, with as many rows.
async fn same_rows(
    session: &Session,
    server: &Server,
    toc: &Toc,
    counted: &[Counted],
    io: &Io,
    wrong: &mut Vec<String>,
) -> Result<String, WorkerError> {
    let doing = "count the rows";
    session.batch(doing, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    session.batch(doing, &format!("SET LOCAL ROLE {}", ident(&server.settings.owner))).await?;
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f')";
    let there: BTreeSet<(String, String)> =
        session.query(doing, sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let tables = toc.entries.iter().filter(|entry| entry.desc == "TABLE");
    let missing: Vec<String> = tables
        .filter(|entry| !there.contains(&(entry.namespace.clone().unwrap_or_default(), entry.tag.clone())))
        .map(crate::archive::TocEntry::name)
        .collect();
    if !missing.is_empty() {
        wrong.push(format!("Missing: {}.", missing.join(", ")));
    }
    let mut rows = 0;
    for (at, table) in counted.iter().enumerate() {
        if !there.contains(&(table.schema.clone(), table.table.clone())) {
            continue;
        }
        let name = format!("{}.{}", table.schema, table.table);
        io.progress(format!("count {name}"), at as u64, Some(counted.len() as u64), "tables");
        // ONLY: what a table inherits is counted with the heir.
        let row = session.one(doing, &format!("SELECT count(*) FROM ONLY {}", quoted(table)), &[]).await?;
        let found = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        rows += found;
        if found != table.rows {
            wrong.push(format!("{name} has {} rows, and the dump {}.", thousands(found), thousands(table.rows)));
        }
    }
    session.batch(doing, "COMMIT").await?;
    let with_data = toc.summary().tables_with_data as usize;
    let uncounted = if with_data > counted.len() {
        format!("; {} tables, dumped as INSERTs, not counted", with_data - counted.len())
    } else {
        String::new()
    };
    Ok(format!(
        "{} tables, {} rows {}{uncounted}",
        counted.len(),
        thousands(rows),
        if wrong.is_empty() { "equal to the dump" } else { "compared with the dump" }
    ))
}

/// Nothing is left half done that the dump has whole.
async fn sound(session: &Session, toc: &Toc, wrong: &mut Vec<String>) -> Result<String, WorkerError> {
    let doing = "look for what is half done";
    let dumped_with = |words: &str, name: &str| {
        toc.entries
            .iter()
            .any(|entry| entry.definition.as_deref().is_some_and(|sql| sql.contains(words) && sql.contains(name)))
    };
    let checks: [(&str, &str, Option<&str>); 4] = [
        (
            "Invalid indexes",
            "SELECT indexrelid::regclass::text, '' FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid WHERE (NOT indisvalid OR NOT indisready) AND c.relkind <> 'p'",
            None,
        ),
        (
            "Constraints that were not checked",
            "SELECT conrelid::regclass::text || ' ' || conname, conname::text FROM pg_catalog.pg_constraint WHERE NOT convalidated",
            Some("NOT VALID"),
        ),
        (
            "Disabled triggers",
            "SELECT tgrelid::regclass::text || ' ' || tgname, tgname::text FROM pg_catalog.pg_trigger WHERE tgenabled = 'D' AND NOT tgisinternal",
            Some("DISABLE TRIGGER"),
        ),
        (
            "Disabled foreign keys",
            "SELECT DISTINCT tgrelid::regclass::text, '' FROM pg_catalog.pg_trigger WHERE tgenabled = 'D' AND tgisinternal",
            None,
        ),
    ];
    for (what, sql, excuse) in checks {
        let rows = session.query(doing, sql, &[]).await?;
        let found: Vec<String> = rows
            .iter()
            .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
            .filter(|(_, name)| !excuse.is_some_and(|words| dumped_with(words, name)))
            .map(|(shown, _)| shown)
            .collect();
        if !found.is_empty() {
            wrong.push(format!("{what}: {}.", found.join(", ")));
        }
    }
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND NOT c.relispopulated";
    let filled = |schema: &str, name: &str| {
        toc.entries.iter().any(|entry| {
            entry.desc == "MATERIALIZED VIEW DATA" && entry.tag == name && entry.namespace.as_deref() == Some(schema)
        })
    };
    let rows = session.query(doing, sql, &[]).await?;
    let empty: Vec<String> = rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
        .filter(|(schema, name)| filled(schema, name))
        .map(|(schema, name)| format!("{schema}.{name}"))
        .collect();
    if !empty.is_empty() {
        wrong.push(format!("Materialized views without their data: {}.", empty.join(", ")));
    }
    Ok("Indexes valid, constraints checked, triggers on, materialized views filled: looked at".to_owned())
}

/// A sequence behind its column would give out keys that are taken.
async fn sequences(session: &Session, server: &Server, wrong: &mut Vec<String>) -> Result<String, WorkerError> {
    let doing = "look at the sequences";
    let sql = "SELECT n.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, a.attname::text FROM pg_catalog.pg_depend d \
         JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
         JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0 \
         JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) \
         WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') ORDER BY 1, 2";
    let rows = session.query(doing, sql, &[]).await?;
    session.batch(doing, &format!("SET ROLE {}", ident(&server.settings.owner))).await?;
    for row in &rows {
        let part = |at: usize| -> String { row.get(at) };
        let (sequence, table) =
            (format!("{}.{}", ident(&part(0)), ident(&part(1))), format!("{}.{}", ident(&part(2)), ident(&part(3))));
        let sql = format!(
            "SELECT (SELECT last_value FROM {sequence}), (SELECT max({})::bigint FROM {table})",
            ident(&part(4))
        );
        let values = session.one(doing, &sql, &[]).await?;
        let (last, most): (i64, Option<i64>) = (values.get(0), values.get(1));
        if let Some(most) = most.filter(|most| *most > last) {
            wrong.push(format!(
                "The sequence {}.{} stands at {last}, behind {}.{} with {most}.",
                part(0),
                part(1),
                part(3),
                part(4)
            ));
        }
    }
    session.batch(doing, "RESET ROLE").await?;
    Ok(format!("{} sequences looked at, against the highest key of their column", rows.len()))
}

/// The service's role may read every table.
async fn readable(
    session: &Session,
    server: &Server,
    role: &str,
    tables: &[Counted],
    wrong: &mut Vec<String>,
) -> Result<String, WorkerError> {
    let doing = "read as the service";
    let as_role = session.batch(doing, &format!("SET ROLE {}", ident(role))).await;
    let mut denied = Vec::new();
    for table in tables {
        let fine = if as_role.is_ok() {
            session.batch(doing, &format!("SELECT FROM {} LIMIT 1", quoted(table))).await.is_ok()
        } else {
            let sql = "SELECT coalesce(has_schema_privilege($1, to_regnamespace($2), 'USAGE') AND has_table_privilege($1, to_regclass($3), 'SELECT'), false)";
            session.one(doing, sql, &[&role, &ident(&table.schema), &quoted(table)]).await?.get(0)
        };
        if !fine {
            denied.push(format!("{}.{}", table.schema, table.table));
        }
    }
    if as_role.is_ok() {
        session.batch(doing, "RESET ROLE").await?;
    }
    if denied.is_empty() {
        let how = if as_role.is_ok() { "reads" } else { "has the right to read" };
        return Ok(format!("{role} {how} all {} tables", tables.len()));
    }
    wrong.push(format!("{role} cannot read {} on {}.", denied.join(", "), server.name()));
    Ok(format!("{role} was tried on {} tables", tables.len()))
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn large_numbers_are_readable() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (312_004, "312,004"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }
}
