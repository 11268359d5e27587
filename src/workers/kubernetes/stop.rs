//! Stopping writes: every writer to zero, proved by its pods being gone, and watched from then on.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::incident::{Ask, AskKind, Fact, Finding, Plan, Replicas, TargetIdentity};
use crate::runbook::TargetRef;
use crate::workers::{Cancel, Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::cluster::Cluster;
use super::error::words;
use super::findings::{Autoscalers, by_whom, owners};
use super::follow::{Follow, Which};
use super::pods::Left;
use super::remember::remembered;
use super::scale::{Set, Writer};

/// Scales every configured writer of a cluster to zero and waits until no pod of theirs is left.
#[derive(Debug)]
pub struct StopWrites {
    /// The cluster.
    pub cluster: TargetRef,
}

/// How long a probe waits for pods that are on their way out.
const PROBE_PATIENCE: Duration = Duration::from_secs(45);
/// After this long without sight the watch says that it is blind.
const BLIND: Duration = Duration::from_secs(10);

/// What the plan found. `remember` reads it again in later attempts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Basis {
    pub(super) target: String,
    pub(super) namespace: String,
    pub(super) writers: Vec<Writer>,
}

impl Basis {
    pub(super) fn read(plan: &Plan) -> Result<Self, WorkerError> {
        serde_json::from_value(plan.basis.clone()).map_err(|error| {
            let cause = format!("The approved plan cannot be read: {error}.");
            WorkerError::new("read the plan", "relight", cause, "Prepare the step again.")
        })
    }

    /// The facts that a success leaves.
    fn done(&self, at: Timestamp) -> Done {
        let counts: Vec<String> =
            self.writers.iter().map(|writer| format!("{} {}→0", writer.deployment, writer.count)).collect();
        let line = format!("{}; no pod of them is left at {}", counts.join(", "), at.strftime("%H:%M:%SZ"));
        let replicas = self
            .writers
            .iter()
            .map(|writer| Replicas {
                target: self.target.clone(),
                namespace: self.namespace.clone(),
                deployment: writer.deployment.clone(),
                count: writer.count,
            })
            .collect();
        Done { evidence: vec![line], facts: vec![Fact::WritesStopped { at, replicas }] }
    }
}

/// The question for a count that nobody remembers; `None` for the count where it is not answered.
pub(super) fn ask_count(cx: &Context, deployment: &str) -> (Ask, Option<u32>) {
    let name = format!("count.{deployment}");
    let value = cx.inputs.get(&name).cloned().unwrap_or_default();
    let count = value.trim().parse().ok();
    let label =
        format!("{deployment} is at 0 already, and nobody remembers its count. What is the count to return to?");
    (Ask { name, label, kind: AskKind::Count, value, required: true, offered: false }, count)
}

#[async_trait]
impl Worker for StopWrites {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Cluster::open(&cx.config, &self.cluster).await?.identity().await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let cluster = Cluster::open(&cx.config, &self.cluster).await?;
        let mut plan = Plan::new(cx.step.clone(), cluster.identity().await?);
        plan.type_name = Some(cluster.context.clone());
        if cluster.writers.is_empty() {
            plan.findings.push(Finding::blocking(format!("{} has no writers in the config.", cluster.target)));
        }
        let autoscalers = Autoscalers::of(&cluster).await?;
        plan.findings.extend(autoscalers.findings(&cluster.writers));
        let mut writers = Vec::new();
        for deployment in &cluster.writers {
            let scale = cluster.scale(deployment).await?;
            let operation = format!("read deployment {deployment}");
            let found = cluster.ask(&operation, cluster.deployments().get(deployment)).await?;
            plan.findings.extend(owners(deployment, &found.metadata));
            let count = match scale.replicas {
                0 => remembered(&cx.knowledge, &cluster.target, &cluster.namespace, deployment),
                now => Some(now),
            };
            let count = count.or_else(|| {
                let (ask, count) = ask_count(cx, deployment);
                if count.is_none() && !ask.value.trim().is_empty() {
                    plan.findings.push(Finding::blocking(format!("`{}` is no count for {deployment}.", ask.value)));
                }
                plan.asks.push(ask);
                count
            });
            let back = count.map_or_else(|| "the count that you say".to_owned(), |count| count.to_string());
            plan.effects.push(match scale.replicas {
                0 => format!(
                    "Waits until no pod of {deployment} is left; it is at 0 already and returns to {back} later"
                ),
                now => format!("Scales {deployment} from {now} to 0, remembers {back}, waits until its pods are gone"),
            });
            plan.commands.push(cluster.kubectl(&format!("scale deployment/{deployment} --replicas=0")));
            plan.commands.push(cluster.kubectl(&format!("wait --for=delete pod -l {} --timeout=10m", scale.selector)));
            writers.push(Writer {
                deployment: deployment.clone(),
                uid: scale.uid,
                selector: scale.selector,
                now: scale.replicas,
                count: count.unwrap_or(0),
                autoscaled: autoscalers.least(deployment),
            });
        }
        plan.effects
            .push("Watches their counts from then on and raises an alarm when somebody scales them up".to_owned());
        plan.undo = String::from("Start writes: every writer gets its count back");
        let basis = Basis { target: cluster.target.clone(), namespace: cluster.namespace.clone(), writers };
        plan.basis = serde_json::to_value(basis).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let cluster = Cluster::open(&cx.config, &self.cluster).await?;
        let basis = Basis::read(plan)?;
        let mut findings = Vec::new();
        let missing = cluster.missing_rights().await?;
        if !missing.is_empty() {
            return Ok(vec![Finding::blocking(format!("These credentials may not: {}.", missing.join("; ")))]);
        }
        for writer in &basis.writers {
            let now = cluster.scale(&writer.deployment).await?;
            if now.uid != writer.uid {
                findings.push(Finding::blocking(format!("{} was made anew since it was planned.", writer.deployment)));
            } else if now.replicas != writer.now && now.replicas != 0 && writer.autoscaled.is_none() {
                findings.push(Finding::blocking(format!(
                    "{} was at {} when it was planned and is at {} now: prepare the step again.",
                    writer.deployment, writer.now, now.replicas
                )));
            }
            if let Err(error) = cluster.try_scale(&writer.deployment, 0).await {
                findings.push(Finding::blocking(format!("{error}")));
            }
        }
        if findings.is_empty() {
            findings.push(Finding::good("The scaling was tried without making it (dry run): it is admitted."));
        }
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let cluster = Cluster::open(&cx.config, &self.cluster).await?;
        let mut basis = Basis::read(plan)?;
        for place in 0..basis.writers.len() {
            if io.cancel.is_cancelled() {
                return Ok(Ran::Stopped(standing(&basis, place)));
            }
            let Some(writer) = basis.writers.get_mut(place) else {
                break;
            };
            if let Err(mut error) = to_zero(&cluster, writer, io).await {
                error.cause = format!("{} Until then: {}.", error.cause, standing(&basis, place));
                return Err(error);
            }
        }
        let left = Left::new(Some(io));
        let waits = basis.writers.iter().map(|writer| cluster.wait_until_gone(writer, &left));
        tokio::select! {
            gone = try_join_all(waits) => {
                gone.map_err(|error| error.unproved("The writers are at 0"))?;
            }
            () = io.cancel.cancelled() => {
                let living = left.words().unwrap_or_else(|| "some pods may be left".to_owned());
                return Ok(Ran::Stopped(format!("the writers are at 0, but {living} may still write; nothing waits for them now")));
            }
        }
        let done = basis.done(Timestamp::now());
        for line in &done.evidence {
            io.line(line);
        }
        Ok(Ran::Done(done))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let cluster = Cluster::open(&cx.config, &self.cluster).await?;
        let basis = Basis::read(plan)?;
        for writer in &basis.writers {
            let now = cluster.scale(&writer.deployment).await?;
            if now.replicas != 0 {
                return Ok(Probe::DidNot(format!("{} is at {}, not at 0", writer.deployment, now.replicas)));
            }
        }
        let left = Left::new(None);
        let waits = try_join_all(basis.writers.iter().map(|writer| cluster.wait_until_gone(writer, &left)));
        match tokio::time::timeout(PROBE_PATIENCE, waits).await {
            Ok(Ok(_)) => Ok(Probe::Happened(basis.done(Timestamp::now()))),
            Ok(Err(error)) => Ok(Probe::Unknown(error.to_string())),
            Err(_) => {
                let living = left.words().unwrap_or_else(|| "pods".to_owned());
                Ok(Probe::Unknown(format!("the writers are at 0, and {living} have not ended yet")))
            }
        }
    }

    async fn watch(&self, cx: &Context, plan: &Plan, alarm: &(dyn Fn(String) + Send + Sync), cancel: Cancel) {
        let watched = async {
            let cluster = Cluster::open(&cx.config, &self.cluster).await?;
            let basis = Basis::read(plan)?;
            join_all(basis.writers.iter().map(|writer| guard(&cluster, &writer.deployment, alarm))).await;
            Ok::<(), WorkerError>(())
        };
        tokio::select! {
            watched = watched => {
                if let Err(error) = watched {
                    alarm(format!("Nobody watches whether the writers stay at 0: {error}"));
                }
                cancel.cancelled().await;
            }
            () = cancel.cancelled() => {}
        }
    }
}

/// What a stop before the waiting leaves.
fn standing(basis: &Basis, scaled: usize) -> String {
    let name = |writers: &[Writer]| {
        let names: Vec<&str> = writers.iter().map(|writer| writer.deployment.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let (done, rest) = basis.writers.split_at(scaled.min(basis.writers.len()));
    format!("scaled to 0: {}; untouched: {}", name(done), name(rest))
}

async fn to_zero(cluster: &Cluster, writer: &mut Writer, io: &Io) -> Result<(), WorkerError> {
    let deployment = writer.deployment.clone();
    let mut from = cluster.scale(&deployment).await?.replicas;
    if writer.autoscaled.is_some() && from > 0 {
        // Its count moves all the time; what it is at this moment is what it returns to.
        writer.count = from;
    } else if from != 0 {
        from = writer.now;
    }
    match cluster.set_scale(&deployment, from, 0).await? {
        Set::Done => {
            io.line(format!("{deployment} is scaled from {from} to 0; it returns to {} later", writer.count));
            Ok(())
        }
        Set::Drifted(now) => Err(WorkerError::new(
            format!("scale deployment {deployment} to 0"),
            cluster.place(),
            format!("It was at {} when the plan was approved, and somebody set it to {now} since.", writer.now),
            "Find out who scales it, then prepare the step again: the plan shows the new count.",
        )),
    }
}

/// Follows one writer's count for ever, and tells of every change away from zero.
async fn guard(cluster: &Cluster, deployment: &str, alarm: &(dyn Fn(String) + Send + Sync)) {
    let mut last = 0;
    let mut blind = false;
    loop {
        let follow = Follow::begin(cluster.deployments(), Which::named(deployment), cluster.limit).await;
        let fault = match follow {
            Ok(mut follow) => loop {
                blind = false;
                match follow.now().next() {
                    Some(found) => {
                        let now = found.spec.replicas.unwrap_or(1);
                        if now != last && now > 0 {
                            alarm(format!(
                                "{deployment} was scaled to {now} by {}; writes may reach the database",
                                by_whom(&found.metadata)
                            ));
                        }
                        last = now;
                    }
                    None if last >= 0 => {
                        alarm(format!("{deployment} was deleted; whether its writers stay away is not known"));
                        last = -1;
                    }
                    None => {}
                }
                if let Err(error) = follow.changed(BLIND).await {
                    break error;
                }
            },
            Err(error) => error,
        };
        if !blind {
            alarm(format!("whether {deployment} stays at 0 cannot be seen at the moment: {}", words(&fault)));
            blind = true;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
