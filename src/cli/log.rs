//! Where the program's own log goes: the engine's into its file and to the cockpits, a cockpit's into its log pane.
//! Nothing is written to the terminal that a cockpit draws on.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt as format};

use crate::engine::Handle;
use crate::incident::{LogLevel, Notice};

/// Lines that may wait for the engine's loop; more are only in the file.
const WAITING: usize = 256;
/// A line is shown up to here; the file has all of it.
const LONGEST: usize = 2000;

/// Lines of the log for whoever looks on.
pub(super) struct Lines(mpsc::Receiver<Notice>);

impl Lines {
    /// Tells the clients every line until the engine ends.
    pub(super) async fn tell(mut self, engine: Handle) {
        while let Some(line) = self.0.recv().await {
            engine.notice(line);
        }
    }
}

/// An engine's log: on stderr, which is its file, and as [`Lines`].
pub(super) fn to_file_and_clients() -> Lines {
    let (tx, rx) = mpsc::channel(WAITING);
    tracing_subscriber::registry()
        .with(filter())
        .with(filter_fn(tells_no_secret))
        .with(format::layer().with_writer(std::io::stderr).with_ansi(false))
        .with(Relay(tx))
        .init();
    Lines(rx)
}

/// A cockpit's log: its pane, which also shows the engine's lines.
pub(super) fn to_the_pane() {
    tui_logger::set_default_level(tui_logger::LevelFilter::Debug);
    tracing_subscriber::registry()
        .with(filter())
        .with(filter_fn(tells_no_secret))
        .with(tui_logger::TuiTracingSubscriberLayer)
        .init();
}

fn filter() -> EnvFilter {
    EnvFilter::try_from_env("RELIGHT_LOG").unwrap_or_else(|_| EnvFilter::new("relight=info,engine=debug,warn"))
}

/// Whether a line may be logged, whatever `RELIGHT_LOG` wants: the AWS SDK, when it is talkative, prints the id of the key
/// that it signs with.
fn tells_no_secret(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::INFO || !line.target().starts_with("aws_")
}

/// Turns events into notices.
struct Relay(mpsc::Sender<Notice>);

impl<S: Subscriber> Layer<S> for Relay {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let mut text = words.0.replace('\n', " ");
        if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(cut);
        }
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG | Level::TRACE => LogLevel::Debug,
        };
        // The file has it in any case.
        let _ = self.0.try_send(Notice::Log { at: Timestamp::now(), level, text });
    }
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}
