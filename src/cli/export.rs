//! `relight export`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use color_eyre::Result;
use color_eyre::eyre::{WrapErr as _, eyre};

use crate::incident::{Fold, IncidentId, Seal, State};
use crate::{export, journal};

use super::Exit;
use super::arguments::{Common, ExportFormat};
use super::exit::Usage;
use super::incidents::home;
use super::out::{errln, out};

/// An incident's state, from its journal, and the journal's seal.
pub(super) fn read_state(common: &Common, id: &IncidentId) -> Result<(State, Seal)> {
    let home = home(common)?;
    let path = home.folder(id).join(journal::FILE);
    if !path.exists() {
        return Err(Usage(format!(
            "there is no incident {id} in {}; `relight list --all` shows them",
            home.root().display()
        ))
        .into());
    }
    let mut fold = Fold::default();
    let end = journal::read_each(&path, |event| fold.take(event))?;
    let seal = Seal { seq: end.seq, head: end.head };
    let state = fold.state().map_err(|error| eyre!("{error}"))?;
    Ok((state, seal))
}

pub(super) fn export(
    common: &Common,
    id: &IncidentId,
    format: ExportFormat,
    size: Option<usize>,
    output: Option<&Path>,
) -> Result<Exit> {
    let format = export::Format::from(format);
    match (size, format.usual_size()) {
        (Some(_), None) => {
            return Err(
                Usage(format!("--size cuts what goes to PagerDuty or Slack; {} is one piece", format.name())).into()
            );
        }
        (Some(size), Some(_)) if size < export::LEAST => {
            return Err(
                Usage(format!("--size {size} is too small: a part has at least {} bytes", export::LEAST)).into()
            );
        }
        _ => {}
    }
    let (state, seal) = read_state(common, id)?;
    let text = export::joined(&export::parts(&state, format, size, Some(&seal)));
    match output {
        None => out!("{text}"),
        Some(path) => {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
                .wrap_err_with(|| format!("{} cannot be written", path.display()))?;
            file.write_all(text.as_bytes())?;
            errln!("written to {}", path.display());
        }
    }
    Ok(Exit::Done)
}
