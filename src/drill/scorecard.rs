//! Measuring the drill's real world: is the data proved back?
//!
//! Nothing here asks relight; every number comes from the systems themselves.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Digest as _;

use super::db::{TableState, table_states};
use super::dumps::Manifest;
use super::error::SandboxError;
use super::folder::hex;
use super::kubernetes::NAMESPACE;
use super::objects::{Fate, PRODUCTION};
use super::ready::Ready;
use super::s3::S3Login;

/// The state of the world at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Every table of the live database.
    pub tables: BTreeMap<String, TableState>,
    /// Keys in Redis's database 0.
    pub redis_keys: u64,
    /// Keys in database 1, which belongs to somebody else.
    pub redis_neighbours: u64,
    /// Production's objects.
    pub objects: ObjectScore,
    /// The deployments by name.
    pub deployments: BTreeMap<String, DeploymentScore>,
}

/// Production's objects against what they should be after the recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectScore {
    /// Hold the snapshot's bytes, as they should.
    pub restored: usize,
    /// Rightly newer than the snapshot or not in it, and kept.
    pub kept: usize,
    /// Rightly newer, but now with the snapshot's bytes: lost work, unless somebody chose it.
    pub rolled_back: Vec<String>,
    /// Missing, or with other bytes than they should have.
    pub wrong: Vec<String>,
    /// In production, and neither there before nor in the snapshot.
    pub unknown: Vec<String>,
}

/// A deployment as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentScore {
    /// `spec.replicas`.
    pub replicas: i64,
    /// `status.availableReplicas`.
    pub available: i64,
    /// The container's image.
    pub image: String,
}

impl Score {
    /// How the tables differ from a dump's manifest, one line a table; empty when they are the same.
    #[must_use]
    pub fn table_differences(&self, manifest: &Manifest) -> Vec<String> {
        table_differences(&self.tables, &manifest.tables)
    }
}

/// How tables differ from what they should be, one line a table.
#[must_use]
pub fn table_differences(found: &BTreeMap<String, TableState>, wanted: &BTreeMap<String, TableState>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, wanted) in wanted {
        match found.get(name) {
            None => lines.push(format!("{name} is missing")),
            Some(found) if found.rows != wanted.rows => {
                lines.push(format!("{name} has {} rows instead of {}", found.rows, wanted.rows));
            }
            Some(found) if found.checksum != wanted.checksum => {
                lines.push(format!("{name} has {} rows with other values", found.rows));
            }
            Some(_) => {}
        }
    }
    lines.extend(found.keys().filter(|name| !wanted.contains_key(*name)).map(|name| format!("{name} is new")));
    lines
}

/// Everything at once. For tables that must equal a manifest, call it before writes start again.
///
/// # Errors
/// When a system cannot be asked.
pub async fn measure(ready: &Ready) -> Result<Score, SandboxError> {
    let (tables, redis_keys, redis_neighbours, objects, deployments) = tokio::try_join!(
        tables(ready, &ready.postgres_superuser.database),
        ready.redis.keys(0),
        ready.redis.keys(1),
        objects(ready),
        deployments(ready),
    )?;
    Ok(Score { tables, redis_keys, redis_neighbours, objects, deployments })
}

/// Counts and checksums of all tables of a database, at one moment.
///
/// # Errors
/// When the database or a table cannot be read.
pub async fn tables(ready: &Ready, database: &str) -> Result<BTreeMap<String, TableState>, SandboxError> {
    let session = ready.postgres_superuser.to_database(database).connect("relight-scorecard", "").await?;
    session
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await
        .map_err(SandboxError::pg("begin to measure"))?;
    let states = table_states(&session).await;
    session.close().await;
    states
}

/// Production's objects against what they should be.
///
/// # Errors
/// When the bucket cannot be read.
pub async fn objects(ready: &Ready) -> Result<ObjectScore, SandboxError> {
    let mut found = digests(&ready.s3_reader, PRODUCTION).await?;
    let mut score = ObjectScore::default();
    for (key, fact) in &ready.objects {
        let now = found.remove(key);
        let newer = matches!(fact.fate, Fate::Changed | Fate::Added);
        if newer && now == fact.production {
            score.kept += 1;
        } else if newer && now.is_some() && now == fact.snapshot {
            score.rolled_back.push(key.clone());
        } else if !newer && now.is_some() && now == fact.snapshot {
            score.restored += 1;
        } else {
            score.wrong.push(key.clone());
        }
    }
    score.unknown = found.into_keys().collect();
    Ok(score)
}

/// SHA-256 of every object of a bucket, by key.
async fn digests(login: &S3Login, bucket: &str) -> Result<BTreeMap<String, String>, SandboxError> {
    let client = client(login)?;
    let failed = |operation: &'static str, target: &str, reason: String| SandboxError::S3 {
        operation,
        target: target.to_owned(),
        reason,
    };
    let mut keys = Vec::new();
    let mut pages = client.list_objects_v2().bucket(bucket).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failed("list", bucket, DisplayErrorContext(error).to_string()))?;
        let found = page.contents().iter().filter_map(|object| object.key());
        keys.extend(found.map(str::to_owned));
    }
    let digest = async |key: String| {
        let target = format!("{bucket}/{key}");
        let object = client.get_object().bucket(bucket).key(&key).send().await;
        let object = object.map_err(|error| failed("read", &target, DisplayErrorContext(error).to_string()))?;
        let bytes = object.body.collect().await;
        let bytes = bytes.map_err(|error| failed("read", &target, error.to_string()))?;
        Ok::<_, SandboxError>((key, hex(&sha2::Sha256::digest(bytes.into_bytes()))))
    };
    let digests = stream::iter(keys).map(digest).buffer_unordered(8);
    let digests = digests.try_collect().await?;
    Ok(digests)
}

/// A client for the sandbox's S3 server.
///
/// # Errors
/// When a key file cannot be read.
pub fn client(login: &S3Login) -> Result<aws_sdk_s3::Client, SandboxError> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(SandboxError::io("read", path));
    let (access, secret) = (read(&login.access_key_file)?, read(&login.secret_key_file)?);
    // The sandbox speaks plain HTTP, and reading the system's certificates takes a while.
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(login.region.clone()))
        .endpoint_url(&login.endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(access.trim_end(), secret.trim_end(), None, None, "drill"))
        .http_client(http)
        .build();
    Ok(aws_sdk_s3::Client::from_conf(config))
}

/// The deployments, as the Kubernetes API tells them.
///
/// # Errors
/// When the API cannot be asked.
pub async fn deployments(ready: &Ready) -> Result<BTreeMap<String, DeploymentScore>, SandboxError> {
    let url = format!("{}/apis/apps/v1/namespaces/{NAMESPACE}/deployments", ready.kubernetes_url);
    let failed = |reason: String| SandboxError::Http { operation: "list the deployments", url: url.clone(), reason };
    let path = &ready.kubernetes_viewer_token_file;
    let token = std::fs::read_to_string(path).map_err(SandboxError::io("read", path))?;
    let list: Value =
        async { http_client()?.get(&url).bearer_auth(token.trim_end()).send().await?.error_for_status()?.json().await }
            .await
            .map_err(|error: reqwest::Error| failed(error.to_string()))?;
    let items = list["items"].as_array().ok_or_else(|| failed("the answer holds no items".to_owned()))?;
    let score = |item: &Value| {
        let name = item["metadata"]["name"].as_str()?.to_owned();
        let image = item["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?.to_owned();
        let number = |value: &Value| value.as_i64().unwrap_or(0);
        let replicas = number(&item["spec"]["replicas"]);
        Some((name, DeploymentScore { replicas, available: number(&item["status"]["availableReplicas"]), image }))
    };
    Ok(items.iter().filter_map(score).collect())
}

/// A client for addresses of this host: no proxy, and a TLS provider only because the client insists on one.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    // It fails when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rows: i64, checksum: &str) -> TableState {
        TableState { rows, checksum: checksum.to_owned() }
    }

    #[test]
    fn every_difference_of_tables_is_named() {
        let wanted = BTreeMap::from([
            ("a".to_owned(), state(1, "x")),
            ("b".to_owned(), state(2, "x")),
            ("c".to_owned(), state(3, "x")),
            ("d".to_owned(), state(4, "x")),
        ]);
        let found = BTreeMap::from([
            ("a".to_owned(), state(1, "x")),
            ("b".to_owned(), state(9, "x")),
            ("c".to_owned(), state(3, "y")),
            ("e".to_owned(), state(0, "0")),
        ]);
        let lines = table_differences(&found, &wanted);
        assert_eq!(lines, ["b has 9 rows instead of 2", "c has 3 rows with other values", "d is missing", "e is new"]);
        assert!(table_differences(&wanted, &wanted).is_empty());
    }
}
