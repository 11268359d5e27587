//! Customers' rows, which PostgreSQL repeats when a COPY fails, reach nobody.

use relight::workers::Probe;
use relight::workers::Worker as _;

use super::restore_from;
use super::world::World;

/// A table that can be dumped and not be restored by us: its constraint looks at who writes.
fn table(name: &str, unless_us: &str) -> String {
    format!(
        "CREATE FUNCTION {name}_ok() RETURNS bool LANGUAGE sql AS $$ SELECT pg_catalog.current_setting('application_name') NOT LIKE 'relight%' OR {unless_us} $$; \
         CREATE TABLE {name} (id int PRIMARY KEY, person text CHECK (public.{name}_ok())); \
         INSERT INTO {name} VALUES (1, E'Ada\\nKing Lovelace'), (2, 'Byron')"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_failed_copies_are_shown_to_nobody() {
    let world = World::new().await;
    let admin = world.admin("postgres").await;
    // The second constraint ends the session that it is checked in, which is one of relight, acting as fc_app.
    admin.batch_execute("GRANT pg_signal_backend TO fc_app").await.unwrap();
    let cases = [
        ("refused", "false", "violates check constraint"),
        ("cut", "pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())", "terminating connection"),
    ];
    for (name, unless_us, says) in cases {
        world.run_sql(&table(name, unless_us)).await;
        let key = format!("postgres/{name}.dump");
        world.chosen(&world.put(&key, &world.pg_dump("financecopilot", &[])).await);
        let restore = restore_from("select.snapshot");
        let plan = world.plan("restore.database", &restore).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        let error = world.run("restore.database", &restore, &plan).await.unwrap_err();
        assert!(error.cause.contains("The database is mixed"), "{name}: {error}");
        assert!(error.next.contains("safety dump"), "{name}: {error}");
        // The reason is there; the row that it came with is not.
        let log = world.log();
        assert!(log.contains(says) && log.contains("[row hidden]"), "{name}: {log}");
        let probe = restore.probe(&world.context("restore.database"), &plan).await.unwrap();
        assert!(matches!(&probe, Probe::Broken(why, _) if why.contains("mixed: ")), "{name}: {probe:?}");
        let all = format!("{}\n{error:?}\n{probe:?}\n{plan:?}", world.everything());
        for word in ["Ada", "Lovelace", "Byron"] {
            assert!(!all.contains(word), "{name}: {word} shows in {all}");
        }
        world.run_sql(&format!("DROP TABLE IF EXISTS {name}; DROP FUNCTION IF EXISTS {name}_ok()")).await;
    }
}
