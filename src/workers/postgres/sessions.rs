//! Who else is connected to the database.

use serde::{Deserialize, Serialize};

use crate::incident::{Finding, IncidentId};
use crate::workers::WorkerError;

use super::server::Server;
use super::session::Session;

/// What our children call themselves. After a crash they are strangers like all others.
pub(super) const RESTORE: &str = "restore";
pub(super) const DUMP: &str = "dump";

/// Somebody else's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Other {
    pub(super) pid: i32,
    pub(super) user: String,
    pub(super) application: String,
    pub(super) client: String,
    /// When it began, with microseconds: tells it from a later session with the same number.
    began: String,
    state: String,
    age: String,
    transaction: String,
    waits: String,
}

impl Other {
    /// What a person recognises it by, however often it comes back.
    pub(super) fn who(&self) -> (&str, &str, &str) {
        (&self.user, &self.application, &self.client)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.pid == other.pid && self.began == other.began
    }

    /// `4711 fc_app "api" from 10.0.0.7, idle in transaction, connected 2m04s, transaction 31s, waits for Client/ClientRead`
    pub(super) fn describe(&self) -> String {
        let name = if self.application.is_empty() { String::new() } else { format!(" \"{}\"", self.application) };
        let mut text = format!("{} {}{name} from {}", self.pid, self.user, self.client);
        for (before, part) in [
            (", ", &self.state),
            (", connected ", &self.age),
            (", transaction ", &self.transaction),
            (", waits for ", &self.waits),
        ] {
            if !part.is_empty() {
                text.push_str(before);
                text.push_str(part);
            }
        }
        text
    }
}

/// The clients' sessions on the database, except this incident's own.
///
/// Who may not see a session fully sees no `backend_type` of it; background workers have no user then.
pub(super) async fn others(
    session: &Session,
    server: &Server,
    incident: &IncidentId,
) -> Result<Vec<Other>, WorkerError> {
    let own = format!("relight {incident} ");
    let children = [RESTORE, DUMP].map(|what| super::server::application(incident, what));
    let sql = "SELECT pid, coalesce(usename::text, '?'), coalesce(application_name, ''), \
         coalesce(host(client_addr), 'a socket'), coalesce(backend_start::text, ''), coalesce(state, ''), \
         coalesce(extract(epoch FROM now() - backend_start)::bigint, -1), \
         coalesce(extract(epoch FROM now() - xact_start)::bigint, -1), \
         coalesce(wait_event_type || '/' || wait_event, '') \
         FROM pg_catalog.pg_stat_activity WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid() \
         AND (backend_type = 'client backend' OR (backend_type IS NULL AND usesysid IS NOT NULL)) \
         AND NOT (usename = current_user AND starts_with(coalesce(application_name, ''), $2) AND application_name <> ALL ($3)) \
         ORDER BY backend_start, pid";
    let rows = session.query("list the sessions", sql, &[&server.database, &own, &children.as_slice()]).await?;
    let age = |seconds: i64| match seconds {
        ..0 => String::new(),
        seconds => crate::incident::duration_text(jiff::SignedDuration::from_secs(seconds)),
    };
    let line = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    Ok(rows
        .iter()
        .map(|row| Other {
            pid: row.get(0),
            user: line(row.get(1)),
            application: line(row.get(2)),
            client: row.get(3),
            began: row.get(4),
            state: row.get(5),
            age: age(row.get(6)),
            transaction: age(row.get(7)),
            waits: row.get(8),
        })
        .collect())
}

/// Prepared transactions of the database: they hold locks, and no session shows them.
pub(super) async fn prepared(session: &Session, server: &Server) -> Result<Vec<Finding>, WorkerError> {
    let rows = session
        .query(
            "list the prepared transactions",
            "SELECT gid, owner::text, prepared::text FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY prepared",
            &[&server.database],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let (gid, owner, since): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            Finding::blocking(format!(
                "The prepared transaction `{gid}` of {owner} since {since} holds locks that a restore waits for. Decide it: COMMIT PREPARED or ROLLBACK PREPARED."
            ))
        })
        .collect())
}

/// A few of them, in a sentence.
pub(super) fn name_some(others: &[Other]) -> String {
    let mut named: Vec<String> = others.iter().take(3).map(Other::describe).collect();
    if others.len() > 3 {
        named.push(format!("and {} more", others.len() - 3));
    }
    named.join("; ")
}
