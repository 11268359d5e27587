//! Records a drill for the pictures in `docs/`: what its engine tells a client, a message a line, with the time at which it came.
//!
//! ```text
//! export XDG_STATE_HOME=$(mktemp -d)
//! record > tests/fixtures/drill.jsonl &
//! relight drill --auto
//! ```
//!
//! The account, the folders and the program's place on this host are written as ana's.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use relight::engine::Home;
use relight::incident::{EventKind, IncidentId};
use relight::wire::{self, FromEngine, ToClient};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let home = Home::find(None)?;
    let incidents = home.root().join("incidents");
    let id = loop {
        let found = std::fs::read_dir(&incidents).ok().and_then(|mut entries| entries.next());
        if let Some(entry) = found.transpose()? {
            break IncidentId::new(entry.file_name().to_str().ok_or("a strange folder")?)?;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let socket = Home::socket(&id)?;
    let mut link = loop {
        match wire::connect(&socket, 0, true).await {
            Ok(link) => break link,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    let (you, root) = (link.you.clone(), home.root().display().to_string());
    // The drill's own commands are the program's.
    let program = std::env::current_exe()?.parent().and_then(Path::parent).ok_or("no folder")?.join("relight");
    let actor = |name: &str, uid: u32| format!("\"name\":\"{name}\",\"uid\":{uid}");
    let changes = [
        (actor(&you.name, you.uid.unwrap_or_default()), actor("ana", 1000)),
        (format!("by {}", you.name), "by ana".to_owned()),
        (root, "/home/ana/.local/state/relight".to_owned()),
        (program.display().to_string(), "/usr/local/bin/relight".to_owned()),
    ];
    let as_anas = |said: &str| changes.iter().fold(said.to_owned(), |said, (from, to)| said.replace(from, to));
    let mut out = std::io::stdout().lock();
    while let Some(FromEngine::Message(message)) = link.rx.recv().await {
        let closed = matches!(&message, ToClient::Event { event } if matches!(event.kind, EventKind::Closed {}));
        let said = json!({ "at": Timestamp::now(), "message": message }).to_string();
        writeln!(out, "{}", as_anas(&said))?;
        if closed {
            return Ok(());
        }
    }
    Err("the engine ended before the incident was closed".into())
}
