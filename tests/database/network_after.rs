//! What comes before and after a swap, over a network that breaks: whatever is reported is so, the target can be asked
//! what became of it, and the same step passes when the network is whole again.

use std::time::Duration;

use relight::incident::{Fact, Plan};
use relight::runbook::Strategy;
use relight::workers::postgres::{
    CheckForeignKeys, CheckStorage, DropKept, EndBlockers, RestoreDatabase, SwapDatabase,
};
use relight::workers::{Disposition, Probe, Ran, Worker, WorkerError};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::beside::{damaged, prove};
use super::kills::BLOCKED;
use super::proxy::{Lie, Proxy, Speech, Which};
use super::tally::{Dice, amount, seed, tell};
use super::world::{World, database, until};
use super::{StepId, sessions};

const RESTORE: &str = "restore.database";
const SWAP: &str = "restore.swap";
const KEPT: &str = "financecopilot_pre_test";
/// Longer than a server may be silent before it counts as gone, for a few sessions one after another.
const LONGEST: Duration = Duration::from_secs(400);

/// What is lied to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Subject {
    Sessions,
    Blockers,
    Tables,
    Keys,
    Storage,
    Kept,
}

impl Subject {
    const ALL: [Self; 6] = [Self::Sessions, Self::Blockers, Self::Tables, Self::Keys, Self::Storage, Self::Kept];

    fn worker(self) -> Box<dyn Worker> {
        let restore = StepId::new(RESTORE);
        match self {
            Self::Sessions => Box::new(sessions()),
            Self::Blockers => Box::new(EndBlockers { database: database() }),
            Self::Tables => Box::new(prove()),
            Self::Keys => Box::new(CheckForeignKeys { database: database(), restore }),
            Self::Storage => Box::new(CheckStorage { database: database(), restore }),
            Self::Kept => Box::new(DropKept { database: database(), swap: StepId::new(SWAP) }),
        }
    }

    fn reads(self) -> bool {
        matches!(self, Self::Tables | Self::Storage)
    }

    /// A world in which there is something for it to do.
    async fn prepare(self, world: &World) -> Prepared {
        match self {
            Self::Tables | Self::Storage => Prepared::Nothing,
            Self::Sessions => Prepared::Guest(world.app().await),
            Self::Blockers => {
                let holder = world.app().await;
                holder.batch_execute("BEGIN; LOCK TABLE accounts").await.unwrap();
                let ours = world.app().await;
                ours.batch_execute("SET application_name = 'relight INC-TEST restore'").await.unwrap();
                let waiting = tokio::spawn(async move {
                    ours.batch_execute("SELECT count(*) FROM accounts").await?;
                    Ok(ours)
                });
                let watch = world.admin("postgres").await;
                until(&watch, BLOCKED).await;
                Prepared::Blocked(holder, waiting)
            }
            Self::Keys => {
                let sql = "ALTER TABLE transactions DROP CONSTRAINT transactions_account_id_fkey; \
                           ALTER TABLE transactions ADD FOREIGN KEY (account_id) REFERENCES accounts NOT VALID";
                world.as_super("financecopilot", sql).await;
                Prepared::Nothing
            }
            Self::Kept => {
                if oid(world, KEPT).await == 0 {
                    world.as_super("postgres", &format!("CREATE DATABASE {KEPT} OWNER fc_app")).await;
                    let at = "2026-11-23T09:00:00Z".parse().unwrap();
                    let (live_oid, kept_oid) = (oid(world, "financecopilot").await, oid(world, KEPT).await);
                    let (live, came_from) = ("financecopilot".to_owned(), "financecopilot_restore_test".to_owned());
                    let kept = KEPT.to_owned();
                    world.know(SWAP, Fact::Swapped { live, live_oid, came_from, kept, kept_oid, written: None, at });
                }
                Prepared::Nothing
            }
        }
    }

    /// It was done.
    async fn did(self, world: &World, prepared: &Prepared) -> bool {
        match (self, prepared) {
            (_, Prepared::Guest(client) | Prepared::Blocked(client, _)) => {
                client.simple_query("SELECT 1").await.is_err()
            }
            (Self::Keys, _) => {
                let client = world.admin("financecopilot").await;
                let sql = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated";
                let left: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
                world.leave(client).await;
                left == 0
            }
            (Self::Kept, _) => oid(world, KEPT).await == 0,
            _ => false,
        }
    }
}

/// Who stands in the way of a subject that ends somebody.
enum Prepared {
    Nothing,
    Guest(Client),
    Blocked(Client, JoinHandle<Result<Client, Error>>),
}

impl Prepared {
    /// Nobody is left on the database.
    async fn cleared(self, world: &World) {
        match self {
            Self::Nothing => {}
            Self::Guest(guest) => drop(guest),
            Self::Blocked(holder, waiting) => {
                drop(holder);
                // Whoever waited behind the holder gets on, or was ended too.
                drop(waiting.await.unwrap());
                world.until_gone("relight INC-TEST restore").await;
            }
        }
        world.until_gone("api").await;
    }
}

async fn oid(world: &World, name: &str) -> u32 {
    let sql = format!("SELECT coalesce((SELECT oid::text FROM pg_database WHERE datname = '{name}'), '0')");
    world.text(&sql).await.parse().unwrap()
}

/// What is reported of a run is what is so.
fn told(subject: Subject, ran: &Result<Ran, WorkerError>, did: bool) -> Result<(), String> {
    let error = match ran {
        Ok(Ran::Done(_)) if did || subject.reads() => return Ok(()),
        Ok(other) => return Err(format!("it was not done, and reports {other:?}")),
        Err(error) => error,
    };
    if [&error.operation, &error.target, &error.cause, &error.next].iter().any(|part| part.trim().is_empty()) {
        return Err(format!("a part of its error is empty: {error:?}"));
    }
    // What cannot be had twice is in doubt where it may have been had.
    if did && subject == Subject::Kept && error.disposition != Disposition::InDoubt {
        return Err(format!("it was done, and reports {error:?}"));
    }
    if did && ["Nothing was", "Nobody was"].iter().any(|it| error.to_string().contains(it)) {
        return Err(format!("it was done, and says {error}"));
    }
    Ok(())
}

/// The next engine finds out what became of it.
fn found(subject: Subject, probed: &Probe, did: bool) -> Result<(), String> {
    match probed {
        Probe::Happened(_) if did => Ok(()),
        Probe::DidNot(_) if !did || subject.reads() => Ok(()),
        other => Err(format!("done: {did}, and the probe says {other:?}")),
    }
}

/// One lie to one run, and an honest one after it; whether the lie broke the run.
async fn judge(world: &World, proxy: &Proxy, subject: Subject, which: Which, lie: Lie) -> Result<bool, String> {
    let worker = subject.worker();
    let prepared = subject.prepare(world).await;
    let plan: Plan = world.plan("the.step", &*worker).await.map_err(|error| format!("before the lie: {error}"))?;
    assert_eq!((plan.obstacle(), &plan.nothing_to_do), (None, &None));
    proxy.lie(which, lie).await;
    let ran = tokio::time::timeout(LONGEST, world.run_only("the.step", &*worker, &plan)).await;
    proxy.mend().await;
    let ran = ran.map_err(|_| "it hangs".to_owned())?;
    // What the server began before it noticed that nobody listens, it ends first.
    world.until_gone("relight INC-TEST drops").await;
    let did = subject.did(world, &prepared).await;
    told(subject, &ran, did)?;
    let probed =
        worker.probe(&world.context("the.step"), &plan).await.map_err(|error| format!("the probe: {error}"))?;
    found(subject, &probed, did)?;
    if !did {
        let again = world.run("the.step", &*worker, &plan).await;
        again.map_err(|error| format!("its network is whole again, and still: {error}"))?;
        if !subject.reads() && !subject.did(world, &prepared).await {
            return Err("in the end it is not done".to_owned());
        }
    }
    prepared.cleared(world).await;
    Ok(ran.is_err())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_surrounds_a_swap_over_a_network_that_breaks_is_told_rightly_and_passes_when_it_is_whole() {
    let (mut world, _) = damaged().await;
    world.as_super("postgres", "ALTER ROLE relight SUPERUSER").await;
    world.answer("foreign_keys", "later");
    let from = StepId::new("select.snapshot");
    world.done(RESTORE, &RestoreDatabase { database: database(), from, strategy: Strategy::Beside }).await;
    world.answer("foreign_keys", "");
    world.done(SWAP, &SwapDatabase { database: database(), restore: StepId::new(RESTORE) }).await;
    let proxy = Proxy::before(([127, 0, 0, 1], world.port).into(), Speech::Bytes).await;
    world.config.postgres.get_mut("financecopilot").unwrap().port = Some(proxy.address.port());

    let mut dice = Dice::new(seed());
    let (mut tried, mut fallen) = (0, Vec::new());
    for subject in Subject::ALL {
        let prepared = subject.prepare(&world).await;
        let plan = world.plan("the.step", &*subject.worker()).await.unwrap();
        proxy.said().await;
        proxy.mend().await;
        world.run("the.step", &*subject.worker(), &plan).await.unwrap();
        let connections = proxy.seen();
        let longest = proxy.said().await.into_iter().max().unwrap();
        prepared.cleared(&world).await;
        let mut lies = vec![(Which::From(0), Lie::Refused)];
        for _ in 0..amount(5, 60) {
            let from = usize::try_from(dice.below(connections as u64)).unwrap();
            let at = usize::try_from(dice.below(longest as u64)).unwrap();
            let lie = if dice.below(2) == 0 { Lie::ResetAt(at) } else { Lie::CutAt(at) };
            lies.push((Which::From(from), lie));
        }
        // Silence costs as long as a server may be silent.
        if amount(0, 1) == 1 {
            lies.push((Which::From(connections - 1), Lie::Mute));
        }
        let mut broken = 0;
        for (which, lie) in lies {
            let what = format!("{subject:?}, {which:?} of {connections}, {lie:?}");
            tried += 1;
            match judge(&world, &proxy, subject, which, lie).await {
                Ok(broke) => broken += usize::from(broke),
                Err(why) => fallen.push(format!("{what}: {why}")),
            }
        }
        assert!(broken > 1 || !fallen.is_empty(), "{subject:?}: the lies broke {broken} runs");
    }
    tell("what surrounds a swap, its sessions broken after so many bytes", tried, tried - fallen.len() as u64);
    assert!(fallen.is_empty(), "{} of {tried}:\n{}", fallen.len(), fallen.join("\n"));
}
