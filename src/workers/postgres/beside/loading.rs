//! The loader's process from the engine's side: what it is told, beside the download from which it reads, and how far
//! it is.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::time::{MissedTickBehavior, interval};

use crate::archive::Toc;
use crate::incident::Notice;
use crate::workers::process::{self, Exit, Rows, Spec};
use crate::workers::{Context, Io, WorkerError};

use super::super::load::{Order, Standing, VERB};
use super::super::pace::Pace;
use super::super::server::{FOREIGN, Server, application};
use super::super::sessions::RESTORE;
use super::super::stall::Stall;
use super::super::tools::Tool;
use super::rehearsals::Rehearsal;
use super::restore::WHAT;

/// A crash of the server would throw the new database away anyway. The memory is for each session's sorting: measured,
/// indexes of three million rows are built faster with 128 and 256 MB than with 512 MB and more, or as fast.
const SETTINGS: [(&str, &str); 2] = [("synchronous_commit", "off"), ("maintenance_work_mem", "256MB")];
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(250);

/// Writes down what the process is told; the file.
#[expect(clippy::too_many_arguments, reason = "everything that one order is made of, called from one place")]
pub(super) fn order(
    cx: &Context,
    io: &Io,
    server: &Server,
    tool: &Tool,
    jobs: u32,
    name: &str,
    (local, size): (&Path, u64),
    left_out: Vec<i32>,
    foreign_keys_later: bool,
) -> Result<PathBuf, WorkerError> {
    let work = cx.work()?;
    let of = |ending: &str| work.join(format!("{}.{ending}", io.attempt));
    let order = Order {
        address: server.address(),
        database: name.to_owned(),
        role: server.settings.owner.clone(),
        application: application(&cx.knowledge.incident, RESTORE),
        jobs,
        archive: local.to_owned(),
        size,
        pg_restore: tool.path.clone(),
        settings: SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        standing: of("standing.json"),
        counts: counts(local),
        lists: of("load"),
        left_out,
        foreign_keys_later,
    };
    let path = of("load.json");
    let text = serde_json::to_vec(&order).unwrap_or_default();
    // Of an attempt that was begun before.
    let _ = std::fs::remove_file(&order.standing);
    let file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, &text)).map_err(|error| {
        let place = format!("{} on this host", path.display());
        let cause = format!("It cannot be written: {error}.");
        WorkerError::new(
            "write down what to restore",
            place,
            cause,
            "Nothing was changed. Free space there, then retry (r).",
        )
    })?;
    Ok(path)
}

/// Where the rows lie that were counted in a dump while it was restored.
pub(in super::super) fn counts(local: &Path) -> PathBuf {
    local.with_extension("rows.json")
}

/// What is fetched first: the table of contents, then the largest tables, in the order in which they are loaded.
pub(super) fn first(toc: &Toc, size: u64) -> Vec<(u64, u64)> {
    let mut spans = toc.spans(size);
    spans.sort_by_key(|span| std::cmp::Reverse(span.len));
    [(0, toc.data_start)].into_iter().chain(spans.into_iter().map(|span| (span.start, span.len))).collect()
}

/// Runs the process to its end.
pub(super) async fn run(
    io: &Io,
    cx: &Context,
    server: &Server,
    order: &Path,
    size: u64,
    hushed: &AtomicBool,
) -> Result<Exit, WorkerError> {
    let argv = [process::program().display().to_string(), VERB.to_owned(), order.display().to_string()];
    let mut spec = Spec::new(WHAT, server.name(), argv.to_vec());
    spec.env = server.environment(&cx.knowledge.incident, RESTORE);
    let options: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    spec.env.push(("PGOPTIONS".to_owned(), SecretString::from(options.join(" "))));
    spec.env_remove = FOREIGN.iter().filter(|name| **name != "PGOPTIONS").map(|name| (*name).to_owned()).collect();
    spec.redact = server.secrets();
    spec.rows = Rows::Postgres;
    let standing = order.with_file_name(format!("{}.standing.json", io.attempt));
    let last = history(cx).and_then(|root| Rehearsal::last(&root, &server.name(), true));
    let rehearsed = last.map(|last| last.expects(size));
    let mut watch =
        Watch { io, pace: Pace::new(Instant::now(), rehearsed), last: Standing::default(), stall: Stall::default() };
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = std::pin::pin!(process::run(io, spec));
    loop {
        tokio::select! {
            exit = &mut running => return exit,
            _ = looks.tick() => {
                if let Some(now) = Standing::read(&standing) {
                    hushed.store(true, Ordering::Relaxed);
                    watch.look(cx, server, now).await;
                }
            }
        }
    }
}

/// Where the history of rehearsals is: an incident's folder lies in `incidents/`, beside it.
pub(super) fn history(cx: &Context) -> Option<PathBuf> {
    cx.folder.parent().and_then(Path::parent).map(Path::to_owned)
}

/// Passes on how far the process says it is.
struct Watch<'a> {
    io: &'a Io,
    pace: Pace,
    last: Standing,
    stall: Stall,
}

impl Watch<'_> {
    async fn look(&mut self, cx: &Context, server: &Server, now: Standing) {
        if now == self.last {
            return;
        }
        let stalled = self.stall.look(self.io, server, &cx.knowledge.incident, now.idle_s).await.map(str::to_owned);
        let left = self.pace.left(Instant::now(), now.done, now.total).filter(|_| now.total > 0 && stalled.is_none());
        self.io.notice(Notice::Progress {
            attempt: self.io.attempt,
            label: now.label.clone(),
            done: now.done,
            total: (now.total > 0).then_some(now.total),
            unit: "of the work".to_owned(),
            left,
            stalled,
        });
        self.last = now;
    }
}

/// Lets the download and the restore that reads from it run beside each other. When the restore ends early, there is no
/// use for the rest of the download, which goes on another time; when the download ends early, the restore notices.
pub(super) async fn together<D, R>(
    fetch: impl Future<Output = Result<(), D>>,
    restore: impl Future<Output = Result<Exit, R>>,
) -> (Option<Result<(), D>>, Result<Exit, R>) {
    let (mut fetch, mut restore) = (std::pin::pin!(fetch), std::pin::pin!(restore));
    tokio::select! {
        fetched = &mut fetch => (Some(fetched), restore.await),
        restored = &mut restore => {
            let whole = restored.as_ref().is_ok_and(Exit::succeeded);
            (if whole { Some(fetch.await) } else { None }, restored)
        }
    }
}
