//! How far pg_restore is, from what it says with `--verbose`.
//!
//! With jobs it names every entry of the table of contents (`processing item 3507 TABLE …`, `finished item 3507 …`);
//! without, only what it does (`creating TABLE "public.users"`, `processing data for table "public.users"`).

use std::collections::BTreeSet;

use crate::archive::{Section, Toc};

/// Counts entries.
#[derive(Debug)]
pub(super) struct Progress {
    jobs: bool,
    total: u64,
    finished: BTreeSet<i32>,
    counted: u64,
    touched: bool,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) label: String,
    pub(super) done: u64,
    pub(super) total: u64,
}

impl Progress {
    pub(super) fn new(toc: &Toc, jobs: bool) -> Self {
        let restored = toc.entries.iter().filter(|entry| entry.section != Section::None || entry.definition.is_some());
        let total = restored
            .filter(|entry| !matches!(entry.desc.as_str(), "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE"))
            .count();
        Self { jobs, total: total as u64, finished: BTreeSet::new(), counted: 0, touched: false }
    }

    /// Takes a line; gives how far it is where the line says something about that.
    pub(super) fn line(&mut self, line: &str) -> Option<Step> {
        let said = line.strip_prefix("pg_restore: ")?;
        if let Some(dropped) = said.strip_prefix("dropping ") {
            self.touched = true;
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
            self.touched = true;
            let (number, name) = item.split_once(' ')?;
            if done {
                self.finished.insert(number.parse().ok()?);
            }
            return Some(self.step(name.to_owned()));
        }
        let name = said
            .strip_prefix("creating ")
            .or_else(|| said.strip_prefix("processing data for "))
            .or_else(|| said.strip_prefix("executing "))?;
        self.touched = true;
        self.counted += 1;
        Some(self.step(name.to_owned()))
    }

    /// It was seen to begin its work on the database.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    fn step(&self, label: String) -> Step {
        let done = if self.jobs { self.finished.len() as u64 } else { self.counted };
        Step { label, done: done.min(self.total), total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(jobs: bool) -> Progress {
        Progress { jobs, total: 3, finished: BTreeSet::new(), counted: 0, touched: false }
    }

    #[test]
    fn with_jobs_finished_items_count_once() {
        let mut progress = progress(true);
        assert_eq!(progress.line("pg_restore: connecting to database for restore"), None);
        assert!(!progress.touched());
        for (line, done) in [
            ("pg_restore: dropping TABLE users", 0),
            ("pg_restore: processing item 215 TABLE users", 1),
            ("pg_restore: launching item 3507 TABLE DATA users", 1),
            ("pg_restore: finished item 3507 TABLE DATA users", 2),
            ("pg_restore: finished item 3507 TABLE DATA users", 2),
        ] {
            assert_eq!(progress.line(line).map(|step| step.done), Some(done), "{line}");
        }
        assert!(progress.touched());
    }

    #[test]
    fn without_jobs_what_is_said_is_counted() {
        let mut progress = progress(false);
        assert_eq!(progress.line("pg_restore: creating TABLE \"public.users\"").map(|step| step.done), Some(1));
        let data = progress.line("pg_restore: processing data for table \"public.users\"");
        assert_eq!(data, Some(Step { label: "table \"public.users\"".to_owned(), done: 2, total: 3 }));
    }
}
