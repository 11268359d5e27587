//! A swap over a network that breaks: after any byte of any of its sessions the live name is open again, under one of the
//! two databases, and what is reported is what is so.

use std::time::Duration;

use relight::incident::Plan;
use relight::workers::postgres::SwapDatabase;
use relight::workers::{Disposition, Probe, Ran, Worker as _, WorkerError};

use super::beside::{beside, damaged, live, name_of, prove};
use super::proxy::{Lie, Proxy, Speech, Which};
use super::tally::{Dice, amount, seed};
use super::trials::Trials;
use super::world::{World, database};
use super::{StepId, safety, swap::until_open};

const SWAP: &str = "restore.swap";
const RESTORE: &str = "restore.database";
const DUMP: &str = "restore.safety-dump";

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
    let mut lies: Vec<(Which, Lie)> = (0..connections)
        .flat_map(|from| {
            let bytes = (first..longest).step_by((longest / steps).max(1));
            bytes.map(move |at| (Which::From(from), Lie::ResetAt(at)))
        })
        .collect();
    lies.extend((0..connections).map(|only| (Which::Only(only), Lie::Refused)));
    // Each silence costs what it is waited for.
    for only in 0..usize::try_from(amount(0, connections as u64)).unwrap() {
        lies.extend([Lie::Mute, Lie::Swallowed].map(|lie| (Which::Only(only), lie)));
    }
    let mut trials = Trials::of("swap of two databases, its sessions reset, silent or refused");
    for (which, lie) in lies {
        let plan: Plan = world.plan(SWAP, &swap()).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        trials.begin();
        proxy.lie(which, lie.clone()).await;
        let ran = in_time(world.run_only(SWAP, &swap(), &plan), which, &lie).await;
        proxy.mend().await;
        until_open(&world).await;
        let swapped = number_of(&world, "financecopilot").await == new;
        assert!(swapped || number_of(&world, "financecopilot").await == old);
        let probed = swap().probe(&world.context(SWAP), &plan).await.unwrap();
        agrees(&ran, &probed, swapped).unwrap_or_else(|why| panic!("{which:?}, {lie:?}: {why}"));
        if swapped {
            undo(&world, &restored).await;
        }
        trials.survived();
    }
}

/// The longest answers of each session of one honest run, and how many sessions there were.
async fn measured(proxy: &Proxy) -> (usize, usize) {
    let sessions = proxy.seen();
    (sessions, proxy.said().await.into_iter().max().unwrap_or_default())
}

/// Refusals, and sessions that break or fall silent.
fn lies(sessions: usize, longest: usize) -> Vec<(Which, Lie)> {
    let mut dice = Dice::new(seed());
    let mut lies = vec![(Which::From(0), Lie::Refused)];
    for _ in 0..amount(4, 60) {
        let from = usize::try_from(dice.below(sessions as u64)).unwrap();
        // Most of what a server says is short: a quarter of the breaks is behind that.
        let reach = if dice.below(4) == 0 { longest as u64 } else { 600 };
        let at = usize::try_from(dice.below(reach)).unwrap();
        lies.push((Which::From(from), if dice.below(4) == 0 { Lie::CutAt(at) } else { Lie::ResetAt(at) }));
    }
    // Each costs what a silence is waited for, and is told to that one session alone.
    for _ in 0..amount(0, 6) {
        let only = Which::Only(usize::try_from(dice.below(sessions as u64)).unwrap());
        lies.extend([(only, Lie::Mute), (only, Lie::Swallowed)]);
    }
    lies
}

/// A run that goes on for longer than this hangs.
const LONGEST: Duration = Duration::from_secs(400);

async fn in_time<T>(run: impl Future<Output = T>, which: Which, lie: &Lie) -> T {
    let ran = tokio::time::timeout(LONGEST, run).await;
    ran.unwrap_or_else(|_| panic!("{which:?}, {lie:?}: it hangs"))
}

/// A restore whose sessions break has changed nothing, and the same one passes when the network is whole again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_over_a_network_that_breaks_anywhere_leaves_the_old_data_and_can_be_begun_again() {
    let (mut world, _) = damaged().await;
    let proxy = Proxy::before(([127, 0, 0, 1], world.port).into(), Speech::Bytes).await;
    world.config.postgres.get_mut("financecopilot").unwrap().port = Some(proxy.address.port());
    let before = live(&world).await;
    let plan = world.plan(RESTORE, &beside()).await.unwrap();
    proxy.said().await;
    proxy.mend().await;
    world.run(RESTORE, &beside(), &plan).await.unwrap();
    let (sessions, longest) = measured(&proxy).await;

    let mut trials = Trials::of("restore beside, its sessions broken, silent or refused");
    let mut broken = 0;
    for (which, lie) in lies(sessions, longest) {
        let plan = world.plan(RESTORE, &beside()).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        trials.begin();
        proxy.lie(which, lie.clone()).await;
        let ran = in_time(world.run_only(RESTORE, &beside(), &plan), which, &lie).await;
        proxy.mend().await;
        let probed = beside().probe(&world.context(RESTORE), &plan).await.unwrap();
        let told = match (&ran, &probed) {
            (Ok(Ran::Done(_)), Probe::Happened(_)) => true,
            (Err(error), Probe::DidNot(_)) => {
                broken += 1;
                error.disposition == Disposition::Retry || error.cause.contains("The old data is intact")
            }
            _ => false,
        };
        assert!(told, "{which:?} of {sessions} sessions, {lie:?}: {ran:?}, and the probe says {probed:?}");
        assert_eq!(live(&world).await, before, "{which:?}, {lie:?}");
        trials.survived();
    }
    assert!(broken > 1, "the lies broke {broken} of {} runs", trials.count());
    let restored = name_of(&world.done(RESTORE, &beside()).await.facts);
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence[0].contains("equal to the dump"), "{restored}: {proof:?}");
}

/// The safety dumps that count as a way back.
fn manifests(world: &World) -> usize {
    let folder = world.object_file("safety/INC-TEST/x").parent().unwrap().to_owned();
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".manifest.json")).count()
}

/// A safety dump whose sessions break is none: nothing of it counts as a way back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_safety_dump_over_a_network_that_breaks_is_no_way_back_until_it_is_whole() {
    let (mut world, _) = damaged().await;
    let proxy = Proxy::before(([127, 0, 0, 1], world.port).into(), Speech::Bytes).await;
    world.config.postgres.get_mut("financecopilot").unwrap().port = Some(proxy.address.port());
    let plan = world.plan(DUMP, &safety()).await.unwrap();
    proxy.said().await;
    proxy.mend().await;
    world.run(DUMP, &safety(), &plan).await.unwrap();
    let (sessions, longest) = measured(&proxy).await;

    let mut trials = Trials::of("safety dump, its sessions broken, silent or refused");
    let mut broken = 0;
    for (which, lie) in lies(sessions, longest) {
        let plan = world.plan(DUMP, &safety()).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        let whole = manifests(&world);
        trials.begin();
        proxy.lie(which, lie.clone()).await;
        let ran = in_time(world.run_only(DUMP, &safety(), &plan), which, &lie).await;
        proxy.mend().await;
        let probed = safety().probe(&world.context(DUMP), &plan).await.unwrap();
        let told = match (&ran, &probed) {
            // A dump whose report was lost is made again: to ask for it would be to read it back.
            (Ok(Ran::Done(_)), Probe::DidNot(_)) => manifests(&world) > whole,
            (Err(_), Probe::DidNot(_)) => {
                broken += 1;
                manifests(&world) == whole
            }
            _ => false,
        };
        assert!(told, "{which:?} of {sessions} sessions, {lie:?}: {ran:?}, and the probe says {probed:?}");
        trials.survived();
    }
    assert!(broken > 1, "the lies broke {broken} of {} runs", trials.count());
    world.done(DUMP, &safety()).await;
}
