//! What S3 says, in words for a person.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::workers::{Disposition, WorkerError};

use super::Place;

/// The object is not there.
pub(super) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    status == Some(404) && !matches!(code(error), Some("NoSuchBucket"))
}

/// The region of a bucket that lives elsewhere.
pub(super) fn redirect<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let response = error.raw_response()?;
    let elsewhere = matches!(response.status().as_u16(), 301 | 400 | 307);
    let region = response.headers().get("x-amz-bucket-region")?;
    elsewhere.then(|| region.to_owned())
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

impl Place {
    /// An error of S3 as a worker's error.
    pub(super) fn fault<E, S>(&self, operation: &str, error: S) -> WorkerError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        S: Into<Box<SdkError<E, HttpResponse>>>,
    {
        let error: Box<SdkError<E, HttpResponse>> = error.into();
        let status = error.raw_response().map(|response| response.status().as_u16());
        let said = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default().to_owned();
        let text = DisplayErrorContext(&*error).to_string();
        let (cause, next, disposition) = match (&*error, code(&error), status) {
            (SdkError::TimeoutError(_), ..) => ("S3 did not answer in time.".to_owned(), RETRY, Disposition::Retry),
            (SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_), ..) if text.contains("credential") => (
                "There are no credentials for it that work.".to_owned(),
                "Renew them (aws sso login, or new keys), then retry (r).",
                Disposition::AskOperator,
            ),
            (SdkError::DispatchFailure(_), ..) => (
                format!("S3 cannot be reached: {}.", innermost(&*error)),
                "Check the network and the endpoint in the config, then retry (r).",
                Disposition::Retry,
            ),
            (_, Some("NoSuchBucket"), _) | (_, None | Some("NotFound"), Some(404)) => (
                format!("There is no bucket {}.", self.bucket),
                "Correct the bucket in the config.",
                Disposition::AskOperator,
            ),
            (_, Some("NoSuchKey"), _) => (
                "The object is not there any more.".to_owned(),
                "List again and choose another.",
                Disposition::AskOperator,
            ),
            (_, Some("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired"), _) => (
                "The credentials have expired.".to_owned(),
                "Renew them (aws sso login, or new keys), then retry (r); nothing done so far is lost.",
                Disposition::AskOperator,
            ),
            (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch"), _) => (
                format!("S3 does not accept the key: {said}."),
                "Correct the credentials, then retry (r).",
                Disposition::AskOperator,
            ),
            (_, Some("RequestTimeTooSkewed"), _) => (
                "This host's clock is wrong by more than S3 accepts.".to_owned(),
                "Set the clock (chronyc makestep), then retry (r).",
                Disposition::AskOperator,
            ),
            (_, Some("PreconditionFailed" | "ConditionalRequestConflict"), _) | (_, _, Some(412)) => (
                "The object changed since it was looked at, or exists already.".to_owned(),
                "Prepare the step again and read the new plan.",
                Disposition::AskOperator,
            ),
            (_, Some("InvalidObjectState"), _) => (
                "The object is archived (Glacier) and cannot be read as it is.".to_owned(),
                "Ask S3 to restore it first, which takes hours, or choose another.",
                Disposition::AskOperator,
            ),
            (_, Some("SlowDown" | "ServiceUnavailable"), _) | (_, _, Some(429 | 503)) => {
                ("S3 asks to slow down.".to_owned(), RETRY, Disposition::Retry)
            }
            (_, _, Some(301)) => (
                "The bucket is in another region, and S3 does not say in which.".to_owned(),
                "Set its region in the config.",
                Disposition::AskOperator,
            ),
            (_, _, Some(401 | 403)) => (
                format!(
                    "Access is denied.{}",
                    if said.is_empty() { String::new() } else { format!(" S3 says: {said}") }
                ),
                "Give these credentials the right to do it (s3:ListBucket, s3:GetObject, s3:PutObject; kms:Decrypt for encrypted objects), then retry (r).",
                Disposition::AskOperator,
            ),
            (_, _, Some(500..)) => ("S3 has a fault of its own.".to_owned(), RETRY, Disposition::Retry),
            _ => (format!("{text}."), "Look at the program's log (L), then retry (r).", Disposition::AskOperator),
        };
        WorkerError::new(operation, self.url(), cause, next).with(disposition)
    }
}

const RETRY: &str = "What was done so far stays: retry (r).";

/// The last error of the chain: the one that names the host or port.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
