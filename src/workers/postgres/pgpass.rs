//! `~/.pgpass`, as libpq reads it.
//!
//! Format (PostgreSQL's documentation, "The Password File"): lines `host:port:database:user:password`; `*` matches
//! anything; `\` escapes `:` and `\`; `#` begins a comment; a file that others can read is not used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// The password for a login, from `PGPASSFILE` or `~/.pgpass`; none where no line matches or there is no file.
///
/// # Errors
/// Others can read the file, which libpq would silently ignore, or it cannot be read.
pub(super) fn find(host: &str, port: u16, database: &str, user: &str) -> Result<Option<SecretString>, String> {
    let named = std::env::var_os("PGPASSFILE").map(PathBuf::from);
    let Some(path) = named.or_else(|| std::env::home_dir().map(|home| home.join(".pgpass"))) else {
        return Ok(None);
    };
    read(&path, host, port, database, user)
}

fn read(path: &Path, host: &str, port: u16, database: &str, user: &str) -> Result<Option<SecretString>, String> {
    let Ok(found) = std::fs::metadata(path) else { return Ok(None) };
    let mode = found.permissions().mode();
    if !found.is_file() {
        return Ok(None);
    }
    if mode & 0o077 != 0 {
        let place = path.display();
        return Err(format!(
            "Others can read {place} (mode {:o}), so it is not used; run: chmod 600 {place}.",
            mode & 0o777
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}.", path.display()))?;
    // libpq looks a socket's folder up as localhost when it is the usual one; here every folder matches both.
    let hosts: &[&str] = if host.starts_with('/') { &[host, "localhost"] } else { &[host] };
    let wanted = [port.to_string(), database.to_owned(), user.to_owned()];
    let password = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = split(line);
        let [their_host, rest @ .., password] = fields.as_slice() else { return None };
        let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        let here = hosts.iter().any(|host| fits(their_host, host));
        let same = rest.len() == 3 && rest.iter().zip(&wanted).all(|(pattern, value)| fits(pattern, value));
        (here && same).then(|| password.clone())
    });
    Ok(password.filter(|password| !password.is_empty()).map(SecretString::from))
}

/// Four fields and the password, in which colons need no escape.
fn split(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let next = match c {
            ':' if fields.len() < 5 => {
                fields.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        };
        if let Some(field) = fields.last_mut() {
            field.push(next);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn the_first_line_that_matches_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        let text = "# comment\ndb-1:5432:other:relight:no\ndb-1:*:finance\\:x:relight:pa\\:ss:word\n*:*:*:relight:any\nlocalhost:5432:*:unix:sock\nbroken\n";
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
        let find = |host: &str, database: &str, user: &str| {
            read(&path, host, 5432, database, user).expect("readable").map(|found| found.expose_secret().to_owned())
        };
        assert_eq!(find("db-1", "finance:x", "relight").as_deref(), Some("pa:ss:word"));
        assert_eq!(find("db-2", "x", "relight").as_deref(), Some("any"));
        assert_eq!(find("/run/postgresql", "x", "unix").as_deref(), Some("sock"));
        assert_eq!(find("db-2", "x", "nobody"), None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
        let refused = read(&path, "db-1", 5432, "x", "relight").expect_err("refused");
        assert!(refused.contains("chmod 600"), "{refused}");
        assert!(read(&folder.path().join("none"), "a", 1, "b", "c").expect("no file").is_none());
    }
}
