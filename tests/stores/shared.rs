//! What every test here needs: a context, a place for lines, a sandbox.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use relight::config::Config;
use relight::drill::ready::Ready;
use relight::incident::{AttemptId, Fact, Gravity, IncidentId, Inputs, Knowledge, KnownFact, Notice, Plan};
use relight::runbook::StepId;
use relight::workers::{Cancel, Context, Done, Io, Ran, Sink, Worker, WorkerError};
use tokio::sync::watch;

pub(crate) fn config(text: &str) -> Arc<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, format!("environment = \"test\"\n{text}")).unwrap();
    Arc::new(Config::load(&path).unwrap())
}

pub(crate) fn attempt(number: u32) -> AttemptId {
    AttemptId(number)
}

/// A context for a step, in a folder that stays as long as the caller keeps it.
pub(crate) fn context(config: &Arc<Config>, step: &str, folder: &Path) -> Context {
    Context {
        step: StepId::new(step),
        title: step.to_owned(),
        attempt: Some(attempt(7)),
        inputs: Inputs::new(),
        undoes: None,
        knowledge: Arc::new(Knowledge::at_first(
            IncidentId::new("INC-TEST").unwrap(),
            "test",
            "financecopilot",
            Timestamp::now(),
        )),
        config: Arc::clone(config),
        folder: folder.to_owned(),
    }
}

pub(crate) fn know(cx: &mut Context, edit: impl FnOnce(&mut Knowledge)) {
    edit(Arc::make_mut(&mut cx.knowledge));
}

pub(crate) fn know_fact(cx: &mut Context, step: &str, fact: Fact, standing: bool) {
    let step = StepId::new(step);
    know(cx, |known| known.facts.push(KnownFact { step, attempt: attempt(3), standing, fact }));
}

/// Keeps an attempt's lines.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Sink for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn notice(&self, _notice: Notice) {}
}

pub(crate) fn io() -> (Io, watch::Sender<bool>, Arc<Lines>) {
    let (hand, cancel) = Cancel::new();
    let lines = Arc::new(Lines::default());
    let sink: Arc<dyn Sink> = Arc::clone(&lines) as Arc<dyn Sink>;
    (Io::new(attempt(7), cancel, "/dev/null".into(), sink), hand, lines)
}

/// Plan with its preflight's findings, as the engine makes it.
pub(crate) async fn plan(worker: &dyn Worker, cx: &Context) -> Plan {
    let mut plan = worker.plan(cx).await.unwrap();
    assert_eq!(plan.target, worker.identify(cx).await.unwrap(), "the identity is stable");
    let findings = worker.preflight(cx, &plan).await.unwrap();
    plan.findings.extend(findings);
    // What is approved went through the journal.
    serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap()
}

pub(crate) async fn run(worker: &dyn Worker, cx: &Context, plan: &Plan) -> Result<Done, WorkerError> {
    let (io, _hand, _) = io();
    match worker.run(cx, plan, &io).await? {
        Ran::Done(done) => Ok(done),
        Ran::Stopped(why) => panic!("stopped: {why}"),
    }
}

pub(crate) fn blocking(plan: &Plan) -> Vec<&str> {
    let bad = plan.findings.iter().filter(|finding| finding.gravity == Gravity::Blocking);
    bad.map(|finding| finding.text.as_str()).collect()
}

/// A sandbox process; ended when the test is over, however it went.
pub(crate) struct Sandbox {
    child: Child,
    pub(crate) ready: Ready,
    _home: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("drill");
        let mut child = Command::new(env!("CARGO_BIN_EXE_relight"))
            .args(["sandbox", "--dir"])
            .arg(&dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut words = String::new();
            child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
            panic!("the sandbox did not get ready: {words}");
        }
        let ready = Ready::read(&dir).unwrap().unwrap();
        Self { child, ready, _home: home }
    }

    pub(crate) fn config(&self) -> Config {
        Config::load(&self.ready.config).unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // An orderly end, so that nothing is left in the folder for temporary files.
        if !self.ready.stop() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
