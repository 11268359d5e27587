//! What is said of a system that ends its users' processes at logout. `loginctl` and `systemd-run` are stand-ins: scripts that
//! answer as the real ones do, and write down what they were asked.

use super::lost::prepared;
use super::process::{of, signal};
use super::terminal::{Person, Terminal};

const LOGINCTL: &str = r#"
echo "loginctl $*" >> "$XDG_RUNTIME_DIR/asked"
case "$*" in
"show-user --property=KillUserProcesses") echo "KillUserProcesses=KILL" ;;
"show-user "*" --property=Linger") echo "Linger=LINGER" ;;
*) exit 1 ;;
esac"#;

/// Runs what it is given, as the real one does in a scope of its own.
const SYSTEMD_RUN: &str = r#"
echo "systemd-run $*" >> "$XDG_RUNTIME_DIR/asked"
while [ "${1#--}" != "$1" ]; do
    [ "$1" = "--" ] && { shift; break; }
    shift
done
exec "$@""#;

struct World {
    person: Person,
    words: Vec<String>,
}

impl World {
    fn new(loginctl: &str, systemd_run: &str) -> Self {
        let mut person = Person::new();
        person.stand_in("loginctl", loginctl);
        person.stand_in("systemd-run", systemd_run);
        let words = prepared(&person);
        Self { person, words }
    }

    fn open(&self) -> Terminal {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        Terminal::start(&self.person, &words, 40, 120)
    }

    /// What the stand-ins were asked.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.person.folder().join("run/asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (pid, words) in of(self.person.folder()) {
            if words.contains(" engine ") {
                signal(pid, rustix::process::Signal::TERM);
            }
        }
    }
}

#[test]
fn with_stand_ins_that_say_all_is_killed_the_first_screen_says_what_helps() {
    let world = World::new(&LOGINCTL.replace("KILL\"", "yes\"").replace("LINGER\"", "no\""), SYSTEMD_RUN);
    let mut terminal = world.open();
    terminal.until_shown("Read this first");
    let user = relight::wire::own_name();
    terminal.until_shown(&format!("loginctl enable-linger {user}"));
    // The engine was started by the stand-in of systemd-run, which was tried before.
    let runs: Vec<String> = world.asked().into_iter().filter(|line| line.starts_with("systemd-run")).collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs[0], "systemd-run --user --scope --quiet --collect true");
    assert!(runs[1].starts_with("systemd-run --user --scope --quiet --collect --description=relight INC-"), "{runs:?}");
    assert!(runs[1].contains(" engine INC-"), "{runs:?}");
    terminal.keys("\x1b");
    terminal.until("the cockpit below", |screen| (!screen.contains("Read this first")).then_some(()));
    terminal.keys("q");
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn with_stand_ins_that_spare_everybody_nothing_is_said_and_nothing_started_otherwise() {
    let world = World::new(&LOGINCTL.replace("KILL\"", "no\""), SYSTEMD_RUN);
    let mut terminal = world.open();
    terminal.until("both questions", |_| (world.asked().len() == 2).then_some(()));
    let question = "loginctl show-user --property=KillUserProcesses";
    assert_eq!(world.asked(), [question, question]);
    terminal.keys("q");
    assert_eq!(terminal.ended(), 0);
}

#[test]
fn stand_ins_that_hang_hold_up_the_start_for_some_seconds_only() {
    let lingers = LOGINCTL.replace("KILL\"", "yes\"").replace("LINGER\"", "yes\"");
    for (loginctl, systemd_run) in [("exec sleep 1000", SYSTEMD_RUN), (lingers.as_str(), "exec sleep 1000")] {
        let world = World::new(loginctl, systemd_run);
        let mut terminal = world.open();
        terminal.until_shown("Flood the output");
        terminal.keys("\x1bq");
        terminal.keys("q");
        assert_eq!(terminal.ended(), 0);
        let left: Vec<_> = of(world.person.folder()).into_iter().filter(|(_, words)| words.contains("sleep")).collect();
        assert_eq!(left, []);
    }
}
