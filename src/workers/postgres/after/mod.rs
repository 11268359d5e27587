//! What is checked in a restored database while it serves already.
//!
//! | file | what is in it |
//! |---|---|
//! | `foreign_keys` | foreign keys that a restore left for later |
//! | `storage` | every index and table, page by page, with `amcheck` |

mod foreign_keys;
mod storage;

pub use foreign_keys::CheckForeignKeys;
pub(super) use foreign_keys::unchecked;
pub use storage::CheckStorage;

use crate::incident::Fact;
use crate::runbook::StepId;
use crate::workers::{Context, WorkerError};

use super::server::{Server, application};
use super::session::Session;

/// A database that a step restored beside the live one, wherever it is by now.
struct Restored {
    /// What it is called now.
    server: Server,
    oid: u32,
    unchecked: Vec<String>,
}

/// What a restoring step made: the live database once it is swapped in. None where it restored over the live one.
async fn restored(cx: &Context, server: &Server, step: &StepId) -> Result<Option<Restored>, WorkerError> {
    let made = cx.knowledge.facts_of(step).filter_map(|fact| match fact {
        Fact::RestoredBeside { oid, unchecked, .. } => Some((*oid, unchecked.clone())),
        _ => None,
    });
    let Some((oid, unchecked)) = made.last() else { return Ok(None) };
    let session = server.connect_to("postgres", &application(&cx.knowledge.incident, "looks")).await?;
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE oid = $1";
    let rows = session.query("look for the restored database", sql, &[&oid]).await?;
    session.close().await;
    let Some(row) = rows.first() else {
        return Err(WorkerError::new(
            "find the restored database",
            server.name(),
            format!("The database that was restored (number {oid}) is not there any more."),
            "There is nothing to check: skip the step (s).",
        ));
    };
    Ok(Some(Restored { server: Server { database: row.get(0), ..server.clone() }, oid, unchecked }))
}

/// A session whose statements end soon after this side is gone.
async fn open(cx: &Context, server: &Server) -> Result<Session, WorkerError> {
    let session = server.connect(&cx.knowledge.incident, "checks").await?;
    if session.identity().await?.major >= 14 {
        session.batch("prepare a session", "SET client_connection_check_interval = '1s'").await?;
    }
    Ok(session)
}

/// Whether a database still is the one that the plan was made for.
async fn is_still(session: &Session, server: &Server, oid: u32) -> Result<(), WorkerError> {
    if session.identity().await?.database_oid == oid {
        return Ok(());
    }
    Err(WorkerError::new(
        "find the restored database",
        server.name(),
        "Another database bears that name now.",
        "Nothing was checked. Prepare the step again (a).",
    ))
}
