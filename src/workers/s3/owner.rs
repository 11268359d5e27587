//! Whose bucket it is, and whose credentials: what tells the production account from the staging one, where both have a
//! bucket of that name within reach.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;

/// Long enough for an answer, short enough to go on without one.
const PATIENCE: Duration = Duration::from_secs(5);

/// What could not be read once. It counts as unreadable from then on: a proof that comes and goes would look like another
/// target.
static UNREAD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

async fn asked<T, E>(what: String, question: impl Future<Output = Result<Option<T>, E>>) -> Option<T> {
    let unread = || UNREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if unread().contains(&what) {
        return None;
    }
    let answer = tokio::time::timeout(PATIENCE, question).await.ok().and_then(Result::ok).flatten();
    if answer.is_none() {
        unread().insert(what);
    }
    answer
}

/// The canonical id of the bucket's owner, where these credentials may read it (`s3:GetBucketAcl`).
pub(super) async fn of_bucket(client: &Client, endpoint: Option<&str>, bucket: &str) -> Option<String> {
    let what = format!("bucket {} {bucket}", endpoint.unwrap_or_default());
    asked(what, async {
        let acl = client.get_bucket_acl().bucket(bucket).send().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(acl.owner().and_then(|owner| owner.id()).map(str::to_owned))
    })
    .await
}

/// The account of the credentials, as AWS itself says it (`sts:GetCallerIdentity`, which needs no right). Other S3 servers
/// have no such thing.
pub(super) async fn of_credentials(shared: &SdkConfig, profile: Option<&str>) -> Option<String> {
    let what = format!("credentials {}", profile.unwrap_or_default());
    asked(what, async {
        let caller = aws_sdk_sts::Client::new(shared).get_caller_identity().send().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(caller.account().map(str::to_owned))
    })
    .await
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
    use axum::routing::post;

    use super::*;

    #[tokio::test]
    async fn the_account_of_the_credentials_is_what_aws_says() {
        const CALLER: &str = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
            <GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let says = async |body: String| if body.contains("GetCallerIdentity") { CALLER } else { "" };
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", post(says))).await });
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(format!("http://{address}"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "id", "secret", None, None, "a test",
            )))
            .http_client(super::super::client::http())
            .build();
        assert_eq!(of_credentials(&shared, Some("a test")).await.as_deref(), Some("123456789012"));
    }
}
