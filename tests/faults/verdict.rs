//! What must hold of a worker, whatever it was told. A verdict is the first thing that does not, in a sentence.

use std::time::Duration;

use relight::incident::Plan;
use relight::workers::{Disposition, Done, Probe, WorkerError};

use super::bench::{READ_ONLY, TOKEN};
use super::proxy::{Lie, Which};
use super::subject::{Subject, Twice, is_owed};
use super::tally::tell;

/// Nothing to say, or what does not hold.
pub(crate) type Verdict = Result<(), String>;

/// Far longer than any number of requests that the services have to answer: who is not back by then hangs.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a service has to answer, by the config's line, as long as nobody lies and while somebody does.
const CALM: &str = "http_timeout = '10s'";
const HASTY: &str = "http_timeout = '400ms'";

fn hold(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Runs a worker honestly; how many requests that takes.
pub(crate) async fn honest(subject: &Subject) -> usize {
    let plan = subject.bench.ready(&*subject.worker).await;
    subject.proxy.mend().await;
    subject.bench.run(&*subject.worker, &plan).await.unwrap();
    subject.proxy.seen()
}

/// Runs a worker while its service lies, and judges what it makes of it; then with an honest service again.
pub(crate) async fn judge(subject: &mut Subject, which: Which, lie: &Lie) -> Verdict {
    let plan = subject.bench.ready(&*subject.worker).await;
    subject.bench.config = subject.bench.config.replace(CALM, HASTY);
    let before = (subject.effects)().await;
    subject.proxy.lie(which, lie.clone()).await;
    let ran = tokio::time::timeout(LONGEST, subject.bench.run_only(&*subject.worker, &plan)).await;
    subject.proxy.mend().await;
    subject.bench.config = subject.bench.config.replace(HASTY, CALM);
    let ran = ran.map_err(|_| "it hangs".to_owned())?;
    let did = (subject.effects)().await - before;
    hold(did <= 1, || format!("it was done {did} times"))?;
    match &ran {
        Ok(done) => {
            let well = did == 1 || is_owed(&done.facts) || subject.reads;
            hold(well, || format!("it was not done, and reports {done:?}"))?;
        }
        Err(error) => {
            words(subject, error)?;
            let in_doubt = error.disposition == Disposition::InDoubt;
            hold(did == 0 || subject.twice != Twice::Two || in_doubt, || {
                format!("it was done, and reports {:?}: {error}", error.disposition)
            })?;
            hold(did == 0 || !says_nothing_happened(error), || format!("it was done, and says: {error}"))?;
            let nothing_sent = *lie == Lie::Refused && which == Which::From(0);
            hold(!in_doubt || !nothing_sent, || format!("nothing was sent, and reports doubt: {error}"))?;
        }
    }
    if subject.reads { Ok(()) } else { settle(subject, &plan, ran.ok(), did).await }
}

/// The next engine asks the target, and goes on from there.
async fn settle(subject: &Subject, plan: &Plan, done: Option<Done>, did: usize) -> Verdict {
    let before = (subject.effects)().await - did;
    match subject.bench.probe(&*subject.worker, plan).await {
        Probe::Happened(_) => hold(did == 1, || "it did not happen, and the probe says that it did".to_owned())?,
        Probe::DidNot(why) => hold(did == 0, || format!("it happened, and the probe says: {why}"))?,
        Probe::Broken(what, _) => {
            hold(subject.twice == Twice::GoesOn && did == 0, || format!("the probe finds it broken: {what}"))?;
        }
        Probe::Unknown(why) => {
            hold(subject.is_blind, || format!("the service can be asked, and the probe says: {why}"))?;
        }
    }
    if did == 1 || done.is_some() {
        return Ok(());
    }
    let again = subject.bench.run(&*subject.worker, plan).await;
    again.map_err(|error| format!("its service is mended, and still: {error}"))?;
    let effects = (subject.effects)().await - before;
    hold(effects == 1, || format!("in the end it was done {effects} times"))
}

/// The plan of a worker whose service lies changes nothing and says what is wrong.
pub(crate) async fn judge_plan(subject: &mut Subject, lie: &Lie) -> Verdict {
    subject.bench.config = subject.bench.config.replace(CALM, HASTY);
    let before = (subject.effects)().await;
    subject.proxy.lie(Which::From(0), lie.clone()).await;
    let planned = tokio::time::timeout(LONGEST, subject.bench.plan(&*subject.worker)).await;
    subject.proxy.mend().await;
    let planned = planned.map_err(|_| "it hangs".to_owned())?;
    let after = (subject.effects)().await;
    hold(after == before, || "planning changed something".to_owned())?;
    let Err(error) = planned else { return Ok(()) };
    words(subject, &error)?;
    hold(error.disposition != Disposition::InDoubt, || format!("a plan cannot be in doubt: {error}"))
}

fn says_nothing_happened(error: &WorkerError) -> bool {
    let text = error.to_string();
    ["Nothing was done", "Nothing was changed", "Nothing is lost", "Nothing was sent"]
        .iter()
        .any(|it| text.contains(it))
}

/// It names the system, the operation, the target and what to do next, and no secret.
fn words(subject: &Subject, error: &WorkerError) -> Verdict {
    for part in [&error.operation, &error.target, &error.cause, &error.next] {
        hold(!part.trim().is_empty(), || format!("a part of its error is empty: {error:?}"))?;
    }
    hold(error.target.contains(subject.place), || format!("its error does not say which target: {error:?}"))?;
    let told = format!("{error} {error:?}");
    hold(told.contains(subject.system), || format!("its error does not say which system: {error:?}"))?;
    hold(![TOKEN, READ_ONLY].iter().any(|secret| told.contains(secret)), || format!("it tells a secret: {told}"))
}

/// What was tried, and what did not hold.
#[derive(Default)]
pub(crate) struct Tally {
    tried: u64,
    fallen: Vec<String>,
}

impl Tally {
    pub(crate) fn take(&mut self, verdict: Verdict, what: impl FnOnce() -> String) {
        self.tried += 1;
        if let Err(why) = verdict {
            self.fallen.push(format!("{}: {why}", what()));
        }
    }

    /// Adds the line to the table.
    ///
    /// # Panics
    /// Something did not hold.
    pub(crate) fn done(self, what: &str) {
        assert!(self.tried > 0, "{what}: nothing was tried");
        tell(what, self.tried, self.tried - self.fallen.len() as u64);
        assert!(self.fallen.is_empty(), "{} of {}:\n{}", self.fallen.len(), self.tried, self.fallen.join("\n"));
    }
}
