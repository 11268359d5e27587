//! What speaks against a restore, and what must be left out of it.

use std::path::{Path, PathBuf};

use crate::archive::Toc;
use crate::incident::{Fact, Finding, ObjectRef};
use crate::workers::{Context, Io, WorkerError};

use super::beside::Properties;
use super::server::Server;
use super::session::Session;
use super::tools::Tool;
use super::{catalogue, gates, local_copy};

/// Whether this incident made a safety dump of the database. A dump stays good even where its step was undone.
pub(super) fn has_way_back(cx: &Context, server: &Server) -> bool {
    cx.knowledge.facts.iter().any(|known| match &known.fact {
        Fact::SafetyDump { object, .. } => {
            // `financecopilot-20261123T085500Z.dump`: the name, and then nothing but the time.
            let name = object.key.rsplit('/').next().unwrap_or_default();
            let rest = name.strip_prefix(&server.database).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(|time| time.chars().next().is_some_and(|c| c.is_ascii_digit()) && !time.contains('-'))
        }
        _ => false,
    })
}

/// What the dump's own table of contents says against the server and the live catalogue.
pub(super) async fn judge(
    cx: &Context,
    server: &Server,
    session: &Session,
    object: &ObjectRef,
    tool: Result<&Tool, &WorkerError>,
    atomic: bool,
) -> Result<Vec<Finding>, WorkerError> {
    let toc = match contents(cx, object).await? {
        Ok(toc) => toc,
        Err(finding) => return Ok(vec![finding]),
    };
    let mut findings = fits(server, &toc, tool);
    findings.extend(gates::wants(session, &toc).await?);
    let major = session.identity().await?.major;
    if let Some(live) = Properties::read(session, &server.database, major).await? {
        findings.extend(gates::alike(&live, &toc));
        // Until it is through, the old files and the new ones are both there.
        findings.push(gates::room(session, server, &live).await);
    }
    findings.extend(gates::readers(session, server).await?);
    findings.extend(catalogue::findings(session, &toc, atomic).await?);
    Ok(findings)
}

/// The dump's table of contents, or what speaks against a dump that has none.
pub(super) async fn contents(cx: &Context, object: &ObjectRef) -> Result<Result<Toc, Finding>, WorkerError> {
    let place = local_copy::place_of(cx, object).await?;
    let toc = local_copy::remote_toc(&place, object).await?;
    Ok(toc.map_err(|error| Finding::blocking(format!("The dump {} cannot be read: {error}.", object.key))))
}

/// Whether this is a dump of this database, and whether our pg_restore reads it.
pub(super) fn fits(server: &Server, toc: &Toc, tool: Result<&Tool, &WorkerError>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let needed = toc.header.version.oldest_pg_restore().max(toc.header.pg_dump_major().unwrap_or(0));
    if let Ok(tool) = tool {
        findings.push(if tool.major < needed {
            Finding::blocking(format!("The dump was written by pg_dump {needed}, which {} cannot read: the server would have to be of that version.", tool.describe()))
        } else {
            Finding::good(format!("{} reads this dump, of pg_dump {}", tool.describe(), toc.header.pg_dump_version.as_deref().unwrap_or("?")))
        });
    }
    match toc.header.database.as_deref() {
        Some(name) if name == server.database => {}
        other => findings.push(Finding::blocking(format!(
            "The dump is of the database {}, not of {}.",
            other.unwrap_or("?"),
            server.database
        ))),
    }
    findings
}

/// A list for `--use-list` where entries must be left out; none where all can be restored.
pub(super) async fn list_without_foreign(
    session: &Session,
    server: &Server,
    toc: &Toc,
    local: &Path,
    io: &Io,
) -> Result<Option<PathBuf>, WorkerError> {
    let left_out = catalogue::foreign_extensions(session, toc, &server.settings.owner).await?;
    if left_out.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    for entry in &toc.entries {
        if left_out.contains(&entry.dump_id) {
            io.line(format!("left as it is, for it belongs to another role: {entry}"));
        } else {
            text.push_str(&entry.list_line());
            text.push('\n');
        }
    }
    let path = local.with_extension("list");
    crate::private::write(&path, text).map_err(|error| {
        WorkerError::new(
            "restore the database",
            path.display().to_string(),
            format!("The list of entries cannot be written: {error}."),
            "Nothing was changed. Free space there, then retry (r).",
        )
    })?;
    Ok(Some(path))
}
