//! A count that is told whatever comes of the sweep.

use super::tally::tell;

/// What a sweep has tried so far. Its line is added when it ends, by a failure too.
pub(crate) struct Trials {
    what: String,
    tried: u64,
    survived: u64,
}

impl Trials {
    pub(crate) fn of(what: &str) -> Self {
        Self { what: what.to_owned(), tried: 0, survived: 0 }
    }

    pub(crate) fn begin(&mut self) {
        self.tried += 1;
    }

    pub(crate) fn survived(&mut self) {
        self.survived += 1;
    }

    pub(crate) fn count(&self) -> u64 {
        self.tried
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        tell(&self.what, self.tried, self.survived);
    }
}
