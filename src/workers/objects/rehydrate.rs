//! Copying back what is missing or damaged.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};

use crate::incident::{Ask, AskKind, Finding, Plan, TargetIdentity, clock, duration_text};
use crate::runbook::TargetRef;
use crate::snapshots::size_text;
use crate::workers::s3::Place;
use crate::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

use super::basis::{Basis, Item};
use super::compare::{Differences, compare};
use super::ledger::Ledger;
use super::restore::{Fate, Places};
use super::source::{Good, Source, pin};

/// Keys that a plan or an error names; the rest is counted.
const NAMED: usize = 5;
/// Objects that are restored at once.
const AT_ONCE: usize = 8;

/// Compares objects with their snapshot and copies back what is missing or differs.
#[derive(Debug)]
pub struct RehydrateObjects {
    /// The snapshot: an S3 prefix or a folder.
    pub from: TargetRef,
    /// What is brought back.
    pub to: TargetRef,
    /// Where objects that get overwritten are kept first.
    pub keep: TargetRef,
}

impl RehydrateObjects {
    async fn open(&self, cx: &Context) -> Result<Places, WorkerError> {
        // Boxed: three openings beside each other make a large future.
        let (source, to, keep) = tokio::try_join!(
            Box::pin(Source::open(&cx.config, &self.from)),
            Box::pin(Place::open(&cx.config, &self.to)),
            Box::pin(Place::open(&cx.config, &self.keep))
        )?;
        let versioned = to.versioned().await == Some(true);
        Ok(Places { source, to, keep, versioned })
    }
}

/// The identity of all that the step reads and writes. What the other places prove is said where it is not what the target
/// itself proves, as the owner of a bucket.
fn identity(places: &Places) -> TargetIdentity {
    let mut identity = places.to.identity();
    let own = identity.proofs.clone();
    for (name, other) in [("source", places.source.identity()), ("keep", places.keep.identity())] {
        identity.proofs.insert(name.to_owned(), other.name);
        let others = other.proofs.into_iter().filter(|(proof, value)| own.get(proof) != Some(value));
        identity.proofs.extend(others.map(|(proof, value)| (format!("{name} {proof}"), value)));
    }
    identity
}

/// Why the three places cannot be used together.
fn misplaced(places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    let within = |inner: &Place, outer: &Place| {
        inner.bucket() == outer.bucket()
            && inner.endpoint() == outer.endpoint()
            && inner.prefix().starts_with(outer.prefix())
    };
    let mut together = vec![("kept objects", &places.keep)];
    if let Source::S3(source) = &places.source {
        together.push(("snapshot", source));
    }
    for (name, place) in together {
        if within(place, &places.to) || within(&places.to, place) {
            findings.push(Finding::blocking(format!(
                "The place of the {name} ({}) overlaps with what is brought back ({}): correct the config.",
                place.url(),
                places.to.url()
            )));
        }
        if place.endpoint() != places.to.endpoint() {
            findings.push(Finding::blocking(format!(
                "{} and {} are on different S3 servers, and S3 copies only within one. Copy the snapshot over first, or to a folder.",
                place.url(),
                places.to.url()
            )));
        }
    }
    findings
}

#[async_trait]
impl Worker for RehydrateObjects {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(identity(&self.open(cx).await?))
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let places = self.open(cx).await?;
        let mut plan = Plan::new(cx.step.clone(), identity(&places));
        plan.findings = misplaced(&places);
        if !plan.findings.is_empty() {
            plan.effects = vec![format!("Would compare {} with {}", places.to.url(), places.source.url())];
            return Ok(plan);
        }
        let onset = cx.knowledge.onset;
        if onset.is_none() {
            plan.findings.push(Finding::warning(
                "The onset is not known, so objects that were rightly changed before it cannot be told from damaged ones.",
            ));
        }
        let found = compare(&places.source, &places.to, onset).await?;
        if found.good == 0 {
            plan.findings.push(Finding::blocking(format!(
                "There is nothing in {}: a wrong prefix, or the snapshot is lost. Correct the config, or mark the step done by hand (m).",
                places.source.url()
            )));
            plan.effects = vec!["Restores nothing: the snapshot is empty".to_owned()];
            return Ok(plan);
        }
        describe(cx, &places, &found, &mut plan);
        let include = cx.inputs.get("include_changed").is_some_and(|answer| answer.trim() == "yes");
        if !found.changed.is_empty() {
            plan.asks.push(Ask {
                name: "include_changed".to_owned(),
                label: format!("Also restore the {} objects changed before the onset?", found.changed.len()),
                kind: AskKind::YesNo,
                value: if include { "yes" } else { "no" }.to_owned(),
                required: false,
                offered: false,
            });
        }
        let left = if include { 0 } else { found.changed.len() };
        let mut items = found.missing;
        items.extend(found.damaged);
        if include {
            plan.effects.push(format!(
                "Overwrites {} objects that were changed before the onset: their changes are taken back",
                found.changed.len()
            ));
            items.extend(found.changed);
        }
        items.sort_by(|one, other| one.key.cmp(&other.key));
        // What an earlier attempt wrote has to be reported as kept, so a success is still needed.
        let earlier = Ledger::open(cx)?.written();
        if items.is_empty() && earlier == 0 {
            plan.nothing_to_do = Some(format!(
                "All {} objects of {} were compared by content: none is missing or damaged{}.",
                found.good,
                places.source.url(),
                if left == 0 {
                    String::new()
                } else {
                    format!(", {left} changed before the onset are left as they are")
                }
            ));
        } else if earlier > 0 {
            plan.effects.push(format!("Records {earlier} objects that an earlier attempt wrote, for the way back"));
        }
        plan.basis = serde_json::to_value(Basis::of(cx, places.source.url(), items)?).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        if plan.basis.is_null() {
            return Ok(Vec::new());
        }
        let places = self.open(cx).await?;
        let (_, items) = Basis::read(cx, plan)?;
        let mut findings = Vec::new();
        let readable = items.iter().find(|item| item.size > 0);
        if let (Source::S3(source), Some(item)) = (&places.source, readable) {
            // The copy is made by the destination's credentials, which must be able to read the source.
            let good = Good { size: item.size, etag: item.source.clone() };
            match places.to.prefix_of(&pin(source, &item.key, &good), 1).await {
                Ok(_) => findings.push(Finding::good("The destination's credentials can read the snapshot.")),
                Err(error) => findings.push(Finding::blocking(format!(
                    "The credentials of {} cannot read the snapshot, and the copy needs that: {}",
                    places.to.target(),
                    error.cause
                ))),
            }
        }
        if !places.versioned && items.iter().any(|item| item.live.is_some()) {
            findings.push(Finding::warning(
                "Whether the objects may be written is not proved: that would need writing. The first one shows it, before anything is overwritten.",
            ));
        }
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let (basis, items) = Basis::read(cx, plan)?;
        let places = self.open(cx).await?;
        let ledger = Ledger::open(cx)?;
        let total = items.len() as u64;
        let (mut done, mut overwritten, mut created, mut already) = (0_u64, 0_usize, 0_usize, 0_usize);
        let (mut left, mut failure) = (Vec::new(), None);
        // Objects that were begun are finished, each is a short copy; after a stop or a failure none is begun.
        let failed = AtomicBool::new(false);
        let begin = items.into_iter().take_while(|_| !io.cancel.is_cancelled() && !failed.load(Ordering::Relaxed));
        let (shared, record) = (&places, &ledger);
        let work = stream::iter(begin).map(|item| async move {
            let fate = shared.restore(cx, &item, record).await;
            (item.key, fate)
        });
        let mut work = pin!(work.buffer_unordered(AT_ONCE));
        while let Some((key, fate)) = work.next().await {
            match fate {
                Ok(Fate::Overwritten) => {
                    overwritten += 1;
                    io.line(format!("restored {key}"));
                }
                Ok(Fate::Created) => {
                    created += 1;
                    io.line(format!("created {key}"));
                }
                Ok(Fate::Already) => already += 1,
                Ok(Fate::Left(why)) => {
                    io.line(format!("left {key}: {why}"));
                    left.push(format!("{key} ({why})"));
                }
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    io.line(error.to_string());
                    failure.get_or_insert(error);
                    continue;
                }
            }
            done += 1;
            io.progress("objects", done, Some(total), "items");
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if done < total {
            return Ok(Ran::Stopped(format!(
                "{done} of {total} objects were brought back; retry (r) goes on with the others. Nothing was deleted."
            )));
        }
        if !left.is_empty() {
            return Err(WorkerError::new(
                "restore the objects",
                places.to.url(),
                format!("{} of {total} objects were left alone: {}.", left.len(), few(&left)),
                "Find out who writes there, then retry (r): the comparison shows what they hold now.",
            ));
        }
        let line = format!(
            "{total} objects of {} are back in {}, each compared: {created} created, {overwritten} overwritten and kept, {already} already equal",
            basis.from,
            places.to.url()
        );
        io.line(&line);
        Ok(Ran::Done(Done { evidence: vec![line], facts: vec![ledger.fact(places.to.target())] }))
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        let (basis, items) = Basis::read(cx, plan)?;
        let places = self.open(cx).await?;
        let ledger = Ledger::open(cx)?;
        let (mut equal, mut as_planned) = (0_usize, 0_usize);
        for item in &items {
            let key = format!("{}{}", places.to.prefix(), item.key);
            let live = places.to.head(&key, None).await?;
            let good = Good { size: item.size, etag: item.source.clone() };
            match &live {
                Some(object) if places.holds(item, &good, object).await? => {
                    equal += 1;
                    if let Some(begun) = ledger.get(&key).filter(|line| line.restored.is_none()) {
                        ledger.add(super::ledger::Line { restored: Some(object.etag.clone()), ..begun })?;
                    }
                }
                _ if live.as_ref().map(|live| &live.etag) == item.live.as_ref() => as_planned += 1,
                _ => {}
            }
        }
        if equal == items.len() {
            let line = format!("{equal} objects of {} are back in {}, each compared", basis.from, places.to.url());
            let facts = vec![ledger.fact(places.to.target())];
            return Ok(Probe::Happened(Done { evidence: vec![line], facts }));
        }
        if as_planned == items.len() {
            return Ok(Probe::DidNot("every object is still as it was when the plan was made".to_owned()));
        }
        let found = "objects have the snapshot's content and";
        Ok(Probe::Broken(
            format!("{equal} of {} {found} {as_planned} are untouched.", items.len()),
            "Retry (r): it brings back the rest.".to_owned(),
        ))
    }
}

/// Says what was found and what would be done about it.
fn describe(cx: &Context, places: &Places, found: &Differences, plan: &mut Plan) {
    let (from, to) = (places.source.url(), places.to.url());
    let size = |items: &[Item]| size_text(items.iter().map(|item| item.size).sum());
    let names = |items: &[Item]| few(&items.iter().map(|item| item.key.clone()).collect::<Vec<_>>());
    if !found.missing.is_empty() {
        let (count, size) = (found.missing.len(), size(&found.missing));
        plan.effects.push(format!("Creates {count} missing objects ({size}) in {to}: {}", names(&found.missing)));
    }
    if !found.damaged.is_empty() {
        let (count, size) = (found.damaged.len(), size(&found.damaged));
        plan.effects
            .push(format!("Overwrites {count} objects that differ ({size}) in {to}: {}", names(&found.damaged)));
        plan.effects.push(if places.versioned {
            "Keeps what it overwrites as the bucket's older versions".to_owned()
        } else {
            format!("First copies what it overwrites to {}{}/objects/", places.keep.url(), cx.knowledge.incident)
        });
    }
    plan.effects.push(format!(
        "Leaves {} equal objects and {} that only {to} has; deletes nothing",
        found.equal, found.live_only
    ));
    if let (Some(onset), Some(last)) = (cx.knowledge.onset, found.changed_last) {
        // Damage just before an onset that was guessed too late looks the same.
        plan.findings.push(Finding::warning(format!(
            "{} objects differ and were changed before the onset ({}), so rightly as far as can be told; the last of them {} \
             before it. Were they damaged, the onset is too late. They are: {}.",
            found.changed.len(),
            clock(onset),
            duration_text(onset.duration_since(last)),
            names(&found.changed)
        )));
    }
    plan.commands = vec![format!(
        "aws s3 cp {from}KEY {to}KEY   # for each key above; not `aws s3 sync`, which skips newer objects of equal size"
    )];
    plan.undo = String::from("Puts the kept content back wherever nobody wrote since; objects that were created stay.");
}

/// The first few of a list, and how many more there are.
pub(super) fn few(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
