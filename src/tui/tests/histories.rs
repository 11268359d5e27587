//! Incidents to look at: events as an engine would send them, with the built-in runbook.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::incident::{
    Actor, Ask, AskKind, AttemptId, Channel, Choice, Contents, Event, EventKind, Fact, Finding, IncidentId, Inputs,
    Listing, MessageId, Notice, ObjectRef, Outcome, Plan, Problem, Refusal, Replicas, Series, SnapshotRow,
    TableContents, TargetIdentity,
};
use crate::runbook::{BUILT_IN, StepId};
use crate::tui::app::App;
use crate::tui::msg::{Msg, Out};
use crate::tui::theme::{Look, Theme};
use crate::tui::update::update;
use crate::wire::{FromEngine, ToClient};

pub(super) fn at(time: &str) -> Timestamp {
    format!("2026-11-23T{time}Z").parse().expect("a time")
}

pub(super) fn dump(name: &str) -> ObjectRef {
    ObjectRef {
        target: "s3.backups".to_owned(),
        bucket: "financecopilot-backups".to_owned(),
        key: format!("postgres/{name}.dump"),
        version_id: Some("3sL4kqtJlcpXroDTDmJ".to_owned()),
        etag: "\"9b2cf535f27731c974343645a3985328\"".to_owned(),
        size: 4_499_000_000,
    }
}

/// A cockpit, and what its engine says to it.
pub(super) struct Story {
    pub(super) app: App,
    seq: u64,
    attempts: u32,
    pub(super) clock: Timestamp,
    /// What stands in every text that may be any text.
    bad: Option<String>,
}

impl Story {
    pub(super) fn new(environment: &str) -> Self {
        Self::themed(environment, Theme::new(Look::Sixteen, false))
    }

    pub(super) fn themed(environment: &str, theme: Theme) -> Self {
        let clock = at("08:52:00");
        let mut story = Self { app: App::new(theme, (120, 32), clock), seq: 0, attempts: 0, clock, bad: None };
        story.event(EventKind::Opened {
            id: IncidentId::new("INC-7F3K").expect("an id"),
            environment: environment.to_owned(),
            runbook: BUILT_IN.to_owned(),
            origin: "built-in".to_owned(),
            database: "financecopilot".to_owned(),
            rto_seconds: 3600,
            rpo_seconds: None,
            one_account: false,
            version: "0.1.0".to_owned(),
        });
        story.event(EventKind::EngineStarted { pid: 4711, version: "0.1.0".to_owned() });
        story.hear(ToClient::CaughtUp { seal: crate::incident::Seal { seq: 2, head: "0".repeat(64) } });
        story
    }

    /// From here on every text that comes is this, twice, with what it was in between.
    pub(super) fn spoiled(mut self, bad: &str) -> Self {
        self.bad = Some(bad.to_owned());
        self
    }

    /// The same for the next news only.
    pub(super) fn spoil_with(&mut self, bad: &str) {
        self.bad = Some(bad.to_owned());
    }

    pub(super) fn spoil_no_more(&mut self) {
        self.bad = None;
    }

    fn spoil<T: Serialize + DeserializeOwned>(&self, value: T, fine: impl Fn(&T) -> bool) -> T {
        let Some(bad) = &self.bad else { return value };
        let mut json = serde_json::to_value(&value).expect("JSON");
        for path in texts(&json, String::new()) {
            let mut changed = json.clone();
            let leaf = changed.pointer_mut(&path).expect("a text");
            *leaf = format!("{bad}{}{bad}", leaf.as_str().unwrap_or_default()).into();
            if serde_json::from_value(changed.clone()).is_ok_and(|value| fine(&value)) {
                json = changed;
            }
        }
        serde_json::from_value(json).expect("what it was")
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.clock += SignedDuration::from_secs(seconds);
        update(&mut self.app, Msg::Tick, self.clock);
    }

    pub(super) fn hear(&mut self, message: ToClient) -> Vec<Out> {
        update(&mut self.app, Msg::FromEngine(FromEngine::Message(message)), self.clock)
    }

    pub(super) fn event(&mut self, kind: EventKind) -> Vec<Out> {
        self.seq += 1;
        let event = Event { seq: self.seq, at: self.clock, actor: ana(), kind };
        let event =
            self.spoil(event, |event| self.app.state.as_ref().is_none_or(|state| state.clone().apply(event).is_ok()));
        self.hear(ToClient::Event { event: Box::new(event) })
    }

    pub(super) fn notice(&mut self, notice: Notice) -> Vec<Out> {
        let notice = self.spoil(notice, |_| true);
        self.hear(ToClient::Notice { notice })
    }

    pub(super) fn planned(&mut self, plan: &Plan) -> Vec<Out> {
        self.notice(Notice::Planned { step: plan.step.clone(), result: Ok(Box::new(plan.clone())) })
    }

    pub(super) fn reply(&mut self, id: u64, result: Result<(), Refusal>) -> Vec<Out> {
        self.hear(ToClient::Reply { id, result })
    }

    pub(super) fn begin(&mut self, step: &str) -> AttemptId {
        self.attempts += 1;
        let attempt = AttemptId(self.attempts);
        self.event(EventKind::Approved { attempt, plan: Box::new(plan(step)), first: None });
        attempt
    }

    pub(super) fn succeed(&mut self, step: &str, seconds: i64, evidence: &str, facts: Vec<Fact>) -> AttemptId {
        let attempt = self.begin(step);
        self.wait(seconds);
        self.event(EventKind::Finished {
            attempt,
            outcome: Outcome::Succeeded { evidence: vec![evidence.to_owned()], facts },
        });
        attempt
    }

    /// Checked, declared, chosen, agreed, writes stopped, dumped: the restore is at work.
    pub(super) fn restoring(environment: &str) -> Self {
        Self::new(environment).on_to_the_restore()
    }

    pub(super) fn on_to_the_restore(mut self) -> Self {
        self.checked();
        self.declared();
        self.listed();
        let facts = vec![
            Fact::Onset { at: at("08:48:00") },
            Fact::Snapshot { object: dump("financecopilot-20261123T0600Z"), taken_at: at("06:00:00") },
        ];
        self.succeed("select.snapshot", 1, "2026-11-23 06:00Z, 4.19 GiB, 12 tables", facts);
        let agreement = Fact::Agreement {
            who: "Mia Chen".to_owned(),
            place: "bridge call".to_owned(),
            at: self.clock,
            object: dump("financecopilot-20261123T0600Z"),
            loses_seconds: 11_400,
        };
        self.succeed("select.agreement", 1, "Mia Chen agreed on the bridge call to lose 3h02m", vec![agreement]);
        let replicas = vec![Replicas {
            target: "kubernetes.production".to_owned(),
            namespace: "financecopilot".to_owned(),
            deployment: "api".to_owned(),
            count: 6,
        }];
        let stopped = Fact::WritesStopped { at: at("09:02:11"), replicas };
        self.clock = at("09:01:33");
        self.succeed("restore.stop-writes", 38, "api 6→0, no app session left", vec![stopped]);
        self.succeed("restore.quiet", 3, "no session but ours is connected", Vec::new());
        let dumped = Fact::SafetyDump { object: dump("safety"), taken_at: self.clock };
        self.succeed("restore.safety-dump", 102, "4.22 GiB in s3://financecopilot-safety, read back", vec![dumped]);
        let attempt = self.begin("restore.database");
        let lines = [
            "launching item 3498 TABLE DATA accounts",
            "launching item 3507 TABLE DATA transactions",
            "finished item 3498 TABLE DATA accounts",
            "\u{1b}[31mpg_restore:\u{1b}[0m warning: \u{1b}]0;pwned\u{7}a line with \u{202e}escapes\u{8}\ttaken out",
            "processing 数据 in table 取引先, a wide line",
        ];
        self.notice(Notice::Output { attempt, offset: 0, text: lines.join("\n") + "\n" });
        let progress = |done| Notice::Progress {
            attempt,
            label: "restoring table data".to_owned(),
            done,
            total: Some(4_499_000_000),
            unit: "bytes".to_owned(),
            left: None,
            stalled: None,
        };
        self.notice(progress(100_000_000));
        self.wait(720);
        self.notice(progress(2_744_000_000));
        self
    }

    pub(super) fn checked(&mut self) {
        for (step, evidence) in [
            ("check.database", "role relight may restore financecopilot"),
            ("check.backups", "31 objects can be listed and read"),
            ("check.cluster", "deployments may be scaled"),
            ("check.cache", "FLUSHDB is allowed"),
            ("check.smoke", "npm 10.8 is there"),
            ("check.endpoints", "/pj/status says 500"),
            ("check.pagerduty", "the token may write incidents"),
            ("check.launchdarkly", "the token may write flags"),
            ("check.slack", "#status can be posted to"),
            ("check.grafana", "Platform > Database can be read"),
        ] {
            self.succeed(step, 1, evidence, Vec::new());
        }
    }

    pub(super) fn declared(&mut self) {
        let fact = Fact::PagerDuty {
            id: "Q2ABC".to_owned(),
            number: 4242,
            url: "https://fc.pagerduty.com/incidents/Q2ABC".to_owned(),
            adopted: true,
        };
        self.succeed("declare.incident", 2, "adopted PagerDuty incident 4242 (Q2ABC)", vec![fact]);
        self.succeed("declare.responders", 2, "3 responders called, bridge +1 555 0100", Vec::new());
        let flag = Fact::Flag { flag: "deployments_locked".to_owned(), was: false, now: true };
        self.succeed("declare.freeze", 1, "deployments_locked off→on", vec![flag]);
        self.event(EventKind::MessageQueued {
            message: MessageId(1),
            channel: Channel::PagerDutyNote,
            text: "note".to_owned(),
            about: 1,
        });
    }

    /// A note that was corrected, one with characters that are wide, and messages in every state.
    pub(super) fn told(&mut self) {
        let queue = |message, about, channel| EventKind::MessageQueued {
            message: MessageId(message),
            channel,
            text: "Stop writes: api 6→0".to_owned(),
            about,
        };
        let milestones: Vec<u64> = self.app.state.iter().flat_map(|state| state.untold.iter().copied()).collect();
        let [first, second, third, ..] = milestones[..] else { panic!("{milestones:?}") };
        self.event(queue(2, first, Channel::PagerDutyNote));
        self.event(EventKind::MessageSent { message: MessageId(2), reference: "N1".to_owned() });
        self.event(queue(3, second, Channel::PagerDutyNote));
        self.event(queue(4, third, Channel::SlackMessage));
        let problem = Problem {
            what: "post the message".to_owned(),
            target: "Slack #status".to_owned(),
            why: "The answer was lost.".to_owned(),
            next: "Look into #status.".to_owned(),
        };
        self.event(EventKind::MessageInDoubt { message: MessageId(4), problem });
        self.event(EventKind::Noted { text: "replica lost its disk".to_owned() });
        let note = self.seq;
        self.event(EventKind::Noted {
            text: "取引先 asks when \u{1b}[31mreports\u{1b}[0m work\nagain; told them 10:00".to_owned(),
        });
        self.event(EventKind::Corrected { note, text: "primary lost its disk".to_owned() });
    }

    pub(super) fn listed(&mut self) {
        self.notice(Notice::Snapshots(listing()));
    }

    /// The engine has opened an archive that holds this many rows of every table.
    pub(super) fn opened(&mut self, name: &str, rows: u64) {
        let contents = contents(name, rows);
        self.notice(Notice::Contents { key: contents.key.clone(), result: Ok(contents) });
    }

    pub(super) fn fail(&mut self, attempt: AttemptId) {
        let problem = Problem {
            what: "pg_restore".to_owned(),
            target: "financecopilot@db-1:5432".to_owned(),
            why: "ERROR: must be owner of extension pgcrypto (item 2, exit code 1).".to_owned(),
            next: "Create the extension as a superuser, then retry (r), or go back to the safety dump (u).".to_owned(),
        };
        self.event(EventKind::Finished { attempt, outcome: Outcome::Failed { problem } });
    }

    /// Nobody knows what became of an attempt, and its target cannot tell.
    pub(super) fn doubt(&mut self, attempt: AttemptId) {
        self.first_doubt(attempt);
        let state = self.app.state.as_ref().expect("an incident");
        let Some(Outcome::InDoubt { problem }) = state.attempts[&attempt].outcome.clone() else { panic!("in doubt") };
        self.event(EventKind::StillInDoubt { attempt, problem });
    }

    /// The target was not asked yet.
    pub(super) fn first_doubt(&mut self, attempt: AttemptId) {
        let problem = Problem {
            what: "scale deployment api to 0".to_owned(),
            target: "production/financecopilot".to_owned(),
            why: "The connection broke after the request was sent.".to_owned(),
            next: "Run kubectl get deployment api and compare.".to_owned(),
        };
        self.event(EventKind::Finished { attempt, outcome: Outcome::InDoubt { problem } });
    }
}

/// Where texts stand in this, but for the names of steps, by which things are found.
fn texts(json: &Value, at: String) -> Vec<String> {
    match json {
        Value::String(_) => vec![at],
        Value::Array(all) => all.iter().enumerate().flat_map(|(key, it)| texts(it, format!("{at}/{key}"))).collect(),
        Value::Object(all) => all
            .iter()
            .filter(|(key, _)| key.as_str() != "step")
            .flat_map(|(key, it)| texts(it, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))))
            .collect(),
        _ => Vec::new(),
    }
}

pub(super) fn listing() -> Listing {
    let row = |name: &str, taken: &str, size: u64, eligible: bool, proposed: bool, verdict: &str| SnapshotRow {
        key: format!("postgres/{name}.dump"),
        version_id: Some("3sL4kqtJlcpXroDTDmJ".to_owned()),
        size,
        last_modified: taken.parse::<Timestamp>().expect("a time") + SignedDuration::from_mins(4),
        taken_at: taken.parse().expect("a time"),
        taken_from: "archive header".to_owned(),
        storage_class: None,
        usual: Some(4_488_000_000),
        eligible,
        proposed,
        doubtful: verdict.ends_with('?'),
        verdict: verdict.to_owned(),
        detail: format!("Verdict: {verdict}. The archive's table of contents lists every table of the database."),
        tables: vec![("public.transactions".to_owned(), 3_100_000_000), ("public.accounts".to_owned(), 80_000_000)],
    };
    let rows = vec![
        row("financecopilot-20261123T0900Z", "2026-11-23T09:00:00Z", 4_520_000_000, false, false, "taken after onset"),
        row("financecopilot-20261123T0600Z", "2026-11-23T06:00:00Z", 4_499_000_000, true, true, "newest eligible"),
        row("financecopilot-20261123T0300Z", "2026-11-23T03:00:00Z", 4_488_000_000, true, false, "eligible; zone?"),
        row("financecopilot-20261122T2100Z", "2026-11-22T21:00:00Z", 12_288, false, false, "0.0 % of usual size"),
        row("financecopilot-20261122T1500Z", "2026-11-22T15:00:00Z", 0, false, false, "empty"),
    ];
    Listing::new("s3://financecopilot-backups/postgres/".to_owned(), rows, Some(at("08:48:00")))
}

/// Who does everything in these histories.
pub(super) fn ana() -> Actor {
    Actor { name: "ana".to_owned(), uid: Some(1000) }
}

/// What an archive holds.
pub(super) fn contents(name: &str, rows: u64) -> Contents {
    let table = |name: &str, bytes: u64, rows| TableContents { name: name.to_owned(), bytes, rows };
    Contents {
        key: format!("postgres/{name}.dump"),
        version_id: None,
        created: Some("2026-11-23 06:00:00".to_owned()),
        database: Some("financecopilot".to_owned()),
        server: Some("17.2".to_owned()),
        pg_dump: Some("17.2".to_owned()),
        compression: "gzip".to_owned(),
        tables: vec![
            table("public.transactions", 3_100_000_000 + rows, None),
            table("public.accounts", 80_000_000, Some(1_204_311)),
            table("public.settings", 900, Some(rows)),
        ],
    }
}

/// A plan with something in every part.
pub(super) fn plan(step: &str) -> Plan {
    let target = TargetIdentity {
        name: "financecopilot@db-1:5432".to_owned(),
        proofs: [("system identifier".to_owned(), "7301234567890123456".to_owned())].into(),
    };
    let mut plan = Plan::new(StepId::new(step), target);
    plan.effects = vec![
        "Every table of financecopilot is dropped and made again from the dump of 2026-11-23 06:00Z.".to_owned(),
        "4.19 GiB are read from s3://financecopilot-backups with 4 parallel jobs.".to_owned(),
    ];
    plan.commands = vec![
        "pg_restore --clean --if-exists --no-owner --exit-on-error --role=fc_owner -j 4 -d financecopilot financecopilot-20261123T0600Z.dump".to_owned(),
    ];
    plan.undo = "Back to the safety dump of 09:02Z; takes about as long as this.".to_owned();
    plan.findings = vec![
        Finding::good("pg_restore 17.2 matches server 17.2"),
        Finding::good("214 GiB are free on the database host"),
        Finding::warning("The role fc_report owns 2 views that the dump does not hold."),
    ];
    plan
}

pub(super) fn with_questions(step: &str) -> Plan {
    let mut plan = plan(step);
    let ask = |name: &str, label: &str, kind: AskKind, value: &str, required: bool| Ask {
        name: name.to_owned(),
        label: label.to_owned(),
        kind,
        value: value.to_owned(),
        required,
        offered: false,
    };
    let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
    plan.asks = vec![
        ask("onset", "When did the damage begin?", AskKind::Time, "", true),
        ask(
            "snapshot",
            "Which snapshot?",
            AskKind::Choice(vec![
                choice("postgres/a.dump", "2026-11-23 06:00Z  4.19 GiB  loses 3h02m"),
                choice("postgres/b.dump", "2026-11-23 03:00Z  4.18 GiB  loses 6h02m"),
            ]),
            "postgres/a.dump",
            true,
        ),
        ask("regulated", "Is regulated data concerned?", AskKind::YesNo, "", false),
        ask("note", "What should people read?", AskKind::Text, "We restore from backup.\nNext update soon.", false),
    ];
    plan
}

/// The same plan after the questions were answered.
pub(super) fn answered(inputs: &Inputs) -> Plan {
    let mut plan = with_questions("select.snapshot");
    plan.inputs = inputs.clone();
    for ask in &mut plan.asks {
        ask.value = inputs.get(&ask.name).cloned().unwrap_or_default();
    }
    plan
}

pub(super) fn measured() -> Vec<Series> {
    let points = |values: &[f64]| {
        values.iter().zip(0_i64..).map(|(value, at)| (at * 60_000, Some(*value))).chain([(0, None)]).collect()
    };
    vec![
        Series {
            title: "Replication lag".to_owned(),
            unit: "s".to_owned(),
            warn: 5.0,
            bad: 30.0,
            points: points(&[22.0, 18.5, 12.0, 7.0, 3.25, 1.0, 0.5, 0.4]),
        },
        Series {
            title: "Error rate".to_owned(),
            unit: "%".to_owned(),
            warn: 1.0,
            bad: 5.0,
            points: points(&[0.5, 0.8, 2.0, 6.25]),
        },
    ]
}
