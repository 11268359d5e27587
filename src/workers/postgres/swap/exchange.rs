//! The exchange of two names, with the fence up for as long as it takes.

use std::time::Duration;

use tokio::time::Instant;

use crate::failpoint;
use crate::workers::{Context, Disposition, Io, WorkerError};

use super::super::server::{Server, application, ident};
use super::super::session::Session;
use super::gate::{PATIENCE, admin, bearer, open};
use super::guard::Guard;

const WHAT: &str = "exchange the databases";
/// Sessions that do not end within this time make the swap give up, with the old database open again.
const ENDING: Duration = Duration::from_secs(20);

/// Nothing with the fence up waits longer for a lock, say behind a forgotten `ALTER DATABASE` in an open transaction.
const LOCK: &str = "SET lock_timeout = '3s'; SET statement_timeout = '15s'";
/// However the network behaves, after this time the fence is taken down.
const MOST: Duration = Duration::from_secs(45);

/// Who takes whose name.
pub(super) struct Exchange<'a> {
    pub(super) server: &'a Server,
    /// The live name and the number of the database that bears it.
    pub(super) live: (&'a str, u32),
    /// The name and number of the database that becomes the live one.
    pub(super) comes: (&'a str, u32),
    /// What the live database is called afterwards.
    pub(super) aside: &'a str,
    /// Statements within the same transaction, before the renames.
    pub(super) rights: &'a [String],
}

/// Exchanges the names. On success the new bearer of the live name is open and the other one is fenced.
///
/// # Errors
/// The names are as they were, and the live one is open again, which the error says; or nobody knows
/// ([`Disposition::InDoubt`]), and the guard is opening it.
pub(super) async fn exchange(cx: &Context, io: &Io, of: &Exchange<'_>) -> Result<(), WorkerError> {
    let (server, live) = (of.server, of.live.0);
    let name = application(&cx.knowledge.incident, "swaps");
    let session = admin(server, &cx.knowledge.incident, "swaps").await?;
    session.batch(WHAT, LOCK).await?;
    let pid = session.backend();
    let mut guard = Guard::start(server, live, (pid, &name)).await?;
    failpoint::point("swap.guarded");
    if io.cancel.is_cancelled() {
        guard.dismiss().await;
        return Err(given_up(server, "It was stopped before anything was changed."));
    }
    let late = || WorkerError::new(WHAT, server.name(), "The server did not answer in time.", "");
    let tried = tokio::time::timeout(MOST, fenced(&session, io, of, &mut guard)).await;
    let error = match tried.unwrap_or_else(|_| Err(late())) {
        Ok(()) => {
            guard.dismiss().await;
            session.close().await;
            return Ok(());
        }
        Err(error) => error,
    };
    drop(session);
    io.line(format!("{} The live name is opened again; the guard goes on trying for as long as it takes", error.cause));
    // Both may open it; that one of them says so is enough.
    let opened = guard.open().await || open(server, live, Some((pid, &name)), PATIENCE).await.is_ok();
    let now = async { bearer(&admin(server, &cx.knowledge.incident, "looks").await?, live).await }.await;
    match now {
        // The commit went through although its answer was lost.
        Ok(Some((oid, true))) if oid == of.comes.1 => Ok(()),
        Ok(Some((oid, true))) if oid == of.live.1 && opened => Err(given_up(server, &error.cause)),
        _ => Err(WorkerError::new(
            WHAT,
            server.name(),
            format!("{} Nobody knows which database bears the live name, and whether it is open.", error.cause),
            "The server is asked next. If it stays unknown: psql postgres -c '\\l', then ALTER DATABASE … ALLOW_CONNECTIONS true.",
        )
        .with(Disposition::InDoubt)),
    }
}

fn given_up(server: &Server, cause: &str) -> WorkerError {
    WorkerError::new(
        WHAT,
        server.name(),
        format!("{cause} The old data is intact: {} bears the live name as before and is open.", server.name()),
        "Mend the cause, then retry (r).",
    )
}

/// Everything that happens with the fence up.
async fn fenced(session: &Session, io: &Io, of: &Exchange<'_>, guard: &mut Guard) -> Result<(), WorkerError> {
    let (live, comes) = (of.live.0, of.comes.0);
    let began = Instant::now();
    io.line(format!("fence: {live} takes no new sessions"));
    session.batch("raise the fence", &format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", ident(live))).await?;
    failpoint::point("swap.fenced");
    let ended = end_sessions(session, io, &[live, comes]).await?;
    failpoint::point("swap.ended-sessions");
    if !guard.is_up() {
        return Err(WorkerError::new(WHAT, of.server.name(), "The guard is gone.", "Retry (r)."));
    }
    let mut statements = vec!["BEGIN".to_owned()];
    statements.extend_from_slice(of.rights);
    statements.push(format!("ALTER DATABASE {} RENAME TO {}", ident(live), ident(of.aside)));
    statements.push(format!("ALTER DATABASE {} RENAME TO {}", ident(comes), ident(live)));
    statements.push(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", ident(live)));
    statements.push("COMMIT".to_owned());
    session.batch("rename the databases", &statements.join(";\n")).await?;
    failpoint::point("swap.renamed");
    io.line(format!(
        "{live} is now {}, and {comes} is {live}: {ended} sessions ended, {} ms closed",
        of.aside,
        began.elapsed().as_millis()
    ));
    match bearer(session, live).await? {
        Some((oid, true)) if oid == of.comes.1 => Ok(()),
        _ => Err(WorkerError::new(WHAT, of.server.name(), "The names are not what they should be.", "")),
    }
}

/// Ends every client's session on these databases and waits until they are gone.
async fn end_sessions(session: &Session, io: &Io, databases: &[&str]) -> Result<usize, WorkerError> {
    let doing = "end the sessions";
    // Who may not see a session fully sees no backend_type of it; background workers have no user then. The server ends
    // its own workers by itself when a database is renamed, and not those that send changes to a logical reader.
    let sql = "SELECT pid, coalesce(usename::text, '?'), coalesce(application_name, '') FROM pg_catalog.pg_stat_activity \
         WHERE datname = ANY ($1) AND pid <> pg_catalog.pg_backend_pid() \
         AND (backend_type IN ('client backend', 'walsender') OR (backend_type IS NULL AND usesysid IS NOT NULL))";
    let deadline = Instant::now() + ENDING;
    let mut ended = std::collections::BTreeSet::new();
    loop {
        let there = session.query(doing, sql, &[&databases]).await?;
        if there.is_empty() {
            return Ok(ended.len());
        }
        for row in &there {
            let (pid, user, application): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
            if ended.insert(pid) {
                io.line(format!("ending session {pid} of {user} {application}"));
            }
            session.query(doing, "SELECT pg_catalog.pg_terminate_backend($1)", &[&pid]).await?;
        }
        session.query(doing, "SELECT pg_catalog.pg_sleep(0.002)", &[]).await?;
        if Instant::now() > deadline || io.cancel.is_cancelled() {
            let names: Vec<String> =
                there.iter().map(|row| format!("{} of {}", row.get::<_, i32>(0), row.get::<_, String>(1))).collect();
            let why = if io.cancel.is_cancelled() { "It was stopped while" } else { "In 20 seconds" };
            return Err(WorkerError::new(
                doing,
                "",
                format!("{why} these sessions did not end: {}.", names.join(", ")),
                "",
            ));
        }
    }
}
