//! Two people, doubts that are looked into, messages that are owed, notes that are corrected, handovers.

use relight::incident::{
    Channel, Command, Digest, Effect, EventKind, Fact, Outcome, Problem, Refusal, Report, react, recover,
};
use relight::runbook::StepId;

use super::{World, account, at};

const TWO: &str = r#"
id = "two"
title = "Two people"
[[phase]]
id = "p"
title = "Phase"
[[phase.step]]
id = "check"
title = "Check"
why = "w"
approval = "none"
action.check = { target = "redis.cache" }
[[phase.step]]
id = "flush"
title = "Flush"
why = "w"
approval = "two_person"
needs = ["check"]
action.flush_cache = { cache = "redis.cache" }
[[phase.step]]
id = "post"
title = "Post"
why = "w"
approval = "confirm"
repeat = true
action.post_message = { text = "hello" }
"#;

/// Two accounts approve the very same plan; nothing runs before.
#[test]
fn two_people_approve_one_plan() {
    let mut world = World::of(TWO);
    world.succeed("check", Vec::new());
    let plan = world.plan("flush", |_| {});
    let effects = world.approve(&plan).expect("the first may");
    assert_eq!(effects, [], "nothing runs yet");
    assert_eq!(world.state.consents.len(), 1);
    // The same account again is refused, whatever it calls itself.
    let again = world.approve(&plan).expect_err("another account");
    assert!(matches!(again, Refusal::SecondPerson { ref first, .. } if first == "ana"), "{again}");
    world.actor = account("ana's other name", 1000);
    assert!(matches!(world.approve(&plan), Err(Refusal::SecondPerson { .. })));
    // Another person who plans anew approves that plan as the first, and not the other's as the second.
    world.actor = account("ben", 1001);
    let own = world.plan("flush", |plan| plan.effects.push("and more".to_owned()));
    world.approve(&own).expect("the first of another plan");
    assert!(matches!(world.approve(&plan), Err(Refusal::PlanChanged { .. })), "that one is void");
    world.actor = account("ana", 1000);
    let effects = world.approve(&own).expect("the second");
    assert!(matches!(effects[..], [Effect::Run { .. }]), "{effects:?}");
    let (_, approved) = world.state.attempts.last_key_value().expect("an attempt");
    assert_eq!(approved.by.name, "ana");
    let EventKind::Approved { first: Some(first), .. } = &world.events.last().expect("an event").kind else {
        panic!("{:?}", world.events.last())
    };
    assert!(first.by.name == "ben" && !first.asserted, "{first:?}");
    assert!(world.state.consents.is_empty());
}

#[test]
fn one_account_for_two_people_is_recorded_as_asserted() {
    let mut world = World::of(TWO);
    world.state.one_account = true;
    world.succeed("check", Vec::new());
    let plan = world.plan("flush", |_| {});
    world.approve(&plan).expect("the first");
    world.approve(&plan).expect("the config allows it");
    let last = world.state.timeline.last().expect("an entry");
    assert!(last.text.contains("from one account: that they are two people is asserted"), "{}", last.text);
}

#[test]
fn the_first_of_two_approvals_ends_with_time_and_with_what_it_rests_on() {
    let mut world = World::of(TWO);
    world.succeed("check", Vec::new());
    let plan = world.plan("flush", |_| {});
    world.approve(&plan).expect("the first");
    world.now = at(16);
    world.actor = account("ben", 1001);
    let late = world.approve(&plan).expect_err("too late").to_string();
    assert!(late.contains("16m00s old"), "{late}");
    world.now = at(1);
    world.ask(&Command::Withdraw { step: StepId::new("flush") }).expect("it is taken back");
    assert!(world.state.consents.is_empty());
    let plan = world.plan("flush", |_| {});
    world.approve(&plan).expect("the first");
    world.ask(&Command::Retry { step: StepId::new("check") }).expect("opened again");
    assert!(world.approve(&plan).is_err(), "what it rests on moved on");
}

/// An approval says what changed between reading and pressing, and does not hold for ever.
#[test]
fn a_void_approval_says_what_changed() {
    let mut world = World::of(TWO);
    world.succeed("check", Vec::new());
    let read = world.plan("flush", |_| {});
    world.plan("flush", |plan| {
        plan.target.proofs.insert("run_id".to_owned(), "b".to_owned());
        plan.effects = vec!["empties 12 keys".to_owned()];
    });
    let why = world.approve(&read).expect_err("a newer plan").to_string();
    assert!(why.contains("financecopilot is another one") && why.contains("it would now: empties 12 keys"), "{why}");
    let read = world.plan("flush", |_| {});
    world.ask(&Command::Retry { step: StepId::new("check") }).expect("opened again");
    let why = world.approve(&read).expect_err("it moved").to_string();
    assert!(why.contains("waits for") || why.contains("`Check`, which it rests on, moved on"), "{why}");
    world.succeed("check", Vec::new());
    let read = world.plan("flush", |_| {});
    world.now = at(16);
    let why = world.approve(&read).expect_err("too old").to_string();
    assert!(why.contains("16m00s old"), "{why}");
}

/// What nobody knows is asked at once, again when a person wants it, and what the target says is kept for them.
#[test]
fn a_doubt_is_looked_into_and_what_the_target_says_is_kept() {
    let mut world = World::of(TWO);
    let plan = world.plan("post", |_| {});
    world.approve(&plan).expect("approved");
    let attempt = world.running("post");
    let problem = |why: &str| Problem {
        what: "post".to_owned(),
        target: "Slack".to_owned(),
        why: why.to_owned(),
        next: "Look.".to_owned(),
    };
    let effects = world.finish("post", Outcome::InDoubt { problem: problem("The answer was lost.") });
    assert_eq!(effects, [Effect::Probe { attempt }]);
    let probed = Report::Probed { attempt, outcome: Outcome::InDoubt { problem: problem("It cannot be read.") } };
    let kinds = react(&world.state, &probed);
    assert!(matches!(kinds[..], [EventKind::StillInDoubt { .. }]), "{kinds:?}");
    world.commit(kinds);
    let kept = world.state.attempts[&attempt].outcome.clone();
    assert!(matches!(kept, Some(Outcome::InDoubt { problem }) if problem.why == "It cannot be read."));
    assert_eq!(react(&world.state, &probed), [], "the same again is no news");
    assert_eq!(world.ask(&Command::Probe { attempt }).expect("asked again"), [Effect::Probe { attempt }]);
    let settled = Report::Probed { attempt, outcome: Outcome::Succeeded { evidence: Vec::new(), facts: Vec::new() } };
    let kinds = react(&world.state, &settled);
    world.commit(kinds);
    assert!(world.ask(&Command::Probe { attempt }).is_err(), "it is in doubt no more");
}

/// A message that could not go out is owed, once; one that may have arrived is settled by a person.
#[test]
fn a_message_that_slack_does_not_take_is_owed_and_may_be_settled() {
    let mut world = World::of(TWO);
    let plan = world.plan("post", |_| {});
    world.approve(&plan).expect("approved");
    let owed = Fact::Owed { channel: Channel::SlackMessage, text: "hello\n(written 08:48:00Z)".to_owned() };
    let effects = world.finish("post", Outcome::Succeeded { evidence: vec!["owed".to_owned()], facts: vec![owed] });
    let message = world.state.unsent().next().expect("a message").clone();
    assert_eq!(effects, [Effect::Send { message: message.id }]);
    assert_eq!((message.channel, message.text.as_str()), (Channel::SlackMessage, "hello\n(written 08:48:00Z)"));
    let (_, effects) = recover(&world.state);
    assert!(effects.contains(&Effect::Send { message: message.id }), "the next engine owes it too");
    let problem = Problem { what: "post".into(), target: "Slack".into(), why: "Lost.".into(), next: "Look.".into() };
    let kinds = react(&world.state, &Report::SentInDoubt { message: message.id, problem });
    world.commit(kinds);
    assert_eq!((world.state.unsent().count(), world.state.doubtful_messages().count()), (0, 1));
    let settle = |arrived| Command::SettleMessage { message: message.id, arrived, note: "looked".to_owned() };
    assert_eq!(world.ask(&settle(false)).expect("settled"), [Effect::Send { message: message.id }]);
    assert!(world.ask(&settle(true)).is_err(), "it is owed again, and in doubt no more");
}

/// A note may say something else later; both stay in the journal.
#[test]
fn a_note_is_corrected_and_never_erased() {
    let mut world = World::of(TWO);
    world.ask(&Command::Note { text: "replica lost".to_owned() }).expect("noted");
    let note = world.state.timeline.last().expect("the note").seq;
    world.ask(&Command::Correct { note, text: "primary lost".to_owned() }).expect("corrected");
    let entry = world.state.entry(note).expect("the note");
    assert_eq!((entry.text.as_str(), entry.corrected), ("primary lost", Some(note + 1)));
    let said = |seq: u64| format!("{:?}", world.events[usize::try_from(seq).expect("small") - 1].kind);
    assert!(said(note).contains("replica lost") && said(note + 1).contains("primary lost"));
    assert!(world.ask(&Command::Correct { note: 1, text: "x".to_owned() }).is_err(), "only notes are corrected");
}

#[test]
fn an_incident_is_handed_over_by_a_page_that_was_read() {
    let mut world = World::of(TWO);
    world.succeed("check", Vec::new());
    let page = relight::export::handover(&world.state, world.now, None);
    for words in ["HANDOVER  INC-7F3K", "Stands at", "Next", "Flush: w", "In doubt: settle these first\n  nothing"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(world.ask(&Command::TakeOver { page: Digest::of(page.as_bytes()) }).is_err(), "nobody offered it");
    world.ask(&Command::OfferHandover { text: page.clone() }).expect("offered");
    world.actor = account("ben", 1001);
    assert!(world.ask(&Command::TakeOver { page: Digest::of(b"another page") }).is_err());
    world.ask(&Command::TakeOver { page: Digest::of(page.as_bytes()) }).expect("taken");
    assert!(world.state.handover.is_none());
    let last = world.state.timeline.last().expect("an entry");
    assert!(last.milestone && last.text == "ben took the incident over from ana", "{last:?}");
}
