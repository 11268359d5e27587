//! An engine whose workers follow a script, and clients of it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use relight::config::Config;
use relight::engine::{self, Handle, Hands, Home, Options};
use relight::incident::{
    AttemptId, Channel, Command, Fact, Finding, IncidentId, Inputs, Knowledge, Listing, Notice, OwedMessage, Plan,
    Refusal, State, StepStatus, TargetIdentity,
};
use relight::runbook::{Step, StepId};
use relight::wire::{self, Admission, FromEngine, Link, ToClient, ToEngine};
use relight::workers::{Context, Disposition, Done, Io, Probe, Ran, Worker, WorkerError};
use tokio::sync::mpsc;

pub(crate) const RUNBOOK: &str = r#"
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
pub(crate) enum Next {
    Succeed,
    Fail,
    /// Runs until it is stopped, or for ever.
    Hang,
    Panic,
}

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) runs: VecDeque<Next>,
    pub(crate) probe: Option<Probe>,
    pub(crate) identity: String,
    pub(crate) blocking: Option<String>,
    /// What blocks one step only.
    pub(crate) blocking_of: Option<(StepId, String)>,
    /// A step that finds nothing to do.
    pub(crate) nothing_to_do: Option<(StepId, String)>,
    pub(crate) ran: Vec<StepId>,
    pub(crate) sent: Vec<(String, bool)>,
    pub(crate) send_errors: VecDeque<Disposition>,
}

#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) running: mpsc::UnboundedSender<AttemptId>,
}

#[async_trait]
impl Worker for Scripted {
    async fn identify(&self, _cx: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(TargetIdentity { name: self.script.lock().unwrap().identity.clone(), ..TargetIdentity::default() })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let mut plan = Plan::new(cx.step.clone(), self.identify(cx).await?);
        plan.effects = vec!["something happens".to_owned()];
        let nothing = self.script.lock().unwrap().nothing_to_do.clone();
        plan.nothing_to_do = nothing.filter(|(step, _)| step == &cx.step).map(|(_, why)| why);
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let script = self.script.lock().unwrap();
        let of_this = script.blocking_of.as_ref().filter(|(step, _)| step == &cx.step).map(|(_, why)| why);
        Ok(script.blocking.iter().chain(of_this).map(Finding::blocking).collect())
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

pub(crate) fn done(step: &StepId) -> Done {
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
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) incident: PathBuf,
    pub(crate) hands: Scripted,
    pub(crate) running: mpsc::UnboundedReceiver<AttemptId>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::of(RUNBOOK)
    }

    pub(crate) fn of(runbook: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let incident = open(folder.path(), "INC-TEST", runbook);
        let (tx, running) = mpsc::unbounded_channel();
        let script = Script { identity: "target".to_owned(), ..Script::default() };
        Self { folder, incident, hands: Scripted { script: Arc::new(Mutex::new(script)), running: tx }, running }
    }

    /// Goes on with another incident of the same host.
    pub(crate) fn another(&mut self, id: &str) {
        self.incident = open(self.folder.path(), id, RUNBOOK);
    }

    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.hands.script.lock().unwrap());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// An engine in a runtime of its own: dropping it ends it as a killed process ends.
    pub(crate) fn engine(&self) -> Engine {
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

    pub(crate) fn state(&self) -> State {
        let history = relight::journal::read(&self.incident.join("journal.jsonl")).unwrap();
        State::replay(&history.events).unwrap()
    }
}

/// Opens an incident on disk.
fn open(root: &Path, id: &str, runbook: &str) -> PathBuf {
    let opening = crate::opening::opening(id, "test", "db", runbook);
    Home::find(Some(root)).unwrap().create(&IncidentId::new(id).unwrap(), &opening).unwrap()
}

pub(crate) struct Engine {
    pub(crate) runtime: Option<tokio::runtime::Runtime>,
    pub(crate) handle: Handle,
    pub(crate) ended: Option<tokio::task::JoinHandle<Result<(), engine::EngineError>>>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A client that folds what it hears.
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) state: Option<State>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) next: u64,
}

impl Client {
    pub(crate) async fn attach(socket: &Path) -> Self {
        let link = wire::connect(socket, 0, false).await.unwrap();
        let mut client = Self { link, state: None, notices: Vec::new(), next: 1 };
        client.until(|_, message| matches!(message, ToClient::CaughtUp { .. }).then_some(())).await;
        client
    }

    /// Listens until `found` finds something.
    pub(crate) async fn until<T>(&mut self, mut found: impl FnMut(&State, &ToClient) -> Option<T>) -> T {
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

    /// Listens until a notice is there, or takes one that was heard before.
    pub(crate) async fn until_noticed<T>(&mut self, mut found: impl FnMut(&Notice) -> Option<T>) -> T {
        if let Some(found) = self.notices.iter().find_map(&mut found) {
            return found;
        }
        self.until(|_, message| if let ToClient::Notice { notice } = message { found(notice) } else { None }).await
    }

    pub(crate) async fn ask(&mut self, command: Command) -> Result<(), Refusal> {
        let id = self.next;
        self.next += 1;
        self.link.tx.send(ToEngine::Command { id, command }).await.unwrap();
        self.until(|_, message| match message {
            ToClient::Reply { id: answered, result } if *answered == id => Some(result.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn plan(&mut self, step: &str) -> Plan {
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

    pub(crate) async fn approve(&mut self, plan: &Plan, typed: Option<&str>) -> Result<(), Refusal> {
        let (step, digest) = (plan.step.clone(), plan.digest());
        self.ask(Command::Approve { step, digest, typed: typed.map(str::to_owned) }).await
    }

    pub(crate) async fn until_status(&mut self, step: &str, wanted: impl Fn(&StepStatus) -> bool) -> StepStatus {
        let step = StepId::new(step);
        if let Some(state) = &self.state
            && wanted(state.status(&step))
        {
            return state.status(&step).clone();
        }
        self.until(|state, _| wanted(state.status(&step)).then(|| state.status(&step).clone())).await
    }

    pub(crate) async fn declare(&mut self) {
        let plan = self.plan("declare").await;
        self.approve(&plan, None).await.unwrap();
        self.until_status("declare", |status| matches!(status, StepStatus::Succeeded(_))).await;
    }
}
