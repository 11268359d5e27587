//! The services that speak HTTP.

use super::lies::over_http;
use super::proxy::Which;
use super::subject::all;
use super::tally::{Dice, amount, seed};
use super::verdict::{Tally, honest, judge, judge_plan};

/// Every worker, every request of its run as the one that is lied to, alone or with all that follow, every lie.
#[tokio::test]
async fn whatever_a_service_says_a_run_ends_and_is_told_rightly() {
    // One in so many in a sample, chosen by the seed.
    let one_in = amount(12, 1);
    let mut dice = Dice::new(seed());
    let mut tally = Tally::default();
    for (name, make) in all() {
        let subject = make().await;
        let requests = honest(&subject).await;
        assert!(requests > 0, "{name} asks its service something");
        for (lie_name, lie) in over_http(&subject) {
            for which in (0..requests).flat_map(|at| [Which::Only(at), Which::From(at)]) {
                if dice.below(one_in) == 0 {
                    let verdict = judge(&mut make().await, which, &lie).await;
                    tally.take(verdict, || format!("{name}, {lie_name}, {which:?} of {requests}"));
                }
            }
        }
    }
    tally.done("run of a worker of an HTTP service, each request lied to in each way");
}

/// What a lie does to a plan: nothing, and it is said.
#[tokio::test]
async fn whatever_a_service_says_a_plan_changes_nothing() {
    let one_in = amount(3, 1);
    let mut dice = Dice::new(seed());
    let mut tally = Tally::default();
    for (name, make) in all() {
        let mut subject = make().await;
        for (lie_name, lie) in over_http(&subject) {
            if dice.below(one_in) == 0 {
                let verdict = judge_plan(&mut subject, &lie).await;
                tally.take(verdict, || format!("the plan of {name}, {lie_name}"));
            }
        }
    }
    tally.done("plan of a worker of an HTTP service, lied to in each way");
}
