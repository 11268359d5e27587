//! Colours and glyphs, in one place. Every state has a glyph; colour only repeats what it says.

mod look;

pub use look::Look;

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

use crate::incident::{Gravity, Level, Sending, StepStatus};

/// How the cockpit looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    look: Look,
    ascii: bool,
    /// Words in the place of glyphs that mean something, for whoever is read to.
    words: bool,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// With these colours, with or without characters beyond ASCII.
    #[must_use]
    pub fn new(look: Look, ascii: bool) -> Self {
        Self { look, ascii, words: false }
    }

    /// For lines that are read out: no colours, and words in the place of glyphs.
    pub(super) fn in_words() -> Self {
        Self { look: Look::None, ascii: true, words: true }
    }

    /// As config and environment ask: `NO_COLOR`, `TERM`, `COLORTERM`, `COLORFGBG`, and the locale (`LC_ALL`, `LC_CTYPE`,
    /// `LANG`).
    #[must_use]
    pub fn from_environment(look: Option<Look>, ascii: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        Self::new(Look::choose(look, set), ascii || dumb || !utf8)
    }

    fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    fn name(self, word: &'static str, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.words { word } else { self.pick(unicode, ascii) }
    }

    /// What a cell has that nothing else was said about.
    pub(super) fn base(self) -> Style {
        self.look.tints().base
    }

    pub(super) fn good(self) -> Style {
        self.look.tints().good
    }

    pub(super) fn warning(self) -> Style {
        self.look.tints().warning
    }

    pub(super) fn bad(self) -> Style {
        self.look.tints().bad.add_modifier(Modifier::BOLD)
    }

    pub(super) fn active(self) -> Style {
        self.look.tints().active
    }

    pub(super) fn dim(self) -> Style {
        self.look.tints().dim
    }

    /// What lies under a card.
    pub(super) fn behind(self) -> Style {
        let dim = self.dim();
        // An ink of its own would not be seen on every plate.
        if dim.fg.is_some() { dim.bg(Color::Reset) } else { dim }
    }

    #[expect(clippy::unused_self, reason = "every style of the theme is asked for in the same way")]
    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn key(self) -> Style {
        self.active().add_modifier(Modifier::BOLD)
    }

    #[expect(clippy::unused_self, reason = "every style of the theme is asked for in the same way")]
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn found(self) -> Style {
        self.look.tints().found
    }

    /// A letter that a search by letters has found.
    pub(super) fn letter(self) -> Style {
        self.active().add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED))
    }

    /// The plate of an environment where mistakes are real.
    pub(super) fn live(self) -> Style {
        self.look.tints().live.add_modifier(Modifier::BOLD)
    }

    /// The plate of a drill.
    pub(super) fn drill(self) -> Style {
        self.look.tints().drill.add_modifier(Modifier::BOLD)
    }

    /// The plate of an environment: production is like nothing else, and what is neither that nor a drill like neither.
    pub(super) fn plate(self, environment: &str) -> Style {
        let name = environment.to_lowercase();
        match name.as_str() {
            "drill" => self.drill(),
            name if name.contains("prod") || name.contains("live") => self.live(),
            _ => self.warning().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        }
    }

    /// Lines are read out, and what is typed is one.
    pub(super) fn is_read_out(self) -> bool {
        self.words
    }

    /// Nothing beyond ASCII is drawn.
    pub(super) fn is_ascii(self) -> bool {
        self.ascii
    }

    pub(super) fn border(self) -> border::Set<'static> {
        if self.ascii { ASCII_BORDER } else { border::PLAIN }
    }

    pub(super) fn ellipsis(self) -> &'static str {
        self.pick("…", "~")
    }

    pub(super) fn dash(self) -> &'static str {
        self.pick("–", "-")
    }

    pub(super) fn rule(self) -> &'static str {
        self.pick("─", "-")
    }

    pub(super) fn bullet(self) -> &'static str {
        self.pick("•", "*")
    }

    pub(super) fn dot(self) -> &'static str {
        self.pick("·", "-")
    }

    pub(super) fn proposed(self) -> &'static str {
        self.pick("●", "*")
    }

    pub(super) fn chosen(self) -> &'static str {
        self.pick("◆", "#")
    }

    pub(super) fn refused(self) -> &'static str {
        self.pick("✗", "!")
    }

    pub(super) fn cursor(self) -> &'static str {
        self.name("selected:", "›", ">")
    }

    pub(super) fn more(self) -> &'static str {
        self.pick("↓ more", "v more")
    }

    pub(super) fn folded(self, folded: bool) -> &'static str {
        if folded { self.pick("▸", "+") } else { self.pick("▾", "-") }
    }

    pub(super) fn engine(self, there: bool) -> &'static str {
        if there { self.name("attached", "●", "*") } else { self.name("not attached,", "○", "o") }
    }

    /// Full and empty cell of a bar.
    pub(super) fn bar(self) -> (&'static str, &'static str) {
        if self.ascii { ("#", ".") } else { ("█", "░") }
    }

    /// Eight heights, lowest first.
    pub(super) fn heights(self) -> [&'static str; 8] {
        if self.ascii {
            ["_", ".", "-", "~", "=", "+", "*", "#"]
        } else {
            ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
        }
    }

    /// A step's glyph and its style. `ready` tells pending steps that can be begun from those that wait.
    pub(super) fn step(self, status: &StepStatus, ready: bool) -> (&'static str, Style) {
        match status {
            StepStatus::Pending if ready => (self.name("open:", "○", "o"), Style::new()),
            StepStatus::Pending => (self.name("waits:", "·", "."), self.dim()),
            StepStatus::Running(_) => (self.name("at work:", "▶", ">"), self.active()),
            StepStatus::Succeeded(_) => (self.name("done:", "✓", "v"), self.good()),
            StepStatus::Failed(_) => (self.name("failed:", "✗", "!"), self.bad()),
            StepStatus::Stopped(_) => (self.name("stopped:", "■", "#"), self.warning()),
            StepStatus::InDoubt(_) => (self.name("in doubt:", "?", "?"), self.warning().add_modifier(Modifier::BOLD)),
            StepStatus::Skipped(_) => (self.name("skipped:", "–", "-"), self.dim()),
            StepStatus::DoneByHand(_) => (self.name("by hand:", "✎", "h"), self.good()),
        }
    }

    /// A finding's glyph and style.
    pub(super) fn gravity(self, gravity: Gravity) -> (&'static str, Style) {
        match gravity {
            Gravity::Good => (self.name("good:", "✓", "v"), self.good()),
            Gravity::Warning => (self.name("warning:", "▲", "^"), self.warning()),
            Gravity::Blocking => (self.name("bad:", "✗", "!"), self.bad()),
        }
    }

    /// How far a message got: its glyph and style.
    pub(super) fn sending(self, how: Sending) -> (&'static str, Style) {
        match how {
            Sending::Sent => (self.pick("✓", "v"), self.dim()),
            Sending::Planned => (self.pick("·", "."), self.dim()),
            Sending::Unsent => (self.pick("○", "o"), self.warning()),
            Sending::InDoubt => ("?", self.warning().add_modifier(Modifier::BOLD)),
            Sending::Failed => (self.pick("✗", "!"), self.bad()),
        }
    }

    /// A timeline entry's glyph and style.
    pub(super) fn level(self, level: Level) -> (&'static str, Style) {
        match level {
            Level::Normal => (" ", Style::new()),
            Level::Note => (self.pick("✎", "\""), self.active()),
            Level::Warning => (self.pick("▲", "^"), self.warning()),
            Level::Failure => (self.pick("✗", "!"), self.bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides() {
        let with = |pairs: &'static [(&str, &str)]| {
            Theme::from_environment(None, false, |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[("LANG", "en_US.UTF-8")]), Theme::new(Look::Sixteen, false));
        assert_eq!(with(&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")]), Theme::new(Look::Sixteen, true));
        assert_eq!(with(&[("LC_CTYPE", "C.utf8"), ("NO_COLOR", "1")]), Theme::new(Look::None, false));
        assert_eq!(with(&[("LC_CTYPE", "C.utf8"), ("NO_COLOR", "")]), Theme::new(Look::Sixteen, false));
        assert_eq!(with(&[("LC_CTYPE", "C.utf8"), ("TERM", "dumb")]), Theme::new(Look::None, true));
        assert_eq!(with(&[]), Theme::new(Look::Sixteen, true));
    }
}
