//! The honest age of the data: the newest times that its busiest tables hold.

use crate::workers::WorkerError;

use super::super::count::Counted;
use super::super::server::{Server, ident};
use super::super::session::Session;

const DOING: &str = "look for the newest rows";
/// How many tables are asked.
const TABLES: usize = 3;
/// Without an index every row is looked at: not for the sake of one line of evidence.
const LOOKED_THROUGH: u64 = 500_000;

/// A line with the newest times, of the largest tables that keep any; none where there is no such table.
pub(super) async fn newest(
    session: &Session,
    server: &Server,
    counted: &[Counted],
) -> Result<Option<String>, WorkerError> {
    // Columns of a time, the one that an index begins with before others, then in their order.
    let sql = "SELECT a.attname::text, EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indkey[0] = a.attnum AND i.indpred IS NULL) AS indexed \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) ORDER BY 2 DESC, a.attnum LIMIT 1";
    let mut largest: Vec<&Counted> = counted.iter().filter(|table| table.rows > 0).collect();
    largest.sort_by_key(|table| std::cmp::Reverse(table.rows));
    session.batch(DOING, &format!("SET ROLE {}", ident(&server.settings.owner))).await?;
    let mut found = Vec::new();
    for table in largest {
        if found.len() == TABLES {
            break;
        }
        let name = super::rows::quoted(table);
        let columns = session.query(DOING, sql, &[&name]).await?;
        let Some(column) = columns.first().filter(|row| row.get::<_, bool>(1) || table.rows <= LOOKED_THROUGH) else {
            continue;
        };
        let column: String = column.get(0);
        // What is planned for later says nothing about the age.
        let newest = format!(
            "SELECT to_char(max({0})::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM {name} WHERE {0} <= pg_catalog.now()",
            ident(&column)
        );
        if let Some(at) = session.one(DOING, &newest, &[]).await?.get::<_, Option<String>>(0) {
            found.push(format!("{}.{}.{column} {at}Z", table.schema, table.table));
        }
    }
    session.batch(DOING, "RESET ROLE").await?;
    Ok((!found.is_empty()).then(|| format!("Newest rows: {}", found.join(", "))))
}
