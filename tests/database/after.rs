//! What is chosen on the restore's card, and what is checked while the restored database serves already.

use relight::incident::{Fact, Gravity};
use relight::runbook::{StepId, Strategy};
use relight::workers::postgres::{
    CheckForeignKeys, CheckStorage, EndBlockers, RestoreBeside, RestoreDatabase, SwapBack, SwapDatabase,
};
use relight::workers::{Probe, Ran, Worker as _};

use super::beside::{beside, name_of, prove};
use super::kills::BLOCKED;
use super::world::{World, database, texts, until};

const STEP: &str = "restore.database";
const KEYS: &str = "verify.foreign-keys";

fn keys() -> CheckForeignKeys {
    CheckForeignKeys { database: database(), restore: StepId::new(STEP) }
}

fn storage() -> CheckStorage {
    CheckStorage { database: database(), restore: StepId::new(STEP) }
}

fn swap() -> SwapDatabase {
    SwapDatabase { database: database(), restore: StepId::new(STEP) }
}

fn restore() -> RestoreDatabase {
    RestoreDatabase { database: database(), from: StepId::new("select.snapshot"), strategy: Strategy::Beside }
}

async fn dumped(sql: &str) -> World {
    let world = World::new().await;
    world.as_super("financecopilot", sql).await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    world
}

async fn not_valid(world: &World, name: &str) -> i64 {
    let client = world.admin(name).await;
    client.query_one("SELECT count(*) FROM pg_constraint WHERE NOT convalidated", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_that_are_left_for_later_bind_at_once_and_are_checked_after_the_swap() {
    let world = dumped("").await;
    let offered = world.plan(STEP, &restore()).await.unwrap();
    let ask = offered.asks.iter().find(|ask| ask.name == "foreign_keys").expect("it is offered");
    assert!(ask.offered && ask.value == "checked", "{ask:?}");
    world.answer("foreign_keys", "later");
    let done = world.done(STEP, &restore()).await;
    world.answer("foreign_keys", "");
    let Some(Fact::RestoredBeside { unchecked, .. }) = done.facts.first() else { panic!("{done:?}") };
    assert_eq!(unchecked, &["public.transactions transactions_account_id_fkey"]);
    let name = name_of(&done.facts);
    assert_eq!(not_valid(&world, &name).await, 1);
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence.iter().any(|line| line == "The catalogue is equal to the dump's"), "{proof:?}");
    assert!(proof.evidence.iter().any(|line| line.contains("wait for their check")), "{proof:?}");
    let plan = world.plan("restore.swap", &swap()).await.unwrap();
    assert!(texts(&plan, Gravity::Warning).iter().any(|line| line.starts_with("1 foreign keys are not checked")));
    world.done("restore.swap", &swap()).await;

    let orphan = "INSERT INTO transactions (account_id, amount) VALUES (-1, 1)";
    let refused = world.app().await.batch_execute(orphan).await.unwrap_err();
    assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::FOREIGN_KEY_VIOLATION));
    let plan = world.plan(KEYS, &keys()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    assert!(matches!(keys().probe(&world.context(KEYS), &plan).await.unwrap(), Probe::DidNot(_)));
    // A reader and a writer are not in its way, nor it in theirs.
    let busy = world.app().await;
    busy.batch_execute("BEGIN; INSERT INTO transactions (account_id, amount) VALUES (1, 1)").await.unwrap();
    let checked = world.done(KEYS, &keys()).await;
    busy.batch_execute("COMMIT").await.unwrap();
    assert!(matches!(checked.facts[..], [Fact::ForeignKeysChecked { .. }]), "{checked:?}");
    assert_eq!(not_valid(&world, "financecopilot").await, 0);
    // Somebody who checked them by hand has it recorded.
    let by_hand = world.plan(KEYS, &keys()).await.unwrap();
    assert!(by_hand.effects[0].contains("is checked already"), "{by_hand:?}");
    assert!(matches!(keys().probe(&world.context(KEYS), &plan).await.unwrap(), Probe::Happened(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_refers_to_nothing_is_found_whenever_the_keys_are_checked() {
    let world = dumped(
        "ALTER TABLE transactions DISABLE TRIGGER ALL; INSERT INTO transactions (account_id, amount) VALUES (-1, 1); \
         ALTER TABLE transactions ENABLE TRIGGER ALL",
    )
    .await;
    let plan = world.plan(STEP, &restore()).await.unwrap();
    let error = world.run(STEP, &restore(), &plan).await.unwrap_err();
    assert!(error.cause.contains("The old data is intact"), "{error}");
    world.answer("foreign_keys", "later");
    let name = name_of(&world.done(STEP, &restore()).await.facts);
    let plan = world.plan(KEYS, &keys()).await.unwrap();
    let error = world.run(KEYS, &keys(), &plan).await.unwrap_err();
    assert!(error.cause.contains("transactions_account_id_fkey"), "{error}");
    assert!(!error.to_string().contains("(-1)"), "no row is told: {error}");
    assert_eq!(not_valid(&world, &name).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_to_check_where_all_was_checked() {
    let world = dumped("").await;
    world.done(STEP, &restore()).await;
    let plan = world.plan(KEYS, &keys()).await.unwrap();
    assert_eq!(plan.nothing_to_do.as_deref(), Some("every foreign key was checked while it was restored"));
}

/// The extension is used without leaving anything of it, and finds an index that does not know its rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_read_and_a_damaged_index_is_named() {
    let world = dumped(
        "CREATE FUNCTION turn(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1'; \
         CREATE INDEX turned ON transactions (turn(id))",
    )
    .await;
    let name = name_of(&world.done(STEP, &beside()).await.facts);
    let plan = world.plan("verify.storage", &storage()).await.unwrap();
    assert!(plan.nothing_to_do.is_some_and(|why| why.contains("amcheck cannot be used")), "this role is no superuser");
    world.as_super("postgres", "ALTER ROLE relight SUPERUSER").await;
    let done = world.done("verify.storage", &storage()).await;
    assert!(done.evidence[0].contains("none is damaged"), "{done:?}");
    let client = world.admin(&name).await;
    let left = "SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    // What the index was built by says something else now.
    client
        .batch_execute(
            "CREATE OR REPLACE FUNCTION public.turn(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT -$1'",
        )
        .await
        .unwrap();
    world.leave(client).await;
    let plan = world.plan("verify.storage", &storage()).await.unwrap();
    let error = world.run("verify.storage", &storage(), &plan).await.unwrap_err();
    assert!(error.cause.contains("turned") && !error.cause.contains("accounts"), "{error}");
}

/// The way back waits for nothing that only reads: a swap back ends the checks of what it puts aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_back_does_not_wait_for_checks_in_the_background() {
    let world = dumped("").await;
    world.as_super("postgres", "ALTER ROLE relight SUPERUSER").await;
    world.answer("foreign_keys", "later");
    world.done(STEP, &restore()).await;
    world.answer("foreign_keys", "");
    world.done("restore.prove", &prove()).await;
    world.done("restore.swap", &swap()).await;
    let plans = [world.plan(KEYS, &keys()).await.unwrap(), world.plan("verify.storage", &storage()).await.unwrap()];
    // Neither gets far beside this one.
    let holder = world.app().await;
    holder.batch_execute("BEGIN; LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let (keys, storage) = (keys(), storage());
    let back = async {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'financecopilot' AND wait_event_type = 'Lock'";
        until(&world.admin("postgres").await, &format!("({waiting}) >= 2")).await;
        let back = SwapBack { database: database(), swap: StepId::new("restore.swap") };
        let plan = world.plan("rollback.swap", &back).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        world.done("rollback.swap", &back).await
    };
    let (keys, storage, back) =
        tokio::join!(world.run(KEYS, &keys, &plans[0]), world.run("verify.storage", &storage, &plans[1]), back);
    assert!(back.evidence[0].ends_with("is the database from before the swap again"), "{back:?}");
    // The session in their way is ended with theirs: one of them may have come to its end in between, and none was stopped.
    for ended in [keys, storage] {
        assert!(!matches!(ended, Ok(Ran::Stopped(_))), "{ended:?}");
    }
}

/// Another way than beside is chosen on the card, takes the name, and waits for what must come before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_way_is_chosen_on_the_card_and_must_have_its_way_back_first() {
    let world = dumped("").await;
    let plan = world.plan(STEP, &restore()).await.unwrap();
    let ask = plan.asks.iter().find(|ask| ask.name == "strategy").expect("it is offered");
    assert!(ask.offered && ask.value == "beside" && !plan.by_name, "{plan:?}");
    world.answer("strategy", "in_place");
    let plan = world.plan(STEP, &restore()).await.unwrap();
    assert!(plan.by_name && plan.asks[0].value == "in_place", "{plan:?}");
    assert!(plan.effects.iter().any(|line| line.contains("is one transaction")), "{plan:?}");
    assert!(texts(&plan, Gravity::Blocking).iter().any(|line| line.starts_with("There is no safety dump")), "{plan:?}");
    let object = world.put("safety/financecopilot-1.dump", b"").await;
    let early = "2026-01-01T00:00:00Z".parse().unwrap();
    world.know("restore.safety-dump", Fact::SafetyDump { object: object.clone(), taken_at: early });
    let plan = world.plan(STEP, &restore()).await.unwrap();
    assert!(texts(&plan, Gravity::Blocking).iter().any(|line| line.contains("from before writes were stopped")));
    let late = "2100-01-01T00:00:00Z".parse().unwrap();
    world.know("restore.safety-dump", Fact::SafetyDump { object, taken_at: late });
    world.run_sql("UPDATE transactions SET amount = 0").await;
    let done = world.done(STEP, &restore()).await;
    assert!(matches!(done.facts[..], [Fact::Restored { .. }]), "{done:?}");
    assert_eq!(world.number("SELECT count(*) FROM transactions WHERE amount = 0").await, 0);
    world.done("restore.prove", &prove()).await;
    let plan = world.plan("restore.swap", &swap()).await.unwrap();
    assert!(plan.nothing_to_do.is_some(), "there is nothing to exchange");
}

/// Who keeps a session of ours waiting is shown, and only those who were shown are ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_in_the_way_are_ended_after_the_approval_and_no_others() {
    let world = World::new().await;
    let worker = || EndBlockers { database: database() };
    let plan = world.plan("demand.unblock", &worker()).await.unwrap();
    assert_eq!(plan.nothing_to_do.as_deref(), Some("no session is in the way of this incident's"));
    let (holder, bystander) = (world.app().await, world.app().await);
    holder.batch_execute("BEGIN; LOCK TABLE accounts").await.unwrap();
    let restoring = world.app().await;
    restoring.batch_execute("SET application_name = 'relight INC-TEST restore'").await.unwrap();
    let waiting = tokio::spawn(async move { restoring.batch_execute("SELECT count(*) FROM accounts").await });
    let watch = world.admin("postgres").await;
    until(&watch, BLOCKED).await;
    let plan = world.plan("demand.unblock", &worker()).await.unwrap();
    assert!(plan.effects.len() == 1 && plan.effects[0].contains("idle in transaction"), "{plan:?}");
    world.run("demand.unblock", &worker(), &plan).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert!(holder.batch_execute("SELECT 1").await.is_err(), "it was ended");
    bystander.batch_execute("SELECT 1").await.unwrap();
    assert!(matches!(worker().probe(&world.context("demand.unblock"), &plan).await.unwrap(), Probe::Happened(_)));
}

/// Without a dump off the server a swap takes a name that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_without_a_safety_dump_is_typed_as_one() {
    let world = dumped("").await;
    let worker = RestoreBeside { database: database(), from: StepId::new("select.snapshot"), rehearsal: false };
    world.done(STEP, &worker).await;
    let plan = world.plan("restore.swap", &swap()).await.unwrap();
    assert_eq!(plan.type_name.as_deref(), Some("financecopilot without a safety dump"));
    let object = world.put("safety/financecopilot-1.dump", b"").await;
    world.know("restore.safety-dump", Fact::SafetyDump { object, taken_at: "2100-01-01T00:00:00Z".parse().unwrap() });
    let plan = world.plan("restore.swap", &swap()).await.unwrap();
    assert_eq!(plan.type_name.as_deref(), Some("financecopilot"));
}
