//! Words from outside, made safe to be printed: nothing in them is an order to a terminal any more.

use std::borrow::Cow;

/// One line without escape sequences, control bytes and characters that turn the writing direction.
/// Tabs and line ends become spaces.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(harmless) {
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

#[cfg(test)]
mod tests {
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
}
