//! The catalogue that was restored, compared with the archive's: what pg_dump says of the database now, against what it
//! said then.

use std::collections::BTreeMap;
use std::process::Stdio;

use secrecy::ExposeSecret as _;
use tokio::process::Command;

use crate::archive::{Toc, TocEntry};
use crate::incident::IncidentId;
use crate::workers::WorkerError;

use super::super::server::{FOREIGN, Server};
use super::super::tools;

/// How many differences are named.
const NAMED: usize = 8;

/// What is different.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// In the archive, and not in the database.
    pub(super) missing: Vec<String>,
    /// In the database, and not in the archive.
    pub(super) more: Vec<String>,
    /// In both, and not the same.
    pub(super) other: Vec<String>,
}

/// Compares. The result is none where there is no pg_dump of the server's version.
pub(super) async fn compare(
    server: &Server,
    incident: &IncidentId,
    major: u32,
    toc: &Toc,
) -> Result<Option<Differences>, WorkerError> {
    let Ok(tool) = tools::find("pg_dump", &server.settings, major).await else { return Ok(None) };
    let fault = |cause: String| WorkerError::new("compare the catalogue", server.name(), cause, "Retry (r).");
    let mut command = Command::new(&tool.path);
    command.args(["--format=custom", "--schema-only"]).arg(format!("--role={}", server.settings.owner));
    command.args(server.arguments());
    for name in FOREIGN {
        command.env_remove(name);
    }
    for (name, value) in server.environment(incident, "compare") {
        command.env(name, value.expose_secret());
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| fault(format!("pg_dump cannot be started: {error}.")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said
            .lines()
            .find(|line| line.contains("error:"))
            .unwrap_or("pg_dump failed")
            .trim_end_matches('.')
            .to_owned();
        return Err(fault(format!("{said}.")));
    }
    let now =
        Toc::parse(&output.stdout).map_err(|error| fault(format!("What pg_dump says cannot be read: {error}.")))?;
    // Another version of pg_dump may word the same otherwise.
    let words = toc.header.pg_dump_major() == Some(tool.major) && toc.header.server_major() == Some(major);
    Ok(Some(differences(toc, &now, words)))
}

/// Entries that say something about the schema, and not about data, rights of the moment, or the archive itself.
fn is_schema(entry: &TocEntry) -> bool {
    let desc = entry.desc.as_str();
    let of_another_kind =
        ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "SEQUENCE SET"].contains(&desc);
    let of_the_database = entry.tag.starts_with("DATABASE ") && ["ACL", "COMMENT", "SECURITY LABEL"].contains(&desc);
    // A large object is data, with its rights and comments.
    let data = desc.starts_with("BLOB") || desc.ends_with(" DATA") || entry.tag.starts_with("LARGE OBJECT");
    !(of_another_kind || of_the_database || data)
}

fn differences(then: &Toc, now: &Toc, words: bool) -> Differences {
    let listed = |toc: &Toc| -> BTreeMap<(String, String, String), String> {
        let key =
            |entry: &TocEntry| (entry.desc.clone(), entry.namespace.clone().unwrap_or_default(), entry.tag.clone());
        toc.entries
            .iter()
            .filter(|entry| is_schema(entry))
            .map(|entry| (key(entry), entry.definition.clone().unwrap_or_default()))
            .collect()
    };
    let (then, now) = (listed(then), listed(now));
    let name = |(desc, schema, tag): &(String, String, String)| {
        if schema.is_empty() || schema == "-" { format!("{desc} {tag}") } else { format!("{desc} {schema}.{tag}") }
    };
    // Rights are written relative to an owner, who may be another one here.
    let other = |key: &(String, String, String), sql: &String| {
        words && !key.0.contains("ACL") && now.get(key).is_some_and(|found| found != sql)
    };
    Differences {
        missing: then.keys().filter(|key| !now.contains_key(*key)).map(name).collect(),
        more: now.keys().filter(|key| !then.contains_key(*key)).map(name).collect(),
        other: then.iter().filter(|(key, sql)| other(key, sql)).map(|(key, _)| name(key)).collect(),
    }
}

/// The first few, and how many more.
pub(super) fn some(names: &[String]) -> String {
    let text = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
