//! Points at which a test has this process die as `kill -9` would have it, and nothing anywhere else: only test builds,
//! whose dev-dependencies turn `fail`'s feature on, read `FAILPOINTS`.

use std::io::Write as _;
use std::path::Path;

/// A file that names each point at which a process died. With it, no point is deadly twice, so that the processes which
/// come after get past it.
const DIED_AT: &str = "RELIGHT_DIED_AT";

/// Reads `FAILPOINTS`, for as long as the guard lives.
pub(crate) fn setup() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Dies here where `FAILPOINTS` says `<name>=return`.
pub(crate) fn point(name: &str) {
    if fail::has_failpoints() && asked(name).is_some() {
        die(name);
    }
}

/// How many bytes are written before the process dies, where `FAILPOINTS` says `<name>=return(<bytes>)`.
pub(crate) fn torn(name: &str) -> Option<usize> {
    asked(name).and_then(|bytes| bytes.parse().ok())
}

fn asked(name: &str) -> Option<String> {
    fail::fail_point!(name, |value: Option<String>| Some(value.unwrap_or_default()));
    let _ = name;
    None
}

/// Ends the process at once: nothing is flushed, closed or dropped.
pub(crate) fn die(name: &str) {
    if let Some(path) = std::env::var_os(DIED_AT) {
        let path = Path::new(&path);
        let known = std::fs::read_to_string(path).unwrap_or_default();
        if known.lines().any(|line| line == name) {
            return;
        }
        let file = std::fs::File::options().append(true).create(true).open(path);
        // Unwritten, the test would wait for ever; it fails then, and says so.
        let _ = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
    }
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
