//! Watches that break: a server that forgets, ends streams early and names who changed what.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use relight::incident::Plan;
use relight::runbook::TargetRef;
use relight::workers::kubernetes::StopWrites;
use relight::workers::{Cancel, Worker as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{config, context, step};

fn deployment(version: u32, replicas: u32, manager: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "api", "namespace": "default", "resourceVersion": version.to_string(),
            "managedFields": [{
                "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-23T08:51:07Z",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } },
            }],
        },
        "spec": { "replicas": replicas, "selector": {}, "template": {} },
    })
}

/// Lists and watches, counted; what each watch was asked for is kept.
#[derive(Default)]
struct Forgetful {
    lists: AtomicUsize,
    watches: AtomicUsize,
    asked: std::sync::Mutex<Vec<String>>,
}

async fn deployments(State(server): State<Arc<Forgetful>>, Query(query): Query<HashMap<String, String>>) -> Response {
    if query.contains_key("watch") {
        server.asked.lock().unwrap().push(query["resourceVersion"].clone());
        let line = match server.watches.fetch_add(1, Ordering::SeqCst) {
            // It does not remember that far back, which it says within the stream.
            0 => {
                json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "reason": "Expired", "message": "too old", "status": "Failure" } })
            }
            // The stream ends at once.
            1 => return Body::empty().into_response(),
            // It is ill for a moment.
            2 => return (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "ill").into_response(),
            3 => json!({ "type": "MODIFIED", "object": deployment(31, 4, "argocd-controller") }),
            _ => {
                let silent = futures_util::stream::pending::<Result<String, std::convert::Infallible>>();
                return Body::from_stream(silent).into_response();
            }
        };
        return format!("{line}\n").into_response();
    }
    let (version, replicas) = match server.lists.fetch_add(1, Ordering::SeqCst) {
        0 => (10, 0),
        1 => (20, 2),
        _ => (30, 2),
    };
    let items = [deployment(version, replicas, "kubectl-scale")];
    let metadata = json!({ "resourceVersion": version.to_string() });
    Json(json!({ "kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": items }))
        .into_response()
}

#[tokio::test]
async fn a_broken_watch_is_taken_up_again_and_nothing_is_missed() {
    let server = Arc::new(Forgetful::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new()
        .route("/apis/apps/v1/namespaces/default/deployments", axum::routing::get(deployments))
        .with_state(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("kubeconfig");
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "u", "user": { "token": "t" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(&kubeconfig, content.to_string()).unwrap();
    let text = format!(
        "environment = \"drill\"\n[kubernetes.production]\nkubeconfig = {:?}\nnamespace = \"default\"\nwriters = [\"api\"]\n",
        kubeconfig.display().to_string()
    );
    let cx = context(&config(home.path(), &text), home.path(), "stop");
    let mut plan = Plan::new(step("stop"), relight::incident::TargetIdentity::default());
    plan.basis = json!({ "target": "kubernetes.production", "namespace": "default", "writers": [
        { "deployment": "api", "uid": "", "selector": "app=api", "now": 3, "count": 3, "autoscaled": null }] });
    let (sender, mut alarms) = mpsc::unbounded_channel();
    let (cancel, cancelled) = Cancel::new();
    let watched = tokio::spawn(async move {
        let alarm = move |text: String| sender.send(text).unwrap();
        StopWrites { cluster: TargetRef::Kubernetes("production".to_owned()) }
            .watch(&cx, &plan, &alarm, cancelled)
            .await;
    });
    // The change that happened while the server had forgotten is in the list, and is told once.
    let text = alarms.recv().await.unwrap();
    assert_eq!(text, "api was scaled to 2 by kubectl-scale at 08:51:07Z; writes may reach the database");
    let text = alarms.recv().await.unwrap();
    assert_eq!(text, "api was scaled to 4 by argocd-controller at 08:51:07Z; writes may reach the database");
    assert_eq!(server.asked.lock().unwrap()[..4], ["10", "20", "20", "30"]);
    cancel.send_replace(true);
    watched.await.unwrap();
    assert!(alarms.recv().await.is_none());
}
