//! What pg_restore does of an archive: the entries of a list, and nothing else.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::archive::Toc;

use super::super::server::conninfo;
use super::main::say;
use super::order::Order;

/// Has pg_restore restore `entries` of the archive that lies at `file`, with so many jobs. `each` sees every line that it
/// prints, which goes into the log as it is.
pub(super) async fn restore(
    order: &Order,
    toc: &Toc,
    archive: &File,
    name: &str,
    entries: &[i32],
    (jobs, each): (u32, &mut (dyn FnMut(&str) + Send)),
) -> Result<(), String> {
    if entries.is_empty() {
        return Ok(());
    }
    let list = write(order, toc, name, entries).map_err(|error| format!("the list of what to restore: {error}"))?;
    let mut command = Command::new(&order.pg_restore);
    command
        .args(["--exit-on-error", "--no-owner", "--verbose", "--no-password"])
        .arg(format!("--role={}", order.role))
        .arg(format!("--host={}", order.address.host))
        .arg(format!("--port={}", order.address.port))
        .arg(format!("--username={}", order.address.user))
        .arg(format!("--dbname={}", conninfo(&order.database)))
        .arg(format!("--use-list={}", list.display()));
    if jobs > 1 {
        command.arg(format!("--jobs={jobs}"));
    }
    let mut child = command
        // By this name it finds the file even when the download gives it its own, and opens it anew wherever it is read.
        .arg("/proc/self/fd/0")
        .stdin(archive.try_clone().map_err(|error| format!("the archive cannot be handed on: {error}"))?)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", order.pg_restore.display()))?;
    if let Some(said) = child.stderr.take() {
        let mut lines = BufReader::new(said).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line);
            say(&line);
            each(&line);
        }
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    // Its own words are in the log already.
    if status.success() { Ok(()) } else { Err(format!("pg_restore did not restore {name} ({status})")) }
}

fn write(order: &Order, toc: &Toc, name: &str, entries: &[i32]) -> std::io::Result<PathBuf> {
    let mut path = order.lists.clone().into_os_string();
    path.push(format!("-{name}.list"));
    let path = PathBuf::from(path);
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    let wanted: std::collections::BTreeSet<i32> = entries.iter().copied().collect();
    for entry in toc.entries.iter().filter(|entry| wanted.contains(&entry.dump_id)) {
        writeln!(file, "{}", entry.list_line())?;
    }
    Ok(path)
}
