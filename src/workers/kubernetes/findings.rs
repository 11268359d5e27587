//! Who else may change a writer's count: autoscalers and GitOps controllers. And who did.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, ListParams};

use crate::incident::Finding;
use crate::workers::WorkerError;

use super::cluster::{Cluster, bounded};
use super::error::{code, words};
use super::scale::MANAGER;

/// Autoscalers by the deployment that they look after.
#[derive(Debug, Default)]
pub(super) struct Autoscalers {
    found: BTreeMap<String, Autoscaler>,
    /// Why they could not be listed.
    unknown: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Autoscaler {
    name: String,
    least: u32,
    keda: bool,
}

impl Autoscalers {
    /// Lists those of the namespace. That they may not be listed is no reason to stop.
    pub(super) async fn of(cluster: &Cluster) -> Result<Self, WorkerError> {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(cluster.client(), &cluster.namespace);
        match bounded(cluster.limit, api.list(&ListParams::default())).await {
            Ok(list) => Ok(Self { found: list.items.iter().filter_map(read).collect(), unknown: None }),
            // A cluster without this API has no autoscalers.
            Err(error) if code(&error) == Some(404) => Ok(Self::default()),
            Err(error) if code(&error) == Some(403) => Ok(Self { unknown: Some(words(&error)), ..Self::default() }),
            Err(error) => Err(cluster.fault("list the autoscalers", &error)),
        }
    }

    /// The least count of the autoscaler of a deployment.
    pub(super) fn least(&self, deployment: &str) -> Option<u32> {
        self.found.get(deployment).map(|found| found.least)
    }

    /// What to know of them before the deployments are scaled to zero.
    pub(super) fn findings(&self, deployments: &[String]) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(why) = &self.unknown {
            findings.push(Finding::warning(format!("Whether an autoscaler looks after the writers is unknown: {why}")));
        }
        for deployment in deployments {
            let Some(Autoscaler { name, least, keda }) = self.found.get(deployment) else {
                continue;
            };
            findings.push(Finding::warning(if *keda {
                format!(
                    "KEDA scales {deployment} ({name}) and will scale it up from 0 by itself: pause it first \
                     (annotation autoscaling.keda.sh/paused-replicas: \"0\" on its ScaledObject)."
                )
            } else if *least == 0 {
                format!("The autoscaler {name} of {deployment} may scale it up from 0 by itself (minReplicas 0).")
            } else {
                format!(
                    "The autoscaler {name} looks after {deployment} (minReplicas {least}). It rests while the count is 0 \
                     and does not bring it back: starting writes does."
                )
            }));
        }
        findings
    }
}

fn read(found: &HorizontalPodAutoscaler) -> Option<(String, Autoscaler)> {
    let spec = &found.spec;
    let target = &spec.scale_target_ref;
    let name = found.metadata.name.clone().unwrap_or_default();
    let label = found.metadata.labels.iter().flatten().any(|(key, _)| key == "scaledobject.keda.sh/name");
    let keda = label || name.starts_with("keda-hpa-");
    // Without the number the autoscaler's least count is 1.
    let least = spec.min_replicas.map_or(1, |least| u32::try_from(least).unwrap_or(0));
    (target.kind == "Deployment").then(|| (target.name.clone(), Autoscaler { name, least, keda }))
}

/// Controllers that put a deployment back to what a repository says.
pub(super) fn owners(deployment: &str, metadata: &ObjectMeta) -> Vec<Finding> {
    let marks = || metadata.labels.iter().flatten().chain(metadata.annotations.iter().flatten());
    let value = |wanted: &str| marks().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
    let argo = value("argocd.argoproj.io/tracking-id").map(|id| id.split(':').next().unwrap_or(id));
    let argo = argo.or_else(|| value("argocd.argoproj.io/instance"));
    let flux = value("kustomize.toolkit.fluxcd.io/name");
    let flux_helm = value("helm.toolkit.fluxcd.io/name");
    let helm = value("meta.helm.sh/release-name").filter(|_| flux_helm.is_none());
    let mut findings = Vec::new();
    if let Some(application) = argo {
        findings.push(Finding::warning(format!(
            "Argo CD manages {deployment} (application {application}). With selfHeal it scales it up again within seconds, \
             without it at the next sync: switch its automated sync off first."
        )));
    }
    if let Some(name) = flux {
        findings.push(Finding::warning(format!(
            "Flux manages {deployment} and undoes the scaling at its next interval. First: flux suspend kustomization {name}"
        )));
    }
    if let Some(name) = flux_helm {
        findings.push(Finding::warning(format!(
            "Flux manages {deployment} and may undo the scaling. First: flux suspend helmrelease {name}"
        )));
    }
    if let Some(release) = helm {
        findings.push(Finding::warning(format!(
            "Helm manages {deployment} (release {release}): a helm upgrade scales it up again. Freeze deploys."
        )));
    }
    findings
}

/// Who last set `spec.replicas`, and when, as far as Kubernetes recorded it; never ourselves.
pub(super) fn last_scaled(metadata: &ObjectMeta) -> Option<(String, Option<Timestamp>)> {
    let entries = metadata.managed_fields.iter().flatten();
    let entries = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:spec"));
        fields.is_some_and(|spec| spec.get("f:replicas").is_some())
    });
    let newest = entries.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    let manager = newest.manager.clone().filter(|manager| manager != MANAGER)?;
    Some((manager, newest.time.as_ref().and_then(moment)))
}

/// Kubernetes' time as ours; they come from different versions of the same library.
pub(super) fn moment(time: &Time) -> Option<Timestamp> {
    Timestamp::new(time.0.as_second(), time.0.subsec_nanosecond()).ok()
}

/// `kubectl-scale at 08:51:07Z`, or `somebody` where that is not recorded.
pub(super) fn by_whom(metadata: &ObjectMeta) -> String {
    match last_scaled(metadata) {
        Some((manager, Some(at))) => format!("{manager} at {}", at.strftime("%H:%M:%SZ")),
        Some((manager, None)) => manager,
        None => "somebody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn autoscalers(items: serde_json::Value) -> Autoscalers {
        let items: Vec<HorizontalPodAutoscaler> = serde_json::from_value(items).unwrap();
        Autoscalers { found: items.iter().filter_map(read).collect(), unknown: None }
    }

    #[test]
    fn autoscalers_are_found_and_told_apart() {
        let target = |name: &str| json!({ "kind": "Deployment", "name": name, "apiVersion": "apps/v1" });
        let found = autoscalers(json!([
            { "metadata": { "name": "api" }, "spec": { "maxReplicas": 9, "minReplicas": 3, "scaleTargetRef": target("api") } },
            { "metadata": { "name": "keda-hpa-worker" }, "spec": { "maxReplicas": 9, "scaleTargetRef": target("worker") } },
            { "metadata": { "name": "db" }, "spec": { "maxReplicas": 9, "minReplicas": 2,
              "scaleTargetRef": { "kind": "StatefulSet", "name": "web" } } },
        ]));
        assert_eq!((found.least("api"), found.least("worker"), found.least("web")), (Some(3), Some(1), None));
        let texts: Vec<String> = found
            .findings(&["api".to_owned(), "worker".to_owned(), "web".to_owned()])
            .into_iter()
            .map(|finding| finding.text)
            .collect();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("minReplicas 3") && texts[1].contains("KEDA"), "{texts:?}");
    }

    #[test]
    fn gitops_owners_are_named() {
        let metadata: ObjectMeta = serde_json::from_value(json!({
            "labels": { "kustomize.toolkit.fluxcd.io/name": "apps", "app.kubernetes.io/instance": "plain" },
            "annotations": { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:default/api", "meta.helm.sh/release-name": "shop-1" },
        }))
        .unwrap();
        let texts: Vec<String> = owners("api", &metadata).into_iter().map(|finding| finding.text).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(
            texts[0].contains("application shop)")
                && texts[1].contains("kustomization apps")
                && texts[2].contains("shop-1")
        );
        assert!(owners("api", &ObjectMeta::default()).is_empty());
    }

    #[test]
    fn the_last_one_who_scaled_is_named() {
        let entry = |manager: &str, time: &str, spec: serde_json::Value| {
            json!({ "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": time,
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": spec } })
        };
        let with = |entries: serde_json::Value| -> ObjectMeta {
            serde_json::from_value(json!({ "managedFields": entries })).unwrap()
        };
        let ours = entry("relight", "2026-11-23T08:49:00Z", json!({ "f:replicas": {} }));
        let theirs = entry("kubectl-scale", "2026-11-23T08:51:07Z", json!({ "f:replicas": {} }));
        let other = entry("helm", "2026-11-23T08:55:00Z", json!({ "f:template": {} }));
        assert_eq!(by_whom(&with(json!([ours, theirs, other]))), "kubectl-scale at 08:51:07Z");
        assert_eq!(by_whom(&with(json!([theirs, ours]))), "kubectl-scale at 08:51:07Z");
        assert_eq!(by_whom(&with(json!([ours]))), "somebody");
    }
}
