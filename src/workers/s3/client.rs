//! From a config's target to a client for the bucket's region.

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Credentials, Region, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};
use secrecy::ExposeSecret as _;

use crate::config::{Config, S3, SecretSource};
use crate::runbook::TargetRef;
use crate::workers::WorkerError;

use super::{Place, error};

/// Used where neither the config nor the usual sources name one; a wrong guess is mended by the bucket's answer.
const DEFAULT_REGION: &str = "us-east-1";

pub(super) async fn open(config: &Config, target: &TargetRef) -> Result<Place, WorkerError> {
    let name = target.to_string();
    let TargetRef::S3(short) = target else {
        return Err(unknown(&name));
    };
    let s3 = config.s3.get(short).ok_or_else(|| unknown(&name))?;
    let place = Place {
        client: client(&name, s3, None).await?,
        target: name.clone(),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        owner: s3.expected_owner.clone(),
        region: String::new(),
        endpoint: s3.endpoint.clone(),
    };
    let asked = place.head_bucket().await;
    match asked {
        Ok(region) => Ok(place.settled(region)),
        Err(fault) => match error::redirect(&fault) {
            // The SDK follows no redirect to another region, so the client is made anew for it.
            Some(region) => {
                let place = Place { client: client(&name, s3, Some(region.clone())).await?, ..place };
                let confirmed = place.head_bucket().await;
                confirmed
                    .map_err(|fault| place.fault("find the bucket", fault))
                    .map(|found| place.settled(found.or(Some(region))))
            }
            None => Err(place.fault("find the bucket", fault)),
        },
    }
}

type HeadBucketFault = aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::head_bucket::HeadBucketError>;

impl Place {
    async fn head_bucket(&self) -> Result<Option<String>, Box<HeadBucketFault>> {
        self.client
            .head_bucket()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
            .map(|found| found.bucket_region().map(str::to_owned))
            .map_err(Box::new)
    }

    fn settled(self, region: Option<String>) -> Self {
        let used = self.client.config().region().map_or_else(|| DEFAULT_REGION.to_owned(), ToString::to_string);
        Self { region: region.unwrap_or(used), ..self }
    }
}

/// One HTTP client for the process: it reads the system's certificates and keeps connections.
fn http() -> SharedHttpClient {
    static HTTP: OnceLock<SharedHttpClient> = OnceLock::new();
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    HTTP.get_or_init(|| Builder::new().tls_provider(ring).build_https()).clone()
}

async fn client(name: &str, s3: &S3, region: Option<String>) -> Result<Client, WorkerError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        .operation_attempt_timeout(Duration::from_mins(5))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http()).timeout_config(timeouts);
    if let Some(region) = region.or_else(|| s3.region.clone()) {
        loader = loader.region(Region::new(region));
    }
    if let Some(profile) = &s3.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &s3.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let (Some(id), Some(secret)) = (&s3.access_key_id, &s3.secret_access_key) {
        let (id, secret) = (read(name, id).await?, read(name, secret).await?);
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "relight's config"));
    }
    let shared = loader.load().await;
    let mut builder = aws_sdk_s3::config::Builder::from(&shared).force_path_style(s3.path_style);
    if shared.region().is_none() {
        builder = builder.region(Region::new(DEFAULT_REGION));
    }
    Ok(Client::from_conf(builder.build()))
}

async fn read(name: &str, source: &SecretSource) -> Result<String, WorkerError> {
    let fault = |why: String| {
        WorkerError::new("read the credentials", name, why, "Mend the secret's source in the config, then try again.")
    };
    let source = source.clone();
    // A secret may come from a command, which blocks.
    let read = tokio::task::spawn_blocking(move || source.read()).await.map_err(|error| fault(error.to_string()))?;
    read.map(|secret| secret.expose_secret().to_owned()).map_err(|error| fault(format!("{error}.")))
}

fn unknown(name: &str) -> WorkerError {
    WorkerError::new(
        "find the place",
        name,
        "The config has no such S3 target.",
        "Add it; assets/relight.example.toml shows how.",
    )
}
