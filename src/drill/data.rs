//! The rows of the drill's finance database, made in SQL: every value follows from the row's number.

use jiff::Timestamp;

use super::db::{Login, Session};
use super::error::SandboxError;
use super::scenario::Grow;

const TABLES: &str = include_str!("../../assets/drills/schema-tables.sql");
const CONSTRAINTS: &str = include_str!("../../assets/drills/schema-constraints.sql");
const GROW: &str = include_str!("../../assets/drills/grow.sql");
/// Where a script falls into parts.
const PART: &str = "-- part\n";

/// Two sessions that fill the database as its owner, and how many rows there are.
#[derive(Debug)]
pub(crate) struct Filler {
    one: Session,
    two: Session,
    totals: Grow,
}

impl Filler {
    /// Opens the sessions.
    pub(crate) async fn connect(superuser: &Login) -> Result<Self, SandboxError> {
        let options =
            "-c role=fc_app -c TimeZone=UTC -c maintenance_work_mem=128MB -c max_parallel_workers_per_gather=0";
        let (one, two) = tokio::try_join!(
            superuser.connect("relight-sandbox", options),
            superuser.connect("relight-sandbox", options),
        )?;
        Ok(Self { one, two, totals: Grow::default() })
    }

    /// Tables, the first rows, then constraints, indexes and views; what can go side by side does.
    pub(crate) async fn first_load(&mut self, rows: Grow, from: Timestamp, to: Timestamp) -> Result<(), SandboxError> {
        execute(&self.one, TABLES, "make the tables").await?;
        let script = self.script(rows, from, to);
        let [masters, transactions, totals] = parts(&script)?;
        tokio::try_join!(
            execute(&self.one, masters, "fill the master tables"),
            execute(&self.two, transactions, "fill the transactions"),
        )?;
        let [ledger, master_keys, joins] = parts(CONSTRAINTS)?;
        let second = async {
            execute(&self.two, totals, "add up the balances").await?;
            execute(&self.two, master_keys, "add keys to the master tables").await
        };
        tokio::try_join!(execute(&self.one, ledger, "add keys to the transactions"), second)?;
        execute(&self.one, joins, "add foreign keys and views").await
    }

    /// The rows that came in between two moments, in one transaction: what a dump sees always adds up.
    pub(crate) async fn grow(&mut self, rows: Grow, from: Timestamp, to: Timestamp) -> Result<(), SandboxError> {
        let script = self.script(rows, from, to);
        execute(&self.one, &format!("BEGIN;\n{script}\nCOMMIT;"), "add rows").await
    }

    /// Does the damage as the application's role, in one transaction as a migration would.
    pub(crate) async fn damage(&mut self, sql: &str, at: Timestamp) -> Result<(), SandboxError> {
        let sql = sql.replace("{at}", &format!("'{at}'"));
        execute(&self.one, &format!("BEGIN;\n{sql}\nCOMMIT;"), "do the damage").await?;
        // The damage may have added rows of its own; the next ids come after those.
        let row = self
            .one
            .query_one(
                "SELECT (SELECT last_value FROM users_id_seq), (SELECT last_value FROM accounts_id_seq),
                        (SELECT last_value FROM ofx_imports_id_seq), (SELECT last_value FROM transactions_id_seq),
                        (SELECT last_value FROM audit_log_id_seq)",
                &[],
            )
            .await
            .map_err(SandboxError::pg("read the sequences"))?;
        let last = |column: usize| u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX);
        self.totals =
            Grow { users: last(0), accounts: last(1), imports: last(2), transactions: last(3), audit: last(4) };
        Ok(())
    }

    /// Statistics for the planner, so that the stand-in's queries are quick; then closes the sessions.
    pub(crate) async fn finish(self) -> Result<(), SandboxError> {
        execute(&self.one, "ANALYZE users, accounts, ofx_imports, transactions, audit_log", "analyse").await?;
        self.one.close().await;
        self.two.close().await;
        Ok(())
    }

    /// The growth script for these rows after those that are there.
    fn script(&mut self, rows: Grow, from: Timestamp, to: Timestamp) -> String {
        let mut script = GROW.replace("{from}", &format!("'{from}'")).replace("{to}", &format!("'{to}'"));
        let totals = &mut self.totals;
        for (name, total, new) in [
            ("users", &mut totals.users, rows.users),
            ("accounts", &mut totals.accounts, rows.accounts),
            ("imports", &mut totals.imports, rows.imports),
            ("transactions", &mut totals.transactions, rows.transactions),
            ("audit", &mut totals.audit, rows.audit),
        ] {
            let low = total.saturating_add(1);
            *total = total.saturating_add(new);
            script = script
                .replace(&format!("{{{name}_lo}}"), &low.to_string())
                .replace(&format!("{{{name}_hi}}"), &total.to_string());
        }
        script
    }
}

async fn execute(session: &Session, sql: &str, operation: &str) -> Result<(), SandboxError> {
    session.batch_execute(sql).await.map_err(SandboxError::pg(operation))
}

fn parts(script: &str) -> Result<[&str; 3], SandboxError> {
    let mut parts = script.splitn(3, PART);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(a), Some(b), Some(c)) => Ok([a, b, c]),
        _ => {
            Err(SandboxError::Scenario { name: "data".to_owned(), reason: "a script must have three parts".to_owned() })
        }
    }
}
