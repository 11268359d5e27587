//! What was approved for one cluster is not done to another behind the same address.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use relight::runbook::TargetRef;
use relight::workers::Worker as _;
use relight::workers::kubernetes::StopWrites;
use serde_json::{Value, json};

use super::{config, context};

type Uid = Arc<Mutex<String>>;

/// The namespace of the cluster that listens now.
async fn system(State(uid): State<Uid>) -> Json<Value> {
    let uid = uid.lock().unwrap().clone();
    Json(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-system", "uid": uid } }))
}

#[tokio::test]
async fn another_cluster_or_context_is_not_the_one_that_was_approved() {
    let uid = Uid::new(Mutex::new("7d1c9f0e-the-first".to_owned()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new()
        .route("/api/v1/namespaces/kube-system", axum::routing::get(system))
        .with_state(Arc::clone(&uid));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("kubeconfig");
    let contexts = |current: &str| {
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "u", "user": { "token": "t" } }],
            "contexts": [
                { "name": "production", "context": { "cluster": "c", "user": "u" } },
                { "name": "staging", "context": { "cluster": "c", "user": "u" } },
            ],
        });
        std::fs::write(&kubeconfig, content.to_string()).unwrap();
    };
    let text = format!(
        "environment = \"drill\"\n[kubernetes.production]\nkubeconfig = {:?}\nnamespace = \"default\"\nwriters = [\"api\"]\n",
        kubeconfig.display().to_string()
    );
    contexts("production");
    let cx = context(&config(home.path(), &text), home.path(), "stop");
    let worker = StopWrites { cluster: TargetRef::Kubernetes("production".to_owned()) };
    let approved = worker.identify(&cx).await.unwrap();
    assert_eq!(worker.identify(&cx).await.unwrap(), approved, "it is stable");
    "e02f11aa-another".clone_into(&mut uid.lock().unwrap());
    let another = worker.identify(&cx).await.unwrap();
    assert_ne!(another, approved, "the same address, and another cluster");
    assert_eq!(another.proofs["cluster uid"], "e02f11aa-another");
    "7d1c9f0e-the-first".clone_into(&mut uid.lock().unwrap());
    contexts("staging");
    assert_ne!(worker.identify(&cx).await.unwrap(), approved, "the same cluster by another context");
}
