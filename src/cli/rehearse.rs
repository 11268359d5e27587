//! `relight rehearse`: the restore of a real snapshot beside the live database, with nobody there and no swap.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use color_eyre::Result;
use color_eyre::eyre::WrapErr as _;
use jiff::Timestamp;
use rustix::fs::FlockOperation;

use crate::config::Config;
use crate::incident::{
    AttemptId, Digest, Fact, Gravity, Inputs, Knowledge, KnownFact, Notice, ObjectRef, State, duration_text,
};
use crate::runbook::{Action, Runbook, StepId, TargetRef};
use crate::workers::postgres::{Phases, ProveTables, Rehearsal, RestoreBeside, Server, discard};
use crate::workers::s3::Place;
use crate::workers::snapshot::list_snapshots;
use crate::workers::{Cancel, Context, Disposition, Io, Ran, Sink, Worker, WorkerError};

use super::arguments::{Common, RehearseOptions};
use super::check::scratch_state;
use super::exit::Usage;
use super::incidents::{config, home, runbook_text};
use super::out::{self, outln};
use super::{Exit, signals};

/// How a rehearsal ended where it did not pass.
enum Fault {
    /// A guard refused it beforehand.
    Refused(String),
    /// It failed, or could not be looked at.
    Failed(String),
    /// It was restored, and is not what the dump holds.
    Unproved(String),
    /// It was asked to end.
    Interrupted,
}

impl From<WorkerError> for Fault {
    fn from(error: WorkerError) -> Self {
        match error.disposition {
            // Only what was looked at and is not so is beyond another try.
            Disposition::Fatal => Self::Unproved(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Prints what workers say, and notes when the dump was here.
struct Teller {
    quiet: bool,
    fetched: Mutex<Option<Instant>>,
    phases: Mutex<Option<Phases>>,
}

impl Teller {
    fn phases(&self) -> Option<Phases> {
        *self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Teller {
    fn line(&self, text: &str) {
        if text.contains(" is downloaded") || text.contains(" is here already") {
            *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        if !self.quiet {
            outln!("  {text}");
        }
    }

    // What pg_restore prints is in the log; a nightly run needs no bars.
    fn notice(&self, notice: Notice) {
        if let Notice::Output { text, .. } = notice
            && let Some(phases) = text.lines().find_map(Phases::read)
        {
            *self.phases.lock().unwrap_or_else(PoisonError::into_inner) = Some(phases);
        }
    }
}

pub(super) fn rehearse(common: &Common, options: &RehearseOptions) -> Result<Exit> {
    let loaded = config(common)?;
    let (origin, text) = runbook_text(common)?;
    let runbook = Runbook::parse(&origin, &text)?;
    let chosen = runbook.steps().find_map(|step| match &step.action {
        Action::ChooseSnapshot { from, database } => Some((step.id.clone(), from.clone(), database.clone())),
        _ => None,
    });
    let Some((step, from, database)) = chosen else {
        return Err(Usage(format!("{origin} chooses no snapshot, so there is nothing to rehearse")).into());
    };
    let root = home(common)?.root().to_owned();
    let folder = root.join("rehearsals").join("work");
    for path in [&folder, &folder.join("output")] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.wrap_err_with(|| format!("{} cannot be made", path.display()))?;
    }
    let Some(_held) = hold(&root.join("rehearsals"))? else {
        outln!("Another rehearsal is at work on this host; it is left alone.");
        return Ok(Exit::Refused);
    };
    let state = scratch_state(&id_of(&root), &loaded.config.environment, origin, text)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let run = Run { state, config: Arc::new(loaded.config), folder, step, from, database, quiet: options.json };
    let (rehearsal, fault) = runtime.block_on(run.play(&options.snapshot));
    rehearsal.keep(&root).wrap_err("the history of rehearsals cannot be written")?;
    if options.json {
        out::json(&rehearsal)?;
    } else {
        print(&rehearsal);
    }
    Ok(match fault {
        None => Exit::Done,
        Some(Fault::Refused(_)) => Exit::Refused,
        Some(Fault::Failed(_)) => Exit::Failed,
        Some(Fault::Unproved(_)) => Exit::Unverified,
        Some(Fault::Interrupted) => Exit::Interrupted,
    })
}

fn print(rehearsal: &Rehearsal) {
    let time = |millis: u64| match jiff::SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)) {
        short if short.as_secs() < 60 => format!("{:.1}s", short.as_secs_f64()),
        long => duration_text(long),
    };
    if rehearsal.passed {
        outln!(
            "\nPASSED: {} of {} is back in {}: fetched in {}, restored in {}, proved in {}. Nothing is left of it.",
            rehearsal.snapshot,
            rehearsal.database,
            time(u64::try_from(rehearsal.took().as_millis()).unwrap_or(0)),
            time(rehearsal.fetch_ms),
            time(rehearsal.restore_ms),
            time(rehearsal.prove_ms)
        );
    } else {
        outln!("\nNOT PASSED: {}", rehearsal.fault.as_deref().unwrap_or("it was asked to end"));
    }
}

/// One rehearsal at a time on a host: the next would throw away what the first is restoring.
fn hold(folder: &Path) -> Result<Option<File>> {
    let file = crate::private::create(&folder.join("lock")).wrap_err("the lock of rehearsals cannot be made")?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).wrap_err("the lock of rehearsals cannot be taken"),
    }
}

/// An incident id of this host and state folder: what earlier rehearsals of it left is thrown away by it, and what those
/// of others left is not.
fn id_of(root: &Path) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let tag: String = Digest::of(format!("{host}\n{}", root.display()).as_bytes()).0.chars().take(6).collect();
    format!("REHEARSAL-{tag}")
}

struct Run {
    state: State,
    config: Arc<Config>,
    folder: PathBuf,
    step: StepId,
    from: TargetRef,
    database: TargetRef,
    quiet: bool,
}

impl Run {
    async fn play(&self, wanted: &str) -> (Rehearsal, Option<Fault>) {
        let mut rehearsal = Rehearsal {
            at: Timestamp::now(),
            database: self.database.to_string(),
            snapshot: wanted.to_owned(),
            bytes: 0,
            fetch_ms: 0,
            restore_ms: 0,
            prove_ms: 0,
            phases: None,
            real: false,
            passed: false,
            fault: None,
        };
        let fault = self.phases(wanted, &mut rehearsal).await.err();
        rehearsal.passed = fault.is_none();
        rehearsal.fault = fault.as_ref().map(|fault| match fault {
            Fault::Refused(why) | Fault::Failed(why) | Fault::Unproved(why) => why.clone(),
            Fault::Interrupted => "it was asked to end".to_owned(),
        });
        (rehearsal, fault)
    }

    async fn phases(&self, wanted: &str, rehearsal: &mut Rehearsal) -> Result<(), Fault> {
        let (hand, cancel) = Cancel::new();
        let ending = signals::asked_to_end();
        let asked = tokio::spawn(async move {
            ending.await;
            hand.send_replace(true);
            // The hand is kept: without it nobody could ask any more.
            std::future::pending::<()>().await;
        });
        let server = Server::of(&self.config, &self.database).await?;
        rehearsal.database = server.name();
        let (object, taken_at) = self.choose(wanted).await?;
        rehearsal.snapshot.clone_from(&object.key);
        rehearsal.bytes = object.size;
        self.say(&format!("Rehearsing with {} of {}", object.key, server.name()));
        let chosen = Fact::Snapshot { object, taken_at };
        let teller = Arc::new(Teller { quiet: self.quiet, fetched: Mutex::new(None), phases: Mutex::default() });
        let worker = RestoreBeside { database: self.database.clone(), from: self.step.clone(), rehearsal: true };
        let began = Instant::now();
        let restored =
            self.run(&worker, "rehearse.restore", 1, vec![self.fact(chosen.clone())], &teller, &cancel).await;
        let ended = Instant::now();
        let fetched = teller.fetched.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(ended);
        rehearsal.fetch_ms = millis(fetched - began);
        rehearsal.restore_ms = millis(ended - fetched);
        rehearsal.phases = teller.phases();
        let facts = match restored {
            Ok(facts) => facts,
            Err(fault) => {
                let _ = std::fs::remove_dir_all(self.folder.join("work"));
                return Err(fault);
            }
        };
        let beside = facts.iter().find_map(|fact| match fact {
            Fact::RestoredBeside { database, .. } => Some(database.clone()),
            _ => None,
        });
        let mut known = vec![self.fact(chosen)];
        known.extend(
            facts.into_iter().map(|fact| KnownFact { step: StepId::new("rehearse.restore"), ..self.fact(fact) }),
        );
        let prove = ProveTables { database: self.database.clone(), restore: StepId::new("rehearse.restore") };
        let proved = self.run(&prove, "rehearse.prove", 2, known, &teller, &cancel).await;
        rehearsal.prove_ms = millis(ended.elapsed());
        asked.abort();
        // Whatever came of it, nothing is left.
        if let Some(beside) = beside {
            let cx = self.context("rehearse.restore", 3, Vec::new());
            let thrown = discard(&cx, &self.database, &beside).await;
            // The dump may be of any size, and the next rehearsal takes another.
            let _ = std::fs::remove_dir_all(self.folder.join("work"));
            thrown?;
            self.say(&format!("  {beside} is thrown away"));
        }
        proved.map(|_| ())
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            outln!("{line}");
        }
    }

    async fn choose(&self, wanted: &str) -> Result<(ObjectRef, Timestamp), Fault> {
        let now = Timestamp::now();
        let listing = list_snapshots(&self.config, &self.from, &self.database, Some(now), now).await?;
        let row = match wanted {
            "latest" => listing.rows.iter().find(|row| row.proposed),
            key => listing.rows.iter().find(|row| row.key == key),
        };
        let Some(row) = row else {
            return Err(Fault::Refused(format!("there is no such snapshot in {}: {wanted}", listing.place)));
        };
        if !row.eligible {
            return Err(Fault::Refused(format!("{} is not fit to be restored: {}", row.key, row.detail)));
        }
        let place = Place::open(&self.config, &self.from).await?;
        match place.head(&row.key, row.version_id.as_deref()).await? {
            Some(object) => Ok((object, row.taken_at)),
            None => Err(Fault::Refused(format!("{} went away", row.key))),
        }
    }

    fn fact(&self, fact: Fact) -> KnownFact {
        KnownFact { step: self.step.clone(), attempt: AttemptId(0), standing: true, fact }
    }

    fn context(&self, step: &str, attempt: u32, facts: Vec<KnownFact>) -> Context {
        let step = StepId::new(step);
        let mut knowledge = Knowledge::of(&self.state, &step, Timestamp::now());
        knowledge.facts = facts;
        Context {
            title: step.to_string(),
            step,
            attempt: Some(AttemptId(attempt)),
            inputs: Inputs::new(),
            undoes: None,
            knowledge: Arc::new(knowledge),
            config: Arc::clone(&self.config),
            folder: self.folder.clone(),
        }
    }

    async fn run(
        &self,
        worker: &dyn Worker,
        step: &str,
        attempt: u32,
        facts: Vec<KnownFact>,
        teller: &Arc<Teller>,
        cancel: &Cancel,
    ) -> Result<Vec<Fact>, Fault> {
        let cx = self.context(step, attempt, facts);
        let log = self.folder.join("output").join(format!("{attempt}.log"));
        // A log belongs to one run of a program; the one of the last rehearsal has served its time.
        for entry in std::fs::read_dir(self.folder.join("output")).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("{attempt}.")) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let io = Io::new(AttemptId(attempt), cancel.clone(), log, Arc::clone(teller) as Arc<dyn Sink>);
        let plan = worker.plan(&cx).await?;
        let findings = worker.preflight(&cx, &plan).await?;
        let blocking = plan.findings.iter().chain(&findings).find(|finding| finding.gravity == Gravity::Blocking);
        if let Some(blocking) = blocking {
            return Err(Fault::Refused(blocking.text.clone()));
        }
        match worker.run(&cx, &plan, &io).await? {
            Ran::Done(done) => {
                for line in &done.evidence {
                    self.say(&format!("  {line}"));
                }
                Ok(done.facts)
            }
            Ran::Stopped(_) => Err(Fault::Interrupted),
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
