//! The real program in a real pseudo-terminal: keys in, a screen out.

use std::io::{Read as _, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use relight::incident::{EventKind, State};
use rustix::process::Pid;

/// A test that waits longer than this for something to appear has failed.
const PATIENCE: Duration = Duration::from_mins(3);

/// Folders of a person of their own, so that tests meet nobody's incidents.
pub(super) struct Person {
    folder: tempfile::TempDir,
    /// Programs that are found before the system's.
    stand_ins: Option<PathBuf>,
}

impl Person {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("rl").tempdir().expect("a folder"), stand_ins: None }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives this person a config and a runbook; the options that name them.
    pub(super) fn prepare(&self, config: &str, runbook: &str) -> [String; 4] {
        use std::os::unix::fs::OpenOptionsExt as _;
        let paths = ["test.toml", "runbook.toml"].map(|name| self.folder().join(name));
        for (path, text) in paths.iter().zip([config, runbook]) {
            let mut options = std::fs::File::options();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).expect("a file");
            file.write_all(text.as_bytes()).expect("written");
        }
        let [config, runbook] = paths.map(|path| path.display().to_string());
        ["--config".to_owned(), config, "--runbook".to_owned(), runbook]
    }

    /// Puts a shell script in the place of a program.
    pub(super) fn stand_in(&mut self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let programs = self.stand_ins.get_or_insert_with(|| self.folder.path().join("stand-ins")).clone();
        std::fs::create_dir_all(&programs).expect("a folder");
        let path = programs.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("a program");
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("state/relight")
    }

    /// Environment variables for a program that this person runs.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let runtime = self.folder.path().join("run");
        std::fs::create_dir_all(&runtime).expect("a folder");
        let mut all = vec![
            ("XDG_STATE_HOME", self.folder.path().join("state")),
            ("XDG_CONFIG_HOME", self.folder.path().join("config")),
            ("XDG_RUNTIME_DIR", runtime),
        ];
        if let Some(stand_ins) = &self.stand_ins {
            let mut path = stand_ins.clone().into_os_string();
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            all.push(("PATH", path.into()));
        }
        all
    }

    /// Runs the program to its end, without a terminal.
    pub(super) fn run(&self, arguments: &[&str]) -> std::process::Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_relight"))
            .args(arguments)
            .envs(self.environment())
            .output()
            .expect("the program runs")
    }

    /// The only incident's state, read from its journal; none before there is one.
    pub(super) fn incident(&self) -> Option<State> {
        State::replay(&self.history()?.events).ok()
    }

    /// What the only incident's journal holds.
    pub(super) fn history(&self) -> Option<relight::journal::History> {
        relight::journal::read(&self.incident_folder()?.join("journal.jsonl")).ok()
    }

    /// The first engine of the only incident.
    pub(super) fn engine(&self) -> Pid {
        let history = self.history().expect("a journal");
        let started = history.events.iter().find_map(|event| match event.kind {
            EventKind::EngineStarted { pid, .. } => i32::try_from(pid).ok().and_then(Pid::from_raw),
            _ => None,
        });
        started.expect("an engine")
    }

    /// The only incident's folder.
    pub(super) fn incident_folder(&self) -> Option<PathBuf> {
        let mut folders = std::fs::read_dir(self.state().join("incidents")).ok()?;
        Some(folders.next()?.ok()?.path())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // A failed test must not leave servers behind, nor an engine and what it runs.
        self.run(&["drill", "--stop"]);
        if std::thread::panicking() {
            for (pid, _) in super::process::of(self.folder.path()) {
                // It may have ended meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// What a terminal was told beyond what it shows.
#[derive(Default)]
pub(super) struct Told {
    pub(super) bells: usize,
    pub(super) title: String,
    /// Questions how it is (DSR 5) that wait for an answer.
    asked: usize,
}

impl vt100::Callbacks for Told {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.bells += 1;
    }

    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        _: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        last: char,
    ) {
        if (parameters, last) == (&[&[5]], 'n') {
            self.asked += 1;
        }
    }

    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.title = String::from_utf8_lossy(title).into_owned();
    }
}

/// The program on a terminal.
pub(super) struct Terminal {
    parser: vt100::Parser<Told>,
    bytes: Receiver<Vec<u8>>,
    keyboard: Box<dyn Write + Send>,
    /// It answers what it is asked; not while it is far away.
    answers: bool,
    child: Box<dyn Child + Send + Sync>,
    /// Kept for its size: the program would see it hang up.
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    pub(super) fn start(person: &Person, arguments: &[&str], rows: u16, cols: u16) -> Self {
        Self::start_as("xterm-256color", person, arguments, rows, cols)
    }

    /// On a terminal of another kind.
    pub(super) fn start_as(kind: &str, person: &Person, arguments: &[&str], rows: u16, cols: u16) -> Self {
        let program = format!("exec {} {}", env!("CARGO_BIN_EXE_relight"), arguments.join(" "));
        Self::run(kind, person, &program, rows, cols)
    }

    /// A shell's commands on a terminal; `$RELIGHT` is the program.
    pub(super) fn shell(person: &Person, commands: &str, rows: u16, cols: u16) -> Self {
        let commands = commands.replace("$RELIGHT", env!("CARGO_BIN_EXE_relight"));
        Self::run("xterm-256color", person, &commands, rows, cols)
    }

    fn run(kind: &str, person: &Person, commands: &str, rows: u16, cols: u16) -> Self {
        let pair = native_pty_system()
            .openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 })
            .expect("a pseudo-terminal");
        // `script` runs it on a terminal of its own between this one and the program: when it is killed, that inner
        // terminal hangs up for the program as a dropped connection's does.
        let mut command = CommandBuilder::new("script");
        command.args(["--quiet", "--return", "--command", commands, "/dev/null"]);
        command.cwd(Path::new("/"));
        for (name, value) in person.environment() {
            command.env(name, value);
        }
        command.env("TERM", kind);
        command.env("LANG", "C.UTF-8");
        command.env_remove("TMUX");
        let child = pair.slave.spawn_command(command).expect("the program starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let keyboard = pair.master.take_writer().expect("a writer");
        let (send, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let parser = vt100::Parser::new_with_callbacks(nonzero(rows), nonzero(cols), 0, Told::default());
        Self { parser, bytes, keyboard, answers: true, child, _master: pair.master }
    }

    pub(super) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    pub(super) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).expect("the terminal takes keys");
    }

    /// Takes in what the program draws until `found` finds something on the screen.
    pub(super) fn until<T>(&mut self, what: &str, mut found: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(&self.text()) {
                return found;
            }
            self.hear(what, deadline);
        }
    }

    /// Takes in what the program draws until the terminal's title is this one.
    pub(super) fn until_titled(&mut self, title: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.told().title != title {
            self.hear(title, deadline);
        }
    }

    fn hear(&mut self, what: &str, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.bytes.recv_timeout(left) {
            Ok(bytes) => {
                self.parser.process(&bytes);
                if self.answers {
                    self.answer();
                }
            }
            Err(ended) => panic!("{what} did not appear ({ended}). The screen:\n{}", self.text()),
        }
    }

    /// From now on it answers nothing by itself: as one behind a slow link, or one that never does.
    pub(super) fn answer_later(&mut self) {
        self.answers = false;
    }

    /// Answers what it was asked meanwhile, and what it will be asked.
    pub(super) fn answer_again(&mut self) {
        self.answers = true;
        self.answer();
    }

    fn answer(&mut self) {
        for _ in 0..std::mem::take(&mut self.parser.callbacks_mut().asked) {
            self.keys("\x1b[0n");
        }
    }

    /// What it was told beyond what it shows.
    pub(super) fn told(&self) -> &Told {
        self.parser.callbacks()
    }

    /// Whether the program is told of the mouse.
    pub(super) fn tells_of_its_mouse(&self) -> bool {
        self.parser.screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None
    }

    pub(super) fn until_shown(&mut self, text: &str) {
        self.until(text, |screen| screen.contains(text).then_some(()));
    }

    /// The process that holds the program's terminal.
    pub(super) fn holder(&self) -> Pid {
        let id = self.child.process_id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw).expect("the terminal's holder runs")
    }

    /// Kills what holds the program's terminal, as a dropped connection does.
    pub(super) fn hang_up(mut self) {
        self.child.kill().expect("the terminal's holder can be killed");
        self.child.wait().expect("the terminal's holder ends");
    }

    /// Waits until the program ends by itself.
    pub(super) fn ended(&mut self) -> u32 {
        self.child.wait().expect("the program ends").exit_code()
    }
}

fn nonzero(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).expect("a screen has rows and columns")
}
