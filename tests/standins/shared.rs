//! What all stand-ins share: faults, the record, the control routes, stopping.

use std::time::Duration;

use relight::drill::standin::{Fault, FaultKind, Recorded, StandIn, slack};
use serde_json::{Value, json};

use crate::{TOKEN, answered, ask, json_of, tokens};

async fn start() -> StandIn {
    let config = slack::Config::example(tokens());
    slack::start(config).await.expect("a Slack")
}

fn post(stand_in: &StandIn, text: &str) -> reqwest::RequestBuilder {
    ask(stand_in, "POST", "/api/chat.postMessage")
        .bearer_auth(TOKEN)
        .header("content-type", "application/json; charset=utf-8")
        .body(json!({"channel": "C0123456789", "text": text}).to_string())
}

fn posted(stand_in: &StandIn) -> usize {
    let state = stand_in.state();
    let messages = state.pointer("/channels/0/messages").cloned();
    messages.and_then(|it| it.as_array().map(Vec::len)).expect("messages")
}

#[tokio::test]
async fn a_lost_answer_takes_effect_and_a_dropped_request_does_not() {
    let slack = start().await;
    slack.fault(Fault::next(FaultKind::LoseAnswer)).expect("a fault");
    post(&slack, "one").send().await.expect_err("no answer");
    assert_eq!(posted(&slack), 1);
    slack.fault(Fault::next(FaultKind::Drop)).expect("a fault");
    post(&slack, "two").send().await.expect_err("no answer");
    assert_eq!(posted(&slack), 1);
    let (status, body) = answered(post(&slack, "three")).await;
    assert_eq!((status, &body["ok"]), (200, &json!(true)));
    assert_eq!(posted(&slack), 2);
    let seen: Vec<_> = slack.requests().into_iter().map(|it| (it.fault, it.status, it.processed)).collect();
    let lost = Some("lose_answer".to_owned());
    let dropped = Some("drop".to_owned());
    assert_eq!(seen, [(lost, None, true), (dropped, None, false), (None, Some(200), true)]);
}

#[tokio::test]
async fn a_cut_lets_exactly_so_many_bytes_through() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let slack = start().await;
    for bytes in [0, 1, 40, 200] {
        let fault = Fault::next(FaultKind::Cut { after_bytes: bytes });
        slack.fault(fault).expect("a fault");
        let address = slack.url.strip_prefix("http://").expect("an address");
        let mut line = tokio::net::TcpStream::connect(address).await.expect("a line");
        let body = r#"{"channel":"C0123456789","text":"x"}"#;
        let head = format!(
            "POST /api/chat.postMessage HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        line.write_all(head.as_bytes()).await.expect("to send");
        let mut got = Vec::new();
        line.read_to_end(&mut got).await.expect("the rest");
        assert_eq!(got.len(), bytes);
    }
    assert_eq!(posted(&slack), 4);
}

#[tokio::test]
async fn a_held_request_waits_for_its_release() {
    let slack = start().await;
    let control = |path: &str| ask(&slack, "POST", path);
    let faults = json!([
        {"path_prefix": "/api/chat.", "fault": {"kind": "hold"}},
        {"path_prefix": "/api/chat.", "fault": {"kind": "hold", "after_effect": true}},
    ]);
    for (fault, messages) in faults.as_array().expect("two").iter().zip([0, 2]) {
        let (status, body) = answered(control("/_control/faults").json(fault)).await;
        assert_eq!((status, body["waiting"].as_array().map(Vec::len)), (200, Some(1)));
        let waiting = tokio::spawn(answered(post(&slack, "held")));
        let held = ask(&slack, "GET", "/_control/held?count=1").send().await;
        assert_eq!(held.expect("held").status(), 204);
        assert_eq!(posted(&slack), messages);
        let released = control("/_control/release").send().await;
        assert_eq!(released.expect("released").status(), 204);
        assert_eq!(waiting.await.expect("an answer").1["ok"], true);
    }
    assert_eq!(posted(&slack), 2);
}

#[tokio::test]
async fn a_request_whose_client_left_still_takes_effect() {
    let slack = start().await;
    slack.fault(Fault::next(FaultKind::Hold { after_effect: false })).expect("a fault");
    let gone = tokio::spawn(post(&slack, "late").send());
    slack.held(1).await;
    gone.abort();
    let _ = gone.await;
    slack.release();
    slack.arrived(Some("POST"), Some("/api/chat."), 1).await;
    assert_eq!(posted(&slack), 1);
}

#[tokio::test]
async fn faults_answer_in_the_vendors_shape_bare_or_as_told() {
    let slack = start().await;
    let kinds = [
        json!({"kind": "answer", "status": 429}),
        json!({"kind": "answer", "status": 429, "bare": true}),
        json!({"kind": "answer", "status": 503, "headers": {"x-why": "tea"}, "body": "<html>"}),
        json!({"kind": "answer", "status": 200, "body": {"ok": false, "error": "internal_error"},
               "effect": true}),
    ];
    let faults: Vec<Value> = kinds.into_iter().map(|kind| json!({"fault": kind})).collect();
    answered(ask(&slack, "POST", "/_control/faults").json(&faults)).await;

    let limited = post(&slack, "a").send().await.expect("an answer");
    assert_eq!(limited.status(), 429);
    assert!(limited.headers().contains_key("retry-after"));
    assert_eq!(json_of(limited).await["error"], "rate_limited");
    let bare = post(&slack, "b").send().await.expect("an answer");
    assert_eq!(bare.status(), 429);
    assert!(!bare.headers().contains_key("retry-after"));
    assert_eq!(bare.bytes().await.expect("a body").len(), 0);
    let told = post(&slack, "c").send().await.expect("an answer");
    assert_eq!(told.status(), 503);
    assert_eq!(told.headers()["x-why"], "tea");
    assert_eq!(told.text().await.expect("a body"), "<html>");
    assert_eq!(posted(&slack), 0);
    let (status, body) = answered(post(&slack, "d")).await;
    assert_eq!((status, &body["error"]), (200, &json!("internal_error")));
    assert_eq!(posted(&slack), 1);
}

#[tokio::test]
async fn a_garbled_answer_is_a_200_that_is_no_json() {
    let slack = start().await;
    slack.fault(Fault::next(FaultKind::Garble { body: None })).expect("a fault");
    let cut = post(&slack, "a").send().await.expect("an answer");
    assert_eq!(cut.status(), 200);
    let text = cut.text().await.expect("a body");
    assert!(text.starts_with("{\"ok\":true"), "{text}");
    serde_json::from_str::<Value>(&text).expect_err("half an object");
    let body = Some("<html>sorry</html>".to_owned());
    slack.fault(Fault::next(FaultKind::Garble { body })).expect("a fault");
    let told = post(&slack, "b").send().await.expect("an answer");
    assert_eq!(told.text().await.expect("a body"), "<html>sorry</html>");
}

#[tokio::test]
async fn a_fault_strikes_only_what_it_is_meant_for_and_so_often() {
    let slack = start().await;
    let kind = FaultKind::Answer { status: 500, headers: None, body: None, bare: false, effect: false };
    slack.fault(Fault::on("POST", "/api/chat.postMessage", kind).times(2)).expect("a fault");
    let test = ask(&slack, "POST", "/api/auth.test").bearer_auth(TOKEN);
    assert_eq!(answered(test).await.0, 200);
    assert_eq!(answered(post(&slack, "a")).await.0, 500);
    assert_eq!(answered(post(&slack, "b")).await.0, 500);
    assert_eq!(answered(post(&slack, "c")).await.0, 200);
}

#[tokio::test]
async fn the_control_routes_refuse_what_they_do_not_know() {
    let slack = start().await;
    for (path, body) in [
        ("/_control/faults", json!({"fault": {"kind": "melt"}})),
        ("/_control/faults", json!({"fault": {"kind": "answer", "status": 99}})),
        ("/_control/faults", json!({"times": 0, "fault": {"kind": "drop"}})),
        ("/_control/faults", json!({"metod": "GET", "fault": {"kind": "drop"}})),
        ("/_control/set", json!({"weather": "fine"})),
        ("/_control/set", json!({"channel": {"archived": true}, "weather": "fine"})),
        ("/_control/set", json!([1])),
    ] {
        let (status, answer) = answered(ask(&slack, "POST", path).json(&body)).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(slack.state()["channels"][0]["is_archived"], false);
}

#[tokio::test]
async fn the_record_holds_every_request_and_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("slack.jsonl");
    let config = slack::Config { record_to: Some(path.clone()), ..slack::Config::example(tokens()) };
    let slack = slack::start(config).await.expect("a Slack");
    answered(post(&slack, &format!("my token is {TOKEN}"))).await;
    let leaky = ask(&slack, "POST", &format!("/api/auth.test?token={TOKEN}"));
    answered(leaky.header("authorization", "wrong-but-secret")).await;
    let text = std::fs::read_to_string(&path).expect("a record");
    let lines: Vec<Recorded> = text.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    assert_eq!(lines, slack.requests());
    assert_eq!(lines.len(), 2);
    assert!(!text.contains(TOKEN) && !text.contains("wrong-but-secret"), "{text}");
    let first = &lines[0];
    assert_eq!((first.seq, first.method.as_str(), first.status), (1, "POST", Some(200)));
    assert_eq!(first.headers["authorization"], "Bearer [redacted]");
    assert_eq!(first.body["text"], "my token is [redacted]");
    let (_, kept) = answered(ask(&slack, "GET", "/_control/requests")).await;
    assert_eq!(kept["requests"].as_array().map(Vec::len), Some(2));
    assert_eq!(kept["file_broken"], Value::Null);
}

#[tokio::test]
async fn stopping_frees_the_port_and_ends_what_is_held() {
    let slack = start().await;
    slack.fault(Fault::next(FaultKind::Hold { after_effect: false })).expect("a fault");
    let held = tokio::spawn(post(&slack, "never").send());
    slack.held(1).await;
    let (url, again) = (slack.url.clone(), post(&slack, "after"));
    // The limit only bounds a failure; what is waited for is the end itself.
    tokio::time::timeout(Duration::from_mins(1), slack.stop()).await.expect("an end");
    held.await.expect("a task").expect_err("no answer");
    let refused = again.send().await.expect_err("nobody listens");
    assert!(refused.is_connect(), "{url}: {refused}");
}
