//! What a terminal's bytes mean: keys, pastes and the mouse. Sequences are those of xterm, which tmux, screen and the Linux
//! console share.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::card::Sight;

/// What the keyboard says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    /// A key.
    Key(KeyEvent),
    /// A bracketed paste.
    Paste(String),
    /// The mouse, which was asked for.
    Mouse(MouseEvent),
    /// The terminal has taken what it was asked behind ([`ASK`]); everything that was typed before has been said.
    Answered,
    /// Everything that was typed before a frame was out has been taken, and what that frame shows of a plan.
    Marked(Sight),
    /// The terminal is gone.
    Gone,
}

/// Asks a terminal how it is (DSR 5). Its answer comes among the keys, behind those that were typed before it had taken what was
/// written before this.
pub(super) const ASK: &[u8] = b"\x1b[5n";

/// How long the rest of a sequence may take: a lone Esc is told by it from the beginning of one.
const REST: Duration = Duration::from_millis(25);
/// The same where a sequence has begun for certain. What a bad link brings later than that is still not typed by anybody.
const LONG_REST: Duration = Duration::from_millis(500);
/// The longest text of a terminal's that is waited for to end.
const LONGEST_TEXT: usize = 4096;
const CONTROL_C: u8 = 0x03;

const PASTE_ENDS: &[u8] = b"\x1b[201~";
/// More than this is no paste that anybody reads through; the rest is dropped.
const LONGEST_PASTE: usize = 1 << 20;

/// Turns bytes into keys.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    paste: Option<Vec<u8>>,
    ready: Vec<Input>,
    /// An Esc was taken for a key, and nothing came since.
    was_escape: bool,
}

impl Parser {
    /// How long the rest of what has begun may take; nothing where nothing is waited for, or where it may take as long as it
    /// does.
    pub(super) fn waits(&self) -> Option<Duration> {
        match (&self.paste, self.bytes.as_slice()) {
            (Some(_), _) | (None, []) => None,
            (None, [0x1b, _, ..]) => Some(LONG_REST),
            (None, _) => Some(REST),
        }
    }

    /// What is known so far, each once.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Input> {
        self.ready.drain(..)
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // A paste whose end was lost would hold every key for ever. Within one, this does not come alone.
        if bytes == [CONTROL_C] && self.paste.take().is_some() {
            self.bytes.clear();
        }
        // A link may bring a sequence's Esc long before the rest, which nobody typed: a hand does not press these at once.
        if std::mem::take(&mut self.was_escape) && matches!(bytes, [b'[', b'0'..=b'9' | b'<' | b'?', ..]) {
            self.bytes.push(0x1b);
        }
        self.bytes.extend_from_slice(bytes);
        loop {
            if self.paste.is_some() {
                if !self.paste_on() {
                    return;
                }
                continue;
            }
            match next(&self.bytes) {
                Next::Wait => return,
                Next::Skip(count) => drop(self.bytes.drain(..count)),
                Next::Key(count, key) => {
                    self.bytes.drain(..count);
                    self.ready.push(Input::Key(key));
                }
                Next::Mouse(count, event) => {
                    self.bytes.drain(..count);
                    self.ready.push(Input::Mouse(event));
                }
                Next::Answer(count) => {
                    self.bytes.drain(..count);
                    self.ready.push(Input::Answered);
                }
                Next::Paste(count) => {
                    self.bytes.drain(..count);
                    self.paste = Some(Vec::new());
                }
            }
        }
    }

    /// Moves bytes into the paste; says whether it is over.
    fn paste_on(&mut self) -> bool {
        let Some(paste) = &mut self.paste else { return true };
        let end = self.bytes.windows(PASTE_ENDS.len()).position(|window| window == PASTE_ENDS);
        // Without an end, the last bytes may be the beginning of one.
        let take = end.unwrap_or(self.bytes.len().saturating_sub(PASTE_ENDS.len() - 1));
        let room = LONGEST_PASTE.saturating_sub(paste.len());
        paste.extend(self.bytes.drain(..take).take(room));
        if end.is_none() {
            return false;
        }
        self.bytes.drain(..PASTE_ENDS.len());
        let text = self.paste.take().unwrap_or_default();
        self.ready.push(Input::Paste(String::from_utf8_lossy(&text).into_owned()));
        true
    }

    /// Nothing followed: what is there is all.
    pub(super) fn time_is_up(&mut self) {
        // What is more than an Esc began as a sequence, and half of one is no key; a letter behind it begins none.
        let bytes = std::mem::take(&mut self.bytes);
        if matches!(bytes.as_slice(), [0x1b] | [0x1b, b'P' | b'X' | b']' | b'^' | b'_']) {
            self.was_escape = bytes.len() == 1;
            self.ready.push(Input::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
        }
    }
}

enum Next {
    Wait,
    Skip(usize),
    Key(usize, KeyEvent),
    Mouse(usize, MouseEvent),
    Answer(usize),
    Paste(usize),
}

fn plain(count: usize, code: KeyCode) -> Next {
    Next::Key(count, KeyEvent::new(code, KeyModifiers::NONE))
}

fn next(bytes: &[u8]) -> Next {
    let Some(first) = bytes.first() else { return Next::Wait };
    match first {
        0x1b => escape(bytes),
        b'\r' | b'\n' => plain(1, KeyCode::Enter),
        b'\t' => plain(1, KeyCode::Tab),
        0x7f | 0x08 => plain(1, KeyCode::Backspace),
        0 => Next::Key(1, KeyEvent::new(KeyCode::Char(' '), KeyModifiers::CONTROL)),
        control @ 1..0x1b => {
            Next::Key(1, KeyEvent::new(KeyCode::Char(char::from(control + 0x60)), KeyModifiers::CONTROL))
        }
        0x1c..0x20 => Next::Skip(1),
        _ => character(bytes),
    }
}

fn character(bytes: &[u8]) -> Next {
    let length = match bytes.first() {
        Some(..0x80) => 1,
        Some(0xc2..0xe0) => 2,
        Some(0xe0..0xf0) => 3,
        Some(0xf0..0xf5) => 4,
        _ => return Next::Skip(1),
    };
    // What does not go on is no character: a key behind it must not wait for the next one, which may be typed much later.
    if bytes.iter().take(length).skip(1).any(|byte| byte & 0xc0 != 0x80) {
        return Next::Skip(1);
    }
    let Some(one) = bytes.get(..length) else { return Next::Wait };
    match std::str::from_utf8(one).ok().and_then(|text| text.chars().next()) {
        Some(c) => {
            let modifiers = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
            Next::Key(length, KeyEvent::new(KeyCode::Char(c), modifiers))
        }
        None => Next::Skip(1),
    }
}

fn escape(bytes: &[u8]) -> Next {
    match bytes.get(1) {
        None => Next::Wait,
        Some(b'[') => control_sequence(bytes),
        Some(b'O') => match bytes.get(2) {
            None => Next::Wait,
            Some(letter) => match by_letter(*letter) {
                Some(code) => plain(3, code),
                None => Next::Skip(3),
            },
        },
        // Esc and Enter, not Enter with Alt: whoever cancels must not confirm because a link brought both at once.
        Some(0x1b | b'\r' | b'\n') => plain(1, KeyCode::Esc),
        // A terminal's texts (DCS, SOS, OSC, PM, APC), as its answer to what another program asked.
        Some(b'P' | b'X' | b']' | b'^' | b'_') => text(bytes),
        Some(_) => match next(bytes.get(1..).unwrap_or_default()) {
            Next::Key(count, key) => Next::Key(count + 1, KeyEvent::new(key.code, key.modifiers | KeyModifiers::ALT)),
            Next::Skip(count) => Next::Skip(count + 1),
            other => other,
        },
    }
}

/// A text that a terminal sends ends with a bell or ST.
fn text(bytes: &[u8]) -> Next {
    let body = bytes.get(2..).unwrap_or_default();
    let bell = body.iter().position(|byte| *byte == 0x07).map(|at| at + 1);
    let st = body.windows(2).position(|two| two == b"\x1b\\").map(|at| at + 2);
    match (bell, st) {
        (Some(bell), Some(st)) => Next::Skip(2 + bell.min(st)),
        (Some(end), None) | (None, Some(end)) => Next::Skip(2 + end),
        (None, None) if bytes.len() > LONGEST_TEXT => Next::Skip(bytes.len()),
        (None, None) => Next::Wait,
    }
}

fn control_sequence(bytes: &[u8]) -> Next {
    let body = bytes.get(2..).unwrap_or_default();
    // The Linux console's function keys have a second bracket.
    if body.first() == Some(&b'[') {
        return if body.len() > 1 { Next::Skip(4) } else { Next::Wait };
    }
    let Some(end) = body.iter().position(|byte| !(0x20..0x40).contains(byte)) else {
        // A sequence that never ends is none.
        return if body.len() > 64 { Next::Skip(bytes.len()) } else { Next::Wait };
    };
    let count = end + 3;
    if let (Some(b'<'), Some(last @ (b'M' | b'm'))) = (body.first(), body.get(end)) {
        let mouse = mouse(body.get(1..end).unwrap_or_default(), *last == b'M');
        return mouse.map_or(Next::Skip(count), |event| Next::Mouse(count, event));
    }
    // A terminal that knows only the old way of telling about its mouse: three bytes follow that are no keys.
    if (end, body.first()) == (0, Some(&b'M')) {
        return if body.len() > 3 { Next::Skip(6) } else { Next::Wait };
    }
    let parameters = std::str::from_utf8(body.get(..end).unwrap_or_default()).unwrap_or_default();
    let mut numbers = parameters.split(';').map(|number| number.parse::<u8>().unwrap_or(0));
    let first = numbers.next().unwrap_or(0);
    let modifiers = modifiers(numbers.next().unwrap_or(1));
    if (body.get(end), parameters) == (Some(&b'n'), "0") {
        return Next::Answer(count);
    }
    let code = match body.get(end) {
        Some(b'~') => match first {
            1 | 7 => Some(KeyCode::Home),
            4 | 8 => Some(KeyCode::End),
            2 => Some(KeyCode::Insert),
            3 => Some(KeyCode::Delete),
            5 => Some(KeyCode::PageUp),
            6 => Some(KeyCode::PageDown),
            200 => return Next::Paste(count),
            _ => None,
        },
        Some(letter) => by_letter(*letter),
        None => None,
    };
    match code {
        Some(code) => Next::Key(count, KeyEvent::new(code, modifiers)),
        None => Next::Skip(count),
    }
}

/// `button;column;row`, counted from 1: xterm's SGR mouse reports. Buttons from 64 on are the wheel; 4, 8 and 16 are keys held
/// meanwhile, and 32 is a movement.
fn mouse(parameters: &[u8], pressed: bool) -> Option<MouseEvent> {
    let mut numbers = std::str::from_utf8(parameters).ok()?.split(';').map(|number| number.parse::<u16>().ok());
    let (button, column, row) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let kind = match (button & !0b1_1100, pressed) {
        (0, true) => MouseEventKind::Down(MouseButton::Left),
        (64, true) => MouseEventKind::ScrollUp,
        (65, true) => MouseEventKind::ScrollDown,
        _ => return None,
    };
    let (column, row) = (column.checked_sub(1)?, row.checked_sub(1)?);
    Some(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
}

fn by_letter(letter: u8) -> Option<KeyCode> {
    Some(match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'Z' => KeyCode::BackTab,
        b'M' => KeyCode::Enter,
        _ => return None,
    })
}

/// xterm counts modifiers from 1: shift 1, alt 2, control 4.
fn modifiers(parameter: u8) -> KeyModifiers {
    let bits = parameter.saturating_sub(1);
    let mut modifiers = KeyModifiers::NONE;
    modifiers.set(KeyModifiers::SHIFT, bits & 1 != 0);
    modifiers.set(KeyModifiers::ALT, bits & 2 != 0);
    modifiers.set(KeyModifiers::CONTROL, bits & 4 != 0);
    modifiers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> Vec<Input> {
        let mut parser = Parser::default();
        parser.feed(bytes);
        parser.time_is_up();
        parser.take().collect()
    }

    fn key(code: KeyCode) -> Input {
        Input::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn bytes_are_keys() {
        assert_eq!(parse(b"a\r"), [key(KeyCode::Char('a')), key(KeyCode::Enter)]);
        assert_eq!(parse("ß".as_bytes()), [key(KeyCode::Char('ß'))]);
        assert_eq!(parse(b"\x1b"), [key(KeyCode::Esc)]);
        assert_eq!(parse(b"\x1b[A\x1bOB"), [key(KeyCode::Up), key(KeyCode::Down)]);
        assert_eq!(parse(b"\x1b[5~\x1b[Z"), [key(KeyCode::PageUp), key(KeyCode::BackTab)]);
        assert_eq!(parse(b"\x03"), [Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL))]);
        assert_eq!(parse(b"\x1b[1;5C"), [Input::Key(KeyEvent::new(KeyCode::Right, KeyModifiers::CONTROL))]);
        assert_eq!(parse(b"\x1b[?1;2c\xffx"), [key(KeyCode::Char('x'))]);
    }

    #[test]
    fn a_key_behind_half_a_character_does_not_wait_for_another() {
        for half in [&b"\xe2"[..], b"\xc3", b"\xf0\x9f", b"\x1b\xe2"] {
            let mut parser = Parser::default();
            parser.feed(half);
            parser.feed(b"y");
            assert_eq!(parser.take().collect::<Vec<Input>>(), [key(KeyCode::Char('y'))], "{half:?}");
        }
    }

    #[test]
    fn esc_and_enter_at_once_are_two_keys() {
        assert_eq!(parse(b"\x1b\rx"), [key(KeyCode::Esc), key(KeyCode::Enter), key(KeyCode::Char('x'))]);
        assert_eq!(parse(b"\x1b\n"), [key(KeyCode::Esc), key(KeyCode::Enter)]);
    }

    #[test]
    fn what_a_terminal_sends_by_itself_presses_no_key() {
        let colour = "\x1b]11;rgb:1e1e/1e1e/1e1e";
        for sent in [
            format!("{colour}\x07"),
            format!("{colour}\x1b\\"),
            "\x1bP1$r0m\x1b\\".to_owned(),
            "\x1b_G\x1b\\".to_owned(),
        ] {
            for cut in 2..sent.len() {
                let mut parser = Parser::default();
                parser.feed(&sent.as_bytes()[..cut]);
                parser.feed(&sent.as_bytes()[cut..]);
                parser.feed(b"k");
                assert_eq!(parser.take().collect::<Vec<Input>>(), [key(KeyCode::Char('k'))], "{sent:?} cut at {cut}");
            }
        }
        // Half of it is nothing, and does not hold up what comes after a while.
        let mut parser = Parser::default();
        parser.feed(colour.as_bytes());
        assert_eq!(parser.waits(), Some(LONG_REST));
        parser.time_is_up();
        parser.feed(b"k");
        assert_eq!(parser.take().collect::<Vec<Input>>(), [key(KeyCode::Char('k'))]);
        assert_eq!(parse(b"\x1b[0nk\x1b[3n"), [Input::Answered, key(KeyCode::Char('k'))]);
    }

    #[test]
    fn what_comes_late_behind_its_esc_is_not_typed() {
        for (late, said) in [
            (&b"[200~y\ry\x1b[201~"[..], vec![key(KeyCode::Esc), Input::Paste("y\ry".to_owned())]),
            (b"[0n", vec![key(KeyCode::Esc), Input::Answered]),
            (b"[", vec![key(KeyCode::Esc), key(KeyCode::Char('['))]),
            (b"y", vec![key(KeyCode::Esc), key(KeyCode::Char('y'))]),
        ] {
            let mut parser = Parser::default();
            parser.feed(b"\x1b");
            assert_eq!(parser.waits(), Some(REST));
            parser.time_is_up();
            parser.feed(late);
            assert_eq!(parser.take().collect::<Vec<Input>>(), said, "{late:?}");
        }
        let mut parser = Parser::default();
        parser.feed(b"\x1b[20");
        parser.time_is_up();
        assert_eq!(parser.take().count(), 0, "half a sequence is no Esc");
    }

    #[test]
    fn ctrl_c_ends_a_paste_whose_end_was_lost() {
        let leave = Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(parse(b"\x1b[200~half of it"), []);
        let mut parser = Parser::default();
        parser.feed(b"\x1b[200~half of it");
        parser.feed(b"yy\x03\n");
        assert_eq!(parser.take().count(), 0, "it is a paste's");
        parser.feed(b"\x03");
        assert_eq!(parser.take().collect::<Vec<Input>>(), [leave]);
    }

    #[test]
    fn a_mouse_presses_no_key() {
        let event = |kind, column, row| Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
        assert_eq!(parse(b"\x1b[<0;11;301M"), [event(MouseEventKind::Down(MouseButton::Left), 10, 300)]);
        assert_eq!(parse(b"\x1b[<65;1;1M\x1b[<64;1;1M").len(), 2);
        assert_eq!(parse(b"\x1b[<0;11;3m\x1b[<2;1;1M\x1b[<35;4;4M\x1b[<0;0;1M\x1b[<;;Mx"), [key(KeyCode::Char('x'))]);
        assert_eq!(parse(b"\x1b[M yyx"), [key(KeyCode::Char('x'))]);
    }

    #[test]
    fn a_paste_is_one_thing_however_it_arrives() {
        let whole = b"\x1b[200~y\ny\x1b[201~k";
        for cut in 0..whole.len() {
            let mut parser = Parser::default();
            parser.feed(&whole[..cut]);
            parser.feed(&whole[cut..]);
            assert_eq!(
                parser.take().collect::<Vec<Input>>(),
                [Input::Paste("y\ny".to_owned()), key(KeyCode::Char('k'))],
                "cut at {cut}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut parser = Parser::default();
            for chunk in bytes.chunks(7) {
                parser.feed(chunk);
            }
            parser.time_is_up();
            prop_assert_eq!(parser.waits(), None);
        }
    }
}
