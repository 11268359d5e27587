//! Taking steps back, and what of the history then still holds.

use relight::incident::{Command, Fact, Inputs, Knowledge, Outcome, Refusal, StepStatus};
use relight::runbook::StepId;

use super::{World, at, object};

#[test]
fn taking_a_step_back_opens_it_and_everything_that_rests_on_it() {
    let mut world = World::new();
    world.up_to_restore();
    let restored = Fact::Restored { object: object("postgres/a.dump"), taken_at: at(-180), at: world.now };
    world.succeed("restore.database", vec![restored]);
    world.succeed("restore.prove", Vec::new());
    let prepare = |undoes: &str| Command::Prepare {
        step: StepId::new("rollback.safety-dump"),
        inputs: Inputs::new(),
        undoes: Some(StepId::new(undoes)),
    };
    assert!(matches!(world.ask(&prepare("restore.quiet")), Err(Refusal::WrongState { .. })));
    world.ask(&prepare("restore.database")).expect("it is its undo");
    let plan = world.plan("rollback.safety-dump", |plan| plan.undoes = Some(StepId::new("restore.database")));
    world.approve(&plan).expect("approved");
    let restored = Fact::Restored { object: object("safety/x.dump"), taken_at: at(0), at: world.now };
    world.finish(
        "rollback.safety-dump",
        Outcome::Succeeded { evidence: vec!["back".to_owned()], facts: vec![restored] },
    );
    assert_eq!(world.status("restore.database"), &StepStatus::Pending);
    assert_eq!(world.status("restore.prove"), &StepStatus::Pending);
    assert!(matches!(world.status("restore.stop-writes"), StepStatus::Succeeded(_)));
}

/// Restoring beside the live database neither waits for a safety dump nor holds one up, and proves nothing about the
/// live one. Swapping back opens the swap and what rests on it, and not the restored database, which is still there.
#[test]
fn a_swap_is_taken_back_without_restoring_again() {
    let mut world = World::of(relight::runbook::BUILT_IN);
    world.up_to_the_choice();
    let dump = world.plan("restore.safety-dump", |_| {});
    let restore = world.plan("restore.database", |_| {});
    world.approve(&dump).expect("approved");
    world.approve(&restore).expect("beside a safety dump that is at work");
    let beside = Fact::RestoredBeside {
        database: "db_restore".to_owned(),
        oid: 7,
        object: object("postgres/a.dump"),
        taken_at: at(-180),
        at: world.now,
        unchecked: Vec::new(),
    };
    let done = |facts: Vec<Fact>| Outcome::Succeeded { evidence: vec!["done".to_owned()], facts };
    world.finish("restore.database", done(vec![beside]));
    world.finish("restore.safety-dump", done(Vec::new()));
    for step in ["restore.prove", "restore.stop-writes", "restore.quiet"] {
        world.succeed(step, Vec::new());
    }
    world.succeed("dependents.objects", Vec::new());
    world.succeed("dependents.cache", Vec::new());
    world.succeed("restore.swap", Vec::new());
    world.succeed("restore.start-writes", Vec::new());
    // Asked for by itself, not as an undo: it comes to the same.
    world.succeed("rollback.swap", Vec::new());
    for open in ["restore.swap", "restore.start-writes"] {
        assert_eq!(world.status(open), &StepStatus::Pending, "{open}");
    }
    for stands in ["restore.database", "restore.prove", "restore.stop-writes", "dependents.cache"] {
        assert!(matches!(world.status(stands), StepStatus::Succeeded(_)), "{stands}");
    }
    // An older snapshot that is restored beside leaves the first proof alone.
    world.choose_in("rollback.older-snapshot", "postgres/older.dump");
    world.succeed("rollback.restore-older", Vec::new());
    assert!(matches!(world.status("restore.prove"), StepStatus::Succeeded(_)));
}

/// An agreement to lose something binds what loses it, not the way back from it; and a step that is opened again had its
/// effect all the same.
#[test]
fn the_way_back_is_open_whenever_it_is_wanted() {
    let mut world = World::of(relight::runbook::BUILT_IN);
    world.up_to_the_choice();
    for step in ["restore.safety-dump", "restore.database", "restore.prove"] {
        world.succeed(step, Vec::new());
    }
    world.succeed("restore.stop-writes", vec![Fact::WritesStopped { at: world.now, replicas: Vec::new() }]);
    for step in ["restore.quiet", "restore.swap", "dependents.objects", "dependents.cache"] {
        world.succeed(step, Vec::new());
    }
    world.succeed("restore.start-writes", vec![Fact::WritesStarted { at: world.now }]);
    world.now = at(600);
    let stop = world.plan("restore.stop-writes", |plan| plan.undoes = Some(StepId::new("restore.start-writes")));
    world.approve(&stop).expect("stopping writes again");
    let outcome = Outcome::Succeeded { evidence: vec!["stopped".to_owned()], facts: Vec::new() };
    world.finish("restore.stop-writes", outcome);
    world.ask(&Command::Retry { step: StepId::new("restore.prove") }).expect("opened again");
    assert_eq!(world.status("restore.swap"), &StepStatus::Pending);
    let back = world.plan("rollback.swap", |plan| plan.undoes = Some(StepId::new("restore.swap")));
    world.approve(&back).expect("swapping back");
}

/// What is written once the restored data serves is not lost, so time does not void the agreement.
#[test]
fn the_loss_stands_still_once_the_restored_data_serves() {
    let mut world = World::of(relight::runbook::BUILT_IN);
    world.up_to_the_choice();
    world.succeed("restore.stop-writes", vec![Fact::WritesStopped { at: world.now, replicas: Vec::new() }]);
    let taken_at = world.state.snapshot_time().expect("chosen");
    let lost = world.state.loses(taken_at, world.now);
    for step in ["restore.safety-dump", "restore.database", "restore.prove", "restore.quiet"] {
        world.succeed(step, Vec::new());
    }
    let (object, at) = (object("postgres/a.dump"), world.now);
    world.succeed("restore.swap", vec![Fact::Restored { object, taken_at, at }]);
    for step in ["dependents.objects", "dependents.cache"] {
        world.succeed(step, Vec::new());
    }
    world.succeed("restore.start-writes", vec![Fact::WritesStarted { at: world.now }]);
    world.now = self::at(600);
    assert_eq!(world.state.loses(taken_at, world.now), lost);
    let smoke = world.plan("verify.smoke", |_| {});
    world.approve(&smoke).expect("the agreement holds");
    // Another snapshot would cost what was written since, too.
    let other = taken_at - jiff::SignedDuration::from_hours(1);
    assert_eq!(world.state.loses(other, world.now), world.now.duration_since(other));
}

/// What serves before every row was checked is not called restored, by nobody and in no message.
#[test]
fn a_database_with_foreign_keys_left_to_check_serves_and_is_not_restored() {
    let mut world = World::of(relight::runbook::BUILT_IN);
    world.up_to_the_choice();
    let object = object("postgres/a.dump");
    let beside = Fact::RestoredBeside {
        database: "db_restore".to_owned(),
        oid: 7,
        object: object.clone(),
        taken_at: at(-180),
        at: world.now,
        unchecked: vec!["public.a a_b_fkey".to_owned()],
    };
    world.succeed("restore.safety-dump", Vec::new());
    world.succeed("restore.database", vec![beside]);
    assert!(world.state.unvalidated().is_empty(), "nobody is served by it yet");
    for step in ["restore.prove", "restore.stop-writes", "restore.quiet"] {
        world.succeed(step, Vec::new());
    }
    let swapped = Fact::Swapped {
        live: "db".to_owned(),
        live_oid: 7,
        came_from: "db_restore".to_owned(),
        kept: "db_pre".to_owned(),
        kept_oid: 5,
        written: Some(0),
        at: world.now,
    };
    world.succeed("restore.swap", vec![swapped, Fact::Restored { object, taken_at: at(-180), at: world.now }]);
    assert_eq!(world.state.unvalidated(), ["public.a a_b_fkey"]);
    let says = |world: &World| {
        let known = Knowledge::of(&world.state, &StepId::new("communicate.status"), world.now);
        known.fill("{% if restored %}restored{% elif serving %}serving, {{ unvalidated }}{% endif %}").expect("a text")
    };
    assert_eq!(says(&world), "serving, 1");
    world.succeed("verify.foreign-keys", vec![Fact::ForeignKeysChecked { oid: 7 }]);
    assert!(world.state.unvalidated().is_empty());
    assert_eq!(says(&world), "restored");
}

#[test]
fn starting_writes_as_the_undo_of_stopping_them_needs_no_proof_first() {
    let mut world = World::new();
    world.up_to_restore();
    let plan = world.plan("restore.start-writes", |plan| plan.undoes = Some(StepId::new("restore.stop-writes")));
    world.approve(&plan).expect("the way back is open");
    world.finish(
        "restore.start-writes",
        Outcome::Succeeded {
            evidence: vec!["api 0→6".to_owned()], facts: vec![Fact::WritesStarted { at: world.now }]
        },
    );
    assert_eq!(world.state.writes_stopped_at(), None);
    assert_eq!(world.status("restore.stop-writes"), &StepStatus::Pending);
    assert_eq!(world.status("restore.start-writes"), &StepStatus::Pending);
    // What was found about the world is not forgotten: the count to return to, for instance.
    let knowledge = Knowledge::of(&world.state, &StepId::new("restore.stop-writes"), world.now);
    assert!(knowledge.facts.iter().any(|known| matches!(known.fact, Fact::WritesStopped { .. })));
}

#[test]
fn restoring_anything_asks_for_the_proof_again() {
    let mut world = World::new();
    world.up_to_restore();
    let restored = |key: &str| Fact::Restored { object: object(key), taken_at: at(-180), at: at(0) };
    world.succeed("restore.database", vec![restored("postgres/a.dump")]);
    world.succeed("restore.prove", Vec::new());
    world.succeed(
        "rollback.older-snapshot",
        vec![Fact::Snapshot { object: object("postgres/0.dump"), taken_at: at(-180) }],
    );
    world.succeed(
        "rollback.agreement",
        vec![Fact::Agreement {
            who: "Dana".to_owned(),
            place: "bridge".to_owned(),
            at: world.now,
            object: object("postgres/0.dump"),
            loses_seconds: 86_400,
        }],
    );
    world.succeed("rollback.restore-older", vec![restored("postgres/0.dump")]);
    assert_eq!(world.status("restore.prove"), &StepStatus::Pending);
}
