//! Where the database is and who we are there: the config, and where it is silent, what libpq would take.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Postgres, SslMode};
use crate::incident::IncidentId;
use crate::runbook::TargetRef;
use crate::workers::WorkerError;

use super::pgpass;

/// Debian's and Red Hat's bundles of the certificate authorities that the system trusts, for children: libpq before
/// version 16 knows no `sslrootcert=system`.
const BUNDLES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Variables of libpq that would lead a child elsewhere than we looked.
pub(super) const FOREIGN: [&str; 8] = [
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGREQUIREAUTH",
    "PGTARGETSESSIONATTRS",
    "PGDATABASE",
];

/// A PostgreSQL database of the config, with everything that it takes to connect.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host name, address, or the folder of a socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database to restore.
    pub database: String,
    /// Login role.
    pub user: String,
    /// Its password, where there is one.
    pub(super) password: Option<SecretString>,
    pub(super) sslmode: SslMode,
    pub(super) sslrootcert: Option<PathBuf>,
    /// The config's words.
    pub settings: Postgres,
}

/// How a server is reached, without its secret: what other processes of ours are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) sslmode: SslMode,
    pub(super) sslrootcert: Option<PathBuf>,
}

impl Address {
    /// A database there.
    pub(super) fn server(&self, database: &str, password: Option<String>) -> Server {
        Server {
            host: self.host.clone(),
            port: self.port,
            database: database.to_owned(),
            user: self.user.clone(),
            password: password.map(SecretString::from),
            sslmode: self.sslmode,
            sslrootcert: self.sslrootcert.clone(),
            settings: Postgres::bare(database),
        }
    }
}

impl Server {
    /// How it is reached, for another process.
    pub(super) fn address(&self) -> Address {
        Address {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            sslmode: self.sslmode,
            sslrootcert: self.sslrootcert.clone(),
        }
    }

    /// Finds out where a target is. Reads secrets, connects to nothing.
    ///
    /// # Errors
    /// The target is not in the config, or its password cannot be read.
    pub async fn of(config: &Config, target: &TargetRef) -> Result<Self, WorkerError> {
        let missing = || {
            WorkerError::new(
                "find the database",
                target.to_string(),
                "The config has no such PostgreSQL target.",
                "Add it; assets/relight.example.toml shows how.",
            )
        };
        let TargetRef::Postgres(name) = target else { return Err(missing()) };
        let settings = config.postgres.get(name).ok_or_else(missing)?.clone();
        let wrong = |cause: String| {
            WorkerError::new("read the database's settings", target.to_string(), cause, "Correct it, then try again.")
        };
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = settings.host.clone().or_else(|| environment("PGHOST")).unwrap_or_else(|| "localhost".to_owned());
        let port = match (settings.port, environment("PGPORT")) {
            (Some(port), _) => port,
            (None, Some(text)) => text.parse().map_err(|_| wrong(format!("PGPORT is `{text}`, which is no port.")))?,
            (None, None) => 5432,
        };
        let user = settings.user.clone().or_else(|| environment("PGUSER")).or_else(|| environment("USER"));
        let user = user.ok_or_else(|| wrong("No user is named: neither in the config nor in PGUSER.".to_owned()))?;
        let sslmode = match (settings.sslmode, environment("PGSSLMODE").as_deref()) {
            (Some(mode), _) => mode,
            (None, None | Some("prefer" | "allow")) => SslMode::Prefer,
            (None, Some("disable")) => SslMode::Disable,
            (None, Some("require")) => SslMode::Require,
            (None, Some("verify-ca")) => SslMode::VerifyCa,
            (None, Some("verify-full")) => SslMode::VerifyFull,
            (None, Some(other)) => return Err(wrong(format!("PGSSLMODE is `{other}`, which is no mode."))),
        };
        let sslrootcert = settings.sslrootcert.clone().or_else(|| environment("PGSSLROOTCERT").map(PathBuf::from));
        let own_roots =
            || std::env::home_dir().map(|home| home.join(".postgresql/root.crt")).filter(|path| path.exists());
        let sslrootcert = sslrootcert.filter(|path| path.as_os_str() != "system").or_else(own_roots);
        let password = match &settings.password {
            Some(source) => {
                let source = source.clone();
                // A secret may come from a command, which blocks.
                let read = tokio::task::spawn_blocking(move || source.read()).await;
                Some(read.map_err(|error| wrong(error.to_string()))?.map_err(|error| wrong(format!("{error}.")))?)
            }
            None => match environment("PGPASSWORD") {
                Some(password) => Some(SecretString::from(password)),
                None => pgpass::find(&host, port, &settings.database, &user).map_err(wrong)?,
            },
        };
        Ok(Self { host, port, database: settings.database.clone(), user, password, sslmode, sslrootcert, settings })
    }

    /// What it is called: `financecopilot@db-1:5432`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}@{}:{}", self.database, self.host, self.port)
    }

    /// Reached over a socket of this host.
    pub(super) fn local(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The environment in which pg_dump and pg_restore connect as we do.
    pub(super) fn environment(&self, incident: &IncidentId, what: &str) -> Vec<(String, SecretString)> {
        let mode = match self.sslmode {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        };
        let mut all = vec![
            ("PGAPPNAME".to_owned(), application(incident, what)),
            ("PGSSLMODE".to_owned(), mode.to_owned()),
            ("PGCONNECT_TIMEOUT".to_owned(), "10".to_owned()),
            // Their messages are read by us.
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ];
        let bundle = || BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
        if matches!(self.sslmode, SslMode::VerifyCa | SslMode::VerifyFull)
            && let Some(roots) = self.sslrootcert.clone().or_else(bundle)
        {
            all.push(("PGSSLROOTCERT".to_owned(), roots.display().to_string()));
        }
        let mut all: Vec<(String, SecretString)> =
            all.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect();
        if let Some(password) = &self.password {
            all.push(("PGPASSWORD".to_owned(), password.clone()));
        }
        all
    }

    /// The arguments with which pg_dump and pg_restore connect. Holds no secret.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            format!("--host={}", self.host),
            format!("--port={}", self.port),
            format!("--username={}", self.user),
            "--no-password".to_owned(),
            format!("--dbname={}", conninfo(&self.database)),
        ]
    }

    /// What must not show in a child's output.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        self.password.iter().filter(|password| !password.expose_secret().is_empty()).cloned().collect()
    }
}

/// A name of a session: `relight INC-7F3K restore`, within the 63 bytes that PostgreSQL keeps.
pub(super) fn application(incident: &IncidentId, what: &str) -> String {
    let mut name = format!("relight {incident} {what}");
    while name.len() > 63 {
        name.pop();
    }
    name
}

/// A database's name as libpq's `dbname`, which would read `=` and `postgres://` in it as a connection string.
pub(super) fn conninfo(database: &str) -> String {
    if database.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return database.to_owned();
    }
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A name as SQL's identifier.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A word for a shell that a person copies a command into.
pub(super) fn shell(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | ',' | '@' | '%' | '+');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_libpq_would_read_as_more_are_quoted() {
        assert_eq!(conninfo("financecopilot"), "financecopilot");
        assert_eq!(conninfo("a=b"), "dbname='a=b'");
        assert_eq!(conninfo("it's"), "dbname='it\\'s'");
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(shell("it's"), "'it'\\''s'");
        assert_eq!(shell("--role=fc_app"), "--role=fc_app");
    }

    #[test]
    fn sessions_are_named_within_what_postgresql_keeps() {
        let incident = IncidentId::new("INC-7F3K").expect("an id");
        assert_eq!(application(&incident, "restore"), "relight INC-7F3K restore");
        assert_eq!(application(&incident, &"ä".repeat(60)).len(), 63);
    }
}
