//! What belongs to a database itself and comes with no dump that is restored into another one: owner, encoding, locale,
//! tablespace, connection limit, comment, rights, and the settings of the database and of roles in it.
//!
//! PostgreSQL keys all of it by the database's number, so that it stays behind when names are exchanged.

use std::collections::BTreeSet;

use crate::workers::WorkerError;

use super::super::server::ident;
use super::super::session::Session;

/// Settings whose value is a list of names, each quoted by itself (`GUC_LIST_QUOTE` in PostgreSQL's guc_tables.c).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// A right on a database: who has it (none for everybody), which, and whether it may be passed on.
type Right = (Option<String>, String, bool);

/// A setting: the role that it is for (none for all), its name and value.
type Setting = (Option<String>, String, String);

/// What a database is, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workers::postgres) struct Properties {
    pub(in crate::workers::postgres) oid: u32,
    pub(in crate::workers::postgres) bytes: u64,
    /// It takes new sessions.
    pub(in crate::workers::postgres) open: bool,
    pub(in crate::workers::postgres) owner: String,
    encoding: String,
    collate: String,
    ctype: String,
    /// `c` libc, `i` ICU, `b` built-in.
    provider: String,
    locale: Option<String>,
    icu_rules: Option<String>,
    tablespace: String,
    limit: i32,
    pub(in crate::workers::postgres) comment: Option<String>,
    rights: BTreeSet<Right>,
    settings: BTreeSet<Setting>,
}

impl Properties {
    /// Reads them; none where there is no such database. Works from any database of the server.
    pub(in crate::workers::postgres) async fn read(
        session: &Session,
        name: &str,
        major: u32,
    ) -> Result<Option<Self>, WorkerError> {
        let doing = "read a database's properties";
        let (provider, locale) = match major {
            17.. => ("datlocprovider::text", "datlocale"),
            15..17 => ("datlocprovider::text", "daticulocale"),
            _ => ("'c'", "NULL::text"),
        };
        let rules = if major >= 16 { "daticurules" } else { "NULL::text" };
        let sql = format!(
            "SELECT d.oid, pg_catalog.pg_database_size(d.oid), datallowconn, pg_catalog.pg_get_userbyid(datdba)::text, \
             pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text, {provider}, {locale}::text, \
             {rules}::text, spcname::text, datconnlimit, pg_catalog.shobj_description(d.oid, 'pg_database') \
             FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = dattablespace WHERE datname = $1"
        );
        let Some(row) = session.query(doing, &sql, &[&name]).await?.into_iter().next() else { return Ok(None) };
        let oid: u32 = row.get(0);
        let sql = "SELECT r.rolname::text, a.privilege_type, a.is_grantable FROM pg_catalog.pg_database d, \
             LATERAL pg_catalog.aclexplode(coalesce(datacl, pg_catalog.acldefault('d', datdba))) a \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE d.oid = $1";
        let rights = session.query(doing, sql, &[&oid]).await?;
        let sql = "SELECT r.rolname::text, unnest(setconfig) FROM pg_catalog.pg_db_role_setting s \
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE setdatabase = $1";
        let settings = session.query(doing, sql, &[&oid]).await?;
        Ok(Some(Self {
            oid,
            bytes: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
            open: row.get(2),
            owner: row.get(3),
            encoding: row.get(4),
            collate: row.get(5),
            ctype: row.get(6),
            provider: row.get(7),
            locale: row.get(8),
            icu_rules: row.get(9),
            tablespace: row.get(10),
            limit: row.get(11),
            comment: row.get(12),
            rights: rights.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
            settings: settings
                .iter()
                .filter_map(|row| {
                    let line: String = row.get(1);
                    let (name, value) = line.split_once('=')?;
                    Some((row.get(0), name.to_owned(), value.to_owned()))
                })
                .collect(),
        }))
    }

    /// Its encoding: `UTF8`.
    pub(in crate::workers::postgres) fn encoding(&self) -> &str {
        &self.encoding
    }

    /// How it sorts: `C`, `de_DE.UTF-8`.
    pub(in crate::workers::postgres) fn collate(&self) -> &str {
        &self.collate
    }

    /// The statement that makes an empty database like this one.
    pub(super) fn create(&self, name: &str) -> String {
        let locale = literal(self.locale.as_deref().unwrap_or_default());
        let rules = self.icu_rules.as_ref().map(|rules| format!(" ICU_RULES {}", literal(rules))).unwrap_or_default();
        let provider = match self.provider.as_str() {
            "i" => format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}{rules}"),
            "b" => format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"),
            _ => String::new(),
        };
        // Naming the usual one takes a right on it that making a database without a name does not.
        let tablespace = match self.tablespace.as_str() {
            "pg_default" => String::new(),
            other => format!(" TABLESPACE {}", ident(other)),
        };
        format!(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{provider}{tablespace}",
            ident(name),
            ident(&self.owner),
            literal(&self.encoding),
            literal(&self.collate),
            literal(&self.ctype),
        )
    }

    /// The statements that give a database the settings and the limit of this one, each where `now` lacks it.
    pub(in crate::workers::postgres) fn settings_for(&self, name: &str, now: &Self) -> Vec<String> {
        let mut statements = Vec::new();
        let whose = |role: &Option<String>| match role {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {}", ident(role), ident(name)),
            None => format!("ALTER DATABASE {}", ident(name)),
        };
        for (role, setting, _) in now.settings.difference(&self.settings) {
            statements.push(format!("{} RESET {}", whose(role), dotted(setting)));
        }
        for (role, setting, value) in self.settings.difference(&now.settings) {
            statements.push(format!("{} SET {} TO {}", whose(role), dotted(setting), value_sql(setting, value)));
        }
        if self.limit != now.limit {
            statements.push(format!("ALTER DATABASE {} CONNECTION LIMIT {}", ident(name), self.limit));
        }
        statements
    }

    /// The statements that give a database the rights and the comment of this one. They open it to whom this one is
    /// open to, so they belong into the swap itself.
    pub(in crate::workers::postgres) fn rights_for(&self, name: &str, now: &Self) -> Vec<String> {
        let who = |role: &Option<String>| role.as_deref().map_or_else(|| "PUBLIC".to_owned(), ident);
        let mut statements = Vec::new();
        for (role, right, _) in now.rights.difference(&self.rights) {
            statements.push(format!("REVOKE {right} ON DATABASE {} FROM {}", ident(name), who(role)));
        }
        for (role, right, grant) in self.rights.difference(&now.rights) {
            let option = if *grant { " WITH GRANT OPTION" } else { "" };
            statements.push(format!("GRANT {right} ON DATABASE {} TO {}{option}", ident(name), who(role)));
        }
        if self.comment != now.comment {
            let comment = self.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
            statements.push(format!("COMMENT ON DATABASE {} IS {comment}", ident(name)));
        }
        statements
    }
}

/// A text as SQL's literal, whatever `standard_conforming_strings` says.
pub(in crate::workers::postgres) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn dotted(setting: &str) -> String {
    setting.split('.').map(ident).collect::<Vec<_>>().join(".")
}

/// A setting's value as `SET … TO` takes it.
fn value_sql(setting: &str, value: &str) -> String {
    if !LISTS.contains(&setting.to_lowercase().as_str()) {
        return literal(value);
    }
    list(value).iter().map(|item| literal(item)).collect::<Vec<_>>().join(", ")
}

/// The names of a list as the catalogue holds it: separated by commas, double quotes around what needs them.
fn list(value: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut quoted = false;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(item) = items.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                item.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(String::new()),
            ' ' if !quoted => {}
            c => item.push(c),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_their_setting_takes_them() {
        assert_eq!(value_sql("search_path", "\"$user\", app, \"a, \"\"b\""), "'$user', 'app', 'a, \"b'");
        assert_eq!(value_sql("search_path", "\"\""), "''");
        assert_eq!(value_sql("work_mem", "64MB"), "'64MB'");
        assert_eq!(value_sql("app.note", "it's a \\"), "E'it''s a \\\\'");
        assert_eq!(dotted("app.note"), "\"app\".\"note\"");
    }
}
