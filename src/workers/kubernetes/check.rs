//! Proving that the writers are there and that they may be scaled.

use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use crate::incident::{Finding, Plan, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::cluster::Cluster;

/// Asks for the rights that stopping and starting writes take, and reads every writer. Changes nothing.
#[derive(Debug)]
pub struct CheckKubernetes {
    /// The cluster.
    pub target: TargetRef,
}

/// Verb, group, resource, subresource.
type Right = (&'static str, &'static str, &'static str, Option<&'static str>);

/// Rights on each writer. A right on deployments does not include their scale, nor the other way round.
const ON_WRITERS: [Right; 2] =
    [("get", "apps", "deployments", Some("scale")), ("patch", "apps", "deployments", Some("scale"))];
/// Rights on everything of the namespace.
const ON_NAMESPACE: [Right; 4] = [
    ("list", "", "pods", None),
    ("watch", "", "pods", None),
    ("list", "apps", "deployments", None),
    ("watch", "apps", "deployments", None),
];

impl Cluster {
    /// Whether these credentials may do it; the right's name where they may not.
    async fn lacks(&self, right: Right, name: Option<&str>) -> Result<Option<String>, WorkerError> {
        let (verb, group, resource, subresource) = right;
        let attributes = ResourceAttributes {
            // An empty namespace would ask for all of them.
            namespace: Some(self.namespace.clone()),
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client());
        let answer = self.ask("ask for our rights", api.create(&PostParams::default(), &review)).await?;
        // Neither allowed nor denied means that no rule speaks of it, which is not allowed either.
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let whole = subresource.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
        let of = name.map(|name| format!(" of {name}")).unwrap_or_default();
        Ok((!allowed).then(|| format!("{verb} {whole}{of}")))
    }

    /// The rights that are missing, in words.
    pub(super) async fn missing_rights(&self) -> Result<Vec<String>, WorkerError> {
        let mut missing = Vec::new();
        for right in ON_NAMESPACE {
            missing.extend(self.lacks(right, None).await?);
        }
        for writer in &self.writers {
            for right in ON_WRITERS {
                missing.extend(self.lacks(right, Some(writer)).await?);
            }
        }
        Ok(missing)
    }

    /// The command that gives the missing rights.
    pub(super) fn no_rights(&self, missing: &[String]) -> WorkerError {
        WorkerError::new(
            "check the rights",
            self.place(),
            format!("These credentials may not: {}.", missing.join("; ")),
            "Ask for a role with get and patch on deployments/scale, and list and watch on deployments and pods, then retry (r).",
        )
    }
}

#[async_trait]
impl Worker for CheckKubernetes {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Cluster::open(&cx.config, &self.target).await?.identity().await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let cluster = Cluster::open(&cx.config, &self.target).await?;
        let mut plan = Plan::new(cx.step.clone(), cluster.identity().await?);
        plan.effects = vec![format!(
            "Asks whether these credentials may scale {} and follow their pods, and reads them; changes nothing",
            cluster.writers.join(", ")
        )];
        plan.commands = cluster
            .writers
            .iter()
            .map(|name| cluster.kubectl(&format!("auth can-i patch deployments/{name} --subresource=scale")))
            .collect();
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let cluster = Cluster::open(&cx.config, &self.target).await?;
        let version = cluster.ask("read the cluster's version", cluster.client().apiserver_version()).await?;
        let missing = cluster.missing_rights().await?;
        if !missing.is_empty() {
            return Err(cluster.no_rights(&missing));
        }
        let mut counts = Vec::new();
        for writer in &cluster.writers {
            let scale = cluster.scale(writer).await?;
            counts.push(format!("{writer} at {}", scale.replicas));
        }
        let evidence = vec![
            format!(
                "Kubernetes {} in {} answers; writers: {}",
                version.git_version,
                cluster.place(),
                counts.join(", ")
            ),
            "may get and patch their scale, and list and watch deployments and pods".to_owned(),
        ];
        for line in &evidence {
            io.line(line);
        }
        Ok(Ran::Done(Done { evidence, facts: Vec::new() }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only reads".to_owned()))
    }
}
