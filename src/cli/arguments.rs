//! What can be written behind `relight`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::export::Format;
use crate::incident::{IncidentId, Seal};

/// Bring a service back after data loss: a runbook with a keyboard approval for each step.
///
/// Without a command: attaches to the open incident, or starts one.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Targets and credentials. Default: $XDG_CONFIG_HOME/relight/config.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The procedure. Default: the built-in backup and restore
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) runbook: Option<PathBuf>,
    /// Where incidents are kept. Default: the config's state_dir, else $XDG_STATE_HOME/relight
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) state_dir: Option<PathBuf>,
    /// Let members of this unix group attach; `people` in the config says who of them may act
    #[arg(long, global = true, value_name = "GROUP")]
    pub(super) share_group: Option<String>,
    /// Draw with ASCII characters only
    #[arg(long, global = true)]
    pub(super) ascii: bool,
    /// Lines and prompts, no full screen: for screen readers. By itself where TERM is dumb or not set
    #[arg(long, global = true)]
    pub(super) plain: bool,
    /// Only look: start no incident and no engine, and let the engine refuse whatever would act
    #[arg(long, global = true)]
    pub(super) read_only: bool,
}

impl Common {
    /// Whether the incident is told in lines: as was said, or because this terminal cannot show a full screen.
    pub(super) fn in_lines(&self) -> bool {
        self.plain || std::env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb")
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Start a new incident and open the cockpit
    Start,
    /// Open the cockpit on an incident that is under way
    Attach {
        /// The incident; may be left out when only one is open
        id: Option<IncidentId>,
    },
    /// Look on at an incident; nothing can be done in it from there
    Watch {
        /// The incident; may be left out when only one is open
        id: Option<IncidentId>,
    },
    /// Write down how an incident stands for whoever takes over, or take it over
    Handover {
        /// The incident; may be left out when only one is open
        id: Option<IncidentId>,
        /// Read the page that waits, and take the incident over
        #[arg(long)]
        take: bool,
        /// Say yes to the question whether you take over, which the page's digest answers: relight handover prints it
        #[arg(long, requires = "take", value_name = "DIGEST")]
        confirm: Option<String>,
    },
    /// Rehearse on a real, damaged database of its own
    Drill(DrillOptions),
    /// Restore a real snapshot beside the live database, prove it, measure it, and throw it away
    Rehearse(RehearseOptions),
    /// List incidents
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Closed ones too
        #[arg(long)]
        all: bool,
    },
    /// Write an incident's timeline, or the report about it
    Export {
        /// The incident
        id: IncidentId,
        /// The form
        #[arg(long, value_enum, default_value_t = ExportFormat::Pagerduty)]
        format: ExportFormat,
        /// Cut into parts of at most this many bytes, at line ends; for PagerDuty and Slack
        #[arg(long, value_name = "BYTES")]
        size: Option<usize>,
        /// Into this file, not to standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Prove an incident's journal and print who approved what
    Audit {
        /// The incident
        id: IncidentId,
        /// Print only the seal: the journal's last event and its digest, to keep elsewhere
        #[arg(long)]
        seal: bool,
        /// Prove that the journal still holds what was sealed, such as 412:3f9a2c1b7d0e4455 of a note in PagerDuty
        #[arg(long, value_name = "SEAL", conflicts_with = "seal")]
        against: Option<Seal>,
        /// As JSON
        #[arg(long, conflicts_with = "seal")]
        json: bool,
    },
    /// Check the config, the runbook, and every target that the runbook's checks name
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show or validate runbooks
    Runbook {
        #[command(subcommand)]
        verb: RunbookVerb,
    },
    /// Print versions, folders and the programs that were found
    Info {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a shell completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command into a folder
    Man {
        /// The folder, such as /usr/local/share/man/man1
        folder: Option<PathBuf>,
    },
    /// The process that is the drill's world
    #[command(hide = true)]
    Sandbox {
        /// Its folder
        #[arg(long)]
        dir: PathBuf,
    },
    /// What a configured command is in a drill
    #[command(hide = true)]
    StandIn {
        /// `smoke` or `deploy` and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The process that opens a fenced database if the engine cannot
    #[command(hide = true)]
    FenceGuard,
    /// The process that restores an archive into a database beside the live one
    #[command(hide = true)]
    Load {
        /// What it is told
        order: PathBuf,
    },
    /// The process between the engine and a program that it runs
    #[command(hide = true)]
    Shim,
    /// The process that owns an incident
    #[command(hide = true)]
    Engine {
        /// The incident
        id: IncidentId,
    },
}

impl Verb {
    /// What a command that does more than look is called; nobody who asked only to look has begun one.
    pub(super) fn beyond_looking(&self) -> Option<&'static str> {
        match self {
            Self::Start => Some("start"),
            Self::Handover { .. } => Some("handover"),
            Self::Drill(_) => Some("drill"),
            Self::Rehearse(_) => Some("rehearse"),
            _ => None,
        }
    }
}

/// Options of `relight rehearse`.
#[derive(Debug, Args)]
pub(super) struct RehearseOptions {
    /// The dump's key, or `latest` for the newest that is fit
    #[arg(long, default_value = "latest", value_name = "KEY")]
    pub(super) snapshot: String,
    /// The result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Options of `relight drill`.
#[derive(Debug, Args)]
pub(super) struct DrillOptions {
    /// Play the operator, print a scorecard, and end the drill
    #[arg(long)]
    pub(super) auto: bool,
    /// The scorecard as JSON
    #[arg(long, requires = "auto")]
    pub(super) json: bool,
    /// End every drill that runs
    #[arg(long, conflicts_with = "auto")]
    pub(super) stop: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum RunbookVerb {
    /// Print the runbook: phases, steps, what they need and what they do
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// The TOML text itself, to copy and change
        #[arg(long, conflicts_with = "json")]
        source: bool,
    },
    /// Read a runbook and say what is wrong with it
    Validate {
        /// The file
        file: PathBuf,
    },
}

/// [`Format`] as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// Plain text for a PagerDuty note
    Pagerduty,
    /// Slack's mrkdwn
    Slack,
    /// A report
    Markdown,
    /// For machines
    Json,
    /// The report as a page that needs nothing else
    Html,
}

impl From<ExportFormat> for Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Pagerduty => Self::PagerDuty,
            ExportFormat::Slack => Self::Slack,
            ExportFormat::Markdown => Self::Markdown,
            ExportFormat::Json => Self::Json,
            ExportFormat::Html => Self::Html,
        }
    }
}

/// Prints a completion script.
pub(super) fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "relight", &mut script);
    super::out::write(format_args!("{}", String::from_utf8_lossy(&script)));
}

/// Prints the manual page, or writes one for each command into a folder.
pub(super) fn man(folder: Option<&Path>) -> io::Result<()> {
    let command = Arguments::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        super::out::write(format_args!("{}", String::from_utf8_lossy(&page)));
        return Ok(());
    };
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}
