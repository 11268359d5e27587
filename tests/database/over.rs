//! Restores over the live database that are killed: which sentence is true is told by the server.

use relight::runbook::StepId;
use relight::workers::postgres::RestoreInPlace;
use relight::workers::process::{Adopted, adopt};
use relight::workers::{Cancel, Probe, Worker as _};
use rustix::process::{Pid, Signal, kill_process};

use super::kills::{GATES, processes, until_waiting};
use super::world::{PASSWORD, World, database};

const STEP: &str = "restore.database";
const LIVE: &str = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM transactions t";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Killed {
    PgRestore,
    Backend,
    Engine,
}

/// Kills while rows are loaded, and while an index is built; in one transaction and not.
async fn sweep(atomic: bool) {
    let world = World::new().await;
    world.run_sql(GATES).await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let restore = move || RestoreInPlace { database: database(), from: StepId::new("select.snapshot"), atomic };
    for (gate, killed) in [
        ("gate rows", Killed::PgRestore),
        ("gate index", Killed::PgRestore),
        ("gate rows", Killed::Backend),
        ("gate rows", Killed::Engine),
    ] {
        let case = format!("{killed:?} at {gate}, atomic {atomic}");
        // The damage.
        world.run_sql("UPDATE transactions SET amount = amount + 1").await;
        let before = fingerprint(&world).await;
        world.until_gone("api").await;
        let plan = world.plan(STEP, &restore()).await.unwrap();
        assert_eq!(plan.obstacle(), None, "{case}");
        let (cx, (_hand, cancel)) = (world.context(STEP), Cancel::new());
        let (io, planned, own) = (world.io(cancel), plan.clone(), cx.clone());
        let log = io.log.clone();
        // The gate is not on the database itself, which nobody else may be on.
        let held = world.sql("fc_app", PASSWORD, "postgres").await;
        held.batch_execute(&format!("SET application_name = '{gate}'")).await.unwrap();
        let told_before = world.progress().len();
        let mut running = tokio::spawn(async move { restore().run(&own, &planned, &io).await });
        let watch = world.admin("postgres").await;
        let backend = until_waiting(&watch, &mut running).await;
        // How far it is shows, weighed in bytes, and it is not at its end.
        let told = || {
            world.progress().get(told_before..)?.last().cloned().filter(|(label, ..)| !label.starts_with("download"))
        };
        while told().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(told().is_some_and(|(_, done, total)| done > 0 && total.is_some_and(|total| done < total)), "{case}");
        let starts = world.starts();
        match killed {
            Killed::PgRestore => {
                let pids = processes(&world, "pg_restore");
                assert!(!pids.is_empty(), "{case}");
                for pid in pids {
                    kill_process(pid, Signal::KILL).unwrap();
                }
            }
            Killed::Backend => kill_process(Pid::from_raw(backend).unwrap(), Signal::KILL).unwrap(),
            Killed::Engine => {
                running.abort();
                assert!(running.await.unwrap_err().is_cancelled());
                drop(held);
                let Adopted::Running(shim) = adopt(&log) else { panic!("{case}: it goes on") };
                let exit = shim.wait().await;
                assert!(matches!(exit, Adopted::Ended(exit) if exit.succeeded()), "{case}");
                let probe = restore().probe(&cx, &plan).await.unwrap();
                let Probe::Happened(done) = probe else { panic!("{case}: {probe:?}") };
                assert!(done.evidence.iter().any(|line| line.starts_with("The new data is complete")), "{done:?}");
                assert_ne!(fingerprint(&world).await, before, "{case}");
                continue;
            }
        }
        // The gate stays: whoever looks must not wait for what the dead have begun.
        let error = running.await.unwrap().expect_err(&case);
        if killed == Killed::Backend {
            world.until_restarted(starts).await;
        }
        let probe = restore().probe(&cx, &plan).await.unwrap();
        drop(held);
        if atomic {
            // The server may have been down when it was asked at once; it is asked again.
            let at_once = error.cause.contains("The old data is intact: the transaction was rolled back");
            assert!(at_once || killed == Killed::Backend, "{case}: {error}");
            assert!(
                matches!(&probe, Probe::DidNot(why) if why.contains("The old data is intact")),
                "{case}: {probe:?}"
            );
            assert_eq!(fingerprint(&world).await, before, "{case}");
        } else {
            let Probe::Broken(why, _) = &probe else { panic!("{case}: {probe:?}") };
            assert!(why.contains("The database is mixed: "), "{case}: {why}");
            for table in ["public.accounts", "public.transactions", "public.audit_log"] {
                assert!(why.contains(table), "{case}: {why}");
            }
            if gate == "gate rows" {
                assert!(why.contains("made anew and empty: public.audit_log"), "{case}: {why}");
            }
            // It goes through over what is left, which also makes what was lacking.
            world.until_gone("relight INC-TEST restore").await;
            world.done(STEP, &restore()).await;
        }
    }
}

async fn fingerprint(world: &World) -> String {
    let client = world.app().await;
    let found = client.query_one(LIVE, &[]).await.unwrap().get(0);
    world.leave(client).await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transaction_that_is_killed_leaves_the_old_data_intact() {
    sweep(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_written_procedure_that_is_killed_is_told_table_by_table() {
    sweep(false).await;
}
