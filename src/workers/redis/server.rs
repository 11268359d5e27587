//! A connection to one database of one server, and what that server says about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisConnectionInfo};
use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::incident::TargetIdentity;
use crate::runbook::TargetRef;
use crate::workers::WorkerError;

use super::error;

/// A sample of the keys looks at this many of them at the most, so that a large cache is not walked.
const SAMPLE: usize = 2_000;
const CONNECT: Duration = Duration::from_secs(5);
/// FLUSHDB without ASYNC takes as long as the cache is large.
const ANSWER: Duration = Duration::from_mins(2);
/// Everything else is answered at once.
const QUICK: Duration = Duration::from_secs(20);

/// A connection with one database selected.
pub(super) struct Server {
    connection: MultiplexedConnection,
    /// `redis.redis-ingestion`, and where that is.
    pub(super) name: String,
    /// The config's short name.
    pub(super) short: String,
    /// `host:port`.
    pub(super) address: String,
    pub(super) db: i64,
    info: BTreeMap<String, String>,
}

/// Keys by the part of their name up to the first colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// Prefix and how many of the sampled keys have it, the most frequent first.
    pub(super) prefixes: Vec<(String, usize)>,
    /// Keys looked at.
    pub(super) keys: usize,
}

impl Server {
    /// Connects, selects the database and reads `INFO`.
    pub(super) async fn connect(config: &Config, target: &TargetRef) -> Result<Self, WorkerError> {
        let unknown = || {
            let add = "Add it; assets/relight.example.toml shows how.";
            WorkerError::new("find the cache", target.to_string(), "The config has no such Redis target.", add)
        };
        let TargetRef::Redis(short) = target else {
            return Err(unknown());
        };
        let settings = config.redis.get(short).ok_or_else(unknown)?;
        let address = format!("{}:{}", settings.host, settings.port);
        let name = format!("{target} ({address}, database {})", settings.db);
        let mut login = RedisConnectionInfo::default().set_db(settings.db);
        if let Some(user) = &settings.user {
            login = login.set_username(user);
        }
        if let Some(source) = settings.password.clone() {
            let mend = "Mend the secret's source in the config, then try again.";
            let unread = |why: String| WorkerError::new("read the password", name.clone(), why, mend);
            // A secret may come from a command, which blocks.
            let read = tokio::task::spawn_blocking(move || source.read()).await;
            let secret = read.map_err(|error| unread(error.to_string()))?;
            login = login.set_password(secret.map_err(|error| unread(format!("{error}.")))?.expose_secret());
        }
        let host = settings.host.clone();
        let addr = if settings.tls {
            // Does nothing where a provider is installed already; without one rustls has no cryptography.
            let _ = rustls::crypto::ring::default_provider().install_default();
            ConnectionAddr::TcpTls { host, port: settings.port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, settings.port)
        };
        let timeouts =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
        let fault = |error| error::fault("connect", &name, &error);
        let address_and_login = addr.into_connection_info().map_err(fault)?.set_redis_settings(login);
        let client = redis::Client::open(address_and_login).map_err(fault)?;
        let connection = client.get_multiplexed_async_connection_with_config(&timeouts).await.map_err(fault)?;
        let mut server = Self {
            connection,
            name: name.clone(),
            short: short.clone(),
            address,
            db: settings.db,
            info: BTreeMap::new(),
        };
        server.info = server.read_info().await?;
        Ok(server)
    }

    /// Sends a command; its errors name `operation`.
    pub(super) async fn ask<T: FromRedisValue>(&self, operation: &str, command: &[&str]) -> Result<T, WorkerError> {
        self.try_ask(command).await.map_err(|error| error::fault(operation, &self.name, &error))
    }

    /// Sends a command whose refusal means something.
    pub(super) async fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let (name, arguments) = command.split_first().unwrap_or((&"PING", &[]));
        let mut built = redis::cmd(name);
        for argument in arguments {
            built.arg(argument);
        }
        let mut connection = self.connection.clone();
        let limit = if *name == "FLUSHDB" { ANSWER } else { QUICK };
        match tokio::time::timeout(limit, built.query_async(&mut connection)).await {
            Ok(answer) => answer,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    async fn read_info(&self) -> Result<BTreeMap<String, String>, WorkerError> {
        let mut fields = BTreeMap::new();
        // `INFO` alone leaves commandstats out, and takes only one section before Redis 7.
        for section in ["server", "replication", "cluster", "commandstats"] {
            let text = match self.try_ask::<String>(&["INFO", section]).await {
                Ok(text) => text,
                // A user without the right to ask may still be allowed to flush; what INFO would say stays unknown.
                Err(error) if error.code() == Some("NOPERM") => continue,
                Err(error) => return Err(error::fault("read INFO", &self.name, &error)),
            };
            let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
            fields.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        Ok(fields)
    }

    /// A field of `INFO`, as it was when the connection was made.
    pub(super) fn info(&self, field: &str) -> Option<&str> {
        self.info.get(field).map(String::as_str)
    }

    /// The server process, told from the same server after a restart.
    pub(super) fn run_id(&self) -> Option<&str> {
        self.info("run_id")
    }

    /// Whether the server belongs to a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.info("cluster_enabled") == Some("1")
    }

    /// How often FLUSHDB has been called since the server started; none where the server does not count it.
    /// A command that was never called has no line, which is 0 calls where others are counted.
    pub(super) fn flushes(&self) -> Option<u64> {
        let Some(line) = self.info("cmdstat_flushdb") else {
            return self.info.keys().any(|key| key.starts_with("cmdstat_")).then_some(0);
        };
        line.split(',').find_map(|part| part.strip_prefix("calls="))?.parse().ok()
    }

    pub(super) async fn keys(&self) -> Result<u64, WorkerError> {
        self.ask("count the keys", &["DBSIZE"]).await
    }

    /// Looks at some keys. Walks at most [`SAMPLE`] of them.
    pub(super) async fn sample(&self) -> Result<Sample, WorkerError> {
        let (mut cursor, mut keys) = ("0".to_owned(), 0);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let (next, found): (String, Vec<Vec<u8>>) =
                self.ask("look at some keys", &["SCAN", &cursor, "COUNT", "500"]).await?;
            keys += found.len();
            for key in found {
                *counts.entry(prefix(&key)).or_default() += 1;
            }
            if next == "0" || keys >= SAMPLE {
                break;
            }
            cursor = next;
        }
        let mut prefixes: Vec<(String, usize)> = counts.into_iter().collect();
        prefixes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(Sample { prefixes, keys })
    }

    pub(super) fn identity(&self) -> TargetIdentity {
        let mut proofs = BTreeMap::from([("database".to_owned(), self.db.to_string())]);
        for (name, field) in [("run id", "run_id"), ("role", "role")] {
            if let Some(value) = self.info(field) {
                proofs.insert(name.to_owned(), value.to_owned());
            }
        }
        TargetIdentity { name: format!("{} ({}) database {}", self.short, self.address, self.db), proofs }
    }
}

impl Sample {
    /// `ofx:* 600, import:* 200 (of 800 keys looked at)`
    pub(super) fn text(&self) -> String {
        let most: Vec<String> = self.prefixes.iter().take(8).map(|(name, count)| format!("{name} {count}")).collect();
        let more = self.prefixes.len().saturating_sub(8);
        let rest = if more == 0 { String::new() } else { format!(" and {more} more prefixes") };
        format!("{}{rest} (of {} keys looked at)", most.join(", "), self.keys)
    }
}

/// The part of a key up to its first colon. A key without one stands for itself, cut and with nothing that a terminal
/// would act on.
fn prefix(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let clean = |part: &str| -> String { part.chars().filter(|c| !c.is_control()).take(40).collect() };
    match text.split_once(':') {
        Some((before, _)) => format!("{}:*", clean(before)),
        None => clean(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_safe_to_show() {
        assert_eq!(prefix(b"ofx:import:1"), "ofx:*");
        assert_eq!(prefix(b"plain"), "plain");
        assert_eq!(prefix(b"\x1b[2Jevil:1"), "[2Jevil:*");
        assert_eq!(prefix(&[b'x'; 100]).len(), 40);
    }

    #[test]
    fn a_sample_names_the_most_frequent_first() {
        let prefixes = (0..10).map(|n| (format!("p{n}:*"), 10 - n)).collect();
        let text = Sample { prefixes, keys: 55 }.text();
        assert!(text.starts_with("p0:* 10, p1:* 9"), "{text}");
        assert!(text.ends_with("and 2 more prefixes (of 55 keys looked at)"), "{text}");
    }
}
