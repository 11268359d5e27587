//! The shim: a small process between the engine and a program, which outlives the engine.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines as AsyncLines};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::clean::Cleaner;
use super::exit::{Exit, ExitFile};
use super::group;
use super::lines::Lines;
use super::lock;
use super::log::Log;
use super::order::{Frame, Order, STOP};
use super::tell::Teller;

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// How many lines the exit carries, and how many characters of each.
const TAIL: usize = 20;
const TAIL_CHARS: usize = 500;

/// Runs as the shim: the order is the first line of standard input, what was appended goes to standard output.
///
/// Exit code 0: the program ran, and its exit is on disk. 1: nothing was started. 2: its exit could not be recorded.
#[must_use]
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve());
            // A read of the program's leftover output must not hold the shim back.
            runtime.shutdown_background();
            code
        }
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve() -> ExitCode {
    // Before anything can be started: from here on no hang-up of an engine's terminal ends us.
    let signals = Signals::new();
    // Fails only where this process leads its group already, as when a shell started it.
    let _ = rustix::process::setsid();
    // Without it, a descendant whose parent ended would leave our sight.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let own = |fd: io::Result<OwnedFd>| fd.ok();
    let mut teller = Teller::new(own(io::stdout().as_fd().try_clone_to_owned())).await;
    let refuse = |teller: &mut Teller, why: String| {
        teller.tell(&Frame::Refused { why }, 0);
        ExitCode::FAILURE
    };
    let input = io::stdin().as_fd().try_clone_to_owned().and_then(Receiver::from_owned_fd);
    let mut control = match input {
        Ok(input) => BufReader::new(input).lines(),
        Err(error) => return refuse(&mut teller, format!("its standard input is no pipe: {error}")),
    };
    let order: Order = match control.next_line().await.map(Option::unwrap_or_default) {
        // The engine died before it had said what to do.
        Ok(line) if line.is_empty() => return ExitCode::FAILURE,
        Ok(line) => match serde_json::from_str(&line) {
            Ok(order) => order,
            // Not the error itself, which may repeat parts of the order, and with them secrets.
            Err(_) => return refuse(&mut teller, "the order cannot be read".to_owned()),
        },
        Err(error) => return refuse(&mut teller, format!("the order cannot be read: {error}")),
    };
    let ready =
        lock::sign(&order.log).and_then(|lock| Ok((lock, ExitFile::reserve(&order.log)?, Log::open(&order.log)?)));
    let (_lock, exit_file, log) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            return refuse(&mut teller, format!("its log {} cannot be written: {error}", order.log.display()));
        }
    };
    let exit = match Shim::start(&order, log, teller) {
        Ok(shim) => shim.watch(&order, control, signals).await,
        Err((error, log)) => refused(&order, &error, &log),
    };
    match exit_file.write(&exit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn refused(order: &Order, error: &io::Error, log: &Log) -> Exit {
    let program = order.argv.first().map_or("", String::as_str);
    let why = match error.kind() {
        io::ErrorKind::NotFound if order.cwd.as_ref().is_some_and(|cwd| !cwd.is_dir()) => {
            format!("there is no folder {}", order.cwd.as_deref().unwrap_or(std::path::Path::new("")).display())
        }
        io::ErrorKind::NotFound => format!("there is no program {program}"),
        io::ErrorKind::PermissionDenied => format!("{program} may not be executed"),
        _ => format!("{program}: {error}"),
    };
    let now = Timestamp::now();
    Exit {
        what: order.what.clone(),
        code: None,
        signal: None,
        refused: Some(why),
        stopped: false,
        timed_out: false,
        left_behind: Vec::new(),
        started_at: now,
        ended_at: now,
        lost_bytes: 0,
        end_offset: log.end,
        tail: Vec::new(),
    }
}

/// A running program.
struct Shim {
    child: Child,
    leader: Option<Pid>,
    output: Receiver,
    sink: Sink,
    started_at: Timestamp,
}

/// Where lines go.
struct Sink {
    lines: Lines,
    cleaner: Cleaner,
    log: Log,
    teller: Teller,
    tail: VecDeque<String>,
}

/// Why a program is being ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Asked,
    TimeUp,
    Leftovers,
}

impl Shim {
    fn start(order: &Order, log: Log, teller: Teller) -> Result<Self, (io::Error, Log)> {
        match spawn(order) {
            Ok((child, output)) => {
                let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                let cleaner = Cleaner::new(&order.redact, order.rows);
                let sink = Sink { lines: Lines::default(), cleaner, log, teller, tail: VecDeque::new() };
                Ok(Self { child, leader, output, sink, started_at: Timestamp::now() })
            }
            Err(error) => Err((error, log)),
        }
    }

    async fn watch(
        mut self,
        order: &Order,
        mut control: AsyncLines<BufReader<Receiver>>,
        mut signals: Signals,
    ) -> Exit {
        let grace = Duration::from_millis(order.grace_ms);
        let deadline = order.timeout_ms.map(|limit| tokio::time::Instant::now() + Duration::from_millis(limit));
        let mut buffer = vec![0; CHUNK];
        let mut status: Option<ExitStatus> = None;
        let (mut at_end, mut listening) = (false, true);
        let mut ending: Option<Ending> = None;
        let mut left_behind = Vec::new();
        let mut end = std::pin::pin!(None);
        while !(status.is_some() && at_end) {
            let mut wanted = None;
            tokio::select! {
                read = self.output.read(&mut buffer), if !at_end => match read {
                    Ok(0) | Err(_) => at_end = true,
                    Ok(count) => self.sink.take(buffer.get(..count).unwrap_or_default()),
                },
                ended = self.child.wait(), if status.is_none() => {
                    status = Some(ended.unwrap_or_else(|_| ExitStatus::from_raw(-1)));
                    // Whatever still holds the pipe would keep us waiting for ever.
                    self.drain(&mut buffer, &mut at_end);
                    if !at_end { wanted = Some(Ending::Leftovers); }
                }
                line = control.next_line(), if listening => match line {
                    Ok(Some(word)) if word == STOP => wanted = Some(Ending::Asked),
                    Ok(Some(_)) => {}
                    // The engine is gone. Nothing changes: the next one finds us by the lock.
                    Ok(None) | Err(_) => listening = false,
                },
                () = signals.asked() => wanted = Some(Ending::Asked),
                () = until(deadline), if ending.is_none() => wanted = Some(Ending::TimeUp),
                () = self.sink.teller.room(), if self.sink.teller.waits() => self.sink.teller.catch_up(),
                left = async { match end.as_mut().as_pin_mut() { Some(end) => end.await, None => std::future::pending().await } } => {
                    left_behind = left;
                    end.set(None);
                    self.drain(&mut buffer, &mut at_end);
                    at_end |= status.is_some();
                }
            }
            if let (Some(why), Some(leader), None) = (wanted, self.leader, ending) {
                ending = Some(why);
                end.set(Some(group::end(leader, grace)));
            }
        }
        self.sink.finish();
        let status = status.unwrap_or_default();
        Exit {
            what: order.what.clone(),
            code: status.code(),
            signal: status.signal(),
            refused: None,
            stopped: ending == Some(Ending::Asked),
            timed_out: ending == Some(Ending::TimeUp),
            left_behind,
            started_at: self.started_at,
            ended_at: Timestamp::now(),
            lost_bytes: self.sink.log.lost,
            end_offset: self.sink.log.end,
            tail: self.sink.tail.into_iter().collect(),
        }
    }

    /// Takes what the program left in the pipe, without waiting for more.
    fn drain(&mut self, buffer: &mut [u8], at_end: &mut bool) {
        while !*at_end {
            match self.output.try_read(buffer) {
                Ok(0) => *at_end = true,
                Ok(count) => self.sink.take(buffer.get(..count).unwrap_or_default()),
                Err(_) => return,
            }
        }
    }
}

fn spawn(order: &Order) -> io::Result<(Child, Receiver)> {
    let (program, arguments) = order.argv.split_first().ok_or_else(|| io::Error::other("the command line is empty"))?;
    // One pipe for both, so that lines keep their order.
    let (reader, writer) = io::pipe()?;
    let output = Receiver::from_owned_fd(reader.into())?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    for name in &order.env_remove {
        command.env_remove(name);
    }
    command.envs(order.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &order.cwd {
        command.current_dir(cwd);
    }
    // The command holds our ends of the pipe, which must close for its end to be seen; it is dropped here.
    command.spawn().map(|child| (child, output))
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Signals that would end us. A hang-up is not for us; the others ask to end the program.
struct Signals(Vec<(Signal, bool)>);

impl Signals {
    fn new() -> Self {
        let kinds = [
            (SignalKind::hangup(), false),
            (SignalKind::terminate(), true),
            (SignalKind::interrupt(), true),
            (SignalKind::quit(), true),
        ];
        Self(kinds.into_iter().filter_map(|(kind, asks)| Some((signal(kind).ok()?, asks))).collect())
    }

    /// Resolves when a signal asks to end the program.
    async fn asked(&mut self) {
        std::future::poll_fn(|cx| {
            let mut asked = false;
            for (signal, asks) in &mut self.0 {
                while signal.poll_recv(cx).is_ready() {
                    asked |= *asks;
                }
            }
            if asked { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) {
        let mut text = String::new();
        let (cleaner, tail) = (&mut self.cleaner, &mut self.tail);
        self.lines.feed(bytes, |line, left_out| keep(cleaner, tail, line, left_out, &mut text));
        self.put(text);
    }

    fn finish(&mut self) {
        let mut text = String::new();
        let (cleaner, tail) = (&mut self.cleaner, &mut self.tail);
        self.lines.finish(|line, left_out| keep(cleaner, tail, line, left_out, &mut text));
        self.put(text);
        self.teller.catch_up();
    }

    fn put(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if let Some(offset) = self.log.append(&text) {
            self.teller.tell(&Frame::Text { offset, text }, self.log.end);
        }
    }
}

fn keep(cleaner: &mut Cleaner, tail: &mut VecDeque<String>, line: &[u8], left_out: u64, text: &mut String) {
    let Some(line) = cleaner.line(line, left_out) else {
        return;
    };
    text.push_str(&line);
    text.push('\n');
    if tail.len() == TAIL {
        tail.pop_front();
    }
    tail.push_back(if line.len() > TAIL_CHARS { line.chars().take(TAIL_CHARS).collect() } else { line });
}
