//! The dumps that there are, as they are looked at: filtered and sorted. However many there are, a key and a frame cost the
//! same: what takes long is a [`Ranking`], which the loop has done elsewhere.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use jiff::Timestamp;

use crate::incident::{Listing, SnapshotRow};

use super::fuzzy::Fuzzy;
use super::msg::Msg;

/// A ranking of so few is done at once.
const FEW: usize = 500;
/// Rows between two looks at whether a ranking is still wanted.
const BREATH: usize = 512;

/// In which order dumps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    /// Whatever matches the filter best comes first.
    Match,
    /// The newest first, with the onset among them.
    #[default]
    Time,
    /// The largest first.
    Size,
    /// What can be restored first, then reason by reason.
    Verdict,
}

impl Sort {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Match => "best match first",
            Self::Time => "newest first",
            Self::Size => "largest first",
            Self::Verdict => "by verdict",
        }
    }
}

/// What takes time with many dumps: which of them pass a filter, and in which order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// Tells it from those before it, which nobody waits for any more.
    pub(super) number: u64,
    rows: Arc<Vec<SnapshotRow>>,
    filter: String,
    sort: Sort,
}

impl Ranking {
    /// Ranks, and gives the message that says so.
    #[must_use]
    pub fn answer(&self) -> Msg {
        Msg::Ranked(self.number, self.run(&|| true).unwrap_or_default())
    }

    /// The places of the rows to show, in order; none where `wanted` says that nobody waits for it any more.
    pub(super) fn run(&self, wanted: &dyn Fn() -> bool) -> Option<Vec<u32>> {
        let mut fuzzy = Fuzzy::new(&self.filter);
        let mut found: Vec<(u32, u32)> = Vec::new();
        for (at, row) in (0_u32..).zip(self.rows.iter()) {
            if (at as usize).is_multiple_of(BREATH) && !wanted() {
                return None;
            }
            let score = if self.filter.is_empty() { Some(0) } else { fuzzy.score(&haystack(row)) };
            found.extend(score.map(|score| (at, score)));
        }
        let row = |at: u32| self.rows.get(at as usize);
        match self.sort {
            Sort::Match => found.sort_by_key(|(_, score)| std::cmp::Reverse(*score)),
            Sort::Time => {}
            Sort::Size => found.sort_by_key(|(at, _)| std::cmp::Reverse(row(*at).map(|row| row.size))),
            Sort::Verdict => {
                let kind = |at: u32| row(at).map(|row| (!row.eligible, !row.proposed, row.verdict.as_str()));
                found.sort_by(|a, b| kind(a.0).cmp(&kind(b.0)));
            }
        }
        Some(found.into_iter().map(|(at, _)| at).collect())
    }
}

/// What a filter looks at: everything that a row shows, and the key.
pub(super) fn haystack(row: &SnapshotRow) -> String {
    let class = row.storage_class.as_deref().unwrap_or_default();
    format!("{} {} {} {class}", row.taken_at.strftime("%m-%d %H:%M"), row.verdict, row.key)
}

/// Rows in another order than that of the listing, or only some of them.
#[derive(Debug)]
struct Order {
    rows: Vec<u32>,
    /// Where each row of the listing stands in that order.
    places: Vec<Option<u32>>,
}

/// The dumps.
#[derive(Debug, Default)]
pub(super) struct Dumps {
    /// The listing without its rows.
    listing: Option<Listing>,
    rows: Arc<Vec<SnapshotRow>>,
    /// Rows by the hash of their key.
    by_key: HashMap<u64, u32>,
    hasher: RandomState,
    eligible: usize,
    proposed: Option<usize>,
    order: Option<Order>,
    filter: String,
    sort: Sort,
    /// The last ranking that was asked for, and the last that came.
    asked: u64,
    came: u64,
}

impl Dumps {
    /// Takes a page. Gives the listing's number and how many of its rows are there where more must be asked for.
    pub(super) fn take(&mut self, mut page: Listing) -> Option<(u64, usize)> {
        let rows = std::mem::take(&mut page.rows);
        if page.from == 0 {
            self.rows = Arc::default();
            self.by_key.clear();
            self.eligible = 0;
            self.proposed = None;
            self.order = None;
            self.listing = Some(page);
        } else if self.listing.as_ref().is_none_or(|known| known.number != page.number) || page.from != self.rows.len()
        {
            return None;
        }
        let all = Arc::make_mut(&mut self.rows);
        for row in rows {
            let at = all.len();
            self.eligible += usize::from(row.eligible);
            if row.proposed {
                self.proposed = Some(at);
            }
            self.by_key.insert(self.hasher.hash_one(&row.key), u32::try_from(at).unwrap_or(u32::MAX));
            all.push(row);
        }
        self.missing()
    }

    /// The listing's number and how many rows of it are there, where that is not all.
    pub(super) fn missing(&self) -> Option<(u64, usize)> {
        let listing = self.listing.as_ref().filter(|listing| self.rows.len() < listing.count)?;
        Some((listing.number, self.rows.len()))
    }

    /// Something was listed.
    pub(super) fn is_listed(&self) -> bool {
        self.listing.is_some()
    }

    /// `s3://bucket/prefix`.
    pub(super) fn place(&self) -> &str {
        self.listing.as_ref().map_or("", |listing| listing.place.as_str())
    }

    /// The onset that they were judged against.
    pub(super) fn onset(&self) -> Option<Timestamp> {
        self.listing.as_ref()?.onset
    }

    /// All that there are, listed or on their way.
    pub(super) fn count(&self) -> usize {
        self.listing.as_ref().map_or(0, |listing| listing.count)
    }

    pub(super) fn eligible(&self) -> usize {
        self.eligible
    }

    pub(super) fn get(&self, row: usize) -> Option<&SnapshotRow> {
        self.rows.get(row)
    }

    pub(super) fn find(&self, key: &str) -> Option<usize> {
        let at = usize::try_from(*self.by_key.get(&self.hasher.hash_one(key))?).ok()?;
        // Two keys may share a hash; then a long look is better than a wrong row.
        if self.rows.get(at).is_some_and(|row| row.key == key) {
            return Some(at);
        }
        self.rows.iter().position(|row| row.key == key)
    }

    pub(super) fn proposed(&self) -> Option<usize> {
        self.proposed
    }

    /// How many are shown.
    pub(super) fn shown(&self) -> usize {
        self.order.as_ref().map_or(self.rows.len(), |order| order.rows.len())
    }

    /// The row at a place of what is shown.
    pub(super) fn at(&self, place: usize) -> Option<usize> {
        match &self.order {
            None => (place < self.rows.len()).then_some(place),
            Some(order) => order.rows.get(place).and_then(|row| usize::try_from(*row).ok()),
        }
    }

    /// Where a row is shown.
    pub(super) fn place_of(&self, row: usize) -> Option<usize> {
        match &self.order {
            None => (row < self.rows.len()).then_some(row),
            Some(order) => usize::try_from((*order.places.get(row)?)?).ok(),
        }
    }

    /// How many of those shown are not older than this, where they are shown by time.
    pub(super) fn since(&self, onset: Timestamp) -> Option<usize> {
        let later = |row: usize| self.rows.get(row).is_some_and(|row| row.taken_at >= onset);
        match &self.order {
            _ if self.sort != Sort::Time => None,
            None => Some(self.rows.partition_point(|row| row.taken_at >= onset)),
            Some(order) => Some(order.rows.partition_point(|row| usize::try_from(*row).is_ok_and(later))),
        }
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn sort(&self) -> Sort {
        self.sort
    }

    /// A ranking is on its way.
    pub(super) fn is_ranking(&self) -> bool {
        self.came < self.asked
    }

    /// Shows only what matches.
    pub(super) fn filter_by(&mut self, filter: &str) -> Option<Ranking> {
        match (self.filter.is_empty(), filter.is_empty()) {
            (true, false) => self.sort = Sort::Match,
            (false, true) if self.sort == Sort::Match => self.sort = Sort::Time,
            _ => {}
        }
        filter.clone_into(&mut self.filter);
        self.rank()
    }

    /// The next order.
    pub(super) fn sort_on(&mut self) -> Option<Ranking> {
        self.sort = match self.sort {
            Sort::Match => Sort::Time,
            Sort::Time => Sort::Size,
            Sort::Size => Sort::Verdict,
            Sort::Verdict if self.filter.is_empty() => Sort::Time,
            Sort::Verdict => Sort::Match,
        };
        self.rank()
    }

    /// Sees to the order of what is shown: at once where that is quick, else by what is given back.
    pub(super) fn rank(&mut self) -> Option<Ranking> {
        self.asked += 1;
        if self.filter.is_empty() && self.sort == Sort::Time {
            self.came = self.asked;
            self.order = None;
            return None;
        }
        let (rows, filter) = (Arc::clone(&self.rows), self.filter.clone());
        let ranking = Ranking { number: self.asked, rows, filter, sort: self.sort };
        if self.rows.len() > FEW {
            return Some(ranking);
        }
        if let Some(rows) = ranking.run(&|| true) {
            self.ranked(ranking.number, rows);
        }
        None
    }

    /// A ranking is done. One that nobody waits for any more is dropped.
    pub(super) fn ranked(&mut self, number: u64, rows: Vec<u32>) {
        if number != self.asked {
            return;
        }
        self.came = number;
        let mut places = vec![None; self.rows.len()];
        for (place, row) in (0_u32..).zip(&rows) {
            if let Some(known) = places.get_mut(*row as usize) {
                *known = Some(place);
            }
        }
        self.order = Some(Order { rows, places });
    }
}
