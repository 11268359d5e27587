//! Runs effects as tasks. Every task ends in a report, a panic included.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::config::Config;
use crate::failpoint;
use crate::incident::{AttemptId, Gravity, Inputs, Knowledge, Notice, Outcome, Plan, Problem, Refusal, Report, State};
use crate::runbook::{Action, Step, StepId};
use crate::workers::process::{Adopted, adopt};
use crate::workers::{Cancel, Context, Io, Probe, Ran, WorkerError};

use super::sink::{AttemptSink, log_path};
use super::{Handle, Hands, Input, Then};

/// Planning reads from targets that may be down; a person waits for it.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts tasks and remembers how to stop them.
pub(super) struct Supervisor {
    hands: Arc<dyn Hands>,
    config: Arc<Config>,
    folder: PathBuf,
    handle: Handle,
    running: BTreeMap<AttemptId, watch::Sender<bool>>,
    watches: BTreeMap<StepId, watch::Sender<bool>>,
}

impl Supervisor {
    pub(super) fn new(hands: Arc<dyn Hands>, config: Arc<Config>, folder: PathBuf, handle: Handle) -> Self {
        Self { hands, config, folder, handle, running: BTreeMap::new(), watches: BTreeMap::new() }
    }

    fn context(
        &self,
        state: &State,
        step: &Step,
        attempt: Option<AttemptId>,
        inputs: Inputs,
        undoes: Option<StepId>,
    ) -> Context {
        Context {
            step: step.id.clone(),
            title: step.title.clone(),
            attempt,
            inputs,
            undoes,
            knowledge: Arc::new(Knowledge::of(state, &step.id, Timestamp::now())),
            config: Arc::clone(&self.config),
            folder: self.folder.clone(),
        }
    }

    /// Has a plan made.
    pub(super) fn plan(&self, state: &State, step: &Step, inputs: Inputs, undoes: Option<StepId>, then: Then) {
        let footing = state.footing(&step.id);
        let cx = self.context(state, step, None, inputs, undoes.clone());
        let hands = Arc::clone(&self.hands);
        let handle = self.handle.clone();
        let step = step.clone();
        tokio::spawn(async move {
            let work = async {
                let worker = hands.worker(&step, &cx.knowledge)?;
                let mut plan = worker.plan(&cx).await?;
                plan.undoes = undoes;
                plan.inputs = cx.inputs.clone();
                let findings = worker.preflight(&cx, &plan).await?;
                plan.findings.extend(findings);
                Ok::<Plan, WorkerError>(plan)
            };
            let result = match guarded(&step.title, tokio::time::timeout(PATIENCE, work)).await {
                Ok(Ok(result)) => result.map(Box::new).map_err(WorkerError::into_problem),
                Ok(Err(_)) => Err(too_slow(&step)),
                Err(problem) => Err(problem),
            };
            handle.send(Input::Planned { step: step.id, result, footing, then }).await;
        });
    }

    pub(super) fn run(&mut self, state: &State, attempt: AttemptId) {
        let Some((step, plan)) = approved(state, attempt) else {
            return;
        };
        let cx = self.context(state, &step, Some(attempt), plan.inputs.clone(), plan.undoes.clone());
        let (hand, cancel) = Cancel::new();
        self.running.insert(attempt, hand);
        let sink = Arc::new(AttemptSink::open(&self.folder, attempt, self.handle.clone()));
        let io = Io::new(attempt, cancel, log_path(&self.folder, attempt), sink);
        let hands = Arc::clone(&self.hands);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let outcome = match guarded(&step.title, carry_out(&*hands, &step, &cx, &plan, &io)).await {
                Ok(outcome) => outcome,
                Err(problem) => Outcome::InDoubt { problem },
            };
            if let Outcome::Failed { problem } | Outcome::InDoubt { problem } = &outcome {
                io.line(problem.to_string());
            }
            handle.send(Input::Report(Report::Finished { attempt, outcome })).await;
        });
    }

    /// Ends an attempt, or what is left of one whose engine died: its program, which the question to its target waits for.
    pub(super) fn stop(&mut self, attempt: AttemptId) {
        if let Some(stop) = self.running.get(&attempt) {
            stop.send_replace(true);
        } else if let Adopted::Running(running) = adopt(&log_path(&self.folder, attempt)) {
            tokio::spawn(async move {
                if let Err(error) = running.stop().await {
                    tracing::error!("the program of attempt {attempt} cannot be asked to end: {error}");
                }
            });
        }
    }

    /// Nothing is at work.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn finished(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
    }

    pub(super) fn probe(&self, state: &State, attempt: AttemptId) {
        let Some((step, plan)) = approved(state, attempt) else {
            return;
        };
        let cx = self.context(state, &step, Some(attempt), plan.inputs.clone(), plan.undoes.clone());
        let hands = Arc::clone(&self.hands);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let work = async {
                let worker = hands.worker(&step, &cx.knowledge)?;
                worker.probe(&cx, &plan).await
            };
            let outcome = match guarded(&step.title, work).await {
                Ok(Ok(Probe::Happened(done))) => Outcome::Succeeded { evidence: done.evidence, facts: done.facts },
                Ok(Ok(Probe::DidNot(why))) => Outcome::Stopped { detail: format!("it had no effect: {why}") },
                Ok(Ok(Probe::Broken(why, next))) => {
                    let (what, target) = (step.title.clone(), plan.target.name.clone());
                    Outcome::Failed { problem: Problem { what, target, why, next } }
                }
                Ok(Ok(Probe::Unknown(why))) => Outcome::InDoubt { problem: doubt(&step, &plan, why) },
                Ok(Err(error)) => Outcome::InDoubt { problem: error.into_problem() },
                Err(problem) => Outcome::InDoubt { problem },
            };
            handle.send(Input::Report(Report::Probed { attempt, outcome })).await;
        });
    }

    pub(super) fn watch(&mut self, state: &State, attempt: AttemptId) {
        let Some((step, plan)) = approved(state, attempt) else {
            return;
        };
        let cx = self.context(state, &step, Some(attempt), plan.inputs.clone(), plan.undoes.clone());
        let (hand, cancel) = Cancel::new();
        self.watches.insert(step.id.clone(), hand);
        let hands = Arc::clone(&self.hands);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let Ok(worker) = hands.worker(&step, &cx.knowledge) else {
                return;
            };
            let alarm = |text: String| {
                let handle = handle.clone();
                let report = Report::Alarm { step: step.id.clone(), text };
                tokio::spawn(async move { handle.send(Input::Report(report)).await });
            };
            worker.watch(&cx, &plan, &alarm, cancel).await;
        });
    }

    pub(super) fn unwatch(&mut self, step: &StepId) {
        if let Some(stop) = self.watches.remove(step) {
            stop.send_replace(true);
        }
    }

    /// Opens a dump for whoever asked, which `done` tells what came of it.
    pub(super) fn open(&self, state: &State, key: String, done: impl FnOnce(Notice) -> Input + Send + 'static) {
        let choosing = state.runbook.steps().find(|step| matches!(step.action, Action::ChooseSnapshot { .. })).cloned();
        let (hands, handle) = (Arc::clone(&self.hands), self.handle.clone());
        tokio::spawn(async move {
            let opened = match &choosing {
                Some(step) => hands.open(step, &key).await,
                None => Ok(None),
            };
            let result = match opened {
                Ok(contents) => contents.ok_or_else(|| "no step of this runbook chooses a dump".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            handle.send(done(Notice::Contents { key, result })).await;
        });
    }

    /// Lists the dumps of the runbook's choosing step for everybody; `done` tells whoever asked what came of it.
    pub(super) fn list(&self, state: &State, done: impl FnOnce(Result<(), Refusal>) -> Option<Input> + Send + 'static) {
        let choosing = state.runbook.steps().find(|step| matches!(step.action, Action::ChooseSnapshot { .. })).cloned();
        let handle = self.handle.clone();
        let knowledge = choosing.as_ref().map(|step| Knowledge::of(state, &step.id, Timestamp::now()));
        let hands = Arc::clone(&self.hands);
        tokio::spawn(async move {
            let listed = match choosing.zip(knowledge) {
                Some((step, knowledge)) => hands.list(&step, &knowledge).await,
                None => Ok(None),
            };
            let result = match listed {
                Ok(listing) => {
                    if let Some(listing) = listing {
                        handle.send(Input::Notice(Notice::Snapshots(listing))).await;
                    }
                    Ok(())
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    Err(Refusal::WrongState { why: error.to_string() })
                }
            };
            if let Some(input) = done(result) {
                handle.send(input).await;
            }
        });
    }
}

fn approved(state: &State, attempt: AttemptId) -> Option<(Step, Arc<Plan>)> {
    let attempt = state.attempts.get(&attempt)?;
    Some((state.runbook.step(&attempt.step)?.clone(), Arc::clone(&attempt.plan)))
}

/// Identity again, preflight again, then the effect.
async fn carry_out(hands: &dyn Hands, step: &Step, cx: &Context, plan: &Plan, io: &Io) -> Outcome {
    let prepare = async {
        let worker = hands.worker(step, &cx.knowledge)?;
        let identity = worker.identify(cx).await?;
        let findings = if identity == plan.target { worker.preflight(cx, plan).await? } else { Vec::new() };
        Ok::<_, WorkerError>((worker, identity, findings))
    };
    let prepared = tokio::select! {
        () = io.cancel.cancelled() => return Outcome::Stopped { detail: "before it had any effect".to_owned() },
        prepared = tokio::time::timeout(PATIENCE, prepare) => prepared,
    };
    let (worker, identity, findings) = match prepared {
        Ok(Ok(prepared)) => prepared,
        // Nothing was asked of the target yet but to say who it is, so nothing is in doubt.
        Ok(Err(error)) => {
            return Outcome::Failed { problem: error.into_problem() };
        }
        Err(_) => {
            return Outcome::Failed { problem: too_slow(step) };
        }
    };
    if identity != plan.target {
        return Outcome::Failed {
            problem: Problem {
                what: step.title.clone(),
                target: identity.name.clone(),
                why: format!(
                    "The target is not the one that was approved: it was {} {:?} and is {} {:?} now.",
                    plan.target.name, plan.target.proofs, identity.name, identity.proofs
                ),
                next: "Nothing was done. Find out why it changed, then retry (r) and read the new plan.".to_owned(),
            },
        };
    }
    if let Some(blocking) = findings.into_iter().find(|finding| finding.gravity == Gravity::Blocking) {
        return Outcome::Failed {
            problem: Problem {
                what: step.title.clone(),
                target: identity.name,
                why: blocking.text,
                next: "Nothing was done. Mend that, then retry (r).".to_owned(),
            },
        };
    }
    failpoint::point(&format!("run.before:{}", step.id));
    let ran = worker.run(cx, plan, io).await;
    failpoint::point(&format!("run.after:{}", step.id));
    match ran {
        Ok(Ran::Done(done)) => Outcome::Succeeded { evidence: done.evidence, facts: done.facts },
        Ok(Ran::Stopped(detail)) => Outcome::Stopped { detail },
        Err(error) => error.into_outcome(),
    }
}

/// Runs work in a task of its own, so that a panic in it becomes a problem and not the engine's end.
async fn guarded<T>(title: &str, work: impl Future<Output = T>) -> Result<T, Problem> {
    use futures_util::FutureExt as _;
    std::panic::AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let said = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no word".to_owned());
        Problem {
            what: title.to_owned(),
            target: "relight itself".to_owned(),
            why: format!("A fault in relight ended this step: {said}."),
            next: "Look at the target before you go on. The program's log (L) has more.".to_owned(),
        }
    })
}

fn too_slow(step: &Step) -> Problem {
    Problem {
        what: format!("prepare {}", step.title),
        target: step.action.targets().first().map_or_else(String::new, ToString::to_string),
        why: format!("It did not answer within {} seconds.", PATIENCE.as_secs()),
        next: "Nothing was done. Check that the target is reachable from this host, then try again.".to_owned(),
    }
}

fn doubt(step: &Step, plan: &Plan, why: String) -> Problem {
    Problem {
        what: step.title.clone(),
        target: plan.target.name.clone(),
        why,
        next: "Look at the target, then say whether it happened.".to_owned(),
    }
}
