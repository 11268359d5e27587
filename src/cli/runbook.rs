//! `relight runbook show|validate`.

use color_eyre::Result;

use crate::runbook::{Approval, Begins, Runbook};

use super::Exit;
use super::arguments::{Common, RunbookVerb};
use super::exit::Usage;
use super::incidents::runbook_text;
use super::out::{self, out, outln};

pub(super) fn run(common: &Common, verb: RunbookVerb) -> Result<Exit> {
    match verb {
        RunbookVerb::Show { json, source } => {
            let (origin, text) = runbook_text(common)?;
            let runbook = Runbook::parse(&origin, &text)?;
            if source {
                out!("{text}");
            } else if json {
                out::json(&runbook)?;
            } else {
                show(&runbook);
            }
        }
        RunbookVerb::Validate { file } => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Usage(format!("the runbook {} cannot be read: {error}", file.display())))?;
            let runbook = Runbook::parse(&file.display().to_string(), &text)?;
            outln!("{}: {} phases, {} steps, sound.", file.display(), runbook.phases.len(), runbook.steps().count());
        }
    }
    Ok(Exit::Done)
}

fn show(runbook: &Runbook) {
    outln!("{} ({})", runbook.title, runbook.id);
    for phase in &runbook.phases {
        outln!("\n{}", phase.title);
        for step in &phase.steps {
            let approval = match step.approval {
                Approval::None if step.begins == Begins::ByItself => "begins by itself",
                Approval::None => "reads only",
                Approval::Confirm => "confirm",
                Approval::Type => "type the name",
                Approval::TwoPerson => "two people type the name",
            };
            outln!("  {:<26} {:<22} {:<20} {}", step.id.as_str(), step.action.name(), approval, step.title);
            if !step.needs.is_empty() {
                let needs: Vec<&str> = step.needs.iter().map(crate::runbook::StepId::as_str).collect();
                outln!("  {:<26} needs {}", "", needs.join(", "));
            }
            if let Some(undo) = &step.undo {
                outln!("  {:<26} undo  {undo}", "");
            }
        }
    }
    outln!("\nEscalation");
    for contact in &runbook.contacts {
        outln!("  {:<26} {}", contact.role, contact.reach);
    }
}
