//! Waiting until a deployment's pods are gone, and saying why pods do not get ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

use crate::workers::{Io, WorkerError};

use super::cluster::Cluster;
use super::findings::{by_whom, moment};
use super::follow::{Follow, Which};
use super::scale::Writer;

/// A pod that should be gone is given this much more before it is called overdue.
const OVERDUE: Duration = Duration::from_secs(5);

/// How many pods are left of how many, over several deployments that are waited for at once.
pub(super) struct Left<'a> {
    io: Option<&'a Io>,
    pods: Mutex<BTreeMap<String, (usize, usize)>>,
}

impl<'a> Left<'a> {
    /// Shows what it is told, where there is somebody to show it to.
    pub(super) fn new(io: Option<&'a Io>) -> Self {
        Self { io, pods: Mutex::new(BTreeMap::new()) }
    }

    fn line(&self, text: impl AsRef<str>) {
        if let Some(io) = self.io {
            io.line(text);
        }
    }

    fn tell(&self, deployment: &str, left: usize) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = pods.entry(deployment.to_owned()).or_insert((left, left));
        *entry = (left, entry.1.max(left));
        let (left, most) = pods.values().fold((0, 0), |sum, (left, most)| (sum.0 + left, sum.1 + most));
        if let Some(io) = self.io {
            io.progress("pods gone", (most - left) as u64, Some(most as u64), "pods");
        }
    }

    /// `2 pods of api`, for what is not gone yet; none where everything is.
    pub(super) fn words(&self) -> Option<String> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<String> = pods
            .iter()
            .filter(|(_, (left, _))| *left > 0)
            .map(|(name, (left, _))| format!("{left} {} of {name}", if *left == 1 { "pod" } else { "pods" }))
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// A pod that may still write. One that ended by itself does not count.
fn lives(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node yet")
}

fn end_of(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.deletion_timestamp.as_ref().and_then(moment)
}

impl Cluster {
    /// Waits until no pod of a writer is left, terminating ones included. Safe to drop.
    ///
    /// # Errors
    /// Somebody scales the deployment up or removes it meanwhile, or the cluster cannot be seen for a minute.
    pub(super) async fn wait_until_gone(&self, writer: &Writer, left: &Left<'_>) -> Result<(), WorkerError> {
        let deployment = &writer.deployment;
        let operation = format!("wait for the pods of {deployment} to end");
        let fault = |error: kube::Error| self.fault(&operation, &error);
        let mut pods =
            Follow::begin(self.pods(), Which::labelled(&writer.selector), self.limit).await.map_err(fault)?;
        let mut owner = Follow::begin(self.deployments(), Which::named(deployment), self.limit).await.map_err(fault)?;
        let mut told = Told::default();
        loop {
            self.still_zero(deployment, owner.now().next())?;
            let living: Vec<&Pod> = pods.now().filter(|pod| lives(pod)).collect();
            left.tell(deployment, living.len());
            told.tell(&living, left);
            if living.is_empty() {
                return Ok(());
            }
            let next = told.next_overdue(&living);
            tokio::select! {
                changed = pods.changed(self.patience()) => changed.map_err(fault)?,
                changed = owner.changed(self.patience()) => changed.map_err(fault)?,
                () = until(next) => {}
            }
        }
    }

    fn still_zero(&self, deployment: &str, now: Option<&Deployment>) -> Result<(), WorkerError> {
        let operation = format!("keep deployment {deployment} at 0");
        let Some(now) = now else {
            let cause = "Somebody deleted the deployment meanwhile.";
            return Err(WorkerError::new(operation, self.place(), cause, "Find out who, and what else they changed."));
        };
        let replicas = now.spec.replicas.unwrap_or(1);
        if replicas == 0 {
            return Ok(());
        }
        let cause = format!(
            "It was scaled to {replicas} by {} meanwhile; writes may reach the database.",
            by_whom(&now.metadata)
        );
        let next =
            "Find out who or what scales it (autoscaler, Argo CD, Flux, a colleague), stop that, then retry (r).";
        Err(WorkerError::new(operation, self.place(), cause, next))
    }
}

async fn until(moment: Option<Timestamp>) {
    match moment {
        Some(moment) => {
            let left = moment.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
        }
        None => std::future::pending().await,
    }
}

/// What the log has said of each pod.
#[derive(Default)]
struct Told {
    ending: BTreeMap<String, String>,
    overdue: BTreeSet<String>,
}

impl Told {
    fn tell(&mut self, living: &[&Pod], left: &Left<'_>) {
        let names: BTreeSet<String> = living.iter().map(|pod| name(pod)).collect();
        self.ending.retain(|pod, node| {
            let stays = names.contains(pod);
            if !stays {
                left.line(format!("{pod} on {node} is gone"));
            }
            stays
        });
        for pod in living {
            let Some(end) = end_of(pod) else {
                continue;
            };
            self.ending.entry(name(pod)).or_insert_with(|| {
                let by = end.strftime("%H:%M:%SZ");
                left.line(format!("{} on {} is told to end, by {by} at the latest", name(pod), node(pod)));
                node(pod).to_owned()
            });
            if due(end) <= Timestamp::now() && self.overdue.insert(name(pod)) {
                left.line(format!(
                    "{} should have ended by {} and has not. Look at it and at its node {}: kubectl describe pod {}. \
                     Deleting it by force removes it from the API only; its process may go on writing.",
                    name(pod),
                    end.strftime("%H:%M:%SZ"),
                    node(pod),
                    name(pod)
                ));
            }
        }
    }

    /// When the next pod becomes overdue.
    fn next_overdue(&self, living: &[&Pod]) -> Option<Timestamp> {
        living.iter().filter(|pod| !self.overdue.contains(&name(pod))).filter_map(|pod| end_of(pod)).map(due).min()
    }
}

fn due(end: Timestamp) -> Timestamp {
    end.checked_add(OVERDUE).unwrap_or(end)
}

/// Why a pod does not get ready, as Kubernetes tells it: `CrashLoopBackOff: back-off 40s …`.
pub(super) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let waiting = containers.filter_map(|container| container.state.as_ref()?.waiting.as_ref());
    let word = |reason: &Option<String>, message: &Option<String>| {
        let reason = reason.clone().unwrap_or_default();
        message.as_ref().map_or_else(|| reason.clone(), |message| format!("{reason}: {message}"))
    };
    let bad = waiting
        // These are the ordinary course of starting.
        .filter(|waiting| !matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing")))
        .map(|waiting| word(&waiting.reason, &waiting.message))
        .next();
    let unplaced = || {
        let conditions = status.conditions.iter().flatten();
        let mut refused = conditions.filter(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
        });
        refused.next().map(|condition| word(&condition.reason, &condition.message))
    };
    bad.or_else(unplaced).map(|why| format!("{} on {}: {why}", name(pod), node(pod)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reason_why_a_pod_does_not_start_is_told() {
        let pod = |status: serde_json::Value| -> Pod {
            serde_json::from_value(json!({ "metadata": { "name": "api-1" }, "spec": { "nodeName": "n1", "containers": [] }, "status": status }))
                .unwrap()
        };
        let container = |reason: &str| {
            json!({ "phase": "Pending", "containerStatuses": [{ "name": "api", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                     "state": { "waiting": { "reason": reason, "message": "why" } } }] })
        };
        assert_eq!(trouble(&pod(container("CrashLoopBackOff"))), Some("api-1 on n1: CrashLoopBackOff: why".to_owned()));
        assert_eq!(trouble(&pod(container("ImagePullBackOff"))), Some("api-1 on n1: ImagePullBackOff: why".to_owned()));
        assert_eq!(trouble(&pod(container("ContainerCreating"))), None);
        let unplaced = json!({ "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes" }] });
        assert_eq!(trouble(&pod(unplaced)), Some("api-1 on n1: Unschedulable: 0/3 nodes".to_owned()));
    }

    #[test]
    fn pods_that_ended_by_themselves_do_not_count() {
        for (phase, counts) in
            [("Running", true), ("Pending", true), ("Unknown", true), ("Succeeded", false), ("Failed", false)]
        {
            let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "status": { "phase": phase } })).unwrap();
            assert_eq!(lives(&pod), counts, "{phase}");
        }
    }
}
