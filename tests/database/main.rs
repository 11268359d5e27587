//! PostgreSQL's workers against a real server and a real S3 server: each way to success, and each way to fail.
//!
//! Every test has a cluster of its own, so the tests are few and long.

mod after;
mod beside;
mod disk;
mod front;
mod identity;
mod in_place;
mod kills;
mod later;
mod load;
mod network;
mod network_after;
mod network_back;
mod over;
mod proof;
#[path = "../faults/proxy.rs"]
#[expect(dead_code, reason = "only resets are of use here")]
mod proxy;
mod rows;
mod swap;
#[path = "../crash/tally.rs"]
mod tally;
#[path = "../crash/trials.rs"]
mod trials;
mod world;

use std::process::Command;

use relight::incident::{Fact, Gravity, IncidentId, ObjectRef};
use relight::runbook::{StepId, TargetRef};
use relight::workers::postgres::{CheckPostgres, EndSessions, ProveTables, RestoreInPlace, SafetyDump, TargetLock};
use relight::workers::process::{Adopted, adopt};
use relight::workers::{Cancel, Probe, Ran, Worker, WorkerError};
use world::{PASSWORD, World, database, texts};

const ROWS: &str = "SELECT count(*) FROM transactions";

fn restore_from(step: &str) -> RestoreInPlace {
    RestoreInPlace { database: database(), from: StepId::new(step), atomic: false }
}

fn safety() -> SafetyDump {
    SafetyDump { database: database(), to: TargetRef::S3("safety".to_owned()) }
}

fn prove() -> ProveTables {
    ProveTables { database: database(), restore: StepId::new("restore.database") }
}

fn sessions() -> EndSessions {
    EndSessions { database: database() }
}

/// The dump goes to S3 in parts while pg_dump writes it, and is of one moment: rows that are written meanwhile are not in
/// it. What lies beside it says which moment, and how many rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_safety_dump_is_of_one_moment_and_says_which() {
    let world = World::new().await;
    world.run_sql(NOISE).await;
    let plan = world.plan("restore.safety-dump", &safety()).await.unwrap();
    let (_hand, cancel) = Cancel::new();
    let (cx, io) = (world.context("restore.safety-dump"), world.io(cancel));
    let writer = world.app().await;
    let running = tokio::spawn(async move { safety().run(&cx, &plan, &io).await });
    while !world.said().iter().any(|line| line.contains("the dump is of")) {
        tokio::task::yield_now().await;
    }
    writer.batch_execute("INSERT INTO audit_log (line) VALUES ('written while it is dumped')").await.unwrap();
    let Ran::Done(done) = running.await.unwrap().unwrap() else { panic!("it is dumped") };
    let Some(Fact::SafetyDump { object, .. }) = done.facts.first() else { panic!("{done:?}") };
    assert!(object.size > 16 << 20, "two parts: {}", object.size);
    let file = world.object_file(&object.key);
    let manifest: serde_json::Value = serde_json::from_slice(
        &std::fs::read(file.with_file_name(format!("{}.manifest.json", file.file_name().unwrap().to_str().unwrap())))
            .unwrap(),
    )
    .unwrap();
    assert_eq!(
        manifest["rows"],
        serde_json::json!({ "public.accounts": 500, "public.transactions": 20_000, "public.audit_log": 3, "public.noise": 1500 })
    );
    assert!(
        manifest["lsn"].as_str().unwrap().contains('/')
            && manifest["later"].as_str().unwrap().contains("kept database")
    );
    assert_eq!(manifest["bytes"].as_u64(), Some(object.size));
    // It is the file that pg_dump wrote to its end, offsets included.
    let toc = relight::archive::Toc::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert!(toc.summary().has_offsets);
    assert_eq!(unfinished(&world), 0, "no part is left over");
}

/// A second safety dump takes no room from the first, and one that is not what pg_dump wrote is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn safety_dumps_are_kept_side_by_side_and_a_damaged_one_does_not_count() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for rows in [500, 499] {
        let done = world.done("restore.safety-dump", &safety()).await;
        let Some(Fact::SafetyDump { object, .. }) = done.facts.first() else { panic!("{done:?}") };
        keys.push(object.key.clone());
        assert!(keys.iter().all(|key| world.object_file(key).exists()), "{keys:?}");
        world.run_sql(&format!("DELETE FROM transactions; DELETE FROM accounts WHERE id >= {rows}")).await;
    }
    assert_ne!(keys[0], keys[1]);
    // What comes back from S3 is read to its end and compared, before the dump counts as a way back.
    world.front.flip(Some("safety/"));
    let plan = world.plan("restore.safety-dump", &safety()).await.unwrap();
    let error = world.run("restore.safety-dump", &safety(), &plan).await.unwrap_err();
    world.front.flip(None);
    assert!(error.to_string().contains("safety"), "{error}");
    assert!(keys.iter().all(|key| world.object_file(key).exists()), "the good ones are still there");
    world.done("restore.safety-dump", &safety()).await;
}

/// Random bytes do not compress: more than one part of an upload.
const NOISE: &str = "CREATE TABLE noise (id int PRIMARY KEY, x bytea); INSERT INTO noise SELECT i, decode(string_agg(md5(random()::text), ''), 'hex') \
     FROM generate_series(1, 1500) i, generate_series(1, 1000 + i * 0) GROUP BY i; ALTER TABLE noise ALTER x SET STORAGE EXTERNAL";

/// What the S3 server keeps of uploads that were neither ended nor given up.
fn unfinished(world: &World) -> usize {
    let entries = std::fs::read_dir(world.path().join("s3")).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".upload")).count()
}

/// An engine that dies while it uploads leaves nothing in the bucket once the next one has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_nobody_ends_is_given_up() {
    let world = World::new().await;
    world.run_sql(NOISE).await;
    let plan = world.plan("restore.safety-dump", &safety()).await.unwrap();
    let (_hand, cancel) = Cancel::new();
    let (cx, io, planned) = (world.context("restore.safety-dump"), world.io(cancel), plan.clone());
    let running = tokio::spawn(async move { safety().run(&cx, &planned, &io).await });
    let work = world.context("restore.safety-dump").work().unwrap();
    let noted = || {
        std::fs::read_dir(&work)
            .unwrap()
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|it| it == "upload"))
    };
    while !noted() {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(unfinished(&world) > 0, "it was begun");
    let cx = world.context("restore.safety-dump");
    assert!(matches!(safety().probe(&cx, &plan).await.unwrap(), Probe::DidNot(_)));
    assert_eq!(unfinished(&world), 0);
    let left: Vec<_> = std::fs::read_dir(&work).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    world.done("restore.safety-dump", &safety()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_and_back_again() {
    let world = World::new().await;
    let check = world.done("check.database", &CheckPostgres { target: database() }).await;
    assert!(check.evidence.iter().any(|line| line.contains("may take the role fc_app")), "{check:?}");
    assert!(check.evidence.iter().any(|line| line.contains("pg_restore") && line.contains("of the server's version")));

    let object =
        world.put("postgres/financecopilot-20261123T060000Z.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    // The damage: rows gone, rows changed, a table emptied; and something new that nothing depends on.
    world.run_sql("DELETE FROM transactions WHERE id % 2 = 0; UPDATE transactions SET amount = 0; TRUNCATE audit_log; CREATE TABLE later (x int)").await;
    assert_eq!(world.number(ROWS).await, 10_000);

    let quiet = world.done("restore.quiet", &sessions()).await;
    assert!(quiet.evidence[0].starts_with("No other session"), "{quiet:?}");

    let dumped = world.done("restore.safety-dump", &safety()).await;
    let Some(Fact::SafetyDump { object: kept, .. }) = dumped.facts.first() else { panic!("{dumped:?}") };
    assert!(kept.key.starts_with("safety/INC-TEST/financecopilot-") && kept.target == "s3.safety", "{kept:?}");
    assert_eq!(std::fs::metadata(world.object_file(&kept.key)).unwrap().len(), kept.size);
    let left: Vec<_> = std::fs::read_dir(world.path().join("incident/work")).unwrap().flatten().collect();
    assert!(left.is_empty(), "the local file of the safety dump is gone: {left:?}");

    let restore = restore_from("select.snapshot");
    let plan = world.plan("restore.database", &restore).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    assert_eq!(plan.type_name.as_deref(), Some("financecopilot"));
    assert!(
        plan.commands
            .iter()
            .any(|line| line
                .contains("pg_restore --clean --if-exists --no-owner --exit-on-error --role=fc_app --jobs=2"))
    );
    assert!(!serde_json::to_string(&plan).unwrap().contains(PASSWORD));
    let warned = texts(&plan, Gravity::Warning);
    let room = |line: &str| line.starts_with("Free space on the server cannot be seen from here");
    assert!(warned.iter().any(|line| room(line)), "{warned:?}");
    assert_eq!(
        warned.iter().filter(|line| !room(line)).collect::<Vec<_>>(),
        ["Not in the dump, and left as they are: public.later."]
    );
    let done = world.done("restore.database", &restore).await;
    assert!(matches!(&done.facts[..], [Fact::Restored { object: from, .. }] if *from == object), "{done:?}");
    assert!(world.log().contains("finished item") && !world.log().contains(PASSWORD));

    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence[0].starts_with("3 tables, 20,503 rows equal to the dump"), "{proof:?}");
    assert!(proof.evidence.iter().any(|line| line == "fc_app reads all 3 tables"), "{proof:?}");
    assert_eq!(world.number(ROWS).await, 20_000);
    assert_eq!(world.number("SELECT reltuples::bigint FROM pg_class WHERE relname = 'transactions'").await, 20_000);
    // A second restore finds the copy that it fetched.
    let again = restore_from("select.snapshot");
    let plan = world.plan("restore.database", &again).await.unwrap();
    assert!(texts(&plan, Gravity::Good).contains(&"The dump is on this host already".to_owned()));

    // And back to what it was before.
    world.done("rollback.safety-dump", &restore_from("restore.safety-dump")).await;
    world.done("restore.prove", &prove()).await;
    assert_eq!(world.number(ROWS).await, 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_who_are_connected() {
    let world = World::new().await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let other = world.app().await;
    other.batch_execute("BEGIN; UPDATE accounts SET email = email").await.unwrap();

    // A restore is refused in its plan, and again when it runs, before anything changes.
    let restore = restore_from("select.snapshot");
    let plan = world.plan("restore.database", &restore).await.unwrap();
    let blocked = plan.obstacle().unwrap();
    assert!(
        blocked.contains("Others are connected")
            && blocked.contains("fc_app \"api\" from 127.0.0.1, idle in transaction"),
        "{blocked}"
    );
    let error = world.run("restore.database", &restore, &plan).await.unwrap_err();
    assert!(error.cause.contains("Others are connected") && error.cause.contains("The old data is intact"), "{error}");
    assert!(matches!(restore.probe(&world.context("restore.database"), &plan).await.unwrap(), Probe::DidNot(_)));

    // They are listed and ended.
    let worker = sessions();
    let plan = world.plan("restore.quiet", &worker).await.unwrap();
    assert!(
        plan.effects.iter().any(|line| line.starts_with("ends ") && line.contains("fc_app \"api\"")),
        "{:?}",
        plan.effects
    );
    let Ran::Done(done) = world.run("restore.quiet", &worker, &plan).await.unwrap() else { panic!() };
    assert!(done.evidence[0].starts_with("1 session ended; no other session is left"), "{done:?}");
    assert!(other.simple_query("SELECT 1").await.is_err());

    // One that was not in the plan is not ended.
    let plan = world.plan("restore.quiet", &worker).await.unwrap();
    let late = world.app().await;
    let error = world.run("restore.quiet", &worker, &plan).await.unwrap_err();
    assert!(error.cause.contains("not in the plan") && error.cause.contains("fc_app \"api\""), "{error}");
    assert!(late.simple_query("SELECT 1").await.is_ok());
    // One that comes back as often as it is ended is a writer, and is named.
    let plan = world.plan("restore.quiet", &worker).await.unwrap();
    let port = world.port;
    let back = tokio::spawn(async move {
        let mut late = late;
        loop {
            assert!(late.simple_query("SELECT pg_sleep(3600)").await.is_err(), "it is ended");
            let mut config = tokio_postgres::Config::new();
            config
                .host("127.0.0.1")
                .port(port)
                .user("fc_app")
                .password(PASSWORD)
                .dbname("financecopilot")
                .application_name("api");
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            late = client;
        }
    });
    // Whether it is back in time each time is up to the server; either end is honest.
    match world.run("restore.quiet", &worker, &plan).await {
        Err(error) => assert!(error.cause.contains("comes back every time"), "{error}"),
        Ok(ran) => assert!(matches!(ran, Ran::Done(_))),
    }
    back.abort();
    let _ = back.await;
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'api' AND usename = 'fc_app'";
    world.as_super("postgres", end).await;
    world.until_gone("api").await;

    // A prepared transaction holds locks that no session shows.
    world.run_sql("BEGIN; UPDATE accounts SET email = email WHERE id = 1; PREPARE TRANSACTION 'left-over'").await;
    let plan = world.plan("restore.quiet", &worker).await.unwrap();
    assert!(plan.obstacle().unwrap().contains("The prepared transaction `left-over` of fc_app"));
    world.run_sql("ROLLBACK PREPARED 'left-over'").await;

    // A second incident on the same database is refused by name; the same one is not.
    let other_incident = IncidentId::new("INC-OTHER").unwrap();
    let lock = TargetLock::take(&world.config, &database(), &other_incident).await.unwrap();
    for worker in [&safety() as &dyn Worker, &sessions(), &restore] {
        let plan = world.plan("step", worker).await.unwrap();
        let error = world.run("step", worker, &plan).await.unwrap_err();
        assert!(error.cause.contains("The incident INC-OTHER"), "{error}");
    }
    let shared = TargetLock::take(&world.config, &database(), &other_incident).await.unwrap();
    assert!(shared.is_shared() && !lock.is_shared() && lock.is_held());
    shared.release().await;
    lock.release().await;
    world.done("restore.quiet", &worker).await;
}

/// A plan's first obstacle, or the error instead of a plan.
async fn obstacle(world: &World, worker: &dyn Worker) -> String {
    match world.plan("step", worker).await {
        Ok(plan) => plan.obstacle().unwrap_or_default(),
        Err(WorkerError { cause, .. }) => cause,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dumps_that_must_not_be_restored() {
    let world = World::new().await;
    let good = world.pg_dump("financecopilot", &["-Z", "1"]);
    let restore = restore_from("select.snapshot");
    assert!(obstacle(&world, &restore).await.contains("select.snapshot has found none yet"));

    for (key, bytes, words) in [
        ("postgres/empty.dump", Vec::new(), "the file is empty"),
        (
            "postgres/error.dump",
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".to_vec(),
            "AccessDenied",
        ),
        ("postgres/toc.dump", good[..200].to_vec(), "cut off inside its header"),
        (
            "postgres/newer.dump",
            {
                let mut newer = good.clone();
                newer[6] = 99;
                newer
            },
            "is newer than",
        ),
        ("postgres/foreign.dump", world.pg_dump("postgres", &[]), "is of the database postgres, not of financecopilot"),
    ] {
        world.chosen(&world.put(key, &bytes).await);
        let blocked = obstacle(&world, &restore).await;
        assert!(blocked.contains(words), "{key}: {blocked}");
    }

    // Cut behind its table of contents: it looks good until it is read to its end, and that comes before any change.
    world.chosen(&world.put("postgres/cut.dump", &good[..good.len() * 2 / 3]).await);
    let plan = world.plan("restore.database", &restore).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    let error = world.run("restore.database", &restore, &plan).await.unwrap_err();
    assert!(
        error.cause.contains("The dump is cut off: ") && error.cause.contains("it ends inside TABLE DATA"),
        "{error}"
    );
    assert!(error.operation == "read the dump to its end" && error.cause.contains("The old data is intact"), "{error}");
    assert!(matches!(restore.probe(&world.context("restore.database"), &plan).await.unwrap(), Probe::DidNot(_)));

    // Changed since it was chosen.
    let object = world.put("postgres/good.dump", &good).await;
    world.chosen(&object);
    world.put("postgres/good.dump", &world.pg_dump("financecopilot", &["-Z", "9"])).await;
    let blocked = obstacle(&world, &restore).await;
    assert!(blocked.contains("changed"), "{blocked}");
    world.chosen(&ObjectRef { key: "postgres/gone.dump".to_owned(), ..object });
    let gone = obstacle(&world, &restore).await;
    assert!(gone.contains("not there any more") || gone.contains("There is no"), "{gone}");
    assert_eq!(world.number(ROWS).await, 20_000);

    // A safety dump must not lie among the snapshots.
    let mut world = world;
    world.config.s3.get_mut("safety").unwrap().prefix = "postgres/safety/".to_owned();
    assert!(obstacle(&world, &safety()).await.contains("would lie within s3.backups"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restores_that_stop_half_way() {
    let world = World::new().await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    // A later migration: a table with a foreign key, and a view. Nothing of it is in the dump.
    world.run_sql("CREATE TABLE refunds (id int, tx bigint REFERENCES transactions); CREATE VIEW big AS SELECT * FROM transactions WHERE amount > 100").await;
    let restore = restore_from("select.snapshot");
    let plan = world.plan("restore.database", &restore).await.unwrap();
    let warnings = texts(&plan, Gravity::Warning).join("\n");
    assert!(warnings.contains("view public.big is not in the dump and depends on public.transactions"), "{warnings}");
    assert!(warnings.contains("ALTER TABLE \"public\".\"refunds\" DROP CONSTRAINT \"refunds_tx_fkey\""), "{warnings}");
    let error = world.run("restore.database", &restore, &plan).await.unwrap_err();
    // Which table is what is told, not only that something is wrong.
    let mixed = "The database is mixed: as before, perhaps without indexes and keys: public.accounts, public.audit_log, public.transactions.";
    assert!(error.cause.contains(mixed) && error.cause.contains("depend"), "{error}");
    let probe = restore.probe(&world.context("restore.database"), &plan).await.unwrap();
    assert!(matches!(&probe, Probe::Broken(why, _) if why.contains(mixed)), "{probe:?}");

    // With them dropped it goes through, over what the failed one left.
    world.run_sql("DROP VIEW IF EXISTS big; DROP TABLE refunds").await;
    let done = world.done("restore.database", &restore).await;
    let probe = restore.probe(&world.context("restore.database"), &plan).await.unwrap();
    assert!(matches!(&probe, Probe::Happened(probed) if probed.facts == done.facts), "{probe:?}");

    // Stopped in the middle: a lock that came after the last look, and that nobody gives up, keeps it there.
    let plan = world.plan("restore.database", &restore).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    world.run_sql("BEGIN; LOCK TABLE accounts; PREPARE TRANSACTION 'late'").await;
    let (hand, cancel) = Cancel::new();
    let (io, cx) = (world.io(cancel), world.context("restore.database"));
    let log = io.log.clone();
    let (planned, own) = (plan.clone(), cx.clone());
    let running = tokio::spawn(async move { restore_from("select.snapshot").run(&own, &planned, &io).await });
    let watch = world.admin("postgres").await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'relight INC-TEST restore' AND wait_event_type = 'Lock'";
    while watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(!running.is_finished());
    }
    let Adopted::Running(shim) = adopt(&log) else { panic!("it should be found running") };
    hand.send_replace(true);
    let ran = running.await.unwrap();
    assert!(matches!(&ran, Ok(Ran::Stopped(left)) if left.contains("mixed")), "{ran:?}");
    assert!(matches!(shim.wait().await, Adopted::Ended(exit) if exit.stopped));
    world.run_sql("ROLLBACK PREPARED 'late'").await;
    world.until_gone("relight INC-TEST restore").await;
    let probe = restore.probe(&cx, &plan).await.unwrap();
    assert!(
        matches!(&probe, Probe::Broken(why, _) if why.contains("was stopped") && why.contains("mixed: ")),
        "{probe:?}"
    );
    world.until_gone("api").await;
    world.done("restore.database", &restore_from("select.snapshot")).await;
    world.done("restore.prove", &prove()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proof_finds() {
    let world = World::new().await;
    // Compressions that we cannot read ourselves go through pg_restore; here the plain one and INSERTs.
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &["-Z", "0"])).await;
    world.chosen(&object);
    world.done("restore.database", &restore_from("select.snapshot")).await;
    world.done("restore.prove", &prove()).await;
    world
        .run_sql(
            "DELETE FROM transactions WHERE id <= 7; SELECT setval('accounts_id_seq', 3); DROP TABLE audit_log; \
             ALTER TABLE accounts ADD CONSTRAINT late CHECK (id > 0) NOT VALID; \
             REFRESH MATERIALIZED VIEW totals WITH NO DATA",
        )
        .await;
    let plan = world.plan("restore.prove", &prove()).await.unwrap();
    let error = world.run("restore.prove", &prove(), &plan).await.unwrap_err();
    for words in [
        "Missing: public.audit_log.",
        "public.transactions has 19,993 rows, and the dump 20,000.",
        "Constraints that were not checked: public.accounts late.",
        "Materialized views without their data: public.totals.",
        "The sequence public.accounts_id_seq stands at 3, behind accounts.id with 500.",
    ] {
        assert!(error.cause.contains(words), "{words}: {error}");
    }
    // The service's role without its rights.
    let admin = world.admin("financecopilot").await;
    admin
        .batch_execute(&format!(
            "CREATE ROLE svc LOGIN PASSWORD '{PASSWORD}'; GRANT svc TO relight; GRANT SELECT ON accounts TO svc"
        ))
        .await
        .unwrap();
    drop(admin);
    world.until_gone("api").await;
    let mut world = world;
    world.config.postgres.get_mut("financecopilot").unwrap().app_role = Some("svc".to_owned());
    world.done("restore.database", &restore_from("select.snapshot")).await;
    let plan = world.plan("restore.prove", &prove()).await.unwrap();
    let error = world.run("restore.prove", &prove(), &plan).await.unwrap_err();
    assert!(error.cause.contains("svc cannot read") && error.cause.contains("public.transactions"), "{error}");
}

/// What a case has wrong in its config.
type Change = Box<dyn Fn(&mut relight::config::Postgres)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_programs_and_passwords() {
    let world = World::new().await;
    let check = CheckPostgres { target: database() };
    let base = world.config.clone();
    let folder = world.path().join("old-bin");
    std::fs::create_dir(&folder).unwrap();
    for program in ["pg_restore", "pg_dump"] {
        let path = folder.join(program);
        std::fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) 11.22'\n")).unwrap();
        assert!(Command::new("chmod").arg("755").arg(&path).status().unwrap().success());
    }
    let wrong = world.path().join("wrong");
    std::fs::write(&wrong, "not-the-password").unwrap();
    assert!(Command::new("chmod").arg("600").arg(&wrong).status().unwrap().success());
    let admin = world.admin("postgres").await;
    admin.batch_execute(&format!("CREATE ROLE weak LOGIN PASSWORD '{PASSWORD}'")).await.unwrap();

    let mut world = world;
    let cases: [(&str, Change, &str); 8] = [
        (
            "password",
            Box::new({
                let wrong = wrong.clone();
                move |pg| pg.password = Some(relight::config::SecretSource::File(wrong.clone()))
            }),
            "does not let relight in: password authentication failed",
        ),
        ("database", Box::new(|pg| pg.database = "nowhere".to_owned()), "There is no database nowhere on this server."),
        ("port", Box::new(|pg| pg.port = Some(1)), "The server at 127.0.0.1:1 cannot be reached: "),
        (
            "tls",
            Box::new(|pg| pg.sslmode = Some(relight::config::SslMode::Require)),
            "The server has no TLS, and sslmode asks for it.",
        ),
        ("owner", Box::new(|pg| pg.owner = "nobody".to_owned()), "There is no role nobody"),
        ("rights", Box::new(|pg| pg.user = Some("weak".to_owned())), "weak may not take the role fc_app"),
        (
            "missing",
            Box::new({
                let empty = world.path().join("incident");
                move |pg| pg.bin_dir = Some(empty.clone())
            }),
            "There is no pg_restore in",
        ),
        (
            "version",
            Box::new({
                let folder = folder.clone();
                move |pg| pg.bin_dir = Some(folder.clone())
            }),
            "and there is only pg_restore 11.22",
        ),
    ];
    for (name, change, words) in cases {
        world.config = base.clone();
        change(world.config.postgres.get_mut("financecopilot").unwrap());
        let cause = match world.plan("check.database", &check).await {
            Err(error) => error.cause,
            Ok(plan) => world.run("check.database", &check, &plan).await.unwrap_err().cause,
        };
        assert!(cause.contains(words) && !cause.contains("not-the-password"), "{name}: {cause}");
    }
    world.config = base;
    world.config.postgres.get_mut("financecopilot").unwrap().bin_dir = Some(folder);
    assert!(obstacle(&world, &safety()).await.contains("There is no pg_dump of version"));
}
