//! `/_control`: how a test or a drill steers a stand-in from outside. No token, since it only listens on the loopback.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{faults::Fault, serve::Shared};

/// The control routes.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_control/faults", post(push).get(waiting).delete(clear))
        .route("/_control/release", post(release))
        .route("/_control/state", get(state))
        .route("/_control/set", post(set))
        .route("/_control/requests", get(requests))
        .route("/_control/arrived", get(arrived))
        .route("/_control/held", get(held))
}

fn refuse(why: impl std::fmt::Display) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": why.to_string()}))).into_response()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Value>),
    One(Value),
}

async fn push(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let list = match serde_json::from_slice(&body) {
        Ok(OneOrMany::Many(list)) => list,
        Ok(OneOrMany::One(one)) => vec![one],
        Err(error) => return refuse(error),
    };
    let mut faults = Vec::new();
    for value in list {
        match serde_json::from_value::<Fault>(value) {
            Ok(fault) => match fault.check() {
                Ok(()) => faults.push(fault),
                Err(why) => return refuse(why),
            },
            Err(error) => return refuse(error),
        }
    }
    for fault in faults {
        shared.faults.push(fault);
    }
    waiting(State(shared)).await
}

async fn waiting(State(shared): State<Arc<Shared>>) -> Response {
    let waiting = shared.faults.waiting();
    Json(json!({"waiting": waiting, "held": shared.faults.holding()})).into_response()
}

async fn clear(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}

async fn release(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.release();
    StatusCode::NO_CONTENT
}

async fn state(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.service().state())
}

async fn set(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let change: Value = match serde_json::from_slice(&body) {
        Ok(change) => change,
        Err(error) => return refuse(error),
    };
    let done = shared.service().set(&change, Timestamp::now());
    match done {
        Ok(()) => state(State(shared)).await.into_response(),
        Err(why) => refuse(why),
    }
}

async fn requests(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "requests": shared.recorder.requests(),
        "file_broken": shared.recorder.broken(),
    }))
}

#[derive(Deserialize)]
struct Wanted {
    method: Option<String>,
    path_prefix: Option<String>,
    #[serde(default = "one")]
    count: usize,
}

fn one() -> usize {
    1
}

/// Answers when that many requests of the kind were answered; the caller's own time-out bounds it.
async fn arrived(State(shared): State<Arc<Shared>>, Query(wanted): Query<Wanted>) -> StatusCode {
    let (method, path) = (wanted.method.as_deref(), wanted.path_prefix.as_deref());
    tokio::select! {
        () = shared.recorder.arrived(method, path, wanted.count) => StatusCode::NO_CONTENT,
        () = shared.stopped() => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Answers when that many requests are held at once.
async fn held(State(shared): State<Arc<Shared>>, Query(wanted): Query<Wanted>) -> StatusCode {
    tokio::select! {
        () = shared.faults.held(wanted.count) => StatusCode::NO_CONTENT,
        () = shared.stopped() => StatusCode::SERVICE_UNAVAILABLE,
    }
}
