//! When a dump was taken, from witnesses that may disagree.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::name::zone_difference;
use super::{Evidence, Flag, Inspected, Judge, Listed, NameTime, time_in_name};
use crate::archive::Header;

/// How far two clocks that both run right may be apart, and how long a pipe takes from pg_dump's start to the
/// upload's.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// An upload that is dated this long after the header is either of a very long dump, or its header is of a zone west of
/// UTC: the nearest inhabited ones are hours away.
const UNUSUAL: SignedDuration = SignedDuration::from_hours(2);

/// What is known about a dump's time.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) at: Timestamp,
    pub(super) by: Timestamp,
    pub(super) from: Evidence,
    pub(super) flag: Option<Flag>,
    /// Whether the header may be read in the wrong zone, so that the data may be later than `at` says.
    pub(super) doubtful: bool,
}

/// Weighs the witnesses of one dump. `zone_proved` says that other dumps of the list show the header's zone to be right.
pub(super) fn weigh(listed: &Listed, inspected: Option<&Inspected>, cx: &Judge, zone_proved: bool) -> Taken {
    let by = listed.last_modified;
    let name = time_in_name(&listed.key, &cx.zone());
    let Some(header) = inspected.and_then(|found| started(found.header.as_ref().ok()?, &cx.zone())) else {
        return without_header(by, name);
    };
    if header > by {
        // Nothing is uploaded before it is made: the header's zone or a clock is wrong, and S3's is the one to trust.
        let minutes = header.duration_since(by).as_mins();
        let flag = (header.duration_since(by) > SKEW).then_some(Flag::HeaderAfterUpload { minutes });
        return Taken { at: by, by, from: Evidence::LastModified, flag, doubtful: false };
    }
    // A name that states its zone and agrees with the header proves the header's zone; so does the configuration.
    let named = name.filter(|name| name.states_zone);
    let proved = zone_proved || cx.dump_host_zone.is_some() || named.is_some_and(|name| near(name.at, header));
    let against_upload = zone_difference(header, by, SKEW).filter(|_| !proved);
    let against_name = name.and_then(|name| zone_difference(header, name.at, SKEW));
    let late = !proved && by.duration_since(header) >= UNUSUAL;
    Taken {
        at: header,
        by,
        from: Evidence::Header,
        flag: against_upload.or(against_name).map(|minutes| Flag::ZoneSuspect { minutes }),
        doubtful: late || against_upload.is_some() || (against_name.is_some() && named.is_some()),
    }
}

/// A file's name may claim any time: it gives the best guess, and `LastModified` stays the bound.
fn without_header(by: Timestamp, name: Option<NameTime>) -> Taken {
    match name {
        Some(name) if name.at <= by => Taken { at: name.at, by, from: Evidence::FileName, flag: None, doubtful: true },
        name => {
            let minutes = name.and_then(|name| zone_difference(name.at, by, SKEW));
            let flag = minutes.map(|minutes| Flag::ZoneSuspect { minutes });
            Taken { at: by, by, from: Evidence::LastModified, flag, doubtful: true }
        }
    }
}

/// How many dumps of a list were uploaded how long after their header's time.
pub(super) struct Lags {
    known: usize,
    close: usize,
}

impl Lags {
    pub(super) fn of(lags: &[Option<SignedDuration>]) -> Self {
        let known = || lags.iter().copied().flatten();
        Self { known: known().count(), close: known().filter(|lag| is_close(*lag)).count() }
    }

    /// Whether most of the dumps but the one with this lag were uploaded within minutes of their header's time, which a
    /// header read in the wrong zone cannot be.
    pub(super) fn zone_proved_without(&self, own: Option<SignedDuration>) -> bool {
        let known = self.known - usize::from(own.is_some());
        let close = self.close - usize::from(own.is_some_and(is_close));
        close > 0 && close * 2 > known
    }
}

fn is_close(lag: SignedDuration) -> bool {
    (-SKEW..SignedDuration::from_mins(14)).contains(&lag)
}

/// From a dump's header to its upload, where both are known.
pub(super) fn lag(listed: &Listed, inspected: Option<&Inspected>, cx: &Judge) -> Option<SignedDuration> {
    let header = inspected?.header.as_ref().ok()?;
    Some(listed.last_modified.duration_since(started(header, &cx.zone())?))
}

fn near(a: Timestamp, b: Timestamp) -> bool {
    a.duration_since(b).abs() <= SignedDuration::from_mins(5)
}

/// The header's wall-clock time in the dump host's zone. In the hour that comes twice in autumn, the header itself
/// says whether it was daylight-saving time.
fn started(header: &Header, zone: &TimeZone) -> Option<Timestamp> {
    let moment = zone.to_ambiguous_timestamp(header.created?);
    match header.daylight_saving() {
        Some(true) if moment.is_ambiguous() => moment.earlier(),
        Some(false) if moment.is_ambiguous() => moment.later(),
        _ => moment.compatible(),
    }
    .ok()
}
