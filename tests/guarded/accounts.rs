//! Several accounts for real: one incident of one account, a second that approves, a third that looks on, and one that has
//! no business there. Becoming another account takes root; without it the tests say that they did not run.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use relight::engine::Home;
use relight::incident::{Command, Event, EventKind, Plan, Refusal};
use relight::journal::{self, FILE};
use relight::wire::ConnectError;
use rustix::process::{Gid, Uid};

use super::support::{Client, Engine, ID, id, opening, runbook, text};

#[derive(Debug, Clone)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Does something as this account: one thread becomes it, and the kernel takes it for that.
    fn does<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                rustix::thread::set_thread_groups(&[gid]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
            });
            thread.join().unwrap()
        })
    }
}

/// Accounts of this system as it is: three of one group, and one outside it.
fn accounts() -> Option<([Account; 3], Account, String)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let all: Vec<Account> = passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let name = (*fields.first()?).to_owned();
            Some(Account { name, uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
        })
        .filter(|account| account.uid != 0)
        .collect();
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    all.iter().find_map(|first| {
        let mut members = all.iter().filter(|account| account.gid == first.gid);
        let members = [members.next()?.clone(), members.next()?.clone(), members.next()?.clone()];
        let group = groups.lines().find(|line| line.split(':').nth(2) == Some(&first.gid.to_string()))?;
        let (name, listed) = (group.split(':').next()?, group.rsplit(':').next()?);
        let outside =
            |account: &&Account| account.gid != first.gid && !listed.split(',').any(|member| member == account.name);
        Some((members, all.iter().find(outside)?.clone(), name.to_owned()))
    })
}

struct World {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl World {
    /// A folder that everybody may pass, with the program and a config of the administrator's in it.
    fn new(owner: &Account, approver: &Account) -> Self {
        let folder = tempfile::Builder::new().prefix("rl").tempdir_in("/tmp").unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        mode(folder.path(), 0o711);
        let program = folder.path().join("relight");
        let built = env!("CARGO_BIN_EXE_relight");
        std::fs::hard_link(built, &program).or_else(|_| std::fs::copy(built, &program).map(|_| ())).unwrap();
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        chown(&shared, Some(owner.uid), Some(owner.gid)).unwrap();
        mode(&shared, 0o700);
        let config = folder.path().join("config.toml");
        let text = format!(
            "environment = 'test'\nstate_dir = '{}'\n[people]\napprovers = ['{}']\n[command.effect]\nargv = ['id', '-u']\n",
            shared.display(),
            approver.name
        );
        std::fs::write(&config, text).unwrap();
        mode(&config, 0o644);
        Self { folder, program }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn home(&self) -> Home {
        Home::find(Some(&self.folder.path().join("shared"))).unwrap()
    }

    /// Folders of an account's own, for sockets.
    fn run(&self, account: &Account) -> PathBuf {
        let run = self.folder.path().join(format!("run-{}", account.uid));
        if std::fs::create_dir(&run).is_ok() {
            chown(&run, Some(account.uid), Some(account.gid)).unwrap();
            std::fs::set_permissions(&run, PermissionsExt::from_mode(0o700)).unwrap();
        }
        run
    }

    fn command(&self, account: &Account, words: &[&str]) -> Process {
        let mut command = Process::new(&self.program);
        command.args(words).arg("--config").arg(self.config()).uid(account.uid).gid(account.gid);
        command.env("XDG_RUNTIME_DIR", self.run(account)).env("HOME", "/nonexistent").current_dir("/");
        command.stdin(Stdio::null());
        command
    }

    fn says(&self, account: &Account, words: &[&str]) -> Output {
        self.command(account, words).output().unwrap()
    }

    fn own(&self, account: &Account) -> PathBuf {
        self.run(account).join("relight").join(format!("{ID}.sock"))
    }

    fn shared(&self) -> PathBuf {
        self.home().shared_socket(&id()).unwrap()
    }
}

fn refused(result: Result<(), Refusal>, words: &str) {
    let why = result.expect_err("it is refused").to_string();
    assert!(why.contains(words), "{why}");
}

/// A process of this account that keeps its memory to itself: no core, and what is in `/proc` of it is root's.
fn keeps_to_itself(pid: u32, account: &Account) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core: Vec<&str> =
        limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[..2], ["0", "0"], "{limits}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap().split_whitespace().next().unwrap();
    assert_eq!(uid, account.uid.to_string());
    assert_eq!(std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0, "it can be dumped");
}

#[test]
fn two_accounts_bring_one_incident_forward_and_others_do_not() {
    let Some(([first, second, third], outsider, group)) = accounts() else {
        eprintln!("skipped: it takes root, three accounts of one group and one outside it");
        return;
    };
    let world = World::new(&first, &second);
    first.does(async || {
        let steps = runbook(&[("two", "two_person"), ("one", "confirm")]);
        world.home().create(&id(), &opening(&steps, "test")).unwrap();
    });
    let mut command = world.command(&first, &["engine", ID, "--share-group", &group]);
    command.stderr(Stdio::null());
    let engine = Engine::start(command);
    keeps_to_itself(engine.0.id(), &first);

    // The second account finds it by the config alone, reads it, and can change nothing of it.
    for (words, says) in [(&["list"][..], ID), (&["audit", ID], "chain whole"), (&["export", ID], ID)] {
        let output = world.says(&second, words);
        assert!(output.status.success() && text(&output.stdout).contains(says), "{words:?}: {output:?}");
    }
    let incident = world.home().folder(&id());
    second.does(async || {
        assert!(std::fs::File::options().append(true).open(incident.join(FILE)).is_err());
        assert!(std::fs::read_dir(incident.join("output")).is_err());
        assert!(std::fs::write(incident.join("lock"), "").is_err());
    });

    let plan: Plan = first.does(async || {
        let mut client = Client::attach(&world.own(&first), false).await.unwrap();
        assert_eq!((client.link.you.uid, client.link.watching.clone()), (Some(first.uid), None));
        let plan = client.plan("two").await;
        client.approve(&plan).await.unwrap();
        refused(client.approve(&plan).await, "another account");
        plan
    });
    third.does(async || {
        let mut client = Client::attach(&world.shared(), false).await.unwrap();
        assert_eq!(client.link.you.uid, Some(third.uid));
        assert!(client.link.watching.as_ref().unwrap().contains("is not among people.approvers"));
        refused(client.approve(&plan).await, "look on");
        refused(client.ask(Command::Note { text: "hello".to_owned() }).await, "look on");
    });
    // Whoever may become root is no second person by that.
    let root = Account { name: "root".to_owned(), uid: 0, gid: 0 };
    root.does(async || {
        let mut client = Client::attach(&world.own(&first), false).await.unwrap();
        assert_eq!(client.link.you.uid, Some(0));
        refused(client.approve(&plan).await, "root is not among people.approvers");
    });
    second.does(async || {
        let mut client = Client::attach(&world.shared(), true).await.unwrap();
        refused(client.approve(&plan).await, "only look on");
        let mut client = Client::attach(&world.shared(), false).await.unwrap();
        assert_eq!((client.link.you.uid, client.link.watching.clone()), (Some(second.uid), None));
        client.approve(&plan).await.unwrap();
        client.until_done("two").await;
    });
    // The folder keeps the outsider out; were it open, the engine would.
    outsider.does(async || {
        let error = Client::attach(&world.shared(), false).await.map(|_| ()).expect_err("it is not shared with it");
        assert!(
            matches!(&error, ConnectError::Io(why) if why.kind() == std::io::ErrorKind::PermissionDenied),
            "{error}"
        );
    });
    let shared = world.shared();
    for (path, mode) in
        [(world.home().root(), 0o711), (incident.parent().unwrap(), 0o751), (&incident, 0o751), (&shared, 0o666)]
    {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    outsider.does(async || {
        let error = Client::attach(&world.shared(), false).await.map(|_| ()).expect_err("it is not shared with it");
        assert!(matches!(&error, ConnectError::Unwelcome(why) if why.contains("it is not shared with you")), "{error}");
    });

    let events: Vec<Event> = journal::read(&incident.join(FILE)).unwrap().events;
    let approvals: Vec<(Option<u32>, Option<u32>, bool)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Approved { first: Some(first), .. } => Some((event.actor.uid, first.by.uid, first.asserted)),
            EventKind::Approved { .. } => Some((event.actor.uid, None, false)),
            _ => None,
        })
        .collect();
    assert_eq!(approvals, [(Some(second.uid), Some(first.uid), false)]);
    let audit = text(&world.says(&first, &["audit", ID]).stdout);
    let who = format!("{} (uid {}) approved attempt 1 of two", second.name, second.uid);
    assert!(
        audit.contains(&who) && audit.contains(&format!("{} (uid {}) approved it first", first.name, first.uid)),
        "{audit}"
    );
    assert!(audit.contains("(another account)"), "{audit}");
}

/// What an incident leaves on disk that is shared with a group: they pass, find and read, and nobody else does anything.
#[test]
fn a_shared_incident_opens_no_more_than_it_must() {
    let Some(([first, second, _], _, group)) = accounts() else {
        eprintln!("skipped: it takes root, three accounts of one group and one outside it");
        return;
    };
    let world = World::new(&first, &second);
    first.does(async || {
        world.home().create(&id(), &opening(&runbook(&[("one", "confirm")]), "test")).unwrap();
    });
    let mut command = world.command(&first, &["engine", ID, "--share-group", &group]);
    command.stderr(Stdio::null());
    let _engine = Engine::start(command);
    first.does(async || {
        let mut client = Client::attach(&world.own(&first), false).await.unwrap();
        let plan = client.plan("one").await;
        client.approve(&plan).await.unwrap();
        client.until_done("one").await;
    });
    let root = world.home().root().to_owned();
    let incident = world.home().folder(&id());
    let modes = [
        (root.clone(), 0o710),
        (root.join("incidents"), 0o750),
        (incident.clone(), 0o750),
        (incident.join(FILE), 0o640),
        (incident.join("s"), 0o660),
    ];
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            assert_eq!(meta.uid(), first.uid, "{}", path.display());
            let usual = if meta.is_dir() { 0o700 } else { 0o600 };
            let wanted = modes.iter().find(|(known, _)| *known == path).map_or(usual, |(_, mode)| *mode);
            assert_eq!(meta.mode() & 0o7777, wanted, "{}", path.display());
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    assert_eq!(std::fs::metadata(&modes[0].0).unwrap().mode() & 0o7777, modes[0].1);

    // A cockpit keeps to itself as the engine does.
    let pair = native_pty_system().openpty(PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 }).unwrap();
    let mut command = CommandBuilder::new("setpriv");
    command.args([format!("--reuid={}", second.uid), format!("--regid={}", second.gid)]);
    command.args(["--clear-groups", "--"]);
    command.arg(&world.program);
    command.args(["watch", ID, "--config"]);
    command.arg(world.config());
    command.env("XDG_RUNTIME_DIR", world.run(&second));
    command.env("TERM", "xterm-256color");
    command.cwd("/");
    let mut cockpit = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let cells = |count| std::num::NonZero::new(count).unwrap();
    let mut screen = vt100::Parser::new(cells(24), cells(80), 0);
    let mut buffer = [0; 4096];
    while !screen.screen().contents().contains("WATCHING") {
        let read = std::io::Read::read(&mut reader, &mut buffer);
        let count = read.unwrap_or_else(|error| panic!("{error}: {}", screen.screen().contents()));
        assert!(count > 0, "{}", screen.screen().contents());
        screen.process(&buffer[..count]);
    }
    keeps_to_itself(cockpit.process_id().unwrap(), &second);
    cockpit.kill().unwrap();
    cockpit.wait().unwrap();
}
