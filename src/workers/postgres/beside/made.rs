//! Where a database is that was restored beside, by its number: a swap gives it other names.

use crate::incident::{Fact, ObjectRef};
use crate::runbook::StepId;
use crate::workers::{Context, WorkerError};

use super::super::server::{Server, application};

/// A database that a step restored beside the live one, wherever it is by now.
pub(in super::super) struct Made {
    /// The server, with what the database is called now.
    pub(in super::super) server: Server,
    /// Its number.
    pub(in super::super) oid: u32,
    /// The dump.
    pub(in super::super) object: ObjectRef,
    /// Foreign keys that the restore left for later.
    pub(in super::super) unchecked: Vec<String>,
}

/// What a restoring step made. None where it restored over the live one.
pub(in super::super) async fn made(cx: &Context, server: &Server, step: &StepId) -> Result<Option<Made>, WorkerError> {
    let made = cx.knowledge.facts_of(step).filter_map(|fact| match fact {
        Fact::RestoredBeside { oid, object, unchecked, .. } => Some((*oid, object.clone(), unchecked.clone())),
        _ => None,
    });
    let Some((oid, object, unchecked)) = made.last() else { return Ok(None) };
    let session = server.connect_to("postgres", &application(&cx.knowledge.incident, "looks")).await?;
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE oid = $1";
    let rows = session.query("look for the restored database", sql, &[&oid]).await?;
    session.close().await;
    let Some(row) = rows.first() else {
        return Err(WorkerError::new(
            "find the restored database",
            server.name(),
            format!("The database that was restored (number {oid}) is not there any more."),
            "Restore again (r on the restore step).",
        ));
    };
    Ok(Some(Made { server: Server { database: row.get(0), ..server.clone() }, oid, object, unchecked }))
}
