//! The five looks: which colours each one has, and which of them a terminal gets.
//!
//! Colours beyond the sixteen are of xterm's fixed 256, which every terminal draws alike; `tests/contrast.rs` of the
//! cockpit measures them.

use ratatui::style::{Color, Modifier, Style};

/// A set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// For dark backgrounds; its colours are of middling brightness, so that they can be made out on a light one too.
    Dark,
    /// For light backgrounds.
    Light,
    /// White on black throughout, whatever the terminal's own colours are; nothing is dimmed.
    HighContrast,
    /// The terminal's own sixteen colours.
    Sixteen,
    /// No colour at all.
    None,
}

/// The styles of a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tints {
    /// What a cell has that nothing else was said about.
    pub(super) base: Style,
    pub(super) good: Style,
    pub(super) warning: Style,
    pub(super) bad: Style,
    pub(super) active: Style,
    pub(super) dim: Style,
    pub(super) found: Style,
    pub(super) live: Style,
    pub(super) drill: Style,
}

const fn ink(colour: Color) -> Style {
    Style::new().fg(colour)
}

const fn indexed(colour: u8) -> Style {
    ink(Color::Indexed(colour))
}

const fn plate(ground: u8, ink: u8) -> Style {
    indexed(ink).bg(Color::Indexed(ground))
}

const BLACK: u8 = 16;
const WHITE: u8 = 231;

const DARK: Tints = Tints {
    base: Style::new(),
    good: indexed(34),
    warning: indexed(136),
    bad: indexed(203),
    active: indexed(37),
    dim: indexed(246),
    found: plate(178, BLACK),
    live: plate(160, WHITE),
    drill: plate(44, BLACK),
};

const LIGHT: Tints = Tints {
    base: Style::new(),
    good: indexed(22),
    warning: indexed(94),
    bad: indexed(124),
    active: indexed(24),
    dim: indexed(240),
    found: plate(220, BLACK),
    live: plate(124, WHITE),
    drill: plate(24, WHITE),
};

const HIGH_CONTRAST: Tints = Tints {
    base: plate(BLACK, WHITE),
    good: indexed(46),
    warning: indexed(226),
    bad: indexed(210),
    active: indexed(51),
    dim: Style::new(),
    found: plate(226, BLACK),
    live: plate(88, WHITE),
    drill: plate(51, BLACK),
};

const SIXTEEN: Tints = Tints {
    base: Style::new(),
    good: ink(Color::Green),
    warning: ink(Color::Yellow),
    bad: ink(Color::Red),
    active: ink(Color::Cyan),
    dim: Style::new().add_modifier(Modifier::DIM),
    found: ink(Color::Black).bg(Color::Yellow),
    live: ink(Color::White).bg(Color::Red),
    drill: ink(Color::Black).bg(Color::Cyan),
};

const NONE: Tints = Tints {
    base: Style::new(),
    good: Style::new(),
    warning: Style::new(),
    bad: Style::new(),
    active: Style::new(),
    dim: Style::new().add_modifier(Modifier::DIM),
    found: Style::new().add_modifier(Modifier::REVERSED.union(Modifier::BOLD)),
    live: Style::new().add_modifier(Modifier::REVERSED),
    drill: Style::new().add_modifier(Modifier::UNDERLINED),
};

impl Look {
    /// Every look.
    #[cfg(test)]
    pub(in crate::tui) const ALL: [Self; 5] = [Self::Dark, Self::Light, Self::HighContrast, Self::Sixteen, Self::None];

    pub(super) const fn tints(self) -> &'static Tints {
        match self {
            Self::Dark => &DARK,
            Self::Light => &LIGHT,
            Self::HighContrast => &HIGH_CONTRAST,
            Self::Sixteen => &SIXTEEN,
            Self::None => &NONE,
        }
    }

    /// The look for a terminal. `NO_COLOR` and `TERM=dumb` speak for whoever sits there and hold against every config;
    /// then comes what the config says, then what the terminal tells of itself.
    pub(super) fn choose(wanted: Option<Self>, set: impl Fn(&str) -> Option<String>) -> Self {
        let term = set("TERM").unwrap_or_default();
        if set("NO_COLOR").is_some() || term == "dumb" {
            return Self::None;
        }
        if let Some(wanted) = wanted {
            return wanted;
        }
        let many = set("COLORTERM").is_some_and(|colours| colours == "truecolor" || colours == "24bit")
            || term.contains("256color")
            || term.contains("direct");
        // `15;0`: foreground and background among the sixteen, as rxvt, Konsole and others set it.
        let ground = set("COLORFGBG").and_then(|both| both.rsplit(';').next()?.parse::<u8>().ok());
        match ground {
            _ if !many => Self::Sixteen,
            Some(7 | 15) => Self::Light,
            _ => Self::Dark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: Option<Look>, pairs: &[(&str, &str)]) -> Look {
        Look::choose(wanted, |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_terminal_tells_what_it_can() {
        assert_eq!(chosen(None, &[]), Look::Sixteen);
        assert_eq!(chosen(None, &[("TERM", "linux")]), Look::Sixteen);
        assert_eq!(chosen(None, &[("TERM", "screen-256color")]), Look::Dark);
        assert_eq!(chosen(None, &[("TERM", "xterm"), ("COLORTERM", "truecolor")]), Look::Dark);
        assert_eq!(chosen(None, &[("TERM", "rxvt-256color"), ("COLORFGBG", "0;default;15")]), Look::Light);
        assert_eq!(chosen(None, &[("TERM", "rxvt-256color"), ("COLORFGBG", "15;0")]), Look::Dark);
        assert_eq!(chosen(None, &[("TERM", "rxvt"), ("COLORFGBG", "0;15")]), Look::Sixteen);
    }

    #[test]
    fn the_config_decides_unless_colours_are_unwanted() {
        for look in Look::ALL {
            assert_eq!(chosen(Some(look), &[("TERM", "xterm")]), look);
            assert_eq!(chosen(Some(look), &[("TERM", "xterm"), ("NO_COLOR", "1")]), Look::None);
            assert_eq!(chosen(Some(look), &[("TERM", "dumb")]), Look::None);
        }
    }
}
