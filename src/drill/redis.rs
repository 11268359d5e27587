//! The sandbox's Redis: stale ingestion keys in database 0, another service's sessions in database 1.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use super::error::SandboxError;
use super::folder::{Secret, Secrets};
use super::programs::{self, Account, Nursery, Server};
use super::scenario;

/// Redis says so on its standard output once it takes connections.
const READY: &str = "Ready to accept connections";
/// Keys of another service in database 1, which must survive a flush of database 0.
const NEIGHBOURS: u32 = 40;

/// A running server.
#[derive(Debug)]
pub(crate) struct Cache {
    server: Server,
    /// Its TCP port on 127.0.0.1.
    pub(crate) port: u16,
    /// The operator's ACL user's password.
    pub(crate) operator: Secret,
    /// The password of a user who may only read, for tests of missing rights.
    pub(crate) reader: Secret,
}

/// Where the cache is, for measuring it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheLogin {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// ACL user.
    pub user: String,
    /// Holds the password; mode 0600.
    pub password_file: std::path::PathBuf,
}

impl Cache {
    /// Starts it and fills it.
    pub(crate) async fn start(
        nursery: &Nursery,
        account: Option<&Account>,
        run: &Path,
        secrets: &Secrets,
        content: &scenario::Redis,
    ) -> Result<Self, SandboxError> {
        let program = programs::in_path("redis-server", "redis-server")?;
        let default = secrets.invent("redis-default", "", 16)?;
        let operator = secrets.invent("redis-relight", "", 16)?;
        let reader = secrets.invent("redis-reader", "", 16)?;
        let mut last = None;
        for _ in 0..3 {
            let port = programs::free_port()?;
            // The configuration comes over standard input, so that no password lies in a file or an argument list.
            let config = format!(
                "bind 127.0.0.1\nport {port}\nprotected-mode yes\nsave \"\"\nappendonly no\ndaemonize no\n\
                 requirepass {}\n\
                 user relight on >{} ~* &* +@all -@admin +acl|whoami +acl|dryrun\n\
                 user reader on >{} ~* &* -@all +@read +@connection +info +acl|whoami\n",
                default.value, operator.value, reader.value,
            );
            let mut command = nursery.command(&program, "TERM", account);
            command.arg("-").current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = nursery.spawn("redis-server", command).await?;
            if let Some(mut input) = child.stdin.take() {
                let log = Path::new("redis-server's standard input");
                input.write_all(config.as_bytes()).await.map_err(SandboxError::io("write", log))?;
            }
            let Some(output) = child.stdout.take() else {
                continue;
            };
            match Server::adopt("redis-server", child, output, READY, &run.join("redis.log")).await {
                Ok(server) => {
                    let cache = Self { server, port, operator, reader };
                    cache.fill(content).await?;
                    return Ok(cache);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(SandboxError::Ended))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid
    }

    /// The operator's login.
    pub(crate) fn login(&self) -> CacheLogin {
        CacheLogin { port: self.port, user: "relight".to_owned(), password_file: self.operator.file.clone() }
    }

    /// The login of a user who may only read.
    pub(crate) fn reader_login(&self) -> CacheLogin {
        CacheLogin { user: "reader".to_owned(), password_file: self.reader.file.clone(), ..self.login() }
    }

    async fn fill(&self, content: &scenario::Redis) -> Result<(), SandboxError> {
        let failed = |source| SandboxError::Redis { operation: "fill in keys", source };
        let mut zero = self.login().connect(0).await?;
        let mut pipe = ::redis::pipe();
        for (number, prefix) in (0..content.keys).zip(content.prefixes.iter().cycle()) {
            let name = format!("{prefix}{number:06}");
            match number % 3 {
                0 => pipe.cmd("SET").arg(name).arg(format!("import-{number:06}")),
                1 => pipe.cmd("SET").arg(name).arg(number).arg("EX").arg(86_400 + number),
                _ => pipe.cmd("HSET").arg(name).arg("state").arg("parsed").arg("rows").arg(number),
            }
            .ignore();
        }
        pipe.query_async::<()>(&mut zero).await.map_err(failed)?;
        let mut one = self.login().connect(1).await?;
        let mut pipe = ::redis::pipe();
        for number in 0..NEIGHBOURS {
            pipe.cmd("SET").arg(format!("web:session:{number:04}")).arg(number).ignore();
        }
        pipe.query_async::<()>(&mut one).await.map_err(failed)
    }

    /// Asks it to end; there is nothing to save.
    pub(crate) async fn stop(self) {
        self.server.stop(Signal::TERM, Duration::from_secs(5)).await;
    }
}

impl CacheLogin {
    async fn connect(&self, database: i64) -> Result<::redis::aio::MultiplexedConnection, SandboxError> {
        let failed = |source| SandboxError::Redis { operation: "connect", source };
        let path: &Path = &self.password_file;
        let password = std::fs::read_to_string(path).map_err(SandboxError::io("read", path))?;
        let url = format!("redis://{}:{}@127.0.0.1:{}/{database}", self.user, password.trim_end(), self.port);
        let client = ::redis::Client::open(url).map_err(failed)?;
        client.get_multiplexed_async_connection().await.map_err(failed)
    }

    /// How often a database was flushed since the server started.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn flushes(&self) -> Result<u64, SandboxError> {
        let failed = |source| SandboxError::Redis { operation: "count the flushes", source };
        let mut connection = self.connect(0).await?;
        let said: String =
            ::redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.map_err(failed)?;
        let calls = |line: &str| line.strip_prefix("cmdstat_flushdb:calls=")?.split(',').next()?.parse().ok();
        Ok(said.lines().find_map(calls).unwrap_or(0))
    }

    /// How many keys a database holds.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn keys(&self, database: i64) -> Result<u64, SandboxError> {
        let mut connection = self.connect(database).await?;
        ::redis::cmd("DBSIZE")
            .query_async(&mut connection)
            .await
            .map_err(|source| SandboxError::Redis { operation: "count the keys", source })
    }
}
