//! Each stand-in, and each real server of the sandbox, against the contract that relight relies on.

use std::path::Path;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use relight::drill::dumps::BACKUPS;
use relight::drill::objects::{Fate, PRODUCTION, SNAPSHOT_PREFIX};
use relight::drill::ready::Ready;
use relight::drill::s3::S3Login;
use relight::drill::scorecard;
use serde_json::{Value, json};

use super::{Sandbox, get, http, kube_client, merge};

fn status(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("no Status: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_ins_hold_to_their_contracts() {
    let sandbox = Sandbox::start();
    configuration_contract(&sandbox.ready);
    kubernetes_contract(&sandbox).await;
    s3_contract(&sandbox.ready).await;
    grafana_contract(&sandbox.ready).await;
}

/// The configuration is one that relight takes, names every target of the runbook, and its secrets can be read.
fn configuration_contract(ready: &Ready) {
    let config = relight::config::Config::load(&ready.config).unwrap();
    assert_eq!(config.environment, "drill");
    let runbook = relight::runbook::Runbook::parse("built-in", relight::runbook::BUILT_IN).unwrap();
    let missing = config.missing(&runbook);
    assert!(missing.is_empty(), "{missing:?}");
    assert!(config.secrets().len() > 10);
    for secret in config.secrets() {
        secret.read().unwrap();
    }
}

/// The error rate is what the pods measured on the damaged data.
async fn grafana_contract(ready: &Ready) {
    let grafana = &ready.services["grafana"];
    let token = std::fs::read_to_string(&grafana.token_file).unwrap();
    let meters = get(&format!("{}/_control/meters", ready.control_url)).await.1;
    assert!(meters["good"].as_u64() > Some(0) && meters["bad"].as_u64() > Some(0), "{meters}");
    let ask = http().get(format!("{}/api/search?type=dash-db&query=Database", grafana.base_url));
    let found: Value = ask.bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert!(found.as_array().unwrap().iter().any(|hit| hit["folderTitle"] == "Platform"), "{found}");
}

async fn kubernetes_contract(sandbox: &Sandbox) {
    let ready = &sandbox.ready;
    let client = sandbox.kube().await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let apply = PatchParams::default();
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let identity: Namespace = Api::<Namespace>::all(client.clone()).get("kube-system").await.unwrap();
    assert!(identity.metadata.uid.is_some());

    // Rights: the operator has them, a viewer does not and is told so.
    let review: SelfSubjectAccessReview = serde_json::from_value(json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
        "spec": { "resourceAttributes": {
            "namespace": "default", "verb": "patch", "group": "apps", "resource": "deployments", "subresource": "scale", "name": "api",
        } },
    }))
    .unwrap();
    let work = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(&ready.kubeconfig).unwrap();
    let with_token = |file: &Path| {
        let path = work.path().join("kubeconfig.yaml");
        let operator = ready.kubernetes_token_file.display().to_string();
        std::fs::write(&path, config.replace(&operator, &file.display().to_string())).unwrap();
        path
    };
    let viewer = kube_client(&with_token(&ready.kubernetes_viewer_token_file)).await;
    for (client, allowed) in [(&client, true), (&viewer, false)] {
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        assert_eq!(api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed, allowed);
    }
    let looking: Api<Deployment> = Api::namespaced(viewer, "default");
    assert_eq!(status(looking.patch_scale("api", &apply, &merge(0)).await.unwrap_err()), (403, "Forbidden".to_owned()));
    let wrong = work.path().join("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    let nobody: Api<Deployment> = Api::namespaced(kube_client(&with_token(&wrong)).await, "default");
    assert_eq!(status(nobody.get("api").await.unwrap_err()).0, 401);

    // Errors, dry runs and optimistic locks.
    assert_eq!(status(deployments.get_scale("gone").await.unwrap_err()), (404, "NotFound".to_owned()));
    assert_eq!(
        status(deployments.patch_scale("api", &apply, &merge(-1)).await.unwrap_err()),
        (422, "Invalid".to_owned())
    );
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let scale = deployments.patch_scale("api", &dry, &merge(7)).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(7));
    let now = deployments.get_scale("api").await.unwrap();
    assert_eq!(now.spec.unwrap().replicas, Some(3));
    let outdated = now.metadata.resource_version.unwrap();
    let control = http();
    let other = control.post(format!("{}/_control/kubernetes/scale", ready.control_url));
    assert!(other.json(&json!({ "deployment": "api", "replicas": 2 })).send().await.unwrap().status().is_success());
    let locked = Patch::Merge(json!({ "metadata": { "resourceVersion": outdated }, "spec": { "replicas": 0 } }));
    assert_eq!(
        status(deployments.patch_scale("api", &apply, &locked).await.unwrap_err()),
        (409, "Conflict".to_owned())
    );
    assert_eq!(deployments.get_scale("api").await.unwrap().spec.unwrap().replicas, Some(2));

    // A pod that hangs keeps its session until it is let go.
    let hang = |hangs: bool| {
        let request = control.post(format!("{}/_control/kubernetes/hang", ready.control_url));
        request.json(&json!({ "deployment": "ingest-worker", "hang": hangs })).send()
    };
    assert!(hang(true).await.unwrap().status().is_success());
    deployments.patch_scale("ingest-worker", &apply, &merge(0)).await.unwrap();
    // A pod of the api that is told to go later goes first; the hanging one is still there then.
    let later = control
        .post(format!("{}/_control/kubernetes/scale", ready.control_url))
        .json(&json!({ "deployment": "api", "replicas": 1 }));
    assert!(later.send().await.unwrap().status().is_success());
    let mut gone = 0;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let events = pods.watch(&WatchParams::default().timeout(60), "0").await.unwrap();
    pin_mut!(events);
    let mut worker = None;
    loop {
        match events.next().await.unwrap().unwrap() {
            WatchEvent::Added(pod) if pod.metadata.labels.as_ref().unwrap()["app"] == "ingest-worker" => {
                worker = pod.metadata.name;
            }
            WatchEvent::Deleted(pod) => {
                assert_eq!(pod.metadata.labels.unwrap()["app"], "api");
                gone += 1;
                if gone == 2 {
                    break;
                }
            }
            _ => {}
        }
    }
    let session = ready.postgres_superuser.connect("test", "").await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    assert_eq!(session.query_one(sql, &[&worker.as_deref().unwrap()]).await.unwrap().get::<_, i64>(0), 1);
    assert!(hang(false).await.unwrap().status().is_success());
    loop {
        if let WatchEvent::Deleted(pod) = events.next().await.unwrap().unwrap() {
            assert_eq!(pod.metadata.name, worker);
            break;
        }
    }

    // Every request is on record, none with a token.
    let record = std::fs::read_to_string(ready.records.join("kubernetes.jsonl")).unwrap();
    let conflicts =
        record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).filter(|r| r["status"] == 409);
    assert_eq!(conflicts.count(), 1);
    assert!(!record.contains(std::fs::read_to_string(&ready.kubernetes_token_file).unwrap().trim()));
}

async fn s3_contract(ready: &Ready) {
    let s3 = scorecard::client(&ready.s3).unwrap();
    let head = s3.head_bucket().bucket(PRODUCTION).send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("eu-central-1"));
    assert!(s3.get_bucket_versioning().bucket(PRODUCTION).send().await.unwrap().status().is_none());
    let page = s3.list_objects_v2().bucket(PRODUCTION).max_keys(3).send().await.unwrap();
    let object = &page.contents()[0];
    let (key, etag) = (object.key().unwrap(), object.e_tag().unwrap());
    let read = |etag: &str| s3.get_object().bucket(PRODUCTION).key(key).if_match(etag).range("bytes=0-9").send();
    assert_eq!(read(etag).await.unwrap().content_length(), Some(10));
    assert_eq!(read("\"0000\"").await.unwrap_err().raw_response().unwrap().status().as_u16(), 412);

    // Overwritten objects: the same size, other bytes, newer than the onset.
    for (key, _) in ready.objects.iter().filter(|(_, fact)| fact.fate == Fate::Overwritten) {
        let now = s3.head_object().bucket(PRODUCTION).key(key).send().await.unwrap();
        let then = s3.head_object().bucket(BACKUPS).key(format!("{SNAPSHOT_PREFIX}{key}")).send().await.unwrap();
        assert_eq!(now.content_length(), then.content_length());
        assert_ne!(now.e_tag(), then.e_tag());
        assert!(now.last_modified().unwrap().secs() > ready.onset.as_second());
        assert!(then.last_modified().unwrap().secs() < ready.onset.as_second());
    }

    let looker = scorecard::client(&ready.s3_reader).unwrap();
    assert!(looker.head_object().bucket(PRODUCTION).key(key).send().await.is_ok());
    let denied = looker.delete_object().bucket(PRODUCTION).key(key).send().await.unwrap_err();
    assert_eq!((denied.raw_response().unwrap().status().as_u16(), denied.code()), (403, Some("AccessDenied")));
    let swapped = S3Login { secret_key_file: ready.s3_reader.secret_key_file.clone(), ..ready.s3.clone() };
    let forged = scorecard::client(&swapped).unwrap().list_objects_v2().bucket(PRODUCTION).send().await.unwrap_err();
    assert_eq!(forged.code(), Some("SignatureDoesNotMatch"));
    let abroad = S3Login { region: "us-east-1".to_owned(), ..ready.s3.clone() };
    let moved = scorecard::client(&abroad).unwrap().head_bucket().bucket(PRODUCTION).send().await.unwrap_err();
    let moved = moved.raw_response().unwrap();
    assert_eq!(moved.status().as_u16(), 301);
    assert_eq!(moved.headers().get("x-amz-bucket-region"), Some("eu-central-1"));
    assert!(moved.headers().get("location").is_none());
}
