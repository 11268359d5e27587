//! Every table of the dump is there, with as many rows, counted over several sessions that see one state.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::archive::{Toc, TocEntry};
use crate::workers::{Io, WorkerError};

use super::super::count::Counted;
use super::super::server::{Server, application, ident};
use super::super::session::Session;

const DOING: &str = "count the rows";

pub(super) fn quoted(table: &Counted) -> String {
    format!("{}.{}", ident(&table.schema), ident(&table.table))
}

/// `312004` as `312,004`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Compares the tables of `server` with the dump's.
pub(super) async fn same_rows(
    sessions: &[Session],
    server: &Server,
    toc: &Toc,
    counted: &[Counted],
    io: &Io,
    wrong: &mut Vec<String>,
) -> Result<String, WorkerError> {
    let Some((first, others)) = sessions.split_first() else { return Ok(String::new()) };
    let role = format!("SET LOCAL ROLE {}", ident(&server.settings.owner));
    first.batch(DOING, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    // A role that an owner's rights are given to sees what the owner sees, and exports it to the others.
    let snapshot: String = first.one(DOING, "SELECT pg_catalog.pg_export_snapshot()", &[]).await?.get(0);
    first.batch(DOING, &role).await?;
    for session in others {
        let same =
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'; {role}");
        session.batch(DOING, &same).await?;
    }
    let there = tables(first).await?;
    let missing: Vec<String> = toc
        .entries
        .iter()
        .filter(|entry| entry.desc == "TABLE")
        .filter(|entry| !there.contains(&(entry.namespace.clone().unwrap_or_default(), entry.tag.clone())))
        .map(TocEntry::name)
        .collect();
    if !missing.is_empty() {
        wrong.push(format!("Missing: {}.", missing.join(", ")));
    }
    // The largest first, so that no session is left with it alone.
    let mut left: Vec<&Counted> =
        counted.iter().filter(|table| there.contains(&(table.schema.clone(), table.table.clone()))).collect();
    left.sort_by_key(|table| table.rows);
    let total = left.len() as u64;
    let shared = Mutex::new((left, Vec::new()));
    let count = async |session: &Session| -> Result<(), WorkerError> {
        loop {
            let next = shared.lock().unwrap_or_else(PoisonError::into_inner).0.pop();
            let Some(table) = next else { return Ok(()) };
            // ONLY: what a table inherits is counted with the heir.
            let row = session.one(DOING, &format!("SELECT count(*) FROM ONLY {}", quoted(table)), &[]).await?;
            let found = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
            let done = {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.1.push((table, found));
                shared.1.len() as u64
            };
            io.progress(format!("count {}.{}", table.schema, table.table), done, Some(total), "tables");
        }
    };
    futures_util::future::try_join_all(sessions.iter().map(count)).await?;
    for session in sessions {
        session.batch(DOING, "COMMIT").await?;
    }
    let found = shared.into_inner().unwrap_or_else(PoisonError::into_inner).1;
    let mut rows = 0;
    for (table, found) in &found {
        rows += found;
        if *found != table.rows {
            let (name, there, dumped) =
                (format!("{}.{}", table.schema, table.table), thousands(*found), thousands(table.rows));
            wrong.push(format!("{name} has {there} rows, and the dump {dumped}."));
        }
    }
    let with_data = toc.summary().tables_with_data as usize;
    let uncounted = if with_data > counted.len() {
        format!("; {} tables, dumped as INSERTs, not counted", with_data - counted.len())
    } else {
        String::new()
    };
    Ok(format!(
        "{} tables, {} rows {}{uncounted}",
        counted.len(),
        thousands(rows),
        if wrong.is_empty() { "equal to the dump" } else { "compared with the dump" }
    ))
}

/// Sessions to count with: as many as the server has cores for us, the given one among them.
pub(super) async fn sessions(
    server: &Server,
    incident: &crate::incident::IncidentId,
    first: Session,
) -> Result<Vec<Session>, WorkerError> {
    let (jobs, _) = super::super::gates::jobs(server);
    let name = application(incident, "prove");
    let more = (1..jobs).map(|_| server.connect_to(&server.database, &name));
    let more = futures_util::future::try_join_all(more).await?;
    Ok(std::iter::once(first).chain(more).collect())
}

async fn tables(session: &Session) -> Result<BTreeSet<(String, String)>, WorkerError> {
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f')";
    Ok(session.query(DOING, sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn large_numbers_are_readable() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (312_004, "312,004"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }
}
