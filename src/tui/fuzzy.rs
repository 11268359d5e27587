//! Fuzzy search by nucleo: words in any order, letters with gaps; `'whole`, `^begin`, `end$` and `!not` as in fzf.

use std::ops::Range;

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// What is searched for.
#[derive(Debug)]
pub(super) struct Fuzzy {
    pattern: Pattern,
    matcher: Matcher,
    letters: Vec<char>,
}

impl Fuzzy {
    pub(super) fn new(needle: &str) -> Self {
        Self {
            pattern: Pattern::parse(needle, CaseMatching::Smart, Normalization::Smart),
            matcher: Matcher::new(Config::DEFAULT),
            letters: Vec::new(),
        }
    }

    /// How well a text matches; none where it does not.
    pub(super) fn score(&mut self, text: &str) -> Option<u32> {
        self.pattern.score(Utf32Str::new(text, &mut self.letters), &mut self.matcher)
    }

    /// Where the letters of a match are, as stretches of the text's bytes; nothing where it does not match.
    pub(super) fn places(&mut self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.pattern.indices(Utf32Str::new(text, &mut self.letters), &mut self.matcher, &mut found).is_none() {
            return Vec::new();
        }
        found.sort_unstable();
        found.dedup();
        let mut found = found.into_iter().peekable();
        let mut places: Vec<Range<usize>> = Vec::new();
        for (number, (at, letter)) in (0_u32..).zip(text.char_indices()) {
            if found.next_if_eq(&number).is_none() {
                continue;
            }
            let end = at + letter.len_utf8();
            match places.last_mut() {
                Some(last) if last.end == at => last.end = end,
                _ => places.push(at..end),
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_match_with_gaps_and_words_in_any_order() {
        let mut fuzzy = Fuzzy::new("log prog");
        assert!(fuzzy.score("program log").is_some() && fuzzy.score("program").is_none());
        assert_eq!(fuzzy.places("program log"), [0..4, 8..11]);
        let mut fuzzy = Fuzzy::new("取先");
        assert_eq!(fuzzy.places("取引先"), [0..3, 6..9]);
        assert!(fuzzy.places("引").is_empty());
        assert!(Fuzzy::new("").score("anything").is_some(), "nothing to search for leaves everything");
    }
}
