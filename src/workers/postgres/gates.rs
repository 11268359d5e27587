//! What is proved before any restore: rights, room, what the dump takes for granted on the server, what hangs on the
//! database.

use std::collections::BTreeSet;

use crate::archive::Toc;
use crate::incident::{Finding, IncidentId};
use crate::snapshots::size_text;
use crate::workers::WorkerError;

use super::beside::Properties;
use super::server::Server;
use super::session::Session;
use super::sessions::{others, prepared};
use super::swap::{hangs_on, slots};

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
        .flat_map(|entry| {
            let sql = entry.definition.as_deref().unwrap_or_default();
            match entry.desc.as_str() {
                "ACL" | "DEFAULT ACL" => grantees(sql),
                "POLICY" => policy_roles(sql),
                _ => Vec::new(),
            }
        })
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

/// Extensions of the dump that the restoring role may not make by itself, which the login role makes before it: those that
/// take a superuser and are not trusted. Each with its schema, where that must be made for it.
pub(super) async fn untrusted(
    session: &Session,
    server: &Server,
    toc: &Toc,
) -> Result<Vec<(String, Option<String>)>, WorkerError> {
    let sql = "SELECT DISTINCT v.name::text FROM pg_catalog.pg_available_extension_versions v \
         JOIN pg_catalog.pg_available_extensions e ON e.name = v.name AND e.default_version = v.version \
         WHERE v.superuser AND NOT v.trusted AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = $1)";
    let rows = session.query("look which extensions take a superuser", sql, &[&server.settings.owner]).await?;
    let names: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let wanted = toc.entries.iter().filter(|entry| entry.desc == "EXTENSION" && names.contains(&entry.tag));
    let schema = |sql: &str| {
        let name = sql.split_once(" WITH SCHEMA ")?.1.trim_end().trim_end_matches(';').trim_matches('"').to_owned();
        (!matches!(name.as_str(), "public" | "pg_catalog")).then_some(name)
    };
    Ok(wanted.map(|entry| (entry.tag.clone(), entry.definition.as_deref().and_then(schema))).collect())
}

/// What is said of them beforehand.
pub(super) async fn untrusted_findings(
    session: &Session,
    server: &Server,
    toc: &Toc,
) -> Result<Vec<Finding>, WorkerError> {
    let names = untrusted(session, server, toc).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let superuser: bool = session.one("look at our rights", sql, &[]).await?.get(0);
    let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
    let (names, user) = (names.join(", "), &server.user);
    Ok(vec![if superuser {
        Finding::good(format!("{user} makes the extensions that {} may not: {names}", server.settings.owner))
    } else {
        Finding::warning(format!(
            "The dump needs {names}, which take a superuser; {user} is none. On a managed server it may be allowed \
             nevertheless: the restore tries it first, and ends with the old data intact where it is not"
        ))
    }])
}

/// What subscribes or reacts to everything would act beside the live database, and takes a superuser.
fn superusers_own(toc: &Toc) -> Vec<(i32, Option<String>)> {
    let why = |desc: &str| match desc {
        "SUBSCRIPTION" => Some("would fetch the same changes beside the live one"),
        "EVENT TRIGGER" => Some("takes a superuser"),
        "USER MAPPING" => Some("may hold a password of another server"),
        _ => None,
    };
    let about = |tag: &str| ["SUBSCRIPTION ", "EVENT TRIGGER "].iter().any(|kind| tag.starts_with(kind));
    let said = toc.entries.iter().filter_map(|entry| {
        let comment = matches!(entry.desc.as_str(), "COMMENT" | "SECURITY LABEL") && about(&entry.tag);
        match why(&entry.desc) {
            Some(why) => {
                let says =
                    format!("{} {} is left out: it {why}. Make it by hand after the swap", entry.desc, entry.tag);
                Some((entry.dump_id, Some(says)))
            }
            None => comment.then_some((entry.dump_id, None)),
        }
    });
    said.collect()
}

/// Whether the dump's database had the live one's encoding and locale.
pub(super) fn alike(live: &Properties, toc: &Toc) -> Vec<Finding> {
    let mut findings = Vec::new();
    let encoding =
        toc.entries.iter().find(|entry| entry.desc == "ENCODING").and_then(|entry| entry.definition.as_deref());
    let encoding = encoding.and_then(|sql| sql.split('\'').nth(1));
    if let Some(dumped) = encoding.filter(|dumped| !dumped.eq_ignore_ascii_case(live.encoding())) {
        findings.push(Finding::warning(format!(
            "The dump is in {dumped} and the database in {}: a character that the second lacks ends the restore",
            live.encoding()
        )));
    }
    let database =
        toc.entries.iter().find(|entry| entry.desc == "DATABASE").and_then(|entry| entry.definition.as_deref());
    let option = |names: &[&str]| {
        let sql = database?;
        names.iter().find_map(|name| Some(sql.split_once(&format!(" {name} = '"))?.1.split('\'').next()?.to_owned()))
    };
    if let Some(dumped) = option(&["LC_COLLATE", "LOCALE"]).filter(|dumped| dumped != live.collate()) {
        findings.push(Finding::warning(format!(
            "The dump's database sorted by {dumped} and this one sorts by {}: what relies on the order of texts may differ",
            live.collate()
        )));
    }
    findings
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

/// Room on the server's disk, where this host is the server and may look: where the database's tablespace lies.
pub(super) async fn room(session: &Session, server: &Server, live: &Properties) -> Finding {
    let wanted = live.bytes.saturating_mul(ROOM.0) / ROOM.1;
    let here = server.local() || matches!(server.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let sql = "SELECT coalesce(nullif(pg_catalog.pg_tablespace_location(d.dattablespace), ''), pg_catalog.current_setting('data_directory')) \
         FROM pg_catalog.pg_database d WHERE d.oid = $1";
    let folder = session.one("ask where the data lies", sql, &[&live.oid]).await;
    let disk = folder.ok().filter(|_| here).and_then(|row| rustix::fs::statvfs(row.get::<_, String>(0).as_str()).ok());
    let Some(disk) = disk else {
        return Finding::warning(format!(
            "Free space on the server cannot be seen from here: about {} are needed besides what is used",
            size_text(wanted)
        ));
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < wanted {
        return Finding::blocking(format!(
            "The server's disk has {} left, and a second copy of the data takes about {}: free space there",
            size_text(free),
            size_text(wanted)
        ));
    }
    Finding::good(format!("{} are free on the server; about {} are needed", size_text(free), size_text(wanted)))
}

/// Entries that a restore beside leaves out, each with what to say about it beforehand, where there is something to say.
///
/// Everything else would fail with them: default privileges for roles that the restoring role may not act for, what acts
/// beside the live database or takes a superuser, and the extensions that the login role makes instead.
pub(super) async fn left_out(
    session: &Session,
    server: &Server,
    toc: &Toc,
) -> Result<Vec<(i32, Option<String>)>, WorkerError> {
    let mut found = superusers_own(toc);
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1 AND pg_catalog.pg_has_role($2, oid, 'MEMBER'))";
    for entry in toc.entries.iter().filter(|entry| entry.desc == "DEFAULT ACL") {
        let Some(role) = entry.definition.as_deref().and_then(role_of_defaults) else { continue };
        if !session
            .one("look whose defaults we may set", sql, &[&role, &server.settings.owner])
            .await?
            .get::<_, bool>(0)
        {
            found.push((entry.dump_id, Some(format!(
                "Default privileges of {role} are left out, since {} is not a member of it: they touch objects that {role} makes later. Set them by hand afterwards",
                server.settings.owner
            ))));
        }
    }
    let made = untrusted(session, server, toc).await?;
    let of_them = |tag: &str| made.iter().any(|(name, _)| name == tag.trim_matches('"'));
    let schema = |tag: &str| made.iter().any(|(_, schema)| schema.as_deref() == Some(tag));
    found.extend(toc.entries.iter().filter_map(|entry| {
        let theirs = match entry.desc.as_str() {
            "EXTENSION" => of_them(&entry.tag),
            "SCHEMA" => schema(&entry.tag),
            "COMMENT" => entry.tag.strip_prefix("EXTENSION ").is_some_and(of_them),
            _ => false,
        };
        theirs.then_some((entry.dump_id, None))
    }));
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

/// What a restore over the live database does to whoever reads its changes.
pub(super) async fn readers(session: &Session, server: &Server) -> Result<Option<Finding>, WorkerError> {
    let names = slots(session, &server.database).await?;
    Ok((!names.is_empty()).then(|| {
        Finding::warning(format!(
            "The replication slots {} pass the whole restore on to their readers, row by row",
            names.join(", ")
        ))
    }))
}

/// Jobs for pg_restore, and where the number comes from: the server's cores cannot be asked for in SQL.
pub(super) fn jobs(server: &Server) -> (u32, &'static str) {
    let here = server.local() || matches!(server.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    match (server.settings.jobs, std::thread::available_parallelism()) {
        (Some(jobs), _) => (jobs.max(1), "as configured"),
        (None, Ok(cores)) if here => (u32::try_from(cores.get()).unwrap_or(4), "this host's cores"),
        _ => (4, "as no number of cores is configured"),
    }
}

/// Whom `CREATE POLICY … TO a, b USING (…)` names, without PUBLIC.
fn policy_roles(sql: &str) -> Vec<String> {
    let Some((_, rest)) = sql.split_once(" TO ") else { return Vec::new() };
    let end = [" USING ", " WITH CHECK ", ";"].iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
    let names = rest.get(..end).unwrap_or_default().split(", ").map(|name| name.trim().trim_matches('"').to_owned());
    names
        .filter(|name| !name.is_empty() && !matches!(name.as_str(), "PUBLIC" | "CURRENT_USER" | "SESSION_USER"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{grantees, policy_roles, role_of_defaults};

    #[test]
    fn whom_a_policy_concerns_is_read_from_the_statement() {
        let sql = "CREATE POLICY p ON app.t FOR SELECT TO fc_readonly, \"odd one\" USING ((owner = CURRENT_USER));\n";
        assert_eq!(policy_roles(sql), ["fc_readonly", "odd one"]);
        assert_eq!(policy_roles("CREATE POLICY p ON app.t USING (true);"), Vec::<String>::new());
    }

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
