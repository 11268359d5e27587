//! The timeline, for people who were not there: plain text for PagerDuty, Markdown for the report, JSON for machines.
//!
//! Everything is derived from [`State`]; nothing is asked of anybody, so an export of a closed incident is the
//! same for ever.

mod handover;
mod json;
mod markdown;
mod pagerduty;

pub use handover::handover;

use crate::incident::{Seal, State};
use crate::plain;

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Plain text, UTC, cut into parts that fit a PagerDuty note.
    PagerDuty,
    /// A report in Markdown.
    Markdown,
    /// One JSON object.
    Json,
}

impl Format {
    /// The ending of a file in this form.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::PagerDuty => "txt",
            Self::Markdown => "md",
            Self::Json => "json",
        }
    }
}

/// Writes an incident in one form. It carries the seal of the journal that it was made from, where that is known, so that
/// later edits of the journal show.
#[must_use]
pub fn export(state: &State, format: Format, seal: Option<&Seal>) -> String {
    // Somebody will look at it in a terminal, whatever it was written for.
    match format {
        Format::PagerDuty => {
            plain::lines(&pagerduty::parts(state, pagerduty::NOTE_BYTES, seal).join("\n\n")).into_owned()
        }
        Format::Markdown => plain::lines(&markdown::report(state, seal)).into_owned(),
        Format::Json => plain::json(&json::report(state, seal)).into_owned(),
    }
}
