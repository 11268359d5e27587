//! A swap back, and a restore over the live database, over a network that breaks: one of the two states is there, whole,
//! and what is reported and found afterwards is the one that is.

use std::future::Future;
use std::time::Duration;

use relight::incident::Plan;
use relight::workers::postgres::{SwapBack, SwapDatabase};
use relight::workers::{Disposition, Probe, Ran, Worker, WorkerError};

use super::StepId;
use super::beside::{beside, damaged};
use super::in_place::in_place;
use super::proxy::{Lie, Proxy, Speech, Which};
use super::swap::until_open;
use super::tally::{Dice, amount, seed, tell};
use super::world::{World, database};

const RESTORE: &str = "restore.database";
const SWAP: &str = "restore.swap";
const BACK: &str = "rollback.swap";
/// Longer than a server may be silent before it counts as gone, for some sessions one after another.
const LONGEST: Duration = Duration::from_secs(400);

async fn through(world: &mut World) -> Proxy {
    let proxy = Proxy::before(([127, 0, 0, 1], world.port).into(), Speech::Bytes).await;
    world.config.postgres.get_mut("financecopilot").unwrap().port = Some(proxy.address.port());
    proxy
}

/// What is reported, and what the next engine finds, is what is so.
fn agrees(ran: &Result<Ran, WorkerError>, probed: &Probe, done: bool) -> Result<(), String> {
    match ran {
        Ok(Ran::Done(_)) if done => {}
        Err(error) if error.disposition == Disposition::InDoubt => {}
        Err(error) if !done || !error.to_string().contains("intact") => {}
        other => return Err(format!("done: {done}, and reports {other:?}")),
    }
    match probed {
        Probe::Happened(_) if done => Ok(()),
        Probe::DidNot(_) if !done => Ok(()),
        other => Err(format!("done: {done}, and the probe says {other:?}")),
    }
}

/// Lies to one run after another, each on a world that `damage` brought back; `done` looks what became of it.
async fn sweep<D: Future<Output = ()>, L: Future<Output = bool>>(
    what: &str,
    world: &World,
    proxy: &Proxy,
    (step, worker): (&str, &dyn Worker),
    damage: impl Fn() -> D,
    done: impl Fn() -> L,
) {
    damage().await;
    let plan: Plan = world.plan(step, worker).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    proxy.said().await;
    proxy.mend().await;
    world.run(step, worker, &plan).await.unwrap();
    assert!(done().await, "{what}: an honest run does it");
    let sessions = proxy.seen();
    let longest = proxy.said().await.into_iter().max().unwrap();

    let mut dice = Dice::new(seed());
    let mut lies = vec![(Which::From(0), Lie::Refused)];
    for _ in 0..amount(5, 60) {
        let from = usize::try_from(dice.below(sessions as u64)).unwrap();
        let at = usize::try_from(dice.below(longest as u64)).unwrap();
        // That one session alone: through a network that stays broken nobody can look, which costs minutes until it is said.
        lies.push((Which::Only(from), if dice.below(2) == 0 { Lie::ResetAt(at) } else { Lie::CutAt(at) }));
    }
    let (mut tried, mut broken, mut fallen) = (0, 0, Vec::new());
    for (which, lie) in lies {
        if done().await {
            damage().await;
        }
        let plan = world.plan(step, worker).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        proxy.lie(which, lie.clone()).await;
        let ran = tokio::time::timeout(LONGEST, world.run_only(step, worker, &plan)).await;
        proxy.mend().await;
        let probed = worker.probe(&world.context(step), &plan).await.unwrap();
        until_open(world).await;
        let said = match &ran {
            Ok(ran) => agrees(ran, &probed, done().await),
            Err(_) => Err("it hangs".to_owned()),
        };
        tried += 1;
        broken += u64::from(matches!(ran, Ok(Err(_))));
        if let Err(why) = said {
            fallen.push(format!("{which:?} of {sessions} sessions, {lie:?}: {why}"));
        }
    }
    tell(what, tried, tried - fallen.len() as u64);
    assert!(fallen.is_empty(), "{} of {tried}:\n{}", fallen.len(), fallen.join("\n"));
    assert!(broken > 1, "{what}: the lies broke {broken} runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_back_over_a_network_that_breaks_is_told_rightly_and_leaves_the_name_open() {
    let (mut world, _) = damaged().await;
    world.done(RESTORE, &beside()).await;
    let proxy = through(&mut world).await;
    let swap = || SwapDatabase { database: database(), restore: StepId::new(RESTORE) };
    let back = SwapBack { database: database(), swap: StepId::new(SWAP) };
    let world = &world;
    let zeros = || world.number("SELECT count(*) FROM transactions WHERE amount = 0");
    let damage = || async {
        world.done(SWAP, &swap()).await;
    };
    let what = "swap back, its sessions broken after so many bytes";
    sweep(what, world, &proxy, (BACK, &back), damage, || async { zeros().await > 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_in_place_over_a_network_that_breaks_leaves_all_of_one_state() {
    let (mut world, _) = damaged().await;
    world.run_sql("DROP VIEW big; DROP TABLE refunds").await;
    let proxy = through(&mut world).await;
    let world = &world;
    let zeros = || world.number("SELECT count(*) FROM transactions WHERE amount = 0");
    let damage = || world.run_sql("UPDATE transactions SET amount = 0 WHERE id <= 1000");
    let what = "restore in place, its sessions broken after so many bytes";
    sweep(what, world, &proxy, (RESTORE, &in_place()), damage, || async {
        let zeros = zeros().await;
        assert!(zeros == 0 || zeros == 1000, "half of it: {zeros}");
        zeros == 0
    })
    .await;
}
