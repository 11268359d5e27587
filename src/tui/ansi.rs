//! A program's colours as the theme's own: what a line's colour sequences mean is kept, everything else that a terminal
//! would obey is taken out.

use super::text;

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Active,
    Dim,
    Strong,
}

impl Tone {
    /// The tone after the parameters of one sequence.
    fn after(self, parameters: &str) -> Self {
        let mut tone = self;
        for number in parameters.split([';', ':']) {
            tone = match number {
                "" | "0" | "37" | "39" | "97" => Self::Plain,
                "1" if tone == Self::Plain => Self::Strong,
                "2" | "90" => Self::Dim,
                "31" | "91" => Self::Bad,
                "32" | "92" => Self::Good,
                "33" | "93" => Self::Warning,
                "34" | "35" | "36" | "94" | "95" | "96" => Self::Active,
                // The numbers behind these are of one of many colours, which no theme has.
                "38" | "48" | "58" => return tone,
                _ => tone,
            };
        }
        tone
    }
}

/// The line without anything that a terminal obeys, and from which byte on which tone holds.
pub(super) fn read(line: &str) -> (String, Vec<(usize, Tone)>) {
    if !line.contains('\u{1b}') {
        return (text::clean(line).into_owned(), Vec::new());
    }
    let (mut words, mut tones, mut tone) = (String::new(), Vec::new(), Tone::Plain);
    let mut rest = line;
    let mut looked = 0;
    while let Some(at) = rest.get(looked..).and_then(|more| more.find("\u{1b}[")).map(|at| looked + at) {
        looked = at + 2;
        let body = rest.get(looked..).unwrap_or_default();
        let end = body.find(|c: char| !matches!(c, '0'..='9' | ';' | ':')).unwrap_or(body.len());
        let (parameters, after) = body.split_at(end);
        let Some(after) = after.strip_prefix('m') else { continue };
        words.push_str(&text::clean(rest.get(..at).unwrap_or_default()));
        let next = tone.after(parameters);
        if next != tone {
            tone = next;
            tones.push((words.len(), tone));
        }
        rest = after;
        looked = 0;
    }
    words.push_str(&text::clean(rest));
    (words, tones)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_are_kept_as_tones_and_nothing_else_is() {
        let (words, tones) =
            read("a \u{1b}[1;31merror:\u{1b}[0m \u{1b}[2Kcut \u{1b}[38;5;12mb\u{1b}]0;x\u{1b}[32m\u{7}ok");
        assert_eq!(words, "a error: cut bok");
        assert_eq!(tones, [(2, Tone::Bad), (8, Tone::Plain), (14, Tone::Good)]);
        assert_eq!(read("plain\u{8}"), ("plain".to_owned(), Vec::new()));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_clean_and_its_tones_lie_in_it(line in "(\u{1b}\\[[0-9;]{0,5}m|\u{1b}.|\\PC|.){0,40}") {
            let (words, tones) = read(&line);
            prop_assert!(words.chars().all(|c| !c.is_control()));
            prop_assert!(tones.iter().all(|(at, _)| words.is_char_boundary(*at)));
        }
    }
}
