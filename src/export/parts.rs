//! A text in parts of at most so many bytes, cut at line ends, each with a heading that says which part it is. Nothing is left
//! out: a line that is longer than a part goes on in the next ones.

/// The fewest bytes that a part may have: a heading and a line with something in it.
pub const LEAST: usize = 300;
/// Bytes that a heading has for what it is about.
pub(super) const ABOUT: usize = 120;
/// Bytes that a line has for what stands behind its words.
pub(super) const REMARKS: usize = 60;

/// What a line begins with that goes on with the one before.
const ON: &str = "  … ";

/// A line of which only the middle may be longer than fits.
pub(super) struct Entry {
    pub(super) before: String,
    pub(super) text: String,
    pub(super) after: String,
}

impl Entry {
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { before: String::new(), text: text.into(), after: String::new() }
    }
}

/// How a receiver wants single characters written.
pub(super) type Write = fn(char) -> Option<&'static str>;

/// The lines in parts. `heading` is given the words that say which part it is, or none.
pub(super) fn parts(heading: impl Fn(&str) -> String, entries: &[Entry], most: usize, write: Write) -> Vec<String> {
    let most = most.max(LEAST);
    // Room for the heading with four-digit part numbers.
    let room = most.saturating_sub(heading(", part 9999/9999").len() + 1);
    let mut bodies: Vec<String> = vec![String::new()];
    for entry in entries {
        for line in lines(entry, room, write) {
            let full = bodies.last().is_some_and(|body| !body.is_empty() && body.len() + 1 + line.len() > room);
            if full {
                bodies.push(String::new());
            }
            if let Some(body) = bodies.last_mut() {
                if !body.is_empty() {
                    body.push('\n');
                }
                body.push_str(&line);
            }
        }
    }
    let count = bodies.len();
    let part = |at: usize| if count > 1 { format!(", part {}/{count}", at + 1) } else { String::new() };
    bodies.into_iter().enumerate().map(|(at, body)| format!("{}\n{body}", heading(&part(at)))).collect()
}

/// The entry on one line, or on as many as its text takes.
fn lines(entry: &Entry, room: usize, write: Write) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = entry.before.clone();
    let mut next = |line: &mut String, taken: usize| {
        if line.len() + taken > room {
            lines.push(std::mem::replace(line, ON.to_owned()));
        }
    };
    for c in entry.text.chars() {
        let words = write(c).map_or_else(|| c.to_string(), str::to_owned);
        next(&mut line, words.len());
        line.push_str(&words);
    }
    next(&mut line, entry.after.len());
    line.push_str(&entry.after);
    lines.push(line);
    lines
}

/// The text as its receiver wants it, cut between characters where it takes more than `room` bytes.
pub(super) fn written(text: &str, room: usize, write: Write) -> String {
    const CUT: char = '…';
    let mut out = String::with_capacity(text.len());
    // The longest beginning after which the mark still fits.
    let mut end = 0;
    for c in text.chars() {
        match write(c) {
            Some(words) => out.push_str(words),
            None => out.push(c),
        }
        if out.len() > room {
            out.truncate(end);
            out.push(CUT);
            return out;
        }
        if out.len() + CUT.len_utf8() <= room {
            end = out.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entity(c: char) -> Option<&'static str> {
        (c == '&').then_some("&amp;")
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_never_within_an_entity() {
        assert_eq!(written("ab", 2, entity), "ab");
        assert_eq!(written("abcdef", 5, entity), "ab…");
        assert_eq!(written("ä&ä", 8, entity), "ä…");
        assert_eq!(written("ä&ä", 9, entity), "ä&amp;ä");
    }

    #[test]
    fn a_line_longer_than_a_part_goes_on_and_loses_nothing() {
        let entry =
            |text: &str| Entry { before: "12:00 ".to_owned(), text: text.to_owned(), after: " (ana)".to_owned() };
        assert_eq!(lines(&entry("a long story"), 40, entity), ["12:00 a long story (ana)"]);
        assert_eq!(lines(&entry("a long story"), 20, entity), ["12:00 a long story", "  …  (ana)"]);
        let text = "ä & 数 ".repeat(300);
        let parts = parts(|part| format!("Heading{part}"), &[entry(&text)], 0, entity);
        assert!(parts.len() > 5 && parts.iter().all(|part| part.len() <= LEAST));
        let body: String =
            parts.iter().flat_map(|part| part.lines().skip(1)).map(|line| line.trim_start_matches(ON)).collect();
        assert_eq!(body, format!("12:00 {} (ana)", text.replace('&', "&amp;")));
    }

    proptest! {
        #[test]
        fn parts_hold_every_line_in_order_and_none_is_too_long(
            lines in prop::collection::vec("[a-zä数&][a-zä数& ]{0,39}", 1..60),
            most in 0_usize..2_000,
        ) {
            let entries: Vec<Entry> = lines.iter().map(Entry::of).collect();
            let parts = parts(|part| format!("Heading{part}"), &entries, most, entity);
            let count = parts.len();
            let mut body = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                prop_assert!(part.len() <= most.max(LEAST), "{} bytes", part.len());
                let (heading, rest) = part.split_once('\n').expect("a heading");
                let said = if count > 1 { format!("Heading, part {}/{count}", at + 1) } else { "Heading".to_owned() };
                prop_assert_eq!(heading, said);
                body.extend(rest.split('\n').map(str::to_owned));
            }
            let wanted: Vec<String> = lines.iter().map(|line| line.replace('&', "&amp;")).collect();
            prop_assert_eq!(body, wanted);
        }
    }
}
