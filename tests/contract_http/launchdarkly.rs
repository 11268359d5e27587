//! LaunchDarkly.

use relight::drill::standin::launchdarkly;
use relight::workers::launchdarkly::{CheckLaunchDarkly, RestoreFlag, SetFlag};

use super::*;

const ON: (&str, &str) = ("PATCH", "/api/v2/flags/default/deployments_locked");

async fn start() -> StandIn {
    launchdarkly::start(launchdarkly::Config::example(tokens())).await.expect("a LaunchDarkly")
}

fn bench(stand_in: &StandIn) -> Bench {
    Bench::new(&format!(
        "[launchdarkly]\ntoken = TOKEN_SOURCE\nproject = 'default'\nenvironment = 'production'\nbase_url = '{}'",
        stand_in.base_url
    ))
}

fn freeze() -> SetFlag {
    SetFlag { flag: "deployments_locked".to_owned(), on: true }
}

fn is_on(stand_in: &StandIn) -> bool {
    stand_in.state()["flags"][0]["environments"]["production"]["on"].as_bool().expect("a state")
}

fn flag(was: bool, now: bool) -> Fact {
    Fact::Flag { flag: "deployments_locked".to_owned(), was, now }
}

#[tokio::test]
async fn a_flag_is_set_remembered_and_given_back() {
    let ld = start().await;
    let mut bench = bench(&ld);
    let plan = bench.ready(&freeze()).await;
    assert_eq!(plan.effects[0], "deployments_locked in default/production: off → on");
    assert!(plan.findings.iter().any(|it| it.text.contains("dry run")), "{plan:?}");
    assert!(!is_on(&ld), "planning and the dry run change nothing");
    let done = bench.run(&freeze(), &plan).await.expect("set");
    assert!(is_on(&ld));
    assert_eq!(done.facts, [flag(false, true)]);
    assert_eq!(done.evidence[1], "deployments_locked serves true when on");
    assert_eq!(ld.state()["changes"][0]["comment"], "relight INC-7F3K: The step");
    assert_eq!(ld.state()["flags"][0]["environments"]["test"]["on"], false);
    bench.fact("declare.freeze", done.facts[0].clone());
    // Set again, it was on; the state from before the incident stays the one to return to.
    let again = bench.go(&freeze()).await.expect("left on");
    assert_eq!(
        (again.facts, &*again.evidence[0]),
        (vec![flag(false, true)], "Flag deployments_locked in default/production was on already")
    );
    bench.fact("declare.freeze", flag(true, true));
    let restore = RestoreFlag { from: step("declare.freeze") };
    let plan = bench.ready(&restore).await;
    assert_eq!(
        (plan.effects[0].as_str(), plan.nothing_to_do.is_none()),
        ("deployments_locked in default/production: on → off", true)
    );
    bench.run(&restore, &plan).await.expect("given back");
    assert!(!is_on(&ld));
    let plan = bench.ready(&restore).await;
    assert_eq!(plan.nothing_to_do.as_deref(), Some("deployments_locked is off, as before the incident"));
    bench.knowledge.facts.clear();
    let error = bench.plan(&restore).await.expect_err("nothing remembered");
    assert!(error.cause.contains("has not set a flag"), "{error}");
}

#[tokio::test]
async fn a_flag_that_is_on_already_is_remembered_and_left() {
    let ld = start().await;
    ld.set(&json!({"flag": {"on": true}})).expect("set");
    let mut bench = bench(&ld);
    let plan = bench.ready(&freeze()).await;
    assert_eq!(plan.nothing_to_do, None);
    let done = bench.run(&freeze(), &plan).await.expect("left on");
    assert_eq!(done.facts, [flag(true, true)]);
    assert_eq!(ld.state()["changes"].as_array().map(Vec::len), Some(1), "only somebody else's");
    // An attempt in doubt that saw it off may have turned it on itself.
    let basis = json!({"flag": "deployments_locked", "on": true, "was": false, "found": false});
    bench.knowledge.past = vec![past(&plan, basis.clone(), false)];
    assert_eq!(bench.go(&freeze()).await.expect("left on").facts, [flag(true, true)], "it did nothing");
    bench.knowledge.past = vec![past(&plan, basis, true)];
    let done = bench.go(&freeze()).await.expect("left on");
    assert_eq!(done.facts, [flag(false, true)]);
}

#[tokio::test]
async fn an_approval_that_is_needed_is_explained_with_a_link() {
    let ld = start().await;
    let bench = bench(&ld);
    let plan = bench.ready(&freeze()).await;
    ld.set(&json!({"approval_required": true})).expect("set");
    let error = bench.run(&freeze(), &plan).await.expect_err("405");
    assert!(error.cause.contains("another person's approval"), "{error}");
    assert!(error.next.contains("/projects/default/flags/deployments_locked/targeting?env=production"), "{error}");
    assert_eq!(error.disposition, Disposition::AskOperator);
    assert!(blocking(&bench.plan(&freeze()).await.expect("a plan"))[0].contains("approval"));
    // Only flags with the tag need it, and then the dry run has the last word.
    ld.set(&json!({"approval_required": {"required": true, "tags": ["critical"]}})).expect("set");
    assert_eq!(bench.plan(&freeze()).await.expect("a plan").obstacle(), None);
    strike(&ld, ON.0, ON.1, answer(405));
    assert!(blocking(&bench.plan(&freeze()).await.expect("a plan"))[0].contains("approval"));
    assert!(!is_on(&ld));
}

#[tokio::test]
async fn what_the_flag_serves_counts_not_its_switch() {
    let ld = start().await;
    ld.set(&json!({"off_variation": 0})).expect("set");
    let mut bench = bench(&ld);
    bench.go(&freeze()).await.expect("on serves true");
    bench.fact("declare.freeze", flag(false, true));
    let restore = RestoreFlag { from: step("declare.freeze") };
    let plan = bench.plan(&restore).await.expect("a plan");
    assert!(blocking(&plan)[0].contains("serves true when off"), "{plan:?}");
    ld.set(&json!({"off_variation": 1})).expect("set");
    let plan = bench.ready(&restore).await;
    ld.set(&json!({"off_variation": 0})).expect("set");
    let error = bench.run(&restore, &plan).await.expect_err("off serves true");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    assert!(matches!(bench.probe(&restore, &plan).await, Probe::Unknown(_)));
    ld.set(&json!({"off_variation": null})).expect("set");
    assert!(matches!(bench.probe(&restore, &plan).await, Probe::Happened(_)));
}

#[tokio::test]
async fn setting_tells_refusals_apart() {
    let ld = start().await;
    let bench = bench(&ld);
    // The dry run is a PATCH too: it is let through, and the fault waits for the one that counts.
    let plan = bench.ready(&freeze()).await;
    for (kind, disposition, says) in [
        (answer(401), Disposition::AskOperator, "does not accept the token"),
        (answer(403), Disposition::AskOperator, "updateOn"),
        (answer(404), Disposition::AskOperator, "does not know a flag deployments_locked"),
        (answer(409), Disposition::Retry, "Somebody else"),
        (answer(500), Disposition::Retry, "failed on its side"),
        (FaultKind::Drop, Disposition::InDoubt, "broke off"),
    ] {
        let on = format!("{kind:?}");
        strike(&ld, ON.0, ON.1, kind);
        let error = bench.run(&freeze(), &plan).await.expect_err("refused");
        assert_eq!(error.disposition, disposition, "{on}: {error}");
        assert!(error.cause.contains(says), "{on}: {error}");
        assert!(matches!(bench.probe(&freeze(), &plan).await, Probe::DidNot(_)), "{on}");
    }
    strike(&ld, ON.0, ON.1, answer(429));
    let wait = waits(&bench.run(&freeze(), &plan).await.expect_err("429"));
    assert!((8..=10).contains(&wait), "{wait}: the header holds a moment, not seconds");
    strike(&ld, ON.0, ON.1, bare(429));
    assert_eq!(waits(&bench.run(&freeze(), &plan).await.expect_err("429")), 10);
    bench.token(READ_ONLY);
    assert!(blocking(&bench.plan(&freeze()).await.expect("a plan"))[0].contains("updateOn"));
    let error = bench.run(&freeze(), &plan).await.expect_err("read-only");
    assert!(error.cause.contains("updateOn"), "{error}");
    assert!(!is_on(&ld));
}

#[tokio::test]
async fn a_turn_whose_answer_is_lost_is_seen_on_the_flag() {
    for kind in [FaultKind::LoseAnswer, FaultKind::Garble { body: None }, FaultKind::Cut { after_bytes: 40 }] {
        let ld = start().await;
        let bench = bench(&ld);
        let plan = bench.ready(&freeze()).await;
        strike(&ld, ON.0, ON.1, kind);
        let error = bench.run(&freeze(), &plan).await.expect_err("lost");
        assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
        let Probe::Happened(done) = bench.probe(&freeze(), &plan).await else { panic!("it happened") };
        assert_eq!(done.facts, [flag(false, true)]);
    }
    let ld = start().await;
    let mut bench = bench(&ld);
    let plan = bench.ready(&freeze()).await;
    bench.hurry();
    strike(&ld, ON.0, ON.1, FaultKind::Hold { after_effect: true });
    let error = bench.run(&freeze(), &plan).await.expect_err("silence");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    assert!(matches!(bench.probe(&freeze(), &plan).await, Probe::Happened(_)));
}

#[tokio::test]
async fn the_check_reads_whose_token_it_is() {
    let ld = start().await;
    let mut bench = bench(&ld);
    let done = bench.go(&CheckLaunchDarkly).await.expect("good");
    assert_eq!(done.evidence[0], "the token relight is valid");
    ld.set(&json!({"approval_required": true})).expect("set");
    let done = bench.go(&CheckLaunchDarkly).await.expect("good");
    assert!(done.evidence[1].contains("needs another person's approval"), "{done:?}");
    bench.token("wrong");
    let error = bench.plan(&CheckLaunchDarkly).await.expect_err("401");
    assert!(error.cause.contains("does not accept"), "{error}");
    bench.token(TOKEN);
    bench.config = bench.config.replace("'production'", "'staging'");
    let error = bench.go(&CheckLaunchDarkly).await.expect_err("404");
    assert!(error.cause.contains("an environment staging"), "{error}");
    let error = bench.plan(&freeze()).await.expect_err("404");
    assert!(error.cause.contains("staging"), "{error}");
    strike(&ld, "GET", "/api/v2/caller-identity", FaultKind::Garble { body: Some("<html>".into()) });
    let error = bench.plan(&CheckLaunchDarkly).await.expect_err("no JSON");
    assert!(error.cause.contains("is no JSON") && error.disposition == Disposition::AskOperator, "{error}");
}
