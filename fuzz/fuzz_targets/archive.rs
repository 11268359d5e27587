//! The archive reader never panics, whatever the bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| relight::archive::fuzz_one(bytes));
