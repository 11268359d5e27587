//! A journal's end at one moment, small enough to be written down elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits of a digest that a note carries: 64 bits. Nobody finds another journal with the same.
const SHORT: usize = 16;
/// Digits of a whole digest.
const WHOLE: usize = 64;

/// The number of a journal's last event, and the digest of its line, or the beginning of that. Whoever has one can tell
/// later that nothing up to there was changed, dropped or added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The event's number.
    pub seq: u64,
    /// SHA-256 of its line, in hexadecimal digits: all of them, or the first sixteen.
    pub head: String,
}

/// Text that is no seal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no seal: it reads like 412:3f9a2c1b7d0e4455, as notes in PagerDuty and exports carry it")]
pub struct SealError(String);

impl Seal {
    /// The form that notes carry.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}:{}", self.seq, self.head.get(..SHORT).unwrap_or(&self.head))
    }

    /// Whether the line of event [`Seal::seq`] with this digest is the one that was sealed.
    #[must_use]
    pub fn holds(&self, digest: &str) -> bool {
        digest.starts_with(&self.head)
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.head)
    }
}

impl FromStr for Seal {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || SealError(text.to_owned());
        let (seq, head) = text.trim().split_once(':').ok_or_else(fault)?;
        let seq = seq.parse().ok().filter(|seq| *seq > 0).ok_or_else(fault)?;
        let fits = (SHORT..=WHOLE).contains(&head.len());
        if fits && head.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
            Ok(Self { seq, head: head.to_owned() })
        } else {
            Err(fault())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_read_as_it_is_written() {
        let seal = Seal { seq: 412, head: "3f9a2c1b7d0e4455".repeat(4) };
        assert_eq!(seal.to_string().parse(), Ok(seal.clone()));
        let short: Seal = seal.short().parse().expect("a seal");
        assert_eq!(short.to_string(), "412:3f9a2c1b7d0e4455");
        assert!(short.holds(&seal.head) && !short.holds(&"0".repeat(64)));
        for text in ["", "412", "0:3f9a2c1b7d0e4455", "412:3f9a", "412:3F9A2C1B7D0E4455", "x:3f9a2c1b7d0e4455"] {
            assert!(text.parse::<Seal>().is_err(), "{text}");
        }
    }
}
