//! What Kubernetes says, in words for a person.

use std::time::Duration;

use crate::workers::{Disposition, WorkerError};

use super::cluster::Cluster;

/// The HTTP code of an answer; none where there was no answer.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The same again may work: nobody answered, or the server is busy or ill.
pub(super) fn is_transient(error: &kube::Error) -> bool {
    code(error).is_none_or(|code| code == 429 || code >= 500)
}

/// The words of an error, its innermost cause where it has several.
pub(super) fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

const RETRY: &str = "Nothing is lost: retry (r).";

impl Cluster {
    /// An error of Kubernetes as a worker's error.
    pub(super) fn fault(&self, operation: &str, error: &kube::Error) -> WorkerError {
        let said = words(error);
        let (cause, next, disposition) = match (error, code(error)) {
            (kube::Error::Auth(_), _) => (
                format!("There are no credentials for it that work: {said}."),
                "Log in to the cluster again (the kubeconfig's user), then retry (r).",
                Disposition::AskOperator,
            ),
            (_, Some(401)) => (
                "Kubernetes does not accept the credentials.".to_owned(),
                "Log in to the cluster again (the kubeconfig's user), then retry (r).",
                Disposition::AskOperator,
            ),
            (_, Some(403)) => (
                format!("Access is denied. Kubernetes says: {said}"),
                "The role needs get and patch on deployments/scale, and get, list and watch on deployments and pods. Then retry (r).",
                Disposition::AskOperator,
            ),
            (_, Some(404)) => (
                format!("There is no such thing. Kubernetes says: {said}"),
                "Correct namespace and writers in the config; is this the right cluster?",
                Disposition::AskOperator,
            ),
            (_, Some(409)) => (
                "It was changed by somebody else at the same moment.".to_owned(),
                "Find out who, then prepare the step again.",
                Disposition::AskOperator,
            ),
            (kube::Error::Api(status), Some(429)) => {
                let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let wait = Duration::from_secs(u64::from(wait.max(1)));
                ("Kubernetes asks to slow down.".to_owned(), RETRY, Disposition::Wait(wait))
            }
            (_, Some(500..)) => (format!("Kubernetes has a fault of its own: {said}"), RETRY, Disposition::Retry),
            (_, Some(_)) => (
                format!("Kubernetes says: {said}"),
                "Look at the program's log (L), then prepare the step again.",
                Disposition::AskOperator,
            ),
            (_, None) => (
                format!("The API server cannot be reached: {said}."),
                "Check the network, the VPN and the context, then retry (r).",
                Disposition::Retry,
            ),
        };
        WorkerError::new(operation, self.place(), cause, next).with(disposition)
    }
}
