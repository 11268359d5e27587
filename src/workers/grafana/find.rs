//! From `Folder > Dashboard`, as people say it, to one dashboard. Searches match parts of titles and show only what the
//! token may see, so titles are compared here and an empty result never means "there is none" for sure.

use crate::workers::WorkerError;

use super::api::{Api, Hit};

/// The one dashboard that the path names.
pub(super) async fn find(api: &Api, path: &str) -> Result<Hit, WorkerError> {
    let parts: Vec<&str> = path.split('>').map(str::trim).filter(|part| !part.is_empty()).collect();
    let Some((title, folders)) = parts.split_last() else {
        return Err(wrong(api, path, "No dashboard is named.".to_owned()));
    };
    let Some((first, nested)) = folders.split_first() else {
        let boards = api.search("dash-db", title, None).await?;
        return one(api, path, exactly(boards, title));
    };
    let mut inside = exactly(api.search("dash-folder", first, None).await?, first);
    if nested.is_empty() || inside.iter().any(|folder| folder.folder_uid.is_none()) {
        // The path begins at the top; a folder of the same name deeper down is another one.
        let top: Vec<Hit> = inside.iter().filter(|folder| folder.folder_uid.is_none()).cloned().collect();
        if !top.is_empty() {
            inside = top;
        }
    }
    for name in nested {
        let mut deeper = Vec::new();
        for folder in &inside {
            deeper.extend(exactly(api.search("dash-folder", name, Some(&folder.uid)).await?, name));
        }
        inside = deeper;
    }
    if inside.is_empty() {
        return Err(wrong(api, path, format!("The token sees no folder \"{}\".", folders.join(" > "))));
    }
    let (mut boards, mut below) = (Vec::new(), Vec::new());
    for folder in &inside {
        boards.extend(exactly(api.search("dash-db", title, Some(&folder.uid)).await?, title));
    }
    if boards.is_empty() {
        // "Platform > Database" may also be a folder in a folder, with a dashboard in it.
        for folder in &inside {
            below.extend(exactly(api.search("dash-folder", title, Some(&folder.uid)).await?, title));
        }
        for folder in &below {
            boards.extend(api.search("dash-db", "", Some(&folder.uid)).await?);
        }
    }
    one(api, path, boards)
}

fn exactly(hits: Vec<Hit>, title: &str) -> Vec<Hit> {
    hits.into_iter().filter(|hit| hit.title == title).collect()
}

fn one(api: &Api, path: &str, mut found: Vec<Hit>) -> Result<Hit, WorkerError> {
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|hit| format!("\"{}\" ({})", hit.title, hit.uid)).collect();
        return Err(wrong(api, path, format!("Several dashboards fit: {}.", names.join(", "))));
    }
    found.pop().ok_or_else(|| wrong(api, path, "The token sees no dashboard of that title there.".to_owned()))
}

fn wrong(api: &Api, path: &str, cause: String) -> WorkerError {
    WorkerError::new(
        format!("find the dashboard \"{path}\""),
        api.target(),
        cause,
        "Check the title in the runbook, and that the service account may see the folder; an empty search can mean that \
         it may not.",
    )
}
