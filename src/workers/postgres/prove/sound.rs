//! Nothing is left half done, and no sequence lags behind its column.

use std::collections::BTreeMap;

use crate::archive::Toc;
use crate::workers::WorkerError;

use super::super::server::{Server, ident};
use super::super::session::Session;

/// Nothing is left half done that the dump has whole; the foreign keys of `later` are not checked yet, as was chosen. A
/// line for each thing looked at.
pub(super) async fn sound(
    session: &Session,
    toc: &Toc,
    later: &[String],
    wrong: &mut Vec<String>,
) -> Result<Vec<String>, WorkerError> {
    let doing = "look for what is half done";
    let dumped_with = |words: &str, name: &str| {
        toc.entries
            .iter()
            .any(|entry| entry.definition.as_deref().is_some_and(|sql| sql.contains(words) && sql.contains(name)))
    };
    let checks: [(&str, &str, &str, Option<&str>); 4] = [
        (
            "Invalid indexes",
            "All indexes are valid",
            "SELECT indexrelid::regclass::text, '' FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid WHERE (NOT indisvalid OR NOT indisready) AND c.relkind <> 'p'",
            None,
        ),
        (
            "Constraints that were not checked",
            "All constraints are checked",
            "SELECT n.nspname || '.' || c.relname || ' ' || k.conname, k.conname::text FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT k.convalidated",
            Some("NOT VALID"),
        ),
        (
            "Disabled triggers",
            "All triggers are on",
            "SELECT tgrelid::regclass::text || ' ' || tgname, tgname::text FROM pg_catalog.pg_trigger WHERE tgenabled = 'D' AND NOT tgisinternal",
            Some("DISABLE TRIGGER"),
        ),
        (
            "Disabled foreign keys",
            "All foreign keys are enforced",
            "SELECT DISTINCT tgrelid::regclass::text, '' FROM pg_catalog.pg_trigger WHERE tgenabled = 'D' AND tgisinternal",
            None,
        ),
    ];
    let mut lines = Vec::new();
    for (what, good, sql, excuse) in checks {
        let rows = session.query(doing, sql, &[]).await?;
        let found: Vec<String> = rows
            .iter()
            .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
            .filter(|(_, name)| !excuse.is_some_and(|words| dumped_with(words, name)))
            .map(|(shown, _)| shown)
            .filter(|shown| !later.contains(shown))
            .collect();
        if found.is_empty() {
            let excused = if rows.is_empty() {
                String::new()
            } else {
                format!(", but for {} as chosen or as dumped", rows.len())
            };
            lines.push(format!("{good}{excused}"));
        } else {
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
    if empty.is_empty() {
        lines.push("All materialized views are filled".to_owned());
    } else {
        wrong.push(format!("Materialized views without their data: {}.", empty.join(", ")));
    }
    Ok(lines)
}

/// The dump's extensions are there; in the versions that the live database has, where that can be asked.
pub(super) async fn extensions(
    session: &Session,
    toc: &Toc,
    live: Option<Session>,
    wrong: &mut Vec<String>,
) -> Result<String, WorkerError> {
    let doing = "look at the extensions";
    let sql = "SELECT extname::text, extversion FROM pg_catalog.pg_extension";
    let read = async |session: &Session| -> Result<BTreeMap<String, String>, WorkerError> {
        Ok(session.query(doing, sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    let there = read(session).await?;
    let before = match live {
        Some(live) => {
            let found = read(&live).await.unwrap_or_default();
            live.close().await;
            found
        }
        None => BTreeMap::new(),
    };
    let mut said = Vec::new();
    for name in toc.entries.iter().filter(|entry| entry.desc == "EXTENSION").map(|entry| &entry.tag) {
        match (there.get(name), before.get(name)) {
            (None, _) => wrong.push(format!("The extension {name} is missing.")),
            (Some(now), Some(before)) if now != before => {
                said.push(format!("{name} {now} (the live database has {before})"));
            }
            (Some(now), _) => said.push(format!("{name} {now}")),
        }
    }
    Ok(if said.is_empty() {
        "The dump has no extensions".to_owned()
    } else {
        format!("Extensions: {}", said.join(", "))
    })
}

/// A sequence behind its column would give out keys that are taken.
pub(super) async fn sequences(
    session: &Session,
    server: &Server,
    wrong: &mut Vec<String>,
) -> Result<String, WorkerError> {
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
            "SELECT s.last_value, s.is_called, (SELECT max({})::bigint FROM {table}) FROM {sequence} s",
            ident(&part(4))
        );
        let values = session.one(doing, &sql, &[]).await?;
        let (last, called, most): (i64, bool, Option<i64>) = (values.get(0), values.get(1), values.get(2));
        // One that was not called yet gives out its value itself.
        if let Some(most) = most.filter(|most| if called { *most > last } else { *most >= last }) {
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
