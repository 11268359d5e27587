//! Grafana.

use std::sync::{Arc, Mutex};

use relight::drill::standin::{
    StandIn,
    grafana::{self, Metric, Metrics},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{READ_ONLY, TOKEN, answered, ask, tokens};

const QUERY: &str = "/api/ds/query";

type Sample = Option<f64>;

/// Gives the same values at every step; no error rate when it is told to know none.
#[derive(Default)]
struct Samples {
    errors: Mutex<Option<Vec<Sample>>>,
}

impl Metrics for Samples {
    fn series(&self, metric: Metric, from: i64, to: i64, step: i64) -> Option<Vec<(i64, Sample)>> {
        let values = match metric {
            Metric::ReplicationLag => vec![Some(2.5), None, Some(f64::NAN)],
            Metric::ErrorRate => self.errors.lock().expect("a lock").clone()?,
        };
        let times = (0..).map(|number| from + number * step);
        Some(times.take_while(|at| *at <= to).zip(values).collect())
    }
}

async fn start() -> (StandIn, Arc<Samples>) {
    let samples = Arc::new(Samples::default());
    let config = grafana::Config::example(tokens(), Arc::clone(&samples) as Arc<dyn Metrics>);
    (grafana::start(config).await.expect("a Grafana"), samples)
}

fn get(grafana: &StandIn, path: &str) -> RequestBuilder {
    ask(grafana, "GET", path).bearer_auth(TOKEN)
}

fn query(grafana: &StandIn, body: &Value) -> RequestBuilder {
    ask(grafana, "POST", QUERY).bearer_auth(TOKEN).json(body)
}

/// A body for one data source, with the expressions as queries A, B, …
fn queries(expressions: &[&str]) -> Value {
    let ids = ["A", "B", "C"];
    let list: Vec<_> = expressions
        .iter()
        .zip(ids)
        .map(|(expression, id)| {
            json!({
                "refId": id, "datasource": {"uid": "prom-main", "type": "prometheus"},
                "expr": expression, "maxDataPoints": 100, "intervalMs": 1000,
            })
        })
        .collect();
    json!({"from": "now-15m", "to": "now", "queries": list})
}

/// The two panels' expressions as they stand in the dashboard.
async fn expressions(grafana: &StandIn) -> (String, String) {
    let (status, found) = answered(get(grafana, "/api/dashboards/uid/db-platform")).await;
    assert_eq!((status, &found["meta"]["folderTitle"]), (200, &json!("Platform")));
    let panels = found["dashboard"]["panels"].as_array().expect("panels").clone();
    let lag = panels.iter().find(|panel| panel["title"] == "Replication lag").expect("lag");
    let row = panels.iter().find(|panel| panel["type"] == "row").expect("a row");
    let errors = &row["panels"][0];
    assert_eq!((&errors["title"], &errors["datasource"]["uid"]), (&json!("Error rate"), &json!("${ds}")));
    let expression = |panel: &Value| panel["targets"][0]["expr"].as_str().expect("expr").to_owned();
    (expression(lag), expression(errors))
}

fn substituted(expression: &str) -> String {
    ["$cluster", "${cluster}", "[[cluster]]"]
        .iter()
        .fold(expression.to_owned(), |text, name| text.replace(name, "primary"))
}

#[tokio::test]
async fn health_needs_no_token_and_can_be_bad() {
    let (grafana, _) = start().await;
    let (status, health) = answered(ask(&grafana, "GET", "/api/health")).await;
    assert_eq!((status, &health["database"]), (200, &json!("ok")));
    grafana.set(&json!({"database_up": false})).expect("a change");
    assert_eq!(answered(ask(&grafana, "GET", "/api/health")).await.0, 503);
}

#[tokio::test]
async fn tokens_organisations_and_rights() {
    let (grafana, _) = start().await;
    let search = || ask(&grafana, "GET", "/api/search");
    for request in [search(), search().bearer_auth("stranger"), search().header("authorization", TOKEN)] {
        assert_eq!(answered(request).await.0, 401);
    }
    let elsewhere = get(&grafana, "/api/search").header("x-grafana-org-id", "2");
    assert_eq!(answered(elsewhere).await.0, 403);
    assert_eq!(answered(get(&grafana, "/api/search").header("x-grafana-org-id", "1")).await.0, 200);
    assert_eq!(answered(search().bearer_auth(READ_ONLY)).await.0, 200);
    let reader = ask(&grafana, "POST", QUERY).bearer_auth(READ_ONLY).json(&queries(&["x"]));
    let (status, body) = answered(reader).await;
    assert_eq!(status, 403);
    assert!(body["message"].as_str().expect("text").contains("datasources:query"));
}

#[tokio::test]
async fn a_search_matches_parts_of_titles_and_hides_what_is_not_allowed() {
    let (grafana, _) = start().await;
    let titles = async |path: &str| -> Vec<String> {
        let (status, hits) = answered(get(&grafana, path)).await;
        assert_eq!(status, 200, "{hits}");
        let hits = hits.as_array().expect("a list").clone();
        hits.iter().map(|hit| hit["uid"].as_str().expect("a uid").to_owned()).collect()
    };
    let folders = "/api/search?type=dash-folder&query=Platform&limit=1000";
    assert_eq!(titles(folders).await, ["platform-retired", "platform"]);
    let boards = "/api/search?type=dash-db&folderUIDs=platform&query=Database";
    assert_eq!(titles(boards).await, ["db-backups", "db-platform"]);
    assert_eq!(titles("/api/search?type=dash-db&query=database").await.len(), 4);
    assert_eq!(titles("/api/search?type=dash-db&query=database&limit=3&page=2").await, ["db-warehouse"]);
    assert_eq!(answered(get(&grafana, "/api/search?limit=5001")).await.0, 422);
    grafana.set(&json!({"visible": false})).expect("a change");
    assert!(titles(folders).await.is_empty());
    assert_eq!(answered(get(&grafana, "/api/dashboards/uid/db-platform")).await.0, 404);
    assert_eq!(answered(get(&grafana, "/api/dashboards/uid/nothing")).await.0, 404);
}

#[tokio::test]
async fn frames_are_columns_and_variables_are_the_clients_business() {
    let (grafana, samples) = start().await;
    let (lag, errors) = expressions(&grafana).await;
    let (status, body) = answered(query(&grafana, &queries(&[&lag, &errors]))).await;
    assert_eq!(status, 200);
    for id in ["A", "B"] {
        assert_eq!(body["results"][id]["frames"], json!([]), "unsubstituted {id}");
    }
    let (lag, errors) = (substituted(&lag), substituted(&errors));
    let (_, body) = answered(query(&grafana, &queries(&[&lag, &errors]))).await;
    let frame = &body["results"]["A"]["frames"][0];
    assert_eq!(frame["schema"]["fields"][0]["type"], "time");
    assert_eq!(frame["schema"]["fields"][1]["type"], "number");
    assert_eq!(frame["data"]["values"][1], json!([2.5, null, null]));
    assert_eq!(frame["data"]["entities"][1]["NaN"], json!([2]));
    let times = frame["data"]["values"][0].as_array().expect("a column");
    assert_eq!(times[1].as_i64().zip(times[0].as_i64()).map(|(b, a)| b - a), Some(9000));
    assert_eq!(body["results"]["B"]["frames"], json!([]), "no such series");

    *samples.errors.lock().expect("a lock") = Some(vec![Some(7.0)]);
    let (_, body) = answered(query(&grafana, &queries(&[&errors]))).await;
    assert_eq!(body["results"]["A"]["frames"][0]["data"]["values"][1], json!([7.0]));
    let other = lag.replace("primary", "standby");
    let (_, body) = answered(query(&grafana, &queries(&[&other]))).await;
    assert_eq!(body["results"]["A"]["frames"], json!([]));
    assert_eq!(grafana.state()["queried"].as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn a_partial_failure_is_a_400_or_207_that_still_has_frames() {
    let (grafana, _) = start().await;
    let (lag, errors) = expressions(&grafana).await;
    let both = queries(&[&substituted(&lag), &substituted(&errors)]);
    for (change, expected) in [(json!({"failing": ["error_rate"]}), 400), (json!({"multi_status": true}), 207)] {
        grafana.set(&change).expect("a change");
        let (status, body) = answered(query(&grafana, &both)).await;
        assert_eq!(status, expected);
        assert!(body["results"]["B"]["error"].is_string(), "{body}");
        assert_eq!(body["results"]["A"]["frames"].as_array().map(Vec::len), Some(1));
    }
    let (_, body) = answered(query(&grafana, &queries(&["max(pg_replication_lag_seconds{"]))).await;
    assert!(body["results"]["A"]["error"].is_string(), "{body}");
    grafana.set(&json!({"datasource_up": false})).expect("a change");
    let (_, body) = answered(query(&grafana, &queries(&[&substituted(&lag)]))).await;
    assert!(body["results"]["A"]["error"].as_str().expect("text").contains("refused"));
    assert_eq!(answered(get(&grafana, "/api/datasources/uid/prom-main/health")).await.0, 400);
}

#[tokio::test]
async fn queries_that_are_refused_as_a_whole() {
    let (grafana, _) = start().await;
    let good = queries(&["max(pg_replication_lag_seconds{cluster=\"primary\"})"]);
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    let mut stranger = good.clone();
    stranger["queries"][0]["datasource"]["uid"] = json!("${ds}");
    let mut nowhere = good.clone();
    nowhere["queries"][0]["datasource"] = json!({"type": "prometheus"});
    for (body, expected) in [
        (with("from", json!(1_700_000_000_000_i64)), 400),
        (with("from", json!("yesterday")), 400),
        (with("to", json!("now-20m")), 400),
        (with("queries", json!([])), 400),
        (nowhere, 400),
        (stranger, 404),
    ] {
        assert_eq!(answered(query(&grafana, &body)).await.0, expected, "{body}");
    }
    let plain = ask(&grafana, "POST", QUERY).bearer_auth(TOKEN).body(good.to_string());
    assert_eq!(answered(plain).await.0, 400);
    grafana.set(&json!({"datasource_denied": true})).expect("a change");
    let (status, body) = answered(query(&grafana, &good)).await;
    assert_eq!((status, &body["message"]), (403, &json!("Access denied to data source")));
}
