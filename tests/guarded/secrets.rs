//! A real incident whose every secret is one of a kind: none is found anywhere but where it must be, and no file that the
//! incident leaves can be read by others, whatever the umask.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use relight::drill::ready::Ready;
use relight::drill::rehearsal;
use relight::runbook::BUILT_IN;
use relight::wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::support::{ID, Person, id, opening, text};

/// A command that others would run with a umask that hides nothing.
fn open_handed(mut command: Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.stdin(Stdio::null());
    command.stdin(Stdio::null());
    shell
}

/// The drill's world; it ends with the test.
struct World(Child, Ready);

impl World {
    fn start(person: &Person) -> Self {
        let folder = person.path("world");
        let mut command = person.command(&["sandbox", "--dir"]);
        command.arg(&folder);
        let mut child = open_handed(command).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let ready = Ready::read(&folder).unwrap().unwrap();
        Self(child, ready)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.1.stop();
        let _ = self.0.wait();
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn secret(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Every secret by name, and what is put into the engine's environment.
#[derive(Default)]
struct Canaries {
    all: BTreeMap<&'static str, String>,
    environment: Vec<(String, String)>,
}

impl Canaries {
    fn found_in(&self, bytes: &[u8]) -> BTreeSet<&'static str> {
        let found = |canary: &String| memchr::memmem::find(bytes, canary.as_bytes()).is_some();
        self.all.iter().filter(|(_, canary)| found(canary)).map(|(name, _)| *name).collect()
    }

    /// The drill's config with secrets from files, variables and commands.
    fn plant(&mut self, ready: &Ready) -> String {
        let service = |name: &str| ready.services[name].token_file.clone();
        let sources: [(&'static str, PathBuf, &str); 10] = [
            ("postgres", ready.postgres_operator.password_file.clone(), "env"),
            ("s3 key id", ready.s3.access_key_file.clone(), "env"),
            ("s3 secret key", ready.s3.secret_key_file.clone(), "command"),
            ("redis", ready.redis.password_file.clone(), "command"),
            ("pagerduty", service("pagerduty"), "env"),
            ("launchdarkly", service("launchdarkly"), "file"),
            ("slack", service("slack"), "env"),
            ("grafana", service("grafana"), "command"),
            ("kubernetes", ready.kubernetes_token_file.clone(), "file"),
            ("postgres superuser", ready.postgres_superuser.password_file.clone(), "file"),
        ];
        let mut config = std::fs::read_to_string(&ready.config).unwrap();
        for (name, file, kind) in sources {
            let value = secret(&file);
            let as_file = format!("{{ file = {} }}", quoted(&file));
            match kind {
                "env" => {
                    let variable = format!("CANARY_{}", name.to_uppercase().replace(' ', "_"));
                    config = config.replace(&as_file, &format!("{{ env = \"{variable}\" }}"));
                    self.environment.push((variable, value.clone()));
                }
                "command" => {
                    let command = format!("{{ command = [\"cat\", {}] }}", quoted(&file));
                    config = config.replace(&as_file, &command);
                }
                _ => {}
            }
            assert!(value.len() >= 16, "{name} is one of a kind");
            self.all.insert(name, value);
        }
        for (name, variable) in [("header", "CANARY_HEADER"), ("smoke", "CANARY_SMOKE")] {
            let value = format!("one-of-a-kind-{name}-77d1c0b2a9");
            self.environment.push((variable.to_owned(), value.clone()));
            self.all.insert(name, value);
        }
        let paths = "paths = [\"/pj/status\"]\n";
        let header = format!("{paths}header = {{ name = \"X-Key\", value = {{ env = \"CANARY_HEADER\" }} }}\n");
        config = config.replace(paths, &header);
        config.replace("[command.smoke.env]\n", "[command.smoke.env]\nFOR_SMOKE = { env = \"CANARY_SMOKE\" }\n")
    }
}

/// Programs in the place of others, which note what they were given before they become those.
fn notebook(folder: &Path, real: &Path, name: &str) -> PathBuf {
    let path = folder.join("bin").join(name);
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    std::fs::create_dir_all(folder.join("notes")).unwrap();
    let script = format!(
        "#!/bin/sh\ncat /proc/$$/environ > {0}/{name}.$$.environ\ncat /proc/$$/cmdline > {0}/{name}.$$.cmdline\n\
         cat /proc/$PPID/cmdline > {0}/{name}.$$.parent.cmdline\nexec {1} \"$@\"\n",
        folder.join("notes").display(),
        real.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// What was seen of the processes of this machine while the incident went on: command lines, and the environments of
/// relight's children, by their names.
#[derive(Default)]
struct Seen {
    command_lines: BTreeSet<Vec<u8>>,
    environments: BTreeMap<String, Vec<u8>>,
    /// The engine was seen to leave no core file.
    limited: bool,
}

impl Seen {
    fn look(&mut self, engine: u32) {
        let children =
            |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut waiting: Vec<u32> = tasks(engine);
        while let Some(pid) = waiting.pop() {
            waiting.extend(children(pid).split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            let words = || std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = words();
            let environment = std::fs::read(format!("/proc/{pid}/environ"));
            // While a child becomes another program its words are those of neither, or none: what it was then is not told.
            let told = !line.is_empty() && words() == line;
            if let (true, Ok(environment)) = (told, environment) {
                let verb: Vec<&[u8]> = line.split(|byte| *byte == 0).take(2).collect();
                let name = String::from_utf8_lossy(&verb.join(&b' ')).into_owned();
                // Until it becomes another program, a child is the engine; and notebooks read their own.
                if !name.ends_with(" engine") && !name.starts_with("cat /proc/") {
                    self.environments.entry(name).or_default().extend(environment);
                }
            }
            self.command_lines.insert(line);
        }
        self.command_lines.insert(std::fs::read(format!("/proc/{engine}/cmdline")).unwrap_or_default());
        let limits = std::fs::read_to_string(format!("/proc/{engine}/limits")).unwrap_or_default();
        if let Some(core) = limits.lines().find_map(|line| line.strip_prefix("Max core file size")) {
            let core: Vec<&str> = core.split_whitespace().take(2).collect();
            assert_eq!(core, ["0", "0"], "the engine leaves no core file");
            self.limited = true;
        }
    }
}

/// The children of all threads of a process.
fn tasks(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Every byte that goes over the engine's socket; each time some do, the processes are looked at.
#[derive(Clone, Default)]
struct Tap {
    bytes: Arc<Mutex<Vec<u8>>>,
    seen: Arc<Mutex<Seen>>,
}

impl Tap {
    /// Stands between clients and the engine's socket.
    fn open(&self, at: &Path, socket: PathBuf, engine: u32) {
        let listener = UnixListener::bind(at).unwrap();
        let tap = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let engine_side = UnixStream::connect(&socket).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_engine, to_engine) = engine_side.into_split();
                tokio::spawn(tap.clone().pass(from_client, to_engine, engine));
                tokio::spawn(tap.clone().pass(from_engine, to_client, engine));
            }
        });
    }

    async fn pass(
        self,
        mut from: impl tokio::io::AsyncRead + Unpin,
        mut to: impl tokio::io::AsyncWrite + Unpin,
        engine: u32,
    ) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
            self.seen.lock().unwrap().look(engine);
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
}

/// Every file and socket under a folder that is this user's.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(path) = all.get(at).cloned() {
        at += 1;
        // What the database's own account owns is closed by PostgreSQL itself.
        if std::fs::symlink_metadata(&path)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::getuid().as_raw())
        {
            all.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all
}

fn nobody_else_may(folder: &Path) {
    let all = files(folder);
    assert!(all.len() > 1, "{all:?}");
    for path in all {
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.mode() & 0o777, wanted, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_found_where_it_need_not_be() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let person = Person::new();
    let world = World::start(&person);
    let ready = &world.1;
    let mut canaries = Canaries::default();
    let mut config = canaries.plant(ready);
    let notes = person.path("noted");
    for name in ["pg_restore", "pg_dump"] {
        notebook(&notes, &ready.postgres_bin.join(name), name);
    }
    config = config.replace(&quoted(&ready.postgres_bin), &quoted(&notes.join("bin")));
    let program = Path::new(env!("CARGO_BIN_EXE_relight"));
    let smoke = notebook(&notes, program, "smoke");
    let words = ", \"stand-in\", \"smoke\"";
    let (from, to) = (quoted(program) + words, quoted(&smoke) + words);
    assert!(config.contains(&from), "{config}");
    config = config.replace(&from, &to);
    std::fs::write(&ready.config, config).unwrap();

    let first = opening(BUILT_IN, "drill");
    let incident = person.home().create(&id(), &first).unwrap();
    let log = incident.join("engine.log");
    let mut command = person.command(&["engine", ID, "--config"]);
    command.arg(&ready.config).envs(canaries.environment.clone()).env("RELIGHT_LOG", "trace");
    let mut command = open_handed(command);
    let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
    std::fs::set_permissions(&log, PermissionsExt::from_mode(0o600)).unwrap();
    let mut engine = super::support::Engine::start({
        command.stderr(file);
        command
    });
    let pid = engine.0.id();
    let tap = Tap::default();
    let tapped = person.path("tap");
    tap.open(&tapped, person.socket(), pid);
    nobody_else_may(&person.path("run/relight"));
    let connect = async || wire::connect(&tapped, 0, false).await.map_err(|error| error.to_string());
    let closed = [person.state(), person.path("world")];
    let mut say = |_: &str| closed.iter().for_each(|folder| nobody_else_may(folder));
    let card = rehearsal::play(connect, ready, &mut say).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(card.passed, "{}", card.text());
    assert!(engine.0.wait().unwrap().success());
    nobody_else_may(&person.state());
    on_disk(&person, &canaries);
    let wire = tap.bytes.lock().unwrap();
    assert!(wire.len() > 100_000, "{}", wire.len());
    assert_eq!(canaries.found_in(&wire), BTreeSet::new(), "the wire");
    in_processes(&tap.seen.lock().unwrap(), &canaries);
    in_children(&notes.join("notes"), &canaries);
    sealed_notes(&person, ready);
    in_refusals(&person, ready);
}

/// What is left on disk, and what commands print of it.
fn on_disk(person: &Person, canaries: &Canaries) {
    let none = BTreeSet::new();
    let mut looked = 0;
    for path in files(&person.state()).into_iter().filter(|path| path.is_file()) {
        let mut bytes = Vec::new();
        std::fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
        looked += bytes.len();
        let line = bytes.split(|byte| *byte == b'\n').find(|line| !canaries.found_in(line).is_empty());
        assert_eq!(line.map(|line| (canaries.found_in(line), text(line))), None, "{}", path.display());
    }
    assert!(looked > 1 << 20, "a log of everything is long: {looked}");
    let id = ID;
    for words in [
        &["audit", id][..],
        &["audit", id, "--json"],
        &["export", id],
        &["export", id, "--format", "markdown"],
        &["export", id, "--format", "json"],
        &["export", id, "--format", "html"],
        &["export", id, "--format", "slack"],
        &["list", "--all", "--json"],
        &["info"],
    ] {
        let output = person.run(words);
        assert!(output.status.success());
        assert_eq!(canaries.found_in(&[output.stdout, output.stderr].concat()), none, "{words:?}");
    }
}

/// Command lines show to everybody; the environment holds what the program needs, and for that only.
fn in_processes(seen: &Seen, canaries: &Canaries) {
    assert!(seen.limited, "the engine was looked at");
    let none = BTreeSet::new();
    for line in &seen.command_lines {
        assert_eq!(canaries.found_in(line), none, "{}", text(line));
    }
    assert!(seen.environments.keys().any(|name| name.contains("shim")), "{:?}", seen.environments.keys());
    for (name, environment) in &seen.environments {
        let found = canaries.found_in(environment);
        let may: &[&str] = if name.contains("pg_") || name.contains("load") {
            &["postgres"]
        } else if name.contains("stand-in") || name.contains("smoke") {
            &["smoke"]
        } else {
            &[]
        };
        assert!(found.iter().all(|canary| may.contains(canary)), "{name}: {found:?}");
    }
}

/// What the programs noted themselves: they have what they need.
fn in_children(folder: &Path, canaries: &Canaries) {
    let none = BTreeSet::new();
    let mut had = BTreeMap::<String, BTreeSet<&str>>::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let found = canaries.found_in(&std::fs::read(&path).unwrap());
        if name.ends_with("cmdline") {
            assert_eq!(found, none, "{name}");
        } else {
            had.entry(name.split('.').next().unwrap().to_owned()).or_default().extend(found);
        }
    }
    let wanted = [("pg_dump", vec!["postgres"]), ("pg_restore", vec!["postgres"]), ("smoke", vec!["smoke"])];
    let wanted: BTreeMap<String, BTreeSet<&str>> =
        wanted.into_iter().map(|(name, may)| (name.to_owned(), may.into_iter().collect())).collect();
    assert_eq!(had, wanted);
}

/// Notes in PagerDuty carry the journal's seal, and the journal holds what they say.
fn sealed_notes(person: &Person, ready: &Ready) {
    let asked = std::fs::read_to_string(ready.records.join("pagerduty.jsonl")).unwrap();
    let seals: BTreeSet<&str> = asked
        .match_indices("journal ")
        .filter_map(|(at, word)| asked[at + word.len()..].split(|c: char| !(c.is_ascii_hexdigit() || c == ':')).next())
        .filter(|seal| seal.contains(':'))
        .collect();
    assert!(seals.len() >= 10, "{seals:?}");
    for seal in seals {
        let output = person.run(&["audit", ID, "--against", seal]);
        assert!(output.status.success(), "{seal}: {}", text(&output.stdout));
    }
}

/// Where everything is refused, errors have more to say; not this.
fn in_refusals(person: &Person, ready: &Ready) {
    let mut wrong = std::fs::read_to_string(&ready.config).unwrap();
    let mut others = Canaries::default();
    for (name, file) in [("grafana", &ready.services["grafana"].token_file), ("redis", &ready.redis.password_file)] {
        wrong = wrong.replace(&quoted(file), &quoted(&person.path(name)));
        others.all.insert(name, format!("a-wrong-canary-of-{name}-5d1e"));
        std::fs::write(person.path(name), &others.all[name]).unwrap();
    }
    let slack = &ready.services["slack"].base_url;
    others.all.insert("webhook", "T00/B00/a-wrong-canary-of-webhook-5d1e".to_owned());
    let hook = format!("{}/services/{}", slack.trim_end_matches("/api"), others.all["webhook"]);
    wrong = wrong.replace("token = { env = \"CANARY_SLACK\" }", "webhook = { env = \"CANARY_HOOK\" }");
    wrong = wrong.replace("channel = \"C0123456789\"\n", "");
    let path = person.path("wrong.toml");
    std::fs::write(&path, wrong).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = person.command(&["check", "--config"]);
    command.arg(&path).env("CANARY_HOOK", hook).env("RELIGHT_LOG", "trace");
    for name in ["postgres", "s3 key id", "pagerduty"] {
        let variable = format!("CANARY_{}", name.to_uppercase().replace(' ', "_"));
        let canary = format!("a-wrong-canary-of-{}-5d1e", name.replace(' ', "-"));
        command.env(variable, &canary);
        others.all.insert(name, canary);
    }
    command.env("CANARY_HEADER", "x");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = text(&[output.stdout, output.stderr].concat());
    assert!(said.matches("FAIL").count() >= 4, "{said}");
    assert_eq!(others.found_in(said.as_bytes()), BTreeSet::new(), "{said}");
}
