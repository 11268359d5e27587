//! A config that others can change is refused, and so are folders that others can put files into.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use super::support::{ID, Person, opening, runbook, text};

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A folder with a sound config, and its path.
fn config(person: &Person) -> std::path::PathBuf {
    let folder = person.path("etc");
    std::fs::create_dir(&folder).unwrap();
    mode(&folder, 0o755);
    let path = folder.join("config.toml");
    std::fs::write(&path, "environment = 'test'\n").unwrap();
    mode(&path, 0o644);
    path
}

fn check(person: &Person, config: &Path) -> (Option<i32>, String) {
    let empty = person.path("runbook.toml");
    std::fs::write(&empty, runbook(&[("one", "confirm")])).unwrap();
    let mut command = person.command(&["check", "--config"]);
    let output = command.arg(config).arg("--runbook").arg(empty).output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_config_that_others_can_change_is_refused_with_the_command_that_helps() {
    let person = Person::new();
    let path = config(&person);
    let folder = path.parent().unwrap();
    let accepted = || {
        let (code, said) = check(&person, &path);
        assert_ne!(code, Some(2), "{said}");
        assert!(!said.contains("can be changed by others"), "{said}");
    };
    let refused = |path: &Path, why: &str, mend: &str| {
        let (code, said) = check(&person, path);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("can be changed by others") && said.contains(why) && said.contains(mend), "{said}");
    };
    accepted();
    for bits in [0o664, 0o646, 0o666] {
        mode(&path, bits);
        refused(&path, &format!("mode {bits:o}"), &format!("Run: chmod go-w {}", path.display()));
    }
    mode(&path, 0o444);
    accepted();
    // Whoever can write in the folder can put another file there; in one like /tmp they cannot.
    for bits in [0o775, 0o777] {
        mode(folder, bits);
        let canonical = folder.canonicalize().unwrap();
        refused(&path, &format!("mode {bits:o}"), &format!("Run: chmod go-w {}", canonical.display()));
    }
    mode(folder, 0o1777);
    accepted();
    // A link counts for where it stands, and for what it leads to.
    mode(folder, 0o777);
    let link = person.path("link.toml");
    symlink(&path, &link).unwrap();
    refused(&link, "mode 777", "chmod go-w");
    mode(folder, 0o755);
    let loose = person.path("loose");
    std::fs::create_dir(&loose).unwrap();
    mode(&loose, 0o777);
    symlink(&path, loose.join("link.toml")).unwrap();
    refused(&loose.join("link.toml"), "mode 777", "chmod go-w");
    // As ssh does: written by oneself or by root, and by nobody else.
    if !is_root() {
        eprintln!("skipped: giving a config to another user takes root");
        return;
    }
    mode(&path, 0o644);
    chown(&path, Some(65_534), None).unwrap();
    refused(&path, "belongs to user 65534", &format!("Run: chown 0 {}", path.display()));
    chown(&path, Some(0), None).unwrap();
    chown(folder, Some(65_534), None).unwrap();
    refused(&path, "belongs to user 65534", "Run: chown 0");
}

#[test]
fn folders_that_others_can_write_or_own_or_link_are_refused() {
    let person = Person::new();
    let config = config(&person);
    person.home().create(&super::support::id(), &opening(&runbook(&[("one", "confirm")]), "test")).unwrap();
    let engine = || {
        let mut command = person.command(&["engine", ID, "--config"]);
        let output = command.arg(&config).output().unwrap();
        (output.status.code(), text(&output.stdout))
    };
    let refused = |why: &str| {
        let (code, said) = engine();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(why) && said.contains("relight does not trust it"), "{said}");
    };
    let incidents = person.state().join("incidents");
    for folder in [person.state(), incidents.clone(), person.incident()] {
        mode(&folder, 0o770);
        refused(&format!("Run: chmod go-w {}", folder.display()));
        mode(&folder, 0o700);
        if is_root() {
            chown(&folder, Some(65_534), None).unwrap();
            refused("belongs to user 65534, not to you (0)");
            chown(&folder, Some(0), None).unwrap();
        }
    }
    // The incident's folder is a link to one elsewhere.
    let elsewhere = person.path("elsewhere");
    std::fs::rename(person.incident(), &elsewhere).unwrap();
    symlink(&elsewhere, person.incident()).unwrap();
    refused("is a link or a file");
    std::fs::remove_file(person.incident()).unwrap();
    std::fs::rename(&elsewhere, person.incident()).unwrap();
    // And the folder of sockets.
    let sockets = person.path("run/relight");
    std::fs::create_dir(&sockets).unwrap();
    mode(&sockets, 0o750);
    refused(&format!("Run: chmod 700 {}", sockets.display()));
    std::fs::remove_dir(&sockets).unwrap();
    symlink(person.path("etc"), &sockets).unwrap();
    refused("is a link or a file");
    if is_root() {
        std::fs::remove_file(&sockets).unwrap();
        std::fs::create_dir(&sockets).unwrap();
        mode(&sockets, 0o700);
        chown(&sockets, Some(65_534), None).unwrap();
        refused("belongs to user 65534, not to you (0)");
    }
}
