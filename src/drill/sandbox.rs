//! The sandbox process: builds the drill's world in a folder of its own, serves it, and takes it down again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::api;
use super::config_file::{self, PaidServices};
use super::control::{self, End};
use super::data::Filler;
use super::dumps::{Dumper, Manifest};
use super::error::SandboxError;
use super::folder::{self, Secrets};
use super::kubernetes::{self, Cluster as Kubernetes};
use super::meters::Meters;
use super::objects;
use super::postgres::Cluster as Postgres;
use super::programs::{Account, Nursery};
use super::ready::{DeploymentFact, ProcessId, Ready};
use super::redis::Cache;
use super::s3;
use super::scenario::{self, Scenario};

/// The file in the sandbox's folder that names its second folder, so that the next sandbox can clear up after a killed one.
const RUN_FOLDER: &str = "run-folder";
/// What a sandbox makes in its folder.
const OWN: [&str; 8] =
    ["s3", "secrets", "records", "work", "ready.json", "config.toml", "kubeconfig.yaml", RUN_FOLDER];

/// How to build a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The sandbox's folder; made when missing, removed at an orderly end.
    pub dir: PathBuf,
    /// Which scenario.
    pub scenario: Scenario,
    /// End after this long without a client.
    pub idle: Duration,
    /// The relight program, for the configured commands.
    pub program: PathBuf,
}

impl SandboxOptions {
    /// The built-in scenario, an hour of idleness, this very program.
    ///
    /// # Errors
    /// When the scenario does not hold together or this program's path is unknown.
    pub fn new(dir: &Path) -> Result<Self, SandboxError> {
        let here = Path::new("/proc/self/exe");
        Ok(Self {
            dir: std::path::absolute(dir).map_err(SandboxError::io("resolve", dir))?,
            scenario: Scenario::named("bad-migration")?,
            idle: Duration::from_secs(3600),
            program: std::env::current_exe().map_err(SandboxError::io("resolve", here))?,
        })
    }
}

/// Builds the world, writes `config.toml` and `ready.json`, and serves until SIGTERM, `POST /_control/stop`, or idleness.
/// Then all children are ended and the folders removed. When this process is killed instead, its children get a signal from
/// the kernel; the folders stay until the next sandbox in the same folder.
///
/// # Errors
/// When something is missing or fails while building; what was built is taken down before it returns.
pub async fn serve(options: SandboxOptions) -> Result<End, SandboxError> {
    folder::make(&options.dir, 0o700)?;
    let _lock = lock(&options.dir)?;
    clear(&options.dir);
    let account = Account::unprivileged()?;
    let run = folder::make_run_folder(account.is_some())?;
    let result = async {
        folder::write_private(&options.dir.join(RUN_FOLDER), run.as_os_str().as_bytes())?;
        let mut stop = Signals::listen()?;
        let (end, mut ended) = mpsc::channel(4);
        let world = tokio::select! {
            world = World::build(&options, account.as_ref(), &run, end) => world?,
            () = stop.arrived() => return Err(SandboxError::Ended),
        };
        let why = tokio::select! {
            why = ended.recv() => why.unwrap_or(End::Asked),
            () = stop.arrived() => End::Signal,
        };
        world.stop().await;
        Ok(why)
    }
    .await;
    clear(&options.dir);
    // Whatever a person put there stays.
    let _ = fs::remove_file(options.dir.join("lock"));
    let _ = fs::remove_dir(&options.dir);
    result
}

/// SIGTERM, and SIGINT for one that runs in a terminal.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, SandboxError> {
        let failed = || SandboxError::io("listen for", Path::new("signals"));
        let term = signal(SignalKind::terminate()).map_err(failed())?;
        Ok(Self { term, int: signal(SignalKind::interrupt()).map_err(failed())? })
    }

    async fn arrived(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Holds the folder; the lock ends with the process, however it ends.
fn lock(dir: &Path) -> Result<fs::File, SandboxError> {
    let path = dir.join("lock");
    let file = fs::File::create(&path).map_err(SandboxError::io("open", &path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let pid = Ready::read(dir).ok().flatten().map_or(0, |ready| ready.process.pid);
        SandboxError::Running { dir: dir.to_owned(), pid }
    })?;
    Ok(file)
}

/// Removes what a sandbox made: this one's own at its end, or a killed one's at the beginning.
fn clear(dir: &Path) {
    if let Ok(run) = fs::read(dir.join(RUN_FOLDER)) {
        let run = Path::new(std::ffi::OsStr::from_bytes(&run));
        let ours = run.file_name().is_some_and(|name| name.as_bytes().starts_with(b"relight-drill-"));
        if ours {
            let _ = fs::remove_dir_all(run);
        }
    }
    for name in OWN {
        let path = dir.join(name);
        if path.is_dir() {
            let _ = fs::remove_dir_all(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}

/// What must be stopped at the end; everything else ends with the process.
struct World {
    postgres: Arc<Postgres>,
    redis: Cache,
    kubernetes: Kubernetes,
    deployments: Vec<String>,
    /// The children's parent thread; when it ends, so do they.
    nursery: Nursery,
}

/// The databases and buckets with their history.
struct Past {
    postgres: Arc<Postgres>,
    redis: Cache,
    nursery: Nursery,
    store: Arc<s3::Store>,
    dumps: Vec<Manifest>,
    objects: BTreeMap<String, objects::ObjectFact>,
}

impl World {
    async fn build(
        options: &SandboxOptions,
        account: Option<&Account>,
        run: &Path,
        end: mpsc::Sender<End>,
    ) -> Result<Self, SandboxError> {
        let dir = &options.dir;
        for name in ["s3", "records", "work"] {
            folder::make(&dir.join(name), 0o700)?;
        }
        let start = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        let secrets = Secrets::in_folder(dir)?;
        let past = Past::build(options, account, run, &secrets, start).await?;

        let meters = Meters::default();
        let scenario = &options.scenario;
        let kubernetes = Kubernetes::start(&scenario.deployments, past.postgres.as_app(), meters.clone());
        let operator = secrets.invent("kubernetes-token", "", 20)?;
        let viewer = secrets.invent("kubernetes-viewer-token", "", 20)?;
        let tokens = kubernetes::routes::Tokens { operator: operator.value.clone(), viewer: viewer.value };
        let records = dir.join("records");
        let record = records.join("kubernetes.jsonl");
        let (s3_server, kubernetes_url, api_url, control_url) = tokio::try_join!(
            s3::serve(&past.store, &secrets),
            kubernetes::routes::serve(kubernetes.clone(), tokens, &record),
            api::routes::serve(kubernetes.clone(), past.postgres.as_app()),
            control::serve(kubernetes.clone(), meters, end.clone()),
        )?;
        let kubeconfig = dir.join("kubeconfig.yaml");
        config_file::write_kubeconfig(&kubeconfig, &kubernetes_url, &operator.value)?;
        let control_socket = run.join("control.sock");
        control::watch_clients(&control_socket, options.idle, end)?;

        let process = |pid: u32, program: &'static str| {
            let gone = || SandboxError::Program { program, reason: "it ended before the sandbox was ready".to_owned() };
            ProcessId::of(pid).ok_or_else(gone)
        };
        let deployments: BTreeMap<String, DeploymentFact> = scenario
            .deployments
            .iter()
            .map(|d| {
                let image = format!("{}:{}", d.image, d.tag);
                (d.name.clone(), DeploymentFact { replicas: d.replicas, image, previous: d.previous.clone() })
            })
            .collect();
        let ready = Ready {
            form: Ready::FORM,
            scenario: scenario.name.clone(),
            title: scenario.title.clone(),
            process: process(std::process::id(), "relight")?,
            started: start,
            onset: scenario::at(start, scenario.onset()),
            dir: dir.clone(),
            run_dir: run.to_owned(),
            config: dir.join("config.toml"),
            control_socket,
            control_url,
            postgres_process: process(past.postgres.pid(), "postgres")?,
            postgres_bin: past.postgres.bin.clone(),
            postgres_superuser: past.postgres.as_superuser(),
            postgres_operator: past.postgres.as_operator(),
            postgres_app: past.postgres.as_app(),
            redis_process: process(past.redis.pid(), "redis-server")?,
            redis_keys: past.redis.login().keys(0).await?,
            redis_neighbours: past.redis.login().keys(1).await?,
            redis: past.redis.login(),
            redis_reader: past.redis.reader_login(),
            s3: s3_server.login,
            s3_reader: s3_server.reader,
            kubernetes_url,
            kubeconfig,
            kubernetes_token_file: operator.file,
            kubernetes_viewer_token_file: viewer.file,
            api_url,
            records,
            dumps: past.dumps,
            objects: past.objects,
            deployments,
            real: ["PostgreSQL", "pg_dump's dumps", "Redis", "S3 server and its objects"].map(str::to_owned).to_vec(),
            stand_ins: ["Kubernetes API", "api deployment and its pods", "smoke and deploy commands"]
                .map(str::to_owned)
                .to_vec(),
        };
        let writers: Vec<String> = scenario.deployments.iter().map(|d| d.name.clone()).collect();
        config_file::write_config(&ready, &writers, &PaidServices::default(), &options.program)?;
        wait_for_pods(&kubernetes, scenario).await;
        ready.write()?;
        Ok(Self {
            postgres: past.postgres,
            redis: past.redis,
            kubernetes,
            deployments: writers,
            nursery: past.nursery,
        })
    }

    async fn stop(self) {
        for name in &self.deployments {
            self.kubernetes.scale(name, 0);
        }
        self.redis.stop().await;
        if let Some(postgres) = Arc::into_inner(self.postgres) {
            postgres.stop().await;
        }
        drop(self.nursery);
    }
}

impl Past {
    async fn build(
        options: &SandboxOptions,
        account: Option<&Account>,
        run: &Path,
        secrets: &Secrets,
        start: Timestamp,
    ) -> Result<Self, SandboxError> {
        let (dir, scenario) = (&options.dir, &options.scenario);
        let nursery = Nursery::start()?;
        let store = Arc::new(s3::Store::create(&dir.join("s3"))?);
        let history = async {
            let cluster = Arc::new(Postgres::start(&nursery, account, run, secrets).await?);
            let dumper = Arc::new(Dumper {
                nursery: nursery.clone(),
                cluster: Arc::clone(&cluster),
                store: Arc::clone(&store),
                work: dir.join("work"),
            });
            let dumps = live_through(scenario, &dumper, start).await?;
            Ok((cluster, dumps))
        };
        let onset = scenario::at(start, scenario.onset());
        let ((postgres, dumps), redis, objects) = tokio::try_join!(
            history,
            Cache::start(&nursery, account, run, secrets, &scenario.redis),
            objects::lay_out(&store, &scenario.objects, start, onset),
        )?;
        Ok(Self { postgres, redis, nursery, store, dumps, objects })
    }
}

/// Goes through the scenario's moments: rows come in, dumps are taken, the damage is done.
async fn live_through(
    scenario: &Scenario,
    dumper: &Arc<Dumper>,
    start: Timestamp,
) -> Result<Vec<Manifest>, SandboxError> {
    let mut filler = Filler::connect(&dumper.cluster.as_superuser()).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let mut manifests = Vec::new();
    let mut from = scenario::at(start, scenario.begin);
    for (number, moment) in scenario.moments.iter().enumerate() {
        let at = scenario::at(start, moment.at);
        if number == 0 {
            filler.first_load(moment.grow, from, at).await?;
        } else {
            filler.grow(moment.grow, from, at).await?;
        }
        if let Some(sql) = &moment.damage {
            // A dump must not see the schema change under it.
            manifests.append(&mut finish(&mut tasks).await?);
            filler.damage(sql, at).await?;
        }
        if let Some(kind) = moment.dump {
            let dump = dumper.take(at, kind).await?;
            tasks.spawn(dump);
        }
        from = at;
    }
    filler.finish().await?;
    manifests.append(&mut finish(&mut tasks).await?);
    manifests.sort_by_key(|manifest| manifest.taken);
    Ok(manifests)
}

type Dumps = tokio::task::JoinSet<Result<Result<Manifest, SandboxError>, tokio::task::JoinError>>;

async fn finish(tasks: &mut Dumps) -> Result<Vec<Manifest>, SandboxError> {
    let mut manifests = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let broken = |error: tokio::task::JoinError| SandboxError::Program { program: "pg_dump", reason: error.to_string() };
        manifests.push(done.map_err(broken)?.map_err(broken)??);
    }
    Ok(manifests)
}

/// Until every deployment has all its pods ready.
async fn wait_for_pods(kubernetes: &Kubernetes, scenario: &Scenario) {
    let mut changes = kubernetes.changes();
    let complete = || {
        scenario
            .deployments
            .iter()
            .all(|d| usize::try_from(d.replicas).is_ok_and(|n| kubernetes.ready_pods_of(&d.name) >= n))
    };
    while !complete() && changes.changed().await.is_ok() {}
}
