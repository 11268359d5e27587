//! `relight info`: what a person is asked for when something does not work.

use std::path::PathBuf;

use color_eyre::Result;
use serde_json::json;

use crate::config::default_path;
use crate::wire::PROTOCOL;

use super::Exit;
use super::arguments::Common;
use super::incidents::home;
use super::out::{self, outln};

pub(super) fn info(common: &Common, as_json: bool) -> Result<Exit> {
    let home = home(common)?;
    let config = common.config.clone().unwrap_or_else(default_path);
    let programs: Vec<(&str, Option<PathBuf>)> = ["pg_restore", "pg_dump", "postgres", "redis-server", "tmux"]
        .into_iter()
        .map(|name| (name, find(name)))
        .collect();
    if as_json {
        let programs: serde_json::Map<String, serde_json::Value> =
            programs.into_iter().map(|(name, path)| (name.to_owned(), json!(path))).collect();
        let info = json!({
            "version": env!("CARGO_PKG_VERSION"), "protocol": PROTOCOL, "config": config,
            "config_exists": config.exists(), "state": home.root(), "programs": programs,
        });
        out::json(&info)?;
        return Ok(Exit::Done);
    }
    outln!("relight {}, wire protocol {PROTOCOL}", env!("CARGO_PKG_VERSION"));
    outln!("config   {}{}", config.display(), if config.exists() { "" } else { " (not there)" });
    outln!("state    {}", home.root().display());
    for (name, path) in programs {
        let place = path.map_or_else(|| "not found".to_owned(), |path| path.display().to_string());
        outln!("{name:<13} {place}");
    }
    Ok(Exit::Done)
}

/// A program in PATH, or among the PostgreSQL versions that Debian keeps beside each other.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(beside.map(|entry| entry.path().join("bin")));
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}
