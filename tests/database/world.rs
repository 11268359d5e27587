//! A real PostgreSQL and a real S3 server, which end with the test.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use relight::config::Config;
use relight::incident::{AttemptId, Fact, Gravity, IncidentId, Inputs, Knowledge, KnownFact, Notice, ObjectRef, Plan};
use relight::runbook::{StepId, TargetRef};
use relight::workers::process::use_program;
use relight::workers::s3::Place;
use relight::workers::{Cancel, Context, Done, Io, Ran, Sink, Worker, WorkerError};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls};

use super::front::Front;

pub(crate) const PASSWORD: &str = "pw-of-relight";
const SUPER: &str = "pw-of-postgres";

/// A small database with a bit of everything, as its owner makes it.
const SCHEMA: &str = "
CREATE TABLE accounts (id serial PRIMARY KEY, email text UNIQUE NOT NULL);
CREATE TABLE transactions (id bigserial PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, amount numeric(12,2) NOT NULL);
CREATE TABLE audit_log (at timestamptz DEFAULT now(), line text);
CREATE INDEX ON transactions (account_id);
CREATE VIEW balances AS SELECT account_id, sum(amount) AS balance FROM transactions GROUP BY 1;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM transactions;
INSERT INTO accounts (email) SELECT 'user' || i || '@example.com' FROM generate_series(1, 500) i;
INSERT INTO transactions (account_id, amount) SELECT 1 + i % 500, i / 7.0 FROM generate_series(1, 20000) i;
INSERT INTO audit_log (line) VALUES (E'two\\nlines'), (E'back\\\\slash'), ('\\.');
REFRESH MATERIALIZED VIEW totals;
ANALYZE;";

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Seen {
    lines: Mutex<Vec<String>>,
    notices: Mutex<Vec<Notice>>,
    remarks: Mutex<Vec<String>>,
}

impl Sink for Seen {
    fn line(&self, text: &str) {
        self.lines.lock().unwrap().push(text.to_owned());
    }
    fn notice(&self, notice: Notice) {
        self.notices.lock().unwrap().push(notice);
    }
    fn remark(&self, text: &str) {
        self.remarks.lock().unwrap().push(text.to_owned());
    }
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    postmaster: Child,
    pub(crate) port: u16,
    /// How often the server said that it takes connections.
    ready: watch::Receiver<u32>,
    bin: PathBuf,
    pub(crate) config: Config,
    facts: Mutex<Vec<KnownFact>>,
    attempts: Mutex<u32>,
    inputs: Mutex<Inputs>,
    pub(crate) seen: Arc<Seen>,
    /// What stands before the S3 server.
    pub(crate) front: Arc<Front>,
}

impl Drop for World {
    fn drop(&mut self) {
        let pid = i32::try_from(self.postmaster.id()).ok().and_then(Pid::from_raw).unwrap();
        // Immediate: the cluster is thrown away.
        let _ = kill_process(pid, Signal::QUIT);
        let _ = self.postmaster.wait();
    }
}

/// An account that PostgreSQL runs as when we are root, which it refuses to be.
pub(crate) fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let text = std::fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

/// PostgreSQL's programs: of the newest version that is installed, or where the environment says.
fn bin() -> PathBuf {
    if let Some(bin) = std::env::var_os("RELIGHT_TEST_POSTGRES_BIN") {
        return bin.into();
    }
    let mut found: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").unwrap().flatten().map(|entry| entry.path().join("bin")).collect();
    found.sort();
    found.into_iter().rev().find(|bin| bin.join("initdb").exists()).expect("PostgreSQL")
}

/// Waits until it is so. The server waits, with pauses: a client that asks without end, and the session that answers it,
/// would keep everybody else of the machine from being heard.
pub(crate) async fn until(client: &Client, condition: &str) {
    let wait = format!(
        "DO $wait$ BEGIN WHILE NOT ({condition}) LOOP \
           PERFORM pg_catalog.pg_sleep(0.01); PERFORM pg_catalog.pg_stat_clear_snapshot(); END LOOP; END $wait$"
    );
    client.batch_execute(&wait).await.unwrap();
}

impl World {
    pub(crate) async fn new() -> Self {
        use_program(PathBuf::from(env!("CARGO_BIN_EXE_relight")));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)).unwrap();
        let (bin, home, account) = (bin(), path.join("pg"), account());
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("pw"), SUPER).unwrap();
        if let Some((uid, gid)) = account {
            std::os::unix::fs::chown(&home, Some(uid), Some(gid)).unwrap();
        }
        let as_account = |program: PathBuf| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "QUIT"]).current_dir(&home).stdin(Stdio::null()).stdout(Stdio::null());
            if let Some((uid, gid)) = account {
                command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
            }
            command.arg(program).env("LC_ALL", "C");
            command
        };
        let made = as_account(bin.join("initdb"))
            .args([
                "--username=postgres",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--pwfile=pw",
                "-D",
            ])
            .arg(home.join("data"))
            .status()
            .unwrap();
        assert!(made.success());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = as_account(bin.join("postgres"));
        command.arg("-D").arg(home.join("data")).args(["-p", &port.to_string()]).stderr(Stdio::piped());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "max_prepared_transactions=5",
            "autovacuum=off",
            "wal_level=logical",
        ] {
            command.args(["-c", setting]);
        }
        let mut postmaster = command.spawn().unwrap();
        let mut output = BufReader::new(postmaster.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready to accept connections") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the server ended");
        }
        let (says, ready) = watch::channel(1);
        // The server must not be made to wait for a reader either.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.contains("ready to accept connections") {
                    says.send_modify(|times| *times += 1);
                }
            }
        });
        let front = Arc::new(Front::default());
        let s3 = serve_s3(&path.join("s3"), Arc::clone(&front)).await;
        let config = config(path, &bin, port, &s3);
        std::fs::create_dir_all(path.join("incident/output")).unwrap();
        let world = Self {
            postmaster,
            port,
            ready,
            bin,
            config,
            facts: Mutex::default(),
            attempts: Mutex::new(0),
            inputs: Mutex::default(),
            seen: Arc::default(),
            front,
            folder,
        };
        world.make_database().await;
        world
    }

    async fn make_database(&self) {
        let admin = self.sql("postgres", SUPER, "postgres").await;
        for statement in [
            format!("CREATE ROLE fc_app LOGIN PASSWORD '{PASSWORD}'"),
            format!(
                "CREATE ROLE relight LOGIN CREATEDB PASSWORD '{PASSWORD}' IN ROLE fc_app, pg_signal_backend, pg_read_all_stats"
            ),
            "CREATE DATABASE financecopilot OWNER fc_app".to_owned(),
        ] {
            admin.batch_execute(&statement).await.unwrap();
        }
        self.run_sql(SCHEMA).await;
    }

    /// A session of its own. It ends when it is dropped.
    pub(crate) async fn sql(&self, user: &str, password: &str, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database).application_name("api");
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn app(&self) -> Client {
        self.sql("fc_app", PASSWORD, "financecopilot").await
    }

    pub(crate) async fn admin(&self, database: &str) -> Client {
        self.sql("postgres", SUPER, database).await
    }

    /// One number that the database answers; the session is gone when this returns.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let client = self.app().await;
        let number = client.query_one(sql, &[]).await.unwrap().get(0);
        self.leave(client).await;
        number
    }

    /// One text that the server answers a superuser, asked from outside the database.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let admin = self.admin("postgres").await;
        admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Statements as a superuser, in any database; the session is gone when this returns.
    pub(crate) async fn as_super(&self, database: &str, sql: &str) {
        let client = self.admin(database).await;
        client.batch_execute(sql).await.unwrap();
        self.leave(client).await;
    }

    /// Statements as the service; the session is gone when this returns.
    pub(crate) async fn run_sql(&self, sql: &str) {
        let client = self.app().await;
        client.batch_execute(sql).await.unwrap();
        self.leave(client).await;
    }

    /// Ends a session and waits until the server has taken it off its list.
    pub(crate) async fn leave(&self, client: Client) {
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        drop(client);
        let admin = self.admin("postgres").await;
        until(&admin, &format!("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})")).await;
    }

    /// The server lists a session until its process has ended; asking it is the wait.
    pub(crate) async fn until_gone(&self, application: &str) {
        let admin = self.admin("postgres").await;
        let there = format!(
            "SELECT FROM pg_stat_activity WHERE datname = 'financecopilot' AND application_name = '{application}'"
        );
        until(&admin, &format!("NOT EXISTS ({there})")).await;
    }

    /// How often the server has come up.
    pub(crate) fn starts(&self) -> u32 {
        *self.ready.borrow()
    }

    /// The server came up again since there were so many starts.
    pub(crate) async fn until_restarted(&self, since: u32) {
        self.ready.clone().wait_for(|times| *times > since).await.expect("the server runs");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn object_file(&self, key: &str) -> PathBuf {
        self.path().join("s3/backups").join(key)
    }

    /// A dump as the backup job makes it.
    pub(crate) fn pg_dump(&self, database: &str, options: &[&str]) -> Vec<u8> {
        self.try_pg_dump(database, options).expect("pg_dump dumps")
    }

    /// A dump, where pg_dump knows these options.
    pub(crate) fn try_pg_dump(&self, database: &str, options: &[&str]) -> Option<Vec<u8>> {
        let output = Command::new(self.bin.join("pg_dump"))
            .args(["-Fc", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()])
            .args(options)
            .arg(database)
            .env("PGPASSWORD", SUPER)
            .output()
            .unwrap();
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(output.stdout)
    }

    /// Puts an object where snapshots are, and pins it.
    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) -> ObjectRef {
        let file = self.object_file(key);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
        let place = Place::open(&self.config, &TargetRef::S3("backups".to_owned())).await.unwrap();
        place.head(key, None).await.unwrap().unwrap()
    }

    /// Lets a step have found something.
    pub(crate) fn know(&self, step: &str, fact: Fact) {
        let attempt = AttemptId(*self.attempts.lock().unwrap());
        self.facts.lock().unwrap().push(KnownFact { step: StepId::new(step), attempt, standing: true, fact });
    }

    /// Opens a step again: what it found does not stand any more, and the world is as it was.
    pub(crate) fn reopened(&self, step: &str) {
        self.facts
            .lock()
            .unwrap()
            .iter_mut()
            .filter(|known| known.step.as_str() == step)
            .for_each(|known| known.standing = false);
    }

    /// A program of the server's version.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// What the person says to every plan from now on; nothing takes it back.
    pub(crate) fn answer(&self, name: &str, answer: &str) {
        let mut inputs = self.inputs.lock().unwrap();
        if answer.is_empty() {
            inputs.remove(name);
        } else {
            inputs.insert(name.to_owned(), answer.to_owned());
        }
    }

    pub(crate) fn chosen(&self, object: &ObjectRef) {
        self.know(
            "select.snapshot",
            Fact::Snapshot { object: object.clone(), taken_at: "2026-11-23T06:00:00Z".parse().unwrap() },
        );
    }

    pub(crate) fn incident() -> IncidentId {
        IncidentId::new("INC-TEST").unwrap()
    }

    pub(crate) fn context(&self, step: &str) -> Context {
        Context {
            step: StepId::new(step),
            title: step.to_owned(),
            attempt: Some(AttemptId(*self.attempts.lock().unwrap())),
            inputs: self.inputs.lock().unwrap().clone(),
            undoes: None,
            knowledge: Arc::new(Knowledge {
                writes_stopped_at: Some(Timestamp::now()),
                facts: self.facts.lock().unwrap().clone(),
                ..Knowledge::at_first(Self::incident(), "test", "financecopilot", Timestamp::now())
            }),
            config: Arc::new(self.config.clone()),
            folder: self.path().join("incident"),
        }
    }

    pub(crate) fn log(&self) -> String {
        let attempt = *self.attempts.lock().unwrap();
        std::fs::read_to_string(self.path().join(format!("incident/output/{attempt}.log"))).unwrap_or_default()
    }

    /// The plan with what preflight finds, as a person sees it.
    pub(crate) async fn plan(&self, step: &str, worker: &dyn Worker) -> Result<Plan, WorkerError> {
        *self.attempts.lock().unwrap() += 1;
        // A dump of the test's own is still a session for a moment after its program ended.
        self.until_gone("pg_dump").await;
        let cx = self.context(step);
        let mut plan = worker.plan(&cx).await?;
        plan.inputs.clone_from(&cx.inputs);
        let findings = worker.preflight(&cx, &plan).await?;
        plan.findings.extend(findings);
        Ok(plan)
    }

    pub(crate) fn io(&self, cancel: Cancel) -> Io {
        let attempt = *self.attempts.lock().unwrap();
        let log = self.path().join(format!("incident/output/{attempt}.log"));
        Io::new(AttemptId(attempt), cancel, log, Arc::clone(&self.seen) as Arc<dyn Sink>)
    }

    /// Runs an approved plan, as the engine does: the target must still be the one that was approved.
    pub(crate) async fn run(&self, step: &str, worker: &dyn Worker, plan: &Plan) -> Result<Ran, WorkerError> {
        assert_eq!(worker.identify(&self.context(step)).await?, plan.target);
        self.run_only(step, worker, plan).await
    }

    /// Runs a plan without asking the target once more who it is.
    pub(crate) async fn run_only(&self, step: &str, worker: &dyn Worker, plan: &Plan) -> Result<Ran, WorkerError> {
        let (hand, cancel) = Cancel::new();
        let cx = self.context(step);
        let ran = worker.run(&cx, plan, &self.io(cancel)).await;
        drop(hand);
        ran
    }

    /// Plans, finds no obstacle, runs, and remembers what was found out.
    pub(crate) async fn done(&self, step: &str, worker: &dyn Worker) -> Done {
        let plan = self.plan(step, worker).await.unwrap();
        assert_eq!(plan.obstacle(), None);
        match self.run(step, worker, &plan).await.unwrap_or_else(|error| panic!("{error}\n{}", self.log())) {
            Ran::Done(done) => {
                done.facts.iter().for_each(|fact| self.know(step, fact.clone()));
                done
            }
            Ran::Stopped(why) => panic!("{why}"),
        }
    }

    /// The lines that workers wrote themselves.
    pub(crate) fn said(&self) -> Vec<String> {
        self.seen.lines.lock().unwrap().clone()
    }

    /// Everything that was shown or written of any attempt: lines, notices, and each file beside the logs.
    pub(crate) fn everything(&self) -> String {
        let mut all = format!("{:?}\n{:?}\n", self.said(), self.seen.notices.lock().unwrap());
        for entry in std::fs::read_dir(self.path().join("incident/output")).unwrap().flatten() {
            all.push_str(&std::fs::read_to_string(entry.path()).unwrap());
        }
        all
    }

    /// What was shown of progress.
    pub(crate) fn progress(&self) -> Vec<(String, u64, Option<u64>)> {
        let of = |notice: &Notice| match notice {
            Notice::Progress { label, done, total, .. } => Some((label.clone(), *done, *total)),
            _ => None,
        };
        self.seen.notices.lock().unwrap().iter().filter_map(of).collect()
    }
}

pub(crate) fn texts(plan: &Plan, gravity: Gravity) -> Vec<String> {
    plan.findings.iter().filter(|finding| finding.gravity == gravity).map(|finding| finding.text.clone()).collect()
}

pub(crate) fn database() -> TargetRef {
    TargetRef::Postgres("financecopilot".to_owned())
}

struct S3Login {
    endpoint: String,
    key: PathBuf,
    secret: PathBuf,
}

async fn serve_s3(root: &Path, front: Arc<Front>) -> S3Login {
    std::fs::create_dir_all(root.join("backups")).unwrap();
    let write = |name: &str, text: &str| {
        let path = root.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let files = s3s_fs::FileSystem::new(root).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(files);
    builder.set_auth(s3s::auth::SimpleAuth::from_single("AKIATEST", "secret-key"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |request: axum::extract::Request| {
        let (service, front) = (service.clone(), Arc::clone(&front));
        async move {
            let answer = async move |request: axum::extract::Request| {
                service.call(request.map(s3s::Body::http_body_unsync)).await.unwrap().map(axum::body::Body::new)
            };
            front.pass(request, answer).await
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    S3Login { endpoint, key: write("key", "AKIATEST"), secret: write("secret", "secret-key") }
}

fn config(path: &Path, bin: &Path, port: u16, s3: &S3Login) -> Config {
    let password = path.join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let place = |prefix: &str| {
        format!(
            "bucket = \"backups\"\nprefix = \"{prefix}\"\nregion = \"us-east-1\"\npath_style = true\nendpoint = \"{}\"\n\
             access_key_id = {{ file = \"{}\" }}\nsecret_access_key = {{ file = \"{}\" }}\n",
            s3.endpoint,
            s3.key.display(),
            s3.secret.display()
        )
    };
    let text = format!(
        "environment = \"test\"\n[postgres.financecopilot]\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"financecopilot\"\nuser = \"relight\"\n\
         password = {{ file = \"{}\" }}\nowner = \"fc_app\"\napp_role = \"fc_app\"\njobs = 2\nbin_dir = \"{}\"\n\
         [s3.backups]\n{}[s3.safety]\n{}",
        password.display(),
        bin.display(),
        place("postgres/"),
        place("safety/")
    );
    toml::from_str(&text).unwrap()
}
