//! Recording who agreed to lose what the chosen snapshot loses.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::incident::{Ask, AskKind, Fact, Finding, ObjectRef, Plan, TargetIdentity, clock, duration_text, loss};
use crate::runbook::StepId;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

/// Some more time passes until writes are stopped; an agreement to the minute would be void at once.
const MARGIN: SignedDuration = SignedDuration::from_mins(30);

/// Asks who agreed, where it was said, and up to which loss.
#[derive(Debug)]
pub struct RecordAgreement {
    /// The choosing step.
    pub snapshot: StepId,
    /// Whose word is needed.
    pub with: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    object: ObjectRef,
    ceiling_seconds: i64,
}

impl RecordAgreement {
    fn chosen(&self, cx: &Context) -> Result<(ObjectRef, Timestamp), WorkerError> {
        let chosen = cx.knowledge.facts_of(&self.snapshot).find_map(|fact| match fact {
            Fact::Snapshot { object, taken_at } => Some((object.clone(), *taken_at)),
            _ => None,
        });
        chosen.ok_or_else(|| {
            WorkerError::new(
                "record the agreement",
                self.with.clone(),
                format!("No snapshot was chosen by `{}`, so there is nothing to agree to.", self.snapshot),
                "Choose one first; a choice made by hand is not known to relight.",
            )
        })
    }
}

fn identity(object: &ObjectRef) -> TargetIdentity {
    let mut identity = TargetIdentity { name: format!("s3://{}/{}", object.bucket, object.key), ..Default::default() };
    identity.proofs.insert("etag".to_owned(), object.etag.clone());
    if let Some(version) = &object.version_id {
        identity.proofs.insert("version".to_owned(), version.clone());
    }
    identity
}

#[async_trait]
impl Worker for RecordAgreement {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(identity(&self.chosen(cx)?.0))
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let (object, taken_at) = self.chosen(cx)?;
        let known = &cx.knowledge;
        let lost = loss(taken_at, known.writes_stopped_at, known.now);
        let mut plan = Plan::new(cx.step.clone(), identity(&object));
        let answer = |name: &str| cx.inputs.get(name).cloned().unwrap_or_default();
        let mut up_to = answer("up_to");
        if up_to.trim().is_empty() {
            up_to = short(round_up(lost + MARGIN));
        }
        let ask = |name: &str, label: String, value: String| Ask {
            name: name.to_owned(),
            label,
            kind: AskKind::Line,
            value,
            required: true,
            offered: false,
        };
        plan.asks = vec![
            ask("who", format!("Who in {} agrees? (name)", self.with), answer("who")),
            ask("place", "Where was it said? (call, channel, message link)".to_owned(), answer("place")),
            ask("up_to", "Up to which loss? (3h 30m)".to_owned(), up_to.clone()),
        ];
        match up_to.trim().parse::<SignedDuration>() {
            Ok(ceiling) if ceiling < lost => plan.findings.push(Finding::blocking(format!(
                "{} would be lost already, more than the {} agreed to.",
                duration_text(lost),
                duration_text(ceiling)
            ))),
            Ok(ceiling) => {
                plan.effects.push(format!(
                    "Records that {} agrees to go back to {} and to lose up to {} of writes ({} now)",
                    if answer("who").is_empty() { self.with.clone() } else { answer("who") },
                    clock(taken_at),
                    duration_text(ceiling),
                    duration_text(lost)
                ));
                let basis = Basis { object, ceiling_seconds: ceiling.as_secs() };
                plan.basis = serde_json::to_value(basis).unwrap_or_default();
            }
            Err(_) => plan.findings.push(Finding::blocking(format!("`{up_to}` is no duration: write 3h 30m."))),
        }
        plan.effects
            .push("It is void when another snapshot is chosen, or when more than that would be lost".to_owned());
        plan.undo = String::from("Retry (r) asks again.");
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = serde_json::from_value(plan.basis.clone()).map_err(|error| {
            WorkerError::new("read the plan", "relight", format!("It cannot be read: {error}."), "Prepare it again.")
        })?;
        let answer = |name: &str| cx.inputs.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
        let (who, place) = (answer("who"), answer("place"));
        let up_to = duration_text(SignedDuration::from_secs(basis.ceiling_seconds));
        let line = format!("{who} ({}) agrees to lose up to {up_to}, said in {place}", self.with);
        io.line(&line);
        let fact = Fact::Agreement {
            who,
            place,
            at: cx.knowledge.now,
            object: basis.object,
            loses_seconds: basis.ceiling_seconds,
        };
        Ok(Ran::Done(Done { evidence: vec![line], facts: vec![fact] }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it was not recorded; record it again".to_owned()))
    }
}

/// Up to the next half hour, as people say it.
fn round_up(duration: SignedDuration) -> SignedDuration {
    let half_hour = 1800;
    let seconds = duration.as_secs().max(0);
    SignedDuration::from_secs((seconds + half_hour - 1) / half_hour * half_hour)
}

/// `3h 30m`: whole minutes, in the form that is read back.
fn short(duration: SignedDuration) -> String {
    let minutes = duration.as_mins();
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h {minutes}m"),
    }
}
