//! How much is tried, and what `make chaos` prints of it.

use std::io::Write as _;

/// The whole of it, as `make chaos` wants, or the sample of `make test`.
pub(crate) fn amount(sample: u64, whole: u64) -> u64 {
    if std::env::var_os("RELIGHT_CHAOS").is_some() { whole } else { sample }
}

/// The seed, which a failure prints; `RELIGHT_CHAOS_SEED` gives another one.
pub(crate) fn seed() -> u64 {
    std::env::var("RELIGHT_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_123)
}

/// Adds a line to the table of `make chaos`.
pub(crate) fn tell(what: &str, tried: u64, survived: u64) {
    let Some(path) = std::env::var_os("RELIGHT_CHAOS_TABLE") else { return };
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{what}\t{tried}\t{survived}\n").as_bytes()).unwrap();
}

/// Numbers that look random and are the same for a seed (`SplitMix64`).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % limit
    }
}
