//! Whether a file is the object that S3 keeps, by the checksum that S3 keeps of it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use crc_fast::CrcAlgorithm;
use sha2::{Digest as _, Sha256};

use crate::incident::ObjectRef;
use crate::workers::{Disposition, WorkerError};

use super::Place;

/// How much is read at once.
const STRIDE: usize = 1 << 20;

/// A checksum of a whole object, big endian as S3 gives it.
enum Sum {
    Crc(&'static str, CrcAlgorithm, Vec<u8>),
    Sha256(Vec<u8>),
}

impl Place {
    /// Compares a whole file with the object's checksum. The checksum's name, or none where S3 keeps none of the object
    /// as a whole: of an upload in parts it may keep only one over the parts' checksums.
    ///
    /// # Errors
    /// They differ, the file cannot be read, or S3 says no.
    pub(super) async fn verify(&self, object: &ObjectRef, file: &File) -> Result<Option<&'static str>, WorkerError> {
        let Some(sum) = self.checksum(object).await? else { return Ok(None) };
        let name = match &sum {
            Sum::Crc(name, ..) => name,
            Sum::Sha256(_) => "SHA-256",
        };
        let failed =
            |cause: String, next: &str| WorkerError::new(format!("verify {}", object.key), self.url(), cause, next);
        let disk = |error: std::io::Error| failed(format!("The copy cannot be read: {error}."), "Retry (r).");
        let (file, size) = (file.try_clone().map_err(disk)?, object.size);
        let same = tokio::task::spawn_blocking(move || matches(&file, size, &sum)).await;
        if same.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(disk)? {
            return Ok(Some(name));
        }
        Err(failed(
            format!("What arrived is not what S3 keeps: its {name} checksum is another."),
            "Nothing of it is used. Retry (r) to fetch it again, or choose another snapshot.",
        )
        .with(Disposition::Retry))
    }

    async fn checksum(&self, object: &ObjectRef) -> Result<Option<Sum>, WorkerError> {
        let asked = self
            .clients
            .quick
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(object.version_id.clone())
            .set_expected_bucket_owner(self.owner.clone())
            .if_match(&object.etag)
            .checksum_mode(ChecksumMode::Enabled);
        let found =
            asked.send().await.map_err(|error| self.fault(&format!("read the head of {}", object.key), error))?;
        if found.checksum_type() == Some(&ChecksumType::Composite) {
            return Ok(None);
        }
        // `-3` behind it: over three parts' checksums, from servers that do not name the type.
        let bytes = |text: Option<&str>| {
            text.filter(|text| !text.contains('-')).and_then(|text| aws_smithy_types::base64::decode(text).ok())
        };
        Ok(bytes(found.checksum_crc64_nvme())
            .map(|sum| Sum::Crc("CRC-64/NVME", CrcAlgorithm::Crc64Nvme, sum))
            .or_else(|| bytes(found.checksum_crc32_c()).map(|sum| Sum::Crc("CRC-32C", CrcAlgorithm::Crc32Iscsi, sum)))
            .or_else(|| bytes(found.checksum_crc32()).map(|sum| Sum::Crc("CRC-32", CrcAlgorithm::Crc32IsoHdlc, sum)))
            .or_else(|| bytes(found.checksum_sha256()).map(Sum::Sha256)))
    }
}

fn matches(file: &File, size: u64, sum: &Sum) -> std::io::Result<bool> {
    let mut buffer = vec![0; STRIDE];
    let mut each = |take: &mut dyn FnMut(&[u8])| -> std::io::Result<()> {
        let mut at = 0;
        while at < size {
            let count = buffer.len().min(usize::try_from(size - at).unwrap_or(usize::MAX));
            let part = buffer.get_mut(..count).unwrap_or_default();
            file.read_exact_at(part, at)?;
            take(part);
            at += count as u64;
        }
        Ok(())
    };
    Ok(match sum {
        Sum::Crc(_, algorithm, expected) => {
            let mut digest = crc_fast::Digest::new(*algorithm);
            each(&mut |part| digest.update(part))?;
            // S3 gives as many bytes as the algorithm has.
            let found = digest.finalize().to_be_bytes();
            found.get(found.len().saturating_sub(expected.len())..) == Some(expected.as_slice())
        }
        Sum::Sha256(expected) => {
            let mut digest = Sha256::new();
            each(&mut |part| digest.update(part))?;
            digest.finalize().as_slice() == expected.as_slice()
        }
    })
}
