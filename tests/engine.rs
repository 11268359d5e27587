//! The engine with scripted workers: a real journal, a real socket, real clients.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use relight::config::Config;
use relight::engine::{self, Handle, Hands, Home, Input, Options};
use relight::incident::{
    Actor, AttemptId, Channel, Command, Digest, Event, EventKind, Fact, Finding, IncidentId, Inputs, Knowledge,
    Listing, Notice, Outcome, OwedMessage, Plan, Refusal, State, StepStatus, TargetIdentity,
};
use relight::runbook::{Step, StepId};
use relight::wire::{self, Admission, FromEngine, Link, ToClient, ToEngine};
use relight::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};
use tokio::sync::mpsc;

const RUNBOOK: &str = r#"
id = "test"
title = "Test"
[[phase]]
id = "p"
title = "Phase"
[[phase.step]]
id = "declare"
title = "Declare"
why = "w"
approval = "confirm"
milestone = true
action.declare_incident = { incident_type = "Data Loss", title = "t", details = "d" }
[[phase.step]]
id = "flush"
title = "Flush"
why = "w"
approval = "type"
needs = ["declare"]
milestone = true
action.flush_cache = { cache = "redis.cache" }
[[phase.step]]
id = "close"
title = "Close"
why = "w"
approval = "confirm"
needs = ["flush"]
action.close_incident = { incident = "declare", resolution = "r" }
"#;

/// What a scripted run does next.
enum Next {
    Succeed,
    Fail,
    /// Runs until it is stopped, or for ever.
    Hang,
    Panic,
}

#[derive(Default)]
struct Script {
    runs: VecDeque<Next>,
    probe: Option<Probe>,
    identity: String,
    blocking: Option<String>,
    ran: Vec<StepId>,
    sent: Vec<(String, bool)>,
    send_errors: VecDeque<Disposition>,
}

#[derive(Clone)]
struct Scripted {
    script: Arc<Mutex<Script>>,
    running: mpsc::UnboundedSender<AttemptId>,
}

#[async_trait]
impl Worker for Scripted {
    async fn identify(&self, _cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(TargetIdentity { name: self.script.lock().unwrap().identity.clone(), ..TargetIdentity::default() })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let mut plan = Plan::new(cx.step.clone(), self.identify(cx).await?);
        plan.effects = vec!["something happens".to_owned()];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(self.script.lock().unwrap().blocking.iter().map(Finding::blocking).collect())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let next = {
            let mut script = self.script.lock().unwrap();
            script.ran.push(cx.step.clone());
            script.runs.pop_front().unwrap_or(Next::Succeed)
        };
        io.line("at work");
        self.running.send(io.attempt).unwrap();
        match next {
            Next::Succeed => Ok(Ran::Done(done(&cx.step))),
            Next::Fail => Err(WorkerError::new("do it", "the target", "It said no.", "Ask again.")),
            Next::Hang => {
                io.cancel.cancelled().await;
                Ok(Ran::Stopped("half way".to_owned()))
            }
            Next::Panic => panic!("a bug"),
        }
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(self.script.lock().unwrap().probe.clone().unwrap_or_else(|| Probe::Unknown("it cannot tell".to_owned())))
    }
}

fn done(step: &StepId) -> Done {
    let facts = if step.as_str() == "declare" {
        vec![Fact::PagerDuty { id: "PD1".to_owned(), number: 1, url: "u".to_owned(), adopted: false }]
    } else {
        Vec::new()
    };
    Done { evidence: vec!["proved".to_owned()], facts }
}

#[async_trait]
impl Hands for Scripted {
    fn worker(&self, _step: &Step, _knowledge: &Knowledge) -> Result<Box<dyn Worker>, WorkerError> {
        Ok(Box::new(self.clone()))
    }

    async fn list(&self, _step: &Step, _knowledge: &Knowledge) -> Result<Option<Listing>, WorkerError> {
        Ok(None)
    }

    fn reads(&self, channel: Channel) -> bool {
        channel == Channel::PagerDutyNote
    }

    async fn send(&self, message: &OwedMessage, _: &Knowledge, again: bool) -> Result<String, WorkerError> {
        let mut script = self.script.lock().unwrap();
        script.sent.push((message.text.clone(), again));
        match script.send_errors.pop_front() {
            Some(disposition) => Err(WorkerError::new("send", "PagerDuty", "No.", "").with(disposition)),
            None => Ok(format!("N{}", message.id)),
        }
    }
}

/// An incident on disk, and a script for its workers.
struct Bench {
    folder: tempfile::TempDir,
    incident: PathBuf,
    hands: Scripted,
    running: mpsc::UnboundedReceiver<AttemptId>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        let id = IncidentId::new("INC-TEST").unwrap();
        let opening = Event {
            seq: 1,
            at: Timestamp::now(),
            actor: Actor { name: "ana".to_owned(), uid: Some(1000) },
            kind: EventKind::Opened {
                id: id.clone(),
                environment: "test".to_owned(),
                runbook: RUNBOOK.to_owned(),
                origin: "test".to_owned(),
                database: "db".to_owned(),
                rto_seconds: 3600,
                rpo_seconds: None,
                one_account: false,
                version: "0".to_owned(),
            },
        };
        let incident = home.create(&id, &opening).unwrap();
        let (tx, running) = mpsc::unbounded_channel();
        let script = Script { identity: "target".to_owned(), ..Script::default() };
        Self { folder, incident, hands: Scripted { script: Arc::new(Mutex::new(script)), running: tx }, running }
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.hands.script.lock().unwrap());
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// An engine in a runtime of its own: dropping it ends it as a killed process ends.
    fn engine(&self) -> Engine {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = Options {
            folder: self.incident.clone(),
            config: Arc::new(toml::from_str::<Config>("environment = 'test'").unwrap()),
            hands: Arc::new(self.hands.clone()),
        };
        let socket = self.socket();
        let (ready, wait) = std::sync::mpsc::channel::<Handle>();
        let ended = runtime.spawn(async move {
            engine::run(options, move |handle| {
                let listener = wire::bind(&socket, None).unwrap();
                drop(wire::serve(vec![listener], &handle, &Arc::new(Admission::default())));
                ready.send(handle).unwrap();
            })
            .await
        });
        let handle = wait.recv().expect("the engine starts");
        Engine { runtime: Some(runtime), handle, ended: Some(ended) }
    }

    fn state(&self) -> State {
        let history = relight::journal::read(&self.incident.join("journal.jsonl")).unwrap();
        State::replay(&history.events).unwrap()
    }
}

struct Engine {
    runtime: Option<tokio::runtime::Runtime>,
    handle: Handle,
    ended: Option<tokio::task::JoinHandle<Result<(), engine::EngineError>>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A client that folds what it hears.
struct Client {
    link: Link,
    state: Option<State>,
    notices: Vec<Notice>,
    next: u64,
}

impl Client {
    async fn attach(socket: &Path) -> Self {
        let link = wire::connect(socket, 0, false).await.unwrap();
        let mut client = Self { link, state: None, notices: Vec::new(), next: 1 };
        client.until(|_, message| matches!(message, ToClient::CaughtUp { .. }).then_some(())).await;
        client
    }

    /// Listens until `found` finds something.
    async fn until<T>(&mut self, mut found: impl FnMut(&State, &ToClient) -> Option<T>) -> T {
        loop {
            let message = match self.link.rx.recv().await.expect("the link stands") {
                FromEngine::Message(message) => message,
                FromEngine::Lost(why) => panic!("lost: {why}"),
            };
            match &message {
                ToClient::Event { event } => match &mut self.state {
                    None => self.state = Some(State::open(event).unwrap()),
                    Some(state) => state.apply(event).unwrap(),
                },
                ToClient::Notice { notice } => self.notices.push(notice.clone()),
                _ => {}
            }
            if let Some(state) = &self.state
                && let Some(found) = found(state, &message)
            {
                return found;
            }
        }
    }

    async fn ask(&mut self, command: Command) -> Result<(), Refusal> {
        let id = self.next;
        self.next += 1;
        self.link.tx.send(ToEngine::Command { id, command }).await.unwrap();
        self.until(|_, message| match message {
            ToClient::Reply { id: answered, result } if *answered == id => Some(result.clone()),
            _ => None,
        })
        .await
    }

    async fn plan(&mut self, step: &str) -> Plan {
        let step = StepId::new(step);
        self.ask(Command::Prepare { step: step.clone(), inputs: Inputs::new(), undoes: None }).await.unwrap();
        if let Some(at) =
            self.notices.iter().position(|notice| matches!(notice, Notice::Planned { step: of, .. } if of == &step))
        {
            let Notice::Planned { result, .. } = self.notices.remove(at) else { unreachable!() };
            return *result.unwrap();
        }
        let plan = self
            .until(|_, message| match message {
                ToClient::Notice { notice: Notice::Planned { step: of, result } } if of == &step => {
                    Some(result.clone())
                }
                _ => None,
            })
            .await
            .unwrap();
        self.notices.retain(|notice| !matches!(notice, Notice::Planned { .. }));
        *plan
    }

    async fn approve(&mut self, plan: &Plan, typed: Option<&str>) -> Result<(), Refusal> {
        let (step, digest) = (plan.step.clone(), plan.digest());
        self.ask(Command::Approve { step, digest, typed: typed.map(str::to_owned) }).await
    }

    async fn until_status(&mut self, step: &str, wanted: impl Fn(&StepStatus) -> bool) -> StepStatus {
        let step = StepId::new(step);
        if let Some(state) = &self.state
            && wanted(state.status(&step))
        {
            return state.status(&step).clone();
        }
        self.until(|state, _| wanted(state.status(&step)).then(|| state.status(&step).clone())).await
    }

    async fn declare(&mut self) {
        let plan = self.plan("declare").await;
        self.approve(&plan, None).await.unwrap();
        self.until_status("declare", |status| matches!(status, StepStatus::Succeeded(_))).await;
    }
}

#[tokio::test]
async fn a_run_from_opening_to_close_tells_every_milestone_once_and_ends_the_engine() {
    let bench = Bench::new();
    let mut engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    client.declare().await;
    let plan = client.plan("flush").await;
    assert_eq!(client.approve(&plan, Some("wrong")).await, Err(Refusal::WrongName { expected: "target".to_owned() }));
    client.approve(&plan, Some("target")).await.unwrap();
    client.until_status("flush", |status| matches!(status, StepStatus::Succeeded(_))).await;
    let plan = client.plan("close").await;
    client.approve(&plan, None).await.unwrap();
    // Closed and nothing owed: the engine ends by itself.
    engine.ended.take().unwrap().await.unwrap().unwrap();
    let state = bench.state();
    assert!(state.closed_at.is_some());
    assert_eq!(state.unsent().count(), 0);
    let sent: Vec<String> =
        bench.hands.script.lock().unwrap().sent.iter().map(|(text, _)| text[10..].to_owned()).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent[0].starts_with("Incident INC-TEST opened by ana"), "{sent:?}");
    assert!(sent[1].starts_with("Declare: proved"), "{sent:?}");
    assert!(sent[2].starts_with("Flush: proved"), "{sent:?}");
}

#[tokio::test]
async fn nothing_runs_without_an_approval_of_the_plan_that_was_shown() {
    let bench = Bench::new();
    let _engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    let step = StepId::new("declare");
    let approve = |digest| Command::Approve { step: StepId::new("declare"), digest, typed: None };
    assert!(matches!(client.ask(approve(Digest::default())).await, Err(Refusal::PlanChanged { .. })));
    let first = client.plan("declare").await;
    bench.script(|script| script.identity = "another target".to_owned());
    let second = client.plan("declare").await;
    assert_ne!(first.digest(), second.digest());
    assert!(matches!(client.ask(approve(first.digest())).await, Err(Refusal::PlanChanged { .. })));
    assert!(matches!(
        client.ask(Command::Prepare { step: StepId::new("flush"), inputs: Inputs::new(), undoes: None }).await,
        Err(Refusal::NotReady { .. })
    ));
    bench.script(|script| script.blocking = Some("not today".to_owned()));
    let blocked = client.plan("declare").await;
    assert_eq!(client.approve(&blocked, None).await, Err(Refusal::Obstacle { why: "not today".to_owned() }));
    assert!(bench.hands.script.lock().unwrap().ran.is_empty());
    assert_eq!(bench.state().status(&step), &StepStatus::Pending);
}

#[tokio::test]
async fn a_target_that_changed_since_the_approval_is_left_alone() {
    let bench = Bench::new();
    let _engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    let plan = client.plan("declare").await;
    bench.script(|script| script.identity = "another target".to_owned());
    client.approve(&plan, None).await.unwrap();
    client.until_status("declare", |status| matches!(status, StepStatus::Failed(_))).await;
    assert!(bench.hands.script.lock().unwrap().ran.is_empty());
    let state = bench.state();
    let Some(Outcome::Failed { problem }) = &state.attempts[&AttemptId(1)].outcome else { panic!("not failed") };
    assert!(problem.why.contains("not the one that was approved"), "{}", problem.why);
}

#[tokio::test]
async fn an_attempt_that_outlived_its_engine_is_probed_and_never_run_again() {
    let mut bench = Bench::new();
    bench.script(|script| {
        script.runs.extend([Next::Succeed, Next::Hang]);
        script.probe =
            Some(Probe::Happened(Done { evidence: vec!["the target says so".to_owned()], facts: Vec::new() }));
    });
    let engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    client.declare().await;
    bench.running.recv().await.unwrap();
    let plan = client.plan("flush").await;
    client.approve(&plan, Some("target")).await.unwrap();
    assert_eq!(bench.running.recv().await, Some(AttemptId(2)));
    drop(engine);
    let _second = engine_when_free(&bench);
    let mut client = Client::attach(&bench.socket()).await;
    client.until_status("flush", |status| matches!(status, StepStatus::Succeeded(_))).await;
    let ran = bench.hands.script.lock().unwrap().ran.len();
    assert_eq!(ran, 2, "declare once, flush once");
    // The first engine's plan is no plan for the second.
    assert!(matches!(
        client.approve(&plan, Some("target")).await,
        Err(Refusal::PlanChanged { .. } | Refusal::WrongState { .. })
    ));
}

/// The dropped runtime lets its journal go from a thread of its own.
fn engine_when_free(bench: &Bench) -> Engine {
    let lock = std::fs::File::open(bench.incident.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    drop(lock);
    bench.engine()
}

#[tokio::test]
async fn a_doubt_that_the_target_cannot_settle_waits_for_a_person() {
    let mut bench = Bench::new();
    bench.script(|script| script.runs.extend([Next::Hang]));
    let engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    let plan = client.plan("declare").await;
    client.approve(&plan, None).await.unwrap();
    bench.running.recv().await.unwrap();
    drop(engine);
    let _second = engine_when_free(&bench);
    let mut client = Client::attach(&bench.socket()).await;
    client.until_status("declare", |status| matches!(status, StepStatus::InDoubt(_))).await;
    assert!(matches!(
        client.ask(Command::Prepare { step: StepId::new("declare"), inputs: Inputs::new(), undoes: None }).await,
        Err(Refusal::WrongState { .. })
    ));
    let settle = Command::Settle { attempt: AttemptId(1), happened: false, note: "looked in PagerDuty".to_owned() };
    client.ask(settle).await.unwrap();
    client.until_status("declare", |status| matches!(status, StepStatus::Stopped(_))).await;
    client.ask(Command::Retry { step: StepId::new("declare") }).await.unwrap();
    client.declare().await;
}

#[tokio::test]
async fn failures_stops_and_panics_are_outcomes() {
    let mut bench = Bench::new();
    bench.script(|script| script.runs.extend([Next::Fail, Next::Hang, Next::Panic]));
    let _engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    let plan = client.plan("declare").await;
    client.approve(&plan, None).await.unwrap();
    client.until_status("declare", |status| matches!(status, StepStatus::Failed(_))).await;
    client.ask(Command::Retry { step: StepId::new("declare") }).await.unwrap();
    let plan = client.plan("declare").await;
    client.approve(&plan, None).await.unwrap();
    bench.running.recv().await.unwrap();
    assert_eq!(bench.running.recv().await, Some(AttemptId(2)));
    client.ask(Command::Stop { attempt: AttemptId(2) }).await.unwrap();
    client.until_status("declare", |status| matches!(status, StepStatus::Stopped(_))).await;
    client.ask(Command::Retry { step: StepId::new("declare") }).await.unwrap();
    let plan = client.plan("declare").await;
    client.approve(&plan, None).await.unwrap();
    client.until_status("declare", |status| matches!(status, StepStatus::InDoubt(_))).await;
    let log = std::fs::read_to_string(bench.incident.join("output/3.log")).unwrap();
    assert!(log.starts_with("at work\n") && log.contains("A fault in relight ended this step: a bug."), "{log}");
}

#[tokio::test]
async fn a_message_whose_fate_is_unknown_is_looked_for_before_it_is_sent_again() {
    let bench = Bench::new();
    bench.script(|script| script.send_errors.extend([Disposition::InDoubt]));
    let engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    client.declare().await;
    client.until(|state, _| (state.unsent().next().is_none() && state.messages.len() == 2).then_some(())).await;
    let sent: Vec<bool> = bench.hands.script.lock().unwrap().sent.iter().map(|(_, again)| *again).collect();
    assert_eq!(sent, [false, true, false]);
    assert!(engine.handle.send(Input::Shutdown).await);
}

#[tokio::test]
async fn a_client_that_attaches_later_sees_the_same_state() {
    let bench = Bench::new();
    let _engine = bench.engine();
    let mut first = Client::attach(&bench.socket()).await;
    first.declare().await;
    first.ask(Command::Note { text: "second pair of eyes".to_owned() }).await.unwrap();
    let mut second = Client::attach(&bench.socket()).await;
    let seen = second.state.as_ref().unwrap().timeline.iter().any(|entry| entry.text == "second pair of eyes");
    assert!(seen);
    second.ask(Command::Note { text: "both may write".to_owned() }).await.unwrap();
    first.until(|state, _| state.timeline.iter().any(|entry| entry.text == "both may write").then_some(())).await;
}
