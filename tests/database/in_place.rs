//! Restoring over the live database in one transaction: all of it or nothing.

use relight::incident::Gravity;
use relight::runbook::StepId;
use relight::workers::postgres::RestoreInPlace;
use relight::workers::{Probe, Worker as _};

use super::beside::{damaged, prove};
use super::world::{database, texts};

const STEP: &str = "restore.database";

pub(super) fn in_place() -> RestoreInPlace {
    RestoreInPlace { database: database(), from: StepId::new("select.snapshot"), atomic: true }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transaction_brings_all_of_it_back_or_nothing() {
    let (world, object) = damaged().await;
    let zeros = "SELECT count(*) FROM transactions WHERE amount = 0";

    // What came later would make it fail, so it is refused and named.
    let plan = world.plan(STEP, &in_place()).await.unwrap();
    let blocking = texts(&plan, Gravity::Blocking).join("\n");
    assert!(blocking.contains("view public.big is not in the dump"), "{blocking}");
    assert!(blocking.contains("ALTER TABLE \"public\".\"refunds\" DROP CONSTRAINT \"refunds_tx_fkey\""), "{blocking}");
    world.run_sql("DROP VIEW big; DROP TABLE refunds").await;

    // A damaged dump is found before anything is begun.
    let mut bytes = std::fs::read(world.object_file(&object.key)).unwrap();
    let at = bytes.len() - 2000;
    bytes[at] ^= 0xff;
    world.chosen(&world.put("postgres/flipped.dump", &bytes).await);
    let plan = world.plan(STEP, &in_place()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    assert!(plan.commands.iter().any(|line| line.contains("--single-transaction")), "{:?}", plan.commands);
    let error = world.run(STEP, &in_place(), &plan).await.unwrap_err();
    assert!(error.cause.contains("The old data is intact: nothing was changed"), "{error}");

    // What breaks in the middle is rolled back, which the target confirms.
    world.run_sql("CREATE FUNCTION refuse() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN current_setting('app.refuse', true) IS DISTINCT FROM 'yes'; END $$; ALTER TABLE audit_log ADD CHECK (refuse())").await;
    let guarded = world.put("postgres/guarded.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&guarded);
    world.as_super("postgres", "ALTER ROLE relight SET app.refuse = 'yes'").await;
    let before = world.number(zeros).await;
    let oid = world.number("SELECT 'transactions'::regclass::oid::bigint").await;
    let plan = world.plan(STEP, &in_place()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    let error = world.run(STEP, &in_place(), &plan).await.unwrap_err();
    assert!(error.cause.contains("The old data is intact: the transaction was rolled back."), "{error}");
    assert_eq!(world.number(zeros).await, before);
    assert_eq!(world.number("SELECT 'transactions'::regclass::oid::bigint").await, oid, "the table is the old one");
    let probe = in_place().probe(&world.context(STEP), &plan).await.unwrap();
    assert!(matches!(&probe, Probe::DidNot(why) if why.contains("The old data is intact")), "{probe:?}");

    // And the good one.
    world.as_super("postgres", "ALTER ROLE relight RESET app.refuse").await;
    world.chosen(&object);
    world.done(STEP, &in_place()).await;
    world.done("restore.prove", &prove()).await;
    assert_eq!(world.number(zeros).await, 0);
}
