//! The workers of the HTTP services against strict stand-ins: what they change there, and what they make of refusals,
//! silences and nonsense.

mod endpoints;
mod grafana;
mod launchdarkly;
mod notes;
mod pagerduty;
mod slack;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use relight::config::Config;
use relight::drill::standin::{Fault, FaultKind, StandIn, Tokens};
use relight::incident::{
    AttemptId, Fact, Finding, Gravity, IncidentId, Inputs, Knowledge, KnownFact, Notice, Outcome, PastAttempt, Plan,
    Problem,
};
use relight::runbook::StepId;
use relight::workers::{Cancel, Context, Disposition, Done, Io, Probe, Ran, Sink, Worker, WorkerError};
use serde_json::{Value, json};

/// The token that may do everything.
const TOKEN: &str = "full-4711-secret";
/// The one that may only read.
const READ_ONLY: &str = "read-0815-secret";

fn tokens() -> Tokens {
    Tokens::new(TOKEN).with_read_only(READ_ONLY)
}

fn step(id: &str) -> StepId {
    serde_json::from_value(json!(id)).expect("a step's id")
}

/// What an attempt showed.
#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    notices: Mutex<Vec<Notice>>,
}

impl Sink for Heard {
    fn line(&self, text: &str) {
        self.lines.lock().unwrap().push(text.to_owned());
    }

    fn notice(&self, notice: Notice) {
        self.notices.lock().unwrap().push(notice);
    }
}

/// A config over stand-ins, the incident's knowledge, and an attempt to run.
struct Bench {
    config: String,
    /// Keeps the token's file.
    folder: tempfile::TempDir,
    knowledge: Knowledge,
    inputs: Inputs,
    attempt: u32,
    heard: Arc<Heard>,
}

impl Bench {
    /// `target` is the config's section; `TOKEN_SOURCE` in it becomes the place of the token.
    fn new(target: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Self {
            config: format!("environment = 'test'\nhttp_timeout = '10s'\n{target}"),
            folder,
            knowledge: Knowledge {
                incident: IncidentId::new("INC-7F3K").expect("an id"),
                environment: "test".to_owned(),
                database: "financecopilot".to_owned(),
                onset: None,
                regulated: None,
                writes_stopped_at: None,
                snapshot_time: None,
                unvalidated: Vec::new(),
                rto_deadline: None,
                facts: Vec::new(),
                past: Vec::new(),
                done: Vec::new(),
                phase: "Declare".to_owned(),
                last_failure: None,
                now: Timestamp::now(),
            },
            inputs: Inputs::new(),
            attempt: 4,
            heard: Arc::default(),
        };
        bench.token(TOKEN);
        bench
    }

    /// Puts another token in its place.
    fn token(&self, token: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(self.token_file()).expect("a file");
        std::io::Write::write_all(&mut file, token.as_bytes()).expect("to write");
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Shortens the time that a service has to answer.
    fn hurry(&mut self) {
        self.config = self.config.replace("'10s'", "'200ms'");
    }

    fn says(&mut self, name: &str, value: &str) -> &mut Self {
        self.inputs.insert(name.to_owned(), value.to_owned());
        self
    }

    fn fact(&mut self, of: &str, fact: Fact) {
        let known = KnownFact { step: step(of), attempt: AttemptId(1), standing: true, fact };
        self.knowledge.facts.push(known);
    }

    fn cx(&self) -> Context {
        let source = format!("{{ file = '{}' }}", self.token_file().display());
        let config: Config = toml::from_str(&self.config.replace("TOKEN_SOURCE", &source)).expect("a config");
        Context {
            step: step("the.step"),
            title: "The step".to_owned(),
            attempt: Some(AttemptId(self.attempt)),
            inputs: self.inputs.clone(),
            undoes: None,
            knowledge: Arc::new(self.knowledge.clone()),
            config: Arc::new(config),
            folder: self.folder.path().to_owned(),
        }
    }

    /// The plan with its preflight's findings, as the engine makes it.
    async fn plan(&self, worker: &dyn Worker) -> Result<Plan, WorkerError> {
        let cx = self.cx();
        let mut plan = worker.plan(&cx).await?;
        plan.inputs = cx.inputs.clone();
        let findings = worker.preflight(&cx, &plan).await?;
        plan.findings.extend(findings);
        Ok(plan)
    }

    async fn ready(&self, worker: &dyn Worker) -> Plan {
        let plan = self.plan(worker).await.expect("a plan");
        assert_eq!(plan.obstacle(), None);
        assert!(!format!("{plan:?}").contains(TOKEN), "a plan holds no secret");
        plan
    }

    async fn run(&self, worker: &dyn Worker, plan: &Plan) -> Result<Done, WorkerError> {
        let cx = self.cx();
        assert_eq!(worker.identify(&cx).await.expect("an identity"), plan.target);
        let (_hand, cancel) = Cancel::new();
        let sink: Arc<dyn Sink> = self.heard.clone();
        let io = Io::new(AttemptId(self.attempt), cancel, self.folder.path().join("log"), sink);
        match worker.run(&cx, plan, &io).await? {
            Ran::Done(done) => Ok(done),
            Ran::Stopped(why) => panic!("nobody stopped it: {why}"),
        }
    }

    /// Plans and runs.
    async fn go(&self, worker: &dyn Worker) -> Result<Done, WorkerError> {
        let plan = self.ready(worker).await;
        self.run(worker, &plan).await
    }

    async fn probe(&self, worker: &dyn Worker, plan: &Plan) -> Probe {
        worker.probe(&self.cx(), plan).await.expect("a probe")
    }
}

fn blocking(plan: &Plan) -> Vec<&str> {
    let blocks = |finding: &&Finding| finding.gravity == Gravity::Blocking;
    plan.findings.iter().filter(blocks).map(|finding| finding.text.as_str()).collect()
}

fn answer(status: u16) -> FaultKind {
    FaultKind::Answer { status, headers: None, body: None, bare: false, effect: false }
}

fn bare(status: u16) -> FaultKind {
    FaultKind::Answer { status, headers: None, body: None, bare: true, effect: false }
}

/// Strikes every following request of a method and path until it is taken away.
fn strike(stand_in: &StandIn, method: &str, path: &str, kind: FaultKind) {
    stand_in.fault(Fault::on(method, path, kind)).expect("a fault");
}

/// The error that a run ends in when the request under `path` is struck by `kind`.
async fn struck(
    bench: &Bench,
    stand_in: &StandIn,
    worker: &dyn Worker,
    on: (&str, &str),
    kind: FaultKind,
) -> WorkerError {
    let plan = bench.ready(worker).await;
    strike(stand_in, on.0, on.1, kind);
    let error = bench.run(worker, &plan).await.expect_err("an error");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(TOKEN) && !text.contains(READ_ONLY), "{text}");
    }
    error
}

/// Every refusal that all services share, on a call that writes. `once` says that the write may not be repeated.
async fn refusals(bench: &Bench, stand_in: &StandIn, worker: &dyn Worker, on: (&str, &str), once: bool) {
    let failed = if once { Disposition::InDoubt } else { Disposition::Retry };
    for (kind, disposition, says) in [
        (answer(401), Disposition::AskOperator, "does not accept the token"),
        (answer(403), Disposition::AskOperator, "it lacks "),
        (answer(404), Disposition::AskOperator, "does not know "),
        (answer(500), failed, "failed on its side"),
        (bare(503), failed, "failed on its side"),
        (bare(302), Disposition::AskOperator, "points elsewhere"),
        (FaultKind::Drop, Disposition::InDoubt, "broke off"),
        (FaultKind::Cut { after_bytes: 0 }, Disposition::InDoubt, "broke off"),
    ] {
        let what = format!("{kind:?}");
        let before = stand_in.state();
        let error = struck(bench, stand_in, worker, on, kind).await;
        assert_eq!(error.disposition, disposition, "{what}: {error}");
        assert!(error.cause.contains(says), "{what}: {error}");
        assert!(!error.next.is_empty() && error.target.contains("127.0.0.1"), "{what}: {error}");
        if !what.starts_with("Cut") {
            assert_eq!(stand_in.state(), before, "{what} had no effect");
        }
    }
}

fn waits(error: &WorkerError) -> u64 {
    match error.disposition {
        Disposition::Wait(time) => time.as_secs(),
        other => panic!("{other:?}: {error}"),
    }
}

fn in_doubt() -> Outcome {
    let problem = Problem { what: "x".into(), target: "x".into(), why: "x".into(), next: "x".into() };
    Outcome::InDoubt { problem }
}

fn past(basis: Value, outcome: Option<Outcome>) -> PastAttempt {
    PastAttempt { id: AttemptId(1), basis, outcome }
}
