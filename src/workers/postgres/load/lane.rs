//! One session, and what it does unit by unit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::archive::{RowCount, Toc};
use crate::workers::s3::Arriving;

use super::super::server::ident;
use super::super::session::Session;
use super::board::{Board, Next};
use super::feed::Feed;
use super::main::say;
use super::order::Order;
use super::units::{Task, Unit, What};

/// What all lanes share.
pub(super) struct Shared {
    pub(super) board: Mutex<Board>,
    /// A unit ended, or a block was found.
    pub(super) moved: Notify,
    pub(super) toc: Toc,
    pub(super) archive: Arriving,
    /// What was counted in the archive.
    pub(super) counts: Mutex<Vec<RowCount>>,
    /// Which index each session builds, by the number of the session's process on the server.
    pub(super) building: Mutex<BTreeMap<i32, usize>>,
}

/// A session, and the number of its process on the server.
pub(super) struct Lane {
    pub(super) session: Session,
    pub(super) pid: i32,
}

impl Shared {
    pub(super) fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a session with everything that pg_restore sets in one (`_doSetFixedOutputState`, pg_backup_archiver.c), and
/// what the archive says of itself.
pub(super) async fn open(order: &Order, toc: &Toc) -> Result<Lane, String> {
    let server = order.address.server(&order.database, std::env::var("PGPASSWORD").ok());
    let session = server.connect_to(&order.database, &order.application).await.map_err(|error| error.to_string())?;
    let major = session.identity().await.map_err(|error| error.to_string())?.major;
    let mut sql = String::from(
        "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
         SET check_function_bodies = false; SET xmloption = content; SET client_min_messages = warning; \
         SET row_security = off; SET standard_conforming_strings = on; ",
    );
    if major >= 17 {
        sql.push_str("SET transaction_timeout = 0; ");
    }
    if major >= 14 {
        // What a lane was doing ends soon after the process that wanted it.
        sql.push_str("SET client_connection_check_interval = '1s'; ");
    }
    for (name, value) in &order.settings {
        sql.push_str("SET ");
        sql.push_str(name);
        sql.push_str(" = '");
        sql.push_str(&value.replace('\'', "''"));
        sql.push_str("'; ");
    }
    let path = toc.entries.iter().find(|entry| entry.desc == "SEARCHPATH").and_then(|entry| entry.definition.clone());
    sql.push_str(path.as_deref().unwrap_or("SELECT pg_catalog.set_config('search_path', '', false);"));
    sql.push_str("SET ROLE ");
    sql.push_str(&ident(&order.role));
    session.batch("prepare a session", &sql).await.map_err(|error| error.to_string())?;
    Ok(Lane { pid: session.backend(), session })
}

/// Works until nothing is left.
pub(super) async fn run(shared: &Shared, lane: &Lane) -> Result<(), String> {
    loop {
        // Registered before looking, so that nothing that moves in between is missed.
        let moved = shared.moved.notified();
        let mut moved = std::pin::pin!(moved);
        moved.as_mut().enable();
        let next = shared.board().next();
        match next {
            Next::Over => {
                shared.moved.notify_waiters();
                return Ok(());
            }
            Next::Wait => moved.await,
            Next::Join(at, feed) => copy(shared, &lane.session, at, &feed).await?,
            Next::Begin(at, workers) => begin(shared, lane, at, workers).await?,
        }
    }
}

async fn begin(shared: &Shared, lane: &Lane, at: usize, workers: u32) -> Result<(), String> {
    let (unit, span) = {
        let board = shared.board();
        (board.unit(at).cloned(), board.span(at))
    };
    let Some(unit) = unit else { return Ok(()) };
    let session = &lane.session;
    match &unit.task {
        Task::Copy { .. } => {
            let (Some(entry), Some(span)) = (shared.toc.entry(unit.dump_id), span) else { return Ok(()) };
            let archive = shared.archive.again().map_err(|error| format!("the archive: {error}"))?;
            let feed = Arc::new(Feed::start(archive, shared.toc.header.compression, entry.clone(), span));
            shared.board().feeds(at, &feed);
            shared.moved.notify_waiters();
            copy(shared, session, at, &feed).await
        }
        Task::Run { sql, what } => {
            let began = Instant::now();
            prepare(session, &unit, *what, workers).await?;
            let building = || shared.building.lock().unwrap_or_else(PoisonError::into_inner);
            if *what == What::Index {
                building().insert(lane.pid, at);
            }
            let ran = session.batch(&doing(*what, &unit), sql).await;
            building().remove(&lane.pid);
            ran.map_err(|error| error.to_string())?;
            shared.board().left(at, 0);
            shared.moved.notify_waiters();
            tell(&unit, *what, began.elapsed());
            Ok(())
        }
    }
}

async fn prepare(session: &Session, unit: &Unit, what: What, workers: u32) -> Result<(), String> {
    if what != What::Index {
        return Ok(());
    }
    let space = unit.tablespace.as_deref().unwrap_or_default().replace('\'', "''");
    let sql = format!("SET max_parallel_maintenance_workers = {workers}; SET default_tablespace = '{space}'");
    session.batch("prepare an index", &sql).await.map_err(|error| error.to_string())
}

fn doing(what: What, unit: &Unit) -> String {
    match what {
        What::Index => format!("build {}", unit.name),
        What::Attach | What::Reference => format!("add {}", unit.name),
        What::Validate => format!("validate {}", unit.name),
        What::Analyze => format!("analyze {}", unit.name),
    }
}

fn tell(unit: &Unit, what: What, took: Duration) {
    let took = took.as_secs_f64();
    match what {
        What::Index => say(&format!("built {} in {took:.1}s", unit.name)),
        What::Validate => say(&format!("validated {} in {took:.1}s", unit.name)),
        What::Attach => say(&format!("made {} the constraint", unit.name)),
        What::Reference | What::Analyze => {}
    }
}

/// Writes rows of a feed for as long as there are any.
async fn copy(shared: &Shared, session: &Session, at: usize, feed: &Feed) -> Result<(), String> {
    let Some(Task::Copy { statement }) = shared.board().unit(at).map(|unit| unit.task.clone()) else { return Ok(()) };
    let began = Instant::now();
    let wrote = session.copy_in(&statement, || feed.piece()).await?;
    let ended = shared.board().left(at, wrote);
    if let Some((rows, feed)) = ended {
        let name = shared.board().unit(at).map_or_else(String::new, |unit| unit.name.clone());
        // The feed counts what it read when it has told its last piece.
        let counted = feed.counted().ok_or_else(|| format!("the data of {name} was not read to its end"))?;
        if counted.rows != rows {
            return Err(format!("{name}: {} rows are in the archive, and the server took {rows}", counted.rows));
        }
        say(&format!("loaded {name}: {rows} rows in {:.1}s", began.elapsed().as_secs_f64()));
        shared.counts.lock().unwrap_or_else(PoisonError::into_inner).push(counted);
    }
    shared.moved.notify_waiters();
    Ok(())
}
