//! What a restore that does not get on waits for.

use crate::incident::{IncidentId, duration_text};
use crate::workers::{Io, WorkerError};

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
    // A prepared transaction holds its locks without a session: the server calls it session 0.
    let sql = "SELECT string_agg(DISTINCT p.gid, ', ') FROM pg_catalog.pg_stat_activity r, pg_catalog.pg_prepared_xacts p \
         WHERE r.application_name = $1 AND 0 = ANY (pg_catalog.pg_blocking_pids(r.pid)) AND p.database = r.datname";
    let prepared = session.one("look for prepared transactions", sql, &[&application(incident, RESTORE)]).await?;
    let prepared: Option<String> = prepared.get(0);
    session.close().await;
    let clean = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let event = |row: &tokio_postgres::Row| row.get::<_, Option<String>>(0);
    if rows.iter().any(|row| event(row).is_none()) {
        return Ok(None);
    }
    if let Some(gids) = prepared {
        return Ok(Some(format!(
            "it waits for the prepared transaction {}, which no session shows: decide it with COMMIT PREPARED or ROLLBACK PREPARED",
            clean(gids)
        )));
    }
    Ok(Some(match rows.first() {
        None => "no session of it does anything on the server".to_owned(),
        Some(row) => match row.get::<_, Option<i32>>(1) {
            Some(pid) => format!(
                "it waits for {}, held by session {pid} of {}; unblock (b) shows and ends it: SELECT pg_terminate_backend({pid})",
                event(row).unwrap_or_default(),
                clean(row.get(2))
            ),
            None => format!("it waits for {}, and no other session is in its way", event(row).unwrap_or_default()),
        },
    }))
}

/// Says that nothing moves, and why, for as long as that lasts.
#[derive(Debug, Default)]
pub(super) struct Stall {
    said: Option<String>,
    /// The minute in which the server was asked last: the reason may change.
    asked: u64,
}

impl Stall {
    /// What to show of a restore that last moved `idle_s` seconds ago; none while it moves, or works without telling.
    pub(super) async fn look(&mut self, io: &Io, server: &Server, incident: &IncidentId, idle_s: u64) -> Option<&str> {
        let ask = async || why(server, incident).await.unwrap_or_else(|error| Some(error.cause));
        self.told(io, idle_s, ask).await
    }

    /// The same, where `ask` asks the server.
    async fn told(&mut self, io: &Io, idle_s: u64, ask: impl AsyncFnOnce() -> Option<String>) -> Option<&str> {
        let minute = idle_s / AFTER_S;
        if minute == 0 {
            self.asked = 0;
            if self.said.take().is_some() {
                io.remark("it goes on");
            }
        } else if minute != self.asked {
            self.asked = minute;
            let why = ask().await;
            let since = duration_text(jiff::SignedDuration::from_secs(i64::try_from(idle_s).unwrap_or(i64::MAX)));
            let first = self.said.is_none();
            self.said = why.map(|why| format!("no progress for {since}: {why}"));
            match &self.said {
                // The timeline keeps that it began and that it went on; the output has every minute of it.
                Some(said) if first => io.remark(said),
                Some(said) => io.line(said),
                None if !first => io.remark("it goes on"),
                None => {}
            }
        }
        self.said.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::incident::{AttemptId, Notice};
    use crate::workers::{Cancel, Sink};

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Sink for Seen {
        fn line(&self, _text: &str) {}
        fn notice(&self, _notice: Notice) {}
        fn remark(&self, text: &str) {
            self.0.lock().expect("unpoisoned").push(text.to_owned());
        }
    }

    #[tokio::test]
    async fn a_minute_without_progress_is_called_a_stall_and_its_end_is_told() {
        let seen = Arc::new(Seen::default());
        let (_hand, cancel) = Cancel::new();
        let io = Io::new(AttemptId(1), cancel, std::path::PathBuf::new(), Arc::clone(&seen) as Arc<dyn Sink>);
        let mut stall = Stall::default();
        let blocked = async || Some("it waits for Lock/relation, held by session 7".to_owned());
        assert_eq!(stall.told(&io, 59, async || panic!("too early")).await, None);
        let said = "no progress for 1m00s: it waits for Lock/relation, held by session 7";
        assert_eq!(stall.told(&io, 60, blocked).await, Some(said));
        // Within the minute nobody is asked again; what was said stands.
        assert_eq!(stall.told(&io, 119, async || panic!("asked already")).await, Some(said));
        assert!(stall.told(&io, 120, blocked).await.is_some_and(|said| said.starts_with("no progress for 2m00s")));
        assert_eq!(stall.told(&io, 3, async || panic!("it moves")).await, None);
        // What works without telling how far it is, is no stall.
        assert_eq!(stall.told(&io, 61, async || None).await, None);
        assert_eq!(*seen.0.lock().expect("unpoisoned"), [said, "it goes on"]);
    }
}
