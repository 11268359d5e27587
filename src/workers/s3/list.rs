//! Listing.

use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;

use crate::snapshots::Listed;
use crate::workers::WorkerError;

use super::Place;

impl Place {
    /// Every object under the place's prefix and `below`, in the order of keys.
    ///
    /// # Errors
    /// S3 says no.
    pub async fn list(&self, below: &str) -> Result<Vec<Listed>, WorkerError> {
        let mut found = Vec::new();
        let mut token = None;
        let prefix = format!("{}{below}", self.prefix);
        loop {
            let page = self
                .clients
                .quick
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&prefix)
                // A key may hold characters that XML cannot.
                .encoding_type(EncodingType::Url)
                .set_expected_bucket_owner(self.owner.clone())
                .set_continuation_token(token)
                .send()
                .await
                .map_err(|error| self.fault("list the objects", error))?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            for object in page.contents() {
                let key = object.key().unwrap_or_default();
                found.push(Listed {
                    key: if encoded { decode(key) } else { key.to_owned() },
                    size: u64::try_from(object.size().unwrap_or(0)).unwrap_or(0),
                    last_modified: object
                        .last_modified()
                        .and_then(|at| Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok())
                        .unwrap_or_default(),
                    etag: object.e_tag().unwrap_or_default().to_owned(),
                    version_id: None,
                    storage_class: object
                        .storage_class()
                        .map(|class| class.as_str().to_owned())
                        .filter(|class| class != "STANDARD"),
                });
            }
            // A page may be short, or even empty, and not be the last.
            token = page.next_continuation_token().map(str::to_owned);
            if page.is_truncated() != Some(true) || token.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Undoes S3's encoding of a key: percent signs, and `+` for a space.
fn decode(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    bytes.push(byte);
                    rest = &after[2..];
                } else {
                    bytes.push(b'%');
                }
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn keys_are_decoded() {
        for (encoded, key) in [("a+b%2Bc", "a b+c"), ("100%25", "100%"), ("%", "%"), ("%zz", "%zz"), ("%C3%A9", "é")] {
            assert_eq!(decode(encoded), key);
        }
    }
}
