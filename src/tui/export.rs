//! Exporting: which form, how large its parts, what it says. The text is made again whenever the incident goes on, so what
//! is seen is what is sent.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::export::{self, Format, LEAST};
use crate::incident::{Seal, State};

use super::app::{App, Toast};
use super::edit::Editor;
use super::msg::Out;
use super::update::scrolled;

/// An export as it would be made now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exporting {
    pub(super) format: Format,
    /// The most bytes of a part, where the person said so.
    pub(super) size: Option<usize>,
    /// The size while it is typed.
    pub(super) sizing: Option<Editor>,
    /// Why that is no size.
    pub(super) fault: Option<String>,
    pub(super) parts: Vec<String>,
    pub(super) part: usize,
    pub(super) scroll: usize,
    /// What became of the last one, with the file's path.
    pub(super) done: Option<Toast>,
    /// The events that the text and its seal are made of.
    made_of: Option<(u64, Option<u64>)>,
}

impl Exporting {
    pub(super) fn new(state: &State, seal: Option<&Seal>) -> Self {
        let mut new = Self {
            format: Format::PagerDuty,
            size: None,
            sizing: None,
            fault: None,
            parts: Vec::new(),
            part: 0,
            scroll: 0,
            done: None,
            made_of: None,
        };
        new.refresh(state, seal);
        new
    }

    /// Makes the text again where the incident went on.
    pub(super) fn refresh(&mut self, state: &State, seal: Option<&Seal>) {
        let now = Some((state.seq, seal.map(|seal| seal.seq)));
        if self.made_of == now {
            return;
        }
        self.made_of = now;
        let size = self.size.filter(|_| self.format.usual_size().is_some());
        self.parts = export::parts(state, self.format, size, seal);
        self.part = self.part.min(self.parts.len().saturating_sub(1));
    }

    /// The part on screen.
    pub(super) fn text(&self) -> &str {
        self.parts.get(self.part).map_or("", String::as_str)
    }

    fn show(&mut self, format: Format) {
        self.format = format;
        self.part = 0;
        self.made_of = None;
        self.rewind();
    }

    fn rewind(&mut self) {
        self.scroll = 0;
        self.done = None;
    }

    fn other_format(&mut self, by: usize) {
        let at = Format::ALL.iter().position(|format| *format == self.format).unwrap_or(0);
        if let Some(format) = Format::ALL.get((at + by) % Format::ALL.len()) {
            self.show(*format);
        }
    }

    fn other_part(&mut self, forward: bool) {
        let last = self.parts.len().saturating_sub(1);
        self.part = if forward { (self.part + 1).min(last) } else { self.part.saturating_sub(1) };
        self.rewind();
    }

    /// Takes a size as it was typed; nothing means the usual one.
    fn resize(&mut self, typed: &str) {
        let typed = typed.trim();
        let size = match typed.parse::<usize>() {
            _ if typed.is_empty() => None,
            Ok(size) if size >= LEAST => Some(size),
            _ => {
                self.fault = Some(format!("a whole number of bytes, at least {LEAST}"));
                return;
            }
        };
        self.size = size;
        self.sizing = None;
        self.show(self.format);
    }
}

/// Takes a key; says whether the export stays on screen.
pub(super) fn key(app: &App, exporting: &mut Exporting, event: KeyEvent) -> (bool, Vec<Out>) {
    if let Some(editor) = &mut exporting.sizing {
        exporting.fault = None;
        match event.code {
            KeyCode::Esc => exporting.sizing = None,
            KeyCode::Enter => {
                let typed = editor.text().to_owned();
                exporting.resize(&typed);
            }
            KeyCode::Char(c) if !c.is_ascii_digit() && event.modifiers.is_empty() => {}
            _ => {
                editor.key(event);
            }
        }
        return (true, Vec::new());
    }
    let bare = !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match event.code {
        KeyCode::Tab => exporting.other_format(1),
        KeyCode::BackTab => exporting.other_format(Format::ALL.len() - 1),
        KeyCode::Char(digit @ '1'..='5') if bare => {
            let at = usize::from(u8::try_from(digit).unwrap_or(b'1') - b'1');
            exporting.show(Format::ALL.get(at).copied().unwrap_or(Format::PagerDuty));
        }
        KeyCode::Char('n') | KeyCode::Right if bare => exporting.other_part(true),
        KeyCode::Char('N') | KeyCode::Left if bare => exporting.other_part(false),
        KeyCode::Char('s') if bare && exporting.format.usual_size().is_some() => {
            let size = exporting.size.map_or_else(String::new, |size| size.to_string());
            exporting.sizing = Some(Editor::line(&size));
        }
        KeyCode::Char(letter @ ('c' | 'w')) if bare => {
            let Some(state) = &app.state else { return (true, Vec::new()) };
            exporting.done = None;
            let copy = (letter == 'c').then(|| exporting.text().to_owned());
            let out = Out::Export {
                copy,
                name: exporting.format.file_name(&state.id),
                text: export::joined(&exporting.parts),
            };
            return (true, vec![out]);
        }
        KeyCode::Esc => return (false, Vec::new()),
        KeyCode::Char('q' | 'e') if bare => return (false, Vec::new()),
        _ => {
            scrolled(&mut exporting.scroll, app.size.1, event);
        }
    }
    (true, Vec::new())
}
