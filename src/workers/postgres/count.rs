//! How many rows a dump holds of each table, from the dump itself.

use std::fs::File;
use std::path::Path;

use crate::archive::{ArchiveError, RowCount, Toc, count_rows};
use crate::workers::WorkerError;

use super::beside::counts;

/// A table of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) rows: u64,
}

/// Counts the rows of every table whose data is in the dump as COPY.
pub(super) async fn count(path: &Path, toc: &Toc) -> Result<Vec<Counted>, WorkerError> {
    let fault = |cause: String| {
        WorkerError::new(
            "count the dump's rows",
            path.display().to_string(),
            cause,
            "Retry (r): the dump is fetched again where it is gone.",
        )
    };
    let (owned, contents) = (path.to_owned(), toc.clone());
    let read = move || -> Result<Vec<RowCount>, ArchiveError> {
        // The loader counted them while it read the same bytes.
        let counted = std::fs::read(counts(&owned)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(counted) = counted {
            return Ok(counted);
        }
        let file = File::open(&owned).map_err(|error| ArchiveError::Read { at: 0, cause: error.to_string() })?;
        count_rows(file, &contents)
    };
    let counts = tokio::task::spawn_blocking(read).await.map_err(|error| fault(format!("{error}.")))?;
    Ok(counts
        .map_err(|error| fault(format!("{error}.")))?
        .into_iter()
        .filter_map(|count| {
            let entry = toc.entry(count.dump_id)?;
            Some(Counted { schema: entry.namespace.clone()?, table: entry.tag.clone(), rows: count.rows })
        })
        .collect())
}
