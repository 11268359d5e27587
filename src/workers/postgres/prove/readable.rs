//! The service's role may read what was restored: rights that `--no-owner` or a wrong role lose are found here.

use crate::archive::Toc;
use crate::workers::WorkerError;

use super::super::catalogue::quoted;
use super::super::server::{Server, ident};
use super::super::session::Session;

/// The service's role may read every table.
pub(super) async fn readable(
    session: &Session,
    server: &Server,
    role: &str,
    toc: &Toc,
    wrong: &mut Vec<String>,
) -> Result<String, WorkerError> {
    let doing = "read as the service";
    let as_role = session.batch(doing, &format!("SET ROLE {}", ident(role))).await;
    let mut denied = Vec::new();
    // Every table with data of its own, however it was dumped.
    let tables: Vec<(&str, &str)> = toc
        .entries
        .iter()
        .filter(|entry| entry.desc == "TABLE DATA")
        .filter_map(|entry| Some((entry.namespace.as_deref()?, entry.tag.as_str())))
        .collect();
    for (schema, table) in &tables {
        let name = quoted(schema, table);
        let fine = if as_role.is_ok() {
            session.batch(doing, &format!("SELECT FROM {name} LIMIT 1")).await.is_ok()
        } else {
            let sql = "SELECT coalesce(has_schema_privilege($1, to_regnamespace($2), 'USAGE') AND has_table_privilege($1, to_regclass($3), 'SELECT'), false)";
            session.one(doing, sql, &[&role, &ident(schema), &name]).await?.get(0)
        };
        if !fine {
            denied.push(format!("{schema}.{table}"));
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
