//! Uploading a dump while pg_dump still writes it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tokio::sync::watch;

use crate::incident::ObjectRef;
use crate::workers::WorkerError;

use super::{Place, Progress};

/// The least size of a part; S3 takes at most 10,000 of them, and the last may be smaller.
const PART: u64 = 16 << 20;
const MOST_PARTS: u64 = 9_000;
/// Between two looks at how long the file is.
const LOOK: Duration = Duration::from_millis(100);

/// What becomes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// It is still written.
    Growing,
    /// It is whole.
    Whole,
    /// It is worth nothing: what was sent is given up.
    Failed,
}

/// Where the part of the file ends that is written once more at its end, as far as that is known: for an archive its
/// table of contents, which then gets its offsets.
pub(super) type Rewritten<'a> = &'a (dyn Fn() -> Option<u64> + Send + Sync);

impl Place {
    /// Writes a file as a new object while it grows, at most to about `expected` bytes. What is `rewritten` goes last.
    /// Nothing is there under the key before everything is; an object of that name is an error. None where it failed.
    ///
    /// # Errors
    /// The object exists, the file cannot be read, or S3 says no.
    #[expect(clippy::too_many_arguments, reason = "a transfer with everything that decides about its parts")]
    pub async fn upload_growing(
        &self,
        key: &str,
        from: &Path,
        metadata: &BTreeMap<String, String>,
        expected: u64,
        rewritten: Rewritten<'_>,
        growth: watch::Receiver<Growth>,
        progress: Progress<'_>,
    ) -> Result<Option<ObjectRef>, WorkerError> {
        // Not every S3 server knows If-None-Match, so it is looked at first as well.
        if self.head(key, None).await?.is_some() {
            return Err(WorkerError::new(
                format!("write {key}"),
                self.url(),
                "An object of that name exists already, and relight does not overwrite it.",
                "Retry (r): the next attempt takes another name.",
            ));
        }
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
        // Who comes after a crash gives it up by this; without it, the bucket's lifecycle rules do.
        let _ = crate::private::write(&begun_at(from), &id);
        let sending = Sending { place: self, key, id: &id, from, part: PART.max(expected.div_ceil(MOST_PARTS)) };
        let size = sending.run(rewritten, growth, progress).await;
        let _ = std::fs::remove_file(begun_at(from));
        let Ok(Some(size)) = size else {
            // What was sent is billed until it is given up. That this fails too changes nothing for the person.
            let _ =
                self.clients.quick.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(&id).send().await;
            return size.map(|_| None);
        };
        let written = self.head(key, None).await?.filter(|written| written.size == size);
        written.map(Some).ok_or_else(|| {
            let cause = "S3 took the object, but it is not there as it was written.";
            WorkerError::new(format!("write {key}"), self.url(), cause, "Retry (r).")
        })
    }
}

/// Gives up what an earlier process had begun to upload of a file. What cannot be given up stays invisible, and is
/// billed until the bucket's lifecycle rules end it.
pub async fn give_up(place: &Place, key: &str, from: &Path) {
    let note = begun_at(from);
    let Ok(id) = std::fs::read_to_string(&note) else { return };
    let given_up =
        place.clients.quick.abort_multipart_upload().bucket(&place.bucket).key(key).upload_id(&id).send().await;
    match given_up {
        Ok(_) => drop(std::fs::remove_file(note)),
        Err(error) => tracing::warn!("an unfinished upload of {key} is left in {}: {error}", place.bucket),
    }
}

/// Where the id of an upload that was begun is, while it lasts.
fn begun_at(from: &Path) -> std::path::PathBuf {
    from.with_extension("upload")
}

/// One upload.
struct Sending<'a> {
    place: &'a Place,
    key: &'a str,
    id: &'a str,
    from: &'a Path,
    part: u64,
}

impl Sending<'_> {
    /// Sends every part and puts them together; the size, or none where the file failed.
    async fn run(
        &self,
        rewritten: Rewritten<'_>,
        mut growth: watch::Receiver<Growth>,
        progress: Progress<'_>,
    ) -> Result<Option<u64>, WorkerError> {
        let mut sent: BTreeMap<u64, CompletedPart> = BTreeMap::new();
        let mut next = None;
        let size = loop {
            // Looked at before the length: what was written before it was whole is within the length.
            let state = *growth.borrow_and_update();
            let length = std::fs::metadata(self.from).map_or(0, |found| found.len());
            if state == Growth::Failed {
                return Ok(None);
            }
            if state == Growth::Whole {
                break length;
            }
            // The first part that is not written once more.
            next = next.or_else(|| rewritten().map(|end| end.div_ceil(self.part)));
            if let Some(number) = next.filter(|number| (number + 1) * self.part <= length) {
                sent.insert(number, self.send(number, length).await?);
                next = Some(number + 1);
                progress(sent.len() as u64 * self.part, length);
                continue;
            }
            tokio::select! {
                changed = growth.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep(LOOK) => {}
            }
        };
        for number in 0..size.div_ceil(self.part).max(1) {
            if let Entry::Vacant(place) = sent.entry(number) {
                place.insert(self.send(number, size).await?);
            }
            progress((sent.len() as u64 * self.part).min(size), size);
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(sent.into_values().collect())).build();
        self.place
            .clients
            .patient
            .complete_multipart_upload()
            .bucket(&self.place.bucket)
            .key(self.key)
            .upload_id(self.id)
            .if_none_match("*")
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| self.place.fault(&format!("finish writing {}", self.key), error))?;
        Ok(Some(size))
    }

    async fn send(&self, number: u64, size: u64) -> Result<CompletedPart, WorkerError> {
        let (at, from) = (number * self.part, self.from.to_owned());
        let length = usize::try_from(self.part.min(size.saturating_sub(at))).unwrap_or(0);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            File::open(from)?.read_exact_at(&mut bytes, at).map(|()| bytes)
        });
        let bytes = read.await.map_err(std::io::Error::other).and_then(|read| read).map_err(|error| {
            let cause = format!("The file cannot be read: {error}.");
            WorkerError::new(format!("upload {}", self.key), "this host", cause, "Retry (r).")
        })?;
        let number = i32::try_from(number + 1).unwrap_or(i32::MAX);
        let sent = self
            .place
            .clients
            .sending
            .upload_part()
            .bucket(&self.place.bucket)
            .key(self.key)
            .upload_id(self.id)
            .part_number(number)
            .set_expected_bucket_owner(self.place.owner.clone())
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| self.place.fault(&format!("write part {number} of {}", self.key), error))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build())
    }
}
