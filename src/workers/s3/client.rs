//! From a config's target to a client for the bucket's region.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Credentials, Region, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};
use secrecy::ExposeSecret as _;

use crate::config::{Config, S3, SecretSource};
use crate::runbook::TargetRef;
use crate::workers::WorkerError;

use super::{Place, error, owner};

const CONNECT: Duration = Duration::from_secs(5);

/// Bytes a second that S3 copies inside of itself, at its slowest.
const SLOWEST_COPY: u64 = 8_000_000;

/// Used where neither the config nor the usual sources name one; a wrong guess is mended by the bucket's answer.
const DEFAULT_REGION: &str = "us-east-1";

pub(super) async fn open(config: &Config, target: &TargetRef) -> Result<Place, WorkerError> {
    let name = target.to_string();
    let TargetRef::S3(short) = target else {
        return Err(unknown(&name));
    };
    let s3 = config.s3.get(short).ok_or_else(|| unknown(&name))?;
    let limit = config.http_timeout.unsigned_abs();
    let place = Place {
        clients: clients(&name, s3, None, limit).await?,
        target: name.clone(),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        owner: s3.expected_owner.clone(),
        region: String::new(),
        endpoint: s3.endpoint.clone(),
        owned_by: None,
        account: None,
    };
    let profile = s3.profile.as_deref();
    let asked = place.head_bucket().await;
    match asked {
        Ok(region) => Ok(Box::pin(place.settled(region, profile)).await),
        Err(fault) => match error::redirect(&fault) {
            // The SDK follows no redirect to another region, so the client is made anew for it.
            Some(region) => {
                let place = Place { clients: clients(&name, s3, Some(region.clone()), limit).await?, ..place };
                match place.head_bucket().await {
                    Ok(found) => Ok(Box::pin(place.settled(found.or(Some(region)), profile)).await),
                    Err(fault) => Err(place.fault("find the bucket", fault)),
                }
            }
            None => Err(place.fault("find the bucket", fault)),
        },
    }
}

type HeadBucketFault = aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::head_bucket::HeadBucketError>;

impl Place {
    async fn head_bucket(&self) -> Result<Option<String>, Box<HeadBucketFault>> {
        self.clients
            .quick
            .head_bucket()
            .bucket(&self.bucket)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
            .map(|found| found.bucket_region().map(str::to_owned))
            .map_err(Box::new)
    }

    async fn settled(self, region: Option<String>, profile: Option<&str>) -> Self {
        let (owned_by, account) =
            tokio::join!(owner::of_bucket(&self.clients.quick, self.endpoint.as_deref(), &self.bucket), async {
                match self.endpoint {
                    None => owner::of_credentials(&self.clients.shared, profile).await,
                    Some(_) => None,
                }
            });
        let used = self.clients.quick.config().region().map_or_else(|| DEFAULT_REGION.to_owned(), ToString::to_string);
        Self { region: region.unwrap_or(used), owned_by, account, ..self }
    }
}

/// One HTTP client for the process: it reads the system's certificates and keeps connections.
pub(super) fn http() -> SharedHttpClient {
    static HTTP: OnceLock<SharedHttpClient> = OnceLock::new();
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    HTTP.get_or_init(|| Builder::new().tls_provider(ring).build_https()).clone()
}

/// Clients for the same bucket that wait for different times. A call is tried three times.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// For what is answered at once: heads, lists, and the beginnings of objects.
    pub(super) quick: Client,
    /// For sending a part: its bytes take their time, the answer does not.
    pub(super) sending: Client,
    /// For what S3 itself takes minutes for: putting parts together, and objects that are sent whole.
    pub(super) patient: Client,
    /// How long a service has to answer.
    limit: Duration,
    /// Whom they are made from: credentials and region for other services.
    pub(super) shared: SdkConfig,
}

impl Clients {
    /// `limit` is how long a service has to answer.
    fn of(shared: SdkConfig, config: &aws_sdk_s3::config::Builder, limit: Duration) -> Self {
        // From a request that was sent to the first byte of its answer, and for all of it.
        let waiting = |answer: Duration, all: Duration| {
            let times = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(answer);
            let times = times.operation_attempt_timeout(all).build();
            Client::from_conf(config.clone().timeout_config(times).build())
        };
        Self {
            quick: waiting(limit, 2 * limit),
            sending: waiting(2 * limit, Duration::from_mins(5)),
            patient: waiting(Duration::from_mins(5), Duration::from_mins(30)),
            limit,
            shared,
        }
    }

    /// The times of a request that has S3 copy so many bytes by itself: a small copy whose answer is lost is not waited for as
    /// long as a large one takes.
    pub(super) fn copying(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        let answer = 2 * self.limit + Duration::from_secs(bytes / SLOWEST_COPY);
        let times = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(answer);
        aws_sdk_s3::Config::builder().timeout_config(times.operation_attempt_timeout(answer).build())
    }
}

async fn clients(name: &str, s3: &S3, region: Option<String>, limit: Duration) -> Result<Arc<Clients>, WorkerError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http());
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
    let mut shared = loader.load().await;
    if shared.region().is_none() {
        shared = shared.into_builder().region(Region::new(DEFAULT_REGION)).build();
    }
    let builder = aws_sdk_s3::config::Builder::from(&shared).force_path_style(s3.path_style);
    Ok(Arc::new(Clients::of(shared, &builder, limit)))
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
