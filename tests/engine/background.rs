//! Steps that begin by themselves.

use relight::incident::{Actor, Outcome, StepStatus};
use relight::incident::{Command, EventKind};
use relight::runbook::StepId;

use super::bench::{Bench, Client, Next};

/// The test's runbook with a step that begins by itself.
const WITH_A_CHECK: &str = r#"
[[phase.step]]
id = "read"
title = "Read it all"
why = "w"
approval = "none"
needs = ["flush"]
background = true
optional = true
action.check_endpoints = { service = "http.api" }
"#;

fn bench() -> Bench {
    Bench::of(&format!("{}{WITH_A_CHECK}", super::bench::RUNBOOK))
}

async fn flush(client: &mut Client) {
    client.declare().await;
    let plan = client.plan("flush").await;
    client.approve(&plan, Some("target")).await.unwrap();
}

#[tokio::test]
async fn it_begins_when_what_it_needs_is_met_and_the_incident_waits_for_its_end() {
    let mut bench = bench();
    let mut engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    bench.script(|script| script.runs.extend([Next::Succeed, Next::Succeed, Next::Hang, Next::Succeed]));
    flush(&mut client).await;
    let status = client.until_status("read", |status| matches!(status, StepStatus::Running(_))).await;
    let attempt = status.attempt().unwrap();
    let state = client.state.as_ref().unwrap();
    assert_eq!(state.attempts[&attempt].by, Actor::engine());
    assert!(!state.timeline.iter().any(|entry| entry.decision && entry.text.contains("Read it all")), "nobody decided");
    while bench.running.recv().await.unwrap() != attempt {}

    let plan = client.plan("close").await;
    client.approve(&plan, None).await.unwrap();
    client.until_status("close", |status| matches!(status, StepStatus::Succeeded(_))).await;
    assert_eq!(client.state.as_ref().unwrap().closed_at, None, "something is at work");
    client.ask(Command::Stop { attempt }).await.unwrap();
    engine.ended.take().unwrap().await.unwrap().unwrap();
    let state = bench.state();
    assert!(state.closed_at.is_some());
    assert!(matches!(&state.attempts[&attempt].outcome, Some(Outcome::Stopped { .. })));
}

#[tokio::test]
async fn one_that_has_nothing_to_do_is_passed_over_without_a_milestone() {
    let bench = bench();
    let _engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    bench.script(|script| script.nothing_to_do = Some((StepId::new("read"), "there is nothing to read".to_owned())));
    flush(&mut client).await;
    client.until_status("read", |status| matches!(status, StepStatus::Skipped(_))).await;
    let entry = client.state.as_ref().unwrap().timeline.last().unwrap().clone();
    assert_eq!(entry.text, "Read it all: there is nothing to read");
    assert!(!entry.milestone && !entry.decision, "{entry:?}");
}

#[tokio::test]
async fn one_that_cannot_begin_is_said_and_begins_with_the_next_engine() {
    let bench = bench();
    let engine = bench.engine();
    let mut client = Client::attach(&bench.socket()).await;
    client.declare().await;
    let plan = client.plan("flush").await;
    bench.script(|script| script.blocking_of = Some((StepId::new("read"), "It is away.".to_owned())));
    client.approve(&plan, Some("target")).await.unwrap();
    let alarm = client
        .until(|_, message| match message {
            relight::wire::ToClient::Event { event } => match &event.kind {
                EventKind::Alarm { step, text } => Some((step.clone(), text.clone())),
                _ => None,
            },
            _ => None,
        })
        .await;
    assert_eq!(alarm.0.as_str(), "read");
    assert!(
        alarm.1.starts_with("Read it all did not begin by itself: ") && alarm.1.contains("It is away."),
        "{alarm:?}"
    );
    assert_eq!(client.state.as_ref().unwrap().status(&StepId::new("read")), &StepStatus::Pending);

    drop((client, engine));
    bench.script(|script| script.blocking_of = None);
    let _engine = super::engine_when_free(&bench);
    let mut client = Client::attach(&bench.socket()).await;
    client.until_status("read", |status| matches!(status, StepStatus::Succeeded(_))).await;
}
