//! What setting and restoring a flag share: identity, the plan, the dry run, the turn and its proof.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::incident::{Fact, Finding, Plan, TargetIdentity};
use crate::workers::http::{curl, tell};
use crate::workers::{Context, Disposition, Done, Io, Probe, Ran, WorkerError};

use super::TOKEN;
use super::api::{Api, Flag, SEMANTIC, Served, Switch};

/// What the plan holds itself to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Basis {
    pub(super) flag: String,
    /// The state to give.
    pub(super) on: bool,
    /// The state from before this incident touched it.
    pub(super) was: bool,
    /// The state when the plan was made.
    pub(super) found: bool,
}

/// `on` or `off`.
pub(super) fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// The flag as a target: account, project, environment and key together are unique.
pub(super) async fn identity(api: &Api, flag: &str) -> Result<TargetIdentity, WorkerError> {
    let caller = api.caller().await?;
    let account = caller.account_id.unwrap_or_else(|| "unknown".to_owned());
    Ok(TargetIdentity {
        name: format!("LaunchDarkly flag {flag} in {}/{}", api.project, api.environment),
        proofs: BTreeMap::from([
            ("account".to_owned(), account),
            ("project".to_owned(), api.project.clone()),
            ("environment".to_owned(), api.environment.clone()),
            ("flag".to_owned(), flag.to_owned()),
        ]),
    })
}

/// The flag in our environment.
pub(super) async fn read(api: &Api, key: &str) -> Result<(Flag, Switch), WorkerError> {
    let flag = api.flag(key).await?;
    let switch = flag.switch(&api.environment).cloned().ok_or_else(|| {
        WorkerError::new(
            "read the flag",
            api.target(),
            format!("LaunchDarkly's answer leaves out the environment {} of the flag {key}.", api.environment),
            "Check launchdarkly.environment in the config, and that the token may see that environment.",
        )
    })?;
    Ok((flag, switch))
}

/// The flag's state from before this incident: the oldest that a step remembered.
pub(super) fn remembered(cx: &Context, key: &str) -> Option<bool> {
    cx.knowledge.facts.iter().find_map(|known| match &known.fact {
        Fact::Flag { flag, was, .. } if flag == key => Some(*was),
        _ => None,
    })
}

/// The plan of a turn, the flag just read.
pub(super) fn plan(cx: &Context, api: &Api, identity: TargetIdentity, flag: &Flag, basis: &Basis) -> Plan {
    let mut plan = Plan::new(cx.step.clone(), identity);
    let place = format!("{}/{}", api.project, api.environment);
    plan.effects = vec![if basis.found == basis.on {
        format!("{} in {place} is {} already: it is left so, and remembered", basis.flag, word(basis.on))
    } else {
        format!("{} in {place}: {} → {}", basis.flag, word(basis.found), word(basis.on))
    }];
    if basis.was != basis.found {
        plan.effects.push(format!("Before this incident it was {}; that is what stays remembered", word(basis.was)));
    }
    plan.effects.push(format!("Its page: {}", api.page(&basis.flag)));
    if flag.archived {
        plan.findings.push(Finding::blocking(format!("The flag {} is archived: it serves nobody", basis.flag)));
    }
    let url = format!("{}/api/v2/flags/{}/{}", api.base(), api.project, basis.flag);
    let content = format!("Content-Type: {SEMANTIC}");
    let headers = ["LD-API-Version: 20240415", content.as_str()];
    plan.commands = vec![curl("PATCH", &url, TOKEN, &headers, Some(&api.turning(basis.on, &comment(cx))))];
    plan.basis = json!(basis);
    plan
}

fn comment(cx: &Context) -> String {
    format!("relight {}: {}", cx.knowledge.incident, cx.title)
}

/// Tries the change out, and looks at whatever else would refuse it or take its effect away.
pub(super) async fn preflight(cx: &Context, basis: &Basis) -> Result<Vec<Finding>, WorkerError> {
    let api = Api::open(&cx.config).await?;
    let (flag, switch) = read(&api, &basis.flag).await?;
    let mut findings = Vec::new();
    if switch.on == basis.on {
        findings.push(serving(&flag, &switch, basis));
        return Ok(findings);
    }
    let approval = format!(
        "LaunchDarkly wants another person's approval for this flag here: request it at {} and have it applied, \
         then mark the step done",
        api.page(&basis.flag)
    );
    // Whether the dry run reports a needed approval is not documented, so the settings are read too.
    let guarded = match api.approval().await {
        Ok(settings) => settings.guards(&flag),
        Err(failed) if matches!(failed.status, Some(401 | 403 | 404)) => false,
        Err(failed) => return Err(failed.into()),
    };
    if guarded {
        findings.push(Finding::blocking(approval));
        return Ok(findings);
    }
    if switch.denies_turning() {
        let text = "The token may not turn this flag: it lacks the action updateOn (the role Writer has it)";
        findings.push(Finding::blocking(text));
        return Ok(findings);
    }
    match api.turn(&basis.flag, basis.on, &comment(cx), true).await {
        Ok(preview) => {
            findings.push(Finding::good("LaunchDarkly takes the change (dry run)"));
            if let Some(then) = preview.switch(&api.environment) {
                findings.push(serving(&preview, then, basis));
            }
        }
        Err(refused) if refused.status == Some(405) => findings.push(Finding::blocking(approval)),
        Err(refused) if matches!(refused.status, Some(400 | 401 | 403)) => {
            findings.push(Finding::blocking(format!("{} {}", refused.error.cause, refused.error.next)));
        }
        Err(failed) => return Err(failed.into()),
    }
    Ok(findings)
}

/// Whether those who ask the flag get what the state is meant to say: `true` when on, `false` when off.
fn serving(flag: &Flag, switch: &Switch, basis: &Basis) -> Finding {
    let key = &basis.flag;
    let state = word(switch.on);
    match flag.served(switch) {
        Served::Value(Value::Bool(value)) if value == switch.on => {
            if switch.on && switch.exceptions() > 0 {
                return Finding::warning(format!(
                    "{key} serves {value} when {state}, but {} rules or targets may give some another value",
                    switch.exceptions()
                ));
            }
            Finding::good(format!("{key} serves {value} when {state}"))
        }
        Served::Value(Value::Bool(value)) => Finding::blocking(format!(
            "{key} serves {value} when {state}: turning it {state} would not do what it says"
        )),
        Served::Value(value) => Finding::warning(format!("{key} is no yes-or-no flag: it serves {value} when {state}")),
        Served::CodeDefault => {
            Finding::warning(format!("{key} has no variation for {state}: each program uses its own default"))
        }
        Served::Mixed => Finding::warning(format!("{key} serves a percentage rollout when {state}")),
    }
}

/// Turns the flag where it needs turning, and reads back.
pub(super) async fn run(cx: &Context, basis: &Basis, io: &Io) -> Result<Ran, WorkerError> {
    let api = Api::open(&cx.config).await?;
    let (_, before) = read(&api, &basis.flag).await?;
    if before.on != basis.on
        && let Err(failed) = api.turn(&basis.flag, basis.on, &comment(cx), false).await
    {
        if failed.status != Some(405) {
            return Err(failed.into());
        }
        let cause = "LaunchDarkly wants another person's approval for this flag in this environment (405).";
        let next = format!(
            "Nothing was changed. Request the approval at {} and have it applied, then mark the step done (m).",
            api.page(&basis.flag)
        );
        return Err(failed.explained(cause, next).into());
    }
    let (flag, now) = read(&api, &basis.flag)
        .await
        .map_err(|error| if before.on == basis.on { error } else { error.unproved("LaunchDarkly took the change") })?;
    let serves = serving(&flag, &now, basis);
    let wrong = if now.on != basis.on {
        Some(format!("{} was turned {} and is {} again.", basis.flag, word(basis.on), word(now.on)))
    } else if serves.gravity == crate::incident::Gravity::Blocking {
        Some(format!("{}.", serves.text))
    } else {
        None
    };
    if let Some(cause) = wrong {
        let next = format!("Look at {} before it is tried again.", api.page(&basis.flag));
        let error = WorkerError::new("prove the flag's state", api.target(), cause, next);
        return Err(error.with(Disposition::InDoubt));
    }
    let done = done(&api, basis, before.on == basis.on, &serves);
    tell(io, &done.evidence);
    Ok(Ran::Done(done))
}

fn done(api: &Api, basis: &Basis, already: bool, serves: &Finding) -> Done {
    let place = format!("{}/{}", api.project, api.environment);
    let first = if already {
        format!("Flag {} in {place} was {} already", basis.flag, word(basis.on))
    } else {
        format!("Flag {} in {place}: {} → {}", basis.flag, word(!basis.on), word(basis.on))
    };
    let fact = Fact::Flag { flag: basis.flag.clone(), was: basis.was, now: basis.on };
    Done { evidence: vec![first, serves.text.clone()], facts: vec![fact] }
}

/// Asks the flag.
pub(super) async fn probe(cx: &Context, basis: &Basis) -> Result<Probe, WorkerError> {
    let api = Api::open(&cx.config).await?;
    let (flag, now) = read(&api, &basis.flag).await?;
    if now.on != basis.on {
        return Ok(Probe::DidNot(format!("{} is {}", basis.flag, word(now.on))));
    }
    let serves = serving(&flag, &now, basis);
    if serves.gravity == crate::incident::Gravity::Blocking {
        return Ok(Probe::Unknown(format!("{} is {}, but: {}.", basis.flag, word(now.on), serves.text)));
    }
    Ok(Probe::Happened(done(&api, basis, basis.found == basis.on, &serves)))
}
