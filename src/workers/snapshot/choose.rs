//! Choosing the snapshot to go back to.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::incident::{
    Ask, AskKind, Choice, Fact, Finding, Notice, ObjectRef, Plan, TargetIdentity, clock, duration_text, loss, read_time,
};
use crate::runbook::TargetRef;
use crate::snapshots::{Snapshot, Standing, Verdict, size_text};
use crate::workers::s3::Place;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::listing::{Judged, look, pin};

/// Asks the onset, proposes the newest dump from before it, and pins the one that is chosen.
#[derive(Debug)]
pub struct ChooseSnapshot {
    /// Where the dumps are.
    pub from: TargetRef,
    /// The database that they are of.
    pub database: TargetRef,
}

/// Dumps that the question offers: the plan goes into the journal. An older one is chosen in the pane of snapshots.
const CHOICES: usize = 200;

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    onset: Timestamp,
    object: ObjectRef,
    taken_at: Timestamp,
}

#[async_trait]
impl Worker for ChooseSnapshot {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(Place::open(&cx.config, &self.from).await?.identity())
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let known = &cx.knowledge;
        let mut findings = Vec::new();
        let mut said = cx.inputs.get("onset").cloned().unwrap_or_default();
        if said.trim().is_empty() {
            said = known.onset.map(|onset| onset.to_string()).unwrap_or_default();
        }
        let onset = if said.trim().is_empty() {
            None
        } else {
            match read_time(&said, known.now) {
                Ok(onset) if onset > known.now => {
                    findings.push(Finding::blocking(format!("The onset {} lies in the future.", clock(onset))));
                    None
                }
                Ok(onset) => Some(onset),
                Err(error) => {
                    findings.push(Finding::blocking(error.to_string()));
                    None
                }
            }
        };
        let wanted = cx.inputs.get("snapshot").map(String::as_str).filter(|key| !key.is_empty());
        let judged = look(&cx.config, &self.from, &self.database, onset, known.now, wanted).await?;
        let mut plan = Plan::new(cx.step.clone(), judged.place.identity());
        plan.findings = findings;
        plan.asks.push(Ask {
            name: "onset".to_owned(),
            label: "When did the damage begin? (08:48, 2026-11-23T08:48Z, 40m ago)".to_owned(),
            kind: AskKind::Time,
            value: onset.map_or(said, |onset| onset.to_string()),
            required: true,
            offered: false,
        });
        plan.commands = vec![format!("aws s3 ls {}", judged.place.url())];
        plan.undo = String::from("Choose another: retry (r) this step. Nothing is changed by choosing.");
        let Some(onset) = onset else {
            plan.effects = vec!["Proposes the newest snapshot from before the onset, once that is known".to_owned()];
            return Ok(plan);
        };
        choose(cx, &judged, onset, wanted, &mut plan);
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable(&error))?;
        let place = Place::open(&cx.config, &self.from).await?;
        let now = place.head(&basis.object.key, None).await?;
        let same = now.as_ref().is_some_and(|now| now.etag == basis.object.etag && now.size == basis.object.size);
        let Some(now) = now.filter(|_| same) else {
            return Err(WorkerError::new(
                format!("choose {}", basis.object.key),
                place.url(),
                "The object changed or went away since it was listed.",
                "Retry (r) and choose again.",
            ));
        };
        // The head knows the version, which a plain listing does not.
        let object = ObjectRef { version_id: now.version_id, ..basis.object };
        let known = &cx.knowledge;
        let judged = look(&cx.config, &self.from, &self.database, Some(basis.onset), known.now, None).await?;
        io.notice(Notice::Snapshots(judged.listing(Some(basis.onset))));
        let line = format!(
            "{} taken {}, {} before the onset; {} of writes are lost",
            object.key,
            clock(basis.taken_at),
            duration_text(basis.onset.duration_since(basis.taken_at)),
            duration_text(loss(basis.taken_at, known.writes_stopped_at, known.now))
        );
        io.line(&line);
        let facts = vec![Fact::Onset { at: basis.onset }, Fact::Snapshot { object, taken_at: basis.taken_at }];
        Ok(Ran::Done(Done { evidence: vec![line], facts }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("choosing changes nothing outside; choose again".to_owned()))
    }
}

/// Another step chose another snapshot, and what restores from that one goes on doing so.
fn other_choice(cx: &Context, key: &str) -> Option<Finding> {
    let (step, other, taken_at) = cx.knowledge.facts.iter().rev().find_map(|known| match &known.fact {
        Fact::Snapshot { object, taken_at } if known.standing && known.step != cx.step => {
            Some((&known.step, &object.key, *taken_at))
        }
        _ => None,
    })?;
    (other != key).then(|| {
        Finding::warning(format!(
            "{step} chose another one, {other}, taken {}. What restores from {step} goes on with that; what is said of this \
             incident (loss, messages, report) is of the choice made last.",
            clock(taken_at)
        ))
    })
}

/// Fills a plan whose onset is known: what can be chosen, what is proposed or was chosen, and what that means.
fn choose(cx: &Context, judged: &Judged, onset: Timestamp, wanted: Option<&str>, plan: &mut Plan) {
    let known = &cx.knowledge;
    let loses = |snapshot: &Snapshot| duration_text(loss(snapshot.taken_at, known.writes_stopped_at, known.now));
    let eligible = |snapshot: &&Snapshot| matches!(snapshot.verdict, Verdict::Eligible { .. });
    let offered = |(at, snapshot): &(usize, &Snapshot)| *at < CHOICES || Some(snapshot.listed.key.as_str()) == wanted;
    let choices = judged
        .snapshots
        .iter()
        .filter(eligible)
        .enumerate()
        .filter(offered)
        .map(|(_, snapshot)| snapshot)
        .map(|snapshot| Choice {
            value: snapshot.listed.key.clone(),
            label: format!(
                "{}  {}  loses {}",
                clock(snapshot.taken_at),
                size_text(snapshot.listed.size),
                loses(snapshot)
            ),
        })
        .collect();
    let chosen = match wanted {
        Some(key) => judged.snapshots.iter().find(|snapshot| snapshot.listed.key == key),
        None => judged.proposed(),
    };
    plan.asks.push(Ask {
        name: "snapshot".to_owned(),
        label: "Which snapshot?".to_owned(),
        kind: AskKind::Choice(choices),
        value: chosen.map(|snapshot| snapshot.listed.key.clone()).unwrap_or_default(),
        required: true,
        offered: false,
    });
    let Some(chosen) = chosen else {
        let what = match wanted {
            Some(key) => format!("There is no snapshot {key}."),
            None => format!(
                "None of the {} objects in {} is a usable dump from before {}. The snapshot pane (2) says why of each. \
                 Is the onset right? Is this the right bucket?",
                judged.snapshots.len(),
                judged.place.url(),
                clock(onset)
            ),
        };
        plan.findings.push(Finding::blocking(what));
        return;
    };
    plan.findings.extend(other_choice(cx, &chosen.listed.key));
    match &chosen.verdict {
        Verdict::Rejected { detail, .. } => {
            plan.findings.push(Finding::blocking(format!("{} cannot be restored: {detail}", chosen.listed.key)));
        }
        Verdict::Eligible { notes, standing } => {
            if *standing == Standing::Older {
                plan.findings.push(Finding::warning("A newer one from before the onset could be restored."));
            }
            let key = &chosen.listed.key;
            plan.findings.extend(notes.iter().map(|note| Finding::warning(format!("{key}: {note}."))));
        }
    }
    plan.effects = vec![
        format!(
            "Restore point: {}, taken {}, {}",
            chosen.listed.key,
            clock(chosen.taken_at),
            size_text(chosen.listed.size)
        ),
        format!(
            "Restoring it loses {} of writes, good ones after the onset ({}) included",
            loses(chosen),
            clock(onset)
        ),
        "Nothing is changed yet: this records the choice".to_owned(),
    ];
    let basis = Basis { onset, object: pin(&judged.place, &chosen.listed), taken_at: chosen.taken_at };
    plan.basis = serde_json::to_value(basis).unwrap_or_default();
}

fn unreadable(error: &serde_json::Error) -> WorkerError {
    WorkerError::new(
        "read the plan",
        "relight",
        format!("The approved plan cannot be read: {error}."),
        "Prepare the step again.",
    )
}
