//! What is to be run: as the engine says it, and as it travels to the shim.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// How long a program has between being asked to end and being killed.
const GRACE: Duration = Duration::from_secs(10);

/// Called with every line of output that reaches the engine. Under a flood some never do; the log has them all.
pub type OnLine = Box<dyn FnMut(&str) + Send>;

/// How rows of customers are found in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// The output is PostgreSQL's: behind a hidden row, every line that does not begin a message is hidden too.
    Postgres,
    /// The output is anybody's: a hidden row ends where its text looks finished.
    Anywhere,
}

/// A program to run.
pub struct Spec {
    /// What it is for, in a few words; recorded with the exit, so that a later engine knows what ended.
    pub what: String,
    /// What it works on, for messages.
    pub target: String,
    /// Program and arguments. Never holds a secret.
    pub argv: Vec<String>,
    /// Added to the environment.
    pub env: Vec<(String, SecretString)>,
    /// Taken out of the environment.
    pub env_remove: Vec<String>,
    /// Folder to run in; none for the engine's.
    pub cwd: Option<PathBuf>,
    /// It is ended after this long.
    pub timeout: Option<Duration>,
    /// Between asking it to end and killing it; 10 seconds unless said otherwise.
    pub grace: Duration,
    /// Cut out of its output.
    pub redact: Vec<SecretString>,
    /// How rows of customers are cut out of it.
    pub rows: Rows,
    /// Sees the lines.
    pub on_line: Option<OnLine>,
}

impl Spec {
    /// A program with nothing added.
    #[must_use]
    pub fn new(what: impl Into<String>, target: impl Into<String>, argv: Vec<String>) -> Self {
        Self {
            what: what.into(),
            target: target.into(),
            argv,
            env: Vec::new(),
            env_remove: Vec::new(),
            cwd: None,
            timeout: None,
            grace: GRACE,
            redact: Vec::new(),
            rows: Rows::Anywhere,
            on_line: None,
        }
    }

    /// The program's name without its folder.
    #[must_use]
    pub fn program(&self) -> &str {
        let first = self.argv.first().map_or("", String::as_str);
        first.rsplit('/').next().unwrap_or(first)
    }

    pub(super) fn order(&self, log: &Path) -> Order {
        let open = |secret: &SecretString| secret.expose_secret().to_owned();
        Order {
            what: self.what.clone(),
            log: log.to_owned(),
            argv: self.argv.clone(),
            env: self.env.iter().map(|(name, value)| (name.clone(), open(value))).collect(),
            env_remove: self.env_remove.clone(),
            cwd: self.cwd.clone(),
            timeout_ms: self.timeout.map(millis),
            grace_ms: millis(self.grace),
            redact: self.redact.iter().map(open).collect(),
            rows: self.rows,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A [`Spec`] on its way to the shim: the first line of the shim's input. It holds secrets, so it is never printed.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) what: String,
    pub(super) log: PathBuf,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) env_remove: Vec<String>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) grace_ms: u64,
    pub(super) redact: Vec<String>,
    pub(super) rows: Rows,
}

/// What the shim tells the engine, a line of JSON each.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Frame {
    /// Lines that were appended to the log, and where they begin in it.
    Text {
        /// Byte offset.
        offset: u64,
        /// Whole lines.
        text: String,
    },
    /// Text was left out because the engine was slow; the log reaches up to here.
    UpTo {
        /// Byte offset.
        offset: u64,
    },
    /// The shim starts nothing; why.
    Refused {
        /// In words.
        why: String,
    },
}

/// The word, as a line of the shim's input, that asks it to end the program.
pub(super) const STOP: &str = "stop";
