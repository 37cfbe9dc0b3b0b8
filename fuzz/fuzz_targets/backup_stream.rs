#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| beyond_pg::fuzz::backup_stream(input));
