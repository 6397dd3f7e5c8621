//! The filter's language: `cargo fuzz run filter_language`. What it reads it shows so that it is read as the same.
#![no_main]

use flamepipe::filter::Predicate;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(parsed) = text.parse::<Predicate>() else { return };
    let again = parsed.to_string().parse::<Predicate>();
    assert_eq!(again.map(|again| again.to_string()).ok(), Some(parsed.to_string()));
});
