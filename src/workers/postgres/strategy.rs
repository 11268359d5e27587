//! The restore as it was chosen on its card: each way is a worker of its own, and this hands over to one of them.

use async_trait::async_trait;

use crate::incident::{Ask, AskKind, Choice, Fact, Finding, Inputs, ObjectRef, Plan, TargetIdentity};
use crate::runbook::{Action, STRATEGY, StepId, Strategy, TargetRef};
use crate::workers::{Context, Io, Probe, Ran, Worker, WorkerError};

use super::{RestoreBeside, RestoreInPlace, identify};

/// Restores a database, in the way that the runbook says or that a person chose.
#[derive(Debug)]
pub struct RestoreDatabase {
    /// The database.
    pub database: TargetRef,
    /// The step that chose the snapshot or made the safety dump.
    pub from: StepId,
    /// The way where nobody chose another.
    pub strategy: Strategy,
}

impl RestoreDatabase {
    fn chosen(&self, inputs: &Inputs) -> Strategy {
        let (database, from) = (self.database.clone(), self.from.clone());
        match (Action::RestoreDatabase { database, from, strategy: self.strategy }).chosen(inputs) {
            Action::RestoreDatabase { strategy, .. } => strategy,
            _ => self.strategy,
        }
    }

    fn worker(&self, inputs: &Inputs) -> Box<dyn Worker> {
        let (database, from) = (self.database.clone(), self.from.clone());
        match self.chosen(inputs) {
            Strategy::Beside => Box::new(RestoreBeside { database, from, rehearsal: false }),
            Strategy::InPlace => Box::new(RestoreInPlace { database, from, atomic: true }),
            Strategy::Runbook => Box::new(RestoreInPlace { database, from, atomic: false }),
        }
    }
}

#[async_trait]
impl Worker for RestoreDatabase {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        identify(cx, &self.database).await
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let chosen = self.chosen(&cx.inputs);
        let mut plan = self.worker(&cx.inputs).plan(cx).await?;
        plan.asks.insert(0, ask(chosen));
        if chosen != Strategy::Beside {
            plan.by_name = true;
        }
        // Whether the runbook has the steps before it in their order, or a person left its way, or skipped one of them:
        // what cannot be taken back is proved to have been preceded by what it takes.
        if chosen != Strategy::Beside {
            plan.findings.extend(order(cx, &self.from));
            if !agreed(cx, &self.from) {
                plan.type_name = plan.type_name.map(|name| format!("{name} {WITHOUT}"));
                plan.findings.push(Finding::warning(
                    "Nobody agreed to lose what was written since this snapshot, and over the live database it is lost at once. The name to type says so.",
                ));
            }
        }
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        self.worker(&plan.inputs).preflight(cx, plan).await
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        self.worker(&plan.inputs).run(cx, plan, io).await
    }

    async fn probe(&self, cx: &Context, plan: &Plan) -> Result<Probe, WorkerError> {
        self.worker(&plan.inputs).probe(cx, plan).await
    }
}

fn ask(chosen: Strategy) -> Ask {
    let label = |strategy| match strategy {
        Strategy::Beside => "beside: the live database is not touched; exchanged by a step of its own, back in seconds",
        Strategy::InPlace => "in_place: over the live database, in one transaction; for a server without room for two",
        Strategy::Runbook => "runbook: pg_restore --clean to the letter; not atomic, can leave a mixed database",
    };
    let choice = |strategy: Strategy| Choice { value: strategy.name().to_owned(), label: label(strategy).to_owned() };
    Ask {
        name: STRATEGY.to_owned(),
        label: "How is it restored?".to_owned(),
        kind: AskKind::Choice(Strategy::ALL.map(choice).to_vec()),
        value: chosen.name().to_owned(),
        required: false,
        offered: true,
    }
}

/// What is typed besides the name where nobody agreed to the loss.
const WITHOUT: &str = "without an agreement";

/// The dump, and whether it is a safety dump of this incident.
fn source(cx: &Context, from: &StepId) -> Option<(ObjectRef, bool)> {
    let found = cx.knowledge.facts_of(from).filter_map(|fact| match fact {
        Fact::Snapshot { object, .. } => Some((object.clone(), false)),
        Fact::SafetyDump { object, .. } => Some((object.clone(), true)),
        _ => None,
    });
    found.last()
}

/// Somebody agreed to this very dump, or it is the safety dump, which loses nothing that anybody could agree to.
fn agreed(cx: &Context, from: &StepId) -> bool {
    let Some((object, safety)) = source(cx, from) else { return true };
    safety
        || cx.knowledge.facts.iter().filter(|known| known.standing).any(|known| match &known.fact {
            Fact::Agreement { object: agreed, .. } => *agreed == object,
            _ => false,
        })
}

/// Before a restore over the live database: writes stopped, and after that a safety dump that was read back.
fn order(cx: &Context, from: &StepId) -> Vec<Finding> {
    if source(cx, from).is_some_and(|(_, safety)| safety) {
        return Vec::new();
    }
    let dumped = cx.knowledge.facts.iter().filter(|known| known.standing).filter_map(|known| match &known.fact {
        Fact::SafetyDump { taken_at, .. } => Some(*taken_at),
        _ => None,
    });
    let (dumped, stopped) = (dumped.max(), cx.knowledge.writes_stopped_at);
    let mut findings = Vec::new();
    if stopped.is_none() {
        findings.push(Finding::blocking(
            "Writes are not stopped: what is written during a restore over the live database is lost. Stop them first.",
        ));
    }
    match (dumped, stopped) {
        (None, _) => findings.push(Finding::blocking(
            "There is no safety dump: over the live database it is the only way back. Make it first.",
        )),
        (Some(dumped), Some(stopped)) if dumped < stopped => findings.push(Finding::blocking(
            "The safety dump is from before writes were stopped, so it lacks the last of them. Make it again (r on it).",
        )),
        _ => {}
    }
    findings
}
