//! PagerDuty.

use jiff::{SignedDuration, Timestamp};
use relight::drill::standin::{
    StandIn,
    pagerduty::{self, Account, OpenIncident},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{READ_ONLY, TOKEN, answered, ask, tokens};

const ACCEPT: &str = "application/vnd.pagerduty+json;version=2";
const FROM: &str = "oncall@example.com";
const SERVICE: &str = "PWIXJZS";

async fn start_with(account: Account) -> StandIn {
    let config = pagerduty::Config { tokens: tokens(), account, record_to: None };
    pagerduty::start(config).await.expect("a PagerDuty")
}

async fn start() -> StandIn {
    start_with(Account::example()).await
}

fn with(pd: &StandIn, method: &str, path: &str, token: &str) -> RequestBuilder {
    ask(pd, method, path)
        .header("authorization", format!("Token token={token}"))
        .header("accept", ACCEPT)
        .header("content-type", "application/json")
}

fn get(pd: &StandIn, path: &str) -> RequestBuilder {
    with(pd, "GET", path, TOKEN)
}

fn send(pd: &StandIn, method: &str, path: &str, body: &Value) -> RequestBuilder {
    with(pd, method, path, TOKEN).header("from", FROM).body(body.to_string())
}

fn incident(more: &Value) -> Value {
    let mut incident = json!({
        "type": "incident", "title": "Data loss",
        "service": {"id": SERVICE, "type": "service_reference"},
    });
    let members = incident.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    json!({"incident": incident})
}

async fn create(pd: &StandIn, more: &Value) -> Value {
    let (status, body) = answered(send(pd, "POST", "/incidents", &incident(more))).await;
    assert_eq!(status, 201, "{body}");
    body["incident"].clone()
}

async fn create_id(pd: &StandIn) -> String {
    let made = create(pd, &json!({})).await;
    made["id"].as_str().expect("an id").to_owned()
}

/// Status and code of a refusal, which must have PagerDuty's shape.
async fn refused(request: RequestBuilder) -> (u16, u64) {
    let (status, body) = answered(request).await;
    let error = &body["error"];
    assert!(error["message"].is_string() && error["errors"].is_array(), "{status} {body}");
    (status, error["code"].as_u64().expect("a code"))
}

#[tokio::test]
async fn headers_and_tokens() {
    let pd = start().await;
    for wrong in [format!("Bearer {TOKEN}"), TOKEN.into(), format!("token token={TOKEN}"), "Token token=x".into()] {
        let request = ask(&pd, "GET", "/abilities").header("authorization", &wrong);
        let request = request.header("accept", ACCEPT).header("content-type", "application/json");
        assert_eq!(refused(request).await, (401, 2006), "{wrong}");
    }
    let token = format!("Token token={TOKEN}");
    let bare = || ask(&pd, "GET", "/abilities").header("authorization", &token);
    assert_eq!(refused(bare().header("content-type", "application/json")).await, (400, 2001));
    assert_eq!(refused(bare().header("accept", ACCEPT)).await, (400, 2001));
    assert_eq!(answered(get(&pd, "/abilities")).await.0, 200);

    let body = incident(&json!({})).to_string();
    let denied = with(&pd, "POST", "/incidents", READ_ONLY).header("from", FROM).body(body.clone());
    assert_eq!(refused(denied).await, (403, 2010));
    assert_eq!(answered(with(&pd, "GET", "/incidents", READ_ONLY)).await.0, 200);
    let unsigned = with(&pd, "POST", "/incidents", TOKEN).body(body.clone());
    assert_eq!(refused(unsigned).await, (400, 2003));
    let stranger = with(&pd, "POST", "/incidents", TOKEN).header("from", "x@example.com");
    assert_eq!(refused(stranger.body(body)).await, (400, 1008));
    assert_eq!(pd.state()["incidents"], json!([]));
}

#[tokio::test]
async fn the_preflight_reads() {
    let pd = start().await;
    let (_, types) = answered(get(&pd, "/incidents/types")).await;
    let names = |types: &Value| -> Vec<String> {
        let list = types["incident_types"].as_array().expect("a list").iter();
        list.map(|kind| kind["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&types), ["incident_default", "data_loss"]);
    assert_eq!(types["incident_types"][1]["display_name"], "Data Loss");
    let (_, types) = answered(get(&pd, "/incidents/types?filter=disabled")).await;
    assert_eq!(names(&types), ["security"]);
    assert_eq!(refused(get(&pd, "/incidents/types?filter=some")).await, (400, 2001));
    assert_eq!(answered(get(&pd, "/incidents/types/data_loss")).await.0, 200);
    assert_eq!(refused(get(&pd, "/incidents/types/Data%20Loss")).await, (404, 2100));
    pd.set(&json!({"incident_types_available": false})).expect("a change");
    assert_eq!(refused(get(&pd, "/incidents/types")).await, (402, 2014));

    let (_, users) = answered(get(&pd, "/users?query=cto@example.com")).await;
    assert_eq!(users["users"][0]["id"], "PCTO001");
    assert_eq!(users["users"].as_array().map(Vec::len), Some(1));
    assert_eq!(refused(get(&pd, "/users/me")).await.0, 400);
    let (_, abilities) = answered(get(&pd, "/abilities")).await;
    assert!(abilities["abilities"].as_array().expect("a list").contains(&json!("coordinated_responding")));
    let (_, priorities) = answered(get(&pd, "/priorities")).await;
    assert_eq!(priorities["priorities"][0]["name"], "P1");
    let (_, service) = answered(get(&pd, "/services/PWIXJZS")).await;
    assert_eq!(service["service"]["status"], "active");
    pd.set(&json!({"service_status": {"id": SERVICE, "status": "maintenance"}})).expect("a change");
    let (_, service) = answered(get(&pd, "/services/PWIXJZS")).await;
    assert_eq!(service["service"]["status"], "maintenance");
    assert_eq!(refused(send(&pd, "POST", "/incidents", &incident(&json!({})))).await, (400, 2001));
    for path in ["/services/PNOPE", "/users/PNOPE", "/incidents/QNOPE", "/incidents/QNOPE/notes", "/nothing"] {
        assert_eq!(refused(get(&pd, path)).await, (404, 2100), "{path}");
    }
}

#[tokio::test]
async fn an_incident_is_made_and_read_back() {
    let pd = start().await;
    let bridge =
        json!({"conference_number": "+1 415-555-1212,,,,1234#", "conference_url": "https://meet.example.com/b"});
    let made = create(
        &pd,
        &json!({
            "urgency": "high", "incident_key": "relight-1", "incident_type": {"name": "data_loss"},
            "priority": {"id": "PPRIO01", "type": "priority_reference"},
            "body": {"type": "incident_body", "details": "rows are gone"},
            "escalation_policy": {"id": "PT20YPA", "type": "escalation_policy_reference"},
            "conference_bridge": bridge, "conferense_bridge": {"typo": true},
        }),
    )
    .await;
    assert_eq!((&made["status"], &made["incident_key"]), (&json!("triggered"), &json!("relight-1")));
    assert_eq!(made["incident_type"], json!({"name": "data_loss"}));
    assert_eq!(made["priority"]["name"], "P1");
    assert_eq!(made.get("conferense_bridge"), None);
    let path = format!("/incidents/{}", made["id"].as_str().expect("an id"));
    let (_, plain) = answered(get(&pd, &path)).await;
    assert_eq!(plain["incident"].get("conference_bridge"), None);
    let (_, whole) = answered(get(&pd, &format!("{path}?include[]=conference_bridge"))).await;
    assert_eq!(whole["incident"]["conference_bridge"], bridge);
    assert_eq!(refused(get(&pd, &format!("{path}?include[]=conference"))).await, (400, 2001));
    assert_eq!(pd.state()["incidents"][0]["body"]["details"], "rows are gone");

    // A bridge can be added later too.
    let bare = create(&pd, &json!({})).await;
    let path = format!("/incidents/{}", bare["id"].as_str().expect("an id"));
    let change = json!({"incident": {"type": "incident_reference", "conference_bridge": bridge}});
    assert_eq!(answered(send(&pd, "PUT", &path, &change)).await.0, 200);
    assert_eq!(pd.state()["incidents"][1]["conference_bridge"], bridge);
    assert_eq!(pd.state()["incidents"][1]["incident_type"]["name"], "incident_default");
}

#[tokio::test]
async fn incidents_that_are_refused() {
    let pd = start().await;
    for (more, expected) in [
        (json!({"type": "incidnt"}), (400, 2001)),
        (json!({"title": ""}), (400, 2001)),
        (json!({"title": null}), (400, 2001)),
        (json!({"service": null}), (400, 2001)),
        (json!({"service": {"id": SERVICE, "type": "service"}}), (400, 2001)),
        (json!({"service": {"id": "PNOPE", "type": "service_reference"}}), (400, 2001)),
        (json!({"urgency": "huge"}), (400, 2001)),
        (json!({"priority": "P1"}), (400, 1020)),
        (json!({"priority": {"id": "PNOPE", "type": "priority_reference"}}), (400, 1020)),
        (json!({"incident_type": {"name": "Data Loss"}}), (400, 2001)),
        (json!({"incident_type": {"name": "security"}}), (400, 2001)),
        (json!({"incident_type": "data_loss"}), (400, 2001)),
        (json!({"body": {"type": "incident_body", "details": {"rows": 1}}}), (400, 2001)),
        (json!({"conference_bridge": "https://meet.example.com"}), (400, 2001)),
        (json!({"incident_key": 7}), (400, 2001)),
        (json!({"escalation_policy": {"id": "PNOPE", "type": "escalation_policy_reference"}}), (400, 1014)),
        (json!({"assignments": [{"assignee": {"id": "PNOPE", "type": "user_reference"}}]}), (400, 1007)),
        (
            json!({
                "assignments": [{"assignee": {"id": "PCTO001", "type": "user_reference"}}],
                "escalation_policy": {"id": "PT20YPA", "type": "escalation_policy_reference"},
            }),
            (400, 2001),
        ),
    ] {
        let request = send(&pd, "POST", "/incidents", &incident(&more));
        assert_eq!(refused(request).await, expected, "{more}");
    }
    let unwrapped = incident(&json!({}))["incident"].clone();
    assert_eq!(refused(send(&pd, "POST", "/incidents", &unwrapped)).await, (400, 2001));
    let broken = with(&pd, "POST", "/incidents", TOKEN).header("from", FROM).body("{");
    assert_eq!(refused(broken).await, (400, 2001));
    pd.set(&json!({"on_call": {"policy": "PT20YPA", "user": null}})).expect("a change");
    assert_eq!(refused(send(&pd, "POST", "/incidents", &incident(&json!({})))).await, (400, 1015));
    assert_eq!(pd.state()["incidents"], json!([]));

    // What happens with an unknown type is not documented: this is the other way.
    pd.set(&json!({"unknown_incident_type": "base", "on_call": {"policy": "PT20YPA", "user": "PCTO001"}}))
        .expect("a change");
    let made = create(&pd, &json!({"incident_type": {"name": "data_los"}})).await;
    assert_eq!(made["incident_type"]["name"], "incident_default");
}

#[tokio::test]
async fn a_key_opens_one_incident_at_a_time() {
    let pd = start().await;
    let keyed = json!({"incident_key": "relight-1"});
    let first = create(&pd, &keyed).await;
    let (status, body) = answered(send(&pd, "POST", "/incidents", &incident(&keyed))).await;
    assert_eq!(status, 400);
    assert_eq!(body["error"]["errors"][0], "Open incident with matching dedup key already exists on this service");
    let path = format!(
        "/incidents?incident_key=relight-1&statuses[]=triggered&statuses[]=acknowledged&service_ids[]={SERVICE}"
    );
    let (_, found) = answered(get(&pd, &path)).await;
    assert_eq!(found["incidents"][0]["id"], first["id"]);
    let resolve = json!({"incident_status": {"id": first["id"], "status": "resolved"}});
    pd.set(&resolve).expect("a change");
    let (_, found) = answered(get(&pd, &path)).await;
    assert_eq!(found["incidents"], json!([]));
    let second = create(&pd, &keyed).await;
    assert_ne!(second["id"], first["id"]);
}

#[tokio::test]
async fn listing_pages_filters_and_forgets_after_a_month() {
    let mut account = Account::example();
    let ago = |days: i64| Timestamp::now() - SignedDuration::from_hours(24 * days);
    for (title, days) in [("old", 40), ("paged", 0)] {
        account.open_incidents.push(OpenIncident {
            title: title.into(),
            service: SERVICE.into(),
            created_at: ago(days),
            alert_key: Some(format!("alert-{title}")),
        });
    }
    let pd = start_with(account).await;
    for _ in 0..3 {
        create(&pd, &json!({})).await;
    }
    let list = async |query: &str| answered(get(&pd, &format!("/incidents?{query}"))).await.1;
    let count = |body: &Value| body["incidents"].as_array().map(Vec::len);
    let all = list("").await;
    assert_eq!((count(&all), &all["more"], &all["total"]), (Some(4), &json!(false), &Value::Null));
    assert_eq!(count(&list("date_range=all").await), Some(5));
    let page = list("limit=3&offset=0&total=true").await;
    assert_eq!((count(&page), &page["more"], &page["total"]), (Some(3), &json!(true), &json!(4)));
    let page = list("limit=3&offset=3").await;
    assert_eq!((count(&page), &page["more"]), (Some(1), &json!(false)));
    // An alert's incident has no key of its own and is found by the alert's.
    let paged = list("incident_key=alert-paged").await;
    assert_eq!((count(&paged), &paged["incidents"][0]["incident_key"]), (Some(1), &Value::Null));
    assert_eq!(count(&list("incident_key=").await), Some(4));
    assert_eq!(count(&list("statuses[]=resolved").await), Some(0));
    assert_eq!(count(&list("service_ids[]=PNOPE").await), Some(0));
    for wrong in
        ["statuses[]=open", "limit=101", "limit=0", "limit=x", "offset=9990", "date_range=some", "sort_by=x", "since=x"]
    {
        assert_eq!(refused(get(&pd, &format!("/incidents?{wrong}"))).await, (400, 2001), "{wrong}");
    }
}

#[tokio::test]
async fn acknowledging_and_resolving() {
    let pd = start().await;
    let path = format!("/incidents/{}", create_id(&pd).await);
    let turn = |status: &str| {
        let body = json!({"incident": {"type": "incident_reference", "status": status, "resolution": "restored"}});
        send(&pd, "PUT", &path, &body)
    };
    let (status, body) = answered(turn("acknowledged")).await;
    assert_eq!((status, &body["incident"]["status"]), (200, &json!("acknowledged")));
    assert_eq!(refused(turn("acknowledged")).await, (400, 1002));
    assert_eq!(answered(turn("resolved")).await.0, 200);
    assert_eq!(refused(turn("resolved")).await, (400, 1001));
    assert_eq!(refused(turn("closed")).await, (400, 2001));
    let untyped = json!({"incident": {"status": "resolved"}});
    assert_eq!(refused(send(&pd, "PUT", &path, &untyped)).await, (400, 2001));
    // Acknowledging a resolved incident opens it again.
    assert_eq!(answered(turn("acknowledged")).await.1["incident"]["status"], "acknowledged");

    let (_, log) = answered(get(&pd, &format!("{path}/log_entries?include[]=channels"))).await;
    let entries = log["log_entries"].as_array().expect("a list");
    let kinds: Vec<_> = entries.iter().map(|entry| entry["type"].as_str().expect("a type")).collect();
    assert_eq!(kinds, ["acknowledge_log_entry", "resolve_log_entry", "acknowledge_log_entry", "trigger_log_entry"]);
    assert_eq!(entries[1]["channel"]["details"], "restored");
    let (_, log) = answered(get(&pd, &format!("{path}/log_entries"))).await;
    assert_eq!(log["log_entries"][1]["channel"].get("details"), None);

    let own = json!({"assignments": [{"assignee": {"id": "PONCALL", "type": "user_reference"}}]});
    assert_eq!(create(&pd, &own).await["status"], "acknowledged");
}

#[tokio::test]
async fn notes_and_status_updates() {
    let pd = start().await;
    let path = format!("/incidents/{}", create_id(&pd).await);
    let notes = format!("{path}/notes");
    let note = |content: &str| json!({"note": {"content": content}});
    let (status, body) = answered(send(&pd, "POST", &notes, &note("08:52 declared"))).await;
    assert_eq!((status, &body["note"]["content"]), (200, &json!("08:52 declared")));
    assert_eq!(body["note"]["user"]["id"], "PONCALL");
    assert_eq!(refused(send(&pd, "POST", &notes, &note(""))).await, (400, 2001));
    assert_eq!(refused(send(&pd, "POST", &notes, &json!({"content": "x"}))).await, (400, 2001));
    let unsigned = with(&pd, "POST", &notes, TOKEN).body(note("x").to_string());
    assert_eq!(refused(unsigned).await, (400, 2003));
    let (_, listed) = answered(get(&pd, &notes)).await;
    assert_eq!(listed["notes"].as_array().map(Vec::len), Some(1));

    let updates = format!("{path}/status_updates");
    let (status, body) = answered(send(&pd, "POST", &updates, &json!({"message": "working"}))).await;
    assert_eq!((status, &body["status_update"]["message"]), (200, &json!("working")));
    for wrong in [json!({}), json!({"message": "x", "subject": "y"}), json!({"message": "x", "html_message": "y"})] {
        assert_eq!(refused(send(&pd, "POST", &updates, &wrong)).await, (400, 2001), "{wrong}");
    }
    let both = json!({"message": "x", "subject": "y", "html_message": "<p>x</p>"});
    assert_eq!(answered(send(&pd, "POST", &updates, &both)).await.1["status_update"]["subject"], "y");
    assert_eq!(pd.state()["incidents"][0]["status_updates"].as_array().map(Vec::len), Some(2));
    assert_eq!(refused(send(&pd, "POST", "/incidents/QNOPE/notes", &note("x"))).await, (404, 2100));
}

#[tokio::test]
async fn responders_are_asked_in_the_wrapped_form() {
    let pd = start().await;
    let path = format!("/incidents/{}/responder_requests", create_id(&pd).await);
    let wrap = |target: &Value| json!([{"responder_request_target": target}]);
    let user = json!({"id": "PCTO001", "type": "user_reference"});
    let policy = json!({"id": "PEP12AB", "type": "escalation_policy_reference"});
    let body = |requester: &Value, targets: &Value| json!({"requester_id": requester, "message": "Join", "responder_request_targets": targets});
    let me = json!("PONCALL");
    for (request, expected) in [
        (body(&json!("PNOPE"), &wrap(&user)), (400, 1008)),
        (body(&json!("oncall@example.com"), &wrap(&user)), (400, 1008)),
        (body(&Value::Null, &wrap(&user)), (400, 2011)),
        (body(&me, &json!([user])), (400, 2001)),
        (body(&me, &json!([])), (400, 2001)),
        (body(&me, &wrap(&json!({"id": "PNOPE", "type": "user_reference"}))), (400, 2001)),
        (body(&me, &wrap(&json!({"id": "PNOPE", "type": "escalation_policy_reference"}))), (400, 1014)),
        (body(&me, &wrap(&json!({"id": "PEP12AB"}))), (403, 2010)),
    ] {
        assert_eq!(refused(send(&pd, "POST", &path, &request)).await, expected, "{request}");
    }
    for target in [&user, &policy] {
        let (status, answer) = answered(send(&pd, "POST", &path, &body(&me, &wrap(target)))).await;
        assert_eq!(status, 200, "{answer}");
        let asked = answer
            .pointer("/responder_request/responder_request_targets/0/responder_request_target")
            .expect("a target");
        assert_eq!((&asked["id"], &asked["incidents_responders"][0]["state"]), (&target["id"], &json!("pending")));
    }
    assert_eq!(pd.state()["incidents"][0]["responder_requests"].as_array().map(Vec::len), Some(2));
    pd.set(&json!({"abilities": ["teams"]})).expect("a change");
    assert_eq!(refused(send(&pd, "POST", &path, &body(&me, &wrap(&user)))).await, (402, 2014));
}

#[tokio::test]
async fn its_rate_limit_counts_seconds() {
    let pd = start().await;
    let fault = json!({"fault": {"kind": "answer", "status": 429}});
    answered(ask(&pd, "POST", "/_control/faults").json(&fault)).await;
    let response = get(&pd, "/abilities").send().await.expect("an answer");
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["ratelimit-reset"], "7");
    assert_eq!(crate::json_of(response).await["error"]["code"], 2020);
}
