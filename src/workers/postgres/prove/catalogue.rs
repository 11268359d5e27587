//! The catalogue that was restored, compared with the archive's: what pg_dump says of the database now, against what it
//! said then.

use std::collections::BTreeMap;
use std::process::Stdio;

use secrecy::ExposeSecret as _;
use tokio::process::Command;

use crate::archive::{Toc, TocEntry};
use crate::incident::IncidentId;

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

/// Compares; where it cannot be compared, why not.
pub(super) async fn compare(
    server: &Server,
    incident: &IncidentId,
    major: u32,
    toc: &Toc,
    later: &[String],
) -> Result<Differences, String> {
    let tool = tools::find("pg_dump", &server.settings, major).await.map_err(|error| error.cause)?;
    let mut command = Command::from(crate::private::command(&tool.path));
    command.args(["--format=custom", "--schema-only"]).arg(format!("--role={}", server.settings.owner));
    command.args(server.arguments());
    for name in FOREIGN {
        command.env_remove(name);
    }
    for (name, value) in server.environment(incident, "compare") {
        command.env(name, value.expose_secret());
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| format!("pg_dump cannot be started: {error}."))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| line.contains("error:")).unwrap_or("pg_dump failed");
        return Err(format!("{}.", said.trim_end_matches('.')));
    }
    let mut now = Toc::parse(&output.stdout).map_err(|error| format!("What pg_dump says cannot be read: {error}."))?;
    // These are as they were meant to be until they are checked.
    let waits = |entry: &&mut TocEntry| entry.desc == "FK CONSTRAINT" && later.contains(&entry.name());
    for entry in now.entries.iter_mut().filter(waits) {
        entry.definition = entry.definition.take().map(|sql| sql.replace(" NOT VALID;", ";"));
    }
    Ok(differences(toc, &now))
}

/// Entries of which the same is there after a restore that gives everything to one owner. Left out are data, the
/// archive's own, and what depends on owner and superuser: rights (a table's new owner needs no grant on it, and pg_dump
/// writes none then), the schema `public` (written only where its owner was changed), subscriptions, event triggers and user mappings.
fn is_schema(entry: &TocEntry) -> bool {
    const OTHERS: [&str; 11] = [
        "ENCODING",
        "STDSTRINGS",
        "SEARCHPATH",
        "DATABASE",
        "DATABASE PROPERTIES",
        "SEQUENCE SET",
        "ACL",
        "DEFAULT ACL",
        "SUBSCRIPTION",
        "EVENT TRIGGER",
        "USER MAPPING",
    ];
    let desc = entry.desc.as_str();
    let of_the_database = entry.tag.starts_with("DATABASE ") && ["COMMENT", "SECURITY LABEL"].contains(&desc);
    let public = (desc == "SCHEMA" && entry.tag == "public") || entry.tag == "SCHEMA public";
    let data = desc.starts_with("BLOB") || desc.ends_with(" DATA") || entry.tag.starts_with("LARGE OBJECT");
    !(OTHERS.contains(&desc) || of_the_database || public || data)
}

fn differences(then: &Toc, now: &Toc) -> Differences {
    // Another version of pg_dump or server may word the same otherwise, even another minor one.
    let versions = |toc: &Toc| (toc.header.pg_dump_version.clone(), toc.header.server_version.clone());
    let words = versions(then) == versions(now);
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
    let other = |key: &(String, String, String), sql: &String| words && now.get(key).is_some_and(|found| found != sql);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Toc {
        let path = format!("{}/tests/fixtures/archives/{name}.dump", env!("CARGO_MANIFEST_DIR"));
        Toc::parse(&std::fs::read(path).expect("a fixture")).expect("an archive")
    }

    #[test]
    fn what_is_missing_more_and_other_is_named_and_rights_are_not() {
        let then = fixture("pg15-gzip");
        assert_eq!(differences(&then, &then), Differences::default());
        let mut now = then.clone();
        now.entries.retain(|entry| entry.desc != "ACL" && entry.desc != "FK CONSTRAINT");
        for entry in &mut now.entries {
            if entry.desc == "VIEW" {
                entry.definition = Some("CREATE VIEW of something else".to_owned());
            }
        }
        let found = differences(&then, &now);
        assert!(found.missing.iter().all(|name| name.starts_with("FK CONSTRAINT app.")), "{found:?}");
        assert!(!found.missing.is_empty() && found.more.is_empty(), "{found:?}");
        assert!(matches!(&found.other[..], [only] if only.starts_with("VIEW app.")), "{found:?}");
        assert_eq!(differences(&now, &then).more, found.missing);
        // Another version's words say nothing.
        now.header.pg_dump_version = Some("15.99".to_owned());
        assert!(differences(&then, &now).other.is_empty());
    }

    #[test]
    fn only_the_first_few_are_named() {
        let names: Vec<String> = (0..10).map(|n| format!("TABLE t{n}")).collect();
        assert!(some(&names).ends_with("TABLE t7 and 2 more"));
        assert_eq!(some(&names[..1]), "TABLE t0");
    }
}
