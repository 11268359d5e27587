//! The server's disk runs full during a restore: a file system of its own, just large enough for the live database and
//! an empty one beside it.

use std::path::PathBuf;
use std::process::Command;

use relight::workers::{Probe, Worker as _};

use super::beside::{beside, prove};
use super::in_place::in_place;
use super::world::{World, account};

const STEP: &str = "restore.database";

/// A small file system that is there for as long as this is.
struct Small(PathBuf);

impl Small {
    /// Mounting takes root, so that elsewhere there is none.
    fn mount(world: &World) -> Option<Self> {
        let path = world.path().join("small");
        std::fs::create_dir(&path).unwrap();
        let (uid, gid) = account()?;
        let options = format!("size=28m,mode=0700,uid={uid},gid={gid}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }

    fn enlarge(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=400m"]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The server may still have files open there: it goes when they are closed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A database on a disk of its own that cannot hold it and what its dump brings, and the disk. The dump is chosen.
async fn crowded() -> Option<(World, Small)> {
    let world = World::new().await;
    let Some(small) = Small::mount(&world) else {
        assert!(!rustix::process::geteuid().is_root(), "root may mount");
        eprintln!("not run: a disk of its own takes root");
        return None;
    };
    world
        .run_sql(
            "CREATE TABLE ballast AS SELECT i AS id, repeat(md5(i::text), 4) AS note FROM generate_series(1, 150000) i; \
             CREATE INDEX ON ballast (note)",
        )
        .await;
    let object = world.put("postgres/a.dump", &world.pg_dump("financecopilot", &[])).await;
    world.chosen(&object);
    world.run_sql("DROP TABLE ballast").await;
    let space = small.0.display();
    world.as_super("postgres", &format!("CREATE TABLESPACE small LOCATION '{space}'")).await;
    world.as_super("postgres", "GRANT CREATE ON TABLESPACE small TO relight, fc_app").await;
    world.as_super("postgres", "ALTER DATABASE financecopilot SET TABLESPACE small").await;
    Some((world, small))
}

const LIVE: &str = "SELECT count(*) FROM transactions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_named_and_leaves_the_old_data_intact_and_nothing_behind() {
    let Some((world, small)) = crowded().await else { return };
    let before = world.number(LIVE).await;

    // Where less is left than a second copy takes, nothing is begun.
    let filler = small.0.join("filler");
    let free = || rustix::fs::statvfs(&small.0).map(|disk| disk.f_bavail * disk.f_frsize).unwrap();
    let live = world.text("SELECT pg_database_size('financecopilot')::text").await.parse::<u64>().unwrap();
    let taken = usize::try_from(free().checked_sub(live).expect("more is free than the database takes")).unwrap();
    std::fs::write(&filler, vec![1; taken]).unwrap();
    let plan = world.plan(STEP, &beside()).await.unwrap();
    assert!(plan.obstacle().is_some_and(|why| why.contains("a second copy of the data takes about")), "{plan:?}");
    std::fs::remove_file(&filler).unwrap();

    let plan = world.plan(STEP, &beside()).await.unwrap();
    let error = world.run(STEP, &beside(), &plan).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("The server's disk is full") && said.contains("The old data is intact"), "{said}");
    assert!(said.contains("Free space on the server"), "what to do is said: {said}");
    let left = "SELECT count(*)::text FROM pg_database WHERE datname LIKE 'financecopilot_restore%'";
    assert_eq!(world.text(left).await, "0", "what was restored is thrown away");
    assert_eq!(world.number(LIVE).await, before);

    small.enlarge();
    world.done(STEP, &beside()).await;
    let proof = world.done("restore.prove", &prove()).await;
    assert!(proof.evidence[0].contains("equal to the dump"), "{proof:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_while_restoring_in_place_rolls_back_to_the_old_data() {
    let Some((world, small)) = crowded().await else { return };
    // What the dump does not have tells the old data from the new.
    world.run_sql("UPDATE transactions SET amount = 0 WHERE id <= 10").await;
    let zeros = "SELECT count(*) FROM transactions WHERE amount = 0";
    let before = world.number(LIVE).await;

    let plan = world.plan(STEP, &in_place()).await.unwrap();
    assert_eq!(plan.obstacle(), None);
    let error = world.run(STEP, &in_place(), &plan).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("No space left on device"), "the server's words are kept: {said}");
    assert!(said.contains("The old data is intact: the transaction was rolled back."), "{said}");
    assert_eq!(world.number(LIVE).await, before);
    assert_eq!(world.number(zeros).await, 10);
    let probe = in_place().probe(&world.context(STEP), &plan).await.unwrap();
    assert!(matches!(&probe, Probe::DidNot(why) if why.contains("The old data is intact")), "{probe:?}");

    small.enlarge();
    world.done(STEP, &in_place()).await;
    world.done("restore.prove", &prove()).await;
    assert_eq!(world.number(zeros).await, 0);
}
