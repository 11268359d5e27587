//! PostgreSQL: checks, sessions, dumps, restores, proofs.
//!
//! | file | what is in it |
//! |---|---|
//! | `server`, `pgpass`, `tls`, `session`, `error` | where the database is, connecting, and what it says |
//! | `target_lock` | one incident at a time per database |
//! | `tools` | pg_restore and pg_dump of the right version |
//! | `check`, `sessions`, `end_sessions`, `blockers` | rights; who else is connected, and who is in the way |
//! | `dump` | the safety dump |
//! | `source`, `local_copy`, `judge`, `gates` | a dump, fetched and judged; what is proved before it is restored |
//! | `progress`, `pace`, `stall` | how far a restore is, how long it still takes, and what it waits for |
//! | `load` | restoring an archive faster than pg_restore alone |
//! | `strategy` | the way of restoring that was chosen |
//! | `beside` | restoring into a new database beside the live one |
//! | `swap` | exchanging the two, and back; dropping what was kept |
//! | `catalogue`, `uses`, `over` | restoring over the live database, as the written procedure does |
//! | `count`, `prove` | the database holds what the dump holds |
//! | `after` | what is checked while it serves already |

mod after;
mod beside;
mod blockers;
mod catalogue;
mod check;
mod count;
mod dump;
mod end_sessions;
mod error;
mod gates;
mod judge;
mod load;
mod local_copy;
mod over;
mod pace;
mod pgpass;
mod progress;
mod prove;
mod server;
mod session;
mod sessions;
mod silence;
mod source;
mod stall;
mod strategy;
mod swap;
mod target_lock;
mod tls;
mod tools;
mod uses;

pub use after::{CheckForeignKeys, CheckStorage};
pub use beside::{Rehearsal, RestoreBeside, discard};
pub use blockers::EndBlockers;
pub use check::CheckPostgres;
pub use dump::SafetyDump;
pub use end_sessions::EndSessions;
pub use load::{Phases, VERB as LOAD, main as load_main};
pub use over::RestoreInPlace;
pub use prove::ProveTables;
pub use server::Server;
pub use session::{Identity, Session};
pub use stall::why as why_stalled;
pub use strategy::RestoreDatabase;
pub use swap::{DropKept, SwapBack, SwapDatabase, guard};
pub use target_lock::TargetLock;

use crate::config::Config;
use crate::incident::{IncidentId, TargetIdentity};
use crate::runbook::TargetRef;

use super::{Context, WorkerError};

/// The major version of the pg_restore that would restore this database: the server's, or while the server cannot be
/// asked, the newest that is installed.
///
/// # Errors
/// The target is not in the config, or the server cannot be reached and there is no pg_restore.
pub async fn client_major(config: &Config, database: &TargetRef) -> Result<u32, WorkerError> {
    let server = Server::of(config, database).await?;
    // Nothing is changed under this name; it only shows in the server's list of sessions.
    let incident = IncidentId::new("none").map_err(|error| unreadable("name the session", &server, &error))?;
    let tools = tools::all("pg_restore", &server.settings).await;
    let newest = tools.iter().map(|tool| tool.major).max();
    if let Ok(session) = server.connect(&incident, "version").await {
        let major = session.identity().await?.major;
        session.close().await;
        let there = tools.iter().any(|tool| tool.major == major);
        return Ok(if there { major } else { newest.unwrap_or(major) });
    }
    match newest {
        Some(major) => Ok(major),
        None => tools::find("pg_restore", &server.settings, 0).await.map(|tool| tool.major),
    }
}

async fn identify(cx: &Context, database: &TargetRef) -> Result<TargetIdentity, WorkerError> {
    let server = Server::of(&cx.config, database).await?;
    let session = server.connect(&cx.knowledge.incident, "identify").await?;
    let identity = session.identity().await?.target(&server);
    session.close().await;
    Ok(identity)
}

fn unreadable(operation: &str, server: &Server, error: &dyn std::fmt::Display) -> WorkerError {
    WorkerError::new(operation, server.name(), format!("{error}."), "Retry (r).")
}

fn unreadable_basis(target: &TargetIdentity, error: &dyn std::fmt::Display) -> WorkerError {
    WorkerError::new(
        "read the plan",
        &target.name,
        format!("The plan was written by another version of relight: {error}."),
        "Prepare the step again (a).",
    )
}
