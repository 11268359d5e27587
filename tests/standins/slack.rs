//! Slack.

use relight::drill::standin::{StandIn, slack};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{READ_ONLY, TOKEN, answered, ask, json_of, tokens};

const STATUS: &str = "C0123456789";

async fn start() -> StandIn {
    let config = slack::Config::example(tokens());
    slack::start(config).await.expect("a Slack")
}

fn call(slack: &StandIn, method: &str, body: &Value) -> RequestBuilder {
    ask(slack, "POST", &format!("/api/{method}"))
        .bearer_auth(TOKEN)
        .header("content-type", "application/json; charset=utf-8")
        .body(body.to_string())
}

fn read(slack: &StandIn, method: &str, arguments: &[(&str, &str)]) -> RequestBuilder {
    ask(slack, "GET", &format!("/api/{method}")).bearer_auth(TOKEN).query(arguments)
}

async fn error(request: RequestBuilder) -> String {
    let (status, body) = answered(request).await;
    assert_eq!((status, &body["ok"]), (200, &json!(false)), "{body}");
    body["error"].as_str().expect("an error").to_owned()
}

async fn fine(request: RequestBuilder) -> Value {
    let (status, body) = answered(request).await;
    assert_eq!((status, &body["ok"]), (200, &json!(true)), "{body}");
    body
}

#[tokio::test]
async fn tokens_and_scopes() {
    let slack = start().await;
    let test = || ask(&slack, "POST", "/api/auth.test");
    assert_eq!(error(test()).await, "not_authed");
    assert_eq!(error(test().header("authorization", TOKEN)).await, "not_authed");
    assert_eq!(error(test().bearer_auth("stranger")).await, "invalid_auth");
    let response = test().bearer_auth(TOKEN).send().await.expect("an answer");
    assert!(response.headers()["x-oauth-scopes"].to_str().expect("text").contains("chat:write"));
    let body = json_of(response).await;
    assert_eq!((&body["ok"], &body["user_id"]), (&json!(true), &json!("U0RELIGHT1")));

    let post = ask(&slack, "POST", "/api/chat.postMessage").bearer_auth(READ_ONLY);
    let (_, body) = answered(post.json(&json!({"channel": STATUS, "text": "x"}))).await;
    assert_eq!((&body["error"], &body["needed"]), (&json!("missing_scope"), &json!("chat:write")));
    slack.set(&json!({"token_revoked": true})).expect("a change");
    assert_eq!(error(test().bearer_auth(TOKEN)).await, "token_revoked");
    assert_eq!(error(call(&slack, "chat.dance", &json!({}))).await, "unknown_method");
}

#[tokio::test]
async fn bodies_that_are_refused() {
    let slack = start().await;
    let long = |length: usize| "x".repeat(length);
    let section = |length| json!({"type": "section", "text": {"type": "mrkdwn", "text": long(length)}});
    for (body, expected) in [
        (json!({"text": "x"}), "channel_not_found"),
        (json!({"channel": "C0STRANGER0", "text": "x"}), "channel_not_found"),
        (json!({"channel": "#status", "text": "x"}), "channel_not_found"),
        (json!({"channel": STATUS}), "no_text"),
        (json!({"channel": STATUS, "text": ""}), "no_text"),
        (json!({"channel": STATUS, "text": "x", "markdown_text": "y"}), "markdown_text_conflict"),
        (json!({"channel": STATUS, "markdown_text": long(12_001)}), "msg_too_long"),
        (json!({"channel": STATUS, "blocks": {"type": "section"}}), "invalid_blocks_format"),
        (json!({"channel": STATUS, "blocks": vec![section(1); 51]}), "invalid_blocks"),
        (json!({"channel": STATUS, "blocks": [section(3001)]}), "invalid_blocks"),
        (json!({"channel": STATUS, "blocks": vec![section(3000); 5]}), "msg_blocks_too_long"),
        (json!({"channel": STATUS, "text": "x", "thread_ts": "1.000001"}), "thread_not_found"),
        (json!({"channel": STATUS, "text": "x", "metadata": {"a": 1}}), "invalid_metadata_format"),
        (json!(["list"]), "json_not_object"),
    ] {
        assert_eq!(error(call(&slack, "chat.postMessage", &body)).await, expected, "{body}");
    }
    let post = || ask(&slack, "POST", "/api/chat.postMessage").bearer_auth(TOKEN);
    let json = "application/json";
    assert_eq!(error(post().header("content-type", json).body("{")).await, "invalid_json");
    assert_eq!(error(post().body("{}")).await, "missing_post_type");
    assert_eq!(error(post().header("content-type", "text/xml").body("<a/>")).await, "invalid_post_type");
    let utf16 = "application/json; charset=utf-16";
    assert_eq!(error(post().header("content-type", utf16).body("{}")).await, "invalid_charset");
    assert_eq!(slack.state()["channels"][0]["messages"], json!([]));
    // Without a charset it works, with a warning.
    let plain = post().header("content-type", json);
    let body = fine(plain.body(json!({"channel": STATUS, "text": "x"}).to_string())).await;
    assert_eq!(body["warning"], "missing_charset");
}

#[tokio::test]
async fn channels_close_and_members_leave() {
    let slack = start().await;
    let text = json!({"channel": STATUS, "text": "x"});
    slack.set(&json!({"channel": {"member": false}})).expect("a change");
    assert_eq!(error(call(&slack, "chat.postMessage", &text)).await, "not_in_channel");
    assert_eq!(error(read(&slack, "conversations.history", &[("channel", STATUS)])).await, "not_in_channel");
    let info = fine(read(&slack, "conversations.info", &[("channel", STATUS)])).await;
    assert_eq!((&info["channel"]["is_member"], &info["channel"]["name"]), (&json!(false), &json!("status")));
    slack.set(&json!({"channel": {"member": true, "archived": true}})).expect("a change");
    assert_eq!(error(call(&slack, "chat.postMessage", &text)).await, "is_archived");
    let info = fine(read(&slack, "conversations.info", &[("channel", STATUS)])).await;
    assert_eq!(info["channel"]["is_archived"], true);
}

#[tokio::test]
async fn messages_threads_and_edits() {
    let slack = start().await;
    let metadata = json!({"event_type": "relight", "event_payload": {"step": "s1"}});
    let first =
        fine(call(&slack, "chat.postMessage", &json!({"channel": STATUS, "text": "down", "metadata": metadata}))).await;
    let ts = first["ts"].as_str().expect("a ts").to_owned();
    assert_eq!((&first["channel"], &first["message"]["text"]), (&json!(STATUS), &json!("down")));
    let reply =
        fine(call(&slack, "chat.postMessage", &json!({"channel": STATUS, "text": "40 %", "thread_ts": ts}))).await;
    let reply_ts = reply["ts"].as_str().expect("a ts").to_owned();
    assert!(reply_ts > ts);
    let nested = json!({"channel": STATUS, "text": "x", "thread_ts": reply_ts});
    assert_eq!(error(call(&slack, "chat.postMessage", &nested)).await, "cannot_reply_to_message");

    let long = fine(call(&slack, "chat.postMessage", &json!({"channel": STATUS, "text": "x".repeat(40_001)}))).await;
    assert_eq!(long["message"]["text"].as_str().map(str::len), Some(40_000));

    // Replies are not in the history, and metadata only shows when asked for.
    let history = fine(read(&slack, "conversations.history", &[("channel", STATUS)])).await;
    let shown: Vec<_> = history["messages"].as_array().expect("a list").iter().collect();
    assert_eq!(shown.len(), 2);
    assert_eq!((&shown[1]["ts"], &shown[1]["metadata"]), (&json!(ts), &Value::Null));
    let thread = fine(read(
        &slack,
        "conversations.replies",
        &[("channel", STATUS), ("ts", &ts), ("include_all_metadata", "true")],
    ))
    .await;
    assert_eq!(thread["messages"][0]["metadata"], metadata);
    assert_eq!(thread["messages"][0]["reply_count"], 1);
    assert_eq!(thread["messages"][1]["text"], "40 %");
    let page = fine(read(&slack, "conversations.history", &[("channel", STATUS), ("limit", "1")])).await;
    assert_eq!(page["has_more"], true);
    let cursor = page["response_metadata"]["next_cursor"].as_str().expect("a cursor");
    let next =
        fine(read(&slack, "conversations.history", &[("channel", STATUS), ("limit", "1"), ("cursor", cursor)])).await;
    assert_eq!((&next["messages"][0]["ts"], &next["has_more"]), (&json!(ts), &json!(false)));
    let since = fine(read(&slack, "conversations.history", &[("channel", STATUS), ("oldest", &ts)])).await;
    assert_eq!(since["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        error(read(&slack, "conversations.replies", &[("channel", STATUS), ("ts", "1.000001")])).await,
        "thread_not_found"
    );
}

#[tokio::test]
async fn only_own_messages_are_edited_and_only_in_time() {
    let slack = start().await;
    let body = json!({"channel": STATUS, "text": "down"});
    let ts = fine(call(&slack, "chat.postMessage", &body)).await["ts"].clone();
    let edit = |text: &str| json!({"channel": STATUS, "ts": ts, "text": text});
    let edited = fine(call(&slack, "chat.update", &edit("up"))).await;
    assert_eq!((&edited["ts"], &edited["text"]), (&json!(ts), &json!("up")));
    assert_eq!(error(call(&slack, "chat.update", &edit(&"x".repeat(4001)))).await, "msg_too_long");
    let other = json!({"channel": STATUS, "ts": "1.000001", "text": "x"});
    assert_eq!(error(call(&slack, "chat.update", &other)).await, "message_not_found");
    slack.set(&json!({"edit_window_closed": true})).expect("a change");
    assert_eq!(error(call(&slack, "chat.update", &edit("late"))).await, "edit_window_closed");
    slack.set(&json!({"message": {"text": "by a person"}})).expect("a change");
    let state = slack.state();
    let messages = state["channels"][0]["messages"].as_array().expect("a list");
    assert_eq!(messages[0]["text"], "up");
    let theirs = json!({"channel": STATUS, "ts": messages.last().expect("one")["ts"], "text": "x"});
    assert_eq!(error(call(&slack, "chat.update", &theirs)).await, "cant_update_message");
}

#[tokio::test]
async fn reading_methods_do_not_see_a_json_body() {
    let slack = start().await;
    let arguments = json!({"channel": STATUS, "ts": "1.000001"});
    for method in ["conversations.info", "conversations.history", "conversations.replies"] {
        assert_eq!(error(call(&slack, method, &arguments)).await, "invalid_arguments");
    }
    let form = ask(&slack, "POST", "/api/conversations.info").bearer_auth(TOKEN);
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(format!("channel={STATUS}"));
    assert_eq!(fine(form).await["channel"]["id"], STATUS);
}
