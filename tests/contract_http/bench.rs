//! A worker over a config, with what an incident knows: plans, runs and probes it as the engine does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use relight::config::Config;
use relight::drill::standin::Tokens;
use relight::incident::{AttemptId, Fact, IncidentId, Inputs, Knowledge, KnownFact, Notice, Plan};
use relight::runbook::StepId;
use relight::workers::{Cancel, Context, Done, Io, Probe, Ran, Sink, Worker, WorkerError};
use serde_json::json;

/// The token that may do everything.
pub(crate) const TOKEN: &str = "full-4711-secret";
/// The one that may only read.
pub(crate) const READ_ONLY: &str = "read-0815-secret";

pub(crate) fn tokens() -> Tokens {
    Tokens::new(TOKEN).with_read_only(READ_ONLY)
}

pub(crate) fn step(id: &str) -> StepId {
    serde_json::from_value(json!(id)).expect("a step's id")
}

/// What an attempt showed.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) notices: Mutex<Vec<Notice>>,
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
pub(crate) struct Bench {
    pub(crate) config: String,
    /// Keeps the token's file.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) knowledge: Knowledge,
    pub(crate) inputs: Inputs,
    pub(crate) attempt: u32,
    pub(crate) heard: Arc<Heard>,
}

impl Bench {
    /// `target` is the config's section; `TOKEN_SOURCE` in it becomes the place of the token.
    pub(crate) fn new(target: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bench = Self {
            config: format!("environment = 'test'\nhttp_timeout = '10s'\n{target}"),
            folder,
            knowledge: Knowledge {
                phase: "Declare".to_owned(),
                ..Knowledge::at_first(
                    IncidentId::new("INC-7F3K").expect("an id"),
                    "test",
                    "financecopilot",
                    Timestamp::now(),
                )
            },
            inputs: Inputs::new(),
            attempt: 4,
            heard: Arc::default(),
        };
        bench.token(TOKEN);
        bench
    }

    /// Puts another token in its place.
    pub(crate) fn token(&self, token: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(self.token_file()).expect("a file");
        std::io::Write::write_all(&mut file, token.as_bytes()).expect("to write");
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Shortens the time that a service has to answer.
    pub(crate) fn hurry(&mut self) {
        self.config = self.config.replace("'10s'", "'200ms'");
    }

    pub(crate) fn says(&mut self, name: &str, value: &str) -> &mut Self {
        self.inputs.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn fact(&mut self, of: &str, fact: Fact) {
        let known = KnownFact { step: step(of), attempt: AttemptId(1), standing: true, fact };
        self.knowledge.facts.push(known);
    }

    pub(crate) fn cx(&self) -> Context {
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
    pub(crate) async fn plan(&self, worker: &dyn Worker) -> Result<Plan, WorkerError> {
        let cx = self.cx();
        let mut plan = worker.plan(&cx).await?;
        plan.inputs = cx.inputs.clone();
        let findings = worker.preflight(&cx, &plan).await?;
        plan.findings.extend(findings);
        Ok(plan)
    }

    pub(crate) async fn ready(&self, worker: &dyn Worker) -> Plan {
        let plan = self.plan(worker).await.expect("a plan");
        assert_eq!(plan.obstacle(), None);
        assert!(!format!("{plan:?}").contains(TOKEN), "a plan holds no secret");
        plan
    }

    pub(crate) async fn run(&self, worker: &dyn Worker, plan: &Plan) -> Result<Done, WorkerError> {
        assert_eq!(worker.identify(&self.cx()).await.expect("an identity"), plan.target);
        self.run_only(worker, plan).await
    }

    /// Runs what was planned without asking the target once more who it is.
    pub(crate) async fn run_only(&self, worker: &dyn Worker, plan: &Plan) -> Result<Done, WorkerError> {
        let cx = self.cx();
        let (_hand, cancel) = Cancel::new();
        let sink: Arc<dyn Sink> = self.heard.clone();
        let io = Io::new(AttemptId(self.attempt), cancel, self.folder.path().join("log"), sink);
        match worker.run(&cx, plan, &io).await? {
            Ran::Done(done) => Ok(done),
            Ran::Stopped(why) => panic!("nobody stopped it: {why}"),
        }
    }

    /// Plans and runs.
    pub(crate) async fn go(&self, worker: &dyn Worker) -> Result<Done, WorkerError> {
        let plan = self.ready(worker).await;
        self.run(worker, &plan).await
    }

    pub(crate) async fn probe(&self, worker: &dyn Worker, plan: &Plan) -> Probe {
        worker.probe(&self.cx(), plan).await.expect("a probe")
    }
}
