//! What was approved for one database is not done to another that bears its name.

use relight::runbook::StepId;
use relight::workers::Worker;
use relight::workers::postgres::{DropKept, EndBlockers, SwapDatabase};

use super::beside::{beside, damaged};
use super::world::{World, database};
use super::{in_place, safety, sessions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_of_the_same_name_is_not_the_one_that_was_approved() {
    let (world, _) = damaged().await;
    let swap = SwapDatabase { database: database(), restore: StepId::new("restore.database") };
    let workers: [(&str, Box<dyn Worker>); 5] = [
        ("restore.database", Box::new(beside())),
        ("restore.database", Box::new(in_place::in_place())),
        ("restore.safety-dump", Box::new(safety())),
        ("restore.quiet", Box::new(sessions())),
        ("restore.swap", Box::new(swap)),
    ];
    let mut approved = Vec::new();
    for (step, worker) in &workers {
        let identity = worker.identify(&world.context(step)).await.unwrap();
        assert_eq!(worker.identify(&world.context(step)).await.unwrap(), identity, "{step}: it is stable");
        approved.push(identity);
    }
    for statement in [
        "ALTER DATABASE financecopilot RENAME TO financecopilot_aside",
        "CREATE DATABASE financecopilot TEMPLATE financecopilot_aside OWNER fc_app",
    ] {
        world.as_super("postgres", statement).await;
    }
    // The rows, the name and the server are the same.
    for ((step, worker), before) in workers.iter().zip(&approved) {
        let now = worker.identify(&world.context(step)).await.unwrap();
        assert_eq!(now.name, before.name);
        let differ: Vec<_> =
            now.proofs.iter().filter(|(name, proof)| before.proofs.get(*name) != Some(proof)).collect();
        assert!(matches!(&differ[..], [(name, _)] if *name == "database oid"), "{step}: {differ:?}");
    }
}

/// Another server behind the same name, as after a failover to the wrong host: its database may bear the same name and number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_with_the_same_database_is_not_the_one_that_was_approved() {
    let (mut world, other) = (World::new().await, World::new().await);
    let workers: [(&str, Box<dyn Worker>); 4] = [
        ("restore.quiet", Box::new(sessions())),
        ("restore.safety-dump", Box::new(safety())),
        ("demand.unblock", Box::new(EndBlockers { database: database() })),
        ("demand.drop-kept", Box::new(DropKept { database: database(), swap: StepId::new("restore.swap") })),
    ];
    let mut approved = Vec::new();
    for (step, worker) in &workers {
        approved.push(worker.identify(&world.context(step)).await.unwrap());
    }
    world.config.postgres.get_mut("financecopilot").unwrap().port = Some(other.port);
    for ((step, worker), before) in workers.iter().zip(&approved) {
        let now = worker.identify(&world.context(step)).await.unwrap();
        assert_ne!(&now, before, "{step}");
        assert_ne!(now.proofs["system identifier"], before.proofs["system identifier"], "{step}");
        assert_eq!(
            now.proofs.get("database oid"),
            before.proofs.get("database oid"),
            "{step}: its number tells nothing"
        );
    }
}
