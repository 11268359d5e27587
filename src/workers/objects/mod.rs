//! Objects: comparing a bucket with its snapshot by content, and copying back what is missing or damaged.
//!
//! Nothing is ever deleted. What gets overwritten is kept first, and a `ledger` on this host remembers where, so that
//! an attempt that was cut off loses none of it. `aws s3 sync` is no help here: it skips damaged objects that are
//! newer than their backup and of the same size.
//!
//! `source` is where the good content is, `compare` finds what differs, `basis` is what a person approves,
//! `restore` does one object.

mod basis;
mod compare;
mod ledger;
mod put_back;
mod rehydrate;
mod restore;
mod source;

pub use put_back::PutBackObjects;
pub use rehydrate::RehydrateObjects;

#[cfg(test)]
pub(super) mod testing {
    use std::path::Path;
    use std::sync::Arc;

    use crate::incident::{IncidentId, Inputs, Knowledge};
    use crate::runbook::StepId;
    use crate::workers::Context;

    /// A context that knows nothing, in a folder.
    pub(in crate::workers) fn context(folder: &Path) -> Context {
        Context {
            step: StepId::new("dependents.objects"),
            title: String::new(),
            attempt: None,
            inputs: Inputs::new(),
            undoes: None,
            knowledge: Arc::new(Knowledge::at_first(
                IncidentId::new("INC-TEST").unwrap(),
                "",
                "",
                jiff::Timestamp::UNIX_EPOCH,
            )),
            config: Arc::new(toml::from_str("environment = \"test\"").unwrap()),
            folder: folder.to_owned(),
        }
    }
}
