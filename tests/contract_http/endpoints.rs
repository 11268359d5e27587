//! The service's own endpoints, served by a small server of the test.

use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use relight::runbook::TargetRef;
use relight::workers::endpoints::{CheckEndpoints, CheckHttp};
use tokio::net::TcpListener;

use super::*;

/// `/good`, `/bad` (503), `/moved`, `/secret` (wants a header), `/long` and `/held` (never answers).
async fn serve() -> String {
    let app = axum::Router::new()
        .route("/api/good", get(|| async { axum::Json(json!({"status": "ok", "rows": 3})) }))
        .route(
            "/api/bad",
            get(|| async { (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"status": "damaged"}))) }),
        )
        .route("/api/moved", get(|| async { (StatusCode::FOUND, [("location", "/api/good")]) }))
        .route("/api/long", get(|| async { "x".repeat(1 << 20) }))
        .route("/api/held", get(std::future::pending::<()>))
        .route(
            "/api/secret",
            get(|headers: HeaderMap| async move {
                let known = headers.get("x-key").is_some_and(|value| value == TOKEN);
                if known { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/api/")
}

fn bench(base: &str, paths: &str) -> Bench {
    Bench::new(&format!(
        "[http.api]\nbase_url = '{base}'\npaths = [{paths}]\nheader = {{ name = 'x-key', value = TOKEN_SOURCE }}"
    ))
}

fn worker() -> CheckEndpoints {
    CheckEndpoints { service: TargetRef::Http("api".to_owned()) }
}

#[tokio::test]
async fn every_path_must_answer_well() {
    let base = serve().await;
    let bench = bench(&base, "'/good', 'secret', '/long'");
    let plan = bench.ready(&worker()).await;
    assert_eq!(plan.commands[0], format!("curl -i '{base}good' -H \"x-key: $SECRET\""));
    let done = bench.run(&worker(), &plan).await.expect("good");
    assert!(done.evidence[0].starts_with("/good answered 200 OK in "), "{done:?}");
    assert!(done.evidence[0].ends_with(r#"ms: {"status":"ok","rows":3}"#), "{done:?}");
    assert!(done.evidence[1].starts_with("secret answered 204"), "{done:?}");
    assert!(done.evidence[2].starts_with("/long answered 200 OK") && done.evidence[2].ends_with(" ms"), "{done:?}");
}

#[tokio::test]
async fn one_bad_path_fails_the_step_and_is_named() {
    let base = serve().await;
    for (path, says) in [
        ("bad", "/bad answered 503 Service Unavailable in "),
        ("moved", "/moved answered 302 Found"),
        ("none", "/none answered 404"),
    ] {
        let bench = bench(&base, &format!("'/good', '/{path}'"));
        let error = bench.go(&worker()).await.expect_err("bad");
        assert!(error.cause.starts_with(says) && !error.cause.contains("/good"), "{error}");
        assert_eq!(error.disposition, Disposition::Retry);
        let check = CheckHttp { target: TargetRef::Http("api".to_owned()) };
        let done = bench.go(&check).await.expect("it only shows");
        assert!(done.evidence[1].starts_with(says), "{done:?}");
    }
    let bench = bench(&base, "'/secret'");
    bench.token("another");
    assert!(bench.go(&worker()).await.expect_err("401").cause.contains("401 Unauthorized"));
}

#[tokio::test]
async fn silence_and_absence_are_failures() {
    let base = serve().await;
    let mut slow = bench(&base, "'/held'");
    slow.hurry();
    let error = slow.go(&worker()).await.expect_err("silence");
    assert!(error.cause.contains("/held did not answer: nothing within 0.2 s"), "{error}");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let nobody = bench(&format!("http://{closed}"), "'/good'");
    let error = nobody.go(&worker()).await.expect_err("nobody there");
    assert!(error.cause.contains("/good did not answer: "), "{error}");
    let check = CheckHttp { target: TargetRef::Http("api".to_owned()) };
    assert!(nobody.go(&check).await.is_err(), "what cannot be reached cannot be validated later");
    assert!(blocking(&bench(&base, "").plan(&worker()).await.expect("a plan"))[0].contains("names no paths"));
    let other = CheckEndpoints { service: TargetRef::Http("other".to_owned()) };
    assert!(nobody.plan(&other).await.expect_err("unknown").cause.contains("no [http.other]"));
}
