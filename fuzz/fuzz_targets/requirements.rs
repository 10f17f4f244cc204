#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nauta::fuzzing::run("requirements", bytes));
