//! Targets and credentials: the config file, and where its secrets come from.
//!
//! `assets/relight.example.toml` documents every key. A secret's value never enters these types: they hold
//! a [`SecretSource`], which is read when a worker needs it.

mod cockpit;
mod load;
mod secret;
mod targets;

pub use cockpit::{ActionKeys, Cockpit, ThemeName};
pub use load::{ConfigError, default_path};
pub use secret::{SecretError, SecretSource};
pub use targets::{
    Bridge, Command, Folder, Grafana, Header, Http, Kubernetes, LaunchDarkly, PagerDuty, Panel, People, Postgres,
    Redis, S3, Slack, SslMode, Value,
};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::runbook::{Runbook, TargetRef};

/// Everything that the config file says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The word in the header; anything but `drill` is treated as real.
    pub environment: String,
    /// Time from the onset in which service should be back.
    #[serde(default = "targets::one_hour", deserialize_with = "targets::duration")]
    pub rto_target: jiff::SignedDuration,
    /// The most that may be lost; the report holds the loss against it.
    #[serde(default, deserialize_with = "targets::some_duration")]
    pub rpo_target: Option<jiff::SignedDuration>,
    /// A web service that has not answered a call within this is taken for lost.
    #[serde(default = "targets::twenty_seconds", deserialize_with = "targets::duration")]
    pub http_timeout: jiff::SignedDuration,
    /// Where incidents are kept.
    pub state_dir: Option<PathBuf>,
    /// `[cockpit]`
    #[serde(default)]
    pub cockpit: Cockpit,
    /// `[people]`
    #[serde(default)]
    pub people: People,
    /// `[postgres.NAME]`
    #[serde(default)]
    pub postgres: BTreeMap<String, Postgres>,
    /// `[s3.NAME]`
    #[serde(default)]
    pub s3: BTreeMap<String, S3>,
    /// `[folder.NAME]`
    #[serde(default)]
    pub folder: BTreeMap<String, Folder>,
    /// `[kubernetes.NAME]`
    #[serde(default)]
    pub kubernetes: BTreeMap<String, Kubernetes>,
    /// `[redis.NAME]`
    #[serde(default)]
    pub redis: BTreeMap<String, Redis>,
    /// `[http.NAME]`
    #[serde(default)]
    pub http: BTreeMap<String, Http>,
    /// `[command.NAME]`
    #[serde(default)]
    pub command: BTreeMap<String, Command>,
    /// `[pagerduty]`
    pub pagerduty: Option<PagerDuty>,
    /// `[launchdarkly]`
    pub launchdarkly: Option<LaunchDarkly>,
    /// `[slack]`
    pub slack: Option<Slack>,
    /// `[grafana]`
    pub grafana: Option<Grafana>,
}

impl Config {
    /// Reads a config file.
    ///
    /// # Errors
    /// It cannot be read, others can change it, or it is not valid; with line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load::load(path)
    }

    /// Whether a target is configured.
    #[must_use]
    pub fn has(&self, target: &TargetRef) -> bool {
        match target {
            TargetRef::Postgres(name) => self.postgres.contains_key(name),
            TargetRef::S3(name) => self.s3.contains_key(name),
            TargetRef::Folder(name) => self.folder.contains_key(name),
            TargetRef::Kubernetes(name) => self.kubernetes.contains_key(name),
            TargetRef::Redis(name) => self.redis.contains_key(name),
            TargetRef::Http(name) => self.http.contains_key(name),
            TargetRef::Command(name) => self.command.contains_key(name),
            TargetRef::PagerDuty => self.pagerduty.is_some(),
            TargetRef::LaunchDarkly => self.launchdarkly.is_some(),
            TargetRef::Slack => self.slack.is_some(),
            TargetRef::Grafana => self.grafana.is_some(),
        }
    }

    /// Targets that a runbook names and this config lacks, each with the step that names it.
    #[must_use]
    pub fn missing(&self, runbook: &Runbook) -> Vec<(TargetRef, String)> {
        let mut missing: Vec<(TargetRef, String)> = Vec::new();
        for step in runbook.steps() {
            for target in step.action.targets() {
                if !self.has(&target) && !missing.iter().any(|(known, _)| known == &target) {
                    missing.push((target, step.title.clone()));
                }
            }
        }
        missing
    }

    /// Every place from which a secret comes.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretSource> {
        let mut sources: Vec<&SecretSource> = Vec::new();
        sources.extend(self.postgres.values().filter_map(|target| target.password.as_ref()));
        for s3 in self.s3.values() {
            sources.extend(s3.access_key_id.as_ref());
            sources.extend(s3.secret_access_key.as_ref());
        }
        sources.extend(self.redis.values().filter_map(|target| target.password.as_ref()));
        sources.extend(
            self.http.values().filter_map(|target| target.header.as_ref()).filter_map(|header| header.value.secret()),
        );
        sources.extend(self.command.values().flat_map(|command| command.env.values()).filter_map(Value::secret));
        sources.extend(self.pagerduty.iter().map(|target| &target.token));
        sources.extend(self.launchdarkly.iter().map(|target| &target.token));
        sources.extend(self.slack.iter().flat_map(|target| target.token.iter().chain(&target.webhook)));
        sources.extend(self.grafana.iter().map(|target| &target.token));
        sources
    }
}
