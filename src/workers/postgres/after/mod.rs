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

use crate::workers::{Context, WorkerError};

use super::server::Server;
use super::session::Session;

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
