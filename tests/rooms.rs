//! Who may import whom: the table in `src/lib.rs` is the rule, and this holds the code to it by reading its paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates that the pure rooms must not touch: no runtime, no sockets, no randomness.
const PURE: &[&str] = &["runbook", "incident", "archive", "snapshots"];
const IMPURE: &[&str] =
    &["tokio::", "std::net", "std::fs", "std::process", "Timestamp::now", "SystemTime", "reqwest::"];

/// What the wire gives to engines; a client has no business with it.
const SERVER: &[&str] = &["server", "bind", "serve"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// What each room may name, and what single files may name besides, from the table in `src/lib.rs`.
#[derive(Debug, Default)]
struct Rules {
    rooms: BTreeMap<String, BTreeSet<String>>,
    exceptions: BTreeSet<(String, String)>,
}

impl Rules {
    fn read(map: &str) -> Self {
        let mut rules = Self::default();
        let rows: Vec<Vec<&str>> = map
            .lines()
            .filter_map(|line| line.strip_prefix("//! | [`"))
            .map(|row| row.split('|').map(str::trim).collect())
            .collect();
        let name = |row: &[&str]| row[0].trim_end_matches("`]").to_owned();
        for (at, row) in rows.iter().enumerate() {
            let words = row[2];
            // "its server also `engine`": one file goes further than its room.
            let (words, besides) = words.split_once("; its server also ").unwrap_or((words, ""));
            let allowed = match words {
                "everything" => rows.iter().map(|row| name(row)).collect(),
                "all of the above" => rows[..at].iter().map(|row| name(row)).collect(),
                words => quoted(words).collect(),
            };
            for other in quoted(besides) {
                rules.exceptions.insert((format!("{}/server.rs", name(row)), other));
            }
            rules.rooms.insert(name(row), allowed);
        }
        rules
    }

    /// The faults of one file; `name` is its path below `src`.
    fn faults(&self, name: &str, text: &str) -> Vec<String> {
        let room = name.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let Some(allowed) = self.rooms.get(room) else { return Vec::new() };
        let code = production(text);
        let mut faults = Vec::new();
        for (at, path) in paths(&code) {
            let line = code[..at].matches('\n').count() + 1;
            let other = path[0].as_str();
            let fine = other == room
                || allowed.contains(other)
                || !self.rooms.contains_key(other)
                || self.exceptions.contains(&(name.to_owned(), other.to_owned()));
            if !fine {
                faults.push(format!("src/{name}:{line}: {room} may not import {other}"));
            } else if room == "tui" && other == "wire" && path.get(1).is_some_and(|item| SERVER.contains(&&**item)) {
                faults.push(format!("src/{name}:{line}: the cockpit is a client and may not name wire::{}", path[1]));
            }
        }
        faults
    }
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The code of the program: comments and items behind `#[cfg(test)]` are blanked, line for line. It goes by the
/// layout that rustfmt gives: an item ends at the first bracket that stands as far left as its beginning.
fn production(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") {
            let left = &line[..line.len() - trimmed.len()];
            let mut inside = false;
            code.push('\n');
            for line in lines.by_ref() {
                code.push('\n');
                let rest = line.strip_prefix(left).unwrap_or_default();
                if inside && (rest.starts_with('}') || rest.starts_with(')') || rest.starts_with(']')) {
                    break;
                }
                if !inside && !rest.starts_with("#[") {
                    if rest.ends_with(';') || rest.ends_with('}') || rest.ends_with(',') {
                        break;
                    }
                    inside = true;
                }
            }
            continue;
        }
        code.push_str(if trimmed.starts_with("//") { "" } else { line });
        code.push('\n');
    }
    code
}

/// Every path that begins with `crate::`, with its place, groups taken apart: `crate::{a, b::{c, d}}` is
/// `a`, `b::c` and `b::d`.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, begin) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        // `$crate::` and `some_crate::` are others.
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            tree(code, at + begin.len(), &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one path or group at `at`, below `above`; the place behind it.
fn tree(code: &str, mut at: usize, above: &mut Vec<String>, found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let begin = at;
    let depth = above.len();
    loop {
        let rest = &code[at..];
        if rest.starts_with('{') {
            at += 1;
            loop {
                at += code[at..].len() - code[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
                if code[at..].is_empty() {
                    break;
                }
                if code[at..].starts_with('}') {
                    at += 1;
                    break;
                }
                let next = tree(code, at, above, found);
                // `as name` and whatever else is no path.
                at = next + code[next..].find([',', '}']).unwrap_or(code[next..].len());
            }
            break;
        }
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if length > 0 {
            above.push(rest[..length].to_owned());
        }
        at += length;
        if length > 0 && code[at..].starts_with("::") {
            at += 2;
            continue;
        }
        if !above.is_empty() {
            found.push((begin, above.clone()));
        }
        break;
    }
    above.truncate(depth);
    at
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every source file but those that are tests as a whole, by its path below `src`.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    let name = |path: &Path| path.strip_prefix(source()).expect("below the sources").display().to_string();
    found
        .into_iter()
        .map(|path| (name(&path), path))
        .filter(|(name, _)| !(name.ends_with("tests.rs") || name.contains("/tests/")))
        .map(|(name, path)| (name, std::fs::read_to_string(path).expect("readable")))
        .collect()
}

fn rules() -> Rules {
    Rules::read(&std::fs::read_to_string(source().join("lib.rs")).expect("readable"))
}

#[test]
fn rooms_import_only_what_they_may() {
    let rules = rules();
    let faults: Vec<String> = sources().iter().flat_map(|(name, text)| rules.faults(name, text)).collect();
    assert!(faults.is_empty(), "the table in src/lib.rs says otherwise:\n{}", faults.join("\n"));
}

#[test]
fn the_pure_rooms_touch_nothing_outside() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        if !PURE.contains(&name.split('/').next().unwrap_or_default()) {
            continue;
        }
        for (at, line) in production(&text).lines().enumerate() {
            if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                faults.push(format!("src/{name}:{}: a pure room touches {word}", at + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_is_in_the_map_and_every_name_in_it_is_a_room() {
    let rules = rules();
    let rooms: BTreeSet<String> = std::fs::read_dir(source())
        .expect("a folder of sources")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(rules.rooms.keys().cloned().collect::<BTreeSet<_>>(), rooms, "the map in src/lib.rs and the folders");
    for (room, allowed) in &rules.rooms {
        assert!(allowed.is_subset(&rooms), "src/lib.rs: {room} may import {allowed:?}; not all of these are rooms");
    }
    for (file, _) in &rules.exceptions {
        assert!(source().join(file).is_file(), "src/lib.rs makes an exception for {file}, which is not there");
    }
}

#[test]
fn the_checker_sees_each_way_to_name_a_room() {
    let rules = Rules::read(
        "//! | [`low`] | … | nothing |\n//! | [`wire`] | … | `low`; its server also `high` |\n\
         //! | [`high`] | … | all of the above |\n//! | [`tui`] | … | `low`, the client side of `wire` |\n",
    );
    let faults = |name: &str, text: &str| rules.faults(name, text).join("; ");
    for text in [
        "use crate::high;",
        "use crate::high::Thing;",
        "use crate::{Own, high};",
        "use crate::{\n    low::{A, B},\n    high::C,\n};",
        "fn f() { crate::high::go(); }",
        "pub(in crate::high) fn f() {}",
        "#[cfg(test)]\nfn only_a_test() {\n    let _ = 1;\n}\n\nuse crate::high;",
        "#[cfg(test)]\nuse crate::low;\nuse crate::high;",
    ] {
        assert!(faults("tui/app.rs", text).contains("tui may not import high"), "not seen: {text}");
    }
    for text in [
        "use crate::low::high;",
        "// use crate::high;",
        "use crate::low::{self, A};",
        "use other_crate::high;",
        "use crate::highest;",
        "#[cfg(test)]\nmod tests {\n    use crate::high;\n}",
        "#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;",
        "use crate::wire::{Link, ToEngine};",
    ] {
        assert_eq!(faults("tui/app.rs", text), "", "{text}");
    }
    assert_eq!(
        faults("tui/app.rs", "\n\nuse crate::wire::{Link, serve};"),
        "src/tui/app.rs:3: the cockpit is a client and may not name wire::serve"
    );
    assert_eq!(faults("wire/server.rs", "use crate::high::Handle;"), "");
    assert_eq!(faults("wire/client.rs", "use crate::high;"), "src/wire/client.rs:1: wire may not import high");
    assert_eq!(faults("low.rs", "use crate::wire;"), "src/low.rs:1: low may not import wire");
}
