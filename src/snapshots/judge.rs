//! Which snapshots may be the restore point, and which one should be.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::taken::{Lags, Taken, lag, weigh};
use super::unfit::{Rejection, reject, unfit};
use super::{Evidence, Flag, Inspected, Listed, Reason, Snapshot, Standing, Verdict, duration_text, size_text};
use crate::archive::{ArchiveError, Header};

/// How many dumps before and after one tell its usual size.
const NEIGHBOURS: usize = 3;

/// What snapshots are judged by, besides themselves.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The major version of the pg_restore at hand.
    pub pg_restore_major: u32,
    /// The major version of the server to restore into.
    pub server_major: u32,
    /// The present.
    pub now: Timestamp,
    /// A dump smaller than this share of the median of its neighbours is rejected, and one larger by the same factor is
    /// flagged; 0.5 is a good value, 0 turns both rules off.
    pub size_tolerance: f64,
    /// The database that the dumps should be of; `None` takes any.
    pub database: Option<String>,
    /// The zone in which the dump host runs, where it is configured; `None` assumes UTC and stays suspicious of it.
    pub dump_host_zone: Option<TimeZone>,
}

impl Judge {
    pub(super) fn zone(&self) -> TimeZone {
        self.dump_host_zone.clone().unwrap_or(TimeZone::UTC)
    }
}

/// Judges every dump of a listing; the result is newest first, and of the same length.
///
/// `inspected` is keyed by [`Listed::id`]; what is absent there counts as not read yet and can be eligible, with
/// [`Flag::Unread`]: read it and judge again before relying on it. Without an `onset` nothing is the newest eligible one.
#[must_use]
pub fn judge(
    all: &[Listed],
    inspected: &BTreeMap<String, Inspected>,
    onset: Option<Timestamp>,
    cx: &Judge,
) -> Vec<Snapshot> {
    let read: Vec<Option<&Inspected>> = all.iter().map(|listed| inspected.get(&listed.id())).collect();
    let lags: Vec<Option<SignedDuration>> =
        all.iter().zip(&read).map(|(listed, found)| lag(listed, *found, cx)).collect();
    let proof = Lags::of(&lags);
    let mut cases: Vec<Case<'_>> = all
        .iter()
        .zip(read)
        .zip(&lags)
        .map(|((listed, found), lag)| {
            let found = found.filter(|found| !matches!(found.header, Err(ArchiveError::NeedMore { .. })));
            Case { listed, found, taken: weigh(listed, found, cx, proof.zone_proved_without(*lag)) }
        })
        .collect();
    cases.sort_by(|a, b| b.taken.at.cmp(&a.taken.at).then_with(|| a.listed.cmp(b.listed)));

    let mut standing = if onset.is_some() { Standing::Newest } else { Standing::Undated };
    (0..cases.len())
        .filter_map(|index| {
            let case = cases.get(index)?;
            let usual = usual_size(&cases, index, cx);
            let (flags, rejected) = case.decide(usual, onset, cx);
            let verdict = if let Some((reason, short, detail)) = rejected {
                Verdict::Rejected { reason, short, detail }
            } else {
                let notes = flags.iter().map(Flag::text).collect();
                let verdict = Verdict::Eligible { standing, notes };
                if standing == Standing::Newest {
                    standing = Standing::Older;
                }
                verdict
            };
            Some(Snapshot {
                listed: case.listed.clone(),
                taken_at: case.taken.at,
                taken_by: case.taken.by,
                taken_from: case.taken.from,
                usual,
                flags,
                verdict,
            })
        })
        .collect()
}

/// The newest eligible snapshot before the onset; `None` where there is none, or no onset is known.
#[must_use]
pub fn propose(snapshots: &[Snapshot]) -> Option<&Snapshot> {
    snapshots.iter().find(|snapshot| matches!(snapshot.verdict, Verdict::Eligible { standing: Standing::Newest, .. }))
}

/// One dump and what is known of it.
struct Case<'a> {
    listed: &'a Listed,
    found: Option<&'a Inspected>,
    taken: Taken,
}

impl Case<'_> {
    fn header(&self) -> Option<&Header> {
        self.found?.header.as_ref().ok()
    }

    /// The flags, and the first reason against it, the most fundamental one first.
    fn decide(&self, usual: Option<u64>, onset: Option<Timestamp>, cx: &Judge) -> (Vec<Flag>, Option<Rejection>) {
        let mut flags = Vec::new();
        flags.extend(self.taken.flag.clone());
        let rejected = unfit(self.listed, self.found, cx)
            .or_else(|| self.odd_size(usual, cx))
            .or_else(|| onset.and_then(|onset| self.too_late(onset, &mut flags)));
        match self.found {
            None => flags.push(Flag::Unread),
            Some(Inspected { end: None, .. }) => flags.push(Flag::EndUnverified),
            Some(_) => {}
        }
        flags.extend(self.far_larger(usual, cx));
        if let Some(header) = self.header() {
            let newer = |major: Option<u32>, than: u32| major.filter(|major| *major > than);
            flags.extend(
                newer(header.pg_dump_major(), cx.pg_restore_major).map(|pg_dump| Flag::NewerPgDump { pg_dump }),
            );
            flags.extend(newer(header.server_major(), cx.server_major).map(|server| Flag::NewerServer { server }));
        }
        if self.found.and_then(|found| found.toc.as_ref()).is_some_and(|toc| toc.inserts) {
            flags.push(Flag::Inserts);
        }
        (flags, rejected)
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of one digit is compared and shown")]
    fn odd_size(&self, usual: Option<u64>, cx: &Judge) -> Option<Rejection> {
        let usual = usual.filter(|usual| *usual > 0)?;
        let share = self.listed.size as f64 / usual as f64;
        (share < cx.size_tolerance).then(|| {
            let percent = share * 100.0;
            let digits = usize::from(percent < 10.0);
            let detail = format!(
                "It is {} long where its neighbours are about {}: most of the data is probably missing. If the database \
                 really was that small then, restore it by hand; otherwise choose another snapshot.",
                size_text(self.listed.size),
                size_text(usual)
            );
            reject(Reason::OddSize, format!("{percent:.digits$} % of usual size"), &detail)
        })
    }

    /// Too little of a dump cannot be restored from; too much of it is for a person to explain.
    #[expect(clippy::cast_precision_loss, reason = "only whether it is several times as large matters")]
    fn far_larger(&self, usual: Option<u64>, cx: &Judge) -> Option<Flag> {
        let usual = usual.filter(|usual| *usual > 0)?;
        let size = self.listed.size;
        (size as f64 * cx.size_tolerance > usual as f64).then_some(Flag::FarLarger { size, usual })
    }

    fn too_late(&self, onset: Timestamp, flags: &mut Vec<Flag>) -> Option<Rejection> {
        let Taken { at, by, from, doubtful, .. } = self.taken;
        if by <= onset {
            return None;
        }
        let lag = by.duration_since(at);
        if from == Evidence::Header && at < onset && !doubtful {
            flags.push(Flag::AcrossOnset { minutes: lag.as_mins() });
            return None;
        }
        if at >= onset && from != Evidence::FileName {
            let detail = format!(
                "It was taken {} after the onset and may hold the damage. Choose one from before it.",
                duration_text(at.duration_since(onset))
            );
            return Some(reject(Reason::AfterOnset, "taken after onset", &detail));
        }
        let after = duration_text(by.duration_since(onset));
        if from == Evidence::Header {
            let detail = format!(
                "Its header says {at}, before the onset, but its upload is dated {after} after the onset. The header does not \
                 name its time zone, and nothing proves that the dump host runs in UTC, so the data may hold the damage. If \
                 you know the host's zone, configure it; otherwise choose an older one."
            );
            return Some(reject(Reason::UnclearTime, "before or after onset?", &detail));
        }
        let detail = format!(
            "Its upload is dated {after} after the onset, and only its name tells another time ({at}). Its header would \
             decide; read it, or choose an older one."
        );
        Some(reject(Reason::UnclearTime, "uploaded late, not read", &detail))
    }
}

/// The lower median size of the dumps around `index` that are of its kind: not empty, not known to be something else,
/// and with the same ending of the name, so that checksums and manifests beside the dumps do not count. `None` with fewer
/// than two of them.
fn usual_size(cases: &[Case<'_>], index: usize, cx: &Judge) -> Option<u64> {
    let this = cases.get(index)?;
    let kind = ending(&this.listed.key);
    let comparable = |case: &&Case<'_>| {
        let foreign = match case.found.map(|found| &found.header) {
            Some(Err(_)) => true,
            Some(Ok(header)) => cx.database.is_some() && header.database != cx.database,
            None => false,
        };
        case.listed.size > 0 && !foreign && ending(&case.listed.key) == kind
    };
    let newer = cases.get(..index)?.iter().rev().filter(comparable).take(NEIGHBOURS);
    let older = cases.get(index + 1..)?.iter().filter(comparable).take(NEIGHBOURS);
    let mut sizes: Vec<u64> = newer.chain(older).map(|case| case.listed.size).collect();
    if sizes.len() < 2 {
        return None;
    }
    sizes.sort_unstable();
    sizes.get((sizes.len() - 1) / 2).copied()
}

fn ending(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}
