//! PagerDuty and Slack down for an hour, before strict stand-ins: the runbook goes on, everything goes out in its order when
//! they are back, each message once. The hour passes in the outbox's own clock, at once.

#[path = "support/opening.rs"]
mod opening;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use relight::config::Config;
use relight::drill::standin::pagerduty::{self, Account, OpenIncident};
use relight::drill::standin::{Fault, FaultKind, StandIn, Tokens, slack};
use relight::engine::{self, ClientId, Handle, Hands, Home, Input, Options, Outgoing, Seat, Subscription};
use relight::incident::{
    Actor, Channel, Command, Event, EventKind, Fact, Finding, IncidentId, Inputs, Knowledge, Listing, MessageState,
    Notice, Outcome, OwedMessage, Plan, Seal, State, StepStatus, TargetIdentity,
};
use relight::journal;
use relight::runbook::{Action, Step, StepId};
use relight::tui::{App, Msg, Theme, frame_text, update};
use relight::wire::{FromEngine, ToClient};
use relight::workers::slack::{PostMessage, send_owed};
use relight::workers::{Context, Done, Io, Probe, Ran, Worker, WorkerError, send_note};
use serde_json::Value;
use tokio::sync::watch;

use opening::opening;

const TOKEN: &str = "full-4711-secret";
const HOUR: Duration = Duration::from_hours(1);
/// Requests that a service leaves unanswered while it is down: as many as the outbox makes in more than an hour.
const OUTAGE: u32 = 80;

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
id = "tell"
title = "Tell"
why = "w"
approval = "confirm"
action.post_message = { text = "We are restoring {{ database }}." }
[[phase.step]]
id = "restore"
title = "Restore"
why = "w"
approval = "confirm"
needs = ["declare"]
milestone = true
action.flush_cache = { cache = "redis.cache" }
[[phase.step]]
id = "verify"
title = "Verify"
why = "w"
approval = "confirm"
needs = ["restore"]
milestone = true
action.flush_cache = { cache = "redis.cache" }
"#;

/// Steps that succeed at once; what is sent goes to the stand-ins as in production.
struct Sender {
    config: Arc<Config>,
    pagerduty: String,
    passed: Mutex<BTreeMap<Channel, Duration>>,
    /// Half of the hour is over, and the rest waits for the test.
    on: watch::Receiver<bool>,
}

struct Quick(Vec<Fact>);

#[async_trait]
impl Worker for Quick {
    async fn identify(&self, _: &Context) -> Result<TargetIdentity, WorkerError> {
        Ok(TargetIdentity { name: "target".to_owned(), ..TargetIdentity::default() })
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        Ok(Plan::new(cx.step.clone(), self.identify(cx).await?))
    }

    async fn preflight(&self, _: &Context, _: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _: &Plan, _: &Io) -> Result<Ran, WorkerError> {
        Ok(Ran::Done(Done { evidence: vec![format!("{} is proved", cx.title)], facts: self.0.clone() }))
    }

    async fn probe(&self, _: &Context, _: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::Unknown("it cannot tell".to_owned()))
    }
}

#[async_trait]
impl Hands for Sender {
    fn worker(&self, step: &Step, _: &Knowledge) -> Result<Box<dyn Worker>, WorkerError> {
        Ok(match &step.action {
            Action::PostMessage { text } => Box::new(PostMessage { text: text.clone() }),
            Action::DeclareIncident { .. } => {
                let (id, url) = (self.pagerduty.clone(), "https://example.com".to_owned());
                Box::new(Quick(vec![Fact::PagerDuty { id, number: 1, url, adopted: true }]))
            }
            _ => Box::new(Quick(Vec::new())),
        })
    }

    async fn list(&self, _: &Step, _: &Knowledge) -> Result<Option<Listing>, WorkerError> {
        Ok(None)
    }

    fn reads(&self, _: Channel) -> bool {
        true
    }

    async fn send(&self, message: &OwedMessage, knowledge: &Knowledge, again: bool) -> Result<String, WorkerError> {
        match message.channel {
            Channel::SlackMessage => send_owed(&self.config, &knowledge.incident, message, again).await,
            Channel::PagerDutyNote => {
                let mark = format!("[{} #{}]", knowledge.incident, message.about);
                send_note(&self.config, &self.pagerduty, &message.text, &mark, again).await
            }
        }
    }

    async fn pause(&self, channel: Channel, wait: Duration) {
        let passed = {
            let mut all = self.passed.lock().unwrap();
            let passed = all.entry(channel).or_default();
            *passed += wait;
            *passed
        };
        if passed > HOUR / 2 {
            self.on.clone().wait_for(|on| *on).await.unwrap();
        }
    }
}

/// An incident before two stand-ins.
struct World {
    folder: tempfile::TempDir,
    incident: PathBuf,
    pagerduty: StandIn,
    slack: StandIn,
    hands: Arc<Sender>,
    on: watch::Sender<bool>,
}

impl World {
    async fn new() -> Self {
        let mut account = Account::example();
        account.open_incidents.push(OpenIncident {
            title: "paged".into(),
            service: "PWIXJZS".into(),
            created_at: Timestamp::now(),
            alert_key: None,
        });
        let config = pagerduty::Config { tokens: Tokens::new(TOKEN), account, record_to: None };
        let pagerduty = pagerduty::start(config).await.unwrap();
        let slack = slack::start(slack::Config::example(Tokens::new(TOKEN))).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let token = format!("{{ file = '{}' }}", token.display());
        let config = format!(
            "environment = 'test'\n\
             [pagerduty]\ntoken = {token}\nfrom = 'oncall@example.com'\nservice = 'PWIXJZS'\nbase_url = '{}'\n\
             [slack]\ntoken = {token}\nchannel = 'C0123456789'\nchannel_name = '#status'\nbase_url = '{}'\n",
            pagerduty.base_url, slack.base_url
        );
        let id = IncidentId::new("INC-TEST").unwrap();
        let at = "2026-11-23T08:48:00Z".parse().unwrap();
        let opening = Event { at, actor: ana(), ..opening(id.as_str(), "test", "ledger", RUNBOOK) };
        let incident = Home::find(Some(folder.path())).unwrap().create(&id, &opening).unwrap();
        let (on, wait) = watch::channel(false);
        let hands = Arc::new(Sender {
            config: Arc::new(toml::from_str(&config).unwrap()),
            pagerduty: pagerduty.state()["incidents"][0]["id"].as_str().unwrap().to_owned(),
            passed: Mutex::default(),
            on: wait,
        });
        Self { folder, incident, pagerduty, slack, hands, on }
    }

    /// From now on nothing is answered, and what is asked first takes effect all the same.
    fn go_down(&self) {
        let down = || FaultKind::Answer { status: 503, headers: None, body: None, bare: true, effect: false };
        self.pagerduty.fault(Fault::on("POST", "/incidents/", FaultKind::LoseAnswer)).unwrap();
        self.pagerduty.fault(Fault::next(down()).times(OUTAGE)).unwrap();
        self.slack.fault(Fault::next(FaultKind::Drop).times(OUTAGE)).unwrap();
    }

    async fn engine(&self) -> Desk {
        let options = Options {
            folder: self.incident.clone(),
            config: Arc::clone(&self.hands.config),
            hands: Arc::clone(&self.hands) as Arc<dyn Hands>,
        };
        let (ready, handle) = tokio::sync::oneshot::channel();
        tokio::spawn(engine::run(options, |handle| ready.send(handle).unwrap()));
        Desk::join(handle.await.unwrap()).await
    }

    fn state(&self) -> State {
        State::replay(&journal::read(&self.incident.join(journal::FILE)).unwrap().events).unwrap()
    }

    fn notes(&self) -> Vec<String> {
        let state = self.pagerduty.state();
        let notes = state["incidents"][0]["notes"].as_array().unwrap();
        notes.iter().map(|note| note["content"].as_str().unwrap().to_owned()).collect()
    }

    fn posts(&self) -> Vec<String> {
        let state = self.slack.state();
        let posts: &Vec<Value> = state["channels"][0]["messages"].as_array().unwrap();
        posts.iter().map(|post| post["text"].as_str().unwrap().to_owned()).collect()
    }
}

fn ana() -> Actor {
    Actor { name: "ana".to_owned(), uid: Some(1000) }
}

/// A person at the engine.
struct Desk {
    handle: Handle,
    subscription: Subscription,
    app: App,
    next: u64,
}

impl Desk {
    async fn join(handle: Handle) -> Self {
        let seat = Seat { actor: ana(), watching: None };
        let joined = handle.connect(ClientId(1), seat).await.unwrap();
        let app = App::new(Theme::from_environment(None, false, |_| None), (120, 32), Timestamp::now());
        let mut desk = Self { handle, subscription: joined.subscription, app, next: 1 };
        let history = journal::read(&joined.journal).unwrap();
        for event in history.events.into_iter().filter(|event| event.seq <= joined.seal.seq) {
            desk.hear(ToClient::Event { event: Box::new(event) });
        }
        desk.hear(ToClient::CaughtUp { seal: Seal { seq: joined.seal.seq, head: joined.seal.head } });
        desk
    }

    fn hear(&mut self, message: ToClient) {
        update(&mut self.app, Msg::FromEngine(FromEngine::Message(message)), Timestamp::now());
    }

    /// Listens until `found` finds something.
    async fn until<T>(&mut self, mut found: impl FnMut(&Outgoing) -> Option<T>) -> T {
        loop {
            let outgoing = self.subscription.next().await.expect("the engine goes on");
            match &outgoing {
                Outgoing::Event(event) => self.hear(ToClient::Event { event: Box::new((**event).clone()) }),
                Outgoing::Notice(notice) => self.hear(ToClient::Notice { notice: (**notice).clone() }),
                Outgoing::Sealed(_) | Outgoing::Reply { .. } => {}
            }
            if let Some(found) = found(&outgoing) {
                return found;
            }
        }
    }

    /// Plans and approves a step, and waits until it has succeeded.
    async fn carry_out(&mut self, step: &str) {
        let step = StepId::new(step);
        let command = Command::Prepare { step: step.clone(), inputs: Inputs::new(), undoes: None };
        self.ask(command).await;
        let planned = |outgoing: &Outgoing| match outgoing {
            Outgoing::Notice(notice) => match &**notice {
                Notice::Planned { step: of, result } if *of == step => Some(result.clone().unwrap()),
                _ => None,
            },
            _ => None,
        };
        let plan = self.until(planned).await;
        self.ask(Command::Approve { step: step.clone(), digest: plan.digest(), typed: None }).await;
        let outcome = self
            .until(|outgoing| match outgoing {
                Outgoing::Event(event) => match &event.kind {
                    EventKind::Finished { outcome, .. } => Some(outcome.clone()),
                    _ => None,
                },
                _ => None,
            })
            .await;
        assert!(matches!(outcome, Outcome::Succeeded { .. }), "{step}: {outcome:?}");
        // What follows from the end comes before this.
        self.until(|outgoing| matches!(outgoing, Outgoing::Sealed(_)).then_some(())).await;
    }

    async fn ask(&mut self, command: Command) {
        let id = self.next;
        self.next += 1;
        assert!(self.handle.send(Input::Command { client: ClientId(1), id, command }).await);
    }

    fn screen(&self) -> String {
        frame_text(&self.app, 120, 32)
    }
}

#[tokio::test]
async fn an_hour_without_pagerduty_and_slack_costs_the_restore_nothing_and_no_message() {
    let world = World::new().await;
    world.go_down();
    let mut desk = world.engine().await;
    for step in ["declare", "tell", "restore", "verify"] {
        desk.carry_out(step).await;
    }
    let state = world.state();
    for step in ["declare", "tell", "restore", "verify"] {
        assert!(matches!(state.status(&StepId::new(step)), StepStatus::Succeeded(_)), "{step}");
    }
    // The opening, three milestones and the post are owed, and the header says so; the first note arrived unseen.
    assert_eq!(state.unsent().count(), 5);
    let header = desk.screen().lines().next().unwrap().to_owned();
    assert!(header.contains("5 unsent"), "{header}");
    assert_eq!(world.posts(), Vec::<String>::new());

    // The services come back when the hour is over.
    world.on.send_replace(true);
    let mut left = 5;
    while left > 0 {
        desk.until(|outgoing| match outgoing {
            Outgoing::Event(event) => matches!(event.kind, EventKind::MessageSent { .. }).then_some(()),
            _ => None,
        })
        .await;
        left -= 1;
    }
    let passed = world.hands.passed.lock().unwrap().clone();
    assert!(Channel::ALL.iter().all(|channel| passed[channel] > HOUR), "{passed:?}");
    assert!(!desk.screen().contains("unsent"));
    sent_once_in_order_with_their_times(&world);
    let [post] = world.posts().try_into().expect("one post");
    assert!(post.starts_with("We are restoring ledger.\n(written "), "{post}");
}

#[tokio::test]
async fn an_engine_that_dies_in_the_outage_leaves_nothing_out_and_sends_nothing_twice() {
    let world = World::new().await;
    world.go_down();
    // Its runtime is dropped as a killed process is.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = Arc::new(world);
    let first = Arc::clone(&world);
    runtime
        .spawn(async move {
            let mut desk = first.engine().await;
            for step in ["declare", "tell", "restore"] {
                desk.carry_out(step).await;
            }
            first.pagerduty.arrived(Some("POST"), Some("/incidents/"), 1).await;
        })
        .await
        .unwrap();
    assert_eq!(world.notes().len(), 1, "its answer was lost");
    runtime.shutdown_background();
    let lock = std::fs::File::open(world.incident.join("lock")).unwrap();
    tokio::task::spawn_blocking(move || rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap())
        .await
        .unwrap();
    world.on.send_replace(true);
    let mut desk = world.engine().await;
    desk.carry_out("verify").await;
    while world.state().unsent().next().is_some() {
        desk.until(|outgoing| matches!(outgoing, Outgoing::Event(_)).then_some(())).await;
    }
    sent_once_in_order_with_their_times(&world);
    assert_eq!(world.posts().len(), 1);
    assert!(world.folder.path().exists());
}

/// PagerDuty holds a note for each milestone, in their order, each with the time of what it tells.
fn sent_once_in_order_with_their_times(world: &World) {
    let state = world.state();
    assert!(state.messages.values().all(|message| matches!(message.state, MessageState::Sent(_))));
    let told: Vec<String> = state
        .timeline
        .iter()
        .filter(|entry| entry.milestone)
        .map(|entry| format!("{} {}", entry.at.strftime("%H:%M:%SZ"), entry.text))
        .collect();
    assert_eq!(told.len(), 4);
    assert!(told[0].starts_with("08:48:00Z Incident INC-TEST opened"), "{told:?}");
    let notes = world.notes();
    assert_eq!(notes.len(), told.len(), "{notes:?}");
    for (note, told) in notes.iter().zip(&told) {
        assert!(note.starts_with(told.as_str()), "{note} tells {told}");
    }
}
