//! The commands as a person runs them: what they print, and how they end.

#[path = "support/opening.rs"]
mod opening;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use relight::engine::Home;
use relight::incident::{self, Actor, Event, EventKind, IncidentId, Refusal};
use relight::journal::Journal;
use relight::wire::{self, FromEngine, ToClient, ToEngine};

use opening::opening;

const ID: &str = "INC-TEST";

/// A person's home, with nothing in it.
struct Person {
    folder: tempfile::TempDir,
}

impl Person {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        std::fs::write(folder.path().join("config.toml"), "environment = 'test'\n").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn environment(&self, command: &mut Command) {
        command
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_CONFIG_HOME", self.path("nothing-here"))
            .stdin(Stdio::null());
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relight"));
        command.args(words);
        self.environment(&mut command);
        command
    }

    fn run(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// An incident with some notes, and its folder.
    fn incident(&self) -> PathBuf {
        let home = Home::find(Some(&self.path("relight"))).unwrap();
        let event = |seq, kind| Event {
            seq,
            at: Timestamp::UNIX_EPOCH,
            actor: Actor { name: "ana".to_owned(), uid: Some(1000) },
            kind,
        };
        let id = IncidentId::new(ID).unwrap();
        let opening = Event { at: Timestamp::UNIX_EPOCH, ..opening(ID, "test", "db", relight::runbook::BUILT_IN) };
        let folder = home.create(&id, &opening).unwrap();
        let (mut journal, _) = Journal::open(&folder).unwrap();
        let note = |seq| event(seq, EventKind::Noted { text: format!("note {seq}") });
        journal.append(&[note(2), note(3), note(4)]).unwrap();
        folder
    }

    fn socket(&self) -> PathBuf {
        self.path("run").join("relight").join(format!("{ID}.sock"))
    }
}

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn ends(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for words in says {
            assert!(self.err.contains(words) || self.out.contains(words), "{words:?} is missing in {self:?}");
        }
        assert!(!self.err.contains("panicked"), "{self:?}");
    }
}

#[test]
fn a_config_that_is_not_there_or_not_right_is_named() {
    let ana = Person::new();
    ana.run(&["check"]).ends(2, &["there is no config at", "nothing-here/relight/config.toml", "relight drill"]);
    let config = |text: &str| ana.write("c.toml", text);
    ana.run(&["--config", &config("x = ["), "check"]).ends(2, &["c.toml:1:6: unclosed array"]);
    ana.run(&["--config", &config("\nrto = 1"), "check"]).ends(2, &["c.toml:2:1: unknown field `rto`"]);
    ana.run(&["--config", ana.folder.path().to_str().unwrap(), "check"]).ends(2, &["cannot be read", "directory"]);
}

#[test]
fn a_runbook_that_is_not_right_is_named_by_its_place() {
    let ana = Person::new();
    let built_in = relight::runbook::BUILT_IN;
    let validate = |text: &str| ana.run(&["runbook", "validate", &ana.write("r.toml", text)]);
    validate(built_in).ends(0, &["sound"]);
    validate("").ends(2, &["r.toml:"]);
    validate("id = 'a'\nid = 'b'\n").ends(2, &["r.toml:2:1", "duplicate key"]);
    validate(&built_in.replacen("\ntitle =", "\ntitel =", 1)).ends(2, &["r.toml:7:1: unknown field `titel`"]);
    ana.run(&["runbook", "validate", "/nowhere.toml"]).ends(2, &["/nowhere.toml cannot be read", "No such file"]);
    let source = ana.run(&["runbook", "show", "--source"]);
    assert_eq!(source.out, built_in, "the source that is printed is the one that is used");
}

#[test]
fn without_a_terminal_the_cockpit_names_the_commands_that_need_none() {
    let ana = Person::new();
    for words in [&[][..], &["start"], &["attach"], &["drill"]] {
        ana.run(words).ends(2, &["needs a terminal", "relight list, export, audit, check, drill --auto"]);
    }
}

#[test]
fn an_incident_that_is_not_there_is_no_crash() {
    let ana = Person::new();
    ana.run(&["list"]).ends(0, &["No incident is open in"]);
    assert_eq!(ana.run(&["list", "--json"]).out, "[]\n");
    ana.run(&["export", "INC-NOPE"]).ends(2, &["there is no incident INC-NOPE", "relight list --all"]);
    ana.run(&["audit", "INC-NOPE"]).ends(2, &["there is no incident INC-NOPE", "relight list --all"]);
    ana.run(&["export", "../../etc"]).ends(2, &["is no incident id"]);
}

#[test]
fn an_export_is_cut_to_the_size_that_is_asked_for() {
    let ana = Person::new();
    ana.incident();
    ana.run(&["export", ID, "--size", "299"]).ends(2, &["at least 300 bytes"]);
    ana.run(&["export", ID, "--format", "html", "--size", "4000"]).ends(2, &["HTML is one piece"]);
    let cut = ana.run(&["export", ID, "--format", "slack", "--size", "300"]).out;
    let parts: Vec<&str> = cut.trim_end().split("\n\n").collect();
    assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= 300), "{cut}");
    assert!(parts[0].contains(&format!("part 1/{}", parts.len())), "{cut}");
    // On standard output and in a file is the same.
    let file = ana.path("out.txt");
    ana.run(&["export", ID, "--format", "slack", "--size", "300", "-o", &file.display().to_string()]).ends(0, &[]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), cut);
}

/// A power cut in the middle of a write costs the unfinished line and nothing else.
#[test]
fn a_torn_last_line_costs_nothing_that_was_acknowledged() {
    let ana = Person::new();
    let journal = ana.incident().join("journal.jsonl");
    let whole = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, [&whole[..], b"{\"seq\":5,\"at\":\"2026"].concat()).unwrap();
    for format in ["pagerduty", "slack", "markdown", "json", "html"] {
        ana.run(&["export", ID, "--format", format]).ends(0, &["note 2", "note 3", "note 4"]);
    }
    ana.run(&["audit", ID]).ends(0, &["4 events, chain whole", "19 bytes of an unfinished line"]);
    ana.run(&["list"]).ends(0, &[ID]);
}

#[test]
fn a_changed_journal_is_found_out() {
    let ana = Person::new();
    let journal = ana.incident().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replace("note 3", "note 8")).unwrap();
    ana.run(&["audit", ID]).ends(4, &["line 3"]);
    ana.run(&["list"]).ends(0, &[ID, "cannot be read"]);
    let engine = ana.run(&["--config", ana.path("config.toml").to_str().unwrap(), "engine", ID]);
    engine.ends(1, &["line 3"]);
}

#[test]
fn a_second_engine_is_refused() {
    let ana = Person::new();
    let folder = ana.incident();
    let _held = Journal::open(&folder).unwrap();
    let engine = ana.run(&["--config", ana.path("config.toml").to_str().unwrap(), "engine", ID]);
    engine.ends(6, &["another engine holds the journal"]);
}

#[test]
fn a_reader_that_leaves_is_no_fault_and_a_full_disk_is_one() {
    let ana = Person::new();
    // Nobody reads: the pipe's other end is closed before anything is written.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = ana.command(&["runbook", "show", "--source"]).stdout(writer).output().unwrap();
    let said = Said::of(&output);
    said.ends(0, &[]);
    assert_eq!(said.err, "");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = ana.command(&["runbook", "show", "--source"]).stdout(full).output().unwrap();
    Said::of(&output).ends(1, &["the output could not be written", "No space left"]);
}

/// An engine whose files may not grow beyond some kilobytes, as on a full disk: it stops acting, says so, ends, and
/// what it had acknowledged is whole.
#[tokio::test]
async fn a_disk_that_is_full_stops_the_engine() {
    let ana = Person::new();
    let folder = ana.incident();
    // The limit counts blocks of 512 bytes or of 1024; the journal begins with the runbook in it.
    let length = std::fs::metadata(folder.join("journal.jsonl")).unwrap().len();
    let blocks = length / 512 + 8;
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_relight"), "--config"]);
    command.arg(ana.path("config.toml")).args(["engine", ID]);
    ana.environment(&mut command);
    let mut engine = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(engine.stdout.as_mut().unwrap(), &mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    let acknowledged = write_notes(&ana.socket()).await;
    let output = engine.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("could not be written earlier"), "{error}");
    let found = Home::find(Some(&ana.path("relight"))).unwrap().open(&IncidentId::new(ID).unwrap());
    let notes = found.state.expect("the journal is whole").timeline;
    let kept = notes.iter().filter(|entry| entry.text.starts_with("a long note")).count();
    assert_eq!(kept, acknowledged);
    assert!(acknowledged > 0, "there was room for some");
}

/// Writes notes until one is refused; how many were acknowledged.
async fn write_notes(socket: &Path) -> usize {
    let mut link = wire::connect(socket, 0, false).await.unwrap();
    let text = format!("a long note {}", "x".repeat(500));
    for id in 1.. {
        let command = incident::Command::Note { text: text.clone() };
        link.tx.send(ToEngine::Command { id, command }).await.unwrap();
        loop {
            match link.rx.recv().await {
                Some(FromEngine::Message(ToClient::Reply { id: of, result })) if of == id => match result {
                    Ok(()) => break,
                    Err(Refusal::JournalStopped { why }) => {
                        assert!(why.contains("cannot be written"), "{why}");
                        return usize::try_from(id).unwrap() - 1;
                    }
                    Err(other) => panic!("{other}"),
                },
                Some(FromEngine::Message(_)) => {}
                other => panic!("the engine left without a word: {other:?}"),
            }
        }
    }
    unreachable!("the disk is full at last")
}

const COMMANDS: [&str; 14] = [
    "start",
    "attach",
    "watch",
    "handover",
    "drill",
    "rehearse",
    "list",
    "export",
    "audit",
    "check",
    "runbook",
    "info",
    "completions",
    "man",
];

#[test]
fn completions_name_every_command_and_are_scripts_of_their_shells() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = person.command(&["completions", shell]).output().unwrap().stdout;
        let text = String::from_utf8(script).unwrap();
        for word in COMMANDS.iter().chain(&["--plain", "--read-only"]) {
            let bare = word.trim_start_matches("--");
            assert!(text.contains(bare), "{shell}: {word}");
        }
        let path = person.write(&format!("relight.{shell}"), &text);
        // bash is everywhere that this runs; the others may not be.
        match Command::new(shell).args(["-n", &path]).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => assert!(shell != "bash", "{error}"),
        }
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let person = Person::new();
    let page = person.command(&["man"]).output().unwrap().stdout;
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(".TH relight 1") && page.contains("read\\-only"), "{page}");
    let folder = person.path("man1");
    assert!(person.command(&["man", &folder.display().to_string()]).status().unwrap().success());
    for command in COMMANDS {
        let page = std::fs::read_to_string(folder.join(format!("relight-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
}
