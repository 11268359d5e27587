//! Slack.

use relight::drill::standin::slack;
use relight::incident::{Channel, MessageId, MessageState, OwedMessage};
use relight::workers::slack::{CheckSlack, PostMessage, send_owed};

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
    // This host's clock was hours ahead of Slack's when it was planned.
    let mut ahead = plan.clone();
    ahead.basis["planned_at"] = json!(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(5));
    assert!(matches!(bench.probe(&post(), &ahead).await, Probe::Happened(_)), "it would be posted twice");
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
    // Nothing was sent for certain: the message waits in the outbox, with the time at which it was meant.
    for kind in [answer(429), bare(429), no("rate_limited", false)] {
        let done = sent(kind).await.expect("owed");
        let [Fact::Owed { channel: Channel::SlackMessage, text }] = &done.facts[..] else { panic!("{done:?}") };
        assert!(text.contains("(written ") && done.evidence[0].contains("waits in the outbox"), "{done:?}");
    }
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

#[tokio::test]
async fn a_message_that_was_owed_goes_out_once() {
    let slack = start().await;
    let bench = bench(&slack);
    let cx = bench.cx();
    let owed = |id, text: &str| OwedMessage {
        id: MessageId(id),
        channel: Channel::SlackMessage,
        text: text.to_owned(),
        about: 7,
        at: Timestamp::now(),
        state: MessageState::Unsent,
    };
    let send = async |message: &OwedMessage, again| send_owed(&cx.config, &cx.knowledge.incident, message, again).await;
    let first = owed(1, "We restore.");
    strike(&slack, ON.0, ON.1, FaultKind::LoseAnswer);
    let error = send(&first, false).await.expect_err("nobody knows");
    assert_eq!(error.disposition, Disposition::InDoubt, "{error}");
    let ts = send(&first, true).await.expect("it is found");
    assert_eq!(messages(&slack)[0]["ts"], json!(ts));
    // The same words a second time are another message.
    let second = owed(2, "We restore.");
    assert_ne!(send(&second, true).await.expect("posted"), ts);
    assert_eq!(messages(&slack).len(), 2);
    strike(&slack, ON.0, ON.1, FaultKind::Drop);
    assert_eq!(send(&owed(3, "x"), false).await.expect_err("lost").disposition, Disposition::InDoubt);
    send(&owed(3, "x"), true).await.expect("it was not there, so it goes now");
    assert_eq!(messages(&slack).len(), 3);
}

/// A bench whose Slack is an incoming webhook.
fn hooked(stand_in: &StandIn) -> Bench {
    let bench = Bench::new("[slack]\nwebhook = TOKEN_SOURCE\nchannel_name = '#status'");
    bench.token(&slack::webhook(stand_in, TOKEN));
    bench
}

#[tokio::test]
async fn a_webhook_posts_and_says_what_it_cannot_tell() {
    let slack = start().await;
    let bench = hooked(&slack);
    let done = bench.go(&CheckSlack).await.expect("good");
    assert!(done.evidence[0].contains("shows only when it posts"), "{done:?}");
    let plan = bench.ready(&post()).await;
    assert!(plan.findings.iter().any(|finding| finding.text.contains("cannot be read back")), "{plan:?}");
    assert!(plan.commands[0].contains("\"$SLACK_WEBHOOK\""), "{plan:?}");
    let done = bench.run(&post(), &plan).await.expect("posted");
    assert_eq!(messages(&slack)[0]["text"], "Data loss on financecopilot. (INC-7F3K)");
    assert_eq!(done.facts, [], "it gives no id");
    let Probe::Unknown(why) = bench.probe(&post(), &plan).await else { panic!("nobody can tell") };
    assert!(why.contains("webhook"), "{why}");
}

#[tokio::test]
async fn a_webhook_tells_refusals_apart_and_never_posts_twice() {
    let slack = start().await;
    let bench = hooked(&slack);
    let plan = bench.ready(&post()).await;
    let path = slack::webhook(&slack, TOKEN);
    let path = path.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).expect("a path");
    let word = |status, word: &str| FaultKind::Answer {
        status,
        headers: None,
        body: Some(json!(word)),
        bare: false,
        effect: false,
    };
    let worker = post();
    for (kind, disposition, says) in [
        (word(403, "invalid_token"), Disposition::AskOperator, "invalid_token"),
        (word(404, "no_service"), Disposition::AskOperator, "it was removed"),
        (word(410, "channel_is_archived"), Disposition::AskOperator, "channel_is_archived"),
        (word(200, "<html>Log in</html>"), Disposition::InDoubt, "is not `ok`"),
        (bare(503), Disposition::InDoubt, "nobody knows"),
        (FaultKind::Drop, Disposition::InDoubt, "broke off"),
        (FaultKind::Cut { after_bytes: 0 }, Disposition::InDoubt, "broke off"),
    ] {
        let what = format!("{kind:?}");
        strike(&slack, "POST", path, kind);
        let error = bench.run(&worker, &plan).await.expect_err("refused");
        assert_eq!(error.disposition, disposition, "{what}: {error}");
        assert!(error.cause.contains(says), "{what}: {error}");
        assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
    }
    assert_eq!(messages(&slack).len(), 1, "only the one whose answer was cut");
    strike(&slack, "POST", path, answer(429));
    let done = bench.run(&worker, &plan).await.expect("owed");
    assert!(matches!(&done.facts[..], [Fact::Owed { channel: Channel::SlackMessage, .. }]), "{done:?}");
    slack.set(&json!({"channel": {"archived": true}})).expect("set");
    let error = bench.run(&worker, &plan).await.expect_err("archived");
    assert!(error.cause.contains("channel_is_archived"), "{error}");
    for wrong in ["https://hooks.example.com", "nonsense", ""] {
        bench.token(wrong);
        let error = bench.plan(&worker).await.expect_err("no address");
        assert!(wrong.is_empty() || !error.to_string().contains(wrong), "{error}");
    }
}
