//! What is to be done: the archive's entries as units of work, and what is left to pg_restore.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::{Section, Toc, TocEntry};

use super::super::progress::{INDEX, VALIDATE};
use super::ddl::{Ddl, Table};

/// How a statement holds a table, after the names of PostgreSQL's locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Rows are looked at: of the table that a foreign key refers to.
    RowShare,
    /// Statistics, validation.
    ShareUpdateExclusive,
    /// An index is built.
    Share,
    /// A foreign key is added, from here or to here.
    ShareRowExclusive,
    /// A constraint takes its index.
    AccessExclusive,
}

impl Lock {
    /// Whether one waits for the other, after the table of conflicts in PostgreSQL's manual ("Explicit Locking").
    pub(super) fn conflicts(self, other: Self) -> bool {
        let beside = |one: Self, two: Self| match one {
            Self::RowShare => two != Self::AccessExclusive,
            Self::Share => two == Self::Share,
            _ => false,
        };
        !beside(self, other) && !beside(other, self)
    }
}

/// What a unit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Loads a table's rows, over as many sessions as like to.
    Copy { statement: String },
    /// One statement.
    Run { sql: String, what: What },
}

/// What a statement is, for words and weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Index,
    Attach,
    Reference,
    Validate,
    Analyze,
}

/// A piece of work.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// The archive's entry.
    pub(super) dump_id: i32,
    /// The entry of the data of the table that it works on, which weighs it.
    pub(super) data: i32,
    /// What it is called: `public.users`, `users_pkey`.
    pub(super) name: String,
    pub(super) task: Task,
    pub(super) tablespace: Option<String>,
    /// The units that must be done before.
    pub(super) after: Vec<usize>,
    pub(super) locks: Vec<(Table, Lock)>,
    /// Its work, as a share of its table's data in hundredths.
    pub(super) share: u64,
    /// The same of everything that follows from it on the same table, itself included.
    pub(super) chain: u64,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) all: Vec<Unit>,
    /// Entries that pg_restore does before.
    pub(super) before: Vec<i32>,
    /// Entries that pg_restore does after.
    pub(super) rest: Vec<i32>,
}

const ANALYZE: u64 = 5;

/// The entries that pg_restore makes first: whatever data needs. Rights come last, for they may take some from the role
/// that loads.
pub(super) fn before(toc: &Toc) -> Vec<i32> {
    let first = |entry: &&TocEntry| entry.section == Section::PreData && !is_right(entry);
    toc.entries.iter().filter(first).map(|entry| entry.dump_id).collect()
}

fn is_right(entry: &TocEntry) -> bool {
    matches!(entry.desc.as_str(), "ACL" | "DEFAULT ACL" | "COMMENT" | "SECURITY LABEL")
}

/// Whether texts and rows of the archive are UTF-8, as our sessions are.
fn is_utf8(toc: &Toc) -> bool {
    let encoding = toc.entries.iter().find(|entry| entry.desc == "ENCODING");
    encoding.and_then(|entry| entry.definition.as_deref()).is_some_and(|sql| sql.contains("'UTF8'"))
}

/// Divides the archive's entries. `plain` are the ordinary tables that are there now: those that have rows of their own.
/// `later` leaves out what checks foreign keys.
pub(super) fn divide(toc: &Toc, plain: &BTreeSet<Table>, later: bool) -> Units {
    let mut made = Units { before: before(toc), ..Units::default() };
    let done: BTreeSet<i32> = made.before.iter().copied().collect();
    // Rows that go in by their partitions' root belong to no table of their own.
    let ours = is_utf8(toc) && toc.entries.iter().filter(|entry| entry.is_copy()).all(copies_itself);
    let mut last: BTreeMap<i32, usize> = BTreeMap::new();
    let mut data_of: BTreeMap<Table, i32> = BTreeMap::new();
    let mut extended = BTreeSet::new();
    for entry in toc.entries.iter().filter(|entry| !done.contains(&entry.dump_id)) {
        if entry.desc == "STATISTICS" {
            extended.extend(entry.dependencies.iter().copied());
        }
        let after = if ours { needs(toc, entry, &done, &last) } else { None };
        let taken = after.and_then(|after| take(entry, (&after, later), plain, &mut data_of, &mut made.all));
        match taken {
            Some(unit) => {
                last.insert(entry.dump_id, unit);
            }
            None if entry.section == Section::None && !is_right(entry) => {}
            None => made.rest.push(entry.dump_id),
        }
    }
    analyze(toc, &extended, &data_of, &mut made.all);
    chain(&mut made.all);
    made
}

/// `COPY schema.table (…) FROM stdin;` of the entry's own table.
fn copies_itself(entry: &TocEntry) -> bool {
    let named = entry.copy_statement.as_deref().and_then(|sql| sql.strip_prefix("COPY "));
    let Some(named) = named else { return false };
    let plain = entry.name();
    let end = |rest: &str| rest.starts_with(' ') || rest.starts_with(" (");
    if named.strip_prefix(plain.as_str()).is_some_and(end) {
        return true;
    }
    // One that pg_dump quotes.
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let schema = entry.namespace.clone().unwrap_or_default();
    [
        format!("{}.{}", quote(&schema), quote(&entry.tag)),
        format!("{schema}.{}", quote(&entry.tag)),
        format!("{}.{}", quote(&schema), entry.tag),
    ]
    .iter()
    .any(|name| named.strip_prefix(name.as_str()).is_some_and(end))
}

/// The units that an entry waits for; none where it waits for something that is pg_restore's.
fn needs(toc: &Toc, entry: &TocEntry, done: &BTreeSet<i32>, last: &BTreeMap<i32, usize>) -> Option<Vec<usize>> {
    let mut after = Vec::new();
    for needed in &entry.dependencies {
        if let Some(unit) = last.get(needed) {
            after.push(*unit);
        } else if !done.contains(needed) && toc.entry(*needed).is_some() {
            return None;
        }
        // As pg_restore does with jobs: what comes after the data and needs a table, needs its rows.
        let is_table = || toc.entry(*needed).is_some_and(|table| table.desc == "TABLE");
        if entry.section == Section::PostData
            && is_table()
            && let Some(data) = toc.data_of(*needed)
        {
            after.push(*last.get(&data.dump_id)?);
        }
    }
    after.sort_unstable();
    after.dedup();
    Some(after)
}

/// Makes the units of an entry; the last of them, or none where it is pg_restore's.
fn take(
    entry: &TocEntry,
    (after, later): (&[usize], bool),
    plain: &BTreeSet<Table>,
    data_of: &mut BTreeMap<Table, i32>,
    units: &mut Vec<Unit>,
) -> Option<usize> {
    let mut push = |task: Task, name: &str, data: i32, after: Vec<usize>, locks: Vec<(Table, Lock)>, share: u64| {
        let (dump_id, tablespace, name) = (entry.dump_id, entry.tablespace.clone(), name.to_owned());
        units.push(Unit { dump_id, data, name, task, tablespace, after, locks, share, chain: 0 });
        units.len() - 1
    };
    if entry.is_copy() {
        let table = (entry.namespace.clone()?, entry.tag.clone());
        let statement = entry.copy_statement.clone().filter(|_| plain.contains(&table))?;
        data_of.insert(table, entry.dump_id);
        // Nobody else works on a table before its rows are there.
        return Some(push(Task::Copy { statement }, &entry.name(), entry.dump_id, after.to_vec(), Vec::new(), 100));
    }
    if entry.section != Section::PostData {
        return None;
    }
    let run = |sql: String, what: What| Task::Run { sql, what };
    let after = after.to_vec();
    match Ddl::parse(entry.definition.as_deref()?)? {
        Ddl::Index { table, sql } => {
            let data = *data_of.get(&table)?;
            Some(push(run(sql, What::Index), &entry.tag, data, after, vec![(table, Lock::Share)], INDEX))
        }
        Ddl::Unique { table, build, attach } => {
            let data = *data_of.get(&table)?;
            let name = entry.tag.rsplit(' ').next().unwrap_or(&entry.tag);
            let built = push(run(build, What::Index), name, data, after, vec![(table.clone(), Lock::Share)], INDEX);
            Some(push(run(attach, What::Attach), name, data, vec![built], vec![(table, Lock::AccessExclusive)], 0))
        }
        Ddl::Foreign { from, to, add, validate } => {
            let data = *data_of.get(&from)?;
            data_of.get(&to)?;
            let name = entry.tag.rsplit(' ').next().unwrap_or(&entry.tag);
            let locks = vec![(from.clone(), Lock::ShareRowExclusive), (to.clone(), Lock::ShareRowExclusive)];
            let added = push(run(add, What::Reference), name, data, after, locks, 0);
            let Some(validate) = validate.filter(|_| !later) else { return Some(added) };
            let locks = vec![(from, Lock::ShareUpdateExclusive), (to, Lock::RowShare)];
            Some(push(run(validate, What::Validate), name, data, vec![added], locks, VALIDATE))
        }
    }
}

/// Statistics of each table, once its indexes are there: those of their expressions are gathered with them. A table with
/// extended statistics, which come later, is left to the proof.
fn analyze(toc: &Toc, extended: &BTreeSet<i32>, data_of: &BTreeMap<Table, i32>, units: &mut Vec<Unit>) {
    let mut built: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (at, unit) in units.iter().enumerate() {
        if matches!(&unit.task, Task::Run { what: What::Index, .. } | Task::Copy { .. }) {
            built.entry(unit.data).or_default().push(at);
        }
    }
    for (table, data) in data_of {
        let of_table = toc.entry(*data).is_some_and(|entry| entry.dependencies.iter().any(|id| extended.contains(id)));
        if of_table {
            continue;
        }
        let after = built.remove(data).unwrap_or_default();
        let quoted = super::super::catalogue::quoted(&table.0, &table.1);
        units.push(Unit {
            dump_id: *data,
            data: *data,
            name: format!("{}.{}", table.0, table.1),
            task: Task::Run { sql: format!("ANALYZE {quoted}"), what: What::Analyze },
            tablespace: None,
            after,
            locks: vec![(table.clone(), Lock::ShareUpdateExclusive)],
            share: ANALYZE,
            chain: 0,
        });
    }
}

/// What waits for a unit weighs on it, so that long ways begin early.
fn chain(units: &mut [Unit]) {
    for at in (0..units.len()).rev() {
        let Some(unit) = units.get_mut(at) else { continue };
        unit.chain += unit.share;
        let (chain, after) = (unit.chain, unit.after.clone());
        for earlier in after {
            if let Some(earlier) = units.get_mut(earlier) {
                // They may run beside each other, so the data's chain is all that follows from it.
                earlier.chain += chain;
            }
        }
    }
}
