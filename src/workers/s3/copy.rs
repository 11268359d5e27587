//! Copying objects inside S3.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::incident::ObjectRef;
use crate::workers::WorkerError;

use super::Place;

/// S3 copies at most 5 GB in one request.
const ONE_REQUEST: u64 = 5_000_000_000;
const PART: u64 = 1 << 30;

/// What a key must be for a write to it to go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard<'a> {
    /// There is no object.
    Absent,
    /// The object has this entity tag.
    Is(&'a str),
}

impl Guard<'_> {
    /// As the header `If-Match`.
    pub(super) fn is(self) -> Option<String> {
        match self {
            Self::Is(etag) => Some(etag.to_owned()),
            Self::Absent => None,
        }
    }

    /// As the header `If-None-Match`.
    pub(super) fn absent(self) -> Option<String> {
        match self {
            Self::Absent => Some("*".to_owned()),
            Self::Is(_) => None,
        }
    }
}

impl Place {
    /// Copies an object, as it was when it was looked at, to a key of this place, and gives what is there then.
    /// What the key held before is replaced: keep it first.
    ///
    /// # Errors
    /// S3 says no, or the source changed.
    pub async fn copy(&self, from: &ObjectRef, to_key: &str) -> Result<ObjectRef, WorkerError> {
        self.copy_when(from, to_key, None).await
    }

    /// The same, only while the key still is as `guard` says. A server that does not know such conditions ignores them
    /// (S3 itself has them for copies of up to 5 GB), so the caller looks first as well.
    ///
    /// # Errors
    /// S3 says no, the source changed, or the key is not as the guard says.
    pub async fn copy_when(
        &self,
        from: &ObjectRef,
        to_key: &str,
        guard: Option<Guard<'_>>,
    ) -> Result<ObjectRef, WorkerError> {
        let operation = format!("copy {} to {to_key}", from.key);
        let mut source = format!("{}/{}", from.bucket, encode(&from.key));
        if let Some(version) = &from.version_id {
            source.push_str("?versionId=");
            source.push_str(version);
        }
        if from.size <= ONE_REQUEST {
            self.clients
                .quick
                .copy_object()
                .bucket(&self.bucket)
                .key(to_key)
                .copy_source(&source)
                .copy_source_if_match(&from.etag)
                .set_if_match(guard.and_then(Guard::is))
                .set_if_none_match(guard.and_then(Guard::absent))
                .set_expected_bucket_owner(self.owner.clone())
                .customize()
                .config_override(self.clients.copying(from.size))
                .send()
                .await
                .map_err(|error| self.fault(&operation, error))?;
        } else {
            self.copy_parts(from, &source, to_key, &operation).await?;
        }
        let copied = self.head(to_key, None).await?.filter(|copied| copied.size == from.size);
        copied.ok_or_else(|| {
            WorkerError::new(
                operation,
                self.url(),
                "S3 took the copy, but it is not there as it should be.",
                "Retry (r).",
            )
        })
    }

    async fn copy_parts(
        &self,
        from: &ObjectRef,
        source: &str,
        to_key: &str,
        operation: &str,
    ) -> Result<(), WorkerError> {
        let begun = self
            .clients
            .quick
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(to_key)
            .send()
            .await
            .map_err(|error| self.fault(operation, error))?;
        let id = begun.upload_id().unwrap_or_default();
        let mut parts = Vec::new();
        let mut at = 0;
        while at < from.size {
            let end = (at + PART).min(from.size);
            let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
            let copied = self
                .clients
                .quick
                .upload_part_copy()
                .bucket(&self.bucket)
                .key(to_key)
                .upload_id(id)
                .part_number(number)
                .copy_source(source)
                .copy_source_if_match(&from.etag)
                .copy_source_range(format!("bytes={at}-{}", end - 1))
                .customize()
                .config_override(self.clients.copying(end - at))
                .send()
                .await;
            let copied = match copied {
                Ok(copied) => copied,
                Err(error) => {
                    // What was copied is billed until it is given up.
                    let abort =
                        self.clients.quick.abort_multipart_upload().bucket(&self.bucket).key(to_key).upload_id(id);
                    let _ = abort.send().await;
                    return Err(self.fault(operation, error));
                }
            };
            let etag = copied.copy_part_result().and_then(|part| part.e_tag()).map(str::to_owned);
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
            at = end;
        }
        self.clients
            .patient
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(to_key)
            .upload_id(id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await
            .map_err(|error| self.fault(operation, error))?;
        Ok(())
    }
}

/// A key as the copy-source header wants it: everything but letters, digits, `-_.~/` in percent form.
fn encode(key: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
