//! Where the time went: each phase of the runbook on one axis from the opening to the end.

use jiff::{SignedDuration, Timestamp};

use crate::incident::State;

/// A stretch of time.
pub(super) type Stretch = (Timestamp, Timestamp);

/// One phase.
pub(super) struct Row {
    pub(super) title: String,
    /// When something of it was at work, in order and without overlaps.
    pub(super) work: Vec<Stretch>,
    /// All of that together.
    pub(super) busy: SignedDuration,
}

/// Phases over time.
pub(super) struct Chart {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) rows: Vec<Row>,
    /// When nothing was at work: people read, talked and decided.
    pub(super) idle: SignedDuration,
}

/// Where the time of a phase went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseTime {
    /// The phase; none for the time in which nothing was at work.
    pub title: Option<String>,
    /// Its work on the axis from the opening to the end: `█` for work, `░` for what lies between two pieces of it.
    pub bar: String,
    /// How long it was at work.
    pub busy: SignedDuration,
}

/// Every phase on one axis of so many columns up to now, and the time in which nothing was at work.
#[must_use]
pub fn phase_times(state: &State, now: Timestamp, columns: u16) -> Vec<PhaseTime> {
    let chart = Chart::until(state, now);
    let phase = |row: &Row| PhaseTime {
        title: Some(row.title.clone()),
        bar: chart.bar(row, i64::from(columns)),
        busy: row.busy,
    };
    let idle = PhaseTime { title: None, bar: String::new(), busy: chart.idle };
    chart.rows.iter().map(phase).chain([idle]).collect()
}

/// What a cell of a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Nothing of the phase.
    Empty,
    /// Between two pieces of work of the phase.
    Between,
    Work,
}

impl Chart {
    /// An incident that goes on ends at the last thing that is known of it, so that the same journal gives the same chart.
    pub(super) fn of(state: &State) -> Self {
        let from = state.opened_at;
        let ends = state.attempts.values().map(|attempt| attempt.finished_at.unwrap_or(attempt.started_at));
        let last = ends.chain(state.timeline.iter().map(|entry| entry.at)).max().unwrap_or(from);
        Self::until(state, last)
    }

    /// Up to this moment, or the incident's end.
    fn until(state: &State, now: Timestamp) -> Self {
        let from = state.opened_at;
        let to = state.closed_at.unwrap_or(now).max(from);
        let rows: Vec<Row> = state
            .runbook
            .phases
            .iter()
            .map(|phase| {
                let of_phase =
                    |attempt: &&crate::incident::Attempt| phase.steps.iter().any(|step| step.id == attempt.step);
                let work = joined(
                    state
                        .attempts
                        .values()
                        .filter(of_phase)
                        .map(|attempt| (attempt.started_at.min(to), attempt.finished_at.unwrap_or(to).min(to)))
                        .collect(),
                );
                Row { title: phase.title.clone(), busy: length(&work), work }
            })
            .collect();
        let all = joined(rows.iter().flat_map(|row| row.work.iter().copied()).collect());
        let idle = to.duration_since(from) - length(&all);
        Self { from, to, rows, idle }
    }

    /// The whole axis.
    pub(super) fn length(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// How far along the axis a moment lies, in `parts` of the whole.
    pub(super) fn place(&self, at: Timestamp, parts: i64) -> i64 {
        let whole = self.length().as_millis().max(1);
        let here = at.duration_since(self.from).as_millis().clamp(0, whole);
        i64::try_from(here * i128::from(parts) / whole).unwrap_or(parts)
    }

    /// A row as `columns` characters: work, what lies between two pieces of it, and nothing.
    pub(super) fn bar(&self, row: &Row, columns: i64) -> String {
        let last = columns - 1;
        let mut cells = vec![Cell::Empty; usize::try_from(columns).unwrap_or(0)];
        let mut fill = |from: i64, to: i64, with: Cell| {
            for cell in from..=to.min(last) {
                if let Some(cell) = usize::try_from(cell).ok().and_then(|at| cells.get_mut(at)) {
                    *cell = with;
                }
            }
        };
        if let (Some((first, _)), Some((_, end))) = (row.work.first(), row.work.last()) {
            fill(self.place(*first, columns).min(last), self.place(*end, columns), Cell::Between);
        }
        // The shortest piece of work is seen as well.
        for (begin, end) in &row.work {
            fill(self.place(*begin, columns).min(last), self.place(*end, columns), Cell::Work);
        }
        let glyph = |cell: &Cell| match cell {
            Cell::Empty => ' ',
            Cell::Between => '░',
            Cell::Work => '█',
        };
        cells.iter().map(glyph).collect()
    }
}

/// Stretches in order, those that touch as one.
fn joined(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::new();
    for (from, to) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn length(stretches: &[Stretch]) -> SignedDuration {
    stretches.iter().map(|(from, to)| to.duration_since(*from)).fold(SignedDuration::ZERO, |sum, one| sum + one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn row(work: Vec<Stretch>) -> Row {
        Row { title: String::new(), busy: length(&work), work }
    }

    #[test]
    fn work_is_told_from_what_lies_between_and_the_shortest_is_seen() {
        let chart = Chart { from: at(0), to: at(100), rows: Vec::new(), idle: SignedDuration::ZERO };
        assert_eq!(chart.bar(&row(vec![(at(10), at(19)), (at(50), at(50)), (at(100), at(100))]), 10), " █░░░█░░░█");
        assert_eq!(chart.bar(&row(Vec::new()), 4), "    ");
        let moment = Chart { from: at(5), to: at(5), rows: Vec::new(), idle: SignedDuration::ZERO };
        assert_eq!(moment.bar(&row(vec![(at(5), at(5))]), 3), "█  ");
    }

    #[test]
    fn work_side_by_side_counts_once() {
        let joined = joined(vec![(at(5), at(9)), (at(0), at(4)), (at(3), at(6))]);
        assert_eq!(joined, [(at(0), at(9))]);
        assert_eq!(length(&joined), SignedDuration::from_secs(9));
    }
}
