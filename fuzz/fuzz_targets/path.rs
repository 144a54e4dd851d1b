#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| { if let Ok(t) = std::str::from_utf8(data) { let _ = taskgate::path::parse(t); } });
