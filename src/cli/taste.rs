//! A person's own colours and keys for the cockpit, from the config.

use std::path::Path;

use color_eyre::Result;

use crate::config::{Cockpit, Config, ThemeName, default_path};
use crate::engine::Home;
use crate::incident::IncidentId;
use crate::tui::{Binding, Keymap, Look};

use super::arguments::Common;
use super::engine;
use super::exit::Usage;

/// What the cockpit is drawn with and obeys.
#[derive(Debug, Clone)]
pub(super) struct Taste {
    pub(super) look: Option<Look>,
    pub(super) keymap: Keymap,
    pub(super) mouse: bool,
}

impl Taste {
    /// As a config says, whose faults are errors that name file and line.
    pub(super) fn read(path: &Path, cockpit: &Cockpit) -> Result<Self> {
        let look = cockpit.theme.map(|theme| match theme {
            ThemeName::Dark => Look::Dark,
            ThemeName::Light => Look::Light,
            ThemeName::HighContrast => Look::HighContrast,
            ThemeName::Sixteen => Look::Sixteen,
            ThemeName::None => Look::None,
        });
        let bindings = cockpit.keys.iter().map(|(action, keys)| Binding { action, keys: &keys.keys, line: keys.line });
        let keymap = Keymap::with(bindings).map_err(|error| Usage(format!("{}: {error}", path.display())))?;
        Ok(Self { look, keymap, mouse: cockpit.mouse })
    }

    /// Of the config that was named or is this person's own; without one, of the config that the incident runs by, if it
    /// can be read from here.
    pub(super) fn find(common: &Common, kept: Option<(&Home, &IncidentId)>) -> Result<Self> {
        let own = common.config.clone().unwrap_or_else(default_path);
        if common.config.is_some() || own.exists() {
            return Self::read(&own, &Config::load(&own)?.cockpit);
        }
        let kept = kept.and_then(|(home, id)| engine::kept_config_path(&home.folder(id)));
        // Another account's config may well be closed to this one, which is no reason not to look on.
        match kept.and_then(|path| Config::load(&path).ok().map(|config| (path, config))) {
            Some((path, config)) => Self::read(&path, &config.cockpit),
            None => Ok(Self { look: None, keymap: Keymap::default(), mouse: false }),
        }
    }
}
