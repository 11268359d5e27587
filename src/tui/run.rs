//! The loop: turns sources into [`Msg`], carries out [`Out`](super::msg::Out), and draws when something changed.

mod carry;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::incident::{EventKind, Notice};
use crate::wire::{FromEngine, Link, ToClient};

use super::app::App;
use super::card::Sight;
use super::input::Input;
use super::keyboard::Keyboard;
use super::keymap::Keymap;
use super::msg::Msg;
use super::terminal::{self, Screen};
use super::theme::{Look, Theme};
use super::update::update;
use super::witness::Witness;

/// Background changes are drawn at most this often; input is drawn at once.
const FRAME: Duration = Duration::from_millis(33);
/// After a move was drawn, everything else waits for so long: the terminal is about to show the move, on the same processor
/// perhaps.
const AFTER_MOVE: Duration = Duration::from_millis(5);
/// However many moves follow each other, everything is drawn at least so often.
const AT_LEAST: Duration = Duration::from_millis(100);
/// Messages that are taken from the engine before keys are looked at again.
const BATCH: usize = 256;

/// What the caller decides.
#[derive(Debug)]
pub struct Options {
    /// Use nothing beyond ASCII, whatever the locale says.
    pub ascii: bool,
    /// The colours; none goes by the terminal.
    pub look: Option<Look>,
    /// The keys of the main screen.
    pub keymap: Keymap,
    /// The terminal tells about its mouse, and keeps less of it for itself.
    pub mouse: bool,
    /// This person has not seen a cockpit before.
    pub first_time: bool,
    /// Where exports are written: the first folder that takes them.
    pub export_dirs: Vec<PathBuf>,
    /// Where the attempts' logs are.
    pub logs: PathBuf,
}

/// Why the cockpit ended. The engine goes on in every case but [`Exit::Closed`] and [`Exit::EngineLost`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The person left.
    Detached,
    /// The person left, and the incident is closed.
    Closed,
    /// The connection to the engine was lost, and the person wants it again.
    Again,
    /// The person left after the connection to the engine was lost, and why it was.
    EngineLost(String),
    /// The terminal hung up or ended, or this process was asked to end.
    TerminalGone,
}

/// Why there is no cockpit.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// There is no terminal to draw on.
    #[error("the cockpit needs a terminal: {0}. Run it in one, or use the commands that print (relight --help)")]
    NoTerminal(#[source] io::Error),
    /// The system refused something that the cockpit cannot do without.
    #[error("the cockpit cannot start: {what}: {source}. Close other programs and try again")]
    System {
        /// What was refused.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl App {
    /// How the cockpit ends when the person leaves now.
    pub(super) fn left(&self) -> Exit {
        let closed = self.state.as_ref().is_some_and(|state| state.closed_at.is_some());
        match &self.lost {
            _ if closed => Exit::Closed,
            Some(why) => Exit::EngineLost(why.clone()),
            None => Exit::Detached,
        }
    }
}

struct Sources {
    resize: Signal,
    continued: Signal,
    term: Signal,
    hangup: Signal,
    done: mpsc::UnboundedReceiver<Msg>,
}

/// What is due after a message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    /// Draw when the frame's time has come.
    Soon,
    /// Draw at once what a move of the cursor is seen by, and everything soon.
    Move,
    /// Draw everything at once.
    Now,
}

struct Cockpit {
    app: App,
    screen: Screen,
    keyboard: Keyboard,
    link: Link,
    options: Options,
    done: mpsc::UnboundedSender<Msg>,
    /// A frame is on its way out.
    going_out: bool,
    /// When moves were drawn first and last since the last whole frame.
    moved: Option<(Instant, Instant)>,
    /// What of a plan in that frame was not on screen before.
    in_it: Option<Sight>,
    /// What is marked among what was typed.
    marked: Option<Sight>,
    witness: Witness,
    exit: Option<Exit>,
    /// The last ranking that was asked for; earlier ones need not go on.
    ranking: Arc<AtomicU64>,
}

/// Shows an incident until the person leaves, the terminal ends, or this process is asked to end. What `warning` comes to is
/// shown when it is known, before anything else is read; it holds up nothing.
///
/// # Errors
/// There is no terminal, or the system refuses threads or signals. Nothing of the incident is touched.
pub async fn run(
    link: Link,
    options: Options,
    warning: impl Future<Output = Option<String>> + Send + 'static,
) -> Result<Exit, TuiError> {
    let system = |what| move |source| TuiError::System { what, source };
    let listen = |kind| signal(kind).map_err(system("signals"));
    let tty = terminal::input().map_err(TuiError::NoTerminal)?;
    let (finished, done) = mpsc::unbounded_channel();
    let mut sources = Sources {
        resize: listen(SignalKind::window_change())?,
        continued: listen(SignalKind::from_raw(libc::SIGCONT))?,
        term: listen(SignalKind::terminate())?,
        hangup: listen(SignalKind::hangup())?,
        done,
    };
    // Keys are read raw: the screen is taken before the first is looked at.
    let screen = Screen::take(options.mouse).map_err(TuiError::NoTerminal)?;
    let keyboard = Keyboard::new(tty).map_err(system("to be told of keys"))?;
    let told = finished.clone();
    let warning = tokio::spawn(async move {
        if let Some(text) = warning.await {
            // Without a cockpit nobody is there to be warned.
            let _ = told.send(Msg::Warning(text));
        }
    });
    let theme = Theme::from_environment(options.look, options.ascii, |name| std::env::var(name).ok());
    let mut app = App::new(theme, terminal::size(), Timestamp::now());
    app.keymap = options.keymap.clone();
    app.zone = TimeZone::system();
    app.you = link.you.clone();
    app.watching.clone_from(&link.watching);
    if options.first_time {
        app.hint();
    }
    let mut cockpit = Cockpit {
        app,
        screen,
        keyboard,
        link,
        options,
        done: finished,
        going_out: false,
        moved: None,
        in_it: None,
        marked: None,
        witness: Witness::default(),
        exit: None,
        ranking: Arc::default(),
    };
    let exit = cockpit.run(&mut sources).await;
    warning.abort();
    Ok(exit)
}

impl Cockpit {
    async fn run(&mut self, sources: &mut Sources) -> Exit {
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut due = Due::Now;
        let mut drawn = Instant::now();
        loop {
            // While a frame is on its way to a terminal that reads slowly, what changes is not drawn but comes with the next.
            if !self.going_out && (due >= Due::Move || (due == Due::Soon && Instant::now() >= self.soon(drawn))) {
                let waits_long = self.moved.is_some_and(|(first, _)| first.elapsed() >= AT_LEAST);
                match self.draw(due == Due::Move && !waits_long) {
                    Ok(true) => (due, drawn) = (Due::Nothing, Instant::now()),
                    Ok(false) => due = Due::Soon,
                    Err(_) => return Exit::TerminalGone,
                }
            }
            let soon = self.soon(drawn);
            let patience = self.witness.patience_ends();
            let next = tokio::select! {
                biased;
                _ = sources.term.recv() => return Exit::TerminalGone,
                _ = sources.hangup.recv() => return Exit::TerminalGone,
                out = self.screen.drawn(), if self.going_out => match out {
                    Ok(()) => self.shown(),
                    Err(_) => return Exit::TerminalGone,
                },
                // Before any key: what was on screen then is not what it is typed at.
                _ = sources.resize.recv() => self.resized(),
                _ = sources.continued.recv() => self.resumed(),
                input = self.keyboard.next() => self.typed(input),
                () = tokio::time::sleep_until(patience.unwrap_or(soon)), if patience.is_some() => {
                    self.witness.give_up();
                    Due::Now
                }
                Some(message) = sources.done.recv() => self.take(message, Due::Now),
                from = self.link.rx.recv(), if self.app.lost.is_none() => self.heard(from),
                _ = clock.tick() => self.take(Msg::Tick, Due::Soon),
                () = tokio::time::sleep_until(soon), if due == Due::Soon && !self.going_out => Due::Soon,
            };
            if let Some(exit) = self.exit.take() {
                return exit;
            }
            due = due.max(next);
        }
    }

    /// When everything is drawn that can wait.
    fn soon(&self, drawn: Instant) -> Instant {
        let after_frame = drawn + FRAME;
        self.moved.map_or(after_frame, |(_, last)| after_frame.max(last + AFTER_MOVE))
    }

    /// Draws everything, or what a move is seen by; says whether it was everything.
    fn draw(&mut self, only_move: bool) -> io::Result<bool> {
        let now = Instant::now();
        let whole = if only_move {
            self.screen.draw_move(&self.app)?
        } else {
            // Its own thread would look for events a hundred times a second.
            tui_logger::move_events();
            let unshown = self.app.unshown();
            let asks = unshown.as_ref().is_some_and(|sight| self.witness.asks(sight, now));
            self.screen.draw(&self.app, asks)?;
            self.in_it = unshown.filter(|_| self.witness.is_mute());
            true
        };
        self.going_out = true;
        self.moved = (!whole).then(|| (self.moved.map_or(now, |(first, _)| first), now));
        Ok(whole)
    }

    /// The last frame is out. Where the terminal does not say when it has a plan, it counts as on screen now; what was typed before
    /// this moment must not count as consent to it.
    fn shown(&mut self) -> Due {
        self.going_out = false;
        let unshown = self.in_it.take();
        if unshown.is_some() && unshown != self.marked {
            // One that could not be marked is with its next frame.
            self.marked = unshown.filter(|sight| self.keyboard.mark(sight.clone()));
        }
        Due::Nothing
    }

    fn typed(&mut self, first: Input) -> Due {
        let mut next = first;
        let mut due = Due::Nothing;
        loop {
            let message = match next {
                Input::Key(key) => Msg::Key(key),
                Input::Paste(text) => Msg::Paste(text),
                Input::Mouse(event) => Msg::Mouse(event),
                Input::Answered => match self.witness.answered() {
                    Some(sight) => Msg::Shown(sight),
                    None => match self.keyboard.at_hand() {
                        Some(input) => {
                            next = input;
                            continue;
                        }
                        None => return due,
                    },
                },
                Input::Marked(sight) => {
                    // A plan that comes back to the screen later is marked again.
                    self.marked = None;
                    Msg::Shown(sight)
                }
                Input::Gone => {
                    self.exit = Some(Exit::TerminalGone);
                    return Due::Nothing;
                }
            };
            due = due.max(if self.app.only_moves(&message) { Due::Move } else { Due::Now });
            self.take(message, Due::Now);
            if self.exit.is_some() {
                return Due::Nothing;
            }
            match self.keyboard.at_hand() {
                Some(input) => next = input,
                None => return due,
            }
        }
    }

    fn heard(&mut self, first: Option<FromEngine>) -> Due {
        let mut next = first.unwrap_or_else(|| FromEngine::Lost("the connection ended".to_owned()));
        let was_caught_up = self.app.caught_up;
        let mut due = Due::Soon;
        let mut taken = 0;
        loop {
            let answers = is_waited_for(&next);
            self.take(Msg::FromEngine(next), Due::Soon);
            // The first whole view is waited for as well.
            if answers || (self.app.caught_up && !was_caught_up) {
                due = Due::Now;
            }
            taken += 1;
            if taken == BATCH {
                return due;
            }
            match self.link.rx.try_recv() {
                Ok(more) => next = more,
                Err(_) => return due,
            }
        }
    }

    fn resized(&mut self) -> Due {
        // Also where it is as large as before by now: the terminal has cut what did not fit meanwhile.
        if self.screen.clear().is_err() {
            self.exit = Some(Exit::TerminalGone);
        }
        self.forget_what_was_shown();
        let (columns, rows) = terminal::size();
        self.take(Msg::Resize(columns, rows), Due::Soon)
    }

    /// No frame that is out or on its way shows any more what it was drawn for.
    fn forget_what_was_shown(&mut self) {
        self.in_it = None;
        self.marked = None;
        self.witness.forget();
        self.keyboard.forget_marks();
    }

    fn resumed(&mut self) -> Due {
        self.forget_what_was_shown();
        if self.screen.resume().is_err() {
            self.exit = Some(Exit::TerminalGone);
        }
        self.take(Msg::Resumed, Due::Now)
    }

    fn take(&mut self, message: Msg, due: Due) -> Due {
        for out in update(&mut self.app, message, Timestamp::now()) {
            self.carry_out(out);
        }
        due
    }
}

/// The answer to a key: it is drawn at once, as keys are. Later news may wait for the next frame.
fn is_waited_for(from: &FromEngine) -> bool {
    match from {
        FromEngine::Message(ToClient::Event { event }) => {
            matches!(event.kind, EventKind::Approved { .. } | EventKind::Consented { .. })
        }
        FromEngine::Message(message) => {
            matches!(message, ToClient::Reply { .. } | ToClient::Notice { notice: Notice::Planned { .. } })
        }
        FromEngine::Lost(_) => true,
    }
}
