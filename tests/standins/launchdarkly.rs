//! LaunchDarkly.

use relight::drill::standin::{StandIn, launchdarkly};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{READ_ONLY, TOKEN, answered, ask, tokens};

const FLAG: &str = "/api/v2/flags/default/deployments_locked";
const SEMANTIC: &str = "application/json; domain-model=launchdarkly.semanticpatch";

async fn start() -> StandIn {
    let config = launchdarkly::Config::example(tokens());
    launchdarkly::start(config).await.expect("a LaunchDarkly")
}

fn with(stand_in: &StandIn, method: &str, path: &str, token: &str) -> RequestBuilder {
    ask(stand_in, method, path).header("authorization", token).header("ld-api-version", "20240415")
}

fn get(stand_in: &StandIn, path: &str) -> RequestBuilder {
    with(stand_in, "GET", path, TOKEN)
}

fn patch(stand_in: &StandIn, query: &str, body: &Value) -> RequestBuilder {
    with(stand_in, "PATCH", &format!("{FLAG}{query}"), TOKEN).header("content-type", SEMANTIC).body(body.to_string())
}

fn turn(kind: &str) -> Value {
    json!({"environmentKey": "production", "comment": "INC-1", "instructions": [{"kind": kind}]})
}

async fn refused(request: RequestBuilder) -> (u16, String) {
    let (status, body) = answered(request).await;
    assert!(body["message"].is_string(), "{body}");
    (status, body["code"].as_str().expect("a code").to_owned())
}

#[tokio::test]
async fn headers_and_tokens() {
    let ld = start().await;
    let path = "/api/v2/caller-identity";
    let raw = || ask(&ld, "GET", path).header("ld-api-version", "20240415");
    assert_eq!(refused(raw()).await, (401, "unauthorized".into()));
    assert_eq!(refused(raw().bearer_auth(TOKEN)).await.0, 401);
    assert_eq!(refused(raw().header("authorization", "stranger")).await.0, 401);
    let old = ask(&ld, "GET", path).header("authorization", TOKEN);
    assert_eq!(refused(old.try_clone().expect("a copy")).await.0, 400);
    assert_eq!(refused(old.header("ld-api-version", "20220603")).await.0, 400);
    let (status, caller) = answered(get(&ld, path)).await;
    assert_eq!((status, &caller["authKind"], &caller["serviceToken"]), (200, &json!("token"), &json!(true)));

    let denied = with(&ld, "PATCH", FLAG, READ_ONLY).header("content-type", SEMANTIC);
    let denied = denied.body(turn("turnFlagOn").to_string());
    assert_eq!(refused(denied).await, (403, "forbidden".into()));
    let (_, seen) = answered(with(&ld, "GET", FLAG, READ_ONLY)).await;
    assert_ne!(seen["environments"]["production"]["_access"]["denied"], json!([]));
    assert_eq!(seen["environments"]["production"]["on"], false);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let ld = start().await;
    for path in [
        "/api/v2/flags/default/other",
        "/api/v2/flags/other/deployments_locked",
        "/api/v2/flags/default/deployments_locked?env=staging",
        "/api/v2/projects/default/environments/staging",
        "/api/v2/nothing",
    ] {
        assert_eq!(refused(get(&ld, path)).await, (404, "not_found".into()), "{path}");
    }
    let mut body = turn("turnFlagOn");
    body["environmentKey"] = json!("staging");
    assert_eq!(refused(patch(&ld, "", &body)).await.0, 404);
}

#[tokio::test]
async fn a_flag_is_turned_once_and_previewed_without_effect() {
    let ld = start().await;
    let production = "/environments/production";
    let (_, flag) = answered(get(&ld, &format!("{FLAG}?env=production"))).await;
    assert_eq!(flag.pointer(&format!("{production}/on")), Some(&json!(false)));
    assert_eq!(flag["environments"].as_object().map(serde_json::Map::len), Some(1));
    let off = flag.pointer(&format!("{production}/offVariation")).and_then(Value::as_u64);
    assert_eq!(flag["variations"][usize::try_from(off.expect("an index")).expect("small")]["value"], false);

    let (status, preview) = answered(patch(&ld, "?dryRun=true", &turn("turnFlagOn"))).await;
    assert_eq!((status, &preview["environments"]["production"]["on"]), (200, &json!(true)));
    let (_, flag) = answered(get(&ld, FLAG)).await;
    assert_eq!(flag["environments"]["production"]["on"], false);
    assert_eq!(flag["environments"]["production"]["version"], 1);

    for _ in 0..2 {
        let (status, flag) = answered(patch(&ld, "", &turn("turnFlagOn"))).await;
        assert_eq!((status, &flag["environments"]["production"]["on"]), (200, &json!(true)));
        assert_eq!(flag["environments"]["production"]["version"], 2);
        assert_eq!(flag["environments"]["test"]["on"], false);
    }
    let state = ld.state();
    assert_eq!(state["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(state["changes"][0]["comment"], "INC-1");
    ld.set(&json!({"flag": {"on": false}})).expect("a change");
    let (_, flag) = answered(get(&ld, FLAG)).await;
    assert_eq!(flag["environments"]["production"]["on"], false);
    assert_eq!(flag["environments"]["production"]["version"], 3);
}

#[tokio::test]
async fn patches_that_are_refused_change_nothing() {
    let ld = start().await;
    for media in ["application/json", "text/plain; domain-model=launchdarkly.semanticpatch"] {
        let request = with(&ld, "PATCH", FLAG, TOKEN).header("content-type", media);
        let request = request.body(turn("turnFlagOn").to_string());
        assert_eq!(refused(request).await, (400, "invalid_request".into()), "{media}");
    }
    for body in [
        json!({"instructions": [{"kind": "turnFlagOn"}]}),
        json!({"environmentKey": "production", "instructions": []}),
        json!({"environmentKey": "production"}),
        json!({"environmentKey": "production", "comment": 1, "instructions": [{"kind": "turnFlagOn"}]}),
        // The first instruction is right: all or none.
        json!({"environmentKey": "production", "instructions": [{"kind": "turnFlagOn"}, {"kind": "dance"}]}),
        json!(["list"]),
    ] {
        assert_eq!(refused(patch(&ld, "", &body)).await.0, 400, "{body}");
    }
    let (_, flag) = answered(get(&ld, FLAG)).await;
    assert_eq!(flag["environments"]["production"]["version"], 1);
}

#[tokio::test]
async fn an_environment_that_wants_approval() {
    let ld = start().await;
    ld.set(&json!({"approval_required": true})).expect("a change");
    let (_, environment) = answered(get(&ld, "/api/v2/projects/default/environments/production")).await;
    assert_eq!(environment["approvalSettings"]["required"], true);
    let on = turn("turnFlagOn");
    assert_eq!(refused(patch(&ld, "", &on)).await, (405, "method_not_allowed".into()));
    assert_eq!(answered(patch(&ld, "?dryRun=true", &on)).await.0, 200);
    ld.set(&json!({"dry_run_reports_approval": true})).expect("a change");
    assert_eq!(refused(patch(&ld, "?dryRun=true", &on)).await.0, 405);

    let path = "/api/v2/projects/default/flags/deployments_locked/environments/production/approval-requests";
    let ask_for = |body: &Value| with(&ld, "POST", path, TOKEN).json(body);
    let instructions = json!([{"kind": "turnFlagOn"}]);
    assert_eq!(refused(ask_for(&json!({"instructions": instructions}))).await.0, 400);
    assert_eq!(refused(ask_for(&json!({"description": "x"}))).await.0, 400);
    let (status, request) = answered(ask_for(&json!({"description": "lock", "instructions": instructions}))).await;
    assert_eq!((status, &request["reviewStatus"]), (201, &json!("pending")));
    let id = request["_id"].as_str().expect("an id");
    let apply = || with(&ld, "POST", &format!("{path}/{id}/apply"), TOKEN);
    assert_eq!(refused(apply()).await.0, 400);
    ld.set(&json!({"approve": id})).expect("a change");
    assert_eq!(answered(apply()).await.0, 200);
    let (_, flag) = answered(get(&ld, FLAG)).await;
    assert_eq!(flag["environments"]["production"]["on"], true);

    // Where only tagged flags need approval, this one does not.
    let tagged = json!({"approval_required": {"required": true, "tags": ["pci"]}});
    ld.set(&tagged).expect("a change");
    assert_eq!(answered(patch(&ld, "", &turn("turnFlagOff"))).await.0, 200);
    ld.set(&json!({"tags": {"flag": "deployments_locked", "tags": ["pci"]}})).expect("a change");
    assert_eq!(refused(patch(&ld, "", &on)).await.0, 405);
}

#[tokio::test]
async fn its_rate_limit_names_a_moment() {
    let ld = start().await;
    let fault = json!({"fault": {"kind": "answer", "status": 429}});
    answered(ask(&ld, "POST", "/_control/faults").json(&fault)).await;
    let response = get(&ld, FLAG).send().await.expect("an answer");
    assert_eq!(response.status(), 429);
    let reset = response.headers()["x-ratelimit-reset"].to_str().expect("text");
    assert!(reset.parse::<i64>().expect("milliseconds") > jiff::Timestamp::now().as_millisecond());
}
