//! The drill's sandbox, as a process of its own, against what it promises.

mod contracts;
mod rehearsals;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use relight::drill::control::Hold;
use relight::drill::dumps::{BACKUPS, PREFIX};
use relight::drill::objects::{Fate, PRODUCTION, SNAPSHOT_PREFIX};
use relight::drill::ready::{ProcessId, Ready};
use relight::drill::scenario::DumpKind;
use relight::drill::scorecard;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};

/// A sandbox process; ended when the test is over, however it went.
struct Sandbox {
    child: Child,
    ready: Ready,
    _home: tempfile::TempDir,
}

impl Sandbox {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("drill");
        let mut child = Command::new(env!("CARGO_BIN_EXE_relight"))
            .args(["sandbox", "--dir"])
            .arg(&dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut words = String::new();
            child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
            panic!("the sandbox did not get ready: {words}");
        }
        let ready = Ready::read(&dir).unwrap().unwrap();
        Self { child, ready, _home: home }
    }

    fn processes(&self) -> [ProcessId; 2] {
        [self.ready.postgres_process, self.ready.redis_process]
    }

    fn pg_restore(&self, dump: &Path) {
        let login = &self.ready.postgres_operator;
        let output = Command::new(self.ready.postgres_bin.join("pg_restore"))
            .args(["--clean", "--if-exists", "--no-owner", "--exit-on-error", "--role=fc_app", "--jobs=2"])
            .args(["--host", &login.host, "--port", &login.port.to_string(), "--username", &login.user])
            .args(["--no-password", "--dbname", &login.database])
            .arg(dump)
            .env("PGPASSWORD", std::fs::read_to_string(&login.password_file).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn kube(&self) -> kube::Client {
        kube_client(&self.ready.kubeconfig).await
    }
}

/// A stand-in command, run as the configuration says; exit code and output.
fn stand_in(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_relight"))
        .arg("stand-in")
        .args(args)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // An orderly end, so that nothing is left in the folder for temporary files.
        if !self.ready.stop() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

async fn kube_client(kubeconfig: &Path) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let options = kube::config::KubeConfigOptions { context: Some("drill".to_owned()), ..Default::default() };
    kube::Client::try_from(kube::Config::from_custom_kubeconfig(file, &options).await.unwrap()).unwrap()
}

/// Waits until the process is gone, or fails after a long while.
fn wait_gone(process: ProcessId) {
    let Some(pid) = Pid::from_raw(i32::try_from(process.pid).unwrap()) else {
        return;
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if !process.is_alive() {
        return;
    }
    let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ended, 1, "process {} lives on", process.pid);
}

fn merge(replicas: i64) -> Patch<Value> {
    Patch::Merge(json!({ "spec": { "replicas": replicas } }))
}

/// Scales and follows the pods' watch until none is left; returns how many there were at each change.
async fn scale_to_zero(client: &kube::Client, name: &str) -> Vec<usize> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let selector = format!("app={name}");
    let list = pods.list(&ListParams::default().labels(&selector)).await.unwrap();
    let mut living = list.items.len();
    let version = list.metadata.resource_version.unwrap();
    let scale = deployments.patch_scale(name, &PatchParams::default(), &merge(0)).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(0));
    // Terminating pods do not count, and still run.
    assert_eq!(deployments.get_scale(name).await.unwrap().status.unwrap().replicas, 0);
    let mut counts = vec![living];
    let events = pods.watch(&WatchParams::default().labels(&selector).timeout(60), &version).await.unwrap();
    pin_mut!(events);
    while living > 0 {
        match events.next().await.expect("the watch ended early").unwrap() {
            WatchEvent::Deleted(_) => {
                living -= 1;
                counts.push(living);
            }
            WatchEvent::Modified(pod) => assert!(pod.metadata.deletion_timestamp.is_some()),
            other => panic!("unexpected {other:?}"),
        }
    }
    counts
}

/// Until no session of the service is left: a backend ends shortly after its client has gone.
async fn wait_for_no_app_session(ready: &Ready) {
    let session = ready.postgres_superuser.connect("test", "").await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fc_app'";
        let left: i64 = session.query_one(sql, &[]).await.unwrap().get(0);
        if left == 0 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{left} sessions of the service are left");
    }
}

async fn wait_available(client: &kube::Client, name: &str, replicas: i32) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let one = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(60);
    let events = deployments.watch(&one, "0").await.unwrap();
    pin_mut!(events);
    loop {
        let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) =
            events.next().await.expect("the watch ended early").unwrap()
        else {
            panic!("the deployment vanished")
        };
        if deployment.status.unwrap().available_replicas == Some(replicas) {
            return;
        }
    }
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy();
    // Plain HTTP only; reading the system's certificates takes a while.
    builder.tls_certs_only([]).build().unwrap()
}

async fn post(url: &str, body: &Value) -> u16 {
    http().post(url).json(body).send().await.unwrap().status().as_u16()
}

async fn get(url: &str) -> (u16, Value) {
    let response = http().get(url).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_service_comes_back_by_hand() {
    let mut sandbox = Sandbox::start();
    let ready = sandbox.ready.clone();
    let client = sandbox.kube().await;
    let s3 = scorecard::client(&ready.s3).unwrap();

    // The dumps lie in the bucket as told.
    let listing = s3.list_objects_v2().bucket(BACKUPS).prefix(PREFIX).send().await.unwrap();
    let listed: BTreeMap<&str, (u64, i64)> = listing
        .contents()
        .iter()
        .map(|o| (o.key().unwrap(), (o.size().unwrap().unsigned_abs(), o.last_modified().unwrap().secs())))
        .collect();
    assert_eq!(listed.len(), 5);
    for dump in &ready.dumps {
        assert_eq!(listed[dump.key.as_str()], (dump.size, dump.last_modified.as_second()));
    }
    let kinds: Vec<DumpKind> = ready.dumps.iter().map(|dump| dump.kind).collect();
    assert_eq!(kinds, [DumpKind::Good, DumpKind::Empty, DumpKind::Good, DumpKind::Truncated, DumpKind::Good]);
    assert!(ready.dumps[3].taken < ready.onset && ready.onset < ready.dumps[4].taken);
    assert_eq!(ready.dumps[1].size, 0);
    assert!(ready.dumps[0].tables["transactions"].rows < ready.dumps[2].tables["transactions"].rows);

    // Their headers carry the simulated time, the cut one keeps its table of contents and loses data.
    let work = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for dump in [&ready.dumps[2], &ready.dumps[3]] {
        let body = s3.get_object().bucket(BACKUPS).key(&dump.key).send().await.unwrap().body;
        let file = work.path().join(format!("{}.dump", dump.taken.as_second()));
        std::fs::write(&file, body.collect().await.unwrap().into_bytes()).unwrap();
        let pg_restore = ready.postgres_bin.join("pg_restore");
        let list = Command::new(&pg_restore).arg("--list").arg(&file).env("TZ", "UTC").output().unwrap();
        let text = String::from_utf8(list.stdout).unwrap();
        let stamp = dump.taken.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        assert!(text.contains(&format!("Archive created at {stamp}")), "{text}");
        let whole = Command::new(&pg_restore).args(["-f", "/dev/null"]).arg(&file).status().unwrap();
        assert_eq!(whole.success(), dump.kind == DumpKind::Good);
        files.push(file);
    }

    // The service is damaged, and its pods write.
    let (status, body) = get(&format!("{}/pj/status", ready.api_url)).await;
    assert_eq!((status, &body["status"]), (503, &json!("failing")), "{body}");
    assert_eq!(body["checks"]["database"]["ok"], true);
    let smoke_env = [("FC_API_URL", ready.api_url.as_str())];
    let (code, text) = stand_in(&["smoke", "--filter=core"], &smoke_env);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("add up to") && text.contains("is missing"), "{text}");
    let before = scorecard::measure(&ready).await.unwrap();
    assert_eq!((before.redis_keys, before.redis_neighbours), (500, 40));
    assert_eq!(before.deployments["api"].available, 3);
    let damaged = ready.objects.values().filter(|o| matches!(o.fate, Fate::Deleted | Fate::Overwritten)).count();
    assert_eq!(before.objects.wrong.len(), damaged);
    assert!(!before.table_differences(&ready.dumps[2]).is_empty());

    // Writes stop: pods go one after another, then no session is left and nothing answers.
    assert_eq!(scale_to_zero(&client, "api").await, [3, 2, 1, 0]);
    assert_eq!(scale_to_zero(&client, "ingest-worker").await, [1, 0]);
    wait_for_no_app_session(&ready).await;
    assert_eq!(get(&format!("{}/pj/status", ready.api_url)).await.0, 503);
    let stopped = scorecard::tables(&ready, "financecopilot").await.unwrap();

    // The restore brings the manifest back, and nothing writes meanwhile.
    assert_eq!(stopped, scorecard::tables(&ready, "financecopilot").await.unwrap());
    sandbox.pg_restore(&files[0]);
    let restored = scorecard::measure(&ready).await.unwrap();
    assert_eq!(restored.table_differences(&ready.dumps[2]), Vec::<String>::new());

    // Objects come back from the snapshot.
    for (key, fact) in &ready.objects {
        if matches!(fact.fate, Fate::Deleted | Fate::Overwritten) {
            let source = format!("{BACKUPS}/{SNAPSHOT_PREFIX}{key}");
            s3.copy_object().bucket(PRODUCTION).key(key).copy_source(source).send().await.unwrap();
        }
    }
    let objects = scorecard::objects(&ready).await.unwrap();
    assert!(objects.wrong.is_empty() && objects.unknown.is_empty() && objects.rolled_back.is_empty());

    // Writes start, and the service is well.
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    deployments.patch_scale("api", &PatchParams::default(), &merge(3)).await.unwrap();
    wait_available(&client, "api", 3).await;
    let (status, body) = get(&format!("{}/pj/status", ready.api_url)).await;
    assert_eq!((status, &body["status"]), (200, &json!("ok")), "{body}");
    let (code, text) = stand_in(&["smoke", "--filter=core"], &smoke_env);
    assert_eq!(code, 0, "{text}");

    // A roll back of the image is refused while locked, and changes the pods otherwise.
    let token = std::fs::read_to_string(&ready.kubernetes_token_file).unwrap();
    let flags = &ready.services["launchdarkly"];
    let flag_token = std::fs::read_to_string(&flags.token_file).unwrap();
    let env = [
        ("LAUNCHDARKLY_URL", flags.base_url.as_str()),
        ("LAUNCHDARKLY_TOKEN", flag_token.as_str()),
        ("KUBERNETES_URL", ready.kubernetes_url.as_str()),
        ("KUBERNETES_TOKEN", token.as_str()),
    ];
    for (locked, wanted) in [(true, 3), (false, 0)] {
        let change = json!({ "flag": { "on": locked } });
        assert_eq!(post(&format!("{}/_control/set", flags.control_url), &change).await, 200);
        let (code, text) = stand_in(&["deploy", "--service", "api", "--ref", "v2.13.0"], &env);
        assert_eq!(code, wanted, "{text}");
    }
    let after = scorecard::deployments(&ready).await.unwrap();
    assert!(after["api"].image.ends_with(":v2.13.0"));
    assert_eq!(after["api"].available, 3);

    // An orderly end leaves nothing behind.
    assert!(ready.stop());
    assert!(sandbox.child.wait().unwrap().success());
    for process in sandbox.processes() {
        assert!(!process.is_alive());
    }
    assert!(!ready.run_dir.exists() && !ready.dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn children_die_with_a_killed_sandbox_and_the_next_one_clears_up() {
    let mut sandbox = Sandbox::start();
    let ready = sandbox.ready.clone();
    let hold = Hold::take(&ready.control_socket).await.unwrap();
    // A second one in the same folder is refused and harms nothing.
    let second =
        Command::new(env!("CARGO_BIN_EXE_relight")).args(["sandbox", "--dir"]).arg(&ready.dir).output().unwrap();
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && words.contains(&ready.process.pid.to_string()), "{words}");
    assert_eq!(get(&format!("{}/pj/accounts?limit=1", ready.api_url)).await.0, 200);

    let pid = Pid::from_raw(i32::try_from(ready.process.pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    sandbox.child.wait().unwrap();
    for process in sandbox.processes() {
        wait_gone(process);
    }
    drop(hold);
    assert!(!ready.process.is_alive() && !ready.stop());
    assert!(ready.run_dir.exists());
    // The next one fails early here for want of programs, and has cleared up by then.
    let next = Command::new(env!("CARGO_BIN_EXE_relight"))
        .args(["sandbox", "--dir"])
        .arg(&ready.dir)
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let words = String::from_utf8(next.stderr).unwrap();
    assert!(words.contains("setpriv is missing") && words.contains("util-linux"), "{words}");
    assert!(!ready.run_dir.exists());
}
