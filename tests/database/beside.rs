//! Restoring beside the live database: what `--clean` does to a live database cannot happen, and whatever fails, the
//! live one is as it was.

use relight::incident::{Fact, Gravity, ObjectRef};
use relight::runbook::StepId;
use relight::workers::postgres::{CheckPostgres, ProveTables, RestoreBeside};
use relight::workers::process::{Adopted, adopt};
use relight::workers::{Cancel, Probe, Ran, Worker};

use super::world::{World, database, texts, until};

const STEP: &str = "restore.database";
/// A fingerprint of the live database's content, damage included.
const LIVE: &str = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM transactions t";

pub(super) fn beside() -> RestoreBeside {
    RestoreBeside { database: database(), from: StepId::new("select.snapshot"), rehearsal: false }
}

pub(super) fn prove() -> ProveTables {
    ProveTables { database: database(), restore: StepId::new(STEP) }
}

/// A world with a dump of the good state, and damage since: rows changed, and a migration that nothing in the dump knows.
pub(super) async fn damaged() -> (World, ObjectRef) {
    damaged_after("").await
}

/// The same, with something made before the dump.
async fn damaged_after(sql: &str) -> (World, ObjectRef) {
    let world = World::new().await;
    world.run_sql(sql).await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    world
        .run_sql(
            "UPDATE transactions SET amount = 0 WHERE id <= 1000; CREATE TABLE refunds (id int, tx bigint REFERENCES transactions); \
             CREATE VIEW big AS SELECT * FROM transactions WHERE amount > 100",
        )
        .await;
    (world, object)
}

pub(super) fn name_of(facts: &[Fact]) -> String {
    let [Fact::RestoredBeside { database, .. }] = facts else { panic!("{facts:?}") };
    database.clone()
}

pub(super) async fn live(world: &World) -> String {
    let client = world.app().await;
    let text = client.query_one(LIVE, &[]).await.unwrap().get(0);
    world.leave(client).await;
    text
}

async fn databases(world: &World) -> Vec<String> {
    let admin = world.admin("postgres").await;
    let rows =
        admin.query("SELECT datname FROM pg_database WHERE datname LIKE 'financecopilot%' ORDER BY 1", &[]).await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The three disasters of `--clean` over a later migration (a mixed database, a doubled table, a wait without end behind
/// an idle session) do not happen: nothing of the live database is dropped, waited for or even looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ruins_a_live_database_does_not_touch_this_one() {
    let (world, _) = damaged().await;
    let before = live(&world).await;
    let idle = world.app().await;
    idle.batch_execute("BEGIN; LOCK TABLE transactions").await.unwrap();
    let plan = world.plan(STEP, &beside()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    assert!(
        texts(&plan, Gravity::Good).iter().any(|line| line.contains("may create and rename databases")),
        "{plan:?}"
    );
    let done = world.done(STEP, &beside()).await;
    let name = name_of(&done.facts);
    assert_eq!(databases(&world).await, ["financecopilot", name.as_str()]);
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence[0].starts_with("3 tables, 20,503 rows equal to the dump"), "{proof:?}");
    idle.batch_execute("COMMIT").await.unwrap();
    assert_eq!(live(&world).await, before, "the damage is still there, and nothing else");
    let restored = world.admin(&name).await;
    let good: i64 =
        restored.query_one("SELECT count(*) FROM transactions WHERE amount <> 0", &[]).await.unwrap().get(0);
    assert_eq!(good, 20_000);
    for object in ["refunds", "big"] {
        let there: bool = restored.query_one("SELECT to_regclass($1) IS NOT NULL", &[&object]).await.unwrap().get(0);
        assert!(!there, "{object} came with the bad migration");
    }
}

/// The written command over a live database that gained objects since the dump: what it is known for happens. These are
/// the disasters that the other tests show to be impossible beside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_written_command_ruins_a_live_database_and_a_restore_beside_does_not() {
    // A foreign key from a new table: the corrupted rows stay, while other tables are replaced. A mixed database.
    let (world, object) = damaged().await;
    let by_hand = |world: &World, object: &ObjectRef| {
        std::process::Command::new(world.program("pg_restore"))
            .args(["--clean", "--no-owner", "-h", "127.0.0.1", "-U", "fc_app", "-d", "financecopilot"])
            .args(["-p", &world.port.to_string()])
            .arg(world.object_file(&object.key))
            .env("PGPASSWORD", super::world::PASSWORD)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    assert_eq!(by_hand(&world, &object).wait().unwrap().code(), Some(1));
    assert_eq!(world.number("SELECT count(*) FROM transactions WHERE amount = 0").await, 1000, "still corrupted");
    assert_eq!(world.number("SELECT count(*) FROM audit_log").await, 3, "and this one is the dump's");
    world.done(STEP, &beside()).await;
    world.done("restore.prove", &prove()).await;

    // Only a view: the rows are there twice, and the primary key is gone.
    let (world, object) = damaged().await;
    world.run_sql("DROP TABLE refunds").await;
    assert_eq!(by_hand(&world, &object).wait().unwrap().code(), Some(1));
    assert_eq!(world.number("SELECT count(*) FROM transactions").await, 40_000, "every row twice");
    let keys = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'transactions'::regclass AND contype = 'p'";
    assert_eq!(world.number(keys).await, 0);
    world.done(STEP, &beside()).await;
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence[0].starts_with("3 tables, 20,503 rows equal to the dump"), "{proof:?}");

    // One forgotten session: it waits, and nothing ends that.
    let (world, object) = damaged().await;
    world.run_sql("DROP TABLE refunds; DROP VIEW big").await;
    let idle = world.app().await;
    idle.batch_execute("BEGIN; SELECT 1 FROM transactions LIMIT 1").await.unwrap();
    let mut waiting = by_hand(&world, &object);
    let watch = world.admin("postgres").await;
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_restore' AND wait_event_type = 'Lock'";
    while watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(waiting.try_wait().unwrap().is_none(), "it should wait");
    }
    world.done(STEP, &beside()).await;
    assert!(waiting.try_wait().unwrap().is_none(), "it waits still, when the other way is done long since");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

/// A statement that somebody cancels on the server, a hole in the dump: each ends with the old data intact. (A byte that
/// flips in an uncompressed dump is found by the object's checksum: `stores::checksums`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_statement_and_a_hole_leave_the_old_data_intact() {
    let (world, object) = damaged_after(GATE).await;
    let held = hold(&world).await;
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let (cx, (_hand, cancel)) = (world.context(STEP), Cancel::new());
    let io = world.io(cancel);
    let running = tokio::spawn(async move { beside().run(&cx, &plan, &io).await });
    held.until_waiting().await;
    let ours = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event = 'PgSleep'";
    world.as_super("postgres", ours).await;
    let error = running.await.unwrap().unwrap_err();
    assert!(error.cause.contains("canceling statement") && error.cause.contains("The old data is intact"), "{error}");
    held.release().await;
    assert!(!world.everything().contains("back\\\\slash"), "no row of a customer is shown");
    // A hole of a megabyte, as an unfinished sparse download leaves it.
    let big = world.path().join("big.dump");
    world.run_sql("CREATE TABLE noise AS SELECT md5(random()::text) x FROM generate_series(1, 120000)").await;
    world.pg_dump("financecopilot", &["--file", big.to_str().unwrap()]);
    let mut bytes = std::fs::read(&big).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + (1 << 20)].fill(0);
    world.chosen(&world.put("postgres/hole.dump", &bytes).await);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let error = world.run(STEP, &beside(), &plan).await.unwrap_err();
    assert!(error.cause.contains("The old data is intact"), "{error}");
    world.chosen(&object);
    world.done(STEP, &beside()).await;
    assert_eq!(databases(&world).await.len(), 2, "nothing of the failed ones is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_leaves_the_old_data_intact_and_nothing_behind() {
    let (world, object) = damaged_after(GATE).await;
    let before = live(&world).await;

    // A flipped byte in a table's data, found by pg_restore in the middle.
    let mut bytes = std::fs::read(world.object_file(&object.key)).unwrap();
    let at = bytes.len() - 2000;
    bytes[at] ^= 0xff;
    let bad = world.put("postgres/b.dump", &bytes).await;
    world.chosen(&bad);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let error = world.run(STEP, &beside(), &plan).await.unwrap_err();
    assert!(error.cause.contains("The old data is intact") && error.cause.contains("was thrown away"), "{error}");
    assert_eq!(databases(&world).await, ["financecopilot"]);

    // Cut off, which the table of contents does not show.
    let cut = world.put("postgres/c.dump", &std::fs::read(world.object_file(&object.key)).unwrap()[..at]).await;
    world.chosen(&cut);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let error = world.run(STEP, &beside(), &plan).await.unwrap_err();
    assert!(error.cause.contains("cut off") && error.cause.contains("The old data is intact"), "{error}");
    assert_eq!(databases(&world).await, ["financecopilot"]);

    // Stopped by a person in the middle.
    world.chosen(&object);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let cx = world.context(STEP);
    let (hand, cancel) = Cancel::new();
    let io = world.io(cancel);
    let log = io.log.clone();
    let (planned, own) = (plan.clone(), cx.clone());
    let held = hold(&world).await;
    let running = tokio::spawn(async move { beside().run(&own, &planned, &io).await });
    held.until_waiting().await;
    hand.send_replace(true);
    let ran = running.await.unwrap();
    assert!(matches!(&ran, Ok(Ran::Stopped(left)) if left.contains("The old data is intact")), "{ran:?}");
    held.release().await;
    assert_eq!(databases(&world).await, ["financecopilot"]);
    assert!(matches!(adopt(&log), Adopted::Ended(_)));

    // The engine dies with pg_restore at work: nothing is lost, and the next attempt clears up.
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let cx = world.context(STEP);
    let (_hand, cancel) = Cancel::new();
    let (io, planned, own) = (world.io(cancel), plan.clone(), cx.clone());
    let log = io.log.clone();
    let held = hold(&world).await;
    let running = tokio::spawn(async move { beside().run(&own, &planned, &io).await });
    held.until_waiting().await;
    running.abort();
    let Adopted::Running(shim) = adopt(&log) else { panic!("pg_restore goes on") };
    shim.stop().await.unwrap();
    held.release().await;
    let probe = beside().probe(&cx, &plan).await.unwrap();
    assert!(matches!(&probe, Probe::DidNot(why) if why.contains("The old data is intact")), "{probe:?}");
    assert_eq!(databases(&world).await.len(), 2, "the probe changes nothing");
    let done = world.done(STEP, &beside()).await;
    assert_eq!(databases(&world).await, ["financecopilot".to_owned(), name_of(&done.facts)]);
    assert_eq!(live(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lacking_is_said_before_anything_is_made() {
    let (world, _) = damaged().await;
    let blocked = async |what: &str| {
        let plan = world.plan(STEP, &beside()).await.unwrap();
        let why = texts(&plan, Gravity::Blocking).join("\n");
        assert!(why.contains(what), "{what}: {why}");
    };
    world.as_super("postgres", "ALTER ROLE relight NOCREATEDB").await;
    blocked("ALTER ROLE relight CREATEDB").await;
    let check = world.done("check.database", &CheckPostgres { target: database() }).await;
    assert!(check.evidence.iter().any(|line| line.contains("relight may not create databases")), "{check:?}");
    world.as_super("postgres", "ALTER ROLE relight CREATEDB; REVOKE fc_app FROM relight; GRANT CONNECT ON DATABASE financecopilot TO relight").await;
    blocked("GRANT fc_app TO relight").await;
    world.as_super("postgres", "GRANT fc_app TO relight").await;

    // What the swap will meet is named now.
    world.as_super("financecopilot", "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')").await;
    world.run_sql("BEGIN; INSERT INTO audit_log (line) VALUES ('half'); PREPARE TRANSACTION 'half'").await;
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let warned = texts(&plan, Gravity::Warning).join("\n");
    assert_eq!(plan.obstacle(), None);
    assert!(warned.contains("cdc") && warned.contains("The prepared transaction `half`"), "{warned}");
    world.run_sql("ROLLBACK PREPARED 'half'").await;
    world.as_super("financecopilot", "SELECT pg_drop_replication_slot('cdc')").await;

    // A role that the dump gives rights to, and that is gone.
    world.as_super("financecopilot", "CREATE ROLE auditor; GRANT SELECT ON audit_log TO auditor").await;
    let object = world.put("postgres/d.dump", &world.pg_dump("financecopilot", &[])).await;
    world.as_super("financecopilot", "DROP OWNED BY auditor; DROP ROLE auditor").await;
    world.chosen(&object);
    blocked("roles that the server lacks: auditor").await;
}

/// Makes a restore of `audit_log` wait for as long as there is a session called `gate`, in whichever database.
const GATE: &str = "CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
     WHILE EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = 'gate') LOOP \
       PERFORM pg_catalog.pg_sleep(0.01); PERFORM pg_catalog.pg_stat_clear_snapshot(); END LOOP; RETURN true; END $$; \
     ALTER TABLE audit_log ADD CHECK (gate())";

struct Held {
    client: tokio_postgres::Client,
    watch: tokio_postgres::Client,
}

async fn hold(world: &World) -> Held {
    let client = world.app().await;
    client.batch_execute("SET application_name = 'gate'").await.unwrap();
    Held { client, watch: world.admin("postgres").await }
}

impl Held {
    async fn until_waiting(&self) {
        let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event = 'PgSleep')";
        until(&self.watch, waits).await;
    }

    async fn release(self) {
        self.client.batch_execute("RESET application_name").await.unwrap();
    }
}
