//! The user's own commands.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use relight::config::Config;
use relight::incident::{AttemptId, Gravity, IncidentId, Inputs, Knowledge, Plan};
use relight::runbook::{StepId, TargetRef};
use relight::workers::command::{CheckCommand, FlagReader, RunCommand};
use relight::workers::{Context, Probe, Ran, Worker, WorkerError};

use crate::support::Attempt;

const CONFIG: &str = r#"
environment = "test"
[command.smoke]
argv = ["sh", "-c", "echo token $TOKEN; echo plain $PLAIN; exit $CODE"]
[command.smoke.env]
PLAIN = "seen"
CODE = "0"
TOKEN = { command = ["echo", "hunter2"] }
[command.bad]
argv = ["sh", "-c", "echo first; echo 'expected 5, got 4'; exit 2"]
[command.hang]
argv = ["sleep", "1000"]
timeout = "1s"
[command.deploy]
argv = ["echo", "--ref", "{{ ref }}", "{{ zone }}"]
[command.none]
argv = ["no-such-program-anywhere"]
[command.nowhere]
argv = ["sh"]
cwd = "/no/such/folder"
[command.file]
argv = ["/etc/passwd"]
"#;

struct Flag(Result<bool, ()>);

#[async_trait]
impl FlagReader for Flag {
    async fn is_on(&self, _config: &Config, flag: &str) -> Result<bool, WorkerError> {
        self.0.map_err(|()| {
            WorkerError::new(format!("read {flag}"), "LaunchDarkly", "The token is refused.", "Renew it.")
        })
    }
}

fn context(attempt: &Attempt, inputs: &[(&str, &str)]) -> Context {
    let incident = IncidentId::new("INC-TEST").unwrap();
    std::fs::create_dir_all(attempt.folder.path().join("output")).unwrap();
    Context {
        step: StepId::new("verify.smoke"),
        title: "Smoke".to_owned(),
        attempt: Some(AttemptId(1)),
        inputs: inputs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Inputs>(),
        undoes: None,
        knowledge: Arc::new(knowledge(incident)),
        config: Arc::new(toml::from_str(CONFIG).unwrap()),
        folder: attempt.folder.path().to_owned(),
    }
}

fn knowledge(incident: IncidentId) -> Knowledge {
    Knowledge::at_first(incident, "test", "financecopilot", "2026-11-23T09:00:00Z".parse().unwrap())
}

fn command(name: &str, blocked_by: Option<&str>, flag: Option<Flag>) -> RunCommand {
    RunCommand {
        command: TargetRef::Command(name.to_owned()),
        blocked_by: blocked_by.map(str::to_owned),
        changes: blocked_by.is_some(),
        flags: flag.map(|flag| Arc::new(flag) as Arc<dyn FlagReader>),
    }
}

fn in_output(attempt: &mut Attempt) -> PathBuf {
    attempt.log = attempt.folder.path().join("output/1.log");
    attempt.log.clone()
}

async fn findings(worker: &dyn Worker, cx: &Context) -> (Plan, Vec<String>) {
    let mut plan = worker.plan(cx).await.unwrap();
    plan.findings.extend(worker.preflight(cx, &plan).await.unwrap());
    let blocking = plan.findings.iter().filter(|finding| finding.gravity == Gravity::Blocking);
    let texts = blocking.map(|finding| finding.text.clone()).collect();
    (plan, texts)
}

#[tokio::test]
async fn a_command_runs_with_its_environment_and_without_its_secrets_on_show() {
    let mut attempt = Attempt::new();
    let log = in_output(&mut attempt);
    let (cx, worker) = (context(&attempt, &[]), command("smoke", None, None));
    let (plan, blocking) = findings(&worker, &cx).await;
    assert_eq!(blocking, Vec::<String>::new());
    assert!(plan.asks.is_empty() && !format!("{plan:?}").contains("hunter2"));
    let Ran::Done(done) = worker.run(&cx, &plan, &attempt.io()).await.unwrap() else { panic!("done") };
    assert!(done.evidence[0].starts_with("smoke succeeded in "), "{done:?}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "token [secret]\nplain seen\n");
    assert!(matches!(worker.probe(&cx, &plan).await.unwrap(), Probe::Happened(_)));
}

#[tokio::test]
async fn failing_and_hanging_commands_say_why() {
    let mut attempt = Attempt::new();
    in_output(&mut attempt);
    let cx = context(&attempt, &[]);
    let worker = command("bad", None, None);
    let plan = worker.plan(&cx).await.unwrap();
    let error = worker.run(&cx, &plan, &attempt.io()).await.unwrap_err();
    assert!(error.cause.contains("exit code 2") && error.cause.contains("expected 5, got 4"), "{error}");
    assert!(matches!(worker.probe(&cx, &plan).await.unwrap(), Probe::DidNot(_)));

    let worker = command("hang", None, None);
    let plan = worker.plan(&cx).await.unwrap();
    let error = worker.run(&cx, &plan, &attempt.io()).await.unwrap_err();
    assert!(error.cause.contains("took too long"), "{error}");
}

#[tokio::test]
async fn placeholders_are_asked_for() {
    let mut attempt = Attempt::new();
    let log = in_output(&mut attempt);
    let worker = command("deploy", Some("deployments_locked"), Some(Flag(Ok(false))));
    let (plan, _) = findings(&worker, &context(&attempt, &[("ref", "v41")])).await;
    let asks: Vec<_> = plan.asks.iter().map(|ask| (ask.name.as_str(), ask.value.as_str(), ask.required)).collect();
    assert_eq!(asks, [("ref", "v41", true), ("zone", "", true)]);
    assert!(plan.obstacle().is_some());
    let cx = context(&attempt, &[("ref", "$(touch x); v41"), ("zone", "eu west")]);
    let (plan, blocking) = findings(&worker, &cx).await;
    assert!(plan.obstacle().is_none(), "{blocking:?}");
    assert!(plan.commands[0].contains("'$(touch x); v41' 'eu west'"), "{:?}", plan.commands);
    worker.run(&cx, &plan, &attempt.io()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "--ref $(touch x); v41 eu west\n");
    let (_, blocking) = findings(&worker, &context(&attempt, &[("ref", "--force"), ("zone", "eu")])).await;
    assert!(blocking[0].contains("begins with `-`"), "{blocking:?}");
}

#[tokio::test]
async fn a_lock_blocks_the_deploy() {
    let attempt = Attempt::new();
    let cx = context(&attempt, &[("ref", "v41"), ("zone", "eu")]);
    for (flag, words) in [
        (Some(Flag(Ok(true))), "deployments_locked is on"),
        (Some(Flag(Err(()))), "cannot be read: The token is refused."),
        (None, "nothing here can read it"),
    ] {
        let (_, blocking) = findings(&command("deploy", Some("deployments_locked"), flag), &cx).await;
        assert!(blocking.len() == 1 && blocking[0].contains(words), "{blocking:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_found_out_beforehand() {
    let attempt = Attempt::new();
    let cx = context(&attempt, &[]);
    for (name, words) in [
        ("none", "There is no program no-such-program-anywhere in PATH."),
        ("nowhere", "There is no folder /no/such/folder."),
        ("file", "/etc/passwd may not be executed."),
        ("unknown", "The config has no such command."),
    ] {
        let check = CheckCommand { target: TargetRef::Command(name.to_owned()) };
        let plan = Plan::new(cx.step.clone(), relight::incident::TargetIdentity::default());
        let error = check.run(&cx, &plan, &attempt.io()).await.unwrap_err();
        assert_eq!(error.cause, words);
    }
    let check = CheckCommand { target: TargetRef::Command("smoke".to_owned()) };
    let plan = check.plan(&cx).await.unwrap();
    assert!(matches!(check.run(&cx, &plan, &attempt.io()).await.unwrap(), Ran::Done(_)));
}
