//! The sandbox's PostgreSQL: a cluster of its own with the roles of a managed production database.
//!
//! | role | rights |
//! |---|---|
//! | `postgres` | superuser; only the sandbox itself uses it |
//! | `relight` | the operator: no superuser; CREATEDB, member of `fc_app`, `pg_signal_backend`, `pg_monitor` |
//! | `fc_app` | owns the database and all in it; the service connects as it |
//! | `fc_readonly` | no login; holds SELECT grants, which a restore must bring back |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::db::Login;
use super::error::SandboxError;
use super::folder::{self, Secret, Secrets};
use super::programs::{self, Account, Nursery, Server};

/// The database to bring back.
pub const DATABASE: &str = "financecopilot";

/// The postmaster says so on its log once it takes connections.
const READY: &str = "database system is ready to accept connections";

/// Settings of a cluster that is thrown away: nothing waits for the disk. Restores and dumps behave as elsewhere.
const SETTINGS: [&str; 12] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_wal_size=2GB",
    "checkpoint_timeout=30min",
    "shared_buffers=128MB",
    "max_connections=80",
    "timezone=UTC",
    "log_timezone=UTC",
    "logging_collector=off",
    "lc_messages=C",
];

/// Names a variable with further settings, `name=value` between blanks, which stand over the others: benchmarks want a
/// server as it is in production.
const MORE_SETTINGS: &str = "RELIGHT_DRILL_POSTGRES";

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    server: Server,
    /// Where `pg_dump` and the rest are.
    pub(crate) bin: PathBuf,
    /// Its TCP port on 127.0.0.1.
    pub(crate) port: u16,
    superuser: Secret,
    operator: Secret,
    app: Secret,
}

impl Cluster {
    /// Makes and starts a cluster in `run/pg`, owned by `account` if there is one, and makes roles and the empty database.
    pub(crate) async fn start(
        nursery: &Nursery,
        account: Option<&Account>,
        run: &Path,
        secrets: &Secrets,
    ) -> Result<Self, SandboxError> {
        let bin = programs::postgres_bin()?;
        let superuser = secrets.invent("postgres-superuser", "", 16)?;
        let home = run.join("pg");
        folder::make(&home, 0o700)?;
        own(&home, account)?;
        init(nursery, account, &bin, &home, &superuser).await?;
        let (server, port) = launch(nursery, account, &bin, &home, &run.join("postgres.log")).await?;
        let cluster = Self {
            server,
            bin,
            port,
            superuser,
            operator: secrets.invent("postgres-relight", "", 16)?,
            app: secrets.invent("postgres-fc_app", "", 16)?,
        };
        cluster.make_roles().await?;
        Ok(cluster)
    }

    /// The postmaster's process.
    pub(crate) fn pid(&self) -> u32 {
        self.server.pid
    }

    fn login(&self, user: &str, secret: &Secret) -> Login {
        Login {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: user.to_owned(),
            password_file: secret.file.clone(),
            database: DATABASE.to_owned(),
        }
    }

    /// The superuser's login to the database.
    pub(crate) fn as_superuser(&self) -> Login {
        self.login("postgres", &self.superuser)
    }

    /// The operator's login to the database.
    pub(crate) fn as_operator(&self) -> Login {
        self.login("relight", &self.operator)
    }

    /// The service's login to the database.
    pub(crate) fn as_app(&self) -> Login {
        self.login("fc_app", &self.app)
    }

    /// The superuser's password, for the environment of a `pg_dump`.
    pub(crate) fn superuser_password(&self) -> &str {
        &self.superuser.value
    }

    async fn make_roles(&self) -> Result<(), SandboxError> {
        // The passwords are hex, so they need no quoting.
        let (operator, app) = (&self.operator.value, &self.app.value);
        let session = self.as_superuser().to_database("postgres").connect("relight-sandbox", "").await?;
        session
            .batch_execute(&format!(
                "CREATE ROLE fc_app LOGIN PASSWORD '{app}';
                 CREATE ROLE fc_readonly NOLOGIN;
                 CREATE ROLE relight LOGIN CREATEDB PASSWORD '{operator}' IN ROLE fc_app, pg_signal_backend, pg_monitor;"
            ))
            .await
            .map_err(SandboxError::pg("make the roles"))?;
        // CREATE DATABASE does not run inside the transaction that several statements in one message form.
        session
            .batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER fc_app"))
            .await
            .map_err(SandboxError::pg("make the database"))?;
        session
            .batch_execute(&format!(
                "REVOKE CONNECT ON DATABASE {DATABASE} FROM PUBLIC; GRANT CONNECT ON DATABASE {DATABASE} TO fc_app, fc_readonly;"
            ))
            .await
            .map_err(SandboxError::pg("grant rights on the database"))?;
        session.close().await;
        Ok(())
    }

    /// Fast shutdown (SIGINT), then the hard way.
    pub(crate) async fn stop(self) {
        self.server.stop(Signal::INT, Duration::from_secs(10)).await;
    }
}

fn own(path: &Path, account: Option<&Account>) -> Result<(), SandboxError> {
    let Some(Account { uid, gid }) = account else {
        return Ok(());
    };
    std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).map_err(SandboxError::io("give away", path))
}

async fn init(
    nursery: &Nursery,
    account: Option<&Account>,
    bin: &Path,
    home: &Path,
    superuser: &Secret,
) -> Result<(), SandboxError> {
    // initdb reads the password as the unprivileged user, who cannot reach the folder of secrets.
    let password = home.join("initial-password");
    crate::private::write(&password, &superuser.value).map_err(SandboxError::io("write", &password))?;
    own(&password, account)?;
    let mut command = nursery.command(bin.join("initdb"), "TERM", account);
    command
        .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .arg("--pgdata")
        .arg(home.join("data"))
        .arg("--pwfile")
        .arg(&password)
        .current_dir(home);
    nursery.run("initdb", command).await?;
    fs::remove_file(&password).map_err(SandboxError::io("remove", &password))
}

async fn launch(
    nursery: &Nursery,
    account: Option<&Account>,
    bin: &Path,
    home: &Path,
    log: &Path,
) -> Result<(Server, u16), SandboxError> {
    let mut last = None;
    // Somebody else may take the port between finding and using it.
    for _ in 0..3 {
        let port = programs::free_port()?;
        let mut command = nursery.command(bin.join("postgres"), "INT", account);
        command.arg("-D").arg(home.join("data")).arg("-p").arg(port.to_string()).current_dir(home);
        let more = std::env::var(MORE_SETTINGS).unwrap_or_default();
        for setting in SETTINGS.into_iter().chain(more.split_whitespace()) {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("unix_socket_directories={}", home.display()));
        command.stderr(Stdio::piped());
        let mut child = nursery.spawn("postgres", command).await?;
        let Some(output) = child.stderr.take() else {
            continue;
        };
        match Server::adopt("postgres", child, output, READY, log).await {
            Ok(server) => return Ok((server, port)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(SandboxError::Ended))
}
