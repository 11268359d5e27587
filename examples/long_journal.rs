//! For the benches: writes the journal of an incident that has gone on for very long, through the program's own writer.
//!
//! ```text
//! long_journal STATE_DIR CONFIG RUNBOOK EVENTS   makes an incident and prints its id
//! ```
//!
//! The events are of a drill's kinds, in a drill's proportions and as long as a drill's, with people's notes and remarks of
//! work between them.

use std::error::Error;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use relight::config::Config;
use relight::engine::Home;
use relight::incident::{
    Actor, AttemptId, Channel, Event, EventKind, Finding, IncidentId, MessageId, Outcome, Plan, Problem, TargetIdentity,
};
use relight::journal::Journal;
use relight::runbook::{Runbook, Step};

/// Events that are made durable at once.
const BATCH: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [state, config, runbook, events] => {
            write(Path::new(state), &std::path::absolute(config)?, Path::new(runbook), events.parse()?)
        }
        _ => Err("usage: long_journal STATE_DIR CONFIG RUNBOOK EVENTS".into()),
    }
}

/// Makes the incident as `relight start` does, and goes on with its journal.
fn write(state: &Path, config_path: &Path, runbook: &Path, events: u64) -> Result<(), Box<dyn Error>> {
    let config = Config::load(config_path)?;
    let text = std::fs::read_to_string(runbook)?;
    let steps: Vec<Step> = Runbook::parse("the bench's runbook", &text)?.steps().cloned().collect();
    // The engines' sockets of several incidents lie beside one another.
    let id = IncidentId::from_random(std::process::id().to_be_bytes());
    let ana = Actor { name: "ana".to_owned(), uid: Some(1000) };
    let began = Timestamp::now() - SignedDuration::from_hours(48);
    let opening = Event {
        seq: 1,
        at: began,
        actor: ana.clone(),
        kind: EventKind::Opened {
            id: id.clone(),
            environment: config.environment,
            runbook: text,
            origin: "the bench's runbook".to_owned(),
            database: "financecopilot".to_owned(),
            rto_seconds: config.rto_target.as_secs(),
            rpo_seconds: None,
            one_account: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    };
    let home = Home::find(Some(state))?;
    let folder: PathBuf = home.create(&id, &opening)?;
    std::fs::write(folder.join("config-path"), config_path.as_os_str().as_encoded_bytes())?;
    let (mut journal, _) = Journal::open(&folder)?;
    let mut story = Story { steps, ana, seq: 1, began, attempt: 0, message: 0, ready: Vec::new() };
    while story.seq < events {
        let wanted = usize::try_from(events - story.seq)?.min(BATCH);
        journal.append(&story.next(wanted))?;
    }
    println!("{id}");
    Ok(())
}

/// What happens, on and on.
struct Story {
    steps: Vec<Step>,
    ana: Actor,
    seq: u64,
    began: Timestamp,
    attempt: u32,
    message: u32,
    /// Events that are told and not taken yet, the next one last.
    ready: Vec<(Actor, EventKind)>,
}

impl Story {
    fn next(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let Some((actor, kind)) = self.ready.pop() else {
                self.round();
                continue;
            };
            self.seq += 1;
            // About one event in a second and a half, as for two days.
            let at = self.began + SignedDuration::from_millis(i64::try_from(self.seq * 1500).unwrap_or_default());
            events.push(Event { seq: self.seq, at, actor, kind });
        }
        events
    }

    /// A round: three attempts, two notes to PagerDuty, a remark and a person's note.
    fn round(&mut self) {
        let mut kinds = Vec::new();
        for number in 0..3 {
            self.attempt += 1;
            let attempt = AttemptId(self.attempt);
            let plan = Box::new(self.plan());
            kinds.push((self.ana.clone(), EventKind::Approved { attempt, plan, first: None }));
            if number == 0 {
                let text = "no progress for 61 s: it waits for a lock on public.transactions".to_owned();
                kinds.push((Actor::engine(), EventKind::Remarked { attempt, text }));
            }
            kinds.push((Actor::engine(), EventKind::Finished { attempt, outcome: outcome(self.attempt) }));
            if number > 0 {
                self.message += 1;
                let (message, about) = (MessageId(self.message), self.seq + kinds.len() as u64);
                let text = format!(
                    "17:31:34Z Executive bridge: Paged: Kim Chief <cto@example.com>, Sam Vice <vp-engineering@example.com>, \
                     whoever is on call for Executives (journal {about}:510ea64e719ee789) [INC-7F3K #{about}]"
                );
                let channel = Channel::PagerDutyNote;
                kinds.push((Actor::engine(), EventKind::MessageQueued { message, channel, text, about }));
                let reference = format!("PN0TE{:08}", self.message);
                kinds.push((Actor::engine(), EventKind::MessageSent { message, reference }));
            }
        }
        let text = format!("asked the payments team about batch {}; they see nothing odd on their side", self.attempt);
        kinds.push((self.ana.clone(), EventKind::Noted { text }));
        kinds.reverse();
        self.ready = kinds;
    }

    fn plan(&self) -> Plan {
        let step = &self.steps[0];
        let proofs = [
            ("database oid", "16387"),
            ("server", "127.0.0.1:40543"),
            ("system identifier", "7712534132914359494"),
            ("version", "15.18 (Debian 15.18-0+deb12u1)"),
        ];
        let proofs = proofs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut plan =
            Plan::new(step.id.clone(), TargetIdentity { name: "financecopilot@127.0.0.1:40543".to_owned(), proofs });
        plan.effects = vec![
            format!("Connects as relight and looks at batch {} of the ledger's rows; changes nothing", self.attempt),
            "Takes the role fc_app for a moment, and looks at the rights that it has there".to_owned(),
        ];
        plan.commands = vec![
            "psql -h 127.0.0.1 -p 40543 -U relight financecopilot -c 'SET ROLE \"fc_app\"'".to_owned(),
            "pg_restore --version; pg_dump --version".to_owned(),
        ];
        "Nothing to take back.".clone_into(&mut plan.undo);
        plan.findings = vec![
            Finding::good("The server answers, and it is the one that the config names."),
            Finding::good("pg_restore 15.18 reads archives of this server's version."),
            Finding::warning("4 sessions are connected; the oldest transaction is 12 s old."),
        ];
        plan.basis = serde_json::json!({
            "batch": self.attempt, "tables": ["accounts", "transactions", "postings"], "rows": [1200, 358_140, 716_280],
        });
        "d6b16d4a12716f93b7d1cb68ef27a0677fcbc3971c9cb9476019a5cdfa3c3556".clone_into(&mut plan.context.0);
        plan
    }
}

fn outcome(attempt: u32) -> Outcome {
    if attempt % 10 == 7 {
        let problem = Problem {
            what: "look at the ledger's rows".to_owned(),
            target: "financecopilot@127.0.0.1:40543".to_owned(),
            why: "canceling statement due to lock timeout.".to_owned(),
            next: "Look who holds the lock, then retry (r).".to_owned(),
        };
        return Outcome::Failed { problem };
    }
    let evidence = vec![
        format!("358140 rows of batch {attempt} equal to the snapshot's, by count and checksum"),
        "accounts 1200, transactions 358140, postings 716280".to_owned(),
        "pg_restore 15.18 and pg_dump 15.18 are in PATH; the role fc_app may read all five tables".to_owned(),
    ];
    Outcome::Succeeded { evidence, facts: Vec::new() }
}
