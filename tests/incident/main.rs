//! The pure domain: what commands and reports lead to, without a clock, a disk or a socket.

mod exports;
#[path = "../support/opening.rs"]
mod opening;
mod people;
mod ways_back;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use relight::export::{Format, export};
use relight::incident::{
    Actor, Ask, AskKind, Command, Effect, Event, EventKind, Fact, Finding, Inputs, Knowledge, ObjectRef, Outcome,
    PendingPlans, Plan, Problem, Refusal, Replicas, Report, State, StepStatus, TargetIdentity, decide, effects,
    escalations, owed, react, recover,
};
use relight::runbook::StepId;

use opening::opening;

/// The written procedure, which works on the live database.
const RUNBOOK: &str = include_str!("../../assets/runbooks/in-place.toml");

fn at(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-11-23T08:00:00Z".parse().expect("a time");
    start + SignedDuration::from_mins(minutes)
}

/// An incident that is folded event by event, with plans that always succeed.
struct World {
    state: State,
    plans: PendingPlans,
    events: Vec<Event>,
    now: Timestamp,
    actor: Actor,
}

fn account(name: &str, uid: u32) -> Actor {
    Actor { name: name.to_owned(), uid: Some(uid) }
}

impl World {
    fn new() -> Self {
        Self::of(RUNBOOK)
    }

    fn of(runbook: &str) -> Self {
        let opening = Event { at: at(0), ..opening("INC-7F3K", "production", "financecopilot", runbook) };
        let state = State::open(&opening).expect("an incident");
        Self { state, plans: PendingPlans::default(), events: vec![opening], now: at(0), actor: account("ana", 1000) }
    }

    fn commit(&mut self, kinds: Vec<EventKind>) -> Vec<Effect> {
        let mut after = Vec::new();
        for kind in kinds {
            let event = Event { seq: self.state.seq + 1, at: self.now, actor: self.actor.clone(), kind };
            self.state.apply(&event).expect("the next event");
            after.extend(effects(&self.state, &event));
            self.events.push(event);
        }
        let owed = owed(&self.state, "d1");
        if !owed.is_empty() {
            after.extend(self.commit(owed));
        }
        after
    }

    fn ask(&mut self, command: &Command) -> Result<Vec<Effect>, Refusal> {
        let decision = decide(&self.state, &self.plans, &self.actor, command, self.now)?;
        let mut after = self.commit(decision.events);
        after.extend(decision.effects);
        Ok(after)
    }

    fn plan(&mut self, step: &str, change: impl FnOnce(&mut Plan)) -> Plan {
        let id = StepId::new(step);
        let identity = TargetIdentity { name: "financecopilot".to_owned(), proofs: BTreeMap::new() };
        let mut plan = Plan::new(id.clone(), identity);
        plan.effects = vec![format!("does {step}")];
        change(&mut plan);
        plan.context = self.state.context(&id);
        self.plans.put(plan.clone(), self.state.footing(&id), self.now);
        plan
    }

    fn approve(&mut self, plan: &Plan) -> Result<Vec<Effect>, Refusal> {
        self.ask(&Command::Approve {
            step: plan.step.clone(),
            digest: plan.digest(),
            typed: Some("financecopilot".to_owned()),
        })
    }

    fn running(&self, step: &str) -> relight::incident::AttemptId {
        self.state.status(&StepId::new(step)).attempt().expect("an attempt")
    }

    fn finish(&mut self, step: &str, outcome: Outcome) -> Vec<Effect> {
        let report = Report::Finished { attempt: self.running(step), outcome };
        let kinds = react(&self.state, &report);
        self.commit(kinds)
    }

    fn succeed(&mut self, step: &str, facts: Vec<Fact>) {
        let plan = self.plan(step, |_| {});
        self.approve(&plan).unwrap_or_else(|refusal| panic!("{step}: {refusal}"));
        self.finish(step, Outcome::Succeeded { evidence: vec![format!("{step} is done")], facts });
    }

    fn status(&self, step: &str) -> &StepStatus {
        self.state.status(&StepId::new(step))
    }

    /// Up to the point where the restore can be approved.
    fn up_to_restore(&mut self) {
        self.up_to_the_choice();
        self.succeed("restore.stop-writes", vec![stopped(self.now)]);
        self.succeed("restore.quiet", Vec::new());
        self.succeed(
            "restore.safety-dump",
            vec![Fact::SafetyDump { object: object("safety/x.dump"), taken_at: self.now }],
        );
    }

    /// Up to a chosen snapshot, whose loss is agreed to.
    fn up_to_the_choice(&mut self) {
        for check in ["check.database", "check.backups", "check.cluster", "check.cache"] {
            self.succeed(check, Vec::new());
        }
        self.succeed("declare.incident", vec![pagerduty(), Fact::Regulated { yes: false }]);
        self.succeed(
            "declare.freeze",
            vec![Fact::Flag { flag: "deployments_locked".to_owned(), was: false, now: true }],
        );
        self.choose("postgres/a.dump");
        self.agree("postgres/a.dump", 4);
    }

    fn choose(&mut self, key: &str) {
        self.choose_in("select.snapshot", key);
    }

    fn choose_in(&mut self, step: &str, key: &str) {
        let facts = vec![Fact::Onset { at: at(-12) }, Fact::Snapshot { object: object(key), taken_at: at(-180) }];
        self.succeed(step, facts);
    }

    fn agree(&mut self, key: &str, hours: i64) {
        self.succeed(
            "select.agreement",
            vec![Fact::Agreement {
                who: "Dana".to_owned(),
                place: "bridge".to_owned(),
                at: self.now,
                object: object(key),
                loses_seconds: hours * 3600,
            }],
        );
    }
}

fn pagerduty() -> Fact {
    Fact::PagerDuty { id: "Q2ABC".to_owned(), number: 7, url: "https://pd.example/Q2ABC".to_owned(), adopted: false }
}

fn object(key: &str) -> ObjectRef {
    ObjectRef {
        target: "s3.backups".to_owned(),
        bucket: "financecopilot-backups".to_owned(),
        key: key.to_owned(),
        version_id: None,
        etag: format!("\"{key}\""),
        size: 42,
    }
}

fn stopped(at: Timestamp) -> Fact {
    let replicas = Replicas {
        target: "kubernetes.production".to_owned(),
        namespace: "default".to_owned(),
        deployment: "api".to_owned(),
        count: 6,
    };
    Fact::WritesStopped { at, replicas: vec![replicas] }
}

fn failed() -> Outcome {
    Outcome::Failed {
        problem: Problem {
            what: "restore".to_owned(),
            target: "financecopilot".to_owned(),
            why: "the disk is full.".to_owned(),
            next: "Free space.".to_owned(),
        },
    }
}

#[test]
fn a_step_waits_for_its_needs_and_says_for_which() {
    let mut world = World::new();
    let prepare = Command::Prepare { step: StepId::new("select.agreement"), inputs: Inputs::new(), undoes: None };
    let Err(Refusal::NotReady { waits_for, .. }) = world.ask(&prepare) else { panic!("it was not refused") };
    assert_eq!(waits_for, "Choose the snapshot, PagerDuty incident");
}

#[test]
fn an_approval_is_bound_to_the_plan_and_to_what_it_rests_on() {
    let mut world = World::new();
    world.up_to_restore();
    let plan = world.plan("restore.database", |_| {});
    let typed = Some("financecopilo".to_owned());
    let wrong = Command::Approve { step: plan.step.clone(), digest: plan.digest(), typed };
    assert_eq!(world.ask(&wrong), Err(Refusal::WrongName { expected: "financecopilot".to_owned() }));
    // The safety dump is made anew meanwhile: the plan that was read rests on another footing.
    world.ask(&Command::Retry { step: StepId::new("restore.safety-dump") }).expect("reopened");
    let again = Fact::SafetyDump { object: object("safety/y.dump"), taken_at: world.now };
    world.succeed("restore.safety-dump", vec![again]);
    assert!(matches!(world.approve(&plan), Err(Refusal::PlanChanged { .. })));
}

/// The card in front of somebody was made before the dump got another version.
#[test]
fn an_approval_of_a_plan_that_was_made_again_says_what_changed() {
    let mut world = World::new();
    let of = |version: &str| serde_json::json!({ "object": { "key": "a.dump", "version_id": version }, "jobs": 2 });
    let first = world.plan("check.database", |plan| plan.basis = of("v1"));
    let second = world.plan("check.database", |plan| plan.basis = of("v2"));
    let Err(Refusal::PlanChanged { why }) = world.approve(&first) else { panic!("it is void") };
    assert!(why.contains(r#"object.version_id is "v2", and it was "v1""#) && !why.contains("jobs"), "{why}");
    world.approve(&second).unwrap();
}

#[test]
fn a_plan_with_an_open_question_or_a_blocking_finding_cannot_be_approved() {
    let mut world = World::new();
    let plan = world.plan("declare.incident", |plan| {
        plan.asks.push(Ask {
            name: "regulated".to_owned(),
            label: "Is regulated data concerned?".to_owned(),
            kind: AskKind::YesNo,
            value: String::new(),
            required: true,
            offered: false,
        });
    });
    let why = "Is regulated data concerned? is not answered yet".to_owned();
    assert_eq!(world.approve(&plan), Err(Refusal::Obstacle { why }));
    let plan = world.plan("declare.incident", |plan| plan.findings.push(Finding::blocking("no such service")));
    assert_eq!(world.approve(&plan), Err(Refusal::Obstacle { why: "no such service".to_owned() }));
}

#[test]
fn a_worker_is_told_of_the_first_and_the_last_attempts_of_its_step() {
    let mut world = World::new();
    let past = |world: &World| -> Vec<u32> {
        Knowledge::of(&world.state, &StepId::new("check.database"), world.now).past.iter().map(|it| it.id.0).collect()
    };
    for number in 1..=120 {
        let plan = world.plan("check.database", |_| {});
        world.approve(&plan).unwrap();
        world.finish("check.database", failed());
        world.ask(&Command::Retry { step: StepId::new("check.database") }).unwrap();
        let wanted: Vec<u32> = (1..=number).filter(|at| *at <= 50 || *at > number - 50).collect();
        assert_eq!(past(&world), wanted, "after {number} attempts");
    }
}

#[test]
fn two_attempts_never_work_on_one_target() {
    let mut world = World::new();
    world.up_to_restore();
    let restore = world.plan("restore.database", |_| {});
    world.approve(&restore).expect("approved");
    world.ask(&Command::Retry { step: StepId::new("restore.quiet") }).expect_err("a dependent is at work");
    let back = world.plan("rollback.safety-dump", |_| {});
    assert!(matches!(world.approve(&back), Err(Refusal::TargetBusy { .. })));
    let flush = world.plan("dependents.cache", |_| {});
    world.approve(&flush).expect("another target may be worked on beside it");
}

#[test]
fn an_agreement_is_void_when_the_snapshot_changes_or_more_would_be_lost() {
    let mut world = World::new();
    world.up_to_restore();
    // Writes are stopped, so the loss stands still however long it takes.
    world.now = at(600);
    let plan = world.plan("restore.database", |_| {});
    world.approve(&plan).expect("the loss did not grow");
    world.finish("restore.database", failed());

    let mut world = World::new();
    world.up_to_restore();
    world.ask(&Command::Retry { step: StepId::new("select.snapshot") }).expect("reopened");
    for step in ["select.agreement", "restore.stop-writes", "restore.quiet", "restore.safety-dump"] {
        assert_eq!(world.status(step), &StepStatus::Pending, "{step} rests on the choice");
    }
    world.choose("postgres/b.dump");
    world.agree("postgres/a.dump", 4);
    let plan = world.plan("restore.stop-writes", |_| {});
    let Err(Refusal::Obstacle { why }) = world.approve(&plan) else { panic!("it was approved") };
    assert!(why.contains("given for another snapshot"), "{why}");

    let mut world = World::new();
    world.succeed("check.backups", Vec::new());
    world.succeed("check.cluster", Vec::new());
    world.succeed("declare.incident", vec![pagerduty()]);
    world.succeed("declare.freeze", Vec::new());
    world.choose("postgres/a.dump");
    world.agree("postgres/a.dump", 4);
    world.now = at(61);
    let plan = world.plan("restore.stop-writes", |_| {});
    let Err(Refusal::Obstacle { why }) = world.approve(&plan) else { panic!("it was approved") };
    assert!(why.contains("it covers a loss of up to 4h00m, and 4h01m would be lost now"), "{why}");
}

#[test]
fn stale_reports_are_dropped() {
    let mut world = World::new();
    let plan = world.plan("declare.freeze", |_| {});
    world.approve(&plan).expect("approved");
    let attempt = world.running("declare.freeze");
    world.finish("declare.freeze", failed());
    let late = Report::Finished { attempt, outcome: Outcome::Succeeded { evidence: Vec::new(), facts: Vec::new() } };
    assert_eq!(react(&world.state, &late), []);
    let unknown = Report::Finished { attempt: relight::incident::AttemptId(99), outcome: failed() };
    assert_eq!(react(&world.state, &unknown), []);
}

#[test]
fn milestones_are_owed_once_each_and_the_earlier_ones_too() {
    let mut world = World::new();
    world.succeed("declare.freeze", Vec::new());
    assert_eq!(world.state.messages.len(), 0, "there is no incident to note them on yet");
    world.succeed("declare.incident", vec![pagerduty()]);
    let texts: Vec<&str> = world.state.messages.values().map(|message| message.text.as_str()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts[0].contains("opened by ana")
            && texts[1].contains("Freeze deploys")
            && texts[2].contains("PagerDuty incident")
    );
    assert_eq!(owed(&world.state, "d1"), []);
}

#[test]
fn a_new_engine_doubts_what_was_at_work_and_watches_what_was_stopped() {
    let mut world = World::new();
    world.up_to_restore();
    let plan = world.plan("restore.database", |_| {});
    world.approve(&plan).expect("approved");
    let attempt = world.running("restore.database");
    let stop = world.running("restore.stop-writes");
    let (events, effects) = recover(&world.state);
    assert!(
        matches!(&events[..], [EventKind::Finished { attempt: of, outcome: Outcome::InDoubt { .. } }] if *of == attempt)
    );
    assert!(effects.contains(&Effect::Watch { attempt: stop }), "{effects:?}");
    // The doubt calls for the question, once.
    let asked = world.commit(events);
    assert_eq!(asked, [Effect::Probe { attempt }]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Run { .. })), "replaying runs nothing");
}

#[test]
fn contacts_are_proposed_when_their_time_comes() {
    let mut world = World::new();
    world.up_to_restore();
    let due = |world: &World| -> Vec<String> {
        escalations(&world.state, world.now)
            .into_iter()
            .filter_map(|escalation| escalation.due.map(|_| escalation.contact.role))
            .collect()
    };
    assert_eq!(due(&world), Vec::<String>::new());
    let plan = world.plan("restore.database", |_| {});
    world.approve(&plan).expect("approved");
    world.finish("restore.database", failed());
    assert_eq!(due(&world), ["Database Reliability"]);
    world.now = at(49);
    assert_eq!(due(&world), ["Database Reliability", "VP of Engineering"]);
    let told = Command::Escalate { role: "VP of Engineering".to_owned(), note: "on the bridge".to_owned() };
    world.ask(&told).expect("recorded");
    assert_eq!(due(&world), ["Database Reliability"]);
}

#[test]
fn a_draft_is_filled_from_what_is_known() {
    let mut world = World::new();
    let step = StepId::new("communicate.status");
    let template = match &world.state.runbook.step(&step).expect("the step").action {
        relight::runbook::Action::PostMessage { text } => text.clone(),
        other => panic!("{other:?}"),
    };
    let draft = Knowledge::of(&world.state, &step, world.now).fill(&template).expect("filled");
    assert!(draft.contains("We are choosing a backup") && draft.contains("Done so far: nothing yet."), "{draft}");
    world.up_to_restore();
    let draft = Knowledge::of(&world.state, &step, world.now).fill(&template).expect("filled");
    assert!(draft.contains("We restore the backup of 2026-11-23 05:00Z (about 3h00m of writes are lost)"), "{draft}");
    assert!(draft.contains("until about 2026-11-23 08:48Z (target)"), "{draft}");
}

#[test]
fn the_whole_history_replays_to_the_same_state_and_exports() {
    let mut world = World::new();
    world.up_to_restore();
    let hostile = "note | with <b>markup</b> and\nlines \u{1b}[31m";
    world.ask(&Command::Note { text: hostile.to_owned() }).expect("noted");
    let replayed = State::replay(&world.events).expect("replayed");
    assert_eq!(format!("{replayed:?}"), format!("{:?}", world.state));
    let text = export(&replayed, Format::PagerDuty, None);
    assert!(text.starts_with("Timeline of INC-7F3K (financecopilot, production), all times UTC\n2026-11-23 08:00:00Z Incident INC-7F3K opened"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 20_000));
    let markdown = export(&replayed, Format::Markdown, None);
    assert!(markdown.contains("note \\| with \\<b\\>markup\\</b\\> and / lines"), "{markdown}");
    assert!(!markdown.contains('\u{1b}'));
    let json: serde_json::Value = serde_json::from_str(&export(&replayed, Format::Json, None)).expect("JSON");
    assert_eq!(json["steps"].as_array().map(Vec::len), Some(replayed.runbook.steps().count()));
    assert_eq!(json["messages"].as_array().map(Vec::len), Some(replayed.messages.len()));
}
