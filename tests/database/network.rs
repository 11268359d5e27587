//! A swap over a network that breaks: after any byte of any of its sessions the live name is open again, under one of the
//! two databases, and what is reported is what is so.

use relight::incident::Plan;
use relight::workers::postgres::SwapDatabase;
use relight::workers::{Disposition, Probe, Ran, Worker as _, WorkerError};

use super::beside::{beside, damaged, name_of};
use super::proxy::{Lie, Proxy, Speech, Which};
use super::tally::{Dice, amount, seed, tell};
use super::world::{World, database};
use super::{StepId, swap::until_open};

const SWAP: &str = "restore.swap";

fn swap() -> SwapDatabase {
    SwapDatabase { database: database(), restore: StepId::new("restore.database") }
}

/// Gives the names back as they were before a swap.
async fn undo(world: &World, restored: &str) {
    for statement in [
        format!("ALTER DATABASE financecopilot RENAME TO \"{restored}\""),
        "ALTER DATABASE financecopilot_pre_test RENAME TO financecopilot".to_owned(),
        "ALTER DATABASE financecopilot ALLOW_CONNECTIONS true".to_owned(),
    ] {
        world.as_super("postgres", &statement).await;
    }
}

async fn number_of(world: &World, name: &str) -> String {
    world.text(&format!("SELECT coalesce((SELECT oid::text FROM pg_database WHERE datname = '{name}'), 'none')")).await
}

/// What is reported of an attempt is what is so of the databases.
fn agrees(ran: &Result<Ran, WorkerError>, probed: &Probe, swapped: bool) -> Result<(), String> {
    match ran {
        Ok(_) if swapped => {}
        Err(error) if error.disposition == Disposition::InDoubt => {}
        Err(error) if !swapped && error.cause.contains("The old data is intact") => {}
        // Before anything was changed there is nothing to say of the data.
        Err(error) if !swapped && error.disposition == Disposition::Retry => {}
        other => return Err(format!("swapped: {swapped}, and reports {other:?}")),
    }
    match probed {
        Probe::Happened(_) if swapped => Ok(()),
        Probe::DidNot(_) if !swapped => Ok(()),
        other => Err(format!("swapped: {swapped}, and the probe says {other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_over_a_network_that_breaks_anywhere_is_told_rightly_and_leaves_the_name_open() {
    let (mut world, _) = damaged().await;
    let proxy = Proxy::before(([127, 0, 0, 1], world.port).into(), Speech::Bytes).await;
    world.config.postgres.get_mut("financecopilot").unwrap().port = Some(proxy.address.port());
    let restored = name_of(&world.done("restore.database", &beside()).await.facts);
    let (old, new) = (number_of(&world, "financecopilot").await, number_of(&world, &restored).await);
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    proxy.said().await;
    proxy.mend().await;
    world.run(SWAP, &swap(), &plan).await.unwrap();
    let connections = proxy.seen();
    let longest = proxy.said().await.into_iter().max().unwrap();
    undo(&world, &restored).await;

    let steps = usize::try_from(amount(6, 16)).unwrap();
    let first = usize::try_from(Dice::new(seed()).below(longest as u64 / 6)).unwrap();
    let mut tried = 0;
    for from in 0..connections {
        for at in (first..longest).step_by((longest / steps).max(1)) {
            let plan: Plan = world.plan(SWAP, &swap()).await.unwrap();
            assert_eq!(plan.obstacle(), None);
            proxy.lie(Which::From(from), Lie::ResetAt(at)).await;
            let ran = world.run_only(SWAP, &swap(), &plan).await;
            proxy.mend().await;
            until_open(&world).await;
            let swapped = number_of(&world, "financecopilot").await == new;
            assert!(swapped || number_of(&world, "financecopilot").await == old);
            let probed = swap().probe(&world.context(SWAP), &plan).await.unwrap();
            agrees(&ran, &probed, swapped).unwrap_or_else(|why| panic!("session {from}, byte {at}: {why}"));
            if swapped {
                undo(&world, &restored).await;
            }
            tried += 1;
        }
    }
    tell("swap of two databases, each of its sessions reset after so many bytes", tried, tried);
}
