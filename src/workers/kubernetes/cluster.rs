//! From a config's target to a client for its cluster.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::config::Config;
use crate::incident::TargetIdentity;
use crate::runbook::TargetRef;
use crate::workers::WorkerError;

use super::error::code;

const CONNECT: Duration = Duration::from_secs(5);

/// A namespace of a cluster, reachable.
#[derive(Clone)]
pub(super) struct Cluster {
    client: kube::Client,
    /// The config's name of it: `kubernetes.production`.
    pub(super) target: String,
    /// The kubeconfig's name of it; this is what a `type` approval takes.
    pub(super) context: String,
    server: String,
    pub(super) namespace: String,
    pub(super) writers: Vec<String>,
    /// A request that has no answer after this long has failed. Watches are bounded by themselves.
    pub(super) limit: Duration,
}

impl Cluster {
    /// Reads the kubeconfig and makes a client; asks the cluster nothing yet.
    pub(super) async fn open(config: &Config, target: &TargetRef) -> Result<Self, WorkerError> {
        let name = target.to_string();
        let found = match target {
            TargetRef::Kubernetes(short) => config.kubernetes.get(short),
            _ => None,
        };
        let Some(found) = found else {
            let next = "Add it; assets/relight.example.toml shows how.";
            return Err(WorkerError::new("find the cluster", name, "The config has no such Kubernetes target.", next));
        };
        let unreadable = |error: kube::config::KubeconfigError| {
            let cause = format!("The kubeconfig cannot be used: {error}.");
            let next = "Correct kubeconfig and context in the config: kubectl config get-contexts lists them.";
            WorkerError::new("read the kubeconfig", name.clone(), cause, next)
        };
        let file = match &found.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        }
        .map_err(unreadable)?;
        let context = found.context.clone().or_else(|| file.current_context.clone()).unwrap_or_default();
        let options = KubeConfigOptions { context: found.context.clone(), ..KubeConfigOptions::default() };
        let mut settings = kube::Config::from_custom_kubeconfig(file, &options).await.map_err(unreadable)?;
        settings.connect_timeout = Some(CONNECT);
        let server = settings.cluster_url.to_string();
        // The process has one TLS provider; that it is set already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = kube::Client::try_from(settings).map_err(|error| {
            let cause = format!("No client can be made from the kubeconfig: {error}.");
            let next = "Log in to the cluster again, or correct the kubeconfig.";
            WorkerError::new("read the kubeconfig", name.clone(), cause, next)
        })?;
        Ok(Self {
            client,
            context: if context.is_empty() { server.clone() } else { context },
            server,
            target: name,
            namespace: found.namespace.clone(),
            writers: found.writers.clone(),
            limit: config.http_timeout.unsigned_abs(),
        })
    }

    /// Its name in sentences.
    pub(super) fn place(&self) -> String {
        format!("{}, namespace {}", self.context, self.namespace)
    }

    pub(super) fn client(&self) -> kube::Client {
        self.client.clone()
    }

    pub(super) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The command line that reaches the same namespace.
    pub(super) fn kubectl(&self, rest: &str) -> String {
        format!("kubectl --context {} -n {} {rest}", self.context, self.namespace)
    }

    /// How long a wait goes on without sight of the cluster: three times as long as an answer may take, which is a minute as
    /// the config has it by itself.
    pub(super) fn patience(&self) -> Duration {
        self.limit * 3
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn ask<T>(
        &self,
        operation: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WorkerError> {
        bounded(self.limit, request).await.map_err(|error| self.fault(operation, &error))
    }

    /// What proves that it is the same cluster later: the uid of `kube-system` lives as long as the cluster does.
    /// Roles of one namespace often may not read it; the server's address must do then.
    pub(super) async fn identity(&self) -> Result<TargetIdentity, WorkerError> {
        let system: Api<Namespace> = Api::all(self.client.clone());
        let uid = match bounded(self.limit, system.get("kube-system")).await {
            Ok(system) => system.metadata.uid.unwrap_or_default(),
            Err(error) if matches!(code(&error), Some(403 | 404)) => "may not be read".to_owned(),
            Err(error) => return Err(self.fault("read the cluster's identity", &error)),
        };
        let proofs = BTreeMap::from([
            ("cluster uid".to_owned(), uid),
            ("server".to_owned(), self.server.clone()),
            ("context".to_owned(), self.context.clone()),
            ("namespace".to_owned(), self.namespace.clone()),
        ]);
        Ok(TargetIdentity { name: self.place(), proofs })
    }
}

/// The same with an end: no answer becomes an error as of a broken connection.
pub(super) async fn bounded<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer within {} s", limit.as_secs_f64()).into())),
    }
}
