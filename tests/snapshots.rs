//! The verdicts on snapshots, case by case and over arbitrary listings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use relight::archive::{ArchiveError, End, EndState, Header, Toc, TocSummary, verify_end};
use relight::snapshots::{
    Evidence, Flag, Inspected, Judge, Listed, Reason, Snapshot, Standing, Verdict, duration_text, judge, loses, propose,
};

const GIB: u64 = 1 << 30;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

fn onset() -> Timestamp {
    at("2026-11-23T08:48:00Z")
}

fn cx() -> Judge {
    Judge {
        pg_restore_major: 15,
        server_major: 15,
        now: at("2026-11-23T09:12:00Z"),
        size_tolerance: 0.5,
        database: Some("financecopilot".to_owned()),
        dump_host_zone: None,
    }
}

fn listed(key: &str, size: u64, modified: &str) -> Listed {
    Listed {
        key: format!("postgres/{key}.dump"),
        size,
        last_modified: at(modified),
        etag: "\"0\"".to_owned(),
        version_id: None,
        storage_class: None,
    }
}

fn real(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archives").join(name))
        .expect("fixture")
}

/// A real header, made to begin at `created` by the dump host's clock.
fn header(created: &str) -> Header {
    let mut header = Header::parse(&real("pg15-gzip.dump")).expect("header");
    header.created = Some(created.parse::<DateTime>().expect("civil time"));
    header
}

fn good(created: &str) -> Inspected {
    let toc = TocSummary {
        entries: 24,
        tables_with_data: 3,
        inserts: false,
        has_offsets: true,
        data_start: 6000,
        last_block_at: Some(7000),
    };
    let end = EndState { bytes: GIB, blocks: 4, expected: 4, missing: Vec::new(), end: End::Complete };
    Inspected { header: Ok(header(created)), toc: Some(toc), end: Some(end) }
}

/// Three good dumps of the night, all uploaded within seconds, as `pg_dump | aws s3 cp -` does.
fn night() -> (Vec<Listed>, BTreeMap<String, Inspected>) {
    let rows = [("2026-11-23T00:00", 0), ("2026-11-23T03:00", 1), ("2026-11-23T06:00", 2)];
    let mut all = Vec::new();
    let mut inspected = BTreeMap::new();
    for (time, step) in rows {
        let item = listed(time, 4 * GIB + step, &format!("{time}:04Z"));
        inspected.insert(item.id(), good(&format!("{time}:01")));
        all.push(item);
    }
    (all, inspected)
}

/// One more dump beside the good ones of the night: its verdict.
fn beside(item: &Listed, found: Option<Inspected>, cx: &Judge) -> Snapshot {
    let (mut all, mut inspected) = night();
    if let Some(found) = found {
        inspected.insert(item.id(), found);
    }
    all.push(item.clone());
    let judged = judge(&all, &inspected, Some(onset()), cx);
    assert_eq!(judged.len(), 4);
    judged.into_iter().find(|snapshot| snapshot.listed == *item).expect("it is judged")
}

fn rejected(snapshot: &Snapshot) -> (Reason, &str) {
    match &snapshot.verdict {
        Verdict::Rejected { reason, short, .. } => (*reason, short),
        Verdict::Eligible { .. } => panic!("{snapshot:?}"),
    }
}

#[test]
fn the_newest_before_the_onset_is_proposed() {
    let (all, inspected) = night();
    let judged = judge(&all, &inspected, Some(onset()), &cx());
    assert_eq!(
        judged.iter().map(|s| s.taken_at).collect::<Vec<_>>(),
        [at("2026-11-23T06:00:01Z"), at("2026-11-23T03:00:01Z"), at("2026-11-23T00:00:01Z")]
    );
    let proposal = propose(&judged).expect("a proposal");
    assert_eq!((proposal.taken_at, proposal.taken_from), (at("2026-11-23T06:00:01Z"), Evidence::Header));
    assert_eq!(proposal.verdict, Verdict::Eligible { standing: Standing::Newest, notes: Vec::new() });
    assert_eq!(judged.iter().filter(|s| s.verdict.short() == "eligible").count(), 2);

    let lost = loses(proposal, None, at("2026-11-23T09:12:00Z"));
    assert_eq!(duration_text(lost), "3h11m");
    assert_eq!(duration_text(loses(proposal, Some(at("2026-11-23T09:02:02Z")), cx().now)), "3h02m");
    assert_eq!(loses(proposal, Some(at("2026-11-23T01:00:00Z")), cx().now), SignedDuration::ZERO);
}

#[test]
fn without_an_onset_nothing_is_proposed() {
    let (all, inspected) = night();
    let judged = judge(&all, &inspected, None, &cx());
    assert!(judged.iter().all(Snapshot::is_eligible));
    assert_eq!(propose(&judged), None);
    let early = judge(&all, &inspected, Some(at("2026-11-22T00:00:00Z")), &cx());
    assert_eq!(propose(&early), None);
    assert!(early.iter().all(|s| rejected(s) == (Reason::AfterOnset, "taken after onset")));
}

#[test]
fn a_dump_across_the_onset_is_eligible_by_its_header_and_says_so() {
    let item = listed("x", 4 * GIB, "2026-11-23T08:53:20Z");
    let snapshot = beside(&item, Some(good("2026-11-23T08:40:00")), &cx());
    assert_eq!(snapshot.taken_at, at("2026-11-23T08:40:00Z"));
    assert_eq!(snapshot.flags, [Flag::AcrossOnset { minutes: 13 }]);
    assert_eq!(snapshot.verdict.short(), "newest eligible");
    assert!(snapshot.verdict.long().contains("13m00s later, after the onset"), "{}", snapshot.verdict.long());
}

#[test]
fn a_header_that_may_be_of_another_zone_does_not_carry_a_dump_across_the_onset() {
    // Alone in its list: nothing proves the zone, and 08:55 UTC reads 03:55 in New York.
    let item = listed("x", 4 * GIB, "2026-11-23T08:55:10Z");
    let inspected = BTreeMap::from([(item.id(), good("2026-11-23T03:55:00"))]);
    let judged = judge(std::slice::from_ref(&item), &inspected, Some(onset()), &cx());
    assert_eq!(rejected(&judged[0]).0, Reason::UnclearTime);
    assert_eq!(judged[0].flags, [Flag::ZoneSuspect { minutes: -300 }]);
    assert_eq!(judged[0].short(), "before or after onset?; zone?");
    let undated = judge(std::slice::from_ref(&item), &inspected, None, &cx());
    assert_eq!(undated[0].short(), "readable; zone?; onset unknown");

    // The same with seven minutes of dumping between start and upload, which no multiple of 15 min shows.
    let late = listed("x", 4 * GIB, "2026-11-23T09:02:10Z");
    let judged = judge(&[late], &inspected, Some(onset()), &cx());
    assert_eq!(rejected(&judged[0]).0, Reason::UnclearTime);

    // Configured, the zone decides: that dump was taken after the onset.
    let zone = TimeZone::get("America/New_York").expect("the zone database");
    let configured = Judge { dump_host_zone: Some(zone), ..cx() };
    let judged = judge(std::slice::from_ref(&item), &inspected, Some(onset()), &configured);
    assert_eq!(judged[0].taken_at, at("2026-11-23T08:55:00Z"));
    assert_eq!(rejected(&judged[0]).0, Reason::AfterOnset);

    // Beside others whose headers agree with their uploads it is a long dump and no zone.
    let snapshot = beside(&item, Some(good("2026-11-23T03:55:00")), &cx());
    assert_eq!(snapshot.flags, [Flag::AcrossOnset { minutes: 300 }]);
    assert!(snapshot.is_eligible());
}

#[test]
fn a_name_in_utc_proves_the_headers_zone() {
    let mut item = listed("x", 4 * GIB, "2026-11-23T09:40:00Z");
    item.key = "postgres/2026-11-23T0840Z.dump".to_owned();
    let inspected = BTreeMap::from([(item.id(), good("2026-11-23T08:40:02"))]);
    let judged = judge(&[item], &inspected, Some(onset()), &cx());
    assert!(judged[0].is_eligible(), "{:?}", judged[0]);
}

#[test]
fn a_header_later_than_its_upload_is_not_believed() {
    let item = listed("x", 4 * GIB, "2026-11-23T08:00:10Z");
    let snapshot = beside(&item, Some(good("2026-11-23T17:00:00")), &cx());
    assert_eq!((snapshot.taken_at, snapshot.taken_from), (at("2026-11-23T08:00:10Z"), Evidence::LastModified));
    assert_eq!(snapshot.flags, [Flag::HeaderAfterUpload { minutes: 539 }]);
    assert!(snapshot.is_eligible());
}

#[test]
fn the_hour_that_comes_twice_is_told_by_the_header() {
    let zone = TimeZone::get("Europe/Berlin").expect("the zone database");
    let cx = Judge { dump_host_zone: Some(zone), ..cx() };
    let item = listed("x", GIB, "2026-10-25T03:00:00Z");
    for (is_dst, utc) in [(1, "2026-10-25T00:30:00Z"), (0, "2026-10-25T01:30:00Z")] {
        let mut found = good("2026-10-25T02:30:00");
        if let Ok(header) = &mut found.header {
            header.created_raw[6] = is_dst;
        }
        let inspected = BTreeMap::from([(item.id(), found)]);
        assert_eq!(judge(std::slice::from_ref(&item), &inspected, None, &cx)[0].taken_at, at(utc));
    }
}

#[test]
fn what_has_not_been_read_goes_by_name_and_upload() {
    let unread = beside(&listed("2026-11-23T0700Z", 4 * GIB, "2026-11-23T07:05:00Z"), None, &cx());
    assert_eq!((unread.taken_at, unread.taken_from), (at("2026-11-23T07:00:00Z"), Evidence::FileName));
    assert_eq!((unread.flags.as_slice(), unread.is_eligible()), ([Flag::Unread].as_slice(), true));
    let across = beside(&listed("2026-11-23T0840Z", 4 * GIB, "2026-11-23T08:55:00Z"), None, &cx());
    assert_eq!(rejected(&across), (Reason::UnclearTime, "uploaded late, not read"));
    let nameless = beside(&listed("latest", 4 * GIB, "2026-11-23T08:55:00Z"), None, &cx());
    assert_eq!(rejected(&nameless).0, Reason::AfterOnset);
}

#[test]
fn unfit_objects_are_rejected_with_their_reason() {
    let time = "2026-11-23T07:00:00Z";
    let failing = |error| Some(Inspected { header: Err(error), toc: None, end: None });
    let empty = beside(&listed("x", 0, time), None, &cx());
    assert_eq!(rejected(&empty), (Reason::Empty, "empty (0 bytes)"));

    let mut cold = listed("x", 4 * GIB, time);
    cold.storage_class = Some("DEEP_ARCHIVE".to_owned());
    assert_eq!(rejected(&beside(&cold, None, &cx())).0, Reason::Archived);
    cold.storage_class = Some("GLACIER_IR".to_owned());
    assert!(beside(&cold, None, &cx()).is_eligible());

    let sql = Header::parse(b"--\n-- PostgreSQL database dump\n--\n").expect_err("not an archive");
    let plain = beside(&listed("x", 4 * GIB, time), failing(sql), &cx());
    assert_eq!(rejected(&plain), (Reason::NotAnArchive, "plain SQL, not an archive"));
    assert!(plain.verdict.long().contains("psql"), "{}", plain.verdict.long());

    let newer = Inspected { header: Header::parse(&real("pg17-zstd.dump")), ..good("2026-11-23T07:00:00") };
    let newer = beside(&listed("x", 4 * GIB, "2026-11-23T18:00:00Z"), Some(newer), &cx());
    assert_eq!(rejected(&newer), (Reason::NewerVersion, "needs pg_restore 17"));

    let mut other = good("2026-11-23T07:00:00");
    if let Ok(header) = &mut other.header {
        header.database = Some("billing".to_owned());
    }
    let foreign = beside(&listed("x", 4 * GIB, time), Some(other), &cx());
    assert_eq!(rejected(&foreign).0, Reason::ForeignDatabase);
    assert!(foreign.verdict.long().contains("billing"));

    let small = beside(&listed("x", 12 * 1024 * 1024, time), Some(good("2026-11-23T07:00:00")), &cx());
    assert_eq!(rejected(&small), (Reason::OddSize, "0.3 % of usual size"));

    let large = beside(&listed("x", 16 * GIB, time), Some(good("2026-11-23T07:00:00")), &cx());
    assert_eq!((large.is_doubtful(), large.short().as_str()), (true, "newest eligible; size?"));
    assert!(large.verdict.long().contains("16.0 GiB long where its neighbours are about 4.00 GiB"), "{large:?}");
    let usual = beside(&listed("x", 5 * GIB, time), Some(good("2026-11-23T07:00:00")), &cx());
    assert_eq!((usual.is_doubtful(), usual.short().as_str()), (false, "newest eligible"));

    let unread = beside(&listed("x", 4 * GIB, time), failing(ArchiveError::NeedMore { at_least: 9 }), &cx());
    assert_eq!(unread.flags, [Flag::Unread]);
}

#[test]
fn files_beside_the_dumps_do_not_tell_their_usual_size() {
    let (mut all, inspected) = night();
    let small = listed("2026-11-23T07:00", 1 << 20, "2026-11-23T07:00:04Z");
    all.push(small.clone());
    for dump in all.clone() {
        for suffix in ["sha256", "json"] {
            let mut sidecar = dump.clone();
            sidecar.key = format!("{}.{suffix}", sidecar.key);
            sidecar.size = 64;
            all.push(sidecar);
        }
    }
    let judged = judge(&all, &inspected, Some(onset()), &cx());
    assert_eq!(judged.len(), 12);
    for snapshot in judged.iter().filter(|snapshot| {
        std::path::Path::new(&snapshot.listed.key).extension().is_some_and(|ending| ending == "dump")
    }) {
        if snapshot.listed == small {
            assert_eq!(rejected(snapshot), (Reason::OddSize, "0.0 % of usual size"));
        } else {
            assert!(snapshot.is_eligible(), "{snapshot:?}");
        }
    }
}

#[test]
fn a_real_archive_that_is_cut_is_rejected_however_much_of_it_was_read() {
    let bytes = real("pg15-gzip.dump");
    let toc = Toc::parse(&bytes).expect("toc");
    let whole = bytes.len() as u64;
    let data_start = usize::try_from(toc.data_start).expect("small");
    let verdict = |size: usize, found: Inspected| {
        let item = listed("x", size as u64, "2026-11-23T15:36:05Z");
        let inspected = BTreeMap::from([(item.id(), found)]);
        judge(&[item], &inspected, None, &cx()).remove(0)
    };
    let complete = Inspected::from_prefix(&bytes[..data_start], whole).expect("the table of contents is enough");
    assert!(verdict(bytes.len(), complete.clone()).is_eligible());
    assert!(verdict(bytes.len(), complete).flags.contains(&Flag::EndUnverified));

    for cut in [1, 5, 40, 300, data_start / 2, data_start, data_start + 40] {
        let found = Inspected::from_prefix(&bytes[..cut], cut as u64).expect("there is no more to read");
        assert_eq!(rejected(&verdict(cut, found)), (Reason::Truncated, "truncated"), "cut at {cut}");
    }
    // A cut within the last block shows only when the whole file is walked.
    let cut = bytes.len() - 3;
    let mut found = Inspected::from_prefix(&bytes[..cut], cut as u64).expect("prefix");
    found.end = Some(verify_end(std::io::Cursor::new(&bytes[..cut]), &toc).expect("memory can be read"));
    assert_eq!(rejected(&verdict(cut, found)).0, Reason::Truncated);

    let more = Inspected::from_prefix(&bytes[..100], whole).expect_err("more is needed");
    assert!(matches!(more, ArchiveError::NeedMore { at_least } if at_least > 100 && at_least <= toc.data_start));
}

#[test]
fn snapshots_travel_as_json() {
    let (all, mut inspected) = night();
    inspected.insert(all[0].id(), Inspected { header: Err(ArchiveError::Empty), toc: None, end: None });
    let json = serde_json::to_string(&inspected).expect("JSON");
    assert_eq!(serde_json::from_str::<BTreeMap<String, Inspected>>(&json).expect("back"), inspected);
    let judged = judge(&all, &inspected, Some(onset()), &cx());
    let json = serde_json::to_string(&judged).expect("JSON");
    assert_eq!(serde_json::from_str::<Vec<Snapshot>>(&json).expect("back"), judged);
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let base = onset().as_second();
    prop_oneof![
        4 => (-200_000_i64..200_000).prop_map(move |step| base + step),
        2 => (-20_i64..20).prop_map(move |step| base + step * 900),
        1 => any::<i32>().prop_map(i64::from),
    ]
    .prop_map(|second| Timestamp::from_second(second).expect("in range"))
}

fn any_found() -> impl Strategy<Value = Option<Inspected>> {
    let cut = Header::parse(&real("pg15-gzip.dump")[..30]).expect_err("cut").given_size(30);
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Inspected { header: Err(cut), toc: None, end: None })),
        6 => (any_time(), any::<bool>(), -1..2).prop_map(|(time, complete, is_dst)| {
            let mut found = good("2026-11-23T06:00:00");
            if let Ok(header) = &mut found.header {
                header.created = Some(TimeZone::UTC.to_datetime(time));
                header.created_raw[6] = is_dst;
            }
            if !complete {
                found.end = None;
            }
            Some(found)
        }),
    ]
}

fn any_listing() -> impl Strategy<Value = Vec<(Listed, Option<Inspected>)>> {
    let name = prop_oneof!["[a-z0-9:TZ_./é-]{0,30}", any_time().prop_map(|time| format!("fc-{time}.dump"))];
    let size = prop_oneof![4 => GIB..2 * GIB, 1 => Just(0), 1 => any::<u64>()];
    let class = prop_oneof![4 => Just(None), 1 => Just(Some("GLACIER".to_owned()))];
    let item =
        (name, size, any_time(), class, any_found()).prop_map(|(key, size, last_modified, storage_class, found)| {
            (Listed { key, size, last_modified, etag: String::new(), version_id: None, storage_class }, found)
        });
    proptest::collection::vec(item, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_hold_for_any_listing(items in any_listing(), onset in any_time(), zone in any::<bool>()) {
        let zone = zone.then(|| TimeZone::get("America/New_York").expect("the zone database"));
        let cx = Judge { dump_host_zone: zone, ..cx() };
        let all: Vec<Listed> = items.iter().map(|(listed, _)| listed.clone()).collect();
        let inspected: BTreeMap<_, _> =
            items.into_iter().filter_map(|(listed, found)| Some((listed.id(), found?))).collect();
        let judged = judge(&all, &inspected, Some(onset), &cx);

        prop_assert_eq!(judged.len(), all.len());
        prop_assert!(judged.is_sorted_by(|a, b| a.taken_at >= b.taken_at));
        for snapshot in &judged {
            prop_assert!(snapshot.verdict.short().chars().count() <= 34, "{}", snapshot.verdict.short());
            prop_assert!(snapshot.taken_at <= snapshot.taken_by);
            prop_assert_eq!(snapshot.taken_by, snapshot.listed.last_modified);
            if snapshot.is_eligible() {
                prop_assert!(snapshot.taken_at <= onset);
                let across = snapshot.flags.iter().any(|flag| matches!(flag, Flag::AcrossOnset { .. }));
                prop_assert!(snapshot.taken_by <= onset || (across && snapshot.taken_from == Evidence::Header));
            }
            prop_assert!(loses(snapshot, None, cx.now) >= SignedDuration::ZERO);
        }
        match propose(&judged) {
            Some(proposal) => {
                prop_assert!(proposal.taken_at <= onset);
                let newest = judged.iter().filter(|s| s.is_eligible()).map(|s| s.taken_at).max();
                prop_assert_eq!(Some(proposal.taken_at), newest);
            }
            None => prop_assert!(!judged.iter().any(Snapshot::is_eligible)),
        }

        // The order is total: it does not depend on the order of the listing.
        let mut turned = all;
        turned.reverse();
        let again = judge(&turned, &inspected, Some(onset), &cx);
        prop_assert_eq!(again, judged);
    }
}
