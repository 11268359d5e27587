//! What a restore that does not get on waits for.

use crate::incident::IncidentId;
use crate::workers::WorkerError;

use super::server::{Server, application};
use super::sessions::RESTORE;

/// Without any progress for so long, it is said that nothing moves.
pub(super) const AFTER_S: u64 = 60;

/// What the server says about the restore's sessions, with who is in their way and how to end that. None where one of
/// them is at work on the processor: not everything says how far it is, a foreign key's check does not.
///
/// # Errors
/// The server cannot be asked.
pub async fn why(server: &Server, incident: &IncidentId) -> Result<Option<String>, WorkerError> {
    let sql = "SELECT r.wait_event_type || '/' || r.wait_event, b.pid, \
         coalesce(b.usename::text, '?') || ' \"' || coalesce(b.application_name, '') || '\"' \
         FROM pg_catalog.pg_stat_activity r LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid = ANY (pg_catalog.pg_blocking_pids(r.pid)) \
         WHERE r.application_name = $1 AND r.state = 'active' ORDER BY b.pid NULLS LAST, r.wait_event NULLS FIRST";
    let session = server.connect_to("postgres", &application(incident, "looks")).await?;
    let rows = session.query("look what the restore waits for", sql, &[&application(incident, RESTORE)]).await?;
    session.close().await;
    let clean = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let event = |row: &tokio_postgres::Row| row.get::<_, Option<String>>(0);
    if rows.iter().any(|row| event(row).is_none()) {
        return Ok(None);
    }
    Ok(Some(match rows.first() {
        None => "no session of it does anything on the server".to_owned(),
        Some(row) => match row.get::<_, Option<i32>>(1) {
            Some(pid) => format!(
                "it waits for {}, held by session {pid} of {}; b shows and ends it: SELECT pg_terminate_backend({pid})",
                event(row).unwrap_or_default(),
                clean(row.get(2))
            ),
            None => format!("it waits for {}, and no other session is in its way", event(row).unwrap_or_default()),
        },
    }))
}
