//! `relight audit`: proves the journal's chain, and prints who approved what and what came of it.

use color_eyre::Result;

use crate::incident::{EventKind, IncidentId, Outcome, State};
use crate::journal;

use super::Exit;
use super::arguments::Common;
use super::exit::Usage;
use super::incidents::home;
use super::out::outln;

pub(super) fn audit(common: &Common, id: &IncidentId) -> Result<Exit> {
    let path = home(common)?.folder(id).join(journal::FILE);
    if !path.exists() {
        let root = home(common)?.root().display().to_string();
        return Err(Usage(format!("there is no incident {id} in {root}; `relight list --all` shows them")).into());
    }
    let history = match journal::read(&path) {
        Ok(history) => history,
        Err(error) => {
            outln!("{error}");
            return Ok(Exit::Unverified);
        }
    };
    let state = State::replay(&history.events)?;
    for event in &history.events {
        let at = event.at.strftime("%Y-%m-%d %H:%M:%SZ");
        let by =
            event.actor.uid.map_or_else(|| event.actor.name.clone(), |uid| format!("{} (uid {uid})", event.actor.name));
        match &event.kind {
            EventKind::Approved { attempt, plan } => {
                outln!("{at}  {by} approved attempt {attempt} of {} on {}", plan.step, plan.target.name);
                outln!("                      plan {}", plan.digest());
                for effect in &plan.effects {
                    outln!("                      - {effect}");
                }
            }
            EventKind::Finished { attempt, outcome } | EventKind::Settled { attempt, outcome, .. } => {
                let said = match outcome {
                    Outcome::Succeeded { evidence, .. } => {
                        format!("succeeded: {}", evidence.first().map_or("", String::as_str))
                    }
                    Outcome::Failed { problem } => format!("failed: {}", problem.why),
                    Outcome::Stopped { detail } => format!("stopped: {detail}"),
                    Outcome::InDoubt { problem } => format!("in doubt: {}", problem.why),
                };
                outln!("{at}  attempt {attempt} {said}");
            }
            EventKind::Skipped { step, reason } => outln!("{at}  {by} skipped {step}: {reason}"),
            EventKind::DoneByHand { step, note } => {
                outln!("{at}  {by} did {step} by hand: {note}");
            }
            _ => {}
        }
    }
    outln!(
        "\n{} events, chain whole. Head: {}{}",
        history.events.len(),
        history.head,
        if history.torn > 0 { format!(" (and {} bytes of an unfinished line)", history.torn) } else { String::new() }
    );
    outln!(
        "{}",
        state
            .closed_at
            .map_or_else(|| "The incident is open.".to_owned(), |at| format!("Closed {}.", crate::incident::clock(at)))
    );
    Ok(Exit::Done)
}
