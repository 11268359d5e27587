//! The workers of the HTTP services against strict stand-ins: what they change there, and what they make of refusals,
//! silences and nonsense.

mod bench;
mod endpoints;
mod grafana;
mod launchdarkly;
mod notes;
mod pagerduty;
mod slack;

use std::sync::{Arc, Mutex};

use bench::{Bench, READ_ONLY, TOKEN, step, tokens};
use jiff::Timestamp;
use relight::drill::standin::{Fault, FaultKind, StandIn};
use relight::incident::{AttemptId, Fact, Finding, Gravity, Notice, PastAttempt, Plan};
use relight::workers::{Disposition, Probe, Worker, WorkerError};
use serde_json::{Value, json};

fn blocking(plan: &Plan) -> Vec<&str> {
    let blocks = |finding: &&Finding| finding.gravity == Gravity::Blocking;
    plan.findings.iter().filter(blocks).map(|finding| finding.text.as_str()).collect()
}

fn answer(status: u16) -> FaultKind {
    FaultKind::Answer { status, headers: None, body: None, bare: false, effect: false }
}

fn bare(status: u16) -> FaultKind {
    FaultKind::Answer { status, headers: None, body: None, bare: true, effect: false }
}

/// Strikes every following request of a method and path until it is taken away.
fn strike(stand_in: &StandIn, method: &str, path: &str, kind: FaultKind) {
    stand_in.fault(Fault::on(method, path, kind)).expect("a fault");
}

/// The error that a run ends in when the request under `path` is struck by `kind`.
async fn struck(
    bench: &Bench,
    stand_in: &StandIn,
    worker: &dyn Worker,
    on: (&str, &str),
    kind: FaultKind,
) -> WorkerError {
    let plan = bench.ready(worker).await;
    strike(stand_in, on.0, on.1, kind);
    let error = bench.run(worker, &plan).await.expect_err("an error");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(TOKEN) && !text.contains(READ_ONLY), "{text}");
    }
    error
}

/// Every refusal that all services share, on a call that writes. `once` says that the write may not be repeated.
async fn refusals(bench: &Bench, stand_in: &StandIn, worker: &dyn Worker, on: (&str, &str), once: bool) {
    let failed = if once { Disposition::InDoubt } else { Disposition::Retry };
    for (kind, disposition, says) in [
        (answer(401), Disposition::AskOperator, "does not accept the token"),
        (answer(403), Disposition::AskOperator, "it lacks "),
        (answer(404), Disposition::AskOperator, "does not know "),
        (answer(500), failed, "failed on its side"),
        (bare(503), failed, "failed on its side"),
        (bare(302), Disposition::AskOperator, "points elsewhere"),
        (FaultKind::Drop, Disposition::InDoubt, "broke off"),
        (FaultKind::Cut { after_bytes: 0 }, Disposition::InDoubt, "broke off"),
    ] {
        let what = format!("{kind:?}");
        let before = stand_in.state();
        let error = struck(bench, stand_in, worker, on, kind).await;
        assert_eq!(error.disposition, disposition, "{what}: {error}");
        assert!(error.cause.contains(says), "{what}: {error}");
        assert!(!error.next.is_empty() && error.target.contains("127.0.0.1"), "{what}: {error}");
        if !what.starts_with("Cut") {
            assert_eq!(stand_in.state(), before, "{what} had no effect");
        }
    }
}

fn waits(error: &WorkerError) -> u64 {
    match error.disposition {
        Disposition::Wait(time) => time.as_secs(),
        other => panic!("{other:?}: {error}"),
    }
}

/// An earlier attempt by a plan with this basis.
fn past(plan: &Plan, basis: Value, may_have_acted: bool) -> PastAttempt {
    PastAttempt { id: AttemptId(1), plan: Arc::new(Plan { basis, ..plan.clone() }), may_have_acted }
}
