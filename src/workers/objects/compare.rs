//! What differs between a bucket and its snapshot, by content.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::workers::WorkerError;
use crate::workers::s3::Place;

use super::basis::Item;
use super::source::{Good, Source, below, pin, sha256};

/// Objects that are read and hashed at once.
const AT_ONCE: usize = 8;
/// Above this size two different plain MD5 tags are taken for two different contents. Below it the contents are read:
/// under SSE-KMS a tag looks like an MD5 and is none, and equal content would be taken for damage.
const READ_TO_BE_SURE: u64 = 32 << 20;

/// An object as the bucket has it.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified: Timestamp,
}

/// Both sides, compared.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// The bucket lacks it.
    pub(super) missing: Vec<Item>,
    /// The bucket has other content, from after the onset.
    pub(super) damaged: Vec<Item>,
    /// The bucket has other content, from before the onset: rightly changed, as far as anybody can tell.
    pub(super) changed: Vec<Item>,
    /// When the last of those was changed.
    pub(super) changed_last: Option<Timestamp>,
    /// The bucket alone has it.
    pub(super) live_only: usize,
    /// Both have it, with the same content.
    pub(super) equal: usize,
    /// All objects of the snapshot.
    pub(super) good: usize,
}

/// Compares. Without an onset nothing counts as rightly changed.
pub(super) async fn compare(source: &Source, to: &Place, onset: Option<Timestamp>) -> Result<Differences, WorkerError> {
    let (good, live) = tokio::try_join!(source.list(), list_live(to))?;
    let mut found = Differences {
        good: good.len(),
        live_only: live.keys().filter(|key| !good.contains_key(*key)).count(),
        ..Differences::default()
    };
    let pairs = good.into_iter().map(|(key, good)| {
        let live = live.get(&key).cloned();
        async move {
            let same = match &live {
                None => false,
                Some(live) => same(source, to, &key, &good, live).await?,
            };
            Ok::<_, WorkerError>((key, good, live, same))
        }
    });
    let mut judged: Vec<_> = stream::iter(pairs).buffer_unordered(AT_ONCE).try_collect().await?;
    judged.sort_by(|one, other| one.0.cmp(&other.0));
    for (key, good, live, same) in judged {
        let item = Item { key, size: good.size, source: good.etag, live: live.as_ref().map(|live| live.etag.clone()) };
        match live {
            None => found.missing.push(item),
            Some(_) if same => found.equal += 1,
            Some(live) if onset.is_some_and(|onset| live.modified < onset) => {
                found.changed_last = found.changed_last.max(Some(live.modified));
                found.changed.push(item);
            }
            Some(_) => found.damaged.push(item),
        }
    }
    Ok(found)
}

async fn list_live(to: &Place) -> Result<BTreeMap<String, Live>, WorkerError> {
    let listed = to.list("").await?.into_iter();
    Ok(below(
        to,
        listed
            .map(|object| (object.key, Live { size: object.size, etag: object.etag, modified: object.last_modified })),
    ))
}

/// Whether the bucket's object has the snapshot's content.
pub(super) async fn same(
    source: &Source,
    to: &Place,
    key: &str,
    good: &Good,
    live: &Live,
) -> Result<bool, WorkerError> {
    if good.size != live.size {
        return Ok(false);
    }
    // Equal tags and sizes are equal content, whatever the tag is made of.
    if !good.etag.is_empty() && good.etag == live.etag {
        return Ok(true);
    }
    if good.size > READ_TO_BE_SURE && plain_md5(&good.etag) && plain_md5(&live.etag) {
        return Ok(false);
    }
    let object = pin(to, key, &Good { size: live.size, etag: live.etag.clone() });
    let (one, other) = tokio::try_join!(source.sha256(key, good), sha256(to, &object))?;
    Ok(one == other)
}

/// Whether an entity tag can be the MD5 of the content: 32 hexadecimal digits, and no part count after them.
fn plain_md5(etag: &str) -> bool {
    let bare = etag.trim_matches('"');
    bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_without_a_part_count_may_be_md5() {
        assert!(plain_md5("\"d41d8cd98f00b204e9800998ecf8427e\""));
        for tag in ["", "\"\"", "\"d41d8cd98f00b204e9800998ecf8427e-2\"", "\"zz1d8cd98f00b204e9800998ecf8427e\""] {
            assert!(!plain_md5(tag), "{tag}");
        }
    }
}
