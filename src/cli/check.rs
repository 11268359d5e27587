//! `relight check`: the config, the runbook and every target that its checks name, without an incident.

use std::path::Path;
use std::sync::Arc;

use color_eyre::Result;
use jiff::Timestamp;

use crate::engine::Hands as _;
use crate::incident::{Actor, AttemptId, Event, EventKind, Gravity, IncidentId, Inputs, Knowledge, Notice, State};
use crate::runbook::{Action, Runbook, Step};
use crate::workers::{Cancel, Context, Io, Ran, Sink};

use super::Exit;
use super::arguments::Common;
use super::hands::Workers;
use super::incidents::{config, runbook_text};
use super::out::{self, outln};

struct Quiet;

impl Sink for Quiet {
    fn line(&self, _text: &str) {}
    fn notice(&self, _notice: Notice) {}
}

struct Row {
    title: String,
    target: String,
    good: bool,
    lines: Vec<String>,
}

pub(super) fn check(common: &Common, json: bool) -> Result<Exit> {
    let loaded = config(common)?;
    let (origin, text) = runbook_text(common)?;
    let runbook = Runbook::parse(&origin, &text)?;
    let mut rows: Vec<Row> = loaded
        .config
        .missing(&runbook)
        .into_iter()
        .map(|(target, step)| Row {
            title: step,
            target: target.to_string(),
            good: false,
            lines: vec![format!("{} does not name it", loaded.path.display())],
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state = scratch_state("CHECK", &loaded.config.environment, origin, text)?;
    let config = Arc::new(loaded.config);
    let folder = std::env::temp_dir();
    for step in runbook.steps() {
        let Action::Check { target } = &step.action else {
            continue;
        };
        if rows.iter().any(|row| row.target == target.to_string()) {
            continue;
        }
        let row = runtime.block_on(probe(step, target.to_string(), &state, &config, &folder));
        if !json {
            print_row(&row);
        }
        rows.push(row);
    }
    let good = rows.iter().all(|row| row.good);
    if json {
        let list: Vec<serde_json::Value> = rows
            .iter()
            .map(|row| serde_json::json!({ "check": row.title, "target": row.target, "good": row.good, "lines": row.lines }))
            .collect();
        out::json(&list)?;
    }
    Ok(if good { Exit::Done } else { Exit::Unverified })
}

fn print_row(row: &Row) {
    outln!("{} {:<28} {}", if row.good { "ok  " } else { "FAIL" }, row.title, row.target);
    for line in &row.lines {
        outln!("       {line}");
    }
}

async fn probe(step: &Step, target: String, state: &State, config: &Arc<crate::config::Config>, folder: &Path) -> Row {
    let hands = Workers::new(Arc::clone(config));
    let cx = Context {
        step: step.id.clone(),
        title: step.title.clone(),
        attempt: None,
        inputs: Inputs::new(),
        undoes: None,
        knowledge: Arc::new(Knowledge::of(state, &step.id, Timestamp::now())),
        config: Arc::clone(config),
        folder: folder.to_owned(),
    };
    // The hand that could stop it is kept until the check is over.
    let (_hand, cancel) = Cancel::new();
    let io = Io::new(AttemptId(0), cancel, folder.join("relight-check.log"), Arc::new(Quiet));
    let work = async {
        let worker = hands.worker(step, &cx.knowledge)?;
        let plan = worker.plan(&cx).await?;
        let findings = worker.preflight(&cx, &plan).await?;
        let blocking = plan.findings.iter().chain(&findings).find(|finding| finding.gravity == Gravity::Blocking);
        if let Some(blocking) = blocking {
            return Ok((false, vec![blocking.text.clone()]));
        }
        worker.run(&cx, &plan, &io).await.map(|ran| match ran {
            Ran::Done(done) => (true, done.evidence),
            Ran::Stopped(detail) => (false, vec![detail]),
        })
    };
    let (good, lines) =
        work.await.unwrap_or_else(|error: crate::workers::WorkerError| (false, vec![error.to_string()]));
    Row { title: step.title.clone(), target, good, lines }
}

/// Workers are told of an incident; a check has none, so it makes one up that is written nowhere.
pub(super) fn scratch_state(id: &str, environment: &str, origin: String, runbook: String) -> Result<State> {
    let opening = Event {
        seq: 1,
        at: Timestamp::now(),
        actor: Actor::engine(),
        kind: EventKind::Opened {
            id: IncidentId::new(id)?,
            environment: environment.to_owned(),
            runbook,
            origin,
            database: "the database".to_owned(),
            rto_seconds: 0,
            rpo_seconds: None,
            one_account: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    };
    Ok(State::open(&opening)?)
}
