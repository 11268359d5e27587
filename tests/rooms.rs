//! Who may import whom: the table in `src/lib.rs`, held by reading the code's own paths.

use std::path::{Path, PathBuf};

/// A room and the rooms that it may name. A room may always name itself.
const RULES: &[(&str, &[&str])] = &[
    ("runbook", &[]),
    ("incident", &["runbook"]),
    ("archive", &[]),
    ("snapshots", &["archive"]),
    ("config", &["runbook"]),
    ("journal", &["incident"]),
    ("export", &["incident", "runbook"]),
    ("workers", &["runbook", "config", "incident", "archive", "snapshots"]),
    ("engine", &["runbook", "config", "incident", "journal", "workers"]),
    ("wire", &["incident"]),
    ("tui", &["incident", "runbook", "wire"]),
];

/// One file may go further than its room: the wire's server hands what it hears to the engine.
const EXCEPTIONS: &[(&str, &str)] = &[("wire/server.rs", "engine")];

/// Crates that the pure rooms must not touch: no runtime, no sockets, no randomness.
const PURE: &[&str] = &["runbook", "incident", "archive", "snapshots"];
const IMPURE: &[&str] =
    &["tokio::", "std::net", "std::fs", "std::process", "Timestamp::now", "SystemTime", "reqwest::"];

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

/// Lines of a file that are code of the program: tests behind `#[cfg(test)]` and comments may name anything.
fn production(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

fn room_names() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(source).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
    names
}

/// The rooms that a line names through `crate::room`.
fn named<'a>(line: &'a str, rooms: &'a [String]) -> impl Iterator<Item = &'a String> {
    rooms.iter().filter(move |room| {
        let path = format!("crate::{room}");
        line.match_indices(&path).any(|(at, _)| {
            let after = line[at + path.len()..].chars().next();
            after.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
        })
    })
}

#[test]
fn rooms_import_only_what_they_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms = room_names();
    let mut faults = Vec::new();
    for (room, allowed) in RULES {
        let mut paths = Vec::new();
        files(&source.join(room), &mut paths);
        assert!(!paths.is_empty(), "the rule for {room} is about nothing");
        for path in paths {
            let name = path.strip_prefix(&source).expect("below the sources").display().to_string();
            if name.ends_with("tests.rs") || name.contains("/tests/") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            for (number, line) in production(&text) {
                for other in named(line, &rooms) {
                    let fine = other == room
                        || allowed.contains(&other.as_str())
                        || EXCEPTIONS.contains(&(name.as_str(), other.as_str()));
                    if !fine {
                        faults.push(format!("src/{name}:{number}: {room} may not import {other}"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_pure_rooms_touch_nothing_outside() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for room in PURE {
        let mut paths = Vec::new();
        files(&source.join(room), &mut paths);
        for path in paths {
            let text = std::fs::read_to_string(&path).expect("readable");
            for (number, line) in production(&text) {
                if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                    faults.push(format!("{}:{number}: {room} touches {word}", path.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_is_in_the_map() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("readable");
    for room in room_names() {
        assert!(map.contains(&format!("//! | [`{room}`]")), "src/lib.rs does not say what {room} is");
    }
}
