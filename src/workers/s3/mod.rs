//! Places in S3: listing, reading, and writing that never overwrites by mistake.
//!
//! A [`Place`] is a `[s3.NAME]` of the config with a client for the bucket's own region. Reads of an object are
//! pinned to its entity tag and version: an object that changed meanwhile is an error, never a mixture.

mod arrival;
mod check;
mod client;
mod copy;
mod download;
mod error;
mod grow;
mod list;
mod owner;
mod upload;
mod verify;

pub use arrival::Arriving;
pub use check::CheckS3;
pub use copy::Guard;
pub use download::Download;
pub use grow::{Growth, give_up};

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_s3::types::ChecksumMode;

use crate::config::Config;
use crate::incident::{ObjectRef, TargetIdentity};
use crate::runbook::TargetRef;

use super::WorkerError;
use client::Clients;

/// A bucket and a prefix in it, reachable.
#[derive(Debug, Clone)]
pub struct Place {
    clients: Arc<Clients>,
    /// The config's name of it: `s3.backups`.
    target: String,
    bucket: String,
    prefix: String,
    owner: Option<String>,
    region: String,
    endpoint: Option<String>,
    /// Whose the bucket and the credentials are, where that can be read.
    owned_by: Option<String>,
    account: Option<String>,
}

/// How far a transfer is: bytes done, and of how many.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

impl Place {
    /// Opens a place: finds credentials, proves that the bucket is there, and in which region.
    ///
    /// # Errors
    /// The target is not in the config, there are no credentials, or the bucket cannot be reached.
    pub async fn open(config: &Config, target: &TargetRef) -> Result<Self, WorkerError> {
        Box::pin(client::open(config, target)).await
    }

    /// The config's name of it: `s3.backups`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The prefix; empty for the whole bucket.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `s3://bucket/prefix`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// What proves that it is the same place later.
    #[must_use]
    pub fn identity(&self) -> TargetIdentity {
        let mut proofs = BTreeMap::from([("region".to_owned(), self.region.clone())]);
        if let Some(owner) = &self.owner {
            proofs.insert("owner".to_owned(), owner.clone());
        }
        if let Some(owner) = &self.owned_by {
            proofs.insert("bucket owner".to_owned(), owner.clone());
        }
        if let Some(account) = &self.account {
            proofs.insert("account".to_owned(), account.clone());
        }
        if let Some(endpoint) = &self.endpoint {
            proofs.insert("endpoint".to_owned(), endpoint.clone());
        }
        TargetIdentity { name: self.url(), proofs }
    }

    /// The endpoint of the config, where it names one: servers other than AWS.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// An object as it is now, or as a version of it is; none where there is no such object.
    ///
    /// # Errors
    /// S3 says no.
    pub async fn head(&self, key: &str, version: Option<&str>) -> Result<Option<ObjectRef>, WorkerError> {
        let request = self
            .clients
            .quick
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .set_version_id(version.map(str::to_owned))
            .set_expected_bucket_owner(self.owner.clone())
            .checksum_mode(ChecksumMode::Enabled);
        match request.send().await {
            Ok(found) => Ok(Some(ObjectRef {
                target: self.target.clone(),
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                version_id: found.version_id().filter(|id| *id != "null").map(str::to_owned),
                etag: found.e_tag().unwrap_or_default().to_owned(),
                size: u64::try_from(found.content_length().unwrap_or(0)).unwrap_or(0),
            })),
            Err(error) if error::is_missing(&error) => Ok(None),
            Err(error) => Err(self.fault(&format!("read the head of {key}"), error)),
        }
    }

    /// Whether the bucket keeps versions; none where we may not know.
    pub async fn versioned(&self) -> Option<bool> {
        let asked = self
            .clients
            .quick
            .get_bucket_versioning()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
            .ok()?;
        Some(asked.status() == Some(&aws_sdk_s3::types::BucketVersioningStatus::Enabled))
    }
}
