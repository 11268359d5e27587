//! Finding and reading the config file.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::runbook::Position;

use super::Config;

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "there is no config at {}. Write one (assets/relight.example.toml explains every key), name another with \
         --config, or try `relight drill`, which needs none", .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("the config {} cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// Others can change it, or put another one in its place.
    #[error("the config can be changed by others: {what} {} {why}; whoever can change it can point relight at another database. Run: {mend}", .path.display())]
    Exposed {
        /// `the file` or `the folder`.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Who can, and by what.
        why: String,
        /// The command that helps.
        mend: String,
    },
    /// It is not valid.
    #[error("{}:{}:{}: {fault}", .path.display(), .at.line, .at.column)]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where in it.
        at: Position,
        /// What is wrong.
        fault: String,
    },
}

/// `$XDG_CONFIG_HOME/relight/config.toml`, else `~/.config/relight/config.toml`.
#[must_use]
pub fn default_path() -> PathBuf {
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    base.unwrap_or_else(|| PathBuf::from("/etc")).join("relight/config.toml")
}

pub(super) fn load(path: &Path) -> Result<Config, ConfigError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ConfigError::Missing(path.to_owned()),
        _ => ConfigError::Unreadable(path.to_owned(), error),
    };
    let mut file = File::open(path).map_err(unreadable)?;
    // Of the very file that is read, not of whatever bears its name a moment before.
    guarded("the file", path, &file.metadata().map_err(unreadable)?)?;
    for place in [path.parent().and_then(|folder| folder.canonicalize().ok()), path.canonicalize().ok()] {
        for folder in place.iter().flat_map(|place| place.ancestors()).filter(|place| place.is_dir()) {
            guarded("the folder", folder, &folder.metadata().map_err(unreadable)?)?;
        }
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    let mut config: Config = toml::from_str(&text).map_err(|error| ConfigError::Invalid {
        path: path.to_owned(),
        at: Position::of(&text, error.span().map_or(0, |span| span.start)),
        fault: error.message().to_owned(),
    })?;
    config.cockpit.locate(&text);
    Ok(config)
}

/// As ssh has it for its own config: only this user or root may have written it. A folder in which others can write lets
/// them put another file there, unless it is one like `/tmp`, where each may only remove what is their own.
fn guarded(what: &'static str, path: &Path, meta: &Metadata) -> Result<(), ConfigError> {
    let own = rustix::process::getuid().as_raw();
    let place = path.display();
    let exposed = |why, mend| Err(ConfigError::Exposed { what, path: path.to_owned(), why, mend });
    if meta.uid() != own && meta.uid() != 0 {
        return exposed(format!("belongs to user {}", meta.uid()), format!("chown {own} {place}"));
    }
    let sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    if meta.mode() & 0o022 != 0 && !sticky {
        return exposed(format!("has mode {:o}", meta.mode() & 0o7777), format!("chmod go-w {place}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_config_for_the_built_in_runbook() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/relight.example.toml");
        let config: Config = toml::from_str(&std::fs::read_to_string(path).expect("readable")).expect("valid");
        let runbook = crate::runbook::Runbook::parse("built-in", crate::runbook::BUILT_IN).expect("sound");
        assert_eq!(config.missing(&runbook), []);
        assert_eq!(config.secrets().len(), 5);
    }

    #[test]
    fn keys_know_their_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        let text = "environment = \"production\"\n[cockpit]\ntheme = \"16\"\nmouse = true\n\n[cockpit.keys]\nstop = \"X\"\ndown = [\"j\", \"n\"]\n";
        std::fs::write(&path, text).expect("written");
        let cockpit = Config::load(&path).expect("valid").cockpit;
        assert_eq!((cockpit.theme, cockpit.mouse), (Some(crate::config::ThemeName::Sixteen), true));
        assert_eq!((cockpit.keys["stop"].line, cockpit.keys["stop"].keys.as_slice()), (7, ["X".to_owned()].as_slice()));
        assert_eq!((cockpit.keys["down"].line, cockpit.keys["down"].keys.len()), (8, 2));
    }

    #[test]
    fn faults_name_their_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "environment = \"production\"\nrto_taget = \"1h\"\n").expect("written");
        let error = Config::load(&path).expect_err("a fault").to_string();
        assert!(error.contains("config.toml:2:1: ") && error.contains("rto_taget"), "{error}");
        std::fs::write(&path, "environment = \"production\"\n[cockpit]\ntheme = \"pink\"\n").expect("written");
        let error = Config::load(&path).expect_err("a fault").to_string();
        assert!(error.contains("config.toml:3:9: ") && error.contains("high_contrast"), "{error}");
        let error = Config::load(&folder.path().join("none.toml")).expect_err("missing").to_string();
        assert!(error.contains("there is no config at"), "{error}");
    }
}
