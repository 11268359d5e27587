//! Reading the configured panels of a dashboard against their thresholds.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::config;
use crate::incident::{Fact, Finding, Notice, Plan, Series, TargetIdentity};
use crate::workers::http::{only_reads, reading, tell};
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};

use super::api::{Api, Hit, Settings, configured};
use super::find::find;
use super::frames::{Points, Verdict, judge, series};
use super::panels::{Panel, panels};
use super::variables::Variables;

/// The time that is looked at.
const WINDOW_MS: i64 = 15 * 60 * 1000;
/// So long after writes were started a panel may still lack its first value: metrics are scraped and averaged.
const FIRST_VALUE: SignedDuration = SignedDuration::from_mins(2);
/// Grafana does not tell when there is a new value.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// Reads the configured panels of a Grafana dashboard against their thresholds.
#[derive(Debug, Clone)]
pub struct ReviewDashboard {
    /// `Folder > Dashboard`.
    pub dashboard: String,
}

impl ReviewDashboard {
    fn target(&self, api: &Api, hit: &Hit) -> TargetIdentity {
        TargetIdentity {
            name: format!("Grafana {}", self.dashboard),
            proofs: BTreeMap::from([
                ("address".to_owned(), api.base().to_owned()),
                ("dashboard".to_owned(), hit.uid.clone()),
            ]),
        }
    }
}

#[async_trait]
impl Worker for ReviewDashboard {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let hit = find(&api, &self.dashboard).await?;
        Ok(self.target(&api, &hit))
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let target = configured(&cx.config)?;
        let api = Api::open(&cx.config).await?;
        let hit = find(&api, &self.dashboard).await?;
        let settings = api.settings().await?;
        let shown = panels(&api.board(&hit.uid).await?.dashboard);
        let mut plan = Plan::new(cx.step.clone(), self.target(&api, &hit));
        for panel in &target.panel {
            plan.effects.push(format!(
                "Reads {} of the last 15 minutes: a warning above {} {unit}, a failure above {} {unit}",
                panel.title,
                panel.warn,
                panel.bad,
                unit = panel.unit
            ));
            if !shown.iter().any(|it| it.title == panel.title) {
                plan.findings.push(Finding::blocking(format!(
                    "The dashboard has no panel \"{}\"; it has {}",
                    panel.title,
                    titles(&shown)
                )));
            }
        }
        if target.panel.is_empty() {
            plan.findings.push(Finding::blocking("The config names no panels ([[grafana.panel]]) to read"));
        }
        plan.effects.push(format!("The dashboard: {}", link(&api, &settings, &hit.uid, None)));
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        reading(io, self.review(cx, io)).await
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(only_reads())
    }
}

impl ReviewDashboard {
    async fn review(&self, cx: &Context, io: &Io) -> Result<Ran, WorkerError> {
        let api = Api::open(&cx.config).await?;
        let hit = find(&api, &self.dashboard).await?;
        let mut said = false;
        let reading = loop {
            let reading = self.read(cx, &api, &hit).await?;
            let settling = writes_started(cx).is_some_and(|at| at + FIRST_VALUE > Timestamp::now());
            if !(reading.silent && settling) {
                break reading;
            }
            if !said {
                io.line("A panel has no value yet since writes were started; waits up to 2 minutes for the first.");
                said = true;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        };
        tell(io, &reading.evidence);
        tell(io, &reading.wrong);
        io.notice(Notice::Measured { step: cx.step.clone(), series: reading.measured });
        if reading.wrong.is_empty() {
            return Ok(Ran::Done(Done { evidence: reading.evidence, facts: Vec::new() }));
        }
        Err(WorkerError::new(
            format!("review the dashboard {}", self.dashboard),
            api.target(),
            format!("{}.", reading.wrong.join(". ")),
            "The latest value counts: wait for the next one and retry (r), or look at the dashboard.",
        )
        .with(Disposition::Retry))
    }

    async fn read(&self, cx: &Context, api: &Api, hit: &Hit) -> Result<Reading, WorkerError> {
        let target = configured(&cx.config)?;
        let settings = api.settings().await?;
        let board = api.board(&hit.uid).await?.dashboard;
        let shown = panels(&board);
        let to = Timestamp::now().as_millisecond();
        let from = since(cx, to);
        let variables = Variables::of(&board, from, to);
        let mut reading = Reading::default();
        for wanted in &target.panel {
            let Some(panel) = shown.iter().find(|panel| panel.title == wanted.title) else {
                let has = titles(&shown);
                reading.wrong.push(format!("{}: the dashboard has no such panel; it has {has}", wanted.title));
                continue;
            };
            let (verdict, series) = match look(api, &settings, &variables, panel, wanted, (from, to)).await? {
                Ok(found) => found,
                Err(why) => {
                    reading.wrong.push(format!("{}: {why}", wanted.title));
                    continue;
                }
            };
            reading.silent |= series.points.iter().all(|(_, value)| value.is_none());
            reading.measured.push(series);
            match verdict {
                Verdict::Good(said) => reading.evidence.push(said),
                Verdict::Warn(said) => reading.evidence.push(format!("Above its warning threshold: {said}")),
                Verdict::Bad(said) => {
                    reading.wrong.push(format!("{said}; {}", link(api, &settings, &hit.uid, panel.id)));
                }
            }
        }
        if target.panel.is_empty() {
            reading.wrong.push("the config names no panels ([[grafana.panel]])".to_owned());
        }
        Ok(reading)
    }
}

/// What one look at every panel gave.
#[derive(Default)]
struct Reading {
    evidence: Vec<String>,
    wrong: Vec<String>,
    measured: Vec<Series>,
    /// A panel has no value at all in the time that was looked at.
    silent: bool,
}

fn writes_started(cx: &Context) -> Option<Timestamp> {
    cx.knowledge.facts.iter().rev().find_map(|known| match &known.fact {
        Fact::WritesStarted { at } => Some(*at),
        _ => None,
    })
}

/// The last 15 minutes, or less where writes were started since: what was measured before that is the outage.
fn since(cx: &Context, to: i64) -> i64 {
    writes_started(cx).map_or(to - WINDOW_MS, |at| at.as_millisecond().clamp(to - WINDOW_MS, to))
}

/// Asks for one panel's numbers. The inner error is the panel's own; the outer one ends the review.
async fn look(
    api: &Api,
    settings: &Settings,
    variables: &Variables,
    panel: &Panel,
    wanted: &config::Panel,
    (from, to): (i64, i64),
) -> Result<Result<(Verdict, Series), String>, WorkerError> {
    let queries = match panel.queries(settings, variables) {
        Ok(queries) => queries,
        Err(why) => return Ok(Err(why)),
    };
    let body = json!({"from": from.to_string(), "to": to.to_string(), "queries": queries});
    let results = api.query(&body).await?.results;
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(id, found)| Some(format!("query {id} failed: {}", found.error.as_ref()?)))
        .collect();
    if !failed.is_empty() {
        return Ok(Err(failed.join("; ")));
    }
    let frames: Vec<Value> = results.into_values().filter_map(|found| found.frames).flatten().collect();
    let all: Vec<Points> = series(&frames, to);
    let (verdict, series) = judge(wanted, all, to);
    let unknown = Variables::unknown(&queries);
    let verdict = match verdict {
        Verdict::Bad(said) if series.points.is_empty() && !unknown.is_empty() => {
            Verdict::Bad(format!("{said}; the variables {} have no value in the dashboard", unknown.join(", ")))
        }
        other => other,
    };
    Ok(Ok((verdict, series)))
}

fn titles(panels: &[Panel]) -> String {
    panels.iter().map(|panel| format!("\"{}\"", panel.title)).collect::<Vec<_>>().join(", ")
}

/// The dashboard's address for people, at one panel where one is given.
fn link(api: &Api, settings: &Settings, uid: &str, panel: Option<u64>) -> String {
    let base = settings.address(api.base());
    let panel = panel.map(|id| format!("&viewPanel={id}")).unwrap_or_default();
    let org = api.org().map(|id| format!("&orgId={id}")).unwrap_or_default();
    format!("{base}/d/{uid}?from=now-1h&to=now{panel}{org}")
}
