//! `--inferno-compat`: inferno's answer, whatever it is.

use super::{BString, Dir, How, configs, inferno, odd_text, script_text};
use bstr::ByteSlice;
use flamepipe::fold::{Config, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::input;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::script;
use flamepipe::tally::Tally;
use proptest::prelude::*;

/// Folds `text` with `threads` as `--inferno-compat` does. `None` if it is refused.
fn compat(text: &[u8], how: impl Into<How>, threads: usize) -> Option<BString> {
    let How { fold, addresses } = how.into();
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let format = Some(input::Format::Script);
    let script = script::Config { addresses, ..script::Config::default() };
    let how = input::Config { inferno: true, format, threads, script, ..input::Config::default() };
    let mut folder = Folder::new(fold, "text", Merge::new(Writer::new(Vec::new(), "memory")));
    let input = input::Input::new("text", std::io::Cursor::new(text.to_vec()));
    input::Source::new(&how).feed([input], &mut folder, &mut frames, &mut tally).ok()?;
    let _ = folder.finish(&mut frames, &mut tally);
    Some(folder.into_next().into_next().into_inner().into())
}

proptest! {
    #[test]
    fn equals_inferno(text in script_text(), odd in odd_text(), config in configs(), threads in 1usize..3) {
        // inferno's answers, right or wrong, unless it panics.
        prop_assert_eq!(compat(text.as_bytes(), &config, threads), Some(inferno(text.as_bytes(), &config)));
        let text = [text.as_bytes(), &odd].concat();
        let theirs = std::panic::catch_unwind(|| inferno(&text, &config)).ok();
        prop_assert_eq!(compat(&text, &config, 1), theirs);
    }
}

#[test]
fn its_errors_are_there_too() {
    let text = "a;b 12 app 7 [001] 1.5: 10 sched:sched_switch: \n\t  10 A::operator->(int)+0x1 (/a)\n\t 12  ([unknown])\n\n";
    let with_tid = Config { tid: true, ..Config::default() };
    for config in [How::default(), How { fold: with_tid, addresses: true }] {
        let theirs = inferno(text.as_bytes(), &config);
        assert!(theirs.starts_with(b"a;b"), "{theirs}");
        assert_eq!(compat(text.as_bytes(), &config, 1), Some(theirs));
    }
}

#[test]
fn what_it_cannot_do_is_said() {
    let dir = Dir::new();
    let blank = "\napp 7 1.5: 10 cycles: \n\t              10 f (/a)\n\n";
    let outcome = dir.cmd("fg-fold").arg("--inferno-compat").stdin(blank).run().code(1);
    let outcome = outcome.says("inferno panics on standard input");
    let outcome = outcome.says("fold it without --inferno-compat");
    assert!(!outcome.stderr.contains_str("panicked at"), "{}", outcome.everything());
    let perf_data = "PERFILE2\x10\0\0\0\0\0\0\0";
    let outcome = dir.cmd("fg-fold").arg("--inferno-compat").stdin(perf_data).run();
    outcome.code(1).says("perf.data, which inferno does not read").says("fg-script");
    let both = ["--inferno-compat", "--weight=samples"];
    dir.cmd("fg-fold").args(both).stdin(blank).run().code(2);
}
