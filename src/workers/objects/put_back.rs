//! Taking a rehydration back: what it overwrote gets its former content again.

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::incident::{Fact, Finding, KeptObject, Plan, TargetIdentity};
use crate::runbook::StepId;
use crate::workers::s3::{Guard, Place};
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::rehydrate::few;
use super::restore::equal;

/// Objects that are looked at at once.
const AT_ONCE: usize = 8;

/// Puts back the objects that a rehydrating step overwrote.
#[derive(Debug)]
pub struct PutBackObjects {
    /// The rehydrating step.
    pub from: StepId,
}

/// The objects that are put back.
#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    kept: Vec<KeptObject>,
}

/// How one overwritten object stands.
enum Standing {
    /// It holds what the rehydration wrote.
    Ours,
    /// It holds its former content.
    Back,
    /// Somebody wrote or deleted it since.
    Theirs,
}

struct Kept {
    to: Place,
    overwritten: Vec<KeptObject>,
    created: Vec<String>,
}

impl PutBackObjects {
    async fn known(&self, cx: &Context) -> Result<Kept, WorkerError> {
        // Undoing the step takes its success away before this runs, so the newest fact counts, standing or not.
        let fact =
            cx.knowledge.facts.iter().rev().filter(|known| known.step == self.from).find_map(|known| {
                match &known.fact {
                    Fact::ObjectsKept { target, kept, created } => Some((target, kept, created)),
                    _ => None,
                }
            });
        let fault = |cause: String| {
            let next = "There is nothing to put back; where objects were copied by hand, put them back by hand (m).";
            WorkerError::new("put objects back", self.from.to_string(), cause, next)
        };
        let (target, kept, created) = fact
            .ok_or_else(|| fault(format!("No attempt of `{}` finished, so nothing is known to be kept.", self.from)))?;
        let target = target.parse().map_err(|error| fault(format!("{error}.")))?;
        Ok(Kept { to: Place::open(&cx.config, &target).await?, overwritten: kept.clone(), created: created.clone() })
    }
}

async fn standing(to: &Place, object: &KeptObject) -> Result<Standing, WorkerError> {
    let Some(live) = to.head(&object.key, None).await? else {
        return Ok(Standing::Theirs);
    };
    // Former content and restored content differ, or the object would not have been restored.
    if live.etag == object.restored_etag {
        return Ok(Standing::Ours);
    }
    Ok(if equal(to, &live, to, &object.kept).await? { Standing::Back } else { Standing::Theirs })
}

fn basis(plan: &Plan) -> Result<Basis, WorkerError> {
    serde_json::from_value(plan.basis.clone()).map_err(|error| {
        let cause = format!("The approved plan cannot be read: {error}.");
        WorkerError::new("read the plan", "relight", cause, "Prepare the step again.")
    })
}

#[async_trait]
impl Worker for PutBackObjects {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(self.known(cx).await?.to.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let known = self.known(cx).await?;
        let mut plan = Plan::new(cx.step.clone(), known.to.identity());
        let (mut ours, mut theirs, mut back) = (Vec::new(), Vec::new(), 0_usize);
        let to = &known.to;
        let looks = known.overwritten.into_iter().map(|object| async move {
            let standing = standing(to, &object).await?;
            Ok::<_, WorkerError>((object, standing))
        });
        let mut seen: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
        seen.sort_by(|one, other| one.0.key.cmp(&other.0.key));
        for (object, standing) in seen {
            match standing {
                Standing::Ours => ours.push(object),
                Standing::Back => back += 1,
                Standing::Theirs => theirs.push(object.key),
            }
        }
        let names: Vec<String> = ours.iter().map(|object| object.key.clone()).collect();
        if names.is_empty() {
            plan.nothing_to_do = Some(format!(
                "None of the overwritten objects still holds what relight wrote ({back} hold their former content)."
            ));
        } else {
            plan.effects.push(format!("Gives {} objects their former content again: {}", names.len(), few(&names)));
        }
        if !known.created.is_empty() {
            plan.effects.push(format!(
                "Leaves {} objects that were created, since nothing is deleted: {}",
                known.created.len(),
                few(&known.created)
            ));
        }
        if !theirs.is_empty() {
            plan.findings.push(Finding::warning(format!(
                "{} objects were written or deleted by somebody else since, and are left as they are: {}.",
                theirs.len(),
                few(&theirs)
            )));
        }
        plan.commands = ours
            .iter()
            .take(3)
            .map(|object| {
                format!(
                    "aws s3api copy-object --bucket {} --key {} --copy-source {}/{}{}",
                    known.to.bucket(),
                    object.key,
                    object.kept.bucket,
                    object.kept.key,
                    object.kept.version_id.as_ref().map(|id| format!("?versionId={id}")).unwrap_or_default()
                )
            })
            .collect();
        plan.undo = String::from("Rehydrate again.");
        plan.basis = serde_json::to_value(Basis { kept: ours }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let to = self.known(cx).await?.to;
        let mut findings = Vec::new();
        if let Some(object) = basis(plan)?.kept.iter().find(|object| object.kept.size > 0)
            && let Err(error) = to.prefix_of(&object.kept, 1).await
        {
            findings.push(Finding::blocking(format!("The kept content cannot be read: {}", error.cause)));
        }
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let planned = basis(plan)?.kept;
        let to = self.known(cx).await?.to;
        let total = planned.len() as u64;
        let mut left = Vec::new();
        for (object, done) in planned.iter().zip(1_u64..) {
            if io.cancel.is_cancelled() {
                return Ok(Ran::Stopped(format!("{} of {total} objects were put back; retry (r) goes on.", done - 1)));
            }
            match standing(&to, object).await? {
                Standing::Back => {}
                Standing::Theirs => {
                    io.line(format!("left {}: somebody wrote it since the plan", object.key));
                    left.push(object.key.clone());
                }
                Standing::Ours => {
                    let written =
                        to.copy_when(&object.kept, &object.key, Some(Guard::Is(&object.restored_etag))).await?;
                    if !equal(&to, &written, &to, &object.kept).await? {
                        let cause = "It was written, and its content is not the one that was kept.";
                        let operation = format!("prove {}", object.key);
                        return Err(WorkerError::new(operation, to.url(), cause, "Prepare the step again."));
                    }
                    io.line(format!("put back {}", object.key));
                }
            }
            io.progress("objects", done, Some(total), "items");
        }
        if !left.is_empty() {
            return Err(WorkerError::new(
                "put objects back",
                to.url(),
                format!("{} objects were left, since somebody wrote them after the plan: {}.", left.len(), few(&left)),
                "Look at them, then prepare the step again.",
            ));
        }
        let line = format!("{total} objects in {} hold their former content again, each compared", to.url());
        io.line(&line);
        Ok(Ran::Done(Done { evidence: vec![line], facts: Vec::new() }))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let planned = basis(plan)?.kept;
        let to = self.known(cx).await?.to;
        let (mut back, mut ours) = (0_usize, 0_usize);
        for object in &planned {
            match standing(&to, object).await? {
                Standing::Back => back += 1,
                Standing::Ours => ours += 1,
                Standing::Theirs => {}
            }
        }
        if back == planned.len() {
            let line = format!("{back} objects in {} hold their former content again", to.url());
            return Ok(Probe::Happened(Done { evidence: vec![line], facts: Vec::new() }));
        }
        if ours == planned.len() {
            return Ok(Probe::DidNot("every object still holds what the rehydration wrote".to_owned()));
        }
        Ok(Probe::Broken(
            format!("{back} of {} objects are put back.", planned.len()),
            "Retry (r): it goes on with the others.".to_owned(),
        ))
    }
}
