//! A real engine process with real children, killed: at each write of its journal, and at random.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use relight::engine::Home;
use relight::incident::{AttemptId, Command, Event, IncidentId, Inputs, Outcome, State, StepStatus};
use relight::journal::{self, FILE};
use relight::runbook::StepId;

use super::client::{Client, Lost};
use super::opening::opening;
use super::tally::{Dice, amount, seed};
use super::trials::Trials;

const ID: &str = "INC-TEST";

/// An incident whose steps each leave one line in a file.
struct World {
    folder: tempfile::TempDir,
    incident: PathBuf,
    /// Everything that was acknowledged so far, on whichever engine.
    seen: Vec<Event>,
    notes: Vec<String>,
}

impl World {
    fn new(steps: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let config = format!(
            "environment = 'test'\n[command.effect]\nargv = ['sh', '-c', 'echo \"$0\" >> {}', '{{{{ token }}}}']\n",
            folder.path().join("effects").display()
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let step = |number| {
            format!(
                "[[phase.step]]\nid = 's{number}'\ntitle = 'Step {number}'\nwhy = 'w'\napproval = 'confirm'\n\
                 action.run_command = {{ command = 'command.effect', changes = true }}\n"
            )
        };
        let head = "id = 'test'\ntitle = 'Test'\n[[phase]]\nid = 'p'\ntitle = 'Phase'\n".to_owned();
        let runbook: String = std::iter::once(head).chain((1..=steps).map(step)).collect();
        let id = IncidentId::new(ID).unwrap();
        let opening = opening(ID, "test", "db", &runbook);
        let incident = Home::find(Some(&folder.path().join("state"))).unwrap().create(&id, &opening).unwrap();
        Self { folder, incident, seen: vec![opening], notes: Vec::new() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run").join("relight").join(format!("{ID}.sock"))
    }

    /// Starts an engine and waits until it says that it is ready, or until it died before that.
    fn engine(&self, failpoints: &str) -> Engine {
        use std::io::{BufRead as _, BufReader};
        let mut child = Process::new(env!("CARGO_BIN_EXE_relight"))
            .args(["engine", ID, "--state-dir"])
            .arg(self.folder.path().join("state"))
            .arg("--config")
            .arg(self.folder.path().join("config.toml"))
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env("FAILPOINTS", failpoints)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.is_empty() || line == "ready\n", "{line}");
        Engine(child)
    }

    /// The journal and the children's lines against everything that was acknowledged.
    fn prove(&mut self, client: Option<Client>, case: &str) -> State {
        // Events of engines before come again at each attach; the longer list is the newer one.
        if let Some(client) = client
            && client.events.len() > self.seen.len()
        {
            self.seen = client.events;
        }
        let history = journal::read(&self.incident.join(FILE)).unwrap_or_else(|error| panic!("{case}: {error}"));
        let kept = history.events.len();
        assert!(kept >= self.seen.len(), "{case}: {kept} of {} events are left", self.seen.len());
        assert_eq!(history.events[..self.seen.len()], self.seen, "{case}");
        let state = State::replay(&history.events).unwrap();
        for note in &self.notes {
            let times = state.timeline.iter().filter(|entry| &entry.text == note).count();
            assert_eq!(times, 1, "{case}: {note}");
        }
        let effects = effects(self.folder.path());
        for attempt in state.attempts.values() {
            let token = &attempt.plan.inputs["token"];
            let times = effects.get(token).copied().unwrap_or_default();
            let right = match &attempt.outcome {
                Some(Outcome::Succeeded { .. }) => times == 1,
                Some(Outcome::Stopped { detail }) if detail.contains("it was never started") => times == 0,
                _ => times <= 1,
            };
            assert!(right, "{case}: attempt {} left {times} lines and ended as {:?}", attempt.id, attempt.outcome);
        }
        state
    }
}

/// How often each approval's child did what it does.
fn effects(folder: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(folder.join("effects")).unwrap_or_default();
    let mut effects = BTreeMap::new();
    for line in text.lines() {
        *effects.entry(line.to_owned()).or_default() += 1;
    }
    effects
}

struct Engine(Child);

impl Engine {
    /// Kills it as `kill -9` does.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits for an engine that kills itself.
    fn died(mut self, case: &str) {
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(self.0.wait().unwrap().signal(), Some(9), "{case}");
    }
}

/// Plays the person until everything is done, or the engine is gone.
async fn play(world: &mut World, client: &mut Client, dice: &mut Dice) -> Result<(), Lost> {
    loop {
        if dice.below(4) == 0 {
            let text = format!("note {}", dice.below(u64::MAX));
            if client.ask(Command::Note { text: text.clone() }).await?.is_ok() {
                world.notes.push(text);
            }
        }
        let state = client.state().clone();
        let next = state.runbook.steps().find(|step| !state.status(&step.id).is_met());
        let Some(step) = next.map(|step| step.id.clone()) else { return Ok(()) };
        let asked = |attempt: &AttemptId| state.attempts[attempt].asked;
        match state.status(&step).clone() {
            StepStatus::Pending => approve(client, &step, dice).await?,
            StepStatus::Running(attempt) => {
                if dice.below(4) == 0 {
                    // It may have ended just now; then nothing more comes of it.
                    let _ = client.ask(Command::Stop { attempt }).await?;
                    if client.state().status(&step) != &StepStatus::Running(attempt) {
                        continue;
                    }
                }
                changed(client, &step).await?;
            }
            StepStatus::InDoubt(attempt) if asked(&attempt) => {
                // The person looks, which tells more than the engine can know.
                let token = &state.attempts[&attempt].plan.inputs["token"];
                let happened = effects(world.folder.path()).contains_key(token);
                let command = Command::Settle { attempt, happened, note: "looked into the file".to_owned() };
                client.ask(command).await?.unwrap();
            }
            StepStatus::InDoubt(_) => changed(client, &step).await?,
            StepStatus::Failed(_) | StepStatus::Stopped(_) => {
                client.ask(Command::Retry { step }).await?.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn approve(client: &mut Client, step: &StepId, dice: &mut Dice) -> Result<(), Lost> {
    let token = format!("{step}-{}", dice.below(u64::MAX));
    let plan = client.plan(step, Inputs::from([("token".to_owned(), token)])).await?;
    let command = Command::Approve { step: step.clone(), digest: plan.digest(), typed: None };
    client.ask(command).await?.unwrap();
    Ok(())
}

/// Waits until a step's status, or what is known of its attempt, is another one.
async fn changed(client: &mut Client, step: &StepId) -> Result<(), Lost> {
    let look = |state: &State| {
        let status = state.status(step).clone();
        let asked = status.attempt().and_then(|attempt| state.attempts.get(&attempt)).map(|attempt| attempt.asked);
        (status, asked)
    };
    let before = look(client.state());
    client.until(|state, _| (look(state) != before).then_some(())).await
}

/// Plays for as long as the engine lives; the client, with all that it was told.
async fn play_on(world: &mut World, dice: &mut Dice, patience: Option<Duration>) -> (Option<Client>, bool) {
    let Ok(mut client) = Client::attach(&world.socket()).await else { return (None, false) };
    let played = play(world, &mut client, dice);
    let over = match patience {
        Some(patience) => tokio::time::timeout(patience, played).await.is_ok_and(|played| played.is_ok()),
        None => played.await.is_ok(),
    };
    (Some(client), over)
}

/// Finishes what is left with an engine that nobody kills.
async fn finish(world: &mut World, dice: &mut Dice, case: &str) {
    let engine = world.engine("");
    let (client, over) = play_on(world, dice, None).await;
    assert!(over, "{case}: it goes on to the end");
    engine.kill();
    let state = world.prove(client, case);
    assert!(state.runbook.steps().all(|step| state.status(&step.id).is_met()), "{case}");
}

/// The engine dies at a write of its journal: at every one of them, in each way.
#[tokio::test]
async fn an_engine_that_dies_at_a_write_loses_nothing_and_does_nothing_twice() {
    let mut dice = Dice::new(seed());
    let mut trials = Trials::of("engine process killed at a write of its journal");
    let mut at = 0;
    loop {
        let mut past_the_end = true;
        for how in ["before-write", "torn", "before-sync", "after-sync"] {
            let bytes = dice.below(400);
            let value = if how == "torn" { format!("({bytes})") } else { String::new() };
            let case = format!("write {at}, {how}{value}, seed {}", seed());
            let mut world = World::new(usize::try_from(amount(3, 10)).unwrap());
            let engine = world.engine(&format!("journal.{how}={at}*off->return{value}"));
            let (client, over) = play_on(&mut world, &mut dice, None).await;
            if over {
                engine.kill();
                continue;
            }
            past_the_end = false;
            trials.begin();
            engine.died(&case);
            world.prove(client, &case);
            finish(&mut world, &mut dice, &case).await;
            trials.survived();
        }
        if past_the_end {
            break;
        }
        at += amount(4, 1);
    }
    assert!(trials.count() >= 8, "{}", trials.count());
}

/// The engine is killed at any moment, again and again.
#[tokio::test]
async fn an_engine_that_is_killed_at_random_loses_nothing_and_does_nothing_twice() {
    let mut dice = Dice::new(seed());
    let kills = amount(40, 2000);
    let mut trials = Trials::of("engine process killed at random");
    while trials.count() < kills {
        let mut world = World::new(40);
        for round in 0.. {
            let case = format!("kill {}, round {round}, seed {}", trials.count(), seed());
            let patience = Duration::from_micros(dice.below(60_000));
            let engine = world.engine("");
            let (client, over) = play_on(&mut world, &mut dice, Some(patience)).await;
            engine.kill();
            trials.begin();
            world.prove(client, &case);
            trials.survived();
            if over || trials.count() == kills {
                finish(&mut world, &mut dice, &case).await;
                break;
            }
        }
    }
}
