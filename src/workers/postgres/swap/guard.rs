//! The process that takes a fence down when the engine cannot: it was killed, or lost its way.
//!
//! It is relight itself. The engine writes where the database is into its input and keeps the pipe open. `done` means
//! that the swap is through and there is nothing to do; the pipe's end without it means that the live name must be
//! opened. So it works whatever ends the engine, SIGKILL included.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::workers::process::program;
use crate::workers::{Disposition, WorkerError};

use super::super::server::{Address, Server};
use super::gate;

/// The command that makes relight a guard.
pub const VERB: &str = "fence-guard";
const READY: &str = "ready";
const DONE: &str = "done";
const OPEN: &str = "open";
/// For a guard to connect and say that it is ready.
const START: Duration = Duration::from_secs(30);

/// What a guard is told. It holds a secret, so it travels through a pipe and is never printed.
#[derive(Serialize, Deserialize)]
struct Order {
    #[serde(flatten)]
    address: Address,
    password: Option<String>,
    live: String,
    /// The session that swaps: its number and name.
    swapping: (i32, String),
}

/// A guard that is up.
pub(super) struct Guard {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts one for the session `swapping`, and waits until it has reached the server.
    pub(super) async fn start(server: &Server, live: &str, swapping: (i32, &str)) -> Result<Self, WorkerError> {
        let fault = |cause: String| {
            WorkerError::new("raise the guard", server.name(), cause, "Nothing was changed. Retry (r).")
                .with(Disposition::Retry)
        };
        let order = Order {
            address: server.address(),
            password: server.password.as_ref().map(|password| password.expose_secret().to_owned()),
            live: live.to_owned(),
            swapping: (swapping.0, swapping.1.to_owned()),
        };
        let mut told = serde_json::to_vec(&order).map_err(|error| fault(error.to_string()))?;
        told.push(b'\n');
        let mut child = Command::from(crate::private::command(program()))
            .arg0("relight")
            .arg(VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| fault(format!("It cannot be started: {error}.")))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(fault("It has no pipes.".to_owned()));
        };
        let mut output = BufReader::new(output);
        let mut said = String::new();
        let up = async {
            input.write_all(&told).await?;
            output.read_line(&mut said).await
        };
        match tokio::time::timeout(START, up).await {
            Ok(Ok(_)) if said.trim_end() == READY => Ok(Self { child, input, output }),
            Ok(Ok(_)) => Err(fault(format!("The guard says: {}.", said.trim_end().trim_end_matches('.')))),
            Ok(Err(error)) => Err(fault(format!("The guard does not answer: {error}."))),
            Err(_) => Err(fault("The guard did not reach the server in time.".to_owned())),
        }
    }

    /// It is still there.
    pub(super) fn is_up(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The swap is through: the guard leaves.
    pub(super) async fn dismiss(mut self) {
        // One that is gone has nothing to do either.
        let _ = self.input.write_all(format!("{DONE}\n").as_bytes()).await;
        let _ = self.child.wait().await;
    }

    /// Has it open the live name; false where it could not say in time that it did. It goes on trying then, by itself.
    pub(super) async fn open(mut self) -> bool {
        drop(self.input);
        let mut said = String::new();
        let tried = async {
            let heard = self.output.read_to_string(&mut said).await.is_ok();
            heard && self.child.wait().await.is_ok_and(|status| status.success())
        };
        tokio::time::timeout(gate::PATIENCE, tried).await.unwrap_or(false) && said.trim_end() == OPEN
    }
}

/// The body of the guard's process.
#[must_use]
pub fn main() -> ExitCode {
    // A session of its own: what is sent to the engine's terminal or group does not reach it.
    let _ = rustix::process::setsid();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(watch()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&why);
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    use std::io::Write as _;
    // Whoever does not listen any more is the reason why the guard is there.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn watch() -> Result<(), String> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await.map_err(|error| error.to_string())?;
    let order: Order = serde_json::from_str(&line).map_err(|error| format!("the order cannot be read: {error}"))?;
    let server = order.address.server(&order.live, order.password);
    // What cannot be reached now could not be opened later.
    let session = server.connect_to(gate::MAINTENANCE, "relight guard").await.map_err(|error| error.to_string())?;
    session.close().await;
    say(READY);
    line.clear();
    // An error of the pipe is the engine's end as well.
    if input.read_line(&mut line).await.is_ok() && line.trim_end() == DONE {
        return Ok(());
    }
    let (pid, application) = &order.swapping;
    gate::open(&server, &order.live, Some((*pid, application)), gate::LONG_PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    say(OPEN);
    Ok(())
}
