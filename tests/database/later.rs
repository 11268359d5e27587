//! What came after the dump and stops `pg_restore --clean`: told beforehand, one by one, and with what helps.

use relight::incident::{Fact, Gravity, Plan};

use super::world::{World, texts};
use super::{restore_from, safety};

/// What a service has at the time of the dump, beside its tables.
const SHARED: &str = "CREATE TYPE status AS ENUM ('open', 'done'); CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%'); \
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
    CREATE TABLE jobs (id int PRIMARY KEY, state status, owner email); \
    CREATE TRIGGER touched BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION touch()";

/// What is warned of, but for the room on a server that cannot be looked at here.
fn warnings(plan: &Plan) -> Vec<String> {
    let warned = texts(plan, Gravity::Warning).into_iter();
    warned.filter(|line| !line.starts_with("Free space on the server cannot be seen from here")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_later_use_is_told_before_it_stops_the_restore() {
    let world = World::new().await;
    world.run_sql(SHARED).await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let restore = restore_from("select.snapshot");
    // The way back comes first, so that nothing but the later objects is left to warn of.
    let plan = world.plan("restore.database", &restore).await.unwrap();
    let warned = warnings(&plan);
    assert!(matches!(&warned[..], [only] if only.contains("There is no safety dump of financecopilot@")), "{warned:?}");
    let dumped = world.done("restore.safety-dump", &safety()).await;
    assert!(matches!(&dumped.facts[..], [Fact::SafetyDump { .. }]));
    assert!(dumped.evidence[1].contains("rows read to their end"), "{dumped:?}");
    let plan = world.plan("restore.database", &restore).await.unwrap();
    assert!(warnings(&plan).is_empty(), "{:?}", warnings(&plan));

    // What is made; what is told of it; the statement that takes it out of the way.
    let cases = [
        (
            "CREATE TABLE refunds (id int); CREATE TRIGGER touched BEFORE UPDATE ON refunds FOR EACH ROW EXECUTE FUNCTION touch()",
            "trigger touched of public.refunds is not in the dump and depends on function public.touch",
            "DROP TRIGGER \"touched\" ON \"public\".\"refunds\"",
        ),
        (
            "CREATE TABLE refunds (state status)",
            "table public.refunds is not in the dump and depends on type public.status",
            "DROP TABLE \"public\".\"refunds\"",
        ),
        (
            "CREATE TABLE refunds (states status[])",
            "table public.refunds is not in the dump and depends on type public.status",
            "DROP TABLE \"public\".\"refunds\"",
        ),
        (
            "CREATE DOMAIN work_email AS email",
            "domain public.work_email is not in the dump and depends on type public.email",
            "DROP DOMAIN \"public\".\"work_email\"",
        ),
        (
            "CREATE FUNCTION age(jobs) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "function age(jobs) is not in the dump and depends on public.jobs",
            "DROP ROUTINE age(jobs)",
        ),
        (
            "CREATE TYPE pair AS (a status, b int)",
            "type public.pair is not in the dump and depends on type public.status",
            "DROP TYPE \"public\".\"pair\"",
        ),
    ];
    for (made, told, helps) in cases {
        world.run_sql(made).await;
        let plan = world.plan("restore.database", &restore).await.unwrap();
        let warned = texts(&plan, Gravity::Warning).join("\n");
        assert!(warned.contains(told) && warned.contains(helps), "{made}: {warned}");
        // It is true: the restore stops there.
        let error = world.run("restore.database", &restore, &plan).await.unwrap_err();
        assert!(error.cause.contains("other objects depend on it") && error.cause.contains("mixed"), "{made}: {error}");
        // And the statement helps: the next one goes through. A table that only had a trigger stays as it is.
        world.run_sql(helps).await;
        world.done("restore.database", &restore).await;
        world.run_sql("DROP TABLE IF EXISTS refunds").await;
    }

    // On a dumped table they go with it, and nothing is told of them.
    world.run_sql("CREATE TRIGGER again BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION touch(); ALTER TABLE jobs ADD COLUMN was status DEFAULT 'open'").await;
    let plan = world.plan("restore.database", &restore).await.unwrap();
    assert!(warnings(&plan).is_empty(), "{:?}", warnings(&plan));
    world.done("restore.database", &restore).await;
    assert_eq!(world.number("SELECT count(*) FROM pg_trigger WHERE tgname IN ('again', 'touched')").await, 1);
}
