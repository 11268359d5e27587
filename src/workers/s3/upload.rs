//! Writing objects that do not exist yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::incident::ObjectRef;
use crate::workers::{Cancel, Disposition, WorkerError};

use super::{Guard, Place, Progress};

/// The least size of a part, in bytes; larger objects get larger parts, since S3 takes at most 10,000.
const PART: u64 = 16 << 20;
const MOST_PARTS: u64 = 9_000;
/// S3 takes at most 5 GB in one request.
const ONE_PUT: u64 = 5_000_000_000;

impl Place {
    /// Writes a file as a new object. It never overwrites: an object of that name is an error.
    ///
    /// # Errors
    /// The object exists, the file cannot be read, S3 says no, or it was cancelled ([`Disposition::Retry`]).
    pub async fn upload(
        &self,
        key: &str,
        from: &Path,
        metadata: &BTreeMap<String, String>,
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<ObjectRef, WorkerError> {
        // Not every S3 server knows If-None-Match, so it is looked at first as well.
        if self.head(key, None).await?.is_some() {
            return Err(WorkerError::new(
                format!("write {key}"),
                self.url(),
                "An object of that name exists already, and relight does not overwrite it.",
                "Retry (r): the next attempt takes another name.",
            ));
        }
        let local = |error: std::io::Error| {
            let place = format!("{} on this host", from.display());
            WorkerError::new(format!("upload {key}"), place, format!("The file cannot be read: {error}."), "Retry (r).")
        };
        let file = Arc::new(File::open(from).map_err(local)?);
        let size = file.metadata().map_err(local)?.len();
        if size <= PART {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            file.read_exact_at(&mut bytes, 0).map_err(local)?;
            self.clients
                .sending
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .set_expected_bucket_owner(self.owner.clone())
                .if_none_match("*")
                .set_metadata(Some(metadata.clone().into_iter().collect()))
                .body(ByteStream::from(bytes))
                .send()
                .await
                .map_err(|error| self.fault(&format!("write {key}"), error))?;
            progress(size, size);
        } else {
            self.upload_parts(key, &file, size, metadata, progress, cancel).await?;
        }
        let written = self.head(key, None).await?.filter(|written| written.size == size);
        written.ok_or_else(|| {
            WorkerError::new(
                format!("write {key}"),
                self.url(),
                "S3 took the object, but it is not there as it was written.",
                "Retry (r).",
            )
        })
    }

    /// Writes a local file over what a key holds, while the key still is as `guard` says. Keep what it held first.
    ///
    /// # Errors
    /// The file cannot be read or is larger than 5 GB, S3 says no, or the key is not as the guard says.
    pub async fn replace(&self, key: &str, from: &Path, guard: Guard<'_>) -> Result<ObjectRef, WorkerError> {
        let operation = format!("write {key}");
        let local = |why: String| {
            WorkerError::new(operation.clone(), format!("{} on this host", from.display()), why, "Retry (r).")
        };
        let size = std::fs::metadata(from).map_err(|error| local(format!("The file cannot be read: {error}.")))?.len();
        if size > ONE_PUT {
            return Err(local("The file is larger than the 5 GB that S3 takes at once.".to_owned()));
        }
        let body = ByteStream::from_path(from).await;
        self.clients
            .patient
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .set_expected_bucket_owner(self.owner.clone())
            .set_if_match(guard.is())
            .set_if_none_match(guard.absent())
            .body(body.map_err(|error| local(format!("The file cannot be read: {error}.")))?)
            .send()
            .await
            .map_err(|error| self.fault(&operation, error))?;
        let written = self.head(key, None).await?.filter(|written| written.size == size);
        written.ok_or_else(|| {
            let cause = "S3 took the object, but it is not there as it was written.";
            WorkerError::new(operation, self.url(), cause, "Retry (r).")
        })
    }

    async fn upload_parts(
        &self,
        key: &str,
        file: &Arc<File>,
        size: u64,
        metadata: &BTreeMap<String, String>,
        progress: Progress<'_>,
        cancel: &Cancel,
    ) -> Result<(), WorkerError> {
        let begun = self
            .clients
            .quick
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .set_expected_bucket_owner(self.owner.clone())
            .set_metadata(Some(metadata.clone().into_iter().collect()))
            .send()
            .await
            .map_err(|error| self.fault(&format!("begin to write {key}"), error))?;
        let id = begun.upload_id().unwrap_or_default().to_owned();
        let sent = tokio::select! {
            sent = self.send_parts(key, &id, file, size, progress) => sent,
            () = cancel.cancelled() => Err(WorkerError::new(
                format!("write {key}"), self.url(), "It was stopped.", "Retry (r) to begin again.",
            ).with(Disposition::Retry)),
        };
        if sent.is_err() {
            // What was sent is billed until it is given up. That this fails too changes nothing for the person.
            let _ =
                self.clients.quick.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&id).send().await;
        }
        sent
    }

    async fn send_parts(
        &self,
        key: &str,
        id: &str,
        file: &Arc<File>,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<(), WorkerError> {
        let part = PART.max(size.div_ceil(MOST_PARTS));
        let mut parts = Vec::new();
        let mut at = 0;
        while at < size {
            let length = part.min(size - at);
            let source = Arc::clone(file);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
                source.read_exact_at(&mut bytes, at).map(|()| bytes)
            });
            let bytes = read.await.map_err(std::io::Error::other).and_then(|read| read).map_err(|error| {
                let cause = format!("The file cannot be read: {error}.");
                WorkerError::new(format!("upload {key}"), "this host", cause, "Retry (r).")
            })?;
            let number = i32::try_from(parts.len() + 1).unwrap_or(i32::MAX);
            let sent = self
                .clients
                .sending
                .upload_part()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(id)
                .part_number(number)
                .set_expected_bucket_owner(self.owner.clone())
                .body(ByteStream::from(bytes))
                .send()
                .await
                .map_err(|error| self.fault(&format!("write part {number} of {key}"), error))?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build());
            at += length;
            progress(at, size);
        }
        self.clients
            .patient
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(id)
            .if_none_match("*")
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await
            .map_err(|error| self.fault(&format!("finish writing {key}"), error))?;
        Ok(())
    }
}
