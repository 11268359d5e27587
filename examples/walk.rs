//! For the benches: an incident, an engine of the given program, and steps carried out over its socket as keys carry them out:
//! ask for the plan, answer it, approve it, hear how it ended.
//!
//! ```text
//! walk RELIGHT STATE_DIR CONFIG RUNBOOK [ANSWER=VALUE | STEP]...
//! ```
//!
//! Prints a line for each step: its id, and the milliseconds from asking for its plan to hearing that it succeeded.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::Timestamp;
use relight::drill::operator::Operator;
use relight::engine::Home;
use relight::incident::{Actor, Event, EventKind, IncidentId};
use relight::runbook::{Runbook, StepId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [program, state, config, runbook, steps @ ..] = words.as_slice() else {
        return Err("usage: walk RELIGHT STATE_DIR CONFIG RUNBOOK [ANSWER=VALUE | STEP]...".into());
    };
    let text = std::fs::read_to_string(runbook)?;
    let runbook = Runbook::parse(runbook, &text)?;
    let id = IncidentId::from_random(std::process::id().to_be_bytes());
    Home::find(Some(Path::new(state)))?.create(&id, &opening(&id, text))?;
    let mut engine = Command::new(program)
        .args(["engine", id.as_str(), "--config", config, "--state-dir", state])
        .stdout(Stdio::piped())
        .spawn()
        .map(Ended)?;
    let mut ready = String::new();
    BufReader::new(engine.0.stdout.take().ok_or("no output")?).read_line(&mut ready)?;

    let mut answers = BTreeMap::new();
    let mut names = Vec::new();
    for word in steps {
        match word.split_once('=') {
            Some((name, value)) => drop(answers.insert(name.to_owned(), value.to_owned())),
            None => names.push(word),
        }
    }
    let link = relight::wire::connect(&Home::socket(&id)?, 0, false).await?;
    let mut operator = Operator::attach(link, answers).await?;
    for name in names {
        let step = runbook.step(&StepId::new(name.as_str())).ok_or_else(|| format!("there is no step {name}"))?;
        let began = Instant::now();
        operator.carry_out(step).await?;
        println!("{name} {}", began.elapsed().as_millis());
    }
    Ok(())
}

/// The engine of an incident that stays open ends with the walk.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn opening(id: &IncidentId, runbook: String) -> Event {
    let kind = EventKind::Opened {
        id: id.clone(),
        environment: "bench".to_owned(),
        runbook,
        origin: "the bench's runbook".to_owned(),
        database: "financecopilot".to_owned(),
        rto_seconds: 3600,
        rpo_seconds: None,
        one_account: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let actor = Actor { name: "bench".to_owned(), uid: Some(rustix::process::getuid().as_raw()) };
    Event { seq: 1, at: Timestamp::now(), actor, kind }
}
