//! How the cluster's world looks in JSON: `apps/v1` Deployment, `v1` Pod, `autoscaling/v1` Scale.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::NAMESPACE;
use super::state::{Deployment, Pod, State};

/// A stable identifier in the shape of a UUID.
pub(super) fn uid(name: &str) -> String {
    let digest = Sha256::digest(format!("uid of {name}"));
    let mut text = String::new();
    for (place, byte) in digest.iter().take(16).enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The label `pod-template-hash`: pods of different images differ in it.
pub(super) fn template_hash(image: &str) -> String {
    uid(image).chars().filter(char::is_ascii_hexdigit).take(10).collect()
}

/// The random-looking end of a pod's name.
pub(super) fn suffix(serial: u32) -> String {
    uid(&format!("pod {serial}")).chars().filter(char::is_ascii_hexdigit).take(5).collect()
}

/// The string form of a deployment's selector.
pub(super) fn selector(deployment: &str) -> String {
    format!("app={deployment}")
}

/// A `v1` Pod.
pub(super) fn pod(pod: &Pod) -> Value {
    let mut metadata = json!({
        "name": pod.name,
        "namespace": NAMESPACE,
        "uid": pod.uid,
        "resourceVersion": pod.version.to_string(),
        "creationTimestamp": seconds(pod.created),
        "labels": { "app": pod.deployment, "pod-template-hash": template_hash(&pod.image) },
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true, "blockOwnerDeletion": true,
            "name": format!("{}-{}", pod.deployment, template_hash(&pod.image)),
            "uid": uid(&format!("{}-{}", pod.deployment, pod.image)),
        }],
    });
    if let Some(deletion) = pod.deletion {
        metadata["deletionTimestamp"] = json!(seconds(deletion));
        metadata["deletionGracePeriodSeconds"] = json!(30);
    }
    let ready = if pod.ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": "drill-node-1",
            "terminationGracePeriodSeconds": 30,
            "containers": [{ "name": pod.deployment, "image": pod.image }],
        },
        "status": {
            "phase": if pod.ready { "Running" } else { "Pending" },
            "startTime": seconds(pod.created),
            "conditions": [
                { "type": "Ready", "status": ready },
                { "type": "ContainersReady", "status": ready },
            ],
            "containerStatuses": [{
                "name": pod.deployment, "image": pod.image, "imageID": "", "ready": pod.ready, "restartCount": 0,
            }],
        },
    })
}

/// The deployment of that name.
pub(super) fn deployment_of(state: &State, name: &str) -> Option<Value> {
    state.deployments.get(name).map(|found| deployment(state, found))
}

/// How many pods of a deployment there are, by what `status` counts. Only `terminating` counts the terminating ones.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    replicas: i32,
    updated: i32,
    ready: i32,
    terminating: i32,
}

fn count(state: &State, deployment: &Deployment) -> Counts {
    let pods = state.pods.values().filter(|pod| pod.deployment == deployment.name);
    pods.fold(Counts::default(), |mut counts, pod| {
        if pod.deletion.is_some() {
            counts.terminating += 1;
        } else {
            counts.replicas += 1;
            counts.updated += i32::from(pod.image == deployment.image);
            counts.ready += i32::from(pod.ready);
        }
        counts
    })
}

fn deployment(state: &State, deployment: &Deployment) -> Value {
    let counts = count(state, deployment);
    let labels = json!({ "app": deployment.name });
    let available = counts.ready >= deployment.replicas;
    let complete = available && counts.updated == counts.replicas && counts.replicas == deployment.replicas;
    let word = |yes: bool| if yes { "True" } else { "False" };
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment.name,
            "namespace": NAMESPACE,
            "uid": deployment.uid,
            "resourceVersion": deployment.version.to_string(),
            "generation": deployment.generation,
            "creationTimestamp": seconds(deployment.created),
            "labels": labels,
            "annotations": deployment.annotations,
        },
        "spec": {
            "replicas": deployment.replicas,
            "selector": { "matchLabels": labels },
            "strategy": { "type": "RollingUpdate" },
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": deployment.name, "image": deployment.image }] },
            },
        },
        "status": {
            "observedGeneration": deployment.generation,
            "replicas": counts.replicas,
            "updatedReplicas": counts.updated,
            "readyReplicas": counts.ready,
            "availableReplicas": counts.ready,
            "unavailableReplicas": (deployment.replicas - counts.ready).max(0),
            "terminatingReplicas": counts.terminating,
            "conditions": [
                {
                    "type": "Available", "status": word(available),
                    "reason": if available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
                },
                {
                    "type": "Progressing", "status": "True",
                    "reason": if complete { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
                },
            ],
        },
    })
}

/// The `autoscaling/v1` Scale of a deployment, with `spec.replicas` as given or as it is.
pub(super) fn scale(state: &State, name: &str, replicas: Option<i32>) -> Option<Value> {
    let deployment = state.deployments.get(name)?;
    Some(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": deployment.name,
            "namespace": NAMESPACE,
            "uid": deployment.uid,
            "resourceVersion": deployment.version.to_string(),
            "creationTimestamp": seconds(deployment.created),
        },
        "spec": { "replicas": replicas.unwrap_or(deployment.replicas) },
        "status": { "replicas": count(state, deployment).replicas, "selector": selector(name) },
    }))
}

/// Kubernetes tells times in whole seconds.
fn seconds(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
