//! The terminal: taken over, given back whatever happens, written to once a frame and never waited for.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, SetTitle,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, queue};
use ratatui::layout::Rect;
use rustix::fs::{Mode, OFlags};

use super::app::App;
use super::input::ASK;
use super::painter::Painter;
use super::writer::Writer;

/// A whole frame is shorter than this.
const BUFFER: usize = 8 * 1024;
/// Bytes of the marks around a frame: `ESC [ ? 2026 h` and `l`.
const MARKS: usize = 16;
/// A terminal that takes nothing for so long is left as it is.
const PATIENCE: Duration = Duration::from_millis(100);

/// Set while the terminal is ours, so that a panic anywhere gives it back.
static TAKEN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Collects a frame; only [`Screen`] lets it out.
#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    fn take(&self) -> Vec<u8> {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *collected, Vec::with_capacity(BUFFER))
    }
}

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal while it is ours.
pub(super) struct Screen {
    painter: Painter<Collector>,
    collector: Collector,
    writer: Writer,
    mouse: bool,
    /// The window's title, as it was set last.
    title: String,
}

impl Screen {
    /// Takes the terminal over. It shows so with the first frame.
    ///
    /// # Errors
    /// It is none, or does not answer.
    pub(super) fn take(mouse: bool) -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back(|words| io::stdout().write_all(words).and_then(|()| io::stdout().flush()));
                before(info);
            }));
        });
        let writer = Writer::start(io::stdout().as_fd().try_clone_to_owned()?)?;
        let collector = Collector(Arc::new(Mutex::new(Vec::with_capacity(BUFFER))));
        // The system tells of every other size by a signal: the terminal is not asked for it with each frame.
        let (columns, rows) = size();
        let mut painter = Painter::new(collector.clone(), Rect::new(0, 0, columns, rows));
        take_over(painter.writer(), mouse)?;
        // Not every terminal has a second screen to begin with an empty one.
        painter.clear()?;
        Ok(Self { painter, collector, writer, mouse, title: String::new() })
    }

    /// Waits until the last frame is out.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) async fn drawn(&self) -> io::Result<()> {
        self.writer.written().await
    }

    /// Rings the bell with the next frame.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn ring(&mut self) -> io::Result<()> {
        self.painter.writer().write_all(b"\x07")
    }

    /// Draws what changed, in one write; none where nothing did. With `asks` the terminal is to say when it has it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, app: &App, asks: bool) -> io::Result<()> {
        let title = app.title();
        if title != self.title {
            queue!(self.painter.writer(), SetTitle(&title))?;
            self.title = title;
        }
        self.painter.draw(app)?;
        self.let_out(if asks { ASK } else { &[] })
    }

    /// Draws what a move of the cursor is seen by, in one write; says whether it drew everything. If not, the rest has to be
    /// drawn right after.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw_move(&mut self, app: &App) -> io::Result<bool> {
        let whole = self.painter.draw_move(app)?;
        self.let_out(&[])?;
        Ok(whole)
    }

    /// Gives what was drawn to the terminal, marked so that it is shown at once, and `behind` after it.
    fn let_out(&mut self, behind: &[u8]) -> io::Result<()> {
        let drawn = self.collector.take();
        let mut frame = Vec::with_capacity(drawn.len() + MARKS + behind.len());
        if !drawn.is_empty() {
            queue!(frame, BeginSynchronizedUpdate)?;
            frame.extend(drawn);
            queue!(frame, EndSynchronizedUpdate)?;
        }
        frame.extend_from_slice(behind);
        if !frame.is_empty() {
            self.writer.give(frame);
        }
        Ok(())
    }

    /// Puts text on the clipboard by OSC 52, with the next frame.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        queue!(self.painter.writer(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Makes the next drawing draw everything.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.painter.clear()
    }

    /// Gives the terminal back, stops this process group until it is continued, and takes the terminal again. Where no shell
    /// could continue it the system does not stop it, and it goes on at once.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.leave();
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        self.resume()
    }

    /// Takes the terminal again after somebody else had it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // The shell may have changed the mode behind our back; raw mode is entered anew.
        let _ = disable_raw_mode();
        self.title.clear();
        take_over(self.painter.writer(), self.mouse)?;
        self.clear()
    }

    fn leave(&self) {
        give_back(|words| {
            self.writer.give(words.to_vec());
            self.writer.wait(PATIENCE);
            Ok(())
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Presses and wheel turns, told in xterm's SGR form. Movements are not asked for: each would be bytes on a slow link.
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const NO_MOUSE: &[u8] = b"\x1b[?1006l\x1b[?1000l";

fn take_over(out: &mut impl Write, mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    // The window's own title is kept and comes back, where the terminal can do that.
    out.write_all(b"\x1b[22;2t")?;
    queue!(out, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if mouse { out.write_all(MOUSE) } else { Ok(()) }
}

/// Gives the terminal back, once. A terminal that is gone cannot be given back.
fn give_back(say: impl FnOnce(&[u8]) -> io::Result<()>) {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Whether it was taken is not known to a panic; a terminal that was not asked for its mouse loses nothing.
    let mut words = NO_MOUSE.to_vec();
    let _ = queue!(words, EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    words.extend_from_slice(b"\x1b[23;2t");
    let _ = say(&words);
    let _ = disable_raw_mode();
}

/// The terminal's input.
///
/// # Errors
/// Neither standard input nor `/dev/tty` is a terminal.
pub(super) fn input() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if rustix::termios::isatty(stdin.as_fd()) {
        return stdin.as_fd().try_clone_to_owned();
    }
    std::fs::File::open("/dev/tty").map(OwnedFd::from)
}

/// Another description of the same terminal, of which neither reading nor writing waits: the one that was given is shared with
/// the shell, which counts on its waiting. None where it is no terminal, or not ours to open.
pub(super) fn unwaiting(terminal: &OwnedFd, access: OFlags) -> Option<OwnedFd> {
    if !rustix::termios::isatty(terminal) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// Columns and rows of the terminal.
pub(super) fn size() -> (u16, u16) {
    crossterm::terminal::size().unwrap_or((80, 24))
}
