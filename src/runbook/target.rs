//! Names of targets, as a runbook writes them: `postgres.financecopilot`, `slack`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the config's targets: its kind, and its name where a kind may have several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TargetRef {
    /// `[postgres.NAME]`
    Postgres(String),
    /// `[s3.NAME]`
    S3(String),
    /// `[folder.NAME]`
    Folder(String),
    /// `[kubernetes.NAME]`
    Kubernetes(String),
    /// `[redis.NAME]`
    Redis(String),
    /// `[http.NAME]`
    Http(String),
    /// `[command.NAME]`
    Command(String),
    /// `[pagerduty]`
    PagerDuty,
    /// `[launchdarkly]`
    LaunchDarkly,
    /// `[slack]`
    Slack,
    /// `[grafana]`
    Grafana,
}

/// A target's name that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no target: write one of pagerduty, launchdarkly, slack, grafana, or a kind and a name \
     such as postgres.main (kinds: postgres, s3, folder, kubernetes, redis, http, command)"
)]
pub struct TargetRefError(String);

impl FromStr for TargetRef {
    type Err = TargetRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || TargetRefError(text.to_owned());
        let Some((kind, name)) = text.split_once('.') else {
            return match text {
                "pagerduty" => Ok(Self::PagerDuty),
                "launchdarkly" => Ok(Self::LaunchDarkly),
                "slack" => Ok(Self::Slack),
                "grafana" => Ok(Self::Grafana),
                _ => Err(fault()),
            };
        };
        if name.is_empty() {
            return Err(fault());
        }
        let name = name.to_owned();
        match kind {
            "postgres" => Ok(Self::Postgres(name)),
            "s3" => Ok(Self::S3(name)),
            "folder" => Ok(Self::Folder(name)),
            "kubernetes" => Ok(Self::Kubernetes(name)),
            "redis" => Ok(Self::Redis(name)),
            "http" => Ok(Self::Http(name)),
            "command" => Ok(Self::Command(name)),
            _ => Err(fault()),
        }
    }
}

impl fmt::Display for TargetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(name) => write!(f, "postgres.{name}"),
            Self::S3(name) => write!(f, "s3.{name}"),
            Self::Folder(name) => write!(f, "folder.{name}"),
            Self::Kubernetes(name) => write!(f, "kubernetes.{name}"),
            Self::Redis(name) => write!(f, "redis.{name}"),
            Self::Http(name) => write!(f, "http.{name}"),
            Self::Command(name) => write!(f, "command.{name}"),
            Self::PagerDuty => f.write_str("pagerduty"),
            Self::LaunchDarkly => f.write_str("launchdarkly"),
            Self::Slack => f.write_str("slack"),
            Self::Grafana => f.write_str("grafana"),
        }
    }
}

impl TryFrom<String> for TargetRef {
    type Error = TargetRefError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TargetRef> for String {
    fn from(target: TargetRef) -> Self {
        target.to_string()
    }
}
