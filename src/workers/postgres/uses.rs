//! Objects that came after the dump and use a dumped type or function.
//!
//! A later table whose trigger runs a dumped function, or whose column has a dumped enum, makes `DROP FUNCTION` or
//! `DROP TYPE` fail. Such objects on a dumped table do no harm: they go with their table, which is dropped before.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use crate::archive::Toc;
use crate::workers::WorkerError;

use super::catalogue::{Later, full, kind, quoted, routines};
use super::server::ident;
use super::session::Session;

/// Each use of a type or function of the user's, with the relation, routine or type that goes when the use goes: the
/// table of a column, default, trigger, constraint, policy or index, the view of a rule. Arrays stand for their
/// elements. 16384 is the first oid that is not the system's own (FirstNormalObjectId in transam.h).
const USES: &str = "WITH uses AS ( \
   SELECT d.classid, d.objid, d.refclassid, CASE WHEN t.typelem <> 0 AND t.typcategory = 'A' THEN t.typelem ELSE d.refobjid END AS used, \
     CASE d.classid \
       WHEN 'pg_catalog.pg_class'::regclass THEN coalesce((SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = d.objid), d.objid) \
       WHEN 'pg_catalog.pg_rewrite'::regclass THEN (SELECT r.ev_class FROM pg_catalog.pg_rewrite r WHERE r.oid = d.objid) \
       WHEN 'pg_catalog.pg_attrdef'::regclass THEN (SELECT a.adrelid FROM pg_catalog.pg_attrdef a WHERE a.oid = d.objid) \
       WHEN 'pg_catalog.pg_trigger'::regclass THEN (SELECT g.tgrelid FROM pg_catalog.pg_trigger g WHERE g.oid = d.objid) \
       WHEN 'pg_catalog.pg_constraint'::regclass THEN (SELECT k.conrelid FROM pg_catalog.pg_constraint k WHERE k.oid = d.objid) \
       WHEN 'pg_catalog.pg_policy'::regclass THEN (SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE p.oid = d.objid) \
     END AS relation, \
     CASE d.classid \
       WHEN 'pg_catalog.pg_type'::regclass THEN d.objid \
       WHEN 'pg_catalog.pg_constraint'::regclass THEN (SELECT k.contypid FROM pg_catalog.pg_constraint k WHERE k.oid = d.objid) \
     END AS type \
   FROM pg_catalog.pg_depend d \
   LEFT JOIN pg_catalog.pg_type t ON d.refclassid = 'pg_catalog.pg_type'::regclass AND t.oid = d.refobjid \
   WHERE d.deptype IN ('n', 'a') AND d.refobjid >= 16384 \
   AND d.refclassid IN ('pg_catalog.pg_type'::regclass, 'pg_catalog.pg_proc'::regclass)) \
 SELECT DISTINCT coalesce(c.relkind::text, ''), coalesce(n.nspname::text, ''), coalesce(c.relname, p.proname, t.typname, '')::text, \
   coalesce(g.tgname::text, ''), coalesce(p.oid::regprocedure::text, ''), coalesce(t.typtype = 'd', false), \
   ut.oid IS NOT NULL, un.nspname::text, coalesce(ut.typname, up.proname)::text \
 FROM uses u \
 LEFT JOIN pg_catalog.pg_class c ON c.oid = u.relation \
 LEFT JOIN pg_catalog.pg_proc p ON u.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = u.objid \
 LEFT JOIN pg_catalog.pg_type t ON t.oid = u.type \
 LEFT JOIN pg_catalog.pg_trigger g ON u.classid = 'pg_catalog.pg_trigger'::regclass AND g.oid = u.objid \
 JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, p.pronamespace, t.typnamespace) \
 LEFT JOIN pg_catalog.pg_type ut ON u.refclassid = 'pg_catalog.pg_type'::regclass AND ut.oid = u.used \
 LEFT JOIN pg_catalog.pg_proc up ON u.refclassid = 'pg_catalog.pg_proc'::regclass AND up.oid = u.used \
 JOIN pg_catalog.pg_namespace un ON un.oid = coalesce(ut.typnamespace, up.pronamespace) \
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' AND e.objid IN (c.oid, p.oid, t.oid)) \
 ORDER BY 2, 3, 4";

/// What was made later and uses something that the dump drops. `relations` are the dumped ones: schema and name.
pub(super) async fn later(
    session: &Session,
    toc: &Toc,
    relations: &BTreeSet<(String, String)>,
) -> Result<Vec<Later>, WorkerError> {
    let types: BTreeSet<(&str, &str)> = toc
        .entries
        .iter()
        .filter(|entry| matches!(entry.desc.as_str(), "TYPE" | "DOMAIN"))
        .filter_map(|entry| Some((entry.namespace.as_deref()?, entry.tag.as_str())))
        .collect();
    let dumped = Dumped { relations, types, routines: routines(toc) };
    let rows = session.query("look for uses that came later", USES, &[]).await?;
    Ok(rows.iter().map(Use::of).filter_map(|found| dumped.judge(&found)).collect())
}

struct Dumped<'a> {
    relations: &'a BTreeSet<(String, String)>,
    types: BTreeSet<(&'a str, &'a str)>,
    routines: BTreeSet<(&'a str, &'a str)>,
}

/// A row of [`USES`].
struct Use {
    /// Of the using relation; empty where it is none.
    relkind: String,
    schema: String,
    name: String,
    /// The using trigger; empty where it is none.
    trigger: String,
    /// Of the using routine; empty where it is none.
    signature: String,
    domain: bool,
    /// A type is used; else a routine.
    of_type: bool,
    used_schema: String,
    used_name: String,
}

impl Use {
    fn of(row: &Row) -> Self {
        Self {
            relkind: row.get(0),
            schema: row.get(1),
            name: row.get(2),
            trigger: row.get(3),
            signature: row.get(4),
            domain: row.get(5),
            of_type: row.get(6),
            used_schema: row.get(7),
            used_name: row.get(8),
        }
    }
}

impl Dumped<'_> {
    fn judge(&self, found: &Use) -> Option<Later> {
        let used = (found.used_schema.as_str(), found.used_name.as_str());
        // Every table has a type of its own name, which goes with it.
        let of_relation = self.relations.contains(&(found.used_schema.clone(), found.used_name.clone()));
        let is_dropped =
            if found.of_type { self.types.contains(&used) || of_relation } else { self.routines.contains(&used) };
        let own = (found.schema.as_str(), found.name.as_str());
        let is_dumped = match (found.relkind.as_str(), found.signature.is_empty()) {
            ("", true) | ("c", _) => self.types.contains(&own),
            ("", false) => self.routines.contains(&own),
            _ => self.relations.contains(&(found.schema.clone(), found.name.clone())),
        };
        if !is_dropped || is_dumped {
            return None;
        }
        let (name, sql) = (full(&found.schema, &found.name), quoted(&found.schema, &found.name));
        let (what, drop) = match found.relkind.as_str() {
            _ if !found.trigger.is_empty() => (
                format!("trigger {} of {name}", found.trigger),
                format!("DROP TRIGGER {} ON {sql}", ident(&found.trigger)),
            ),
            "" if !found.signature.is_empty() => {
                (format!("function {}", found.signature), format!("DROP ROUTINE {}", found.signature))
            }
            "" if found.domain => (format!("domain {name}"), format!("DROP DOMAIN {sql}")),
            "" | "c" => (format!("type {name}"), format!("DROP TYPE {sql}")),
            relkind => (format!("{} {name}", kind(relkind).to_lowercase()), format!("DROP {} {sql}", kind(relkind))),
        };
        let of = match (found.of_type, of_relation) {
            (true, false) => "type ",
            (true, true) => "",
            (false, _) => "function ",
        };
        Some(Later { what, depends_on: format!("{of}{}", full(&found.used_schema, &found.used_name)), drop })
    }
}
