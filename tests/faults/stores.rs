//! Kubernetes, S3, Redis and PostgreSQL: the drill's own servers behind a proxy.

use std::rc::Rc;

use super::lies::{in_bytes, over_http};
use super::proxy::{Lie, Which};
use super::sandbox::Sandbox;
use super::tally::{Dice, amount, seed};
use super::verdict::{Tally, honest, judge, judge_plan};
use super::world;

/// Silence costs as long as it takes to be noticed.
fn is_slow(lie: &Lie) -> bool {
    matches!(lie, Lie::Swallowed | Lie::Mute | Lie::Drip)
}

/// Every request of a run over HTTP as the one that is lied to, alone or with all that follow, every lie.
#[tokio::test]
async fn whatever_kubernetes_and_s3_say_a_run_ends_and_is_told_rightly() {
    let sandbox = Rc::new(Sandbox::start());
    let one_in = amount(150, 8);
    let mut dice = Dice::new(seed());
    let mut tally = Tally::default();
    for (name, make) in world::over_http(&sandbox) {
        let mut subject = make().await;
        let requests = honest(&subject).await;
        for (lie_name, lie) in over_http(&subject) {
            for which in (0..requests).flat_map(|at| [Which::Only(at), Which::From(at)]) {
                if dice.below(one_in) == 0 {
                    let verdict = judge(&mut make().await, which, &lie).await;
                    tally.take(verdict, || format!("{name}, {lie_name}, {which:?} of {requests}"));
                }
            }
            if dice.below(one_in) == 0 {
                tally.take(judge_plan(&mut subject, &lie).await, || format!("the plan of {name}, {lie_name}"));
            }
        }
    }
    tally.done("run or plan over Kubernetes or S3, each request lied to in each way");
}

/// Every connection of a run, every lie, and an end after any of its bytes.
#[tokio::test]
async fn whatever_redis_and_postgresql_say_a_run_ends_and_is_told_rightly() {
    let sandbox = Rc::new(Sandbox::start());
    let one_in = amount(12, 1);
    let mut dice = Dice::new(seed());
    let mut tally = Tally::default();
    for (name, make) in world::in_bytes(&sandbox) {
        let subject = make().await;
        let connections = honest(&subject).await;
        let whole = subject.proxy.said().await.into_iter().max().unwrap();
        assert!(whole > 0, "{name} is told something");
        for (lie_name, lie) in in_bytes(whole) {
            for at in 0..connections {
                if dice.below(if is_slow(&lie) { one_in.pow(2) } else { one_in }) == 0 {
                    let verdict = judge(&mut make().await, Which::From(at), &lie).await;
                    tally.take(verdict, || format!("{name}, {lie_name}, from {at} of {connections}"));
                }
            }
        }
        let mut subject = make().await;
        for (lie_name, lie) in in_bytes(whole) {
            if !is_slow(&lie) && dice.below(one_in) == 0 {
                tally.take(judge_plan(&mut subject, &lie).await, || format!("the plan of {name}, {lie_name}"));
            }
        }
    }
    tally.done("run or plan over Redis or PostgreSQL, each connection lied to in each way");
}
