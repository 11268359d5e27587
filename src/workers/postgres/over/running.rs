//! pg_restore at work over the live database: how far it is, what it waits for, and whether it had begun.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::archive::{Section, Span, Toc};
use crate::incident::Notice;
use crate::workers::process::{self, Exit, Rows, Spec};
use crate::workers::{Context, Io, WorkerError};

use super::super::pace::Pace;
use super::super::progress::{Progress, Step, weights};
use super::super::server::{FOREIGN, Server};
use super::super::sessions::RESTORE;
use super::super::stall::Stall;
use super::super::tools::Tool;
use super::restore::WHAT;

/// Between two looks at whether it gets on.
const LOOK: Duration = Duration::from_millis(250);

/// What pg_restore is told.
pub(super) struct Job<'a> {
    pub(super) server: &'a Server,
    pub(super) tool: &'a Tool,
    /// Sessions, and whether all is one transaction.
    pub(super) how: (u32, bool),
    pub(super) archive: &'a Path,
    /// The entries to restore; all where there is none.
    pub(super) list: Option<PathBuf>,
    pub(super) toc: &'a Toc,
    /// Where the archive's data lies, which weighs the work.
    pub(super) spans: &'a [Span],
}

/// The arguments of pg_restore.
pub(super) fn arguments(server: &Server, (jobs, atomic): (u32, bool), file: &Path, list: Option<&Path>) -> Vec<String> {
    let mut arguments = vec![
        "--clean".to_owned(),
        "--if-exists".to_owned(),
        "--no-owner".to_owned(),
        "--exit-on-error".to_owned(),
        format!("--role={}", server.settings.owner),
        if atomic { "--single-transaction".to_owned() } else { format!("--jobs={jobs}") },
        "--verbose".to_owned(),
    ];
    arguments.extend(list.map(|list| format!("--use-list={}", list.display())));
    arguments.extend(server.arguments());
    arguments.push(file.display().to_string());
    arguments
}

/// What its lines said last, and when.
struct Said {
    progress: Progress,
    step: Option<Step>,
    moved: Instant,
}

/// Runs it to its end; its exit, and whether it was seen to begin its work on the database.
pub(super) async fn run(io: &Io, cx: &Context, job: &Job<'_>) -> Result<(Exit, bool), WorkerError> {
    let Job { server, tool, how, archive, list, toc, spans } = job;
    let incident = &cx.knowledge.incident;
    let mut argv = vec![tool.path.display().to_string()];
    argv.extend(arguments(server, *how, archive, list.as_deref()));
    let mut spec = Spec::new(WHAT, server.name(), argv);
    spec.env = server.environment(incident, RESTORE);
    spec.env_remove = FOREIGN.map(str::to_owned).to_vec();
    spec.redact = server.secrets();
    spec.rows = Rows::Postgres;
    let done = weights(toc, spans, |entry| entry.section != Section::None || entry.definition.is_some());
    let progress = Progress::new(toc, done, how.0 > 1);
    let said = Arc::new(Mutex::new(Said { progress, step: None, moved: Instant::now() }));
    let seen = Arc::clone(&said);
    spec.on_line = Some(Box::new(move |line| {
        let mut said = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = said.progress.line(line) {
            said.step = Some(step);
            said.moved = Instant::now();
        }
    }));
    let (mut pace, mut stall) = (Pace::new(Instant::now(), None), Stall::default());
    let mut shown = None;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = std::pin::pin!(process::run(io, spec));
    let exit = loop {
        tokio::select! {
            exit = &mut running => break exit?,
            _ = looks.tick() => {
                let (step, idle) = {
                    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    (said.step.clone(), said.moved.elapsed())
                };
                let stalled = stall.look(io, server, incident, idle.as_secs()).await.map(str::to_owned);
                let now = Some((step.clone(), stalled.clone()));
                let Some(step) = step.filter(|_| now != shown) else { continue };
                shown = now;
                let left = pace.left(Instant::now(), step.done, step.total).filter(|_| stalled.is_none());
                io.notice(Notice::Progress {
                    attempt: io.attempt,
                    label: step.label,
                    done: step.done,
                    total: Some(step.total),
                    unit: "of the work".to_owned(),
                    left,
                    stalled,
                });
            }
        }
    };
    let touched = said.lock().unwrap_or_else(PoisonError::into_inner).progress.touched();
    Ok((exit, touched))
}

/// Whether a pg_restore whose log this is was seen to begin its work on the database.
pub(super) fn had_begun(log: &Path) -> bool {
    use std::io::BufRead as _;
    let Ok(file) = std::fs::File::open(log) else { return false };
    let mut lines = std::io::BufReader::new(file).split(b'\n').map_while(Result::ok);
    lines.any(|line| Progress::is_work(&String::from_utf8_lossy(&line)))
}
