//! The planner's statistics: without them queries are slow after a restore.

use std::sync::{Mutex, PoisonError};

use crate::workers::WorkerError;

use super::super::catalogue::quoted;
use super::super::server::{Server, ident};
use super::super::session::Session;

const DOING: &str = "refresh the planner's statistics";

/// Gathers the statistics that nobody has gathered yet since the tables were made.
pub(super) async fn analyze(sessions: &[Session], server: &Server) -> Result<String, WorkerError> {
    let Some(first) = sessions.first() else { return Ok(String::new()) };
    // Where the server's own counters were lost, everything is gathered again, which does no harm.
    let sql = "SELECT n.nspname::text, c.relname::text, coalesce(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) IS NULL \
         OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext e WHERE e.stxrelid = c.oid) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY c.relpages";
    let rows = first.query(DOING, sql, &[]).await?;
    let left: Vec<String> = rows
        .iter()
        .filter(|row| row.get(2))
        .map(|row| quoted(&row.get::<_, String>(0), &row.get::<_, String>(1)))
        .collect();
    let (all, now) = (rows.len(), left.len());
    let left = Mutex::new(left);
    let gather = async |session: &Session| -> Result<(), WorkerError> {
        session.batch(DOING, &format!("SET ROLE {}", ident(&server.settings.owner))).await?;
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(table) = next else { break };
            session.batch(DOING, &format!("ANALYZE {table}")).await?;
        }
        session.batch(DOING, "RESET ROLE").await
    };
    futures_util::future::try_join_all(sessions.iter().map(gather)).await?;
    Ok(format!(
        "The planner's statistics are fresh: of {all} tables, {now} were analyzed now and the others while they were restored"
    ))
}
