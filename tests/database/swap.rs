//! The swap and the swap back: what belongs to the name stays with it, the old database is kept, and whatever ends the
//! engine, the live name is open again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relight::incident::{Fact, Gravity, Plan};
use relight::runbook::{StepId, TargetRef};
use relight::workers::postgres::{DropKept, RestoreBeside, SwapBack, SwapDatabase};
use relight::workers::snapshot::ChooseSnapshot;
use relight::workers::{Cancel, Probe, Worker};
use serde_json::json;
use tokio_postgres::NoTls;

use super::beside::{beside, damaged, name_of, prove};
use super::world::{PASSWORD, World, database, texts, until};

const RESTORE: &str = "restore.database";
const SWAP: &str = "restore.swap";
const BACK: &str = "rollback.swap";

fn swap() -> SwapDatabase {
    SwapDatabase { database: database(), restore: StepId::new(RESTORE) }
}

fn back() -> SwapBack {
    SwapBack { database: database(), swap: StepId::new(SWAP) }
}

/// Everything that belongs to the live name, as text.
async fn belongs(world: &World) -> String {
    world
        .text(
            "SELECT concat_ws(' | ', pg_get_userbyid(datdba), encoding, datcollate, datctype, (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace), datconnlimit, shobj_description(d.oid, 'pg_database'), \
               (SELECT string_agg(coalesce(g.rolname, 'PUBLIC') || ' ' || a.privilege_type || a.is_grantable, ',' ORDER BY g.rolname, a.privilege_type) \
                FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a LEFT JOIN pg_roles g ON g.oid = a.grantee), \
               (SELECT string_agg(coalesce(r.rolname, 'all') || ' ' || line, ',' ORDER BY r.rolname, line) \
                FROM pg_db_role_setting s CROSS JOIN unnest(setconfig) line LEFT JOIN pg_roles r ON r.oid = setrole \
                WHERE setdatabase = d.oid)) \
             FROM pg_database d WHERE datname = 'financecopilot'",
        )
        .await
}

async fn number_of(world: &World, name: &str) -> String {
    world.text(&format!("SELECT coalesce((SELECT oid::text FROM pg_database WHERE datname = '{name}'), 'none')")).await
}

async fn is_open(world: &World, name: &str) -> bool {
    world.text(&format!("SELECT datallowconn::text FROM pg_database WHERE datname = '{name}'")).await == "true"
}

async fn zeros(world: &World) -> i64 {
    world.number("SELECT count(*) FROM transactions WHERE amount = 0").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_changes_hands_with_all_that_belongs_to_it_and_back() {
    let (world, _) = damaged().await;
    world
        .as_super(
            "postgres",
            "CREATE ROLE reader; ALTER DATABASE financecopilot SET search_path TO public, \"Odd one\"; \
             ALTER DATABASE financecopilot SET work_mem = '8MB'; ALTER DATABASE financecopilot SET application_name = 'it''s \\ here'; \
             ALTER DATABASE financecopilot CONNECTION LIMIT 77; COMMENT ON DATABASE financecopilot IS 'The books'; \
             REVOKE CONNECT, TEMPORARY ON DATABASE financecopilot FROM PUBLIC; \
             GRANT CONNECT ON DATABASE financecopilot TO reader WITH GRANT OPTION; GRANT CONNECT ON DATABASE financecopilot TO relight",
        )
        .await;
    let before = belongs(&world).await;
    let old = number_of(&world, "financecopilot").await;
    let restored = world.done(RESTORE, &beside()).await;
    let name = name_of(&restored.facts);
    world.done("restore.prove", &prove()).await;

    let plan = world.plan(SWAP, &swap()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    assert!(plan.effects[0].contains("becomes financecopilot_pre_test"), "{:?}", plan.effects);
    assert!(
        texts(&plan, Gravity::Warning).iter().any(|line| line.contains("no safety dump off this server")),
        "{plan:?}"
    );
    assert!(!serde_json::to_string(&plan).unwrap().contains(PASSWORD));
    let done = world.done(SWAP, &swap()).await;
    assert!(matches!(&done.facts[..], [Fact::Swapped { .. }, Fact::Restored { .. }]), "{done:?}");
    assert_eq!(zeros(&world).await, 0);
    assert_eq!(belongs(&world).await, before);
    assert_eq!(number_of(&world, "financecopilot_pre_test").await, old);
    assert!(is_open(&world, "financecopilot").await && !is_open(&world, "financecopilot_pre_test").await);
    // A proof that is asked for again looks at the live one now.
    world.done("restore.prove", &prove()).await;

    // Rows written since are counted, and kept.
    world.run_sql("INSERT INTO audit_log (line) SELECT 'after the swap' FROM generate_series(1, 25)").await;
    let plan = world.plan(BACK, &back()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    assert!(plan.effects[1].contains(&format!("stays as {name}")), "{:?}", plan.effects);
    assert!(plan.effects[2].starts_with("About 25 rows were written"), "{:?}", plan.effects);
    world.done(BACK, &back()).await;
    assert_eq!(zeros(&world).await, 1000, "the damage is back, as it was");
    assert_eq!((number_of(&world, "financecopilot").await, belongs(&world).await), (old, before));
    assert!(is_open(&world, "financecopilot").await && !is_open(&world, &name).await);
    assert_eq!(number_of(&world, "financecopilot_pre_test").await, "none");

    // And forward again: the same database, with what was written into it.
    world.done(SWAP, &swap()).await;
    assert_eq!(zeros(&world).await, 0);
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE line = 'after the swap'").await, 25);
}

/// The kept database is dropped by its name, and not while anything would be lost with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kept_database_is_dropped_only_when_nothing_hangs_on_it() {
    let (world, _) = damaged().await;
    let drop_kept = || DropKept { database: database(), swap: StepId::new(SWAP) };
    world.done(RESTORE, &beside()).await;
    // What was restored and never swapped in is offered too, and nothing that serves.
    let restored = world.plan("demand.drop-kept", &drop_kept()).await.unwrap();
    assert!(
        restored.type_name.is_some_and(|name| name.starts_with("financecopilot_restore_test_")),
        "{:?}",
        restored.effects
    );
    world.done(SWAP, &swap()).await;
    // A slot without a reader would go with the database, and what it kept for its reader too.
    let kept = "financecopilot_pre_test";
    world.as_super("postgres", &format!("ALTER DATABASE {kept} ALLOW_CONNECTIONS true")).await;
    world.as_super(kept, "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')").await;
    let plan = world.plan("demand.drop-kept", &drop_kept()).await.unwrap();
    assert!(plan.obstacle().is_some_and(|why| why.contains("replication slots cdc would be lost")), "{plan:?}");
    // A plan from before the slot was there holds itself to what is there now.
    let error = world.run("demand.drop-kept", &drop_kept(), &plan).await.unwrap_err();
    assert!(error.next.contains("Nothing was dropped"), "{error}");
    assert_ne!(number_of(&world, kept).await, "none");
    world.as_super(kept, "SELECT pg_drop_replication_slot('cdc')").await;
    let guest = world.admin(kept).await;
    let plan = world.plan("demand.drop-kept", &drop_kept()).await.unwrap();
    assert!(plan.obstacle().is_some_and(|why| why.contains("Somebody is connected to it")), "{plan:?}");
    world.leave(guest).await;
    let plan = world.plan("demand.drop-kept", &drop_kept()).await.unwrap();
    assert_eq!((plan.obstacle(), plan.type_name.as_deref()), (None, Some(kept)));
    assert!(matches!(drop_kept().probe(&world.context("demand.drop-kept"), &plan).await.unwrap(), Probe::DidNot(_)));
    world.done("demand.drop-kept", &drop_kept()).await;
    assert_eq!(number_of(&world, kept).await, "none");
    assert!(matches!(drop_kept().probe(&world.context("demand.drop-kept"), &plan).await.unwrap(), Probe::Happened(_)));
    assert_eq!(zeros(&world).await, 0, "the live one is what was restored");
    let back = world.plan(BACK, &back()).await.unwrap();
    assert!(back.obstacle().is_some_and(|why| why.contains("is not there any more")), "{back:?}");
    let nothing = world.plan("demand.drop-kept", &drop_kept()).await.unwrap();
    assert!(nothing.nothing_to_do.is_some(), "{nothing:?}");
}

/// An older snapshot on top of the first, and back: each database is kept, and which one is dropped is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_snapshot_is_swapped_in_over_the_first_and_all_of_them_are_kept() {
    let (world, object) = damaged().await;
    let first = name_of(&world.done(RESTORE, &beside()).await.facts);
    world.done(SWAP, &swap()).await;
    // The older dump has one row less.
    let source = world.app().await;
    source.batch_execute("DELETE FROM transactions WHERE id = 20000").await.unwrap();
    world.leave(source).await;
    let older = world.put("postgres/older.dump", &world.pg_dump("financecopilot", &[])).await;
    assert_ne!(older, object);
    let old_step = "rollback.older-snapshot";
    // Its card says that what rests on the first choice goes on with that.
    world.answer("onset", &jiff::Timestamp::now().to_string());
    for (key, warns) in [(&older.key, true), (&object.key, false)] {
        world.answer("snapshot", key);
        let choose = ChooseSnapshot { from: TargetRef::S3("backups".to_owned()), database: database() };
        let plan = world.plan(old_step, &choose).await.unwrap();
        let warned = texts(&plan, Gravity::Warning).iter().any(|line| {
            line.contains(&format!("select.snapshot chose another one, {}", object.key))
                && line.contains("goes on with that")
        });
        assert_eq!(warned, warns, "{key}: {plan:?}");
    }
    world.answer("onset", "");
    world.answer("snapshot", "");
    world.know(old_step, Fact::Snapshot { object: older, taken_at: "2026-11-23T03:00:00Z".parse().unwrap() });
    let restore = RestoreBeside { database: database(), from: StepId::new(old_step), rehearsal: false };
    let second = name_of(&world.done("rollback.restore-older", &restore).await.facts);
    let older = SwapDatabase { database: database(), restore: StepId::new("rollback.restore-older") };
    world.done("rollback.swap-older", &older).await;
    assert_eq!(world.number("SELECT count(*) FROM transactions").await, 19_999);
    let back = SwapBack { database: database(), swap: StepId::new("rollback.swap-older") };
    world.done("rollback.swap-older-back", &back).await;
    assert_eq!(world.number("SELECT count(*) FROM transactions").await, 19_999, "the one that was swapped in first");
    assert_eq!(zeros(&world).await, 0);
    // Three databases: the live one, and two that are kept; nobody is dropped without being named.
    let drop_kept = DropKept { database: database(), swap: StepId::new(SWAP) };
    let asked = world.plan("demand.drop-kept", &drop_kept).await.unwrap();
    assert!(asked.obstacle().is_some_and(|why| why.contains("Which database?")), "{asked:?}");
    world.answer("database", &second);
    let plan = world.plan("demand.drop-kept", &drop_kept).await.unwrap();
    assert_eq!((plan.obstacle(), plan.type_name.as_deref()), (None, Some(second.as_str())));
    assert!(!plan.effects.iter().any(|line| line.contains("Swapping back")), "{:?}", plan.effects);
    world.done("demand.drop-kept", &drop_kept).await;
    world.answer("database", "");
    assert_eq!(number_of(&world, &second).await, "none");
    assert_ne!(number_of(&world, "financecopilot_pre_test").await, "none");
    assert_eq!(number_of(&world, &first).await, "none", "it bears the live name");
}

/// Nothing is written into a database that gives its name away: while the writers run, there is no swap back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_run_are_stopped_before_a_swap_back() {
    let (world, _) = damaged().await;
    world.done(RESTORE, &beside()).await;
    world.done(SWAP, &swap()).await;
    world.know("restore.start-writes", Fact::WritesStarted { at: jiff::Timestamp::now() });
    let cx = world.context(BACK);
    let mut running = (*cx.knowledge).clone();
    running.writes_stopped_at = None;
    let cx = relight::workers::Context { knowledge: Arc::new(running), ..cx };
    let plan = back().plan(&cx).await.unwrap();
    assert!(plan.obstacle().is_some_and(|why| why.contains("stop them first (u on Start writes)")), "{plan:?}");
    let plan = world.plan(BACK, &back()).await.unwrap();
    assert_eq!(plan.obstacle(), None, "they are stopped");
}

/// A worker of the server that is no client keeps a name too, and does not end when it is renamed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_works_is_named_before_the_fence_is_raised() {
    let (world, _) = damaged().await;
    world
        .as_super("postgres", "CREATE TABLE changes (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE changes")
        .await;
    world.as_super("financecopilot", "CREATE TABLE changes (id int PRIMARY KEY)").await;
    world.as_super("postgres", "SELECT pg_create_logical_replication_slot('sub', 'pgoutput')").await;
    let from = format!("host=127.0.0.1 port={} user=postgres password=pw-of-postgres dbname=postgres", world.port);
    world
        .as_super(
            "financecopilot",
            &format!("CREATE SUBSCRIPTION sub CONNECTION '{from}' PUBLICATION p WITH (create_slot = false, copy_data = false)"),
        )
        .await;
    let works = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'financecopilot' AND backend_type LIKE 'logical replication%')";
    let watch = world.admin("postgres").await;
    until(&watch, works).await;
    world.done(RESTORE, &beside()).await;
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    assert!(plan.obstacle().is_some_and(|why| why.contains("ALTER SUBSCRIPTION … DISABLE")), "{plan:?}");
    assert!(
        texts(&plan, Gravity::Warning).iter().any(|line| line.contains("Subscriptions stay with the old database"))
    );
    world.as_super("financecopilot", "ALTER SUBSCRIPTION sub DISABLE").await;
    until(&watch, &format!("NOT {works}")).await;
    world.done(SWAP, &swap()).await;
    assert_eq!(zeros(&world).await, 0);
    world.as_super("postgres", "ALTER DATABASE financecopilot_pre_test ALLOW_CONNECTIONS true").await;
    world
        .as_super("financecopilot_pre_test", "ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_lost_or_is_not_allowed_is_said_beforehand() {
    let (world, _) = damaged().await;
    // A setting of a role in the database takes more than our rights.
    world.as_super("postgres", "ALTER ROLE fc_app IN DATABASE financecopilot SET statement_timeout = '5s'").await;
    let restored = world.done(RESTORE, &beside()).await;
    let name = name_of(&restored.facts);
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    let statement = format!("ALTER ROLE \"fc_app\" IN DATABASE \"{name}\" SET \"statement_timeout\" TO '5s'");
    assert!(plan.obstacle().unwrap().contains(&statement), "{plan:?}");
    world.as_super("postgres", &statement).await;
    assert_eq!(world.plan(SWAP, &swap()).await.unwrap().obstacle(), None);

    // A prepared transaction keeps the name from changing hands.
    world.run_sql("BEGIN; UPDATE accounts SET email = email; PREPARE TRANSACTION 'late'").await;
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    assert!(plan.obstacle().unwrap().contains("COMMIT PREPARED"), "{plan:?}");
    world.run_sql("ROLLBACK PREPARED 'late'").await;

    // Somebody renamed or replaced the database that was restored.
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    world.as_super("postgres", &format!("DROP DATABASE \"{name}\"; ")).await;
    let error = world.run(SWAP, &swap(), &plan).await.unwrap_err();
    assert!(error.cause.contains("is not there"), "{error}");
    assert!(is_open(&world, "financecopilot").await);
    assert_eq!(zeros(&world).await, 1000);
}

/// A step that is opened again takes nothing back in the world: the swap stays known, and its way back open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_was_opened_again_is_recognised_and_can_be_taken_back() {
    let (world, _) = damaged().await;
    world.done(RESTORE, &beside()).await;
    world.done(SWAP, &swap()).await;
    let new = number_of(&world, "financecopilot").await;
    world.reopened(SWAP);
    world.done("restore.prove", &prove()).await;
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    assert!(plan.effects[0].contains("nothing is exchanged"), "{plan:?}");
    let again = world.done(SWAP, &swap()).await;
    assert!(matches!(again.facts.first(), Some(Fact::Swapped { kept, .. }) if kept == "financecopilot_pre_test"));
    assert_eq!(number_of(&world, "financecopilot").await, new);
    world.reopened(SWAP);
    world.done(BACK, &back()).await;
    assert_eq!(zeros(&world).await, 1000, "the damage is back, as it was");
    // What was taken back is not found to be so already.
    let plan = world.plan(SWAP, &swap()).await;
    assert!(plan.is_ok_and(|plan| !plan.effects.iter().any(|line| line.contains("nothing is exchanged"))));
}

/// Behind a forgotten statement on the database itself the swap gives up, with the live name open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_must_wait_for_a_lock_gives_up_and_opens_the_live_name() {
    let (world, _) = damaged().await;
    world.done(RESTORE, &beside()).await;
    let forgotten = world.admin("postgres").await;
    forgotten.batch_execute("BEGIN; COMMENT ON DATABASE financecopilot IS 'in the way'").await.unwrap();
    let plan = world.plan(SWAP, &swap()).await.unwrap();
    let error = world.run(SWAP, &swap(), &plan).await.unwrap_err();
    assert!(error.cause.contains("lock timeout") && error.cause.contains("The old data is intact"), "{error}");
    assert!(is_open(&world, "financecopilot").await);
    forgotten.batch_execute("ROLLBACK").await.unwrap();
    world.done(SWAP, &swap()).await;
    assert_eq!(zeros(&world).await, 0);
}

/// A reader of changes holds the database as a client does, and is ended as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logical_reader_does_not_keep_the_name_from_changing_hands() {
    let (world, _) = damaged().await;
    world.as_super("postgres", &format!("CREATE ROLE cdc LOGIN REPLICATION PASSWORD '{PASSWORD}'")).await;
    world.as_super("financecopilot", "SELECT pg_create_logical_replication_slot('cdc', 'test_decoding')").await;
    world.done(RESTORE, &beside()).await;
    let mut reader = Command::new(world.program("pg_recvlogical"))
        .args(["-h", "127.0.0.1", "-p", &world.port.to_string(), "-U", "cdc", "-d", "financecopilot"])
        .args(["--slot", "cdc", "--start", "--no-loop", "-f", "-"])
        .env("PGPASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let reads = "EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walsender' AND datname = 'financecopilot')";
    until(&world.admin("postgres").await, reads).await;
    world.done(SWAP, &swap()).await;
    assert_eq!(zeros(&world).await, 0);
    assert!(!reader.wait().unwrap().success(), "it was ended");
}

/// Fifty clients that connect again and again: none of them ever sees anything but one of the two databases, none is
/// turned away but for the moment of the swap, and all are on the new one afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_back_find_the_new_database() {
    let (world, _) = damaged().await;
    world.done(RESTORE, &beside()).await;
    let before = number_of(&world, "financecopilot").await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..50).map(|_| tokio::spawn(come_and_go(world.port, Arc::clone(&stop)))).collect();
    let watch = world.admin("postgres").await;
    let there =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'financecopilot' AND application_name = 'client'";
    until(&watch, &format!("({there}) >= 10")).await;
    world.done(SWAP, &swap()).await;
    let after = number_of(&world, "financecopilot").await;
    // They go on for as long as it takes that every one of them was let in again.
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let seen = client.await.unwrap();
        assert!(seen.iter().all(|oid| [&before, &after].contains(&oid)), "{seen:?}");
        assert_eq!(seen.last(), Some(&after), "the last one is the new one");
        assert!(seen.is_sorted_by(|one, next| !(*one == after && *next == before)), "never back to the old one");
    }
}

/// Connects until it is told to stop, and then once more; the number of each database that it was let into.
async fn come_and_go(port: u16, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("fc_app").password(PASSWORD).dbname("financecopilot");
    config.application_name("client");
    let mut seen = Vec::new();
    loop {
        let last = stop.load(Ordering::SeqCst);
        let asked = async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            let sql = "SELECT oid::text FROM pg_database WHERE datname = current_database()";
            client.query_one(sql, &[]).await.map(|row| row.get(0))
        };
        match asked.await {
            Ok(number) => {
                seen.push(number);
                if last {
                    return seen;
                }
            }
            // The moment of the swap, and nothing else: closed to new sessions, or this one was ended, or it had found the
            // old database by its name and had yet to lock it. A name that nothing has would come without that detail.
            Err(error) => {
                let code = error.code().map(tokio_postgres::error::SqlState::code);
                let renamed = error.as_db_error().and_then(tokio_postgres::error::DbError::detail)
                    == Some("It seems to have just been dropped or renamed.");
                let known = matches!(code, Some("55000" | "57P01")) || (code == Some("3D000") && renamed);
                assert!(error.is_closed() || known, "{error:?}");
            }
        }
    }
}

/// A swap that dies at any point: the pipe to the guard breaks, and the live name is open again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_dies_at_any_point_leaves_the_name_open() {
    let (world, _) = damaged().await;
    let restored = world.done(RESTORE, &beside()).await;
    let name = name_of(&restored.facts);
    let old = number_of(&world, "financecopilot").await;
    let new = number_of(&world, &name).await;
    let mut through = 0;
    // Each attempt dies one line of its output later, and in the end none of them does.
    for lines in 0.. {
        let plan = world.plan(SWAP, &swap()).await.unwrap();
        if plan.obstacle().is_some() || lines > 12 {
            break;
        }
        let cx = world.context(SWAP);
        let seen = world.said().len();
        // A session for the swap to end: it makes the time with the fence up longer.
        let _client = world.app().await;
        let died = dies_after(&world, &cx, &plan, seen + lines).await;
        until_open(&world).await;
        match swap().probe(&cx, &plan).await.unwrap() {
            Probe::DidNot(why) => {
                assert!(died && why.contains("the old data is intact"), "{why}");
                assert_eq!(number_of(&world, "financecopilot").await, old);
            }
            Probe::Happened(done) => {
                assert_eq!(number_of(&world, "financecopilot").await, new);
                through += 1;
                assert!(matches!(&done.facts[0], Fact::Swapped { .. }));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(through, 1, "the last one goes through");
}

/// Runs a swap and drops it, as a killed process drops everything, once so many lines were said; false where it ended
/// before that.
async fn dies_after(world: &World, cx: &relight::workers::Context, plan: &Plan, lines: usize) -> bool {
    let (_hand, cancel) = Cancel::new();
    let io = world.io(cancel);
    let worker = swap();
    let run = worker.run(cx, plan, &io);
    tokio::pin!(run);
    loop {
        tokio::select! {
            biased;
            () = tokio::task::yield_now(), if world.said().len() > lines => return true,
            ended = &mut run => {
                ended.unwrap();
                return false;
            }
            () = tokio::task::yield_now() => {}
        }
    }
}

pub(crate) async fn until_open(world: &World) {
    let admin = world.admin("postgres").await;
    until(&admin, "(SELECT datallowconn FROM pg_database WHERE datname = 'financecopilot')").await;
}

struct Guarded {
    guard: Child,
    input: ChildStdin,
}

/// A guard for a session that swaps.
fn guard(world: &World, pid: i32, application: &str) -> Guarded {
    let mut guard = Command::new(env!("CARGO_BIN_EXE_relight"))
        .arg("fence-guard")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = guard.stdin.take().unwrap();
    let order = json!({
        "host": "127.0.0.1", "port": world.port, "user": "relight", "password": PASSWORD, "sslmode": "disable",
        "sslrootcert": null, "live": "financecopilot", "swapping": [pid, application],
    });
    writeln!(input, "{order}").unwrap();
    let mut said = String::new();
    BufReader::new(guard.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    Guarded { guard, input }
}

/// The engine dies inside its transaction: with the renames done and not committed, and right after the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_decides_by_what_the_server_says() {
    let (world, _) = damaged().await;
    world.as_super("postgres", "CREATE DATABASE other OWNER fc_app").await;
    let old = number_of(&world, "financecopilot").await;
    let session = world.sql("relight", PASSWORD, "postgres").await;
    session.batch_execute("SET application_name = 'relight INC-TEST swaps'").await.unwrap();
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let of = guard(&world, pid, "relight INC-TEST swaps");
    session.batch_execute("ALTER DATABASE financecopilot ALLOW_CONNECTIONS false").await.unwrap();
    session
        .batch_execute(
            "BEGIN; ALTER DATABASE financecopilot RENAME TO kept; ALTER DATABASE other RENAME TO financecopilot",
        )
        .await
        .unwrap();
    drop(of.input);
    assert!({ of.guard }.wait().unwrap().success());
    assert!(session.batch_execute("COMMIT").await.is_err(), "the session was ended, so that nothing changes any more");
    assert_eq!(number_of(&world, "financecopilot").await, old);
    assert!(is_open(&world, "financecopilot").await);

    // Told that it is done, it changes nothing, whatever it finds.
    let mut of = guard(&world, 1, "nobody");
    world.as_super("postgres", "ALTER DATABASE financecopilot ALLOW_CONNECTIONS false").await;
    writeln!(of.input, "done").unwrap();
    assert!(of.guard.wait().unwrap().success());
    assert!(!is_open(&world, "financecopilot").await);

    // Another session that happens to have the number is left alone.
    let stranger = world.sql("relight", PASSWORD, "postgres").await;
    let pid: i32 = stranger.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let of = guard(&world, pid, "relight INC-TEST swaps");
    drop(of.input);
    assert!({ of.guard }.wait().unwrap().success());
    assert!(is_open(&world, "financecopilot").await);
    stranger.simple_query("SELECT 1").await.unwrap();
}
