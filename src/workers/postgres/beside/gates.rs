//! What is proved before a database is made beside the live one.

use std::collections::BTreeSet;

use crate::archive::Toc;
use crate::incident::{Finding, IncidentId};
use crate::snapshots::size_text;
use crate::workers::WorkerError;

use super::super::server::Server;
use super::super::session::Session;
use super::super::sessions::{others, prepared};
use super::super::swap::hangs_on;
use super::properties::Properties;

/// Room that is wanted beside the live database, as a share of its size: the copy, the sorting of its indexes, and WAL.
const ROOM: (u64, u64) = (13, 10);

/// The rights that making a database and swapping it in take.
pub(super) async fn rights(session: &Session, server: &Server, live: &Properties) -> Result<Vec<Finding>, WorkerError> {
    let sql = "SELECT rolsuper OR rolcreatedb, rolsuper OR pg_catalog.pg_has_role(current_user, $1, 'MEMBER'), \
         rolsuper OR pg_catalog.pg_has_role(current_user, $2, 'MEMBER') FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let row = session.one("look at our rights", sql, &[&live.owner, &server.settings.owner]).await?;
    let user = &server.user;
    let mut findings = Vec::new();
    if !row.get::<_, bool>(0) {
        findings.push(Finding::blocking(format!(
            "{user} may not create databases, nor rename them: ALTER ROLE {user} CREATEDB"
        )));
    }
    for (at, role) in [(1, &live.owner), (2, &server.settings.owner)] {
        if !row.get::<_, bool>(at) {
            findings.push(Finding::blocking(format!("{user} is not a member of {role}: GRANT {role} TO {user}")));
        }
    }
    if findings.is_empty() {
        findings
            .push(Finding::good(format!("{user} may create and rename databases, and is a member of {}", live.owner)));
    }
    Ok(findings)
}

/// What the dump takes for granted on the server: its extensions, and the roles that it gives rights to.
pub(super) async fn wants(session: &Session, toc: &Toc) -> Result<Vec<Finding>, WorkerError> {
    let sql = "SELECT name::text FROM pg_catalog.pg_available_extensions";
    let available: BTreeSet<String> =
        session.query("list the extensions", sql, &[]).await?.iter().map(|row| row.get(0)).collect();
    let roles = "SELECT rolname::text FROM pg_catalog.pg_roles";
    let there: BTreeSet<String> =
        session.query("list the roles", roles, &[]).await?.iter().map(|row| row.get(0)).collect();
    let extensions = toc.entries.iter().filter(|entry| entry.desc == "EXTENSION").map(|entry| entry.tag.clone());
    let lacking: Vec<String> = extensions.filter(|name| !available.contains(name)).collect();
    let strangers: BTreeSet<String> = toc
        .entries
        .iter()
        .filter(|entry| matches!(entry.desc.as_str(), "ACL" | "DEFAULT ACL"))
        .flat_map(|entry| grantees(entry.definition.as_deref().unwrap_or_default()))
        .filter(|role| !there.contains(role))
        .collect();
    let mut findings = Vec::new();
    if !lacking.is_empty() {
        findings.push(Finding::blocking(format!(
            "The server has no extension {}, which the dump needs: install it there",
            lacking.join(", ")
        )));
    }
    if !strangers.is_empty() {
        let names: Vec<String> = strangers.into_iter().collect();
        findings.push(Finding::blocking(format!(
            "The dump gives rights to roles that the server lacks: {}. CREATE ROLE them first",
            names.join(", ")
        )));
    }
    if findings.is_empty() {
        findings.push(Finding::good("The server has every extension and role of the dump"));
    }
    Ok(findings)
}

/// Whom `GRANT … TO x;` and `REVOKE … FROM x;` name, without PUBLIC.
fn grantees(sql: &str) -> Vec<String> {
    sql.split(';')
        .filter_map(|statement| {
            let (_, who) = statement.rsplit_once(" TO ").or_else(|| statement.rsplit_once(" FROM "))?;
            let who = who.trim().trim_end_matches(" WITH GRANT OPTION");
            let name = match who.strip_prefix('"') {
                Some(quoted) => quoted.trim_end_matches('"').replace("\"\"", "\""),
                None => who.to_owned(),
            };
            (name != "PUBLIC").then_some(name)
        })
        .collect()
}

/// Room on the server's disk, where this host is the server and may look.
pub(super) async fn room(session: &Session, server: &Server, live: &Properties) -> Finding {
    let wanted = live.bytes.saturating_mul(ROOM.0) / ROOM.1;
    let here = server.local() || matches!(server.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let folder =
        session.one("ask where the data lies", "SELECT pg_catalog.current_setting('data_directory')", &[]).await;
    let disk = folder.ok().filter(|_| here).and_then(|row| rustix::fs::statvfs(row.get::<_, String>(0).as_str()).ok());
    let Some(disk) = disk else {
        return Finding::warning(format!(
            "Free space on the server cannot be seen from here: about {} are needed beside the live database",
            size_text(wanted)
        ));
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < wanted {
        return Finding::blocking(format!(
            "The server's disk has {} left, and a second database takes about {}: free space there",
            size_text(free),
            size_text(wanted)
        ));
    }
    Finding::good(format!("{} are free on the server; about {} are needed", size_text(free), size_text(wanted)))
}

/// Default privileges that the dump gives for roles that the restoring role may not act for: their entries are left out, for everything
/// else would fail with them.
pub(super) async fn left_out(session: &Session, server: &Server, toc: &Toc) -> Result<Vec<(i32, String)>, WorkerError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1 AND pg_catalog.pg_has_role($2, oid, 'MEMBER'))";
    let mut found = Vec::new();
    for entry in toc.entries.iter().filter(|entry| entry.desc == "DEFAULT ACL") {
        let Some(role) = entry.definition.as_deref().and_then(role_of_defaults) else { continue };
        if !session
            .one("look whose defaults we may set", sql, &[&role, &server.settings.owner])
            .await?
            .get::<_, bool>(0)
        {
            found.push((entry.dump_id, role));
        }
    }
    Ok(found)
}

/// `x` of `ALTER DEFAULT PRIVILEGES FOR ROLE x …`.
fn role_of_defaults(sql: &str) -> Option<String> {
    let rest = sql.strip_prefix("ALTER DEFAULT PRIVILEGES FOR ROLE ")?;
    let Some(quoted) = rest.strip_prefix('"') else { return rest.split_whitespace().next().map(str::to_owned) };
    let mut name = String::new();
    let mut letters = quoted.chars().peekable();
    while let Some(c) = letters.next() {
        if c == '"' {
            if letters.peek() != Some(&'"') {
                return Some(name);
            }
            letters.next();
        }
        name.push(c);
    }
    None
}

/// What the swap will meet, named while there is time for it: slots and subscriptions that stay with the old database,
/// transactions that hold its name, and who is connected.
pub(super) async fn swap_later(
    session: &Session,
    server: &Server,
    live: &Properties,
    incident: &IncidentId,
) -> Result<Vec<Finding>, WorkerError> {
    let mut findings = hangs_on(session, server, live.oid).await?;
    // They stop the swap, and not this restore.
    findings.extend(prepared(session, server).await?.into_iter().map(|found| Finding::warning(found.text)));
    let connected = others(session, server, incident).await?;
    findings.push(Finding::good(match connected.len() {
        0 => "Nobody else is connected to the live database".to_owned(),
        1 => "1 other session is connected to the live database; the swap ends it".to_owned(),
        count => format!("{count} other sessions are connected to the live database; the swap ends them"),
    }));
    Ok(findings)
}

/// Jobs for pg_restore, and where the number comes from: the server's cores cannot be asked for in SQL.
pub(in super::super) fn jobs(server: &Server) -> (u32, &'static str) {
    let here = server.local() || matches!(server.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    match (server.settings.jobs, std::thread::available_parallelism()) {
        (Some(jobs), _) => (jobs.max(1), "as configured"),
        (None, Ok(cores)) if here => (u32::try_from(cores.get()).unwrap_or(4), "this host's cores"),
        _ => (4, "as no number of cores is configured"),
    }
}

#[cfg(test)]
mod tests {
    use super::{grantees, role_of_defaults};

    #[test]
    fn whose_defaults_are_set_is_read_from_the_statement() {
        for (sql, role) in [
            ("ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES  TO fc_app;\n", Some("postgres")),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE \"a \"\"b\" IN SCHEMA x GRANT ALL ON TABLES TO c;", Some("a \"b")),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE \"a", None),
            ("GRANT x TO y;", None),
        ] {
            assert_eq!(role_of_defaults(sql).as_deref(), role, "{sql}");
        }
    }

    #[test]
    fn who_is_given_rights_is_read_from_the_statements() {
        let sql = "REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT ALL ON SCHEMA public TO PUBLIC;\n\
                   GRANT SELECT ON TABLE public.a TO fc_readonly;\nGRANT SELECT ON TABLE a TO \"odd \"\"one\" WITH GRANT OPTION;\n";
        assert_eq!(grantees(sql), ["fc_readonly", "odd \"one"]);
    }
}
