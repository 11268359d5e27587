//! What this host's other incidents tell of an incident's steps. It is read once, beside everything else.

use std::collections::BTreeMap;
use std::path::Path;

use crate::incident::{IncidentId, Notice, Precedent, State, precedents};
use crate::runbook::{Runbook, StepId};

use super::{Handle, Home, Input};

/// Incidents that are looked at, newest first. A journal may be long, and what is older says little.
const MOST: usize = 20;

/// Reads the other incidents' journals and tells everybody what each step took the last time.
pub(super) fn recall(state: &State, folder: &Path, handle: Handle) {
    let Some(root) = folder.ancestors().nth(2).map(Path::to_owned) else { return };
    let (id, runbook, environment) = (state.id.clone(), state.runbook.clone(), state.environment.clone());
    tokio::spawn(async move {
        let looked = tokio::task::spawn_blocking(move || look(&root, &id, &runbook, &environment));
        // A fault in reading what is long over must not touch this incident.
        let steps = looked.await.unwrap_or_default();
        if !steps.is_empty() {
            handle.send(Input::Notice(Notice::Precedents { steps })).await;
        }
    });
}

fn look(root: &Path, id: &IncidentId, runbook: &Runbook, environment: &str) -> BTreeMap<StepId, Precedent> {
    let Ok(home) = Home::find(Some(root)) else { return BTreeMap::new() };
    let newest = home.newest().unwrap_or_default().into_iter().filter(|other| other != id).take(MOST);
    // One whose journal cannot be read, or is another account's, tells nothing here.
    let others: Vec<Box<State>> = newest.filter_map(|other| home.open(&other).state.ok()).collect();
    precedents(runbook, environment, others.iter().map(Box::as_ref))
}
