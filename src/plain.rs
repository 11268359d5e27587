//! Text from outside as a terminal may have it: children's output, names of objects, what servers answer, what people
//! wrote. A terminal obeys escape sequences wherever they come from, so none of theirs gets through.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One line without escape sequences, control bytes and characters that turn the writing direction.
/// Tabs and line ends become spaces.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if is_plain(text) || text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            // The one-byte forms of the same introducers.
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\t' => clean.push_str("    "),
            '\n' | '\r' => clean.push(' '),
            c if harmless(c) => clean.push(c),
            _ => {}
        }
    }
    Cow::Owned(clean)
}

/// Printable ASCII and nothing else, as nearly every text is: each byte is a character and takes a column.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Printable, and neither invisible nor able to reorder what stands beside it.
fn harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(rest: &mut Rest<'_>) {
    match rest.next() {
        Some('[') => skip_control_sequence(rest),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        // Intermediate bytes (`ESC ( B`) end with one final byte.
        Some(' '..='/') => while rest.next().is_some_and(|c| matches!(c, ' '..='/')) {},
        _ => {}
    }
}

fn skip_control_sequence(rest: &mut Rest<'_>) {
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

fn skip_string(rest: &mut Rest<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Text of several lines, each [`clean`]; line ends and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| matches!(c, '\n' | '\t') || harmless(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (words, end) = line.strip_suffix('\n').map_or((line, ""), |words| (words, "\n"));
        // A return before a line end is a part of it.
        let words = words.strip_suffix('\r').unwrap_or(words);
        for (at, part) in words.split('\t').enumerate() {
            if at > 0 {
                out.push('\t');
            }
            out.push_str(&clean(part));
        }
        out.push_str(end);
    }
    Cow::Owned(out)
}

/// JSON with nothing in it that a terminal obeys. Nothing is lost: such characters stand in strings only, where an escape
/// of JSON says the same.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c == '\n' || harmless(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || harmless(c) {
            out.push(c);
        } else {
            // Everything harmful is one unit of UTF-16. Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_control_bytes_are_taken_out() {
        for (raw, safe) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;aGk=\u{1b}\\after", "after"),
            ("\u{1b}P1$r\u{9c}x", "x"),
            ("\u{9b}2Jx", "x"),
            ("a\tb", "a    b"),
            ("a\rb\u{8}\u{7}", "a b"),
            ("\u{202e}evil", "evil"),
            ("\u{1b}(Bx", "x"),
            ("cut \u{1b}[", "cut "),
            ("cut \u{1b}", "cut "),
        ] {
            assert_eq!(clean(raw), safe, "{raw:?}");
        }
    }

    #[test]
    fn lines_and_tabs_stay() {
        assert_eq!(lines("a\tb\r\n\u{1b}[2Jc\n\n"), "a\tb\nc\n\n");
        assert_eq!(lines("\u{1b}]0;never\u{9c}ended\u{1b}]0;\nnext"), "ended\nnext");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_harmless(text in any::<String>()) {
            prop_assert!(clean(&text).chars().all(harmless));
            prop_assert!(lines(&text).chars().all(|c| matches!(c, '\n' | '\t') || harmless(c)));
            let written = serde_json::to_string(&text).expect("JSON");
            let safe = json(&written);
            prop_assert!(safe.chars().all(harmless));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON still"), text);
        }
    }
}
