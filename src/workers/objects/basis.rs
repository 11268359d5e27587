//! What a person approves: exactly which objects get which content, over which.

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::incident::{Digest, Plan};
use crate::workers::{Context, WorkerError};

/// A plan with more objects than this keeps its list in a file, so that the journal stays small.
const INLINE: usize = 200;

/// One object to bring back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Key below both prefixes.
    pub(super) key: String,
    /// Bytes of the good content.
    pub(super) size: u64,
    /// Its entity tag; empty for a file of a folder.
    pub(super) source: String,
    /// Entity tag of what the bucket holds now; none where it holds nothing.
    pub(super) live: Option<String>,
}

/// The list itself, or where it is and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum List {
    Inline(Vec<Item>),
    File { name: String, sha256: String },
}

/// The approved plan's own part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Basis {
    /// The source, as people write it.
    pub(super) from: String,
    count: usize,
    list: List,
}

impl Basis {
    /// Of a list of objects. A long one is written below the incident's folder.
    pub(super) fn of(cx: &Context, from: String, items: Vec<Item>) -> Result<Self, WorkerError> {
        let count = items.len();
        if count <= INLINE {
            return Ok(Self { from, count, list: List::Inline(items) });
        }
        let bytes = serde_json::to_vec(&items).map_err(|error| unreadable(&error.to_string()))?;
        let sha256 = Digest::of(&bytes).0;
        // Named by content, so that the list of an earlier plan is never overwritten by another.
        let name = format!("objects-{sha256}.json");
        let folder = cx.folder.join("work");
        write(&folder, &name, &bytes).map_err(|error| {
            let place = format!("{} on this host", folder.display());
            let cause = format!("The list of objects cannot be written: {error}.");
            WorkerError::new("keep the plan", place, cause, "Free space there, then prepare the step again.")
        })?;
        Ok(Self { from, count, list: List::File { name, sha256 } })
    }

    /// Reads it, and its list, back from an approved plan.
    pub(super) fn read(cx: &Context, plan: &Plan) -> Result<(Self, Vec<Item>), WorkerError> {
        let basis: Self = serde_json::from_value(plan.basis.clone()).map_err(|error| unreadable(&error.to_string()))?;
        let items = match &basis.list {
            List::Inline(items) => items.clone(),
            List::File { name, sha256 } => {
                // The name comes from the journal; it must not lead elsewhere.
                if *name != format!("objects-{sha256}.json") || sha256.contains('/') {
                    return Err(unreadable("its list has an unexpected name"));
                }
                let path = cx.folder.join("work").join(name);
                let bytes = std::fs::read(&path).map_err(|error| unreadable(&error.to_string()))?;
                if Digest::of(&bytes).0 != *sha256 {
                    return Err(unreadable("its list is not the one that was approved"));
                }
                serde_json::from_slice(&bytes).map_err(|error| unreadable(&error.to_string()))?
            }
        };
        if items.len() != basis.count {
            return Err(unreadable("its list is not whole"));
        }
        Ok((basis, items))
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    crate::private::folder(folder)?;
    let partial = folder.join(format!("{name}.part"));
    let mut file = crate::private::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, folder.join(name))?;
    std::fs::File::open(folder)?.sync_all()
}

fn unreadable(why: &str) -> WorkerError {
    let cause = format!("The approved plan cannot be read: {why}.");
    WorkerError::new("read the plan", "relight", cause, "Prepare the step again.")
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::*;
    use crate::incident::TargetIdentity;

    fn items(count: usize) -> Vec<Item> {
        let item = |number| Item { key: format!("k{number}"), size: 1, source: "\"a\"".to_owned(), live: None };
        (0..count).map(item).collect()
    }

    fn plan(cx: &Context, count: usize) -> Plan {
        let mut plan = Plan::new(cx.step.clone(), TargetIdentity::default());
        plan.basis = serde_json::to_value(Basis::of(cx, "s3://b/".to_owned(), items(count)).unwrap()).unwrap();
        plan
    }

    #[test]
    fn a_long_list_stays_out_of_the_journal_and_is_proved_when_read() {
        let folder = tempfile::tempdir().unwrap();
        let cx = context(folder.path());
        for count in [0, INLINE, INLINE + 1, 5000] {
            let plan = plan(&cx, count);
            assert!(plan.basis.to_string().len() < 20_000);
            assert_eq!(Basis::read(&cx, &plan).unwrap().1, items(count));
        }
        let plan = plan(&cx, 300);
        let name = plan.basis["list"]["file"]["name"].as_str().unwrap();
        let path = folder.path().join("work").join(name);
        let text = std::fs::read_to_string(&path).unwrap().replace("k7", "k8");
        std::fs::write(&path, text).unwrap();
        assert!(Basis::read(&cx, &plan).unwrap_err().cause.contains("not the one that was approved"));
        std::fs::remove_file(&path).unwrap();
        assert!(Basis::read(&cx, &plan).is_err());
    }

    #[test]
    fn a_list_is_read_from_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let cx = context(folder.path());
        let mut plan = plan(&cx, 300);
        plan.basis["list"]["file"]["name"] = serde_json::json!("../../secret");
        assert!(Basis::read(&cx, &plan).unwrap_err().cause.contains("unexpected name"));
    }
}
