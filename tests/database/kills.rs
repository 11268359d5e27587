//! Whoever is killed, in whichever phase of a restore: it ends with the old data intact or the new data complete, and
//! the next attempt succeeds.

use std::path::PathBuf;

use relight::incident::Fact;
use relight::workers::postgres::{Server, why_stalled};
use relight::workers::process::{Adopted, adopt};
use relight::workers::{Cancel, Probe, Worker as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::Client;

use super::beside::{beside, name_of, prove};
use super::world::{World, database};

const STEP: &str = "restore.database";
/// Rows, an index and a view each wait for as long as there is a session that is named after their gate.
const GATES: &str = "CREATE FUNCTION gate(name text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
     WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = name) LOOP \
       PERFORM pg_catalog.pg_sleep(0.01); PERFORM pg_catalog.pg_stat_clear_snapshot(); END LOOP; RETURN true; END $$; \
     ALTER TABLE audit_log ADD CHECK (line IS NULL OR gate('gate rows')); \
     CREATE INDEX gated ON accounts ((email IS NOT NULL AND gate('gate index'))); \
     CREATE MATERIALIZED VIEW gated_view AS SELECT id FROM accounts WHERE gate('gate view' || left(email, 0)) LIMIT 1";

/// The processes of this world's loader: those that have its files on their command line.
fn processes(world: &World, program: &str) -> Vec<Pid> {
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

async fn until_waiting(watch: &Client) -> i32 {
    let waits = "SELECT pid FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event = 'PgSleep'";
    loop {
        if let Some(row) = watch.query_opt(&format!("{waits} LIMIT 1"), &[]).await.unwrap() {
            return row.get(0);
        }
    }
}

/// The server takes connections again.
async fn until_up(world: &World) {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(world.port).user("relight").password(super::world::PASSWORD).dbname("financecopilot");
    while config.connect(tokio_postgres::NoTls).await.is_err() {}
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Killed {
    Loader,
    PgRestore,
    Backend,
    Engine,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_death_in_each_phase_ends_in_a_sentence_that_is_true() {
    let world = World::new().await;
    world.run_sql(GATES).await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let live = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM transactions t";
    let before: String = world.app().await.query_one(live, &[]).await.unwrap().get(0);
    // Once without trouble, so that the dump is here.
    world.done(STEP, &beside()).await;
    for (phase, killed) in [
        ("gate rows", Killed::Loader),
        ("gate rows", Killed::Engine),
        ("gate index", Killed::Loader),
        ("gate index", Killed::Engine),
        ("gate view", Killed::Loader),
        ("gate view", Killed::PgRestore),
        ("gate view", Killed::Engine),
        // These take the whole server down and up again.
        ("gate rows", Killed::Backend),
        ("gate index", Killed::Backend),
    ] {
        let plan = world.plan(STEP, &beside()).await.unwrap();
        let (cx, (_hand, cancel)) = (world.context(STEP), Cancel::new());
        let (io, planned, own) = (world.io(cancel), plan.clone(), cx.clone());
        let log = io.log.clone();
        let (gate, watch) = (world.app().await, world.admin("postgres").await);
        gate.batch_execute(&format!("SET application_name = '{phase}'")).await.unwrap();
        let running = tokio::spawn(async move { beside().run(&own, &planned, &io).await });
        let backend = until_waiting(&watch).await;
        let case = format!("{killed:?} in {phase}");
        let program = if killed == Killed::PgRestore { "pg_restore" } else { "load" };
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
        let error = running.await.unwrap().expect_err(&case);
        assert!(error.cause.contains("The old data is intact"), "{case}: {error}");
        drop((gate, watch));
        until_up(&world).await;
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
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event_type = 'Lock'";
    while watch.query_one(blocked, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    let said = why().await.expect("a stall");
    assert!(said.contains("Lock/relation") && said.contains(&format!("SELECT pg_terminate_backend({pid})")), "{said}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap().unwrap();
    // A loop in SQL works on the processor until it is cancelled.
    let busy = world.app().await;
    busy.batch_execute("SET application_name = 'relight INC-TEST restore'").await.unwrap();
    let cancel = busy.cancel_token();
    let works = tokio::spawn(async move { busy.batch_execute("DO $$ BEGIN LOOP END LOOP; END $$").await });
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND state = 'active' AND wait_event IS NULL";
    while watch.query_one(at_work, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    assert_eq!(why().await, None, "what works is no stall");
    cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert!(works.await.unwrap().is_err());
}
