//! The engine with scripted workers: a real journal, a real socket, real clients.

use relight::engine::Input;
use relight::incident::{AttemptId, Command, Digest, Inputs, Notice, Outcome, Refusal, StepStatus};
use relight::runbook::StepId;
use relight::workers::{Disposition, Done, Probe};

mod background;
mod bench;
#[path = "../support/opening.rs"]
mod opening;

use bench::{Bench, Client, Engine, Next};

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
    let asked = |state: &relight::incident::State| state.attempts[&AttemptId(1)].asked;
    if !client.state.as_ref().is_some_and(asked) {
        client.until(|state, _| asked(state).then_some(())).await;
    }
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
async fn what_a_step_took_in_another_incident_of_this_host_is_told() {
    let mut bench = Bench::new();
    let engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    client.declare().await;
    drop(engine);
    let before = bench.state();
    let attempt = &before.attempts[&AttemptId(1)];
    let took = attempt.finished_at.unwrap().duration_since(attempt.started_at);
    bench.another("INC-NEXT");
    let _next = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    let known = |notice: &Notice| if let Notice::Precedents { steps } = notice { Some(steps.clone()) } else { None };
    let steps = client.until_noticed(known).await;
    assert_eq!(steps.keys().map(StepId::as_str).collect::<Vec<_>>(), ["declare"], "what did not succeed is no measure");
    let precedent = &steps[&StepId::new("declare")];
    assert_eq!(precedent.incident, before.id);
    assert_eq!(u128::from(precedent.took_ms), u128::try_from(took.as_millis()).unwrap());
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
