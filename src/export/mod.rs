//! The incident, for people who were not there: plain text for PagerDuty, Slack's mrkdwn, a report in Markdown and as a page
//! of HTML, JSON for machines.
//!
//! Everything is derived from [`State`]; nothing is asked of anybody, so an export of a closed incident is the
//! same for ever. Words that came from outside hold no order to a terminal and no markup in any of them.

mod chart;
mod handover;
mod html;
mod json;
mod markdown;
mod pagerduty;
mod parts;
mod report;
mod slack;

pub use chart::{PhaseTime, phase_times};
pub use handover::handover;
pub use parts::LEAST;

use crate::incident::{IncidentId, Seal, State};
use crate::plain;

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Plain text, UTC, cut into parts that fit a PagerDuty note.
    PagerDuty,
    /// Slack's mrkdwn, cut into parts that fit a message.
    Slack,
    /// A report in Markdown.
    Markdown,
    /// One JSON object.
    Json,
    /// The report as a page that needs nothing else.
    Html,
}

impl Format {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::PagerDuty, Self::Slack, Self::Markdown, Self::Json, Self::Html];

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PagerDuty => "PagerDuty",
            Self::Slack => "Slack",
            Self::Markdown => "Markdown",
            Self::Json => "JSON",
            Self::Html => "HTML",
        }
    }

    /// The most bytes of a part where nobody says otherwise; none where it is one piece.
    ///
    /// PagerDuty documents no longest note, and this is well below what its editor takes. Slack wants 4,000 characters.
    #[must_use]
    pub fn usual_size(self) -> Option<usize> {
        match self {
            Self::PagerDuty => Some(20_000),
            Self::Slack => Some(4_000),
            Self::Markdown | Self::Json | Self::Html => None,
        }
    }

    /// The name of a file in this form.
    #[must_use]
    pub fn file_name(self, id: &IncidentId) -> String {
        match self {
            Self::PagerDuty => format!("{id}-pagerduty.txt"),
            Self::Slack => format!("{id}-slack.txt"),
            Self::Markdown => format!("{id}-report.md"),
            Self::Json => format!("{id}.json"),
            Self::Html => format!("{id}-report.html"),
        }
    }
}

/// Writes an incident in one form, in parts of at most `most` bytes where the form has parts. It carries the seal of the
/// journal that it was made from, where that is known, so that later edits of the journal show.
#[must_use]
pub fn parts(state: &State, format: Format, most: Option<usize>, seal: Option<&Seal>) -> Vec<String> {
    let most = most.or(format.usual_size()).unwrap_or(usize::MAX);
    match format {
        Format::PagerDuty => pagerduty::parts(state, most, seal),
        Format::Slack => slack::parts(state, most, seal),
        Format::Markdown => vec![markdown::report(state, seal)],
        Format::Json => vec![json::report(state, seal)],
        Format::Html => vec![html::report(state, seal)],
    }
}

/// All parts as one text, as a file holds them.
#[must_use]
pub fn joined(parts: &[String]) -> String {
    let mut text = parts.join("\n\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Writes an incident in one form, as one text.
#[must_use]
pub fn export(state: &State, format: Format, seal: Option<&Seal>) -> String {
    joined(&parts(state, format, None, seal))
}

/// Words in one line that is no order to anybody's terminal.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.split(['\n', '\r']).map(plain::clean).filter(|line| !line.trim().is_empty()).collect();
    lines.join(" / ")
}
