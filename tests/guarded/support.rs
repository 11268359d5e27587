//! A person's home, a small incident in it, and a real engine for that.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Output, Stdio};

use relight::engine::Home;
use relight::incident::{self, Actor, Event, IncidentId, Notice, Plan, Refusal, State};
use relight::runbook::StepId;
use relight::wire::{self, ConnectError, FromEngine, Link, ToClient, ToEngine};

pub(crate) const ID: &str = "INC-TEST";

pub(crate) fn id() -> IncidentId {
    IncidentId::new(ID).unwrap()
}

/// How an incident begins.
pub(crate) fn opening(runbook: &str, environment: &str) -> Event {
    let actor = Actor { name: "ana".to_owned(), uid: Some(0) };
    Event { actor, ..crate::opening::opening(ID, environment, "db", runbook) }
}

/// The runbook of steps that each run the command `effect`.
pub(crate) fn runbook(steps: &[(&str, &str)]) -> String {
    let mut text = "id = 'test'\ntitle = 'Test'\n[[phase]]\nid = 'p'\ntitle = 'Phase'\n".to_owned();
    for (id, approval) in steps {
        let _ = write!(
            text,
            "[[phase.step]]\nid = '{id}'\ntitle = 'Step {id}'\nwhy = 'w'\napproval = '{approval}'\n\
             action.run_command = {{ command = 'command.effect', changes = true }}\n"
        );
    }
    text
}

/// Somebody's folders, so that tests meet nobody's incidents.
pub(crate) struct Person {
    folder: tempfile::TempDir,
}

impl Person {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rl").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state/relight")
    }

    pub(crate) fn incident(&self) -> PathBuf {
        self.state().join("incidents").join(ID)
    }

    pub(crate) fn home(&self) -> Home {
        Home::find(Some(&self.state())).unwrap()
    }

    pub(crate) fn environment(&self, command: &mut Process) {
        command
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_CONFIG_HOME", self.path("nothing-here"))
            .stdin(Stdio::null());
    }

    pub(crate) fn command(&self, words: &[&str]) -> Process {
        let mut command = Process::new(env!("CARGO_BIN_EXE_relight"));
        command.args(words);
        self.environment(&mut command);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The socket of the incident's engine.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run").join("relight").join(format!("{ID}.sock"))
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An engine; it ends with the test.
pub(crate) struct Engine(pub(crate) Child);

impl Engine {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(mut command: Process) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let engine = Self(child);
        assert_eq!(line, "ready\n");
        engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client that folds what it hears.
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) state: Option<State>,
    next: u64,
}

impl Client {
    pub(crate) async fn attach(socket: &Path, watch: bool) -> Result<Self, ConnectError> {
        let link = wire::connect(socket, 0, watch).await?;
        let mut client = Self { link, state: None, next: 1 };
        client.until(|_, message| matches!(message, ToClient::CaughtUp { .. }).then_some(())).await;
        Ok(client)
    }

    pub(crate) async fn until<T>(&mut self, mut found: impl FnMut(&State, &ToClient) -> Option<T>) -> T {
        loop {
            let message = match self.link.rx.recv().await {
                Some(FromEngine::Message(message)) => message,
                other => panic!("the engine is gone: {other:?}"),
            };
            if let ToClient::Event { event } = &message {
                match &mut self.state {
                    None => self.state = Some(State::open(event).unwrap()),
                    Some(state) => state.apply(event).unwrap(),
                }
            }
            if let Some(state) = &self.state
                && let Some(found) = found(state, &message)
            {
                return found;
            }
        }
    }

    pub(crate) async fn ask(&mut self, command: incident::Command) -> Result<(), Refusal> {
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
        let id = self.next;
        self.next += 1;
        let command = incident::Command::Prepare { step: step.clone(), inputs: incident::Inputs::new(), undoes: None };
        self.link.tx.send(ToEngine::Command { id, command }).await.unwrap();
        let plan = self
            .until(|_, message| match message {
                ToClient::Reply { id: answered, result: Err(refusal) } if *answered == id => panic!("{refusal}"),
                ToClient::Notice { notice: Notice::Planned { step: of, result } } if of == &step => {
                    Some(result.clone().unwrap())
                }
                _ => None,
            })
            .await;
        *plan
    }

    pub(crate) async fn approve(&mut self, plan: &Plan) -> Result<(), Refusal> {
        let (step, digest) = (plan.step.clone(), plan.digest());
        self.ask(incident::Command::Approve { step, digest, typed: Some(plan.target.name.clone()) }).await
    }

    /// Waits until the step has been done.
    pub(crate) async fn until_done(&mut self, step: &str) {
        let step = StepId::new(step);
        if self.state.as_ref().is_some_and(|state| state.status(&step).is_met()) {
            return;
        }
        self.until(|state, _| state.status(&step).is_met().then_some(())).await;
    }
}
