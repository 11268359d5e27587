//! Throwing away what was restored and is not wanted.

use crate::incident::Fact;
use crate::runbook::TargetRef;
use crate::workers::{Context, Io, WorkerError};

use super::super::server::{Server, application, ident};
use super::super::session::Session;
use super::names::mark;
use super::properties::Properties;
use super::restore::MAINTENANCE;

/// Throws away what earlier attempts of this incident left: databases that bear our mark, and that no step found worth
/// keeping.
pub(super) async fn clear_up(cx: &Context, io: &Io, admin: &Session, server: &Server) -> Result<(), WorkerError> {
    let wanted = |name: &str| {
        cx.knowledge.facts.iter().any(|known| match &known.fact {
            Fact::RestoredBeside { database, .. } => database == name,
            Fact::Swapped { kept, came_from, live, .. } => [kept, came_from, live].iter().any(|it| *it == name),
            _ => false,
        })
    };
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE pg_catalog.shobj_description(oid, 'pg_database') = $1 AND datname <> $2";
    let marked = admin
        .query("look for what earlier attempts left", sql, &[&mark(&cx.knowledge.incident), &server.database])
        .await?;
    for name in marked.iter().map(|row| row.get::<_, String>(0)).filter(|name| !wanted(name)) {
        io.line(format!("throwing away {name}, which an earlier attempt left"));
        admin.batch("throw away what an earlier attempt left", &drop_sql(&name)).await?;
    }
    Ok(())
}

fn drop_sql(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(name))
}

/// Drops a database that was restored beside `live` and that nobody uses.
///
/// # Errors
/// It is not one of this incident's, or the server refuses.
pub async fn discard(cx: &Context, live: &TargetRef, name: &str) -> Result<(), WorkerError> {
    let server = Server::of(&cx.config, live).await?;
    let admin = server.connect_to(MAINTENANCE, &application(&cx.knowledge.incident, "discards")).await?;
    let major = admin.identity().await?.major;
    let found = Properties::read(&admin, name, major).await?;
    let ours = found.is_some_and(|found| found.comment == Some(mark(&cx.knowledge.incident)));
    if !ours || name == server.database {
        return Err(WorkerError::new(
            "throw the database away",
            server.name(),
            format!("{name} is not a database that this restored beside the live one."),
            "Look at it, and drop it by hand if nobody needs it.",
        ));
    }
    admin.batch("throw the database away", &drop_sql(name)).await?;
    admin.close().await;
    Ok(())
}

/// Drops a database of ours; what to say about it.
pub(super) async fn throw_away(admin: &Session, name: &str) -> String {
    match admin.batch("throw the new database away", &drop_sql(name)).await {
        Ok(()) => format!("What was restored of {name} was thrown away."),
        Err(error) => format!("{name} could not be thrown away ({}); the next attempt does.", error.cause),
    }
}
