//! The workers for Kubernetes, Redis and objects against the drill's real world.

mod identity;
mod kubernetes;
mod watches;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use relight::config::Config;
use relight::drill::ready::Ready;
use relight::incident::{
    AttemptId, Fact, Finding, Gravity, IncidentId, Inputs, Knowledge, KnownFact, Notice, PastAttempt, Plan,
};
use relight::runbook::StepId;
use relight::workers::{Cancel, Context, Done, Io, Ran, Sink, Worker, WorkerError};
use tokio::sync::watch;

/// A sandbox process; ended when the test is over, however it went.
struct Sandbox {
    child: Child,
    ready: Ready,
    home: tempfile::TempDir,
}

impl Sandbox {
    fn start() -> Self {
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
        Self { child, ready, home }
    }

    fn config(&self) -> String {
        std::fs::read_to_string(&self.ready.config).unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.ready.stop() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A config from text.
fn config(folder: &Path, text: &str) -> Arc<Config> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join("config.toml");
    let _ = std::fs::remove_file(&path);
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    Arc::new(Config::load(&path).unwrap())
}

/// What a step is told, with nothing known yet.
fn context(config: &Arc<Config>, folder: &Path, name: &str) -> Context {
    let knowledge =
        Knowledge::at_first(IncidentId::new("INC-TEST").unwrap(), "drill", "financecopilot", jiff::Timestamp::now());
    Context {
        step: self::step(name),
        title: name.to_owned(),
        attempt: Some(AttemptId(1)),
        inputs: Inputs::new(),
        undoes: None,
        knowledge: Arc::new(knowledge),
        config: Arc::clone(config),
        folder: folder.to_owned(),
    }
}

/// The same, knowing more.
fn knowing(cx: &Context, change: impl FnOnce(&mut Knowledge)) -> Context {
    let mut knowledge = (*cx.knowledge).clone();
    change(&mut knowledge);
    Context { knowledge: Arc::new(knowledge), ..cx.clone() }
}

fn step(name: &str) -> StepId {
    StepId::new(name)
}

fn known(name: &str, attempt: u32, fact: Fact) -> KnownFact {
    KnownFact { step: step(name), attempt: AttemptId(attempt), standing: true, fact }
}

fn past(attempt: u32, plan: &Plan) -> PastAttempt {
    PastAttempt { id: AttemptId(attempt), plan: Arc::new(plan.clone()), may_have_acted: true }
}

fn answering(cx: &Context, answers: &[(&str, &str)]) -> Context {
    let inputs = answers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Context { inputs, ..cx.clone() }
}

/// Keeps the lines of an attempt and lets a test wait for one.
struct Recorder {
    lines: watch::Sender<Vec<String>>,
    notices: Mutex<Vec<Notice>>,
}

impl Sink for Recorder {
    fn line(&self, text: &str) {
        self.lines.send_modify(|lines| lines.push(text.to_owned()));
    }

    fn notice(&self, notice: Notice) {
        self.notices.lock().unwrap().push(notice);
    }
}

/// An attempt's ears and its stop button.
struct Attempt {
    io: Io,
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
}

impl Attempt {
    fn new() -> Self {
        let recorder = Arc::new(Recorder { lines: watch::Sender::new(Vec::new()), notices: Mutex::default() });
        let (stop, cancel) = Cancel::new();
        let io = Io::new(AttemptId(1), cancel, PathBuf::from("/dev/null"), Arc::clone(&recorder) as Arc<dyn Sink>);
        Self { io, recorder, stop }
    }

    /// Waits until a line holds all of these.
    async fn line(&self, parts: &[&str]) {
        let mut lines = self.recorder.lines.subscribe();
        let said = |lines: &Vec<String>| lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        lines.wait_for(said).await.unwrap();
    }

    fn lines(&self) -> Vec<String> {
        self.recorder.lines.borrow().clone()
    }

    /// The last number of a progress bar.
    fn progress(&self) -> Option<(u64, Option<u64>)> {
        let notices = self.recorder.notices.lock().unwrap();
        notices.iter().rev().find_map(|notice| match notice {
            Notice::Progress { done, total, .. } => Some((*done, *total)),
            _ => None,
        })
    }
}

/// Plans, looks, and runs what was planned; nothing may block.
async fn do_it(worker: &dyn Worker, cx: &Context) -> Result<Done, WorkerError> {
    let plan = worker.plan(cx).await?;
    assert_eq!(plan.obstacle(), None);
    let findings = worker.preflight(cx, &plan).await?;
    assert_eq!(blocking(&findings), None);
    assert_eq!(worker.identify(cx).await?, plan.target);
    run(worker, cx, &plan).await
}

async fn run(worker: &dyn Worker, cx: &Context, plan: &Plan) -> Result<Done, WorkerError> {
    match worker.run(cx, plan, &Attempt::new().io).await? {
        Ran::Done(done) => Ok(done),
        Ran::Stopped(what) => panic!("nobody stopped it, but it stopped: {what}"),
    }
}

fn blocking(findings: &[Finding]) -> Option<String> {
    findings.iter().find(|finding| finding.gravity == Gravity::Blocking).map(|finding| finding.text.clone())
}

fn warning(findings: &[Finding], part: &str) -> bool {
    findings.iter().any(|finding| finding.gravity == Gravity::Warning && finding.text.contains(part))
}
