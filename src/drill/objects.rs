//! The OFX files: what production holds, what the snapshot holds, and how they differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::dumps::BACKUPS;
use super::error::SandboxError;
use super::folder::hex;
use super::s3::Store;
use super::scenario::{self, Objects};

/// The bucket of production.
pub const PRODUCTION: &str = "financecopilot-ofx";
/// Where its objects lie in the bucket of backups.
pub const SNAPSHOT_PREFIX: &str = "snapshot/ofx/";

/// What became of an object since the snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Production has the snapshot's bytes.
    Identical,
    /// Production lost it.
    Deleted,
    /// Production holds other bytes of the same length, newer than the onset.
    Overwritten,
    /// Production holds rightly newer bytes, from between snapshot and onset.
    Changed,
    /// Production alone holds it, from between snapshot and onset.
    Added,
}

/// What the objects were when the sandbox began; keys without the snapshot's prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFact {
    /// Its fate.
    pub fate: Fate,
    /// SHA-256 of the snapshot's bytes, hex; none for an added object.
    pub snapshot: Option<String>,
    /// SHA-256 of production's bytes, hex; none for a deleted object.
    pub production: Option<String>,
}

/// Lays out both buckets and returns what is there, by key.
pub(crate) async fn lay_out(
    store: &Store,
    counts: &Objects,
    start: Timestamp,
    onset: Timestamp,
) -> Result<BTreeMap<String, ObjectFact>, SandboxError> {
    let snapshot_at = scenario::at(start, counts.snapshot_at);
    let fates = [
        (Fate::Identical, counts.identical),
        (Fate::Deleted, counts.deleted),
        (Fate::Overwritten, counts.overwritten),
        (Fate::Changed, counts.changed),
        (Fate::Added, counts.added),
    ];
    let mut facts = BTreeMap::new();
    let mut number = 0_u32;
    for (fate, count) in fates {
        for place in 0..count {
            number += 1;
            // Spread the fates over the keys: 1,009 is a prime larger than the number of objects.
            let key = format!("statements/import-{:06}.ofx", 5000 + number * 631 % 1009);
            let original = statement(&key, 1);
            let written = after(start, SignedDuration::from_hours(-30), number * 97);
            let between = after(snapshot_at, SignedDuration::from_mins(20), place * 60);
            let (snapshot, production) = match fate {
                Fate::Identical => (Some(original.clone()), Some((original, written))),
                Fate::Deleted => (Some(original), None),
                Fate::Overwritten => {
                    let damaged = damage(&original);
                    (Some(original), Some((damaged, after(onset, SignedDuration::from_secs(30), place * 2))))
                }
                Fate::Changed => (Some(original), Some((statement(&key, 2), between))),
                Fate::Added => (None, Some((original, between))),
            };
            let digest = |bytes: &[u8]| {
                use sha2::Digest as _;
                hex(&sha2::Sha256::digest(bytes))
            };
            let fact = ObjectFact {
                fate,
                snapshot: snapshot.as_deref().map(digest),
                production: production.as_ref().map(|(bytes, _)| digest(bytes)),
            };
            if let Some(bytes) = snapshot {
                store.put(BACKUPS, &format!("{SNAPSHOT_PREFIX}{key}"), bytes, snapshot_at).await?;
            }
            if let Some((bytes, modified)) = production {
                store.put(PRODUCTION, &key, bytes, modified).await?;
            }
            facts.insert(key, fact);
        }
    }
    Ok(facts)
}

fn after(base: Timestamp, offset: SignedDuration, seconds: u32) -> Timestamp {
    scenario::at(base, offset + SignedDuration::from_secs(i64::from(seconds)))
}

/// A bank statement in OFX 1.0.2 (SGML), a few KiB long; `edition` 2 carries one correction more.
fn statement(key: &str, edition: u32) -> Vec<u8> {
    let seed: u32 = key.bytes().fold(17, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let mut text = String::from(
        "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nSECURITY:NONE\nENCODING:UTF-8\n\n<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS>\n",
    );
    let _ = writeln!(text, "<CURDEF>EUR<BANKACCTFROM><BANKID>{seed}<ACCTID>{key}</BANKACCTFROM><BANKTRANLIST>");
    for line in 0..12 + seed % 40 + edition {
        let value = seed.wrapping_mul(line + 7) % 500_000;
        let _ = writeln!(
            text,
            "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>202611{:02}<TRNAMT>-{}.{:02}<FITID>{seed:08x}{line:04}<NAME>Merchant {value}</STMTTRN>",
            1 + line % 28,
            value / 100,
            value % 100,
        );
    }
    text.push_str("</BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\n");
    text.into_bytes()
}

/// Zeroed amounts, as the bad migration left them: the same length, other bytes.
fn damage(statement: &[u8]) -> Vec<u8> {
    let mut inside_amount = false;
    let zeroed = statement.iter().scan(*b"       ", |tail, &byte| {
        tail.rotate_left(1);
        if let Some(last) = tail.last_mut() {
            *last = byte;
        }
        if tail == b"TRNAMT>" {
            inside_amount = true;
            return Some(byte);
        }
        inside_amount &= byte != b'<';
        Some(if inside_amount && byte.is_ascii_digit() { b'0' } else { byte })
    });
    zeroed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_keeps_the_length_and_changes_the_bytes() {
        for number in 0..50 {
            let original = statement(&format!("statements/import-{number:06}.ofx"), 1);
            let damaged = damage(&original);
            assert_eq!(original.len(), damaged.len());
            assert_ne!(original, damaged);
            assert!(String::from_utf8(damaged).unwrap().contains("<TRNAMT>-0"));
            assert!(original.len() > 1000);
        }
    }
}
