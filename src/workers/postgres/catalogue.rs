//! The live catalogue against a dump: what the dump does not know of, and what that does to `pg_restore --clean`.
//!
//! `--clean` drops only what is in the dump and never cascades. A view, a foreign key or a table that came later and
//! depends on a dumped object therefore makes a `DROP` fail, and pg_restore stops half-way. So does a table that came
//! later and only shares a trigger's function or an enum with the dumped ones: [`super::uses`].

use std::collections::BTreeSet;

use crate::archive::Toc;
use crate::incident::Finding;
use crate::workers::WorkerError;

use super::server::ident;
use super::session::Session;
use super::uses;

/// Something that the dump does not hold, what it depends on, and what would drop it.
pub(super) struct Later {
    pub(super) what: String,
    pub(super) depends_on: String,
    pub(super) drop: String,
}

const RELATIONS: [&str; 5] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"];

/// What speaks against a restore of this dump over the session's database: in one transaction it fails for certain, so
/// that it is refused; else it is warned of.
pub(super) async fn findings(session: &Session, toc: &Toc, atomic: bool) -> Result<Vec<Finding>, WorkerError> {
    let dumped: BTreeSet<(String, String)> = toc
        .entries
        .iter()
        .filter(|entry| RELATIONS.contains(&entry.desc.as_str()))
        .map(|entry| (entry.namespace.clone().unwrap_or_default(), entry.tag.clone()))
        .collect();
    let mut later = rules(session, &dumped).await?;
    later.extend(keys(session, toc, &dumped).await?);
    later.extend(in_schemas(session, toc, &dumped).await?);
    later.extend(uses::later(session, toc, &dumped).await?);
    let mut seen = BTreeSet::new();
    later.retain(|later| seen.insert(later.what.clone()));
    let mut findings: Vec<Finding> = later
        .iter()
        .map(|later| {
            let stops = if atomic { "pg_restore would fail there" } else { "pg_restore stops there, half-way" };
            let text = format!(
                "{} is not in the dump and depends on {}: {stops}. Drop it first: {};",
                later.what, later.depends_on, later.drop
            );
            if atomic { Finding::blocking(text) } else { Finding::warning(text) }
        })
        .collect();
    let kept = relations(session).await?.into_iter().filter(|(schema, name, kind)| {
        matches!(kind.as_str(), "r" | "p")
            && !dumped.contains(&(schema.clone(), name.clone()))
            && !seen.iter().any(|what| what.ends_with(&full(schema, name)))
    });
    let kept: Vec<String> = kept.map(|(schema, name, _)| full(&schema, &name)).collect();
    if !kept.is_empty() {
        findings.push(Finding::warning(format!("Not in the dump, and left as they are: {}.", kept.join(", "))));
    }
    Ok(findings)
}

pub(super) fn full(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

pub(super) fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

pub(super) fn kind(relkind: &str) -> &'static str {
    match relkind {
        "v" => "VIEW",
        "m" => "MATERIALIZED VIEW",
        "S" => "SEQUENCE",
        "f" => "FOREIGN TABLE",
        _ => "TABLE",
    }
}

/// Ordinary relations that no extension brought: schema, name, kind.
async fn relations(session: &Session) -> Result<Vec<(String, String, String)>, WorkerError> {
    let sql = "SELECT n.nspname::text, c.relname::text, c.relkind::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i')) \
         ORDER BY 1, 2";
    let rows = session.query("list the tables", sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Views over dumped relations, tables that inherit from one, and defaults that draw from a dumped sequence.
async fn rules(session: &Session, dumped: &BTreeSet<(String, String)>) -> Result<Vec<Later>, WorkerError> {
    let sql = "WITH uses (dependent, used) AS ( \
           SELECT r.ev_class, d.refobjid FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid \
             WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class \
           UNION SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND NOT c.relispartition \
           UNION SELECT a.adrelid, d.refobjid FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_attrdef a ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND a.oid = d.objid \
             WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> a.adrelid) \
         SELECT DISTINCT dn.nspname::text, dc.relname::text, dc.relkind::text, un.nspname::text, uc.relname::text FROM uses \
         JOIN pg_catalog.pg_class dc ON dc.oid = dependent JOIN pg_catalog.pg_namespace dn ON dn.oid = dc.relnamespace \
         JOIN pg_catalog.pg_class uc ON uc.oid = used JOIN pg_catalog.pg_namespace un ON un.oid = uc.relnamespace \
         WHERE dc.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1, 2";
    let rows = session.query("look for objects that came later", sql, &[]).await?;
    let of = |row: &tokio_postgres::Row| -> Option<Later> {
        let (schema, name, relkind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let used: (String, String) = (row.get(3), row.get(4));
        let later = !dumped.contains(&(schema.clone(), name.clone())) && dumped.contains(&used);
        later.then(|| Later {
            what: format!("{} {}", kind(&relkind).to_lowercase(), full(&schema, &name)),
            depends_on: full(&used.0, &used.1),
            drop: format!("DROP {} {}", kind(&relkind), quoted(&schema, &name)),
        })
    };
    Ok(rows.iter().filter_map(of).collect())
}

/// Foreign keys to dumped tables.
async fn keys(session: &Session, toc: &Toc, dumped: &BTreeSet<(String, String)>) -> Result<Vec<Later>, WorkerError> {
    let known: BTreeSet<(String, String)> = toc
        .entries
        .iter()
        .filter(|entry| entry.desc == "FK CONSTRAINT")
        .map(|entry| (entry.namespace.clone().unwrap_or_default(), entry.tag.clone()))
        .collect();
    let sql = "SELECT n.nspname::text, c.relname::text, k.conname::text, un.nspname::text, uc.relname::text FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_class uc ON uc.oid = k.confrelid JOIN pg_catalog.pg_namespace un ON un.oid = uc.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2, 3";
    let rows = session.query("look for foreign keys that came later", sql, &[]).await?;
    let of = |row: &tokio_postgres::Row| -> Option<Later> {
        let (schema, table, key): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let used: (String, String) = (row.get(3), row.get(4));
        // The dump's own entry carries table and constraint in its tag.
        let later = !known.contains(&(schema.clone(), format!("{table} {key}"))) && dumped.contains(&used);
        later.then(|| Later {
            what: format!("foreign key {key} of {}", full(&schema, &table)),
            depends_on: full(&used.0, &used.1),
            drop: format!("ALTER TABLE {} DROP CONSTRAINT {}", quoted(&schema, &table), ident(&key)),
        })
    };
    Ok(rows.iter().filter_map(of).collect())
}

/// The dump's functions, procedures and aggregates: schema and name. Their tags hold the arguments as well, as pg_dump
/// writes them, which is not as the server shows them; so overloads of one name are not told apart.
pub(super) fn routines(toc: &Toc) -> BTreeSet<(&str, &str)> {
    let routines =
        toc.entries.iter().filter(|entry| matches!(entry.desc.as_str(), "FUNCTION" | "PROCEDURE" | "AGGREGATE"));
    routines.filter_map(|entry| Some((entry.namespace.as_deref()?, entry.tag.split('(').next()?))).collect()
}

/// Relations and functions in a schema that the dump drops.
async fn in_schemas(
    session: &Session,
    toc: &Toc,
    dumped: &BTreeSet<(String, String)>,
) -> Result<Vec<Later>, WorkerError> {
    let schemas: BTreeSet<&str> =
        toc.entries.iter().filter(|entry| entry.desc == "SCHEMA").map(|entry| entry.tag.as_str()).collect();
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<Later> = relations(session)
        .await?
        .into_iter()
        .filter(|(schema, name, _)| {
            schemas.contains(schema.as_str()) && !dumped.contains(&(schema.clone(), name.clone()))
        })
        .map(|(schema, name, relkind)| Later {
            what: format!("{} {}", kind(&relkind).to_lowercase(), full(&schema, &name)),
            depends_on: format!("its schema {schema}"),
            drop: format!("DROP {} {}", kind(&relkind), quoted(&schema, &name)),
        })
        .collect();
    let functions = routines(toc);
    let sql = "SELECT n.nspname::text, p.proname::text, p.oid::regprocedure::text FROM pg_catalog.pg_proc p \
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')";
    for row in session.query("look for functions that came later", sql, &[]).await? {
        let (schema, name, signature): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if schemas.contains(schema.as_str()) && !functions.contains(&(schema.as_str(), name.as_str())) {
            found.push(Later {
                what: format!("function {signature}"),
                depends_on: format!("its schema {schema}"),
                drop: format!("DROP ROUTINE {signature}"),
            });
        }
    }
    Ok(found)
}

/// Numbers of the dump's entries that the owner could not replace: extensions that belong to somebody else, as managed
/// services install them, and their comments.
pub(super) async fn foreign_extensions(
    session: &Session,
    toc: &Toc,
    owner: &str,
) -> Result<BTreeSet<i32>, WorkerError> {
    let sql = "SELECT e.extname::text FROM pg_catalog.pg_extension e WHERE NOT pg_catalog.pg_has_role($1, e.extowner, 'USAGE')";
    let rows = session.query("look at the extensions", sql, &[&owner]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(toc
        .entries
        .iter()
        .filter(|entry| {
            names.iter().any(|name| {
                (entry.desc == "EXTENSION" && entry.tag == *name)
                    || (entry.desc == "COMMENT"
                        && entry.tag.strip_prefix("EXTENSION ").map(|tag| tag.trim_matches('"')) == Some(name))
            })
        })
        .map(|entry| entry.dump_id)
        .collect())
}
