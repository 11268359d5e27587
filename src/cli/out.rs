//! What the commands print. `println!` panics when the reader has gone (`relight list | head -1`); this does not. Much of
//! it comes from outside, so nothing that a terminal would obey goes through.

use std::fmt::Arguments;
use std::io::{self, Write as _};
use std::sync::Mutex;

use serde::Serialize;

use crate::plain;

use super::Exit;

/// The first thing that could not be written.
static FAULT: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints as `print!` does.
macro_rules! out {
    ($($words:tt)*) => { $crate::cli::out::write(format_args!($($words)*)) };
}

/// Prints a line as `println!` does.
macro_rules! outln {
    ($($words:tt)*) => { $crate::cli::out::write(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints a line to standard error as `eprintln!` does.
macro_rules! errln {
    ($($words:tt)*) => { $crate::cli::out::complain(format_args!($($words)*)) };
}

pub(super) use {errln, out, outln};

pub(super) fn write(words: Arguments<'_>) {
    raw(&plain::lines(&words.to_string()));
}

/// Prints a value as JSON, on several lines.
pub(super) fn json(value: &impl Serialize) -> serde_json::Result<()> {
    raw(&plain::json(&serde_json::to_string_pretty(value)?));
    raw("\n");
    Ok(())
}

pub(super) fn complain(words: Arguments<'_>) {
    // With nowhere to complain to, the exit code is left.
    let _ = writeln!(io::stderr(), "{}", plain::lines(&words.to_string()));
}

fn raw(text: &str) {
    note(io::stdout().write_all(text.as_bytes()));
}

/// Flushes, and says how the program ends: a reader that has gone wanted no more, but a full disk is a failure.
pub(super) fn finish(exit: Exit) -> Exit {
    note(io::stdout().flush());
    let fault = FAULT.lock().map_or(None, |mut fault| fault.take());
    match fault {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            errln!("relight: the output could not be written: {error}");
            if exit == Exit::Done { Exit::Failed } else { exit }
        }
        _ => exit,
    }
}

fn note(result: io::Result<()>) {
    if let (Err(error), Ok(mut fault)) = (result, FAULT.lock()) {
        fault.get_or_insert(error);
    }
}
