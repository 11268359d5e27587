//! The engine's side of a running program.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::incident::Notice;
use crate::workers::{Disposition, Io, WorkerError};

use super::Exit;
use super::exit::{read_exit, read_log};
use super::lock;
use super::order::{Frame, OnLine, STOP, Spec};

/// Between two notices: at most thirty a second, however much is printed.
const PAUSE: Duration = Duration::from_millis(33);
/// What is held back for the next notice; older text of a flood is left out, for the log has it.
const HELD: usize = 256 << 10;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Runs shims with this program instead of this process's own, for processes that are not relight, such as tests.
pub fn use_program(path: PathBuf) {
    // The first one stands; there is no second program in one process.
    let _ = PROGRAM.set(path);
}

/// This process's own program, even if its file was replaced since it started.
pub(crate) fn program() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// Runs a program to its end, or to where `io` is cancelled: then it is asked to end, and killed after its grace.
///
/// The program goes on if this future is dropped or the engine dies; `adopt` finds it.
///
/// # Errors
/// Nothing could be started ([`Disposition::Retry`]), or nobody knows how it ended ([`Disposition::InDoubt`]). That the
/// program itself failed is no error here but an [`Exit`].
pub async fn run(io: &Io, spec: Spec) -> Result<Exit, WorkerError> {
    let fault = |cause: String| {
        WorkerError::new(&spec.what, &spec.target, cause, "Nothing was started. Mend that, then retry (r).")
            .with(Disposition::Retry)
    };
    let mut order = serde_json::to_vec(&spec.order(&io.log)).map_err(|error| fault(error.to_string()))?;
    order.push(b'\n');
    let lock = lock::take(&io.log).map_err(|error| fault(format!("Nothing was started: {error}.")))?;
    let mut child = Command::from(crate::private::command(program()))
        .arg0("relight")
        .arg("shim")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(lock)
        .spawn()
        .map_err(|error| fault(format!("relight's own shim cannot be started: {error}.")))?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(fault("The shim has no pipes.".to_owned()));
    };
    // A shim that refused closes its end; what it said is read below.
    let sent = input.write_all(&order).await;
    let what = spec.what.clone();
    let target = spec.target.clone();
    let mut follower = Follower {
        io,
        on_line: spec.on_line,
        held: String::new(),
        offset: 0,
        end: std::fs::metadata(&io.log).map_or(0, |log| log.len()),
        last: None,
        refused: None,
    };
    follower.follow(output, input).await;
    let ended = child.wait().await;
    let in_doubt = |cause: String| {
        WorkerError::new(&what, &target, cause, "Nobody knows how it ended: look at the target before you go on.")
            .with(Disposition::InDoubt)
    };
    if let Some(why) = follower.refused.take() {
        return Err(WorkerError::new(
            &what,
            &target,
            format!("Nothing was started: {why}."),
            "Mend that, then retry (r).",
        )
        .with(Disposition::Retry));
    }
    sent.map_err(|error| in_doubt(format!("The shim took no order: {error}.")))?;
    let exit = read_exit(&io.log).map_err(|error| in_doubt(format!("How it ended cannot be read: {error}.")))?;
    let exit = exit.filter(|exit| exit.what == what).ok_or_else(|| {
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        in_doubt(format!("The shim ended ({how}) without recording how the program ended."))
    })?;
    follower.catch_up(exit.end_offset);
    follower.flush();
    Ok(exit)
}

/// Passes on what the shim tells.
struct Follower<'a> {
    io: &'a Io,
    on_line: Option<OnLine>,
    held: String,
    /// Where `held` begins in the log.
    offset: u64,
    /// How far the log is known.
    end: u64,
    last: Option<Instant>,
    refused: Option<String>,
}

impl Follower<'_> {
    async fn follow(&mut self, output: ChildStdout, input: ChildStdin) {
        let mut input = Some(input);
        let mut frames = BufReader::new(output);
        let mut frame = Vec::new();
        let mut asked = false;
        loop {
            tokio::select! {
                // What was read so far stays in `frame` when another branch wins.
                read = frames.read_until(b'\n', &mut frame) => {
                    if !matches!(read, Ok(count) if count > 0) {
                        break;
                    }
                    if frame.ends_with(b"\n") {
                        self.frame(&frame);
                        frame.clear();
                    }
                }
                () = self.io.cancel.cancelled(), if !asked => {
                    asked = true;
                    if let Some(input) = &mut input {
                        // A shim that is gone has nothing left to stop.
                        let _ = input.write_all(format!("{STOP}\n").as_bytes()).await;
                    }
                }
                () = at(self.due()) => self.flush(),
            }
        }
    }

    fn frame(&mut self, bytes: &[u8]) {
        match serde_json::from_slice(bytes) {
            Ok(Frame::Text { offset, text }) => self.text(offset, &text),
            Ok(Frame::UpTo { offset }) => self.catch_up(offset),
            Ok(Frame::Refused { why }) => self.refused = Some(why),
            Err(error) => tracing::warn!("a shim's frame cannot be read: {error}"),
        }
    }

    /// Shows the end of what was left out.
    fn catch_up(&mut self, to: u64) {
        if to > self.end
            && let Ok((offset, text)) = read_log(&self.io.log, self.end, to)
        {
            self.text(offset, &text);
            self.end = to;
        }
    }

    fn text(&mut self, offset: u64, text: &str) {
        if let Some(on_line) = &mut self.on_line {
            text.lines().for_each(on_line);
        }
        self.end = offset + text.len() as u64;
        if self.held.is_empty() {
            self.offset = offset;
        } else if self.offset + self.held.len() as u64 != offset {
            // A notice is one stretch of the log.
            self.flush();
            self.offset = offset;
        }
        self.held.push_str(text);
        if self.held.len() > HELD {
            let over = self.held.len() - HELD;
            let cut =
                self.held.bytes().skip(over).position(|byte| byte == b'\n').map_or(self.held.len(), |at| over + at + 1);
            self.held.drain(..cut);
            self.offset += cut as u64;
        }
        if self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.flush();
        }
    }

    /// When the held text must go out; never, where there is none.
    fn due(&self) -> Option<Instant> {
        if self.held.is_empty() { None } else { Some(self.last.map_or_else(Instant::now, |last| last + PAUSE)) }
    }

    fn flush(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.held);
        self.io.notice(Notice::Output { attempt: self.io.attempt, offset: self.offset, text });
        self.last = Some(Instant::now());
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
