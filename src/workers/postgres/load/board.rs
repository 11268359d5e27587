//! Who does what next: units whose turn has come, the longest way first, all lanes busy to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::archive::Span;

use super::ddl::Table;
use super::feed::Feed;
use super::units::{Lock, Task, Unit, What};

/// Rows of fewer bytes of archive are loaded by one session: another would take longer to begin than it could help.
const WORTH_JOINING: u64 = 2 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
}

/// What a lane is given.
pub(super) enum Next {
    /// To begin a unit; with how many more workers an index may be built, for lanes that would be idle.
    Begin(usize, u32),
    /// To help loading a table.
    Join(usize, Arc<Feed>),
    /// Nothing for now.
    Wait,
    /// Nothing any more.
    Over,
}

/// The state of all units.
pub(super) struct Board {
    units: Vec<Unit>,
    states: Vec<State>,
    /// How many units each still waits for, and which wait for it.
    waits: Vec<usize>,
    followers: Vec<Vec<usize>>,
    /// The unit that loads the data of an entry.
    copies: BTreeMap<i32, usize>,
    /// Units whose turn has come but for locks, by their urgency.
    ready: BTreeSet<(u64, usize)>,
    /// Units that are not done.
    left: usize,
    /// Where the data lies, as far as that is known.
    spans: BTreeMap<i32, Span>,
    /// Tables being loaded: their feed, the lanes on it, and the rows that were written.
    feeds: BTreeMap<usize, Loading>,
    held: Vec<(usize, Table, Lock)>,
    busy: u32,
    lanes: u32,
    /// When a unit ended or a row was loaded last.
    moved: Instant,
    seen: u64,
    /// When the last row was loaded.
    loaded: Option<Instant>,
    /// Of an index that is being built, how much is done in thousandths.
    built: BTreeMap<usize, u64>,
    /// What pg_restore does when all units are done.
    rest: Rest,
}

/// What is left to pg_restore, weighed as units are.
#[derive(Debug, Default)]
struct Rest {
    done: u64,
    total: u64,
    label: String,
}

struct Loading {
    feed: Arc<Feed>,
    lanes: u64,
    rows: u64,
}

impl Board {
    pub(super) fn new(units: Vec<Unit>, spans: &[Span], lanes: u32) -> Self {
        let waits = units.iter().map(|unit| unit.after.len()).collect();
        let mut followers = vec![Vec::new(); units.len()];
        for (at, unit) in units.iter().enumerate() {
            for earlier in &unit.after {
                if let Some(followers) = followers.get_mut(*earlier) {
                    followers.push(at);
                }
            }
        }
        let copies = units.iter().enumerate().filter(|(_, unit)| matches!(unit.task, Task::Copy { .. }));
        let mut board = Self {
            copies: copies.map(|(at, unit)| (unit.data, at)).collect(),
            states: vec![State::Waiting; units.len()],
            left: units.len(),
            units,
            waits,
            followers,
            ready: BTreeSet::new(),
            spans: spans.iter().map(|span| (span.dump_id, *span)).collect(),
            feeds: BTreeMap::new(),
            held: Vec::new(),
            busy: 0,
            lanes,
            moved: Instant::now(),
            seen: 0,
            loaded: None,
            built: BTreeMap::new(),
            rest: Rest::default(),
        };
        for at in 0..board.units.len() {
            board.look(at);
        }
        board
    }

    /// Puts a unit among those whose turn has come, if it has.
    fn look(&mut self, at: usize) {
        let Some(unit) = self.units.get(at) else { return };
        let waits = self.states.get(at) != Some(&State::Waiting) || self.waits.get(at) != Some(&0);
        if waits || (matches!(unit.task, Task::Copy { .. }) && !self.spans.contains_key(&unit.data)) {
            return;
        }
        self.ready.insert((self.urgency(at), at));
    }

    /// How much is left to pg_restore at the end.
    pub(super) fn rest_weighs(&mut self, total: u64) {
        self.rest.total = total;
    }

    /// How far pg_restore is with it.
    pub(super) fn rest_is(&mut self, done: u64, label: String) {
        self.rest.done = done.min(self.rest.total);
        self.rest.label = label;
        self.moved = Instant::now();
    }

    pub(super) fn unit(&self, at: usize) -> Option<&Unit> {
        self.units.get(at)
    }

    pub(super) fn span(&self, unit: usize) -> Option<Span> {
        self.spans.get(&self.units.get(unit)?.data).copied()
    }

    /// A data block was found in an archive that does not say where they are.
    pub(super) fn found(&mut self, span: Span) {
        self.spans.insert(span.dump_id, span);
        if let Some(at) = self.copies.get(&span.dump_id) {
            self.look(*at);
        }
    }

    /// What a free lane does now. It counts as busy from here on, until [`Board::left`].
    pub(super) fn next(&mut self) -> Next {
        if self.left == 0 {
            return Next::Over;
        }
        let ready = self.first_free();
        let join = self
            .feeds
            .iter()
            .filter(|(_, loading)| loading.lanes > 0 && !loading.feed.ended() && loading.feed.left() > WORTH_JOINING)
            .map(|(at, loading)| (self.weight(*at, loading.feed.left()) / (loading.lanes + 1), *at))
            .max();
        match (ready, join) {
            (Some(unit), Some((share, _))) if self.urgency(unit) >= share => self.begin(unit),
            (Some(unit), None) => self.begin(unit),
            (_, Some((_, unit))) => match self.feeds.get_mut(&unit) {
                Some(loading) => {
                    loading.lanes += 1;
                    self.busy += 1;
                    Next::Join(unit, Arc::clone(&loading.feed))
                }
                None => Next::Wait,
            },
            (None, None) => Next::Wait,
        }
    }

    fn begin(&mut self, at: usize) -> Next {
        if let Some(state) = self.states.get_mut(at) {
            *state = State::Running;
        }
        self.ready.remove(&(self.urgency(at), at));
        self.busy += 1;
        let locks = self.units.get(at).map(|unit| unit.locks.clone()).unwrap_or_default();
        self.held.extend(locks.into_iter().map(|(table, lock)| (at, table, lock)));
        let idle = if self.first_free().is_some() { 0 } else { self.lanes.saturating_sub(self.busy) };
        Next::Begin(at, idle)
    }

    /// The first lane on a table shares its feed.
    pub(super) fn feeds(&mut self, unit: usize, feed: &Arc<Feed>) {
        self.feeds.insert(unit, Loading { feed: Arc::clone(feed), lanes: 1, rows: 0 });
    }

    /// The most urgent of those whose turn has come, that waits for no lock of what runs.
    fn first_free(&self) -> Option<usize> {
        let free = |at: &usize| {
            let Some(unit) = self.units.get(*at) else { return false };
            !unit
                .locks
                .iter()
                .any(|(table, lock)| self.held.iter().any(|(_, other, held)| other == table && lock.conflicts(*held)))
        };
        self.ready.iter().rev().map(|(_, at)| *at).find(free)
    }

    /// What takes no time and lets others begin goes before everything; then the longest way.
    fn urgency(&self, at: usize) -> u64 {
        let Some(unit) = self.units.get(at) else { return 0 };
        match unit.task {
            Task::Run { what: What::Attach | What::Reference, .. } => u64::MAX,
            _ => self.weight(at, self.spans.get(&unit.data).map_or(0, |span| span.len)),
        }
    }

    fn weight(&self, at: usize, bytes: u64) -> u64 {
        self.units.get(at).map_or(0, |unit| (bytes / 100 + 1).saturating_mul(unit.chain))
    }

    /// A lane is through with its unit. For a loaded table: how many rows this lane wrote; when it was the last, all of
    /// them, to be compared with those that were read.
    pub(super) fn left(&mut self, at: usize, wrote: u64) -> Option<(u64, Arc<Feed>)> {
        self.busy = self.busy.saturating_sub(1);
        self.moved = Instant::now();
        if let Some(loading) = self.feeds.get_mut(&at) {
            loading.rows += wrote;
            loading.lanes -= 1;
            if loading.lanes > 0 {
                return None;
            }
        }
        if let Some(state) = self.states.get_mut(at) {
            *state = State::Done;
        }
        self.left = self.left.saturating_sub(1);
        for follower in self.followers.get(at).cloned().unwrap_or_default() {
            if let Some(waits) = self.waits.get_mut(follower) {
                *waits = waits.saturating_sub(1);
            }
            self.look(follower);
        }
        self.held.retain(|(unit, ..)| *unit != at);
        self.built.remove(&at);
        let loaded = self.feeds.remove(&at)?;
        self.loaded = Some(self.moved);
        Some((loaded.rows, loaded.feed))
    }

    /// The server says how far an index is.
    pub(super) fn builds(&mut self, at: usize, thousandths: u64) {
        if self.states.get(at) == Some(&State::Running) {
            self.built.insert(at, thousandths);
        }
    }

    /// When the last row was loaded.
    pub(super) fn loaded(&self) -> Option<Instant> {
        self.loaded
    }

    /// How much of the weight is done, and of how much; and what is being done.
    pub(super) fn standing(&mut self) -> (u64, u64, String, u64) {
        let bytes = |unit: &Unit| self.spans.get(&unit.data).map_or(0, |span| span.len);
        let (mut done, mut total) = (self.rest.done, self.rest.total);
        for (at, unit) in self.units.iter().enumerate() {
            let whole = bytes(unit) * unit.share / 100;
            total += whole;
            done += match self.states.get(at) {
                Some(State::Done) => whole,
                Some(State::Running) => match self.feeds.get(&at) {
                    Some(loading) => bytes(unit).saturating_sub(loading.feed.left()) * unit.share / 100,
                    None => whole * self.built.get(&at).copied().unwrap_or(0).min(1000) / 1000,
                },
                _ => 0,
            };
        }
        if done != self.seen {
            self.seen = done;
            self.moved = Instant::now();
        }
        let label = if self.rest.label.is_empty() { self.label() } else { self.rest.label.clone() };
        (done, total, label, self.moved.elapsed().as_secs())
    }

    /// The heaviest of what runs.
    fn label(&self) -> String {
        let running = (0..self.units.len()).filter(|at| self.states.get(*at) == Some(&State::Running));
        let heaviest = running.max_by_key(|at| {
            self.units.get(*at).map_or(0, |unit| self.spans.get(&unit.data).map_or(0, |span| span.len) * unit.share)
        });
        heaviest.and_then(|at| self.units.get(at)).map_or_else(String::new, |unit| match &unit.task {
            Task::Copy { .. } => format!("load {}", unit.name),
            Task::Run { what: What::Index, .. } => format!("build {}", unit.name),
            Task::Run { what: What::Attach | What::Reference, .. } => format!("add {}", unit.name),
            Task::Run { what: What::Validate, .. } => format!("validate {}", unit.name),
            Task::Run { what: What::Analyze, .. } => format!("analyze {}", unit.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> Table {
        ("app".to_owned(), name.to_owned())
    }

    fn unit(data: i32, task: Task, after: &[usize], locks: &[(&str, Lock)], chain: u64) -> Unit {
        let locks = locks.iter().map(|(name, lock)| (table(name), *lock)).collect();
        Unit {
            dump_id: data,
            data,
            name: String::new(),
            task,
            tablespace: None,
            after: after.to_vec(),
            locks,
            share: 100,
            chain,
        }
    }

    fn copy() -> Task {
        Task::Copy { statement: String::new() }
    }

    fn run(what: What) -> Task {
        Task::Run { sql: String::new(), what }
    }

    fn span(dump_id: i32, len: u64) -> Span {
        Span { dump_id, start: 0, len }
    }

    fn begun(board: &mut Board) -> Option<(usize, u32)> {
        match board.next() {
            Next::Begin(at, workers) => Some((at, workers)),
            _ => None,
        }
    }

    #[test]
    fn the_longest_way_begins_first_and_what_waits_waits() {
        let units = vec![
            unit(1, copy(), &[], &[], 100),
            unit(2, copy(), &[], &[], 100),
            unit(2, run(What::Index), &[1], &[("big", Lock::Share)], 70),
        ];
        let mut board = Board::new(units, &[span(1, 1000), span(2, 100_000)], 2);
        assert_eq!(begun(&mut board).map(|found| found.0), Some(1));
        assert_eq!(begun(&mut board).map(|found| found.0), Some(0));
        assert!(matches!(board.next(), Next::Wait), "the index waits for its rows");
        board.left(0, 0);
        assert!(matches!(board.next(), Next::Wait));
        board.left(1, 0);
        assert_eq!(begun(&mut board), Some((2, 1)), "the last index takes the lane that would be idle");
        board.left(2, 0);
        assert!(matches!(board.next(), Next::Over));
    }

    #[test]
    fn statements_that_would_wait_for_each_other_in_the_server_wait_here() {
        let units = vec![
            unit(1, run(What::Index), &[], &[("t", Lock::Share)], 70),
            unit(1, run(What::Index), &[], &[("t", Lock::Share)], 70),
            unit(1, run(What::Attach), &[], &[("t", Lock::AccessExclusive)], 0),
            unit(1, run(What::Validate), &[], &[("u", Lock::ShareUpdateExclusive), ("t", Lock::RowShare)], 40),
        ];
        let mut board = Board::new(units, &[span(1, 1000)], 8);
        assert_eq!(begun(&mut board).map(|found| found.0), Some(2), "what takes no time goes first");
        assert!(matches!(board.next(), Next::Wait));
        board.left(2, 0);
        let mut together: Vec<usize> = (0..3).filter_map(|_| begun(&mut board).map(|found| found.0)).collect();
        together.sort_unstable();
        assert_eq!(together, [0, 1, 3], "indexes of one table, and a validation that only looks at it, go together");
    }

    #[test]
    fn data_that_is_not_found_yet_waits_until_it_is() {
        let mut board = Board::new(vec![unit(1, copy(), &[], &[], 100)], &[], 1);
        assert!(matches!(board.next(), Next::Wait));
        board.found(span(1, 10));
        assert_eq!(begun(&mut board).map(|found| found.0), Some(0));
    }

    #[test]
    fn locks_conflict_as_in_the_manual() {
        use Lock::{AccessExclusive, RowShare, Share, ShareRowExclusive, ShareUpdateExclusive};
        for (one, other, conflict) in [
            (Share, Share, false),
            (Share, ShareUpdateExclusive, true),
            (Share, ShareRowExclusive, true),
            (RowShare, Share, false),
            (RowShare, ShareRowExclusive, false),
            (RowShare, AccessExclusive, true),
            (ShareUpdateExclusive, ShareUpdateExclusive, true),
            (ShareRowExclusive, ShareRowExclusive, true),
            (AccessExclusive, Share, true),
        ] {
            assert_eq!(one.conflicts(other), conflict, "{one:?} {other:?}");
            assert_eq!(other.conflicts(one), conflict, "{other:?} {one:?}");
        }
    }
}
