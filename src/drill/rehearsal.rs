//! `relight drill --auto`: plays the whole runbook and proves from outside that the data is back.

use serde::Serialize;

use jiff::Timestamp;

use crate::incident::{Fact, State, duration_text};
use crate::runbook::Action;
use crate::wire::Link;

use super::error::SandboxError;
use super::operator::{Operator, OperatorError, drill_answers};
use super::ready::Ready;
use super::scorecard::{self, Score};
use super::told;

/// An engine that is lost that often, with nothing done in between, is not started again.
const MOST_STARTS: u32 = 20;

/// Why a rehearsal could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The operator gave up.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The world could not be measured.
    #[error("the drill's world cannot be measured: {0}")]
    Measure(#[from] SandboxError),
    /// A stand-in could not be asked.
    #[error("the stand-in for {service} cannot be asked: {why}")]
    StandIn {
        /// Which.
        service: &'static str,
        /// Why.
        why: String,
    },
}

/// One thing that must be so for the drill to be passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// What.
    pub what: &'static str,
    /// It is so.
    pub good: bool,
    /// What was measured.
    pub detail: String,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timing {
    /// The step's id.
    pub step: String,
    /// Its title.
    pub title: String,
    /// From preparing to proved, in milliseconds.
    pub millis: i64,
}

/// What came of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scorecard {
    /// Everything is proved.
    pub passed: bool,
    /// The proofs.
    pub proofs: Vec<Proof>,
    /// Each step's time.
    pub timings: Vec<Timing>,
    /// From the first key to writes running again, in seconds.
    pub time_to_service_seconds: i64,
    /// The writes that were lost, in seconds.
    pub lost_seconds: i64,
}

/// Plays the runbook to its end. `connect` starts an engine where none runs and attaches to it, at first and whenever the
/// engine is lost; `say` is told what goes on, a line at a time.
///
/// # Errors
/// A step did not succeed, no engine can be started, or the world cannot be measured.
pub async fn play(
    mut connect: impl AsyncFnMut() -> Result<Link, String>,
    ready: &Ready,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Scorecard, RehearsalError> {
    let began = Timestamp::now();
    let flag_before = told::flag(ready).await?;
    let mut operator = sit_down(ready, &mut connect, say).await?;
    let mut before_writes: Option<Score> = None;
    let mut timings = Vec::new();
    loop {
        let step = match operator.next_step()? {
            Some(step) => step,
            None if operator.is_over() => break,
            None => {
                if let Err(OperatorError::Lost(why)) = operator.wait_until_sent().await {
                    come_back(&mut operator, why, &mut connect, say).await?;
                }
                continue;
            }
        };
        if matches!(step.action, Action::StartWrites { .. }) {
            before_writes = Some(scorecard::measure(ready).await?);
        }
        let from = Timestamp::now();
        match operator.carry_out(&step).await {
            Ok(()) => {}
            Err(OperatorError::Lost(why)) => {
                come_back(&mut operator, why, &mut connect, say).await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let took = Timestamp::now().duration_since(from);
        say(&format!("{:>8}  {}", format!("{:.1}s", took.as_secs_f64()), step.title));
        timings.push(Timing {
            step: step.id.to_string(),
            title: step.title.clone(),
            millis: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
        });
    }
    let after = scorecard::measure(ready).await?;
    let flag_after = told::flag(ready).await?;
    let Some(state) = operator.state() else { return Err(OperatorError::Lost("it said nothing".to_owned()).into()) };
    let mut proofs = proofs(state, ready, before_writes.as_ref(), &after);
    proofs.push(Proof {
        what: "deploy lock as it was",
        good: flag_before == flag_after,
        detail: format!("on before: {flag_before}, on now: {flag_after}"),
    });
    proofs.push(told::timeline(state, ready).await?);
    proofs.push(told::once(state, ready).await?);
    let back = state.service_back_at().unwrap_or_else(Timestamp::now);
    let stopped = state.all_facts().find_map(|(_, fact)| match fact {
        Fact::WritesStopped { at, .. } => Some(*at),
        _ => None,
    });
    let lost = state.snapshot_time().zip(stopped).map_or(0, |(taken, stopped)| stopped.duration_since(taken).as_secs());
    Ok(Scorecard {
        passed: proofs.iter().all(|proof| proof.good),
        proofs,
        timings,
        time_to_service_seconds: back.duration_since(began).as_secs(),
        lost_seconds: lost,
    })
}

/// Takes the operator's place, however often the engine is lost before that.
async fn sit_down(
    ready: &Ready,
    connect: &mut impl AsyncFnMut() -> Result<Link, String>,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Operator, OperatorError> {
    let mut why = String::new();
    for _ in 0..MOST_STARTS {
        match connect().await {
            Ok(link) => match Operator::attach(link, drill_answers(ready.onset)).await {
                Err(OperatorError::Lost(lost)) => why = lost,
                other => return other,
            },
            Err(lost) => why = lost,
        }
        say(&format!("          the engine is lost ({why}); attaching again"));
    }
    Err(OperatorError::Lost(why))
}

/// Attaches again until the operator is at its place, however often the engine is lost meanwhile.
async fn come_back(
    operator: &mut Operator,
    mut why: String,
    connect: &mut impl AsyncFnMut() -> Result<Link, String>,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<(), OperatorError> {
    for _ in 0..MOST_STARTS {
        say(&format!("          the engine is lost ({why}); attaching again"));
        match connect().await {
            Ok(link) => match operator.come_back(link).await {
                Err(OperatorError::Lost(again)) => why = again,
                other => return other,
            },
            Err(again) => why = again,
        }
    }
    Err(OperatorError::Lost(why))
}

fn proofs(state: &State, ready: &Ready, before_writes: Option<&Score>, after: &Score) -> Vec<Proof> {
    let chosen = state.all_facts().rev().find_map(|(_, fact)| match fact {
        Fact::Restored { object, .. } => Some(object.key.clone()),
        _ => None,
    });
    let manifest = chosen.and_then(|key| ready.dumps.iter().find(|dump| dump.key == key));
    let tables = match (before_writes, manifest) {
        (Some(score), Some(manifest)) => {
            let differences = score.table_differences(manifest);
            let rows: u64 = score.tables.values().map(|table| u64::try_from(table.rows).unwrap_or(0)).sum();
            let detail = if differences.is_empty() {
                format!("{} tables, {rows} rows, counts and checksums equal to {}", score.tables.len(), manifest.key)
            } else {
                differences.join("; ")
            };
            Proof { what: "tables equal to the snapshot, before writes", good: differences.is_empty(), detail }
        }
        (_, manifest) => Proof {
            what: "tables equal to the snapshot, before writes",
            good: false,
            detail: if manifest.is_none() {
                "no dump of the drill was restored".to_owned()
            } else {
                "writes were never started".to_owned()
            },
        },
    };
    let redis = before_writes.map(|score| (score.redis_keys, score.redis_neighbours));
    let objects = &after.objects;
    let replicas: Vec<String> = ready
        .deployments
        .iter()
        .filter_map(|(name, wanted)| {
            let found = after.deployments.get(name);
            let good = found.is_some_and(|found| {
                found.replicas == i64::from(wanted.replicas) && found.available == i64::from(wanted.replicas)
            });
            (!good).then(|| format!("{name}: {found:?}, wanted {}", wanted.replicas))
        })
        .collect();
    vec![
        tables,
        Proof {
            what: "cache empty, its neighbour untouched",
            good: redis == Some((0, ready.redis_neighbours)),
            detail: format!("keys and neighbour's keys before writes: {redis:?}"),
        },
        Proof {
            what: "objects as in the snapshot, newer ones kept",
            good: objects.wrong.is_empty() && objects.unknown.is_empty() && objects.rolled_back.is_empty(),
            detail: format!(
                "{} as in the snapshot, {} newer kept, {} wrong, {} rolled back",
                objects.restored,
                objects.kept,
                objects.wrong.len(),
                objects.rolled_back.len()
            ),
        },
        Proof {
            what: "replicas back",
            good: replicas.is_empty(),
            detail: if replicas.is_empty() { "all available".to_owned() } else { replicas.join("; ") },
        },
    ]
}

impl Scorecard {
    /// As a table for people.
    #[must_use]
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        // Writing to a String cannot fail.
        for proof in &self.proofs {
            let _ = writeln!(out, "{} {:<46} {}", if proof.good { "ok  " } else { "FAIL" }, proof.what, proof.detail);
        }
        let _ = writeln!(
            out,
            "\n{}: service back after {}, {} of writes lost.",
            if self.passed { "PASSED" } else { "NOT PASSED" },
            duration_text(jiff::SignedDuration::from_secs(self.time_to_service_seconds)),
            duration_text(jiff::SignedDuration::from_secs(self.lost_seconds)),
        );
        out
    }
}
