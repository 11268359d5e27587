//! Which database bears the live name, and whether it is open.

use std::time::Duration;

use tokio::time::Instant;

use crate::incident::{Finding, IncidentId};
use crate::workers::WorkerError;

use super::super::server::{Server, application, ident};
use super::super::session::Session;

/// Renames are made from here: a database cannot be renamed from within.
pub(super) const MAINTENANCE: &str = "postgres";
/// For opening the live name: a server that restarts may take so long.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// The guard's, behind which there is nobody: a server that recovers may take hours.
pub(super) const LONG_PATIENCE: Duration = Duration::from_hours(24);
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A session from which databases are renamed.
pub(super) async fn admin(server: &Server, incident: &IncidentId, what: &str) -> Result<Session, WorkerError> {
    server.connect_to(MAINTENANCE, &application(incident, what)).await
}

/// The number of the database that bears a name, and whether it takes sessions.
pub(super) async fn bearer(admin: &Session, name: &str) -> Result<Option<(u32, bool)>, WorkerError> {
    let sql = "SELECT oid, datallowconn FROM pg_catalog.pg_database WHERE datname = $1";
    let rows = admin.query("look who bears the name", sql, &[&name]).await?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))))
}

/// Whether a database of this name is there.
pub(super) async fn names(admin: &Session) -> Result<Vec<String>, WorkerError> {
    let sql = "SELECT datname::text FROM pg_catalog.pg_database";
    Ok(admin.query("list the databases", sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Opens whichever database bears the live name, once the session `swapping` is gone: it may be about to commit.
/// Goes on trying for as long as `patience` says while the server cannot be reached.
pub(super) async fn open(
    server: &Server,
    live: &str,
    swapping: Option<(i32, &str)>,
    patience: Duration,
) -> Result<(), WorkerError> {
    let deadline = Instant::now() + patience;
    let mut pause = PAUSE;
    loop {
        let error = match try_open(server, live, swapping).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() > deadline {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn try_open(server: &Server, live: &str, swapping: Option<(i32, &str)>) -> Result<(), WorkerError> {
    let admin = server.connect_to(MAINTENANCE, "relight opens the live database").await?;
    if let Some((pid, application)) = swapping {
        let doing = "end the session that swaps";
        let of = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2";
        admin.query(doing, of, &[&pid, &application]).await?;
        let left = "SELECT pg_catalog.pg_sleep(0.01) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2";
        while !admin.query(doing, left, &[&pid, &application]).await?.is_empty() {}
    }
    if let Some((_, false)) = bearer(&admin, live).await? {
        admin
            .batch("open the live database", &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(live)))
            .await?;
    }
    admin.close().await;
    Ok(())
}

/// Workers of the server that keep a database's name and do not end when its clients do: of a subscription, of an
/// extension. Autovacuum is none: the server ends it by itself.
pub(super) async fn in_the_way(admin: &Session, name: &str) -> Result<Vec<Finding>, WorkerError> {
    let sql = "SELECT pid, backend_type FROM pg_catalog.pg_stat_activity WHERE datname = $1 \
         AND backend_type NOT IN ('client backend', 'walsender', 'parallel worker', 'autovacuum worker', 'autovacuum launcher') ORDER BY 1";
    let rows = admin.query("look for the server's own workers", sql, &[&name]).await?;
    let worker = |row: &tokio_postgres::Row| format!("{} ({})", row.get::<_, String>(1), row.get::<_, i32>(0));
    let workers: Vec<String> = rows.iter().map(worker).collect();
    Ok(if workers.is_empty() {
        Vec::new()
    } else {
        vec![Finding::blocking(format!(
            "Workers of the server hold the name {name}: {}. Stop them first: ALTER SUBSCRIPTION … DISABLE for a \
             subscription's, and as its manual says for an extension's.",
            workers.join(", ")
        ))]
    })
}
