//! Starting writes: every writer gets its count back, proved by its pods being available.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;

use crate::config::Config;
use crate::incident::{Fact, Finding, Plan, Replicas, TargetIdentity};
use crate::runbook::{StepId, TargetRef};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::cluster::Cluster;
use super::findings::{Autoscalers, by_whom};
use super::follow::{Follow, Which};
use super::pods::trouble;
use super::remember::{planned_before, stopped_by};
use super::scale::{Set, Writer};
use super::stop::{Basis, ask_count};

/// Gives every writer the count back that it had before the stop, and waits until it is available.
#[derive(Debug)]
pub struct StartWrites {
    /// The step that stopped them.
    pub from: StepId,
}

/// Without `progressDeadlineSeconds` this is what Kubernetes takes.
const DEADLINE: u64 = 600;
/// How long a probe waits for pods that are on their way up.
const PROBE_PATIENCE: Duration = Duration::from_secs(45);

/// What to bring back: remembered, or asked for where the incident lost it.
struct Wanted {
    cluster: Cluster,
    replicas: Vec<Replicas>,
    /// The counts are known.
    known: bool,
}

impl StartWrites {
    async fn wanted(&self, cx: &Context) -> Result<Wanted, WorkerError> {
        let known = stopped_by(&cx.knowledge, &self.from).or_else(|| planned_before(&cx.knowledge));
        let fault = |cause: &str| {
            let next = "Scale the writers by hand, then mark this step as done by hand (m).";
            WorkerError::new("find the counts to return to", self.from.to_string(), cause, next)
        };
        if let Some(replicas) = known.filter(|replicas| !replicas.is_empty()) {
            let target = replicas.first().map(|first| first.target.clone()).unwrap_or_default();
            let target: TargetRef = target.parse().map_err(|_| fault("The remembered target has no readable name."))?;
            return Ok(Wanted { cluster: Cluster::open(&cx.config, &target).await?, replicas, known: true });
        }
        let target = only_cluster(&cx.config).ok_or_else(|| {
            fault("The stopping step left no counts, and the config has more than one cluster to look at.")
        })?;
        let cluster = Cluster::open(&cx.config, &target).await?;
        let back = |deployment: &String| Replicas {
            target: cluster.target.clone(),
            namespace: cluster.namespace.clone(),
            deployment: deployment.clone(),
            count: 0,
        };
        let replicas = cluster.writers.iter().map(back).collect();
        Ok(Wanted { cluster, replicas, known: false })
    }
}

fn only_cluster(config: &Config) -> Option<TargetRef> {
    let mut names = config.kubernetes.keys();
    let only = names.next()?;
    names.next().is_none().then(|| TargetRef::Kubernetes(only.clone()))
}

/// The count that the deployment must reach: an autoscaler goes on from at least its least one.
fn goal(writer: &Writer) -> u32 {
    match writer.autoscaled {
        Some(least) if writer.count > 0 => writer.count.max(least),
        _ => writer.count,
    }
}

/// The count that must be available: an autoscaler may go down to its least one at once.
fn enough(writer: &Writer) -> u32 {
    writer.autoscaled.map_or(writer.count, |least| least.min(goal(writer)))
}

#[async_trait]
impl Worker for StartWrites {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        self.wanted(cx).await?.cluster.identity().await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let Wanted { cluster, replicas, known } = self.wanted(cx).await?;
        let mut plan = Plan::new(cx.step.clone(), cluster.identity().await?);
        plan.type_name = Some(cluster.context.clone());
        let autoscalers = Autoscalers::of(&cluster).await?;
        let mut writers = Vec::new();
        for Replicas { deployment, count, .. } in &replicas {
            let scale = cluster.scale(deployment).await?;
            let mut count = *count;
            if !known {
                count = scale.replicas;
                if scale.replicas == 0 {
                    let (ask, said) = ask_count(cx, deployment);
                    plan.asks.push(ask);
                    count = said.unwrap_or(0);
                }
            }
            let writer = Writer {
                deployment: deployment.clone(),
                uid: scale.uid,
                selector: scale.selector,
                now: scale.replicas,
                count,
                autoscaled: autoscalers.least(deployment),
            };
            let goal = goal(&writer);
            plan.effects.push(if scale.replicas >= goal {
                format!(
                    "Leaves {deployment} at {} (it is to be at {goal}) and waits until it is available",
                    scale.replicas
                )
            } else {
                format!("Scales {deployment} from {} to {goal} and waits until it is available", scale.replicas)
            });
            plan.commands.push(cluster.kubectl(&format!("scale deployment/{deployment} --replicas={goal}")));
            plan.commands.push(cluster.kubectl(&format!("rollout status deployment/{deployment}")));
            writers.push(writer);
        }
        plan.undo = String::from("Stop writes again");
        let basis = Basis { target: cluster.target.clone(), namespace: cluster.namespace.clone(), writers };
        plan.basis = serde_json::to_value(basis).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let cluster = self.wanted(cx).await?.cluster;
        let mut findings = Vec::new();
        for writer in &Basis::read(plan)?.writers {
            if let Err(error) = cluster.try_scale(&writer.deployment, goal(writer)).await {
                findings.push(Finding::blocking(error.to_string()));
            }
        }
        if findings.is_empty() {
            findings.push(Finding::good("The scaling was tried without making it (dry run): it is admitted."));
        }
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let cluster = self.wanted(cx).await?.cluster;
        let basis = Basis::read(plan)?;
        for (place, writer) in basis.writers.iter().enumerate() {
            if io.cancel.is_cancelled() {
                let done: Vec<&str> =
                    basis.writers.iter().take(place).map(|writer| writer.deployment.as_str()).collect();
                return Ok(Ran::Stopped(format!(
                    "scaled up so far: {}",
                    if done.is_empty() { "none".to_owned() } else { done.join(", ") }
                )));
            }
            up(&cluster, writer, io).await?;
        }
        let waits = basis.writers.iter().map(|writer| cluster.wait_until_available(writer, Some(io)));
        tokio::select! {
            up = try_join_all(waits) => { up?; }
            () = io.cancel.cancelled() => {
                return Ok(Ran::Stopped("the writers have their counts back, but not all of them were available yet".to_owned()));
            }
        }
        let done = done(&basis);
        for line in &done.evidence {
            io.line(line);
        }
        Ok(Ran::Done(done))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let cluster = self.wanted(cx).await?.cluster;
        let basis = Basis::read(plan)?;
        for writer in &basis.writers {
            let now = cluster.scale(&writer.deployment).await?;
            if now.replicas < enough(writer) {
                return Ok(Probe::DidNot(format!(
                    "{} is at {}, not at {}",
                    writer.deployment,
                    now.replicas,
                    goal(writer)
                )));
            }
        }
        let waits = try_join_all(basis.writers.iter().map(|writer| cluster.wait_until_available(writer, None)));
        match tokio::time::timeout(PROBE_PATIENCE, waits).await {
            Ok(Ok(_)) => Ok(Probe::Happened(done(&basis))),
            Ok(Err(error)) => Ok(Probe::Unknown(error.to_string())),
            Err(_) => {
                Ok(Probe::Unknown("the writers have their counts back, and not all are available yet".to_owned()))
            }
        }
    }
}

fn done(basis: &Basis) -> Done {
    let at = Timestamp::now();
    let counts: Vec<String> =
        basis.writers.iter().map(|writer| format!("{} 0→{}", writer.deployment, goal(writer))).collect();
    let line = format!("{}; available at {}", counts.join(", "), at.strftime("%H:%M:%SZ"));
    Done { evidence: vec![line], facts: vec![Fact::WritesStarted { at }] }
}

async fn up(cluster: &Cluster, writer: &Writer, io: &Io) -> Result<(), WorkerError> {
    let (deployment, goal) = (&writer.deployment, goal(writer));
    let now = cluster.scale(deployment).await?.replicas;
    if now >= goal {
        io.line(format!("{deployment} is at {now} already"));
        return Ok(());
    }
    match cluster.set_scale(deployment, now, goal).await? {
        Set::Done => {
            io.line(format!("{deployment} is scaled from {now} to {goal}"));
            Ok(())
        }
        Set::Drifted(other) => Err(WorkerError::new(
            format!("scale deployment {deployment} to {goal}"),
            cluster.place(),
            format!("Somebody set it to {other} at the same moment."),
            "Find out who scales it, then retry (r).",
        )),
    }
}

impl Cluster {
    /// Waits until a deployment is rolled out and enough of it is available. Safe to drop.
    ///
    /// # Errors
    /// It makes no progress for as long as its own deadline says, or somebody scales it down.
    async fn wait_until_available(&self, writer: &Writer, io: Option<&Io>) -> Result<(), WorkerError> {
        let deployment = &writer.deployment;
        let operation = format!("wait until deployment {deployment} is available");
        let fault = |error: kube::Error| self.fault(&operation, &error);
        let mut owner = Follow::begin(self.deployments(), Which::named(deployment), self.limit).await.map_err(fault)?;
        let mut pods =
            Follow::begin(self.pods(), Which::labelled(&writer.selector), self.limit).await.map_err(fault)?;
        let mut told = BTreeSet::new();
        let mut best = -1;
        let mut deadline = None;
        loop {
            let Some(now) = owner.now().next() else {
                let cause = "Somebody deleted the deployment meanwhile.";
                return Err(WorkerError::new(operation, self.place(), cause, "Deploy it again, then retry (r)."));
            };
            let state = Rollout::of(now);
            if state.wanted < enough(writer) {
                let cause = format!("It was scaled to {} by {} meanwhile.", state.wanted, by_whom(&now.metadata));
                return Err(WorkerError::new(
                    operation,
                    self.place(),
                    cause,
                    "Find out who scales it, then retry (r).",
                ));
            }
            if let Some(io) = io {
                let label = format!("{deployment} available");
                io.progress(label, u64::try_from(state.available).unwrap_or(0), Some(u64::from(state.wanted)), "pods");
            }
            if state.complete(enough(writer)) {
                return Ok(());
            }
            let reasons: Vec<String> = pods.now().filter_map(trouble).collect();
            for reason in &reasons {
                if told.insert(reason.clone())
                    && let Some(io) = io
                {
                    io.line(reason);
                }
            }
            // Every pod more is progress, and the deadline runs anew.
            if state.available > best || deadline.is_none() {
                best = state.available;
                deadline = Some(tokio::time::Instant::now() + state.patience);
            }
            let overdue = deadline.is_some_and(|deadline| deadline <= tokio::time::Instant::now());
            if overdue || state.given_up {
                return Err(self.stuck(&operation, &state, &reasons));
            }
            tokio::select! {
                changed = owner.changed(self.patience()) => changed.map_err(fault)?,
                changed = pods.changed(self.patience()) => changed.map_err(fault)?,
                () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)) => {}
            }
        }
    }

    fn stuck(&self, operation: &str, state: &Rollout, reasons: &[String]) -> WorkerError {
        let why = if reasons.is_empty() { "Kubernetes gives no reason".to_owned() } else { reasons.join("; ") };
        let cause = format!(
            "It made no progress for {} s: {} of {} pods are available. {why}.",
            state.patience.as_secs(),
            state.available,
            state.wanted
        );
        let next = "Mend the cause (kubectl describe, kubectl logs), then retry (r); the counts are set already.";
        WorkerError::new(operation, self.place(), cause, next)
    }
}

/// How far a deployment is, as `kubectl rollout status` reads it.
#[derive(Debug)]
struct Rollout {
    wanted: u32,
    available: i32,
    updated: i32,
    replicas: i32,
    observed: bool,
    given_up: bool,
    patience: Duration,
}

impl Rollout {
    fn of(deployment: &Deployment) -> Self {
        let spec = &deployment.spec;
        let status = deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().flatten();
        let given_up = conditions
            .filter(|condition| condition.type_.as_deref() == Some("Progressing"))
            .any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"));
        let observed = status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0);
        let seconds = spec.progress_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            wanted: spec.replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            available: status.available_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            replicas: status.replicas.unwrap_or(0),
            observed,
            // What is said of an older generation is not about this roll-out.
            given_up: given_up && observed,
            patience: Duration::from_secs(seconds.unwrap_or(DEADLINE)),
        }
    }

    fn complete(&self, enough: u32) -> bool {
        let wanted = i32::try_from(enough).unwrap_or(i32::MAX);
        self.observed && self.updated >= wanted && self.replicas <= self.updated && self.available >= wanted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(generation: i64, counts: [i32; 3]) -> Rollout {
        let [replicas, updated, available] = counts;
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": { "generation": generation },
            "spec": { "replicas": 3, "selector": {}, "template": {} },
            "status": { "observedGeneration": 4, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available },
        }))
        .unwrap();
        Rollout::of(&deployment)
    }

    #[test]
    fn a_rollout_is_complete_when_every_number_says_so() {
        assert!(rollout(4, [3, 3, 3]).complete(3));
        // The controller has not seen the change, pods of an older template are left, or some are not up.
        assert!(!rollout(5, [3, 3, 3]).complete(3));
        assert!(!rollout(4, [4, 3, 3]).complete(3));
        assert!(!rollout(4, [3, 3, 2]).complete(3));
        assert!(!rollout(4, [3, 2, 3]).complete(3));
    }

    #[test]
    fn an_autoscaler_takes_part_in_the_count() {
        let writer = |count, autoscaled| Writer {
            deployment: String::new(),
            uid: String::new(),
            selector: String::new(),
            now: 0,
            count,
            autoscaled,
        };
        for (count, least, up, waits) in [(3, None, 3, 3), (2, Some(4), 4, 4), (6, Some(4), 6, 4), (0, Some(4), 0, 0)] {
            let writer = writer(count, least);
            assert_eq!((goal(&writer), enough(&writer)), (up, waits), "{count} {least:?}");
        }
    }
}
