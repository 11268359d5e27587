//! Commands of the user's own: the smoke tests, the deploy.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::{Command, Config, Value};
use crate::incident::{Ask, AskKind, Digest, Finding, Inputs, Plan, TargetIdentity, duration_text};
use crate::runbook::TargetRef;

use super::process::{self, Adopted, Exit, Spec};
use super::{Context, Done, Io, Probe, Ran, Worker, WorkerError};

/// Reads a flag that blocks commands while it is on.
#[async_trait]
pub trait FlagReader: Send + Sync {
    /// Whether the flag is on.
    async fn is_on(&self, config: &Config, flag: &str) -> Result<bool, WorkerError>;
}

/// Runs a configured command.
pub struct RunCommand {
    /// The command.
    pub command: TargetRef,
    /// A flag that blocks it while it is on.
    pub blocked_by: Option<String>,
    /// It changes something.
    pub changes: bool,
    /// Reads that flag.
    pub flags: Option<Arc<dyn FlagReader>>,
}

/// Proves that a command could be run.
#[derive(Debug)]
pub struct CheckCommand {
    /// The command.
    pub target: TargetRef,
}

#[derive(Debug, Serialize, Deserialize)]
struct Basis {
    argv: Vec<String>,
}

fn settings<'a>(config: &'a Config, target: &TargetRef) -> Result<(&'a str, &'a Command), WorkerError> {
    let found = match target {
        TargetRef::Command(name) => config.command.get_key_value(name),
        _ => None,
    };
    found.map(|(name, command)| (name.as_str(), command)).ok_or_else(|| {
        WorkerError::new(
            "find the command",
            target.to_string(),
            "The config has no such command.",
            "Add it; assets/relight.example.toml shows how.",
        )
    })
}

/// A command's identity is what it runs: another program or another folder is another command.
fn identity(name: &str, command: &Command) -> TargetIdentity {
    let cwd = command.cwd.as_ref().map_or_else(String::new, |cwd| cwd.display().to_string());
    let digest: String = Digest::of_json(&(&command.argv, &cwd)).0.chars().take(16).collect();
    let mut identity = TargetIdentity { name: format!("command {name}"), ..TargetIdentity::default() };
    identity.proofs.insert("command line".to_owned(), digest);
    if !cwd.is_empty() {
        identity.proofs.insert("folder".to_owned(), cwd);
    }
    identity
}

/// The names in `{{ … }}`, each once, in order. An argument with a `{{` that is never closed is taken as it is.
fn placeholders(argv: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for argument in argv {
        let mut rest = argument.as_str();
        while let Some((_, tail)) = rest.split_once("{{")
            && let Some((name, behind)) = tail.split_once("}}")
        {
            if seen.insert(name.trim().to_owned()) {
                names.push(name.trim().to_owned());
            }
            rest = behind;
        }
    }
    names
}

/// The arguments with their answers in place. What is put in stays one argument, whatever it holds.
fn filled(argv: &[String], inputs: &Inputs) -> Vec<String> {
    let fill = |argument: &String| {
        let mut out = String::new();
        let mut rest = argument.as_str();
        while let Some((before, tail)) = rest.split_once("{{")
            && let Some((name, behind)) = tail.split_once("}}")
        {
            out.push_str(before);
            out.push_str(inputs.get(name.trim()).map_or("", |answer| answer.trim()));
            rest = behind;
        }
        out.push_str(rest);
        out
    };
    argv.iter().map(fill).collect()
}

fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn by_hand(command: &Command, argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| shell(word)).collect();
    match &command.cwd {
        Some(cwd) => format!("cd {} && {}", shell(&cwd.display().to_string()), words.join(" ")),
        None => words.join(" "),
    }
}

/// Where the program is, or why it cannot be run.
fn program(command: &Command) -> Result<PathBuf, String> {
    if let Some(cwd) = &command.cwd
        && !cwd.is_dir()
    {
        return Err(format!("There is no folder {}.", cwd.display()));
    }
    let Some(name) = command.argv.first().filter(|name| !name.is_empty()) else {
        return Err("Its argv is empty.".to_owned());
    };
    let runnable = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = command.cwd.as_ref().map_or_else(|| PathBuf::from(name), |cwd| cwd.join(name));
        return match (path.exists(), runnable(&path)) {
            (_, true) => Ok(path),
            (true, false) => Err(format!("{} may not be executed.", path.display())),
            (false, _) => Err(format!("There is no program {}.", path.display())),
        };
    }
    let folders = match command.env.get("PATH") {
        Some(Value::Plain(path)) => std::ffi::OsString::from(path),
        _ => std::env::var_os("PATH").unwrap_or_default(),
    };
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| runnable(path));
    found.ok_or_else(|| format!("There is no program {name} in PATH."))
}

/// What is added to the environment, and which of it is secret.
async fn environment(
    name: &str,
    command: &Command,
) -> Result<(Vec<(String, SecretString)>, Vec<SecretString>), WorkerError> {
    let (mut all, mut secrets) = (Vec::new(), Vec::new());
    for (variable, value) in &command.env {
        let value = match value {
            Value::Plain(text) => SecretString::from(text.clone()),
            Value::Secret(source) => {
                let source = source.clone();
                // A secret may come from a command, which blocks.
                let read = tokio::task::spawn_blocking(move || source.read()).await;
                let fault = |why: String| {
                    WorkerError::new(
                        format!("read {variable}"),
                        format!("command {name}"),
                        why,
                        "Mend the secret's source in the config, then retry (r).",
                    )
                };
                let secret =
                    read.map_err(|error| fault(error.to_string()))?.map_err(|error| fault(format!("{error}.")))?;
                secrets.push(secret.clone());
                secret
            }
        };
        all.push((variable.clone(), value));
    }
    Ok((all, secrets))
}

#[async_trait]
impl Worker for RunCommand {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let (name, command) = settings(&cx.config, &self.command)?;
        Ok(identity(name, command))
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let (name, command) = settings(&cx.config, &self.command)?;
        let mut plan = Plan::new(cx.step.clone(), identity(name, command));
        for placeholder in placeholders(&command.argv) {
            let value = cx.inputs.get(&placeholder).cloned().unwrap_or_default();
            if value.trim().starts_with('-') {
                // It would be read as an option of the command.
                plan.findings.push(Finding::blocking(format!(
                    "`{placeholder}` begins with `-`, which the command would take as an option."
                )));
            }
            plan.asks.push(Ask {
                label: format!("{placeholder}?"),
                name: placeholder,
                kind: AskKind::Line,
                value,
                required: true,
                offered: false,
            });
        }
        let argv = filled(&command.argv, &cx.inputs);
        let limit = duration_text(command.timeout);
        plan.effects = vec![format!("Runs {} on this host; stopped after {limit}", by_hand(command, &argv))];
        if self.changes {
            plan.effects.push("It changes something outside; relight does not know what".to_owned());
            plan.undo = String::from("Only by what the command itself offers.");
        }
        plan.commands = vec![by_hand(command, &argv)];
        plan.basis = serde_json::to_value(Basis { argv }).unwrap_or_default();
        Ok(plan)
    }

    async fn preflight(&self, cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        let (_, command) = settings(&cx.config, &self.command)?;
        let mut findings = match program(command) {
            Ok(path) => vec![Finding::good(format!("{} can be run", path.display()))],
            Err(why) => vec![Finding::blocking(why)],
        };
        if let Some(flag) = &self.blocked_by {
            findings.push(match &self.flags {
                None => Finding::blocking(format!(
                    "The flag {flag} blocks this, and nothing here can read it: configure [launchdarkly]."
                )),
                Some(reader) => match reader.is_on(&cx.config, flag).await {
                    Ok(true) => Finding::blocking(format!("The flag {flag} is on and blocks this: unlock first.")),
                    Ok(false) => Finding::good(format!("The flag {flag} is off")),
                    Err(error) => Finding::blocking(format!(
                        "Whether the flag {flag} blocks this cannot be read: {} {}",
                        error.cause, error.next
                    )),
                },
            });
        }
        Ok(findings)
    }

    async fn run(&self, cx: &Context, plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let basis: Basis = serde_json::from_value(plan.basis.clone()).map_err(|error| {
            WorkerError::new(
                "read the plan",
                &plan.target.name,
                format!("It was written by another version of relight: {error}."),
                "Prepare the step again (a).",
            )
        })?;
        let (name, command) = settings(&cx.config, &self.command)?;
        let (env, redact) = environment(name, command).await?;
        let mut spec = Spec::new(what(name), format!("command {name}"), basis.argv);
        spec.cwd.clone_from(&command.cwd);
        spec.env = env;
        spec.redact = redact;
        spec.timeout = Some(Duration::try_from(command.timeout).unwrap_or(Duration::MAX));
        let exit = process::run(io, spec).await?;
        if exit.stopped {
            let left =
                if self.changes { "what it changed until then stays changed" } else { "it was stopped before its end" };
            return Ok(Ran::Stopped(left.to_owned()));
        }
        if exit.succeeded() { Ok(Ran::Done(done(name, &exit))) } else { Err(failed(name, &exit, self.changes)) }
    }

    async fn probe(&self, cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        let (name, _) = settings(&cx.config, &self.command)?;
        let Some(log) = cx.log() else { return Ok(Probe::Unknown("The attempt has no log.".to_owned())) };
        let adopted = match process::adopt(&log) {
            Adopted::Running(running) => running.wait().await,
            adopted => adopted,
        };
        Ok(match adopted {
            Adopted::Ended(exit) if exit.succeeded() => Probe::Happened(done(name, &exit)),
            Adopted::Nothing => Probe::DidNot("it was never started".to_owned()),
            Adopted::Ended(exit) if exit.refused.is_some() || !self.changes => Probe::DidNot(exit.cause()),
            Adopted::Ended(exit) => Probe::Unknown(format!("{} What it changed until then is unknown.", exit.cause())),
            Adopted::Unknown(why) => Probe::Unknown(why),
            Adopted::Running(_) => Probe::Unknown("It still runs.".to_owned()),
        })
    }
}

fn what(name: &str) -> String {
    format!("run the command {name}")
}

fn done(name: &str, exit: &Exit) -> Done {
    let took = duration_text(exit.ended_at.duration_since(exit.started_at));
    let mut evidence = vec![format!("{name} succeeded in {took}")];
    evidence.extend(exit.tail.iter().rev().find(|line| !line.trim().is_empty()).cloned());
    Done { evidence, facts: Vec::new() }
}

fn failed(name: &str, exit: &Exit, changes: bool) -> WorkerError {
    let next = match (exit.refused.is_some(), changes) {
        (true, _) => "Nothing was run. Correct the command in the config, then retry (r).",
        (false, true) => "Look at what it did before you retry (r); its output has the rest.",
        (false, false) => "Its output has the rest. Retry (r) when the cause is mended.",
    };
    WorkerError::new(what(name), format!("command {name}"), exit.cause(), next)
}

#[async_trait]
impl Worker for CheckCommand {
    async fn identify(&self, cx: &Context) -> Result<TargetIdentity, WorkerError> {
        let (name, command) = settings(&cx.config, &self.target)?;
        Ok(identity(name, command))
    }

    async fn plan(&self, cx: &Context) -> Result<Plan, WorkerError> {
        let (name, command) = settings(&cx.config, &self.target)?;
        let mut plan = Plan::new(cx.step.clone(), identity(name, command));
        plan.effects = vec![format!("Looks whether {} could be run; runs nothing", by_hand(command, &command.argv))];
        plan.commands = vec![format!("command -v {}", shell(command.argv.first().map_or("", String::as_str)))];
        Ok(plan)
    }

    async fn preflight(&self, _cx: &Context, _plan: &Plan) -> Result<Vec<Finding>, WorkerError> {
        Ok(Vec::new())
    }

    async fn run(&self, cx: &Context, _plan: &Plan, io: &Io) -> Result<Ran, WorkerError> {
        let (name, command) = settings(&cx.config, &self.target)?;
        let fault = |why: String| {
            WorkerError::new(
                "check the command",
                format!("command {name}"),
                why,
                "Correct it in the config, or install it, then retry (r).",
            )
        };
        let path = program(command).map_err(fault)?;
        environment(name, command).await?;
        let line = format!(
            "{name}: {} can be run{}",
            path.display(),
            command.cwd.as_ref().map_or_else(String::new, |cwd| format!(" in {}", cwd.display()))
        );
        io.line(&line);
        Ok(Ran::Done(Done { evidence: vec![line], facts: Vec::new() }))
    }

    async fn probe(&self, _cx: &Context, _plan: &Plan) -> Result<Probe, WorkerError> {
        Ok(Probe::DidNot("it only looks".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn answers_fill_arguments_and_never_make_new_ones() {
        let argv = words(&["deploy", "--ref", "{{ ref }}", "{{ref}}-{{ zone }}", "{{ open"]);
        assert_eq!(placeholders(&argv), ["ref", "zone"]);
        let inputs = Inputs::from([
            ("ref".to_owned(), " v1; rm -rf / ".to_owned()),
            ("zone".to_owned(), "{{ ref }}".to_owned()),
        ]);
        assert_eq!(filled(&argv, &inputs), ["deploy", "--ref", "v1; rm -rf /", "v1; rm -rf /-{{ ref }}", "{{ open"]);
    }
}
