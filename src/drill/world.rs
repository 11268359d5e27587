//! What a sandbox holds: the past, laid out in databases and buckets, and the present, served from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::api;
use super::config_file;
use super::control::{self, End};
use super::data::Filler;
use super::dumps::{Dumper, Manifest};
use super::error::SandboxError;
use super::folder::{self, Secret, Secrets};
use super::kubernetes::{self, Cluster as Kubernetes};
use super::meters::Meters;
use super::objects;
use super::paid::PaidServices;
use super::postgres::Cluster as Postgres;
use super::programs::{Account, Nursery};
use super::ready::{DeploymentFact, ProcessId, Ready};
use super::redis::Cache;
use super::s3;
use super::sandbox::SandboxOptions;
use super::scenario::{self, Scenario};

/// The control socket in the sandbox's second folder.
const CONTROL_SOCKET: &str = "control.sock";

/// What must be stopped at the end; everything else ends with the process.
pub(crate) struct World {
    postgres: Arc<Postgres>,
    redis: Cache,
    kubernetes: Kubernetes,
    deployments: Vec<String>,
    paid: PaidServices,
    /// The children's parent thread; when it ends, so do they.
    nursery: Nursery,
}

impl World {
    /// Builds everything, writes the configuration, waits for the pods and writes `ready.json`.
    pub(crate) async fn build(
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
        let scenario = &options.scenario;
        let past = Past::build(options, account, run, &secrets, start).await?;
        let records = dir.join("records");
        let onset = scenario::at(start, scenario.onset());
        let present = Present::serve(scenario, &past, &secrets, &records, onset, end.clone()).await?;
        control::watch_clients(&run.join(CONTROL_SOCKET), options.idle, end)?;
        let kubernetes = present.kubernetes.clone();
        let (ready, paid) = describe(options, run, start, &past, present).await?;
        let (url, token) = (&ready.kubernetes_url, &ready.kubernetes_token_file);
        config_file::write_kubeconfig(&ready.kubeconfig, url, token)?;
        let writers: Vec<String> = scenario.deployments.iter().map(|d| d.name.clone()).collect();
        config_file::write_config(&ready, &writers, &options.program)?;
        wait_for_pods(&kubernetes, scenario).await;
        ready.write()?;
        Ok(Self {
            postgres: past.postgres,
            redis: past.redis,
            kubernetes,
            deployments: writers,
            paid,
            nursery: past.nursery,
        })
    }

    /// Ends the children and waits for them.
    pub(crate) async fn stop(self) {
        for name in &self.deployments {
            let _ = self.kubernetes.scale(name, 0);
        }
        self.paid.stop().await;
        self.redis.stop().await;
        if let Some(postgres) = Arc::into_inner(self.postgres) {
            postgres.stop().await;
        }
        drop(self.nursery);
    }
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

/// What is served in process.
struct Present {
    kubernetes: Kubernetes,
    operator: Secret,
    viewer: Secret,
    s3: s3::Server,
    kubernetes_url: String,
    api_url: String,
    control_url: String,
    paid: PaidServices,
}

impl Present {
    async fn serve(
        scenario: &Scenario,
        past: &Past,
        secrets: &Secrets,
        records: &Path,
        onset: Timestamp,
        end: mpsc::Sender<End>,
    ) -> Result<Self, SandboxError> {
        let meters = Meters::default();
        let app = past.postgres.as_app();
        let kubernetes = Kubernetes::start(&scenario.deployments, app.clone(), meters.clone());
        let operator = secrets.invent("kubernetes-token", "", 20)?;
        let viewer = secrets.invent("kubernetes-viewer-token", "", 20)?;
        let tokens = kubernetes::routes::Tokens { operator: operator.value.clone(), viewer: viewer.value.clone() };
        let record = records.join("kubernetes.jsonl");
        let paid = PaidServices::start(secrets, records, &meters, onset).await?;
        let (s3, kubernetes_url, api_url, control_url) = tokio::try_join!(
            s3::serve(&past.store, secrets),
            kubernetes::routes::serve(kubernetes.clone(), tokens, &record),
            api::routes::serve(kubernetes.clone(), app),
            control::serve(kubernetes.clone(), meters, end),
        )?;
        Ok(Self { kubernetes, operator, viewer, s3, kubernetes_url, api_url, control_url, paid })
    }
}

/// What `ready.json` will say.
async fn describe(
    options: &SandboxOptions,
    run: &Path,
    start: Timestamp,
    past: &Past,
    present: Present,
) -> Result<(Ready, PaidServices), SandboxError> {
    let process = |pid: u32, program: &'static str| {
        let gone = || SandboxError::Program { program, reason: "it ended before the sandbox was ready".to_owned() };
        ProcessId::of(pid).ok_or_else(gone)
    };
    let (scenario, dir) = (&options.scenario, &options.dir);
    let deployments = scenario.deployments.iter().map(|d| {
        let image = format!("{}:{}", d.image, d.tag);
        (d.name.clone(), DeploymentFact { replicas: d.replicas, image, previous: d.previous.clone() })
    });
    let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
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
        control_socket: run.join(CONTROL_SOCKET),
        control_url: present.control_url,
        postgres_process: process(past.postgres.pid(), "postgres")?,
        postgres_bin: past.postgres.bin.clone(),
        postgres_superuser: past.postgres.as_superuser(),
        postgres_operator: past.postgres.as_operator(),
        postgres_app: past.postgres.as_app(),
        redis_process: process(past.redis.pid(), "redis-server")?,
        redis: past.redis.login(),
        redis_reader: past.redis.reader_login(),
        redis_keys: past.redis.login().keys(0).await?,
        redis_neighbours: past.redis.login().keys(1).await?,
        s3: present.s3.login,
        s3_reader: present.s3.reader,
        kubernetes_url: present.kubernetes_url,
        kubeconfig: dir.join("kubeconfig.yaml"),
        kubernetes_token_file: present.operator.file,
        kubernetes_viewer_token_file: present.viewer.file,
        api_url: present.api_url,
        services: present.paid.facts.clone(),
        records: dir.join("records"),
        dumps: past.dumps.clone(),
        objects: past.objects.clone(),
        deployments: deployments.collect(),
        real: lines(&["PostgreSQL", "the dumps, by pg_dump", "Redis", "the S3 server and its objects"]),
        stand_ins: lines(&[
            "Kubernetes API",
            "api and its pods",
            "smoke and deploy commands",
            "PagerDuty",
            "LaunchDarkly",
            "Slack",
            "Grafana",
        ]),
    };
    Ok((ready, present.paid))
}

/// Goes through the scenario's moments: rows come in, dumps are taken, the damage is done.
async fn live_through(
    scenario: &Scenario,
    dumper: &Arc<Dumper>,
    start: Timestamp,
) -> Result<Vec<Manifest>, SandboxError> {
    let mut filler = Filler::connect(&dumper.cluster.as_superuser()).await?;
    let mut tasks = JoinSet::new();
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

type Dumps = JoinSet<Result<Result<Manifest, SandboxError>, tokio::task::JoinError>>;

async fn finish(tasks: &mut Dumps) -> Result<Vec<Manifest>, SandboxError> {
    let mut manifests = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let broken =
            |error: tokio::task::JoinError| SandboxError::Program { program: "pg_dump", reason: error.to_string() };
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
