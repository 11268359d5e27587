//! How far pg_restore is, from what it says with `--verbose`, weighed in bytes of the archive.
//!
//! With jobs it names every entry of the table of contents (`processing item 3507 TABLE …`, `finished item 3507 …`);
//! without, only what it does (`creating TABLE "public.users"`, `processing data for table "public.users"`), where each
//! thing ends when the next begins.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::archive::{Span, Toc, TocEntry};

/// What an entry weighs that is neither data nor made of it.
const SMALL: u64 = 512;
/// What is made of a table's rows, as a share of its data in hundredths: measured on tables of mixed columns.
pub(super) const INDEX: u64 = 70;
pub(super) const VALIDATE: u64 = 40;
/// A materialized view's query may read anything; a guess, in hundredths of all data.
const VIEW: u64 = 5;

/// What each of these entries weighs; `spans` says where the archive's data lies.
pub(super) fn weights(toc: &Toc, spans: &[Span], wanted: impl Fn(&TocEntry) -> bool) -> BTreeMap<i32, u64> {
    let lengths: HashMap<i32, u64> = spans.iter().map(|span| (span.dump_id, span.len)).collect();
    let all: u64 = lengths.values().sum();
    let of_table = |entry: &TocEntry| {
        let tables = entry.dependencies.iter().filter_map(|table| toc.data_of(*table));
        tables.filter_map(|data| lengths.get(&data.dump_id)).max().copied().unwrap_or(0)
    };
    let weight = |entry: &TocEntry| match entry.desc.as_str() {
        "INDEX" | "CONSTRAINT" => of_table(entry) * INDEX / 100,
        "FK CONSTRAINT" => of_table(entry) * VALIDATE / 100,
        "MATERIALIZED VIEW DATA" => all * VIEW / 100,
        _ => lengths.get(&entry.dump_id).copied().unwrap_or(0),
    };
    let entries = toc.entries.iter().filter(|entry| wanted(entry));
    entries.map(|entry| (entry.dump_id, weight(entry).max(SMALL))).collect()
}

/// Counts what is done.
#[derive(Debug)]
pub(super) struct Progress {
    jobs: bool,
    weights: BTreeMap<i32, u64>,
    /// Entries by the words in which pg_restore without jobs tells of them, in the order of the archive.
    names: HashMap<String, Vec<i32>>,
    total: u64,
    done: u64,
    finished: BTreeSet<i32>,
    /// Without jobs: what is being done.
    current: Option<i32>,
    touched: bool,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) label: String,
    /// In bytes of the archive, as [`weights`] has them.
    pub(super) done: u64,
    pub(super) total: u64,
}

impl Progress {
    /// Of entries of these weights, restored with or without jobs.
    pub(super) fn new(toc: &Toc, weights: BTreeMap<i32, u64>, jobs: bool) -> Self {
        let mut names: HashMap<String, Vec<i32>> = HashMap::new();
        for entry in toc.entries.iter().rev().filter(|entry| weights.contains_key(&entry.dump_id)) {
            names.entry(words(entry)).or_default().push(entry.dump_id);
        }
        let total = weights.values().sum();
        let (finished, current) = (BTreeSet::new(), None);
        Self { jobs, weights, names, total, done: 0, finished, current, touched: false }
    }

    /// Whether a line tells of work on the database.
    pub(super) fn is_work(line: &str) -> bool {
        let works = [
            "dropping ",
            "creating ",
            "processing data for ",
            "executing ",
            "launching item ",
            "processing item ",
            "finished item ",
        ];
        line.strip_prefix("pg_restore: ").is_some_and(|said| works.iter().any(|work| said.starts_with(work)))
    }

    /// Takes a line; gives how far it is where the line says something about that.
    pub(super) fn line(&mut self, line: &str) -> Option<Step> {
        self.touched |= Self::is_work(line);
        let said = line.strip_prefix("pg_restore: ")?;
        if let Some(dropped) = said.strip_prefix("dropping ") {
            return Some(self.step(format!("drop {dropped}")));
        }
        if self.jobs {
            let launched = said.strip_prefix("launching item ").map(|item| (item, false));
            let done = || {
                said.strip_prefix("finished item ")
                    .or_else(|| said.strip_prefix("processing item "))
                    .map(|item| (item, true))
            };
            let (item, done) = launched.or_else(done)?;
            let (number, name) = item.split_once(' ')?;
            if done {
                self.finish(number.parse().ok()?);
            }
            return Some(self.step(name.to_owned()));
        }
        let name = said
            .strip_prefix("creating ")
            .or_else(|| said.strip_prefix("processing data for "))
            .or_else(|| said.strip_prefix("executing "))?;
        if let Some(before) = self.current.take() {
            self.finish(before);
        }
        self.current = self.names.get_mut(name).and_then(Vec::pop);
        Some(self.step(name.to_owned()))
    }

    /// It was seen to begin its work on the database.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    fn finish(&mut self, dump_id: i32) {
        if self.finished.insert(dump_id) {
            self.done += self.weights.get(&dump_id).copied().unwrap_or(0);
        }
    }

    fn step(&self, label: String) -> Step {
        Step { label, done: self.done, total: self.total }
    }
}

/// What pg_restore without jobs says of an entry, behind the verb.
fn words(entry: &TocEntry) -> String {
    let name = entry
        .namespace
        .as_ref()
        .filter(|schema| !schema.is_empty())
        .map_or_else(|| entry.tag.clone(), |schema| format!("{schema}.{}", entry.tag));
    match entry.desc.as_str() {
        "TABLE DATA" => format!("table \"{name}\""),
        desc => format!("{desc} \"{name}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toc() -> Toc {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/archives/pg15-gzip.dump");
        Toc::parse(&std::fs::read(path).expect("the fixture")).expect("sound")
    }

    fn progress(toc: &Toc, jobs: bool) -> Progress {
        let weights = weights(toc, &toc.spans(100_000), |entry| !entry.desc.starts_with("ENCODING"));
        Progress::new(toc, weights, jobs)
    }

    #[test]
    fn with_jobs_finished_items_count_once() {
        let toc = toc();
        let mut progress = progress(&toc, true);
        assert_eq!(progress.line("pg_restore: connecting to database for restore"), None);
        assert!(!progress.touched());
        let data = toc.entries.iter().find(|entry| entry.desc == "TABLE DATA").expect("a table");
        let weight = progress.weights[&data.dump_id];
        let id = data.dump_id;
        for (line, done) in [
            ("pg_restore: dropping TABLE users".to_owned(), 0),
            (format!("pg_restore: launching item {id} TABLE DATA users"), 0),
            (format!("pg_restore: finished item {id} TABLE DATA users"), weight),
            (format!("pg_restore: finished item {id} TABLE DATA users"), weight),
        ] {
            assert_eq!(progress.line(&line).map(|step| step.done), Some(done), "{line}");
        }
        assert!(progress.touched());
    }

    #[test]
    fn without_jobs_each_thing_ends_when_the_next_begins() {
        let toc = toc();
        let mut progress = progress(&toc, false);
        let mut last = 0;
        let mut told = 0;
        let counted: Vec<&TocEntry> =
            toc.entries.iter().filter(|entry| progress.weights.contains_key(&entry.dump_id)).collect();
        for entry in counted {
            let verb = if entry.desc == "TABLE DATA" { "processing data for" } else { "creating" };
            let step = progress.line(&format!("pg_restore: {verb} {}", words(entry))).expect("a step");
            assert!(step.done >= last && step.done < step.total, "{step:?}");
            last = step.done;
            told += 1;
        }
        assert_eq!(progress.weights.len(), told);
        let left = progress.total - progress.done;
        assert_eq!(progress.current.and_then(|id| progress.weights.get(&id)), Some(&left), "all but the last are done");
    }

    #[test]
    fn what_is_made_of_rows_weighs_with_them() {
        let toc = toc();
        let spans = toc.spans(1_000_000);
        let weights = weights(&toc, &spans, |_| true);
        let of_table = |span: &&Span| toc.entry(span.dump_id).is_some_and(|entry| entry.desc == "TABLE DATA");
        let largest = spans.iter().filter(of_table).max_by_key(|span| span.len).expect("data");
        let table = *toc.entry(largest.dump_id).expect("its entry").dependencies.first().expect("its table");
        let indexes = toc.entries.iter().filter(|entry| entry.desc == "INDEX" && entry.dependencies.contains(&table));
        for index in indexes {
            assert_eq!(weights[&index.dump_id], largest.len * INDEX / 100);
        }
        assert_eq!(weights[&largest.dump_id], largest.len);
    }
}
