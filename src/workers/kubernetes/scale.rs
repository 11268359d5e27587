//! Reading and setting a deployment's replica count, under an optimistic lock.

use kube::api::{Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::workers::{Disposition, WorkerError};

use super::cluster::{Cluster, bounded};
use super::error::{code, is_transient};

/// Status changes move the version too, so a lock may fail without anybody having touched the count.
const LOCK_ATTEMPTS: u32 = 10;
/// The name under which the changes are recorded in `managedFields`.
pub(super) const MANAGER: &str = "relight";

/// A deployment's count as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) replicas: u32,
    pub(super) uid: String,
    /// The selector of its pods, in the form that a list takes.
    pub(super) selector: String,
    version: String,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Set {
    /// It is as asked.
    Done,
    /// Somebody else set it to this meanwhile, and it was left alone.
    Drifted(u32),
}

/// A writer as the plan of stopping or starting found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writer {
    pub(super) deployment: String,
    pub(super) uid: String,
    pub(super) selector: String,
    /// The count when the plan was made.
    pub(super) now: u32,
    /// The count to return to.
    pub(super) count: u32,
    /// An autoscaler looks after it, with this least count.
    pub(super) autoscaled: Option<u32>,
}

impl Cluster {
    /// The count, and how its pods are selected.
    pub(super) async fn scale(&self, deployment: &str) -> Result<Scale, WorkerError> {
        let operation = format!("read the scale of deployment {deployment}");
        let found = self.ask(&operation, self.deployments().get_scale(deployment)).await?;
        let status = found.status.unwrap_or_default();
        let selector = status.selector.filter(|selector| !selector.is_empty()).ok_or_else(|| {
            // An empty selector would select every pod of the namespace.
            let cause = "Kubernetes does not say which pods belong to it.";
            WorkerError::new(&operation, self.place(), cause, "Look at the deployment with kubectl describe.")
        })?;
        Ok(Scale {
            // A count of zero may be left out of the answer.
            replicas: found.spec.and_then(|spec| spec.replicas).and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            uid: found.metadata.uid.unwrap_or_default(),
            selector,
            version: found.metadata.resource_version.unwrap_or_default(),
        })
    }

    async fn patch(&self, deployment: &str, version: &str, replicas: u32, dry_run: bool) -> Result<(), kube::Error> {
        let lock = json!({ "metadata": { "resourceVersion": version }, "spec": { "replicas": replicas } });
        let params = PatchParams { dry_run, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        bounded(self.limit, self.deployments().patch_scale(deployment, &params, &Patch::Merge(lock))).await.map(|_| ())
    }

    /// Lets admission look at the change without making it.
    pub(super) async fn try_scale(&self, deployment: &str, replicas: u32) -> Result<(), WorkerError> {
        let operation = format!("try to scale deployment {deployment} to {replicas}");
        for _ in 0..LOCK_ATTEMPTS {
            let now = self.scale(deployment).await?;
            match self.patch(deployment, &now.version, replicas, true).await {
                Ok(()) => return Ok(()),
                Err(error) if code(&error) == Some(409) => {}
                Err(error) => return Err(self.fault(&operation, &error)),
            }
        }
        Ok(())
    }

    /// Sets the count, unless somebody else changes it from `from` to something else meanwhile.
    ///
    /// # Errors
    /// Kubernetes says no; [`Disposition::InDoubt`] where nobody knows whether the change was made.
    pub(super) async fn set_scale(&self, deployment: &str, from: u32, to: u32) -> Result<Set, WorkerError> {
        let operation = format!("scale deployment {deployment} to {to}");
        for _ in 0..LOCK_ATTEMPTS {
            let now = self.scale(deployment).await?;
            if now.replicas == to {
                return Ok(Set::Done);
            }
            if now.replicas != from {
                return Ok(Set::Drifted(now.replicas));
            }
            match self.patch(deployment, &now.version, to, false).await {
                Ok(()) => return Ok(Set::Done),
                Err(error) if code(&error) == Some(409) => {}
                // The change may have been made, so the count is read again: it says so.
                Err(error) if is_transient(&error) => match self.scale(deployment).await {
                    Ok(after) if after.replicas == to => return Ok(Set::Done),
                    Ok(_) => return Err(self.fault(&operation, &error)),
                    Err(_) => return Err(self.fault(&operation, &error).with(Disposition::InDoubt)),
                },
                Err(error) => return Err(self.fault(&operation, &error)),
            }
        }
        let cause = "It is changed by others faster than it can be scaled.";
        let next = "Find out who changes it (kubectl get events, managedFields), then retry (r).";
        Err(WorkerError::new(operation, self.place(), cause, next))
    }
}
