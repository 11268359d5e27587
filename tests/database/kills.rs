//! Whoever is killed, in whichever phase of a restore: it ends with the old data intact or the new data complete, and
//! the next attempt succeeds.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use relight::incident::Fact;
use relight::workers::postgres::{Server, why_stalled};
use relight::workers::process::{Adopted, adopt};
use relight::workers::{Cancel, Probe, Ran, Worker as _, WorkerError};
use rustix::fs::{FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::beside::{beside, name_of, prove};
use super::world::{World, database, until};

const STEP: &str = "restore.database";
/// Rows, an index and a view each wait for as long as there is a session that is named after their gate.
pub(super) const GATES: &str = "CREATE FUNCTION gate(name text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
     WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = name) LOOP \
       PERFORM pg_catalog.pg_sleep(0.01); PERFORM pg_catalog.pg_stat_clear_snapshot(); END LOOP; RETURN true; END $$; \
     ALTER TABLE audit_log ADD CHECK (line IS NULL OR gate('gate rows')); \
     CREATE INDEX gated ON accounts ((email IS NOT NULL AND gate('gate index'))); \
     CREATE MATERIALIZED VIEW gated_view AS SELECT id FROM accounts WHERE gate('gate view' || left(email, 0)) LIMIT 1";

/// A session of the restore waits for a lock.
pub(super) const BLOCKED: &str = "EXISTS (SELECT FROM pg_stat_activity \
     WHERE application_name = 'relight INC-TEST restore' AND wait_event_type = 'Lock')";

/// The processes of this world's loader: those that have its files on their command line.
pub(super) fn processes(world: &World, program: &str) -> Vec<Pid> {
    let own = world.path().display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw) else { continue };
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        if words.iter().any(|word| word.contains(&own)) && words.iter().take(2).any(|word| word.ends_with(program)) {
            found.push(pid);
        }
    }
    found
}

/// A session of the restore that waits at its gate; a restore that ends before it gets there fails the test with its end.
pub(super) async fn until_waiting(watch: &Client, running: &mut Running) -> i32 {
    let waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event = 'PgSleep' LIMIT 1";
    until_found(watch, waits, running).await
}

/// The first process that this finds; a restore that ends before there is one fails the test with its end.
async fn until_found(watch: &Client, sql: &str, running: &mut Running) -> i32 {
    let there = format!("EXISTS ({sql})");
    loop {
        tokio::select! {
            () = until(watch, &there) => {}
            ended = &mut *running => panic!("it ended before the test had it where it wants it: {ended:?}"),
        }
        // Whoever waits by sleeping may be awake between the two.
        if let Some(row) = watch.query_opt(sql, &[]).await.unwrap() {
            return row.get(0);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Killed {
    Loader,
    PgRestore,
    Backend,
    Engine,
    /// Nobody: a person stops it.
    Stopped,
}

/// What keeps a restore in a phase until the test lets it go on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// An expression that the server works out waits: of rows, an index, a view.
    Expression(&'static str),
    /// A constraint waits for a lock that a session of the test holds.
    Constraints,
    /// pg_restore did what its list says, and has not ended yet: definitions first, what is left with its rights last.
    List(&'static str),
}

/// What holds a restore in a phase; it goes on when this is dropped.
enum Held {
    Session { _client: Client },
    Pipe { _end: File },
}

/// PostgreSQL's programs, with a pg_restore that waits after its work wherever a pipe of its list's name lies.
fn waiting_programs(world: &World) -> PathBuf {
    let bin = world.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let real = world.config.postgres["financecopilot"].bin_dir.clone().unwrap();
    std::os::unix::fs::symlink(real.join("pg_dump"), bin.join("pg_dump")).unwrap();
    let script = format!(
        "#!/bin/sh\n{}/pg_restore \"$@\" || exit 1\nfor list in before rest; do\n\
         case \"$*\" in *-$list.list*) if [ -p {bin}/$list ]; then read -r _ < {bin}/$list; fi;; esac\ndone\nexit 0\n",
        real.display(),
        bin = bin.display()
    );
    std::fs::write(bin.join("pg_restore"), script).unwrap();
    std::fs::set_permissions(bin.join("pg_restore"), std::fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

async fn named(world: &World, name: &str) -> Client {
    let gate = world.app().await;
    gate.batch_execute(&format!("SET application_name = '{name}'")).await.unwrap();
    gate
}

pub(super) type Running = JoinHandle<Result<Ran, WorkerError>>;

/// Begins a restore and waits until pg_restore has done what this list says; it ends when the pipe's end is dropped.
async fn waiting_list(world: &World, list: &str, begin: impl FnOnce() -> Running) -> (File, Running) {
    let pipe = world.path().join("bin").join(list);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mut running = begin();
    let there = pipe.clone();
    let open = move || File::options().write(true).open(there).unwrap();
    let end = tokio::select! {
        end = tokio::task::spawn_blocking(open) => end.unwrap(),
        ended = &mut running => {
            // Lets the thread go that waits for somebody to read.
            drop(File::options().read(true).write(true).open(&pipe));
            panic!("it ended before its list was done: {ended:?}");
        }
    };
    std::fs::remove_file(pipe).unwrap();
    (end, running)
}

/// Begins a restore and waits until it is in the phase; with a backend of the restore.
async fn held(world: &World, phase: Phase, begin: impl FnOnce() -> Running) -> (Running, Held, i32) {
    let watch = world.admin("postgres").await;
    match phase {
        Phase::Expression(name) => {
            let gate = named(world, name).await;
            let mut running = begin();
            let backend = until_waiting(&watch, &mut running).await;
            (running, Held::Session { _client: gate }, backend)
        }
        Phase::Constraints => {
            // The tables are there, and nobody works on them yet.
            let (end, mut running) = waiting_list(world, "before", begin).await;
            // The newest database is the one that is being restored into.
            let newest = "SELECT datname FROM pg_database WHERE datname LIKE 'financecopilot_restore%' ORDER BY oid DESC LIMIT 1";
            let name: String = watch.query_one(newest, &[]).await.unwrap().get(0);
            let holder = world.admin(&name).await;
            // Rows and indexes go past this, and no constraint that takes its index.
            holder.batch_execute("BEGIN; LOCK TABLE accounts IN ACCESS SHARE MODE").await.unwrap();
            drop(end);
            let waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event_type = 'Lock' LIMIT 1";
            let backend = until_found(&watch, waits, &mut running).await;
            (running, Held::Session { _client: holder }, backend)
        }
        Phase::List(list) => {
            let (end, running) = waiting_list(world, list, begin).await;
            // pg_restore's own session is gone by then: any other of ours brings the server down as well.
            let ours = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'relight INC-TEST%' LIMIT 1";
            let backend = watch.query_one(ours, &[]).await.unwrap().get(0);
            (running, Held::Pipe { _end: end }, backend)
        }
    }
}

const ROWS: Phase = Phase::Expression("gate rows");
const INDEX: Phase = Phase::Expression("gate index");
const VIEW: Phase = Phase::Expression("gate view");
const BEFORE: Phase = Phase::List("before");
const REST: Phase = Phase::List("rest");
const PHASES: [Phase; 6] = [BEFORE, ROWS, INDEX, Phase::Constraints, VIEW, REST];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_is_killed_in_any_phase_leaves_the_old_data_intact() {
    sweep(&PHASES, Killed::Loader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pg_restore_that_is_killed_leaves_the_old_data_intact() {
    sweep(&[BEFORE, VIEW, REST], Killed::PgRestore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_whose_engine_is_killed_in_any_phase_is_adopted_and_proved() {
    sweep(&PHASES, Killed::Engine).await;
}

/// With what it waits for still there: a backend that waits for a lock does not see by itself that its client is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_stopped_in_any_phase_leaves_no_process_and_no_session() {
    sweep(&PHASES, Killed::Stopped).await;
}

/// Each takes the whole server down and up again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_in_any_phase_leaves_the_old_data_intact() {
    sweep(&PHASES, Killed::Backend).await;
}

/// Kills in each phase, one after the other; then an attempt that nobody disturbs succeeds.
async fn sweep(phases: &[Phase], killed: Killed) {
    let mut world = World::new().await;
    world.run_sql(GATES).await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let bin = waiting_programs(&world);
    world.config.postgres.get_mut("financecopilot").unwrap().bin_dir = Some(bin);
    let live = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM transactions t";
    let before: String = world.app().await.query_one(live, &[]).await.unwrap().get(0);
    // Once without trouble, so that the dump is here.
    world.done(STEP, &beside()).await;
    for phase in phases.iter().copied() {
        let plan = world.plan(STEP, &beside()).await.unwrap();
        let (cx, (hand, cancel)) = (world.context(STEP), Cancel::new());
        let (io, planned, own) = (world.io(cancel), plan.clone(), cx.clone());
        let log = io.log.clone();
        let begin = || tokio::spawn(async move { beside().run(&own, &planned, &io).await });
        let (running, gate, backend) = held(&world, phase, begin).await;
        let case = format!("{killed:?} in {phase:?}");
        let program = if killed == Killed::PgRestore { "pg_restore" } else { "load" };
        let starts = world.starts();
        match killed {
            Killed::Loader | Killed::PgRestore => {
                let pids = processes(&world, program);
                assert!(!pids.is_empty(), "{case}: there is a process to kill");
                for pid in pids {
                    kill_process(pid, Signal::KILL).unwrap();
                }
            }
            Killed::Backend => kill_process(Pid::from_raw(backend).unwrap(), Signal::KILL).unwrap(),
            Killed::Engine => running.abort(),
            Killed::Stopped => {
                hand.send_replace(true);
                let ran = running.await.unwrap();
                let Ok(Ran::Stopped(left)) = ran else { panic!("{case}: {ran:?}") };
                assert!(left.contains("The old data is intact"), "{case}: {left}");
                assert_eq!(processes(&world, "load"), [], "{case}");
                assert_eq!(processes(&world, "pg_restore"), [], "{case}");
                no_session_is_left(&case, &world.admin("postgres").await).await;
                drop(gate);
                continue;
            }
        }
        if killed == Killed::Engine {
            assert!(running.await.unwrap_err().is_cancelled());
            drop(gate);
            let Adopted::Running(shim) = adopt(&log) else { panic!("{case}: the loader goes on") };
            let exit = shim.wait().await;
            assert!(matches!(exit, Adopted::Ended(exit) if exit.succeeded()), "{case}");
            let Probe::Happened(done) = beside().probe(&cx, &plan).await.unwrap() else {
                panic!("{case}: it was restored")
            };
            done.facts.iter().for_each(|fact: &Fact| world.know(STEP, fact.clone()));
            let proof = world.done("restore.prove", &prove()).await;
            assert!(proof.evidence[0].contains("equal to the dump"), "{case}: {proof:?}");
            continue;
        }
        if killed == Killed::Backend {
            // A pg_restore whose work is done ends well, and what comes after finds the server gone.
            drop(gate);
            ended(&case, running.await.unwrap());
            world.until_restarted(starts).await;
        } else {
            ended(&case, running.await.unwrap());
            drop(gate);
        }
        let now: String = world.app().await.query_one(live, &[]).await.unwrap().get(0);
        assert_eq!(now, before, "{case}");
    }
    let left: Vec<PathBuf> =
        processes(&world, "load").iter().map(|pid| PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))).collect();
    assert!(left.is_empty(), "nothing is left of any attempt: {left:?}");
    let done = world.done(STEP, &beside()).await;
    let databases = "SELECT count(*) FROM pg_database WHERE datname LIKE 'financecopilot_restore%'";
    let there: i64 = world.admin("postgres").await.query_one(databases, &[]).await.unwrap().get(0);
    assert!(there >= 1, "{}", name_of(&done.facts));
    assert!(world.done("restore.prove", &prove()).await.evidence[0].contains("equal to the dump"));
}

/// The server lists a session until its process has ended.
async fn no_session_is_left(case: &str, watch: &Client) {
    let ours =
        "FROM pg_stat_activity WHERE application_name LIKE 'relight INC-TEST%' OR application_name LIKE 'pg_restore%'";
    until(watch, &format!("NOT EXISTS (SELECT {ours}) OR clock_timestamp() > now() + interval '30 s'")).await;
    let who = format!("SELECT string_agg(concat_ws(' ', application_name, state, wait_event, query), '; ') {ours}");
    let left: Option<String> = watch.query_one(&who, &[]).await.unwrap().get(0);
    assert_eq!(left, None, "{case}");
}

/// The one sentence that an attempt which did not succeed ends in here.
fn ended(case: &str, ran: Result<Ran, WorkerError>) {
    let error = ran.expect_err(case);
    assert!(error.cause.contains("The old data is intact"), "{case}: {error}");
}

/// Who is in a restore's way is named with what ends that; a session that works is no stall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restore_waits_for_is_named() {
    let world = World::new().await;
    let server = Server::of(&world.config, &database()).await.unwrap();
    let why = async || why_stalled(&server, &World::incident()).await.unwrap();
    assert_eq!(why().await.as_deref(), Some("no session of it does anything on the server"));
    let holder = world.app().await;
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    holder.batch_execute("BEGIN; LOCK TABLE accounts").await.unwrap();
    let restoring = world.app().await;
    restoring.batch_execute("SET application_name = 'relight INC-TEST restore'").await.unwrap();
    let waiting = tokio::spawn(async move { restoring.batch_execute("SELECT count(*) FROM accounts").await });
    let watch = world.admin("postgres").await;
    until(&watch, BLOCKED).await;
    let said = why().await.expect("a stall");
    assert!(said.contains("Lock/relation") && said.contains(&format!("SELECT pg_terminate_backend({pid})")), "{said}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap().unwrap();
    // A loop in SQL works on the processor until it is cancelled.
    let busy = world.app().await;
    busy.batch_execute("SET application_name = 'relight INC-TEST restore'").await.unwrap();
    let cancel = busy.cancel_token();
    let works = tokio::spawn(async move { busy.batch_execute("DO $$ BEGIN LOOP END LOOP; END $$").await });
    let at_work = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND state = 'active' AND wait_event IS NULL)";
    until(&watch, at_work).await;
    assert_eq!(why().await, None, "what works is no stall");
    cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert!(works.await.unwrap().is_err());
}
