//! The loader: what it restores is what pg_dump dumped, whatever is in the dump and however it was made.

use std::sync::atomic::Ordering;

use relight::incident::Gravity;
use relight::workers::Worker as _;
use relight::workers::process::{Adopted, adopt};
use relight::workers::{Cancel, Ran};

use super::beside::{beside, name_of, prove};
use super::world::{World, texts};

const STEP: &str = "restore.database";

/// A bit of everything that is restored in a way of its own.
const RICH: &str = r#"
CREATE SCHEMA "Odd ""schema";
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE "Odd ""schema"."T (x); drop" ("id ;" int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood, n int GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO "Odd ""schema"."T (x); drop" (m) SELECT 'ok' FROM generate_series(1, 50);
COMMENT ON COLUMN "Odd ""schema"."T (x); drop".m IS 'it''s a mood';
CREATE TABLE parent (id int PRIMARY KEY, note text);
CREATE TABLE child (extra int) INHERITS (parent);
INSERT INTO parent SELECT i, repeat('ä', i % 7) FROM generate_series(1, 30) i;
INSERT INTO child SELECT i, E'tab\there', i FROM generate_series(31, 60) i;
CREATE TABLE events (at timestamptz NOT NULL, kind text, body jsonb, PRIMARY KEY (at, kind)) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE events_new PARTITION OF events DEFAULT;
CREATE INDEX events_body ON events USING gin (body);
INSERT INTO events SELECT timestamptz '2026-06-20' + i * interval '1 hour', 'k' || i, jsonb_build_object('i', i, 's', E'a\nb\\') FROM generate_series(1, 500) i;
CREATE TABLE orders (id int PRIMARY KEY, code text, other int, a int, b int, CONSTRAINT later UNIQUE (code) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE, previous int REFERENCES lines, CHECK (id > 0) NOT VALID);
ALTER TABLE orders ADD FOREIGN KEY (other) REFERENCES lines DEFERRABLE;
ALTER TABLE orders ADD CONSTRAINT unproved FOREIGN KEY (a) REFERENCES orders NOT VALID;
INSERT INTO orders SELECT i, 'c' || i, NULL, i, i FROM generate_series(1, 200) i;
INSERT INTO lines SELECT i, 1 + i % 200, NULLIF(i - 1, 0) FROM generate_series(1, 400) i;
UPDATE orders SET other = id;
CREATE INDEX lines_expr ON lines ((id * 2)) WHERE order_id > 5;
CREATE UNIQUE INDEX orders_lower ON orders (lower(code)) INCLUDE (a);
ALTER TABLE orders ADD CONSTRAINT incl UNIQUE (a, id) INCLUDE (b);
ALTER TABLE lines CLUSTER ON lines_pkey;
ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_pkey;
CREATE STATISTICS orders_ab ON a, b FROM orders;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.code := NEW.code || ';'; RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON orders USING (id > 0);
CREATE RULE quiet AS ON DELETE TO parent DO INSTEAD NOTHING;
CREATE VIEW recent AS SELECT * FROM events WHERE at > '2026-07-01';
CREATE MATERIALIZED VIEW per_order AS SELECT order_id, count(*) FROM lines GROUP BY 1;
CREATE UNIQUE INDEX ON per_order (order_id);
REVOKE INSERT, UPDATE ON parent FROM fc_app;
CREATE TABLE empty ();
CREATE UNLOGGED TABLE scratch (x int);
INSERT INTO scratch VALUES (1);
SELECT lo_from_bytea(0, 'a large object');
"#;

/// The database as pg_dump writes it out, without the random words that newer ones put around it.
fn written(world: &World, database: &str) -> String {
    let text = world.pg_dump(database, &["--format=plain"]);
    let text = String::from_utf8(text).unwrap();
    text.lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restored_is_what_was_dumped_however_it_was() {
    let world = World::new().await;
    world.run_sql(RICH).await;
    let expected = written(&world, "financecopilot");
    let piped = |options: &[&str]| world.pg_dump("financecopilot", options);
    let seekable = world.path().join("seekable.dump");
    piped(&["--file", seekable.to_str().unwrap()]);
    let mut dumps = vec![
        ("offsets", std::fs::read(&seekable).unwrap()),
        ("pipe", piped(&[])),
        ("plain", piped(&["-Z0"])),
        ("inserts", piped(&["--inserts"])),
        ("root", piped(&["--load-via-partition-root"])),
        ("latin1", piped(&["--encoding=LATIN1"])),
    ];
    // From 16 on, where this pg_dump was built with them.
    for (name, method) in [("lz4", "--compress=lz4"), ("zstd", "--compress=zstd")] {
        dumps.extend(world.try_pg_dump("financecopilot", &[method]).map(|bytes| (name, bytes)));
    }
    for (name, bytes) in dumps {
        let object = world.put(&format!("postgres/{name}.dump"), &bytes).await;
        world.chosen(&object);
        let done = world.done(STEP, &beside()).await;
        let side = name_of(&done.facts);
        let found = written(&world, &side);
        let differs = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
        assert!(expected == found, "{name}: {differs:?}\n{}", world.log());
        let rows = world.log().contains("loaded public.orders: 200 rows");
        assert_eq!(
            rows,
            !["inserts", "root", "latin1"].contains(&name),
            "{name} is loaded by ourselves: {}",
            world.log()
        );
        let proof = world.done("restore.prove", &prove()).await;
        assert!(proof.evidence.contains(&"The catalogue is equal to the dump's".to_owned()), "{name}: {proof:?}");
    }
}

/// A cluster that came from an older version, with objects of the superuser: everything becomes the owner's, and that is
/// no difference. A change that nobody meant is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_owner_is_no_difference_and_a_lost_object_is() {
    let world = World::new().await;
    world
        .as_super(
            "financecopilot",
            "ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO fc_app; COMMENT ON SCHEMA public IS 'ours'; \
             CREATE TABLE theirs (x int); GRANT ALL ON theirs TO fc_app; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO fc_app",
        )
        .await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let warned = texts(&plan, Gravity::Warning).join("\n");
    assert!(warned.contains("Default privileges of postgres are left out"), "{warned}");
    let done = world.done(STEP, &beside()).await;
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence.contains(&"The catalogue is equal to the dump's".to_owned()), "{proof:?}");
    world.as_super(&name_of(&done.facts), "DROP VIEW balances; CREATE INDEX stray ON accounts (id)").await;
    let plan = world.plan("restore.prove", &prove()).await.unwrap();
    let error = world.run("restore.prove", &prove(), &plan).await.unwrap_err();
    assert!(error.cause.contains("Missing: VIEW public.balances"), "{error}");
    assert!(error.cause.contains("More than the dump has: INDEX public.stray"), "{error}");
}

/// One table of several megabytes is loaded over more than one session; each row arrives once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dominant_table_is_loaded_by_all_sessions_at_once() {
    let world = World::new().await;
    world
        .run_sql(
            "CREATE TABLE big (id int PRIMARY KEY, a text, at timestamptz); CREATE INDEX ON big (a); CREATE INDEX ON big (at); \
             INSERT INTO big SELECT i, md5(i::text) || md5((i * 7)::text), timestamptz '2026-01-01' + i * interval '1 second' FROM generate_series(1, 150000) i",
        )
        .await;
    let print = "SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM big b";
    let expected: String = world.app().await.query_one(print, &[]).await.unwrap().get(0);
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    assert!(object.size > 6 << 20, "{}", object.size);
    world.chosen(&object);
    // A session of the server sees who else copies while it does.
    world.as_super("postgres", "CREATE TABLE seen (n int)").await;
    let watch = world.admin("postgres").await;
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let (_hand, cancel) = Cancel::new();
    let (cx, io) = (world.context(STEP), world.io(cancel));
    let running = tokio::spawn(async move { beside().run(&cx, &plan, &io).await });
    let mut most = 0;
    let copies = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname LIKE 'financecopilot_restore%'";
    while !running.is_finished() {
        most = most.max(watch.query_one(copies, &[]).await.unwrap().get::<_, i64>(0));
    }
    let Ran::Done(done) = running.await.unwrap().unwrap() else { panic!("it is done") };
    assert_eq!(most, 2, "two sessions copied at once");
    let restored = world.admin(&name_of(&done.facts)).await;
    let found: String = restored.query_one(print, &[]).await.unwrap().get(0);
    assert_eq!(found, expected);
    let progress = world.progress();
    let of_work: Vec<_> =
        progress.iter().filter(|(label, ..)| label.starts_with("load ") || label.starts_with("build ")).collect();
    assert!(of_work.windows(2).all(|pair| pair[0].1 <= pair[1].1), "it never goes back: {of_work:?}");
}

/// A large dump that does not compress, in parts that are fetched one by one.
async fn noisy(world: &World) -> relight::incident::ObjectRef {
    world
        .run_sql("CREATE TABLE noise (x text); INSERT INTO noise SELECT md5(random()::text) || md5(random()::text) FROM generate_series(1, 600000)")
        .await;
    let path = world.path().join("noise.dump");
    world.pg_dump("financecopilot", &["-Z0", "--file", path.to_str().unwrap()]);
    let object = world.put("postgres/noise.dump", &std::fs::read(&path).unwrap()).await;
    assert!(object.size > 32 << 20, "{}", object.size);
    world.chosen(&object);
    object
}

/// The engine is gone in the middle of the download: the next attempt fetches what is missing, and not 2 % of what was
/// there already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_was_cut_short_goes_on_where_it_was() {
    let world = World::new().await;
    let object = noisy(&world).await;
    world.front.hold_from(16 << 20);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let (cx, (_hand, cancel)) = (world.context(STEP), Cancel::new());
    let io = world.io(cancel);
    let log = io.log.clone();
    let running = tokio::spawn(async move { beside().run(&cx, &plan, &io).await });
    while world.front.sent.load(Ordering::SeqCst) < 14 << 20 {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // What was sent may still be in the pipes of those that are gone; what arrived is in the map.
    let work = world.context(STEP).work().unwrap();
    let map = std::fs::read_dir(&work).unwrap().flatten().map(|entry| entry.path());
    let map = map.into_iter().find(|path| path.extension().is_some_and(|end| end == "map")).expect("what has arrived");
    let grains = std::fs::read(&map).unwrap()[512..].iter().map(|mark| u64::from(*mark)).sum::<u64>();
    let there = grains * (256 << 10);
    assert!(there > 8 << 20, "{there}");
    world.front.release();
    // The loader that was adopted by nobody notices that nothing comes any more.
    if let Adopted::Running(shim) = adopt(&log) {
        shim.wait().await;
    }
    let before = world.front.sent.load(Ordering::SeqCst);
    let done = world.done(STEP, &beside()).await;
    let fetched = world.front.sent.load(Ordering::SeqCst) - before;
    let missing = object.size - there;
    assert!(fetched <= missing + object.size / 50, "{fetched} fetched, {missing} of {} were missing", object.size);
    let restored = world.admin(&name_of(&done.facts)).await;
    let rows: i64 = restored.query_one("SELECT count(*) FROM noise", &[]).await.unwrap().get(0);
    assert_eq!(rows, 600_000);
}

/// Rows are loaded while the rest of the dump has not been sent yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_loaded_before_the_download_ends() {
    let world = World::new().await;
    noisy(&world).await;
    world.front.hold_from(24 << 20);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let (cx, (_hand, cancel)) = (world.context(STEP), Cancel::new());
    let io = world.io(cancel);
    let running = tokio::spawn(async move { beside().run(&cx, &plan, &io).await });
    let watch = world.admin("postgres").await;
    let loaded = "SELECT coalesce(sum(tuples_processed), 0)::bigint FROM pg_stat_progress_copy WHERE datname LIKE 'financecopilot_restore%'";
    while watch.query_one(loaded, &[]).await.unwrap().get::<_, i64>(0) < 100_000 {
        assert!(!running.is_finished());
    }
    assert!(world.front.holding.load(Ordering::SeqCst), "the rest is still held back");
    world.front.release();
    let Ran::Done(_) = running.await.unwrap().unwrap() else { panic!("it is done") };
}

/// One connection of eight that breaks is asked for again from there, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_costs_no_restore() {
    let world = World::new().await;
    noisy(&world).await;
    world.front.cuts.store(3, Ordering::SeqCst);
    let done = world.done(STEP, &beside()).await;
    assert_eq!(world.front.cuts.load(Ordering::SeqCst), 0, "they were cut");
    let restored = world.admin(&name_of(&done.facts)).await;
    let rows: i64 = restored.query_one("SELECT count(*) FROM noise", &[]).await.unwrap().get(0);
    assert_eq!(rows, 600_000);
}

/// An extension that takes a superuser is made by the login role where that is one, and not by the owner; what would act
/// beside the live database is left out, and said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_superuser_is_made_by_one_or_left_out_and_said() {
    let world = World::new().await;
    world
        .as_super(
            "financecopilot",
            "CREATE SCHEMA ext AUTHORIZATION fc_app; CREATE EXTENSION amcheck WITH SCHEMA ext; CREATE FUNCTION noop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; \
             ALTER FUNCTION noop() OWNER TO fc_app; CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION noop()",
        )
        .await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let plan = world.plan(STEP, &beside()).await.unwrap();
    let warned = texts(&plan, Gravity::Warning).join("\n");
    assert!(warned.contains("needs amcheck, which take a superuser"), "{warned}");
    assert!(warned.contains("EVENT TRIGGER watch is left out"), "{warned}");
    // Without the right it ends, and nothing is touched.
    let error = world.run(STEP, &beside(), &plan).await.unwrap_err();
    assert!(error.cause.contains("The old data is intact") && error.operation.contains("amcheck"), "{error}");
    world.as_super("postgres", "ALTER ROLE relight SUPERUSER").await;
    let plan = world.plan(STEP, &beside()).await.unwrap();
    assert!(texts(&plan, Gravity::Good).iter().any(|line| line.contains("relight makes the extensions")), "{plan:?}");
    let done = world.done(STEP, &beside()).await;
    assert!(done.evidence.iter().any(|line| line.contains("EVENT TRIGGER watch is left out")), "{done:?}");
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence.iter().any(|line| line.contains("amcheck 1.")), "{proof:?}");
}
