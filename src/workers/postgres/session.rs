//! Sessions of our own on the server, and what proves which server it is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode as Mode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config as PgConfig, NoTls, Row, SimpleQueryMessage};

use secrecy::ExposeSecret as _;

use crate::config::SslMode;
use crate::incident::{IncidentId, TargetIdentity};
use crate::workers::{Disposition, WorkerError};

use super::error::fault;
use super::server::{Server, application};
use super::tls;

const CONNECT: Duration = Duration::from_secs(5);
/// What was sent and is not acknowledged for so long went nowhere.
const DEAD: Duration = Duration::from_mins(1);

/// A session. It ends when this is dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    traffic: JoinHandle<()>,
    server: Server,
    /// The server's process that serves it.
    backend: i32,
}

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `pg_control_system()`, where we may ask it.
    pub system: Option<String>,
    /// The database's number.
    pub database_oid: u32,
    /// `server_version`, for instance `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// 15.
    pub major: u32,
}

impl Server {
    /// Opens a session to the target's database.
    ///
    /// # Errors
    /// The server's refusal or the network's.
    pub async fn connect(&self, incident: &IncidentId, what: &str) -> Result<Session, WorkerError> {
        self.connect_to(&self.database, &application(incident, what)).await
    }

    /// Opens a session to any database of the server.
    ///
    /// # Errors
    /// The server's refusal or the network's.
    pub async fn connect_to(&self, database: &str, application: &str) -> Result<Session, WorkerError> {
        let mut config = PgConfig::new();
        config.port(self.port).user(&self.user).dbname(database).application_name(application);
        config.connect_timeout(CONNECT).keepalives_idle(Duration::from_secs(30));
        // A way that dies without a word is noticed, whether or not there is something to send.
        config.keepalives_interval(Duration::from_secs(10)).keepalives_retries(3).tcp_user_timeout(DEAD);
        if self.local() {
            config.host_path(&self.host);
        } else {
            config.host(&self.host);
        }
        if let Some(password) = &self.password {
            config.password(password.expose_secret());
        }
        let server = Self { database: database.to_owned(), ..self.clone() };
        let name = server.name();
        let opened = async {
            let mut session = server.open(config).await?;
            session.backend = session.ask_backend().await?;
            Ok(session)
        };
        match tokio::time::timeout(2 * CONNECT, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(WorkerError::new(
                "connect",
                name,
                format!("The server at {}:{} did not answer in time.", self.host, self.port),
                "Check host, port and network, then retry (r).",
            )
            .with(Disposition::Retry)),
        }
    }

    async fn open(self, mut config: PgConfig) -> Result<Session, WorkerError> {
        // libpq does not encrypt on a socket of this host either.
        let mode = if self.local() { SslMode::Disable } else { self.sslmode };
        config.ssl_mode(match mode {
            SslMode::Disable => Mode::Disable,
            SslMode::Prefer => Mode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Mode::Require,
        });
        if mode == SslMode::Disable {
            return self.plain(config).await;
        }
        let connector = tls::connector(mode, self.sslrootcert.as_deref())
            .map_err(|cause| WorkerError::new("connect", self.name(), cause, "Correct it, then retry (r)."))?;
        match config.connect(connector).await {
            Ok((client, connection)) => Ok(Session { client, traffic: carry(connection), server: self, backend: 0 }),
            // As libpq: `prefer` does without where TLS itself fails, or where pg_hba.conf has a line only for sessions
            // without it. Whatever else the server says stands.
            Err(error) if mode == SslMode::Prefer && wants_plain(&error) => {
                config.ssl_mode(Mode::Disable);
                match self.clone().plain(config).await {
                    Err(_) if error.as_db_error().is_some() => Err(fault("connect", &self, &error)),
                    opened => opened,
                }
            }
            Err(error) => Err(fault("connect", &self, &error)),
        }
    }

    async fn plain(self, config: PgConfig) -> Result<Session, WorkerError> {
        match config.connect(NoTls).await {
            Ok((client, connection)) => Ok(Session { client, traffic: carry(connection), server: self, backend: 0 }),
            Err(error) => Err(fault("connect", &self, &error)),
        }
    }
}

/// Whether a session without TLS may come further than this one with it did.
fn wants_plain(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // "no pg_hba.conf entry for host …, SSL encryption", auth.c.
        Some(code) => *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        None => error.to_string().contains("TLS"),
    }
}

fn carry<S, T>(connection: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a database session ended: {error}");
        }
    })
}

impl Session {
    /// Whether the server is gone from it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn backend(&self) -> i32 {
        self.backend
    }

    async fn ask_backend(&self) -> Result<i32, WorkerError> {
        // One message there and one back.
        let said = self.client.simple_query("SELECT pg_catalog.pg_backend_pid()").await;
        let said = said.map_err(|error| fault("connect", &self.server, &error))?;
        let row = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        Ok(row.unwrap_or(0))
    }

    /// How many rows a query gives, however long that takes.
    pub(super) async fn rows(&self, sql: &str) -> Result<usize, tokio_postgres::Error> {
        let said = self.client.simple_query(sql).await?;
        Ok(said.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count())
    }

    /// Gives the session up without a word: nobody listens.
    pub(super) fn hang_up(&self) {
        self.traffic.abort();
    }

    /// Rows of a query. `doing` is what it is for: "list the sessions".
    pub(super) async fn query(
        &self,
        doing: &str,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, WorkerError> {
        self.answer(doing, self.client.query(sql, values)).await
    }

    /// The one row of a query.
    pub(super) async fn one(&self, doing: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row, WorkerError> {
        self.answer(doing, self.client.query_one(sql, values)).await
    }

    /// Statements without rows.
    pub(super) async fn batch(&self, doing: &str, sql: &str) -> Result<(), WorkerError> {
        self.answer(doing, self.client.batch_execute(sql)).await
    }

    /// Loads rows with `COPY … FROM stdin`, those that `next` gives until it gives none; how many the server took.
    pub(super) async fn copy_in<F, N>(&self, statement: &str, mut next: F) -> Result<u64, String>
    where
        F: FnMut() -> N,
        N: Future<Output = Option<Result<Bytes, String>>>,
    {
        let said = |error: tokio_postgres::Error| fault("load rows", &self.server, &error).to_string();
        let sink = self.client.copy_in(statement).await.map_err(said)?;
        let mut sink = std::pin::pin!(sink);
        while let Some(piece) = next().await {
            // A sink that is dropped without its end makes the server forget what it was sent.
            sink.send(piece?).await.map_err(said)?;
        }
        sink.finish().await.map_err(said)
    }

    /// Says goodbye and waits until the socket is closed.
    pub async fn close(self) {
        drop(self.client);
        let _ = self.traffic.await;
    }

    /// Who the server is.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn identity(&self) -> Result<Identity, WorkerError> {
        let row = self
            .one(
                "ask who the server is",
                "SELECT oid, current_setting('server_version'), current_setting('server_version_num')::int \
                 FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
                &[],
            )
            .await?;
        // Some services do not let everybody see it; the rest of the identity stands then.
        let system =
            self.client.query_one("SELECT system_identifier::text FROM pg_catalog.pg_control_system()", &[]).await;
        let number: i32 = row.try_get(2).unwrap_or(0);
        Ok(Identity {
            system: system.ok().and_then(|row| row.try_get(0).ok()),
            database_oid: row.try_get(0).unwrap_or(0),
            version: row.try_get(1).unwrap_or_default(),
            major: u32::try_from(number / 10_000).unwrap_or(0),
        })
    }
}

impl Identity {
    /// As plans and approvals hold it.
    #[must_use]
    pub fn target(&self, server: &Server) -> TargetIdentity {
        let mut proofs = BTreeMap::from([
            ("server".to_owned(), format!("{}:{}", server.host, server.port)),
            ("version".to_owned(), self.version.clone()),
            ("database oid".to_owned(), self.database_oid.to_string()),
        ]);
        if let Some(system) = &self.system {
            proofs.insert("system identifier".to_owned(), system.clone());
        }
        TargetIdentity { name: server.name(), proofs }
    }
}
