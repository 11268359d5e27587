//! Slack.

use relight::drill::standin::slack;
use relight::workers::slack::{CheckSlack, PostMessage};

use super::*;

const ON: (&str, &str) = ("POST", "/api/chat.postMessage");

async fn start() -> StandIn {
    slack::start(slack::Config::example(tokens())).await.expect("a Slack")
}

fn bench(stand_in: &StandIn) -> Bench {
    Bench::new(&format!(
        "[slack]\ntoken = TOKEN_SOURCE\nchannel = 'C0123456789'\nchannel_name = '#status'\nbase_url = '{}'",
        stand_in.base_url
    ))
}

fn post() -> PostMessage {
    PostMessage { text: "Data loss on {{ database }}. ({{ incident }})".to_owned() }
}

fn messages(stand_in: &StandIn) -> Vec<Value> {
    stand_in.state()["channels"][0]["messages"].as_array().expect("messages").clone()
}

fn no(error: &str, effect: bool) -> FaultKind {
    let body = json!({"ok": false, "error": error});
    FaultKind::Answer { status: 200, headers: None, body: Some(body), bare: false, effect }
}

#[tokio::test]
async fn a_draft_is_edited_and_posted_with_its_mark() {
    let slack = start().await;
    let mut bench = bench(&slack);
    let plan = bench.ready(&post()).await;
    assert_eq!(plan.asks[0].value, "Data loss on financecopilot. (INC-7F3K)");
    bench.says("text", "We are <restoring> & verifying.\nMore at ten.");
    let plan = bench.ready(&post()).await;
    assert_eq!(messages(&slack).len(), 0);
    assert!(matches!(bench.probe(&post(), &plan).await, Probe::DidNot(_)));
    let done = bench.run(&post(), &plan).await.expect("posted");
    let [message] = messages(&slack).try_into().expect("one");
    assert_eq!(message["text"], "We are <restoring> & verifying.\nMore at ten.");
    assert_eq!(message["metadata"]["event_payload"], json!({"incident": "INC-7F3K", "attempt": 4}));
    assert_eq!(done.facts, [Fact::Posted { ts: message["ts"].as_str().unwrap().to_owned() }]);
    assert_eq!(done.evidence[0], "Posted to #status: We are <restoring> & verifying. More at ten.");
    assert!(matches!(bench.probe(&post(), &plan).await, Probe::Happened(_)));
    bench.attempt = 5;
    assert!(matches!(bench.probe(&post(), &plan).await, Probe::DidNot(_)), "another attempt's message is not ours");
    bench.says("text", "\n ");
    assert!(bench.plan(&post()).await.expect("a plan").obstacle().is_some());
    bench.says("text", &"x".repeat(40_001));
    assert!(blocking(&bench.plan(&post()).await.expect("a plan"))[0].contains("longer than"));
}

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_found_in_the_channel() {
    let lost = [
        FaultKind::LoseAnswer,
        FaultKind::Garble { body: None },
        FaultKind::Cut { after_bytes: 50 },
        no("internal_error", true),
        FaultKind::Answer { status: 500, headers: None, body: None, bare: false, effect: true },
    ];
    for kind in lost {
        let slack = start().await;
        let bench = bench(&slack);
        let plan = bench.ready(&post()).await;
        strike(&slack, ON.0, ON.1, kind);
        let done = bench.run(&post(), &plan).await.expect("found");
        assert_eq!(messages(&slack).len(), 1);
        assert_eq!(done.evidence[1], "Its answer was lost; it was found in the channel");
    }
}

#[tokio::test]
async fn a_post_that_cannot_be_found_is_in_doubt_and_never_repeated() {
    let slack = start().await;
    let mut bench = bench(&slack);
    let plan = bench.ready(&post()).await;
    for kind in [FaultKind::Drop, no("fatal_error", false), bare(503)] {
        strike(&slack, ON.0, ON.1, kind);
        let error = bench.run(&post(), &plan).await.expect_err("nowhere");
        assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
        assert!(matches!(bench.probe(&post(), &plan).await, Probe::DidNot(_)));
    }
    // Without the right to look, only a person can tell.
    slack.set(&json!({"scopes": ["chat:write", "channels:read"]})).expect("set");
    strike(&slack, ON.0, ON.1, FaultKind::LoseAnswer);
    let error = bench.run(&post(), &plan).await.expect_err("blind");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    let Probe::Unknown(why) = bench.probe(&post(), &plan).await else { panic!("nobody can tell") };
    assert!(why.contains("channels:history"), "{why}");
    assert_eq!(messages(&slack).len(), 1);
    slack.set(&json!({"scopes": ["chat:write", "channels:read", "channels:history"]})).expect("set");
    bench.hurry();
    bench.attempt = 6;
    strike(&slack, ON.0, ON.1, FaultKind::Hold { after_effect: false });
    let error = bench.run(&post(), &plan).await.expect_err("silence");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    slack.release();
    slack.arrived(Some(ON.0), Some(ON.1), 5).await;
    assert!(matches!(bench.probe(&post(), &plan).await, Probe::Happened(_)), "it landed late");
}

#[tokio::test]
async fn posting_tells_refusals_apart() {
    let slack = start().await;
    let bench = bench(&slack);
    let plan = bench.ready(&post()).await;
    let worker = post();
    let sent = |kind| {
        strike(&slack, ON.0, ON.1, kind);
        bench.run(&worker, &plan)
    };
    assert_eq!(waits(&sent(answer(429)).await.expect_err("429")), 3);
    assert_eq!(waits(&sent(bare(429)).await.expect_err("429")), 30);
    assert_eq!(waits(&sent(no("rate_limited", false)).await.expect_err("inside a 200")), 30);
    for (kind, says) in [
        (answer(401), "does not accept the token"),
        (answer(403), "the scope chat:write"),
        (answer(404), "does not know a channel C0123456789"),
        (no("token_revoked", false), "does not accept the token (401: token_revoked)"),
        (no("msg_too_long", false), "msg_too_long"),
        (no("restricted_action_read_only_channel", false), "does not let this app post"),
        (no("not_in_channel", false), "is not in #status"),
        (no("is_archived", false), "is archived"),
    ] {
        let error = sent(kind).await.expect_err("refused");
        assert!(error.cause.contains(says), "{error}");
        assert_eq!(error.disposition, Disposition::AskOperator, "{error}");
    }
    bench.token(READ_ONLY);
    let error = bench.run(&post(), &plan).await.expect_err("no scope");
    assert!(error.cause.contains("it lacks the scope chat:write"), "{error}");
    assert_eq!(messages(&slack).len(), 0);
}

#[tokio::test]
async fn a_channel_that_takes_nothing_blocks_the_plan_and_fails_the_check() {
    let slack = start().await;
    let mut bench = bench(&slack);
    let done = bench.go(&CheckSlack).await.expect("good");
    assert!(done.evidence.iter().any(|line| line == "it is in the channel #status (C0123456789)"), "{done:?}");
    slack.set(&json!({"channel": {"member": false}})).expect("set");
    assert!(blocking(&bench.plan(&post()).await.expect("a plan"))[0].contains("/invite"));
    assert!(bench.go(&CheckSlack).await.expect_err("not in").cause.contains("is not in #status"));
    slack.set(&json!({"channel": {"member": true, "archived": true}})).expect("set");
    assert!(blocking(&bench.plan(&post()).await.expect("a plan"))[0].contains("archived"));
    assert!(bench.go(&CheckSlack).await.expect_err("archived").cause.contains("archived"));
    slack.set(&json!({"channel": {"archived": false}, "scopes": ["chat:write"]})).expect("set");
    let plan = bench.ready(&post()).await;
    assert!(plan.findings[0].text.contains("channels:read"), "{plan:?}");
    let done = bench.go(&CheckSlack).await.expect("good enough");
    assert!(done.evidence.iter().any(|line| line.contains("cannot be found again")), "{done:?}");
    bench.token(READ_ONLY);
    slack.set(&json!({"scopes": ["chat:write", "channels:read"]})).expect("set");
    assert!(bench.go(&CheckSlack).await.expect_err("no scope").cause.contains("lacks the scope chat:write"));
    slack.set(&json!({"token_revoked": true})).expect("set");
    assert!(bench.plan(&CheckSlack).await.expect_err("revoked").cause.contains("token_revoked"));
    slack.set(&json!({"token_revoked": false})).expect("set");
    bench.config = bench.config.replace("C0123456789", "C0NOWHERE00");
    assert!(blocking(&bench.plan(&post()).await.expect("a plan"))[0].contains("C0NOWHERE00 (slack.channel)"));
}
