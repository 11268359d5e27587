//! Emptying a cache, against redis-server.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use relight::config::Config;
use relight::incident::Gravity;
use relight::workers::redis::{CheckRedis, FlushCache};
use relight::workers::{Probe, Worker as _};

use super::shared::{blocking, config, context, plan, run};

/// A redis-server of its own; ended with the test.
struct Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        Self::start_at(port, arguments)
    }

    fn start_at(port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is needed for this test: apt-get install redis-server");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        for line in lines {
            let line = line.unwrap();
            if line.contains("Ready to accept connections") {
                return Self { child, port, _folder: folder };
            }
            seen.push(line);
        }
        child.wait().unwrap();
        panic!("redis-server did not start: {}", seen.join("\n"));
    }

    fn config(&self, more: &str) -> Arc<Config> {
        config(&format!("[redis.cache]\nhost = \"127.0.0.1\"\nport = {}\n{more}", self.port))
    }

    fn sync(&self, db: i64) -> redis::Connection {
        redis::Client::open(format!("redis://127.0.0.1:{}/{db}", self.port)).unwrap().get_connection().unwrap()
    }

    fn fill(&self, db: i64, prefix: &str, count: usize) {
        let mut pipe = redis::pipe();
        for number in 0..count {
            pipe.cmd("SET").arg(format!("{prefix}{number}")).arg(number).ignore();
        }
        pipe.query::<()>(&mut self.sync(db)).unwrap();
    }

    fn keys(&self, db: i64) -> u64 {
        redis::cmd("DBSIZE").query(&mut self.sync(db)).unwrap()
    }

    fn acl(&self, rules: &[&str]) {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER");
        for rule in rules {
            command.arg(rule);
        }
        command.query::<()>(&mut self.sync(0)).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn flush() -> FlushCache {
    FlushCache { cache: "redis.cache".parse().unwrap() }
}

fn check() -> CheckRedis {
    CheckRedis { target: "redis.cache".parse().unwrap() }
}

#[tokio::test]
async fn one_database_is_emptied_and_the_others_are_not() {
    let server = Server::start(&[]);
    server.fill(2, "ofx:import:", 300);
    server.fill(2, "lock:", 20);
    server.fill(0, "web:session:", 9);
    let folder = tempfile::tempdir().unwrap();
    let cx = context(&server.config("db = 2\n"), "flush", folder.path());

    let done = run(&check(), &cx, &plan(&check(), &cx).await).await.unwrap();
    assert!(done.evidence[0].contains("320 keys"), "{:?}", done.evidence);
    assert!(done.evidence.iter().any(|line| line.contains("may run FLUSHDB")), "{:?}", done.evidence);

    let plan = plan(&flush(), &cx).await;
    assert_eq!(plan.type_name.as_deref(), Some("cache"));
    assert!(plan.effects[0].contains("all 320 keys of database 2"), "{:?}", plan.effects);
    assert!(plan.effects.iter().any(|effect| effect.contains("ofx:* 300, lock:* 20")), "{:?}", plan.effects);
    assert!(blocking(&plan).is_empty(), "{:?}", plan.findings);
    assert!(plan.findings.iter().any(|finding| finding.text.contains("Writes are not known to be stopped")));

    match flush().probe(&cx, &plan).await.unwrap() {
        Probe::DidNot(why) => assert!(why.contains("not called"), "{why}"),
        other => panic!("{other:?}"),
    }
    let done = run(&flush(), &cx, &plan).await.unwrap();
    assert!(done.evidence[0].contains("320 keys before, 0 now"), "{:?}", done.evidence);
    assert_eq!((server.keys(2), server.keys(0)), (0, 9));
    assert!(matches!(flush().probe(&cx, &plan).await.unwrap(), Probe::Happened(_)));

    // Keys that came back after a flush are neither a success nor proof that nothing happened.
    server.fill(2, "ofx:import:", 1);
    match flush().probe(&cx, &plan).await.unwrap() {
        Probe::Unknown(why) => assert!(why.contains("a writer is alive"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_empty_cache_needs_nothing() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let cx = context(&server.config(""), "flush", folder.path());
    assert!(plan(&flush(), &cx).await.nothing_to_do.is_some());
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    let cx = context(&replica.config(""), "flush", folder.path());
    let plan = plan(&flush(), &cx).await;
    assert!(blocking(&plan)[0].contains(&format!("not the master (that is 127.0.0.1:{})", master.port)));
    let error = run(&flush(), &cx, &plan).await.unwrap_err();
    assert!(error.cause.contains("read-only replica"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_found_beforehand_and_named() {
    let server = Server::start(&[]);
    server.fill(0, "k:", 5);
    server.acl(&["reader", "on", ">pw", "~*", "+@read", "+info", "+ping", "+select", "+acl|whoami", "+acl|dryrun"]);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "pw\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let login = format!("user = \"reader\"\npassword = {{ file = {:?} }}\n", password.display().to_string());
    let cx = context(&server.config(&login), "flush", folder.path());
    let plan_made = plan(&flush(), &cx).await;
    assert!(blocking(&plan_made)[0].contains("may not run FLUSHDB"), "{:?}", plan_made.findings);
    let error = run(&flush(), &cx, &plan_made).await.unwrap_err();
    assert!(error.cause.contains("may not do that"), "{error}");
    let error = run(&check(), &cx, &plan(&check(), &cx).await).await.unwrap_err();
    assert!(error.cause.contains("may not run FLUSHDB"), "{error}");
    assert_eq!(server.keys(0), 5);

    // Where even asking is not allowed, it is unknown, which does not block.
    server.acl(&["reader", "-acl|dryrun", "-acl|whoami"]);
    let plan_made = plan(&flush(), &cx).await;
    assert!(blocking(&plan_made).is_empty(), "{:?}", plan_made.findings);
    let unknown = |finding: &&relight::incident::Finding| finding.text.contains("Unknown whether FLUSHDB is permitted");
    assert_eq!(plan_made.findings.iter().find(unknown).unwrap().gravity, Gravity::Warning);
}

#[tokio::test]
async fn a_renamed_command_is_told_from_other_errors() {
    let server = Server::start(&["--rename-command", "FLUSHDB", "EMPTY_IT"]);
    server.fill(0, "k:", 5);
    let folder = tempfile::tempdir().unwrap();
    let cx = context(&server.config(""), "flush", folder.path());
    let plan = plan(&flush(), &cx).await;
    let error = run(&flush(), &cx, &plan).await.unwrap_err();
    assert!(error.cause.contains("renamed or switched off"), "{error}");
    assert_eq!(server.keys(0), 5);
}

#[tokio::test]
async fn a_cluster_is_refused() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let folder = tempfile::tempdir().unwrap();
    let cx = context(&server.config(""), "flush", folder.path());
    let plan = plan(&flush(), &cx).await;
    assert!(blocking(&plan)[0].contains("Redis Cluster"), "{:?}", plan.findings);
    assert!(run(&flush(), &cx, &plan).await.is_err());
}

#[tokio::test]
async fn a_restarted_server_is_not_the_one_that_was_approved() {
    let server = Server::start(&[]);
    server.fill(0, "k:", 5);
    let folder = tempfile::tempdir().unwrap();
    let cx = context(&server.config(""), "flush", folder.path());
    let plan = plan(&flush(), &cx).await;
    let port = server.port;
    drop(server);
    let again = Server::start_at(port, &[]);
    again.fill(0, "k:", 3);
    assert_ne!(flush().identify(&cx).await.unwrap(), plan.target);
    let error = run(&flush(), &cx, &plan).await.unwrap_err();
    assert!(error.cause.contains("restarted or failed over"), "{error}");
    assert_eq!(again.keys(0), 3);
}

#[tokio::test]
async fn logins_that_do_not_work_say_why() {
    let server = Server::start(&["--requirepass", "right"]);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let wrong = format!("password = {{ file = {:?} }}\n", password.display().to_string());
    for (login, cause) in [(wrong.as_str(), "does not accept"), ("", "wants a password")] {
        let cx = context(&server.config(login), "flush", folder.path());
        let error = flush().plan(&cx).await.unwrap_err();
        assert!(error.cause.contains(cause), "{error}");
        assert!(!error.to_string().contains("wrong\n"), "{error}");
    }
    let port = server.port;
    drop(server);
    let cx = context(&config(&format!("[redis.cache]\nhost = \"127.0.0.1\"\nport = {port}\n")), "flush", folder.path());
    let error = flush().plan(&cx).await.unwrap_err();
    assert!(error.cause.contains("cannot be reached"), "{error}");
    let cx = context(&config(""), "flush", folder.path());
    assert!(flush().plan(&cx).await.unwrap_err().cause.contains("no such Redis target"));
}
