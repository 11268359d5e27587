//! The process: `relight load ORDER`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::archive::{ArchiveError, End, Offset, Span, Toc, find_blocks};
use crate::workers::s3::Arriving;

use super::super::local_copy;
use super::super::progress::{Progress, weights};
use super::super::session::Session;
use super::board::Board;
use super::ddl::Table;
use super::lane::{self, Lane, Shared};
use super::list;
use super::order::{Order, Phases, Standing};
use super::units::{self, Units};

/// The command that makes relight a loader.
pub const VERB: &str = "load";
/// What is read first of an archive; more until its table of contents is whole.
const FIRST: u64 = 256 << 10;
/// Between two words about how far it is.
const TELL: Duration = Duration::from_millis(250);

/// The body of the process.
#[must_use]
pub fn main(order: &Path) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let outcome = runtime.block_on(load(order));
    // A feed that nobody listens to ends with the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    say(&format!("relight: error: {}", why.trim_end_matches('.')));
    ExitCode::FAILURE
}

/// A line of the log.
pub(super) fn say(line: &str) {
    // Without a log there is still the exit code.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn load(order: &Path) -> Result<(), String> {
    let began = Instant::now();
    let order: Order = std::fs::read(order)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
        .map_err(|error| format!("the order {} cannot be read: {error}", order.display()))?;
    let archive = Arriving::open(&order.archive, order.size)
        .map_err(|error| format!("{} cannot be opened: {error}", order.archive.display()))?;
    let toc = contents(&archive).await?;
    say("making types, tables and functions");
    let mut before = units::before(&toc);
    before.retain(|entry| !order.left_out.contains(entry));
    list::restore(&order, &toc, archive.file(), "before", &before, (1, &mut |_| {})).await?;
    let made = Instant::now();
    let sessions = sessions(&order, &toc).await?;
    let plain = plain(&sessions).await?;
    let Units { all, mut rest, .. } = units::divide(&toc, &plain, order.foreign_keys_later);
    rest.retain(|entry| !order.left_out.contains(entry));
    let spans = toc.spans(order.size);
    let lanes = u32::try_from(sessions.len()).unwrap_or(1);
    let left: BTreeSet<i32> = rest.iter().copied().collect();
    let weigh = |toc: &Toc, spans: &[Span]| weights(toc, spans, |entry| left.contains(&entry.dump_id));
    let shared = Arc::new(Shared {
        board: Mutex::new(Board::new(all, &spans, lanes)),
        moved: Notify::new(),
        toc,
        archive,
        counts: Mutex::default(),
        building: Mutex::default(),
    });
    shared.board().rest_weighs(weigh(&shared.toc, &spans).values().sum());
    let telling = tokio::spawn(tell(looker(&order).await?, order.standing.clone(), Arc::clone(&shared)));
    let finding = find(&shared);
    let working =
        async { futures_util::future::try_join_all(sessions.iter().map(|lane| lane::run(&shared, lane))).await };
    let (found, _) = tokio::try_join!(finding, working)?;
    for lane in sessions {
        lane.session.close().await;
    }
    let built = Instant::now();
    settled(&shared, &order.archive).await?;
    local_copy::fill_in(shared.archive.file(), &shared.toc, &found)
        .map_err(|error| format!("the offsets cannot be written into the copy: {error}"))?;
    say(&format!("restoring what is left: {} entries", rest.len()));
    // Where the archive did not say where its data is, that is known now.
    let spans = if found.is_empty() { spans } else { found };
    let weighed = weigh(&shared.toc, &spans);
    shared.board().rest_weighs(weighed.values().sum());
    let mut progress = Progress::new(&shared.toc, weighed, order.jobs > 1);
    let mut each = |line: &str| {
        if let Some(step) = progress.line(line) {
            shared.board().rest_is(step.done, step.label);
        }
    };
    list::restore(&order, &shared.toc, shared.archive.file(), "rest", &rest, (order.jobs, &mut each)).await?;
    telling.abort();
    leave(&order, &shared).map_err(|error| format!("{} cannot be written: {error}", order.counts.display()))?;
    let loaded = shared.board().loaded().unwrap_or(made);
    let millis =
        |from: Instant, to: Instant| u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX);
    let phases = Phases {
        definitions_ms: millis(began, made),
        rows_ms: millis(made, loaded),
        indexes_ms: millis(loaded, built),
        rest_ms: millis(built, Instant::now()),
    };
    say(&phases.line());
    say("everything is restored");
    Ok(())
}

/// The table of contents, as soon as it has arrived.
async fn contents(archive: &Arriving) -> Result<Toc, String> {
    let reader = archive.again().map_err(|error| format!("the archive: {error}"))?;
    let read = move || -> Result<Toc, String> {
        let mut most = FIRST;
        loop {
            reader.wait(0, most).map_err(|error| error.to_string())?;
            let mut bytes = vec![0; usize::try_from(most.min(reader.size())).unwrap_or_default()];
            std::os::unix::fs::FileExt::read_exact_at(reader.file(), &mut bytes, 0)
                .map_err(|error| error.to_string())?;
            match Toc::parse(&bytes) {
                Err(ArchiveError::NeedMore { .. }) if most < reader.size() => most = most.saturating_mul(4),
                parsed => return parsed.map_err(|error| error.given_size(reader.size()).to_string()),
            }
        }
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string()).and_then(|read| read)
}

async fn sessions(order: &Order, toc: &Toc) -> Result<Vec<Lane>, String> {
    futures_util::future::try_join_all((0..order.jobs.max(1)).map(|_| lane::open(order, toc))).await
}

/// The ordinary tables: those with rows of their own and no partitions.
async fn plain(sessions: &[Lane]) -> Result<BTreeSet<Table>, String> {
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r'";
    let Some(Lane { session, .. }) = sessions.first() else { return Ok(BTreeSet::new()) };
    let rows = session.query("list the tables", sql, &[]).await.map_err(|error| error.to_string())?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Finds the data blocks of an archive that was written to a pipe, which does not say where they are.
async fn find(shared: &Arc<Shared>) -> Result<Vec<Span>, String> {
    if !shared.toc.entries.iter().any(|entry| entry.offset == Offset::NotSet) {
        return Ok(Vec::new());
    }
    let own = Arc::clone(shared);
    let walk = move || -> Result<Vec<Span>, String> {
        let reader = own.archive.again().map_err(|error| error.to_string())?;
        let mut spans = Vec::new();
        let mut found = |span: Span| {
            own.board().found(span);
            own.moved.notify_waiters();
            spans.push(span);
        };
        let state = find_blocks(reader, &own.toc, &mut found).map_err(|error| error.to_string())?;
        match state.end {
            End::Complete => Ok(spans),
            End::Cut { inside } => Err(format!(
                "the dump is cut off: {} of {} data blocks are whole, and it ends inside {inside}",
                state.blocks, state.expected
            )),
            End::Corrupt { at, what } => Err(format!("the dump is damaged at byte {at}: {what}")),
        }
    };
    tokio::task::spawn_blocking(walk).await.map_err(|error| error.to_string())?
}

/// Waits until the whole archive is here, and proved.
async fn settled(shared: &Arc<Shared>, whole: &Path) -> Result<(), String> {
    let (own, whole) = (Arc::clone(shared), whole.to_owned());
    let wait = move || own.archive.settled(&whole).map_err(|error| error.to_string());
    tokio::task::spawn_blocking(wait).await.map_err(|error| error.to_string())?
}

/// A session that asks the server how far indexes are.
async fn looker(order: &Order) -> Result<Session, String> {
    let server = order.address.server(&order.database, std::env::var("PGPASSWORD").ok());
    let name = format!("{} looks", order.application);
    server.connect_to(&order.database, &name).await.map_err(|error| error.to_string())
}

/// Tells how far it is, until the process ends.
async fn tell(looker: Session, to: std::path::PathBuf, shared: Arc<Shared>) {
    loop {
        ask(&looker, &shared).await;
        let (done, total, label, idle_s) = shared.board().standing();
        // Who cannot be told how far it is will be told when it ends.
        let _ = Standing { label, done, total, idle_s }.put(&to);
        tokio::time::sleep(TELL).await;
    }
}

/// An index is scanned for in the first half of its way and written in the second; a server that cannot say leaves it at
/// what it was.
async fn ask(looker: &Session, shared: &Shared) {
    let building = shared.building.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if building.is_empty() {
        return;
    }
    let sql = "SELECT pid, (500 * coalesce(blocks_done::float8 / nullif(blocks_total, 0), 0) \
             + 500 * coalesce(tuples_done::float8 / nullif(tuples_total, 0), 0))::bigint \
         FROM pg_catalog.pg_stat_progress_create_index WHERE datname = pg_catalog.current_database()";
    let Ok(rows) = looker.query("ask how far the indexes are", sql, &[]).await else { return };
    for row in rows {
        if let (Some(unit), Ok(thousandths)) =
            (building.get(&row.get::<_, i32>(0)), u64::try_from(row.get::<_, i64>(1)))
        {
            shared.board().builds(*unit, thousandths);
        }
    }
}

/// Leaves the rows that were counted, if all of them were.
fn leave(order: &Order, shared: &Shared) -> std::io::Result<()> {
    let counts = shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = shared.toc.entries.iter().filter(|entry| entry.is_copy()).count();
    if counts.len() < wanted {
        return Ok(());
    }
    let part = order.counts.with_extension("part-rows");
    crate::private::write(&part, serde_json::to_vec(&*counts)?)?;
    std::fs::rename(part, &order.counts)
}
