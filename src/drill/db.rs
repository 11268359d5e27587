//! Sessions in the sandbox's PostgreSQL, and the state of its tables as counts and checksums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::error::SandboxError;

/// Who connects where. The password lies in a file and is read at every connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// Always 127.0.0.1.
    pub host: String,
    /// The cluster's port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Holds the role's password; mode 0600.
    pub password_file: PathBuf,
    /// The database.
    pub database: String,
}

/// A session and the task that carries its traffic. Dropping it closes the session.
#[derive(Debug)]
pub struct Session {
    client: Client,
    traffic: JoinHandle<()>,
}

impl std::ops::Deref for Session {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Session {
    /// Says goodbye to the server and waits until the socket is closed.
    pub async fn close(self) {
        drop(self.client);
        let _ = self.traffic.await;
    }
}

impl Login {
    /// Opens a session under this application name, with these server settings (`-c name=value …`).
    ///
    /// # Errors
    /// An unreadable password file, or the server's refusal.
    pub async fn connect(&self, application: &str, options: &str) -> Result<Session, SandboxError> {
        let path: &Path = &self.password_file;
        let password = std::fs::read_to_string(path).map_err(SandboxError::io("read", path))?;
        let (client, connection) = tokio_postgres::Config::new()
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .password(password.trim_end())
            .dbname(&self.database)
            .application_name(application)
            .options(options)
            .connect(NoTls)
            .await
            .map_err(SandboxError::pg(format!("connect to {} as {}", self.database, self.user)))?;
        let traffic = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a database session ended");
            }
        });
        Ok(Session { client, traffic })
    }

    /// The same login for another database.
    #[must_use]
    pub fn to_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }
}

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Number of rows.
    pub rows: i64,
    /// The sum over all rows of a 64-bit hash of the row's text: it does not depend on the order of rows, and does on
    /// every value and on how often a row is there. Comparable between databases of one server.
    pub checksum: String,
}

/// All ordinary tables of `public`, by name, as the session sees them now. A transaction of isolation level repeatable read makes
/// it the state at one moment.
///
/// # Errors
/// When the catalogue or a table cannot be read.
pub async fn table_states(client: &Client) -> Result<BTreeMap<String, TableState>, SandboxError> {
    // A row's text depends on these settings; they are the same for every measurement.
    client
        .batch_execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'")
        .await
        .map_err(SandboxError::pg("pin the text formats"))?;
    let tables = client
        .query(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1",
            &[],
        )
        .await
        .map_err(SandboxError::pg("list the tables"))?;
    let mut states = BTreeMap::new();
    for table in tables {
        let name: String = table.get(0);
        let quoted = name.replace('"', "\"\"");
        let sql =
            format!("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM public.\"{quoted}\" t");
        let row = client.query_one(&sql, &[]).await.map_err(SandboxError::pg(format!("sum up the table {name}")))?;
        states.insert(name, TableState { rows: row.get(0), checksum: row.get(1) });
    }
    Ok(states)
}
