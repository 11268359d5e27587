//! What a restore over the live database left, by the server's catalogue and not by an exit code: the old data, the new
//! data, or which table is which.
//!
//! `--clean` drops every table of the dump and makes it anew, so a table that was replaced has another number. COPY is
//! all or nothing for a table, so one that was made anew holds all of the dump's rows or none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::archive::{Toc, TocEntry};
use crate::incident::IncidentId;
use crate::workers::{Context, WorkerError};

use super::super::catalogue::quoted;
use super::super::count::Counted;
use super::super::server::{Server, application, ident};
use super::super::session::Session;
use super::super::sessions::RESTORE;

/// The sentence for a database in which nothing changed.
pub(super) const INTACT: &str = "The old data is intact";
/// The sentence for one that is restored.
pub(super) const COMPLETE: &str = "The new data is complete";
/// Tables that a sentence names of each kind; the log names all.
const NAMED: usize = 8;
/// For the server to end a session that nobody uses any more.
const ENDING_S: u32 = 30;

/// A table of the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    schema: String,
    name: String,
    /// Its number on the server; none where it is not there.
    number: Option<u32>,
}

/// The dump's tables as they were right before the first change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before(Vec<Table>);

/// What is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// As it was.
    Old,
    /// As the dump has it.
    New,
    /// Neither; which table is what.
    Mixed(String),
    /// The dump has no table to tell by.
    Unknown,
}

impl Before {
    /// Reads the numbers of the dump's tables.
    pub(super) async fn look(session: &Session, toc: &Toc) -> Result<Self, WorkerError> {
        let tables = toc.entries.iter().filter(|entry| entry.desc == "TABLE").map(|entry| Table {
            schema: entry.namespace.clone().unwrap_or_default(),
            name: entry.tag.clone(),
            number: None,
        });
        let mut tables: Vec<Table> = tables.collect();
        let found = numbers(session, &tables).await?;
        for (table, number) in tables.iter_mut().zip(found) {
            table.number = number;
        }
        Ok(Self(tables))
    }

    fn path(cx: &Context) -> Result<PathBuf, WorkerError> {
        let attempt = cx.attempt.map_or(0, |attempt| attempt.0);
        Ok(cx.work()?.join(format!("{attempt}.before.json")))
    }

    /// Keeps them where a later engine finds them, durably: the restore may begin once this has returned.
    pub(super) fn keep(&self, cx: &Context) -> Result<(), WorkerError> {
        let path = Self::path(cx)?;
        write(&path, &serde_json::to_vec(self).unwrap_or_default()).map_err(|error| {
            let place = format!("{} on this host", path.display());
            let cause = format!("It cannot be written: {error}.");
            WorkerError::new("write down the tables as they are", place, cause, "Free space there, then retry (r).")
        })
    }

    /// Those that an attempt kept; none where it had not come to its first change.
    pub(super) fn kept(cx: &Context) -> Result<Option<Self>, WorkerError> {
        let text = std::fs::read(Self::path(cx)?).ok();
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// What became of a single transaction, which cannot be mixed.
    pub(super) async fn after_one_transaction(&self, session: &Session) -> Result<Left, WorkerError> {
        let now = numbers(session, &self.0).await?;
        Ok(match self.0.iter().zip(now).find(|(table, now)| table.number != *now) {
            Some(_) => Left::New,
            None if self.0.is_empty() => Left::Unknown,
            None => Left::Old,
        })
    }

    /// What became of the tables one by one. `touched` says that pg_restore was seen to begin, and `counted` how many
    /// rows the dump has of each table.
    pub(super) async fn after(
        &self,
        session: &Session,
        server: &Server,
        (touched, toc, counted): (bool, &Toc, &[Counted]),
    ) -> Result<Left, WorkerError> {
        let now = numbers(session, &self.0).await?;
        let changed = self.0.iter().zip(&now).any(|(table, now)| table.number != *now);
        if !changed && !touched {
            return Ok(Left::Old);
        }
        // What the owner may read, we may as its member.
        session.batch(LOOKING, &format!("SET ROLE {}", ident(&server.settings.owner))).await?;
        let mut kinds = Kinds::default();
        for (table, now) in self.0.iter().zip(now) {
            let name = format!("{}.{}", table.schema, table.name);
            let place = match now {
                None if table.number.is_none() => &mut kinds.lacking,
                None => &mut kinds.gone,
                Some(_) if now == table.number => &mut kinds.old,
                Some(_) => {
                    let dumped = counted.iter().find(|it| it.schema == table.schema && it.table == table.name);
                    match dumped {
                        Some(dumped) if dumped.rows > 0 && is_empty(session, table).await? => &mut kinds.empty,
                        None if has_inserts(toc, table) => &mut kinds.perhaps,
                        _ => &mut kinds.new,
                    }
                }
            };
            place.push(name);
        }
        session.batch(LOOKING, "RESET ROLE").await?;
        Ok(Left::Mixed(kinds.sentence()))
    }
}

const LOOKING: &str = "look what became of the tables";

/// Tables by what became of them.
#[derive(Debug, Default)]
struct Kinds {
    new: Vec<String>,
    perhaps: Vec<String>,
    empty: Vec<String>,
    gone: Vec<String>,
    lacking: Vec<String>,
    old: Vec<String>,
}

impl Kinds {
    fn sentence(&self) -> String {
        let parts: Vec<String> = [
            ("with the dump's rows", &self.new),
            ("perhaps with a part of the dump's rows", &self.perhaps),
            ("made anew and empty", &self.empty),
            ("gone", &self.gone),
            ("not there, as before", &self.lacking),
            ("as before, perhaps without indexes and keys", &self.old),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", some(names)))
        .collect();
        format!("The database is mixed: {}.", parts.join("; "))
    }
}

fn some(names: &[String]) -> String {
    let text = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

async fn numbers(session: &Session, tables: &[Table]) -> Result<Vec<Option<u32>>, WorkerError> {
    let names: Vec<String> = tables.iter().map(|table| quoted(&table.schema, &table.name)).collect();
    let sql =
        "SELECT pg_catalog.to_regclass(name)::oid FROM unnest($1::text[]) WITH ORDINALITY AS x (name, at) ORDER BY at";
    Ok(session.query(LOOKING, sql, &[&names]).await?.iter().map(|row| row.get(0)).collect())
}

async fn is_empty(session: &Session, table: &Table) -> Result<bool, WorkerError> {
    let sql = format!("SELECT NOT EXISTS (SELECT FROM {})", quoted(&table.schema, &table.name));
    Ok(session.one(LOOKING, &sql, &[]).await?.get(0))
}

fn has_inserts(toc: &Toc, table: &Table) -> bool {
    let of = |entry: &TocEntry| entry.namespace.as_deref() == Some(&table.schema) && entry.tag == table.name;
    toc.entries.iter().any(|entry| entry.desc == "TABLE DATA" && !entry.is_copy() && of(entry))
}

/// Ends the sessions of a pg_restore that is gone: the server works on for a program that cannot hear any more, and a
/// transaction whose COMMIT is on its way is not over before its session is.
///
/// # Errors
/// They do not end.
pub(super) async fn end_own(server: &Server, incident: &IncidentId) -> Result<(), WorkerError> {
    let session = server.connect_to("postgres", &application(incident, "looks")).await?;
    let own = application(incident, RESTORE);
    let sql = "SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE application_name = $1 AND usename = current_user AND pid <> pg_catalog.pg_backend_pid()";
    let mut left = BTreeSet::new();
    for _ in 0..ENDING_S * 20 {
        let rows = session.query("end what is left of the restore", sql, &[&own]).await?;
        left = rows.iter().map(|row| row.get::<_, i32>(0)).collect();
        if left.is_empty() {
            session.close().await;
            return Ok(());
        }
        session.query("wait for them", "SELECT pg_catalog.pg_sleep(0.05)", &[]).await?;
    }
    let pids: Vec<String> = left.iter().map(ToString::to_string).collect();
    Err(WorkerError::new(
        "end what is left of the restore",
        server.name(),
        format!("Sessions of it still work on the server: {}.", pids.join(", ")),
        "End them (SELECT pg_terminate_backend(…)), then have the target asked again.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_database_is_told_table_by_table() {
        let kinds = Kinds {
            new: vec!["public.a".to_owned()],
            empty: vec!["public.b".to_owned()],
            old: (0..10).map(|at| format!("public.c{at}")).collect(),
            ..Kinds::default()
        };
        assert_eq!(
            kinds.sentence(),
            "The database is mixed: with the dump's rows: public.a; made anew and empty: public.b; as before, perhaps \
             without indexes and keys: public.c0, public.c1, public.c2, public.c3, public.c4, public.c5, public.c6, \
             public.c7 and 2 more."
        );
    }
}
