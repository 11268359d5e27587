//! The proof before anybody says restored: each thing that can be wrong is found and named.

use relight::runbook::StepId;
use relight::workers::postgres::RestoreInPlace;

use super::beside::{beside, name_of, prove};
use super::world::{World, database};

const PROVE: &str = "restore.prove";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_half_done_is_found_and_named() {
    let mut world = World::new().await;
    world.run_sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER touched BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION f()").await;
    world.as_super("financecopilot", "CREATE EXTENSION pg_trgm").await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    let side = name_of(&world.done("restore.database", &beside()).await.facts);
    let good = world.done(PROVE, &prove()).await;
    for line in [
        "All indexes are valid",
        "All constraints are checked",
        "All triggers are on",
        "All foreign keys are enforced",
        "All materialized views are filled",
        "The catalogue is equal to the dump's",
        "fc_app reads all 3 tables",
    ] {
        assert!(good.evidence.iter().any(|said| said == line), "{line}: {good:?}");
    }
    for begin in ["Extensions: pg_trgm 1.", "2 sequences looked at", "The planner's statistics are fresh"] {
        assert!(good.evidence.iter().any(|said| said.starts_with(begin)), "{begin}: {good:?}");
    }
    // The honest age of the data, by the newest row of a table that keeps times.
    assert!(good.evidence.iter().any(|said| said.starts_with("Newest rows: public.audit_log.at 20")), "{good:?}");
    for (harm, mend, named) in [
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'transactions_account_id_idx'::regclass",
            "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'transactions_account_id_idx'::regclass",
            "Invalid indexes: transactions_account_id_idx.",
        ),
        (
            "UPDATE pg_constraint SET convalidated = false WHERE conname = 'transactions_account_id_fkey'",
            "UPDATE pg_constraint SET convalidated = true WHERE conname = 'transactions_account_id_fkey'",
            "Constraints that were not checked: public.transactions transactions_account_id_fkey.",
        ),
        (
            "ALTER TABLE accounts DISABLE TRIGGER touched",
            "ALTER TABLE accounts ENABLE TRIGGER touched",
            "Disabled triggers: accounts touched.",
        ),
        (
            "ALTER TABLE transactions DISABLE TRIGGER ALL",
            "ALTER TABLE transactions ENABLE TRIGGER ALL",
            "Disabled foreign keys: transactions.",
        ),
        (
            "REFRESH MATERIALIZED VIEW totals WITH NO DATA",
            "REFRESH MATERIALIZED VIEW totals",
            "Materialized views without their data: public.totals.",
        ),
        ("DROP EXTENSION pg_trgm", "CREATE EXTENSION pg_trgm", "The extension pg_trgm is missing."),
        (
            "SELECT setval('transactions_id_seq', 20000, false)",
            "SELECT setval('transactions_id_seq', 20000, true)",
            "The sequence public.transactions_id_seq stands at 20000, behind transactions.id with 20000.",
        ),
        (
            "DELETE FROM audit_log WHERE line = '\\.'",
            "INSERT INTO audit_log (line) VALUES ('\\.')",
            "public.audit_log has 2 rows, and the dump 3.",
        ),
    ] {
        world.as_super(&side, harm).await;
        let plan = world.plan(PROVE, &prove()).await.unwrap();
        let error = world.run(PROVE, &prove(), &plan).await.expect_err(harm);
        assert!(error.cause.contains(named), "{harm}: {error}");
        world.as_super(&side, mend).await;
    }
    world.done(PROVE, &prove()).await;
    // The service's role is another one than the owner, and was given nothing: what `--no-owner` by a superuser does.
    world.as_super("postgres", "CREATE ROLE fc_service").await;
    world.config.postgres.get_mut("financecopilot").unwrap().app_role = Some("fc_service".to_owned());
    let plan = world.plan(PROVE, &prove()).await.unwrap();
    let error = world.run(PROVE, &prove(), &plan).await.unwrap_err();
    assert!(error.cause.contains("fc_service cannot read public.accounts, "), "{error}");
}

/// A proof that could not look is no proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_could_not_compare_does_not_pass() {
    let mut world = World::new().await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    world
        .done(
            "restore.database",
            &RestoreInPlace { database: database(), from: StepId::new("select.snapshot"), atomic: true },
        )
        .await;
    let real = world.config.postgres["financecopilot"].bin_dir.clone();
    let broken = world.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::os::unix::fs::symlink(real.clone().unwrap().join("pg_restore"), broken.join("pg_restore")).unwrap();
    let script = "#!/bin/sh\ncase \"$*\" in *--version*) echo 'pg_dump (PostgreSQL) 15.1';; *) echo 'pg_dump: error: it is broken' >&2; exit 1;; esac\n";
    std::fs::write(broken.join("pg_dump"), script).unwrap();
    std::fs::set_permissions(broken.join("pg_dump"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.config.postgres.get_mut("financecopilot").unwrap().bin_dir = Some(broken);
    let plan = world.plan(PROVE, &prove()).await.unwrap();
    let error = world.run(PROVE, &prove(), &plan).await.unwrap_err();
    assert!(error.operation.contains("compare the catalogue"), "{error}");
    world.config.postgres.get_mut("financecopilot").unwrap().bin_dir = real;
    world.done(PROVE, &prove()).await;
}
