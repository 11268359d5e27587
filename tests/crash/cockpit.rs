//! A drill's real world, and an incident in it whose engine dies where it is told to.
//!
//! The drill's own operator plays the person, in an order that the test gives.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::process::Stdio;

use relight::drill::control::Hold;
use relight::drill::operator::{Operator, OperatorError, drill_answers};
use relight::drill::ready::Ready;
use relight::engine::Home;
use relight::incident::{Actor, Event, EventKind, IncidentId, Outcome, Settlement, State, StepStatus};
use relight::runbook::{Step, StepId};
use relight::wire;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::opening::opening;
use super::place::Place;

const ID: &str = "INC-TEST";

/// What the target said of two attempts: of one whose engine died before it had done anything, and of one whose engine died
/// before it could tell.
pub(crate) struct Settled {
    pub(crate) did_not: String,
    pub(crate) did: Vec<String>,
}

/// A sandbox of its own.
pub(crate) struct World {
    pub(crate) ready: Ready,
    _hold: Hold,
    // The last to go, since it takes the world down.
    pub(crate) place: Place,
}

impl World {
    pub(crate) async fn build() -> Self {
        let place = Place::new();
        let folder = place.sandbox();
        let mut sandbox = place.command(&["sandbox", "--dir", folder.to_str().unwrap()]);
        let mut sandbox = sandbox.stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(sandbox.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        assert_eq!(line, "ready\n");
        let ready = Ready::read(&folder).unwrap().unwrap();
        let hold = Hold::take(&ready.control_socket).await.unwrap();
        Self { ready, _hold: hold, place }
    }
}

/// How engines are started.
#[derive(Default)]
pub(crate) struct Setting {
    /// What the operator answers beside what it answers in every drill.
    pub(crate) answers: Vec<(&'static str, &'static str)>,
    /// Where engines die.
    pub(crate) points: Vec<String>,
    /// Another configuration than the sandbox's.
    pub(crate) config: Option<PathBuf>,
    pub(crate) env: Vec<(&'static str, String)>,
}

pub(crate) struct Cockpit {
    operator: Operator,
    engine: Child,
    setting: Setting,
    world: World,
}

impl std::ops::Deref for Cockpit {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl Cockpit {
    /// Opens an incident with a runbook in a world, and sits down at its engine.
    pub(crate) async fn open(world: World, runbook: &str, setting: Setting) -> Self {
        let id = IncidentId::new(ID).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let actor = Actor { name: wire::own_name(), uid: Some(uid) };
        let database = &world.ready.postgres_operator.database;
        let opening = Event { actor, ..opening(ID, "drill", database, runbook) };
        Home::find(Some(&world.place.root())).unwrap().create(&id, &opening).unwrap();
        let mut answers: BTreeMap<String, String> = drill_answers(world.ready.onset);
        answers.extend(setting.answers.iter().map(|(name, answer)| ((*name).to_owned(), (*answer).to_owned())));
        let engine = start(&world, &setting).await;
        let link = wire::connect(&socket(&world.place), 0, false).await.unwrap();
        let operator = Operator::attach(link, answers).await.unwrap();
        Self { operator, engine, setting, world }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(&self.place)
    }

    pub(crate) fn state(&self) -> &State {
        self.operator.state().unwrap()
    }

    fn step(&self, step: &str) -> Step {
        self.state().runbook.step(&StepId::new(step)).unwrap().clone()
    }

    /// Has a step carried out, or another one taken back by it.
    async fn act(&mut self, step: &str, undoes: Option<&str>) -> Result<(), OperatorError> {
        let step = self.step(step);
        match undoes {
            Some(undone) => self.operator.take_back(&StepId::new(undone), &step).await,
            None => self.operator.carry_out(&step).await,
        }
    }

    /// Carries a step out, however often the engine dies meanwhile.
    pub(crate) async fn carry_out(&mut self, step: &str) {
        loop {
            match self.act(step, None).await {
                Ok(()) => return,
                Err(OperatorError::Lost(_)) => self.again().await,
                Err(error) => panic!("{error}"),
            }
            if self.state().status(&StepId::new(step)).is_met() {
                return;
            }
        }
    }

    /// Goes through the runbook in its own order, until this step is done.
    pub(crate) async fn play_until(&mut self, last: &str) {
        let last = StepId::new(last);
        while !self.state().status(&last).is_met() {
            let step = self.operator.next_step().unwrap().expect("it is not over");
            self.carry_out(step.id.as_str()).await;
        }
    }

    /// Plays what is left, and waits until everybody was told.
    pub(crate) async fn play_to_the_end(&mut self) {
        while let Some(step) = self.operator.next_step().unwrap() {
            self.carry_out(step.id.as_str()).await;
        }
        self.operator.wait_until_sent().await.unwrap();
    }

    /// Has a step carried out by an engine that dies at a point of it.
    pub(crate) async fn dies(&mut self, point: &str, step: &str, undoes: Option<&str>) {
        use std::os::unix::process::ExitStatusExt as _;
        let acted = self.act(step, undoes).await;
        assert!(matches!(acted, Err(OperatorError::Lost(_))), "{point}: {acted:?}");
        assert_eq!(self.engine.wait().await.unwrap().signal(), Some(9), "{point}");
        assert_eq!(self.place.died().last().map(String::as_str), Some(point));
    }

    /// Carries a step out behind which others begin by themselves, and lets engines die of these until one died at this
    /// point. None is at work then.
    pub(crate) async fn carry_out_until_dead(&mut self, step: &str, point: &str) {
        // Whether its end is heard of before the death is a matter of luck.
        let acted = self.act(step, None).await;
        assert!(matches!(acted, Ok(()) | Err(OperatorError::Lost(_))), "{point}: {acted:?}");
        loop {
            self.engine.wait().await.unwrap();
            if self.place.died().last().is_some_and(|last| last == point) {
                return;
            }
            self.start_anew().await;
        }
    }

    /// Starts engines until one lives to settle what the one before left, by asking the targets.
    pub(crate) async fn again(&mut self) {
        loop {
            self.engine.wait().await.unwrap();
            if self.start_anew().await {
                return;
            }
        }
    }

    /// Starts an engine; whether it lived to settle what was left.
    async fn start_anew(&mut self) -> bool {
        self.engine = start(&self.world, &self.setting).await;
        self.sit_down().await
    }

    /// Sits down anew, and knows nothing of what the engine said before; whether the engine lived to settle what was left.
    pub(crate) async fn sit_down(&mut self) -> bool {
        let Ok(link) = wire::connect(&socket(&self.place), 0, false).await else { return false };
        match self.operator.come_back(link).await {
            Ok(()) => true,
            Err(OperatorError::Lost(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Has a step carried out, or another one taken back by it, by an engine that dies right before the effect, and by one
    /// that dies right after it: `look` sees in the real system that nothing was done, then that it was, and once only.
    /// Gives what it looks like then, and what the target said.
    pub(crate) async fn survives<T: PartialEq + Debug>(
        &mut self,
        (step, undoes): (&str, Option<&str>),
        look: impl AsyncFn(&Ready) -> T,
    ) -> (T, Settled) {
        let before = look(&self.ready).await;
        self.dies(&format!("run.before:{step}"), step, undoes).await;
        assert_eq!(look(&self.ready).await, before, "{step} had not begun");
        self.again().await;
        assert_eq!(look(&self.ready).await, before, "{step} is asked about, and not done");
        self.dies(&format!("run.after:{step}"), step, undoes).await;
        let after = look(&self.ready).await;
        assert_ne!(after, before, "{step} was done");
        self.again().await;
        assert_eq!(look(&self.ready).await, after, "{step} is asked about, and not done again");
        (after, self.settled(step))
    }

    /// What the target said of a step's attempts: that the first had no effect, and that the last had its effect.
    pub(crate) fn settled(&self, step: &str) -> Settled {
        let outcomes = self.by_probe(step);
        let [Some(Outcome::Stopped { detail }), .., Some(Outcome::Succeeded { evidence, .. })] = &outcomes[..] else {
            panic!("{step}, died at {:?}: {outcomes:?}", self.place.died());
        };
        Settled { did_not: detail.clone(), did: evidence.clone() }
    }

    /// How each attempt of a step was settled by its target; none for one that told its end itself.
    pub(crate) fn by_probe(&self, step: &str) -> Vec<Option<Outcome>> {
        let events = self.place.events();
        let state = State::replay(&events).unwrap();
        let attempts = &state.steps[&StepId::new(step)].attempts;
        let settled = |of| {
            events.iter().find_map(|event| match &event.kind {
                EventKind::Settled { attempt, by: Settlement::Probe, outcome } if *attempt == of => {
                    Some(outcome.clone())
                }
                _ => None,
            })
        };
        attempts.iter().map(|attempt| settled(*attempt)).collect()
    }

    /// Whether a step is open, as one is that was taken back.
    pub(crate) fn is_open(&self, step: &str) -> bool {
        self.state().status(&StepId::new(step)) == &StepStatus::Pending
    }
}

/// Both sides of a step's effect.
pub(crate) fn around(step: &str) -> [String; 2] {
    ["before", "after"].map(|side| format!("run.{side}:{step}"))
}

fn socket(place: &Place) -> PathBuf {
    place.run().join("relight").join(format!("{ID}.sock"))
}

/// Starts an engine and waits until it says that it is ready, or until it died before that.
async fn start(World { ready, place, .. }: &World, setting: &Setting) -> Child {
    let failpoints: Vec<String> = setting.points.iter().map(|point| format!("{point}=return")).collect();
    let mut command = place.command(&["engine", ID, "--state-dir"]);
    command.arg(place.root()).arg("--config").arg(setting.config.as_ref().unwrap_or(&ready.config));
    command.env("FAILPOINTS", failpoints.join(";")).envs(setting.env.iter().map(|(name, value)| (*name, value)));
    let mut engine = command.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(engine.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    assert!(line.is_empty() || line == "ready\n", "{line}");
    engine
}
