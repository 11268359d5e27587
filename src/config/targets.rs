//! The targets that a config names, one type each. Every key is explained in `assets/relight.example.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};

use super::SecretSource;

/// How a PostgreSQL connection is encrypted, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always, whoever answers.
    Require,
    /// Always, and the certificate's issuer is known.
    VerifyCa,
    /// Always, and the certificate is the host's.
    VerifyFull,
}

/// Who besides the account that started an incident may attach to it, and what they may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// The unix group whose members may look on; none for nobody else.
    pub group: Option<String>,
    /// Accounts of that group that may act as well, by their login names.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// The two approvals of a `two_person` step may come from one account; recorded as asserted then.
    #[serde(default)]
    pub one_account: bool,
}

/// A PostgreSQL database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Host or socket folder; default `PGHOST`, else `localhost`.
    pub host: Option<String>,
    /// Port; default `PGPORT`, else 5432.
    pub port: Option<u16>,
    /// The database to restore.
    pub database: String,
    /// Login role; default `PGUSER`, else the unix user.
    pub user: Option<String>,
    /// Its password; default `PGPASSWORD`, else `~/.pgpass`.
    pub password: Option<SecretSource>,
    /// Encryption; default `PGSSLMODE`, else `prefer`.
    pub sslmode: Option<SslMode>,
    /// Certificate authorities, a PEM file; default the system's.
    pub sslrootcert: Option<PathBuf>,
    /// The role that restored objects belong to.
    pub owner: String,
    /// The role that the service connects as.
    pub app_role: Option<String>,
    /// Parallel jobs of pg_restore.
    pub jobs: Option<u32>,
    /// Where `pg_restore` and `pg_dump` are.
    pub bin_dir: Option<PathBuf>,
}

impl Postgres {
    /// A database of which nothing but the name is configured.
    #[must_use]
    pub fn bare(database: &str) -> Self {
        Self {
            host: None,
            port: None,
            database: database.to_owned(),
            user: None,
            password: None,
            sslmode: None,
            sslrootcert: None,
            owner: String::new(),
            app_role: None,
            jobs: None,
            bin_dir: None,
        }
    }
}

/// A place in S3.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Bucket.
    pub bucket: String,
    /// Everything under this prefix; empty for the whole bucket.
    #[serde(default)]
    pub prefix: String,
    /// Region; default the usual AWS sources.
    pub region: Option<String>,
    /// Endpoint; default the usual AWS sources.
    pub endpoint: Option<String>,
    /// Address the bucket in the path.
    #[serde(default)]
    pub path_style: bool,
    /// AWS profile; default `AWS_PROFILE`.
    pub profile: Option<String>,
    /// The account that must own the bucket.
    pub expected_owner: Option<String>,
    /// Static key id; default the usual AWS sources.
    pub access_key_id: Option<SecretSource>,
    /// Static secret key; default the usual AWS sources.
    pub secret_access_key: Option<SecretSource>,
}

/// A local folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
}

/// A Kubernetes namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// Path of a kubeconfig; default `KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Context; default the current one.
    pub context: Option<String>,
    /// Namespace.
    pub namespace: String,
    /// Deployments that write to the database.
    pub writers: Vec<String>,
}

/// A Redis server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Host.
    pub host: String,
    /// Port.
    #[serde(default = "redis_port")]
    pub port: u16,
    /// Database index.
    #[serde(default)]
    pub db: i64,
    /// ACL user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// Use TLS.
    #[serde(default)]
    pub tls: bool,
}

/// A header that a service wants.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Endpoints of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// What the paths are appended to.
    pub base_url: String,
    /// Paths that answer 2xx when all is well.
    pub paths: Vec<String>,
    /// A header to send.
    pub header: Option<Header>,
}

/// A value that may be secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Written in the config.
    Plain(String),
    /// From elsewhere.
    Secret(SecretSource),
}

impl Value {
    /// Where it comes from, if it is secret.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretSource> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(source) => Some(source),
        }
    }
}

/// A command of the user's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments; `{{ name }}` is asked for.
    pub argv: Vec<String>,
    /// Folder to run in.
    pub cwd: Option<PathBuf>,
    /// It is stopped after this long.
    #[serde(default = "ten_minutes", deserialize_with = "duration")]
    pub timeout: SignedDuration,
    /// Added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, Value>,
}

/// A conference bridge.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Telephone number; a comma waits a second, `#` ends a code.
    pub number: Option<String>,
    /// Address.
    pub url: Option<String>,
}

/// PagerDuty.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerDuty {
    /// REST API token.
    pub token: SecretSource,
    /// E-mail of a user of the account.
    pub from: String,
    /// Service id.
    pub service: String,
    /// Default `https://api.pagerduty.com`.
    pub base_url: Option<String>,
    /// Escalation policy of new incidents; default the service's.
    pub escalation_policy: Option<String>,
    /// E-mails of people to call in.
    #[serde(default)]
    pub responders: Vec<String>,
    /// Escalation policies to call in.
    #[serde(default)]
    pub responder_policies: Vec<String>,
    /// The executive bridge.
    pub bridge: Option<Bridge>,
}

/// LaunchDarkly.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchDarkly {
    /// Access token.
    pub token: SecretSource,
    /// Project key.
    pub project: String,
    /// Environment key.
    pub environment: String,
    /// Default `https://app.launchdarkly.com`.
    pub base_url: Option<String>,
}

/// Slack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// Bot token; with it goes the channel's id.
    pub token: Option<SecretSource>,
    /// Channel id.
    pub channel: Option<String>,
    /// An incoming webhook's address instead of both. What was posted by it cannot be read back.
    pub webhook: Option<SecretSource>,
    /// What people call the channel.
    pub channel_name: String,
    /// Default `https://slack.com/api`.
    pub base_url: Option<String>,
}

/// A panel and its thresholds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// The panel's title.
    pub title: String,
    /// The unit behind its numbers.
    #[serde(default)]
    pub unit: String,
    /// Above this it is a warning.
    pub warn: f64,
    /// Above this it is a failure.
    pub bad: f64,
}

/// Grafana.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grafana {
    /// Its address, with the path prefix if it has one.
    pub url: String,
    /// A service account's token.
    pub token: SecretSource,
    /// Organisation.
    pub org_id: Option<u64>,
    /// Panels to read.
    #[serde(default)]
    pub panel: Vec<Panel>,
}

fn redis_port() -> u16 {
    6379
}

pub(super) fn one_hour() -> SignedDuration {
    SignedDuration::from_hours(1)
}

/// As [`duration`], where the key may be left out.
pub(super) fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn twenty_seconds() -> SignedDuration {
    SignedDuration::from_secs(20)
}

fn ten_minutes() -> SignedDuration {
    SignedDuration::from_mins(10)
}

/// Reads `1h`, `90s`, `1h 30m`; it must be longer than nothing.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fault = || serde::de::Error::custom(format!("`{text}` is no duration: write 90s, 5m or 1h 30m"));
    let duration: SignedDuration = text.parse().map_err(|_| fault())?;
    if duration.is_positive() { Ok(duration) } else { Err(fault()) }
}
