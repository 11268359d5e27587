//! Each stand-in against its contract: what it refuses, what a success looks like, and what was kept of it.

mod grafana;
mod launchdarkly;
mod pagerduty;
mod shared;
mod slack;

use relight::drill::standin::{StandIn, Tokens};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;

/// The token that may do everything.
const TOKEN: &str = "full-4711-secret";
/// The one that may only read.
const READ_ONLY: &str = "read-0815-secret";

fn tokens() -> Tokens {
    Tokens::new(TOKEN).with_read_only(READ_ONLY)
}

/// A client without proxies or pooling, so that a cut connection never touches the next request.
fn client() -> Client {
    // A second installation in the same process is refused, which is fine: they are the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client")
}

fn ask(stand_in: &StandIn, method: &str, path: &str) -> RequestBuilder {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    client().request(method, format!("{}{path}", stand_in.url))
}

/// Sends it and gives status and JSON.
async fn answered(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, json_of(response).await)
}

async fn json_of(response: Response) -> Value {
    let bytes = response.bytes().await.expect("a body");
    serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
}
