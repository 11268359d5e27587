//! The archive reader against files that pg_dump 15, 16 and 17 wrote, against their damage, and against arbitrary bytes.
//!
//! `tests/fixtures/archives/README.md` says how the files were made.

use std::io::Cursor;
use std::path::PathBuf;

use jiff::civil;
use proptest::prelude::*;
use relight::archive::{
    ArchiveError, Compression, End, Foreign, Header, Offset, Section, Toc, TocEntry, count_rows, fuzz_one, verify_end,
};

const DUMPS: [&str; 13] = [
    "pg15-gzip",
    "pg15-gzip-pipe",
    "pg15-none",
    "pg15-inserts",
    "pg15-chunks",
    "pg16-gzip",
    "pg16-lz4",
    "pg16-zstd",
    "pg17-gzip",
    "pg17-lz4",
    "pg17-none",
    "pg17-zstd",
    "pg17-zstd-pipe",
];

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archives").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dump(name: &str) -> Vec<u8> {
    fixture(&format!("{name}.dump"))
}

fn toc(name: &str) -> Toc {
    Toc::parse(&dump(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn end_of(bytes: &[u8], toc: &Toc) -> relight::archive::EndState {
    verify_end(Cursor::new(bytes), toc).expect("memory can be read")
}

/// The value behind `label` in the head of `pg_restore -l`.
fn listed<'a>(list: &'a str, label: &str) -> &'a str {
    list.lines().find_map(|line| line.strip_prefix("; ")?.trim().strip_prefix(label)).expect(label).trim()
}

#[test]
fn every_archive_reads_as_pg_restore_lists_it() {
    for name in DUMPS {
        let toc = toc(name);
        let list = String::from_utf8(fixture(&format!("{name}.list"))).expect("UTF-8");
        // pg_restore -l leaves out what it restores implicitly, and the database itself without --create.
        let shown =
            |entry: &&TocEntry| !matches!(entry.desc.as_str(), "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE");
        let ours: Vec<String> = toc.entries.iter().filter(shown).map(TocEntry::list_line).collect();
        let theirs: Vec<&str> = list.lines().filter(|line| !line.starts_with(';')).collect();
        assert_eq!(ours, theirs, "{name}");

        let header = &toc.header;
        let created: civil::DateTime =
            listed(&list, "Archive created at").trim_end_matches(" UTC").parse().expect("date");
        assert_eq!(header.created, Some(created), "{name}");
        assert_eq!(header.database.as_deref(), Some(listed(&list, "dbname:")), "{name}");
        assert_eq!(header.toc_entries.to_string(), listed(&list, "TOC Entries:"), "{name}");
        assert_eq!(format!("{}-{}", header.version, header.version.revision), listed(&list, "Dump Version:"), "{name}");
        let server = listed(&list, "Dumped from database version:");
        assert_eq!(header.server_version.as_deref(), Some(server), "{name}");
        let pg_dump = listed(&list, "Dumped by pg_dump version:");
        assert_eq!(header.pg_dump_version.as_deref(), Some(pg_dump), "{name}");
        let compression = match listed(&list, "Compression:") {
            "-1" => "gzip",
            "0" => "none",
            word => word,
        };
        assert_eq!(header.compression.to_string(), compression, "{name}");
    }
}

#[test]
fn versions_and_majors_come_from_the_header() {
    for (name, minor, pg_dump, oldest) in
        [("pg15-gzip", 14, 15, 12), ("pg16-gzip", 15, 16, 16), ("pg17-zstd", 16, 17, 17)]
    {
        let header = Header::parse(&dump(name)).expect(name);
        assert_eq!(header.version.minor, minor);
        assert_eq!(header.version.oldest_pg_restore(), oldest);
        assert_eq!((header.pg_dump_major(), header.server_major()), (Some(pg_dump), Some(15)));
        assert_eq!(header.daylight_saving(), Some(false));
    }
    for (name, minor, compression) in [
        ("pg16-lz4", 15, Compression::Lz4),
        ("pg16-zstd", 15, Compression::Zstd),
        ("pg17-lz4", 16, Compression::Lz4),
        ("pg17-zstd", 16, Compression::Zstd),
    ] {
        let header = toc(name).header;
        assert_eq!((header.version.minor, header.compression), (minor, compression), "{name}");
    }
}

#[test]
fn entries_carry_statements_sections_and_dependencies() {
    let toc = toc("pg17-gzip");
    let find = |desc: &str, tag: &str| {
        toc.entries
            .iter()
            .find(|entry| entry.desc == desc && entry.tag == tag)
            .unwrap_or_else(|| panic!("{desc} {tag}"))
    };
    let data = find("TABLE DATA", "transactions");
    assert_eq!((data.section, data.name()), (Section::Data, "app.transactions".to_owned()));
    let copy = data.copy_statement.as_deref().expect("a copy statement");
    assert!(copy.starts_with("COPY app.transactions (id, account_id"), "{copy}");
    let table = find("TABLE", "transactions");
    assert!(table.definition.as_deref().expect("a definition").contains("CREATE TABLE app.transactions"));
    assert_eq!(
        (table.section, table.offset, table.owner.as_deref()),
        (Section::PreData, Offset::NoData, Some("fc_app"))
    );
    assert!(data.dependencies.contains(&table.dump_id));
    assert_eq!(find("FK CONSTRAINT", "transactions transactions_account_id_fkey").section, Section::PostData);
    assert_eq!(toc.entry(data.dump_id), Some(data));

    let inserts = Toc::parse(&dump("pg15-inserts")).expect("inserts").summary();
    assert!(inserts.inserts && !toc.summary().inserts);
    assert_eq!(toc.summary().tables_with_data, 3);
}

#[test]
fn spans_cover_the_data_from_the_table_of_contents_to_the_end() {
    for name in DUMPS.iter().filter(|name| !name.ends_with("-pipe")) {
        let bytes = dump(name);
        let toc = toc(name);
        let spans = toc.spans(bytes.len() as u64);
        assert_eq!(spans.first().map(|span| span.start), Some(toc.data_start), "{name}");
        assert_eq!(spans.iter().map(|span| span.len).sum::<u64>(), bytes.len() as u64 - toc.data_start, "{name}");
        for span in &spans {
            let start = usize::try_from(span.start).expect("small");
            assert!(matches!(bytes[start], 1 | 3), "{name}: no block at {start}");
        }
        assert!(toc.summary().has_offsets, "{name}");
    }
    for name in DUMPS.iter().filter(|name| name.ends_with("-pipe")) {
        assert!(toc(name).spans(1 << 40).is_empty());
        assert!(!toc(name).summary().has_offsets);
    }
}

#[test]
fn whole_archives_end_complete() {
    for name in DUMPS {
        let bytes = dump(name);
        let toc = toc(name);
        let state = end_of(&bytes, &toc);
        assert_eq!(state.end, End::Complete, "{name}");
        assert_eq!((state.blocks, state.bytes), (state.expected, bytes.len() as u64), "{name}");
        assert!(state.blocks >= 2, "{name}");
        assert!(state.missing.is_empty(), "{name}");
    }
}

#[test]
fn no_cut_goes_unseen() {
    for name in DUMPS {
        let bytes = dump(name);
        let toc = toc(name);
        let data_start = usize::try_from(toc.data_start).expect("small");
        for cut in 0..bytes.len() {
            let head = &bytes[..cut];
            if cut < data_start {
                let error = Toc::parse(head).expect_err("cut in the table of contents");
                match &error {
                    ArchiveError::Empty => assert_eq!(cut, 0),
                    ArchiveError::NeedMore { at_least } => {
                        assert!(cut < usize::try_from(*at_least).expect("small"), "{name} at {cut}");
                        assert!(*at_least <= toc.data_start, "{name} at {cut}: asks for {at_least}");
                    }
                    other => panic!("{name} at {cut}: {other}"),
                }
                let judged = error.given_size(cut as u64);
                assert!(
                    matches!(judged, ArchiveError::Empty | ArchiveError::CutOff { .. }),
                    "{name} at {cut}: {judged}"
                );
            } else {
                let state = end_of(head, &toc);
                assert!(matches!(state.end, End::Cut { .. }), "{name} at {cut}: {:?}", state.end);
                assert!(!state.missing.is_empty(), "{name} at {cut}");
            }
        }
    }
}

#[test]
fn a_cut_names_the_table_it_hits() {
    let bytes = dump("pg15-gzip");
    let toc = toc("pg15-gzip");
    let spans = toc.spans(bytes.len() as u64);
    let span =
        spans.iter().find(|span| toc.entry(span.dump_id).is_some_and(|e| e.tag == "transactions")).expect("span");
    let middle = usize::try_from(span.start + span.len / 2).expect("small");
    assert_eq!(end_of(&bytes[..middle], &toc).end, End::Cut { inside: "TABLE DATA app.transactions".to_owned() });
    let boundary = usize::try_from(span.start).expect("small");
    let state = end_of(&bytes[..boundary], &toc);
    assert_eq!(state.end, End::Cut { inside: "TABLE DATA app.transactions".to_owned() });
    assert!(state.missing.iter().any(|missing| missing.dump_id == span.dump_id));
}

#[test]
fn bytes_behind_the_end_and_wrong_offsets_are_damage() {
    let mut bytes = dump("pg15-none");
    let toc = toc("pg15-none");
    let whole = bytes.len() as u64;
    bytes.push(b'\n');
    assert!(matches!(end_of(&bytes, &toc).end, End::Corrupt { at, .. } if at == whole));
    bytes.pop();

    let mut moved = toc.clone();
    let entry = moved.entries.iter_mut().find(|entry| matches!(entry.offset, Offset::At(_))).expect("an offset");
    entry.offset = Offset::At(toc.data_start + 1);
    assert!(matches!(end_of(&bytes, &moved).end, End::Corrupt { at, .. } if at == toc.data_start));
}

#[test]
fn rows_are_counted_in_every_compression() {
    let expected = [("app.accounts", 37), ("app.transactions", 123), ("app.users", 20)];
    for name in DUMPS.into_iter().filter(|name| !["pg15-inserts", "pg15-chunks"].contains(name)) {
        let counts = count_rows(Cursor::new(dump(name)), &toc(name)).expect(name);
        let counts: Vec<_> = counts.iter().map(|count| (count.table.as_str(), count.rows)).collect();
        assert_eq!(counts, expected, "{name}");
    }
    let chunks = count_rows(Cursor::new(dump("pg15-chunks")), &toc("pg15-chunks")).expect("chunks");
    assert_eq!(
        chunks.iter().map(|c| (c.table.as_str(), c.rows)).collect::<Vec<_>>(),
        [("app.empty", 0), ("app.receipts", 320)]
    );
    assert_eq!(count_rows(Cursor::new(dump("pg15-inserts")), &toc("pg15-inserts")), Ok(Vec::new()));
}

#[test]
fn a_flipped_byte_in_compressed_data_fails_the_count() {
    let bytes = dump("pg15-chunks");
    let toc = toc("pg15-chunks");
    let span = toc.spans(bytes.len() as u64).into_iter().max_by_key(|span| span.len).expect("a span");
    let mut found = 0;
    let content = usize::try_from(span.start).expect("small") + 60..bytes.len() - 20;
    for at in content.step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        if count_rows(Cursor::new(&damaged), &toc).is_err() {
            found += 1;
        } else {
            panic!("the flip at {at} went unseen");
        }
    }
    assert!(found > 20, "only {found} flips were tried");
}

#[test]
fn what_is_no_archive_is_named() {
    let looks = |bytes: &[u8]| match Toc::parse(bytes) {
        Err(ArchiveError::NotAnArchive { looks_like }) => looks_like,
        other => panic!("{other:?}"),
    };
    assert_eq!(looks(&fixture("pg15-plain.sql")), Foreign::PlainSql);
    assert_eq!(looks(&fixture("pg15-tar-head.tar")), Foreign::TarDump);
    assert_eq!(looks(&fixture("pg15-directory-toc.dat")), Foreign::DirectoryToc);
    assert_eq!(looks(&fixture("pg15-wrapped-head.dump.gz")), Foreign::Compressed { with: "gzip".to_owned() });
    let xml = b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    assert_eq!(looks(xml), Foreign::S3Error { code: Some("AccessDenied".to_owned()) });
    assert_eq!(looks(&[0; 4096]), Foreign::Zeros);
    assert_eq!(looks(b"<!DOCTYPE html><title>Sign in"), Foreign::WebPage);
    assert_eq!(looks(b"\x7fELF"), Foreign::Unknown { begins_with: "7f 45 4c 46".to_owned() });
    assert_eq!(Header::parse(b""), Err(ArchiveError::Empty));
    let three = Header::parse(b"PGD").expect_err("three bytes").given_size(3);
    assert!(matches!(three, ArchiveError::CutOff { size: 3, .. }));
    assert!(three.to_string().contains("3 bytes long"));
}

#[test]
fn foreign_headers_are_named() {
    let with = |at: usize, value: u8| {
        let mut bytes = dump("pg15-gzip");
        bytes[at] = value;
        Header::parse(&bytes).expect_err("refused")
    };
    let newer = with(6, 17);
    assert!(matches!(newer, ArchiveError::Newer { .. }), "{newer}");
    assert!(newer.to_string().contains("1.17 is newer than 1.16"), "{newer}");
    assert!(matches!(with(6, 13), ArchiveError::Older { .. }));
    assert!(matches!(with(5, 2), ArchiveError::Newer { .. }));
    assert_eq!(with(8, 8), ArchiveError::ForeignSizes { int_size: 8, offset_size: 8 });
    assert!(matches!(with(10, 9), ArchiveError::Corrupt { at: 10, .. }));
}

#[test]
fn errors_travel_as_json_and_fit_their_column() {
    let errors = [
        ArchiveError::Empty,
        ArchiveError::NeedMore { at_least: 7 },
        ArchiveError::Corrupt { at: 9, what: "a tag has the impossible length -7".into() },
        ArchiveError::NotAnArchive { looks_like: Foreign::S3Error { code: None } },
        ArchiveError::Newer { version: relight::archive::Version { major: 255, minor: 255, revision: 0 } },
    ];
    for error in errors {
        assert!(error.short().chars().count() <= 34, "{}", error.short());
        let json = serde_json::to_string(&error).expect("JSON");
        assert_eq!(serde_json::from_str::<ArchiveError>(&json).expect("back"), error);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        fuzz_one(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_true_head_return(bytes in proptest::collection::vec(any::<u8>(), 0..2048), keep in 5..2000_usize) {
        let mut archive = dump("pg17-zstd");
        archive.truncate(keep);
        archive.extend(bytes);
        fuzz_one(&archive);
    }

    #[test]
    fn damaged_archives_return(
        which in 0..DUMPS.len(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = dump(DUMPS[which]);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        fuzz_one(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        fuzz_one(&bytes);
    }
}
