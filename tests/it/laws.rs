//! The laws that are about more than one stage.

use bstr::{BString, ByteSlice};
use flamepipe::fold::{Config, Merge};
use flamepipe::folded::{self, FoldedSink, Writer};
use flamepipe::output::{Format, Target};
use flamepipe::sample::FrameTable;
use flamepipe::script;
use flamepipe::tally::Tally;
use proptest::prelude::*;

use crate::fold::{Slow, configs, fold, fold_told, sample, script_text};

fn merge(texts: &[&[u8]]) -> BString {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut merge = Merge::new(Writer::new(Vec::new(), "memory"));
    for text in texts {
        folded::read(*text, "text", &mut frames, &mut merge, &mut tally).unwrap();
    }
    merge.finish(&mut frames, &mut tally).unwrap();
    merge.into_next().into_inner().into()
}

/// Reads script text with all that a writer needs. `rewritten` drops the text, so that it is
/// formatted again.
fn copy(text: impl std::io::Read, rewritten: bool) -> BString {
    struct Forget<W>(Writer<W>);
    impl<W: std::io::Write> flamepipe::sample::SampleSink for Forget<W> {
        fn sample(
            &mut self,
            frames: &mut FrameTable,
            sample: &flamepipe::sample::Sample<'_>,
        ) -> flamepipe::error::Result<()> {
            self.0.sample(frames, &flamepipe::sample::Sample { text: b"", ..*sample })
        }
        fn finish(
            &mut self,
            frames: &mut FrameTable,
            tally: &mut Tally,
        ) -> flamepipe::error::Result<()> {
            self.0.finish(frames, tally)
        }
    }
    use script::Writer;
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let config = script::Config { places: true, text: true, ..script::Config::default() };
    let mut reader = script::Reader::new(&config);
    if rewritten {
        let mut writer = Forget(Writer::new(Vec::new(), "memory"));
        reader.read(text, "text", &mut frames, &mut writer, &mut tally).unwrap();
        writer.0.into_inner().into()
    } else {
        let mut writer = Writer::new(Vec::new(), "memory");
        reader.read(text, "text", &mut frames, &mut writer, &mut tally).unwrap();
        writer.into_inner().into()
    }
}

/// Draws script text in one process, through `cat` if asked to.
fn drawn(text: &str, through_cat: bool) -> BString {
    let config = flamepipe::pipeline::Config {
        post_process: through_cat.then(|| vec!["cat".into()]),
        ..Default::default()
    };
    let reader = std::io::Cursor::new(text.as_bytes().to_vec());
    let input = flamepipe::input::Input::new("text", reader);
    let name = "memory".into();
    let target = Target { out: Vec::new(), name, format: Format::Svg };
    flamepipe::pipeline::draw(input, config, vec![target]).unwrap().0.remove(0).into()
}

/// Draws folded text, as fg-render does.
fn rendered(folded: &[u8], embed: bool) -> BString {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let config = flamepipe::render::Config { embed, ..Default::default() };
    let mut renderer = flamepipe::render::Renderer::new(config, "text", Vec::new(), "memory");
    folded::read(folded, "text", &mut frames, &mut renderer, &mut tally).unwrap();
    renderer.finish(&mut frames, &mut tally).unwrap();
    renderer.into_inner().into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Law 3: one process writes what the stages write one after the other.
    #[test]
    fn one_process_is_the_pipeline(text in script_text(), through_cat in any::<bool>()) {
        let folded = fold_told(text.as_bytes(), &Config::default()).0;
        // Windows has no program that copies.
        prop_assert_eq!(drawn(&text, through_cat && cfg!(unix)), rendered(&folded, true));
    }

    /// Law 6: the same input gives the same bytes, and the same stacks in another order give the
    /// same picture.
    #[test]
    fn rendering_is_a_function(text in script_text(), turn in any::<prop::sample::Index>()) {
        let folded = fold_told(text.as_bytes(), &Config::default()).0;
        let svg = rendered(&folded, true);
        prop_assert_eq!(&rendered(&folded, true), &svg);
        let elsewhere = std::thread::scope(|s| s.spawn(|| rendered(&folded, true)).join().unwrap());
        prop_assert_eq!(elsewhere, svg);
        let mut lines: Vec<&[u8]> = folded.lines_with_terminator().collect();
        let middle = turn.index(lines.len());
        lines.rotate_left(middle);
        prop_assert_eq!(rendered(&lines.concat(), false), rendered(&folded, false));
    }
}

proptest! {
    /// Law 4: fold(a ++ b) = merge(fold a, fold b), and the order of samples does not matter.
    #[test]
    fn folding_distributes_over_concatenation(
        a in prop::collection::vec(sample(), 1..10), b in prop::collection::vec(sample(), 1..10), mut how in configs(),
    ) {
        // Which event is folded must not depend on which half comes first.
        how.fold.event = Some("cycles".into());
        let a = a.concat();
        let b = b.concat();
        let whole = fold((a.clone() + &b).as_bytes(), &how).0;
        let fa = fold(a.as_bytes(), &how).0;
        let fb = fold(b.as_bytes(), &how).0;
        prop_assert_eq!(&whole, &merge(&[&fa, &fb]));
        prop_assert_eq!(&whole, &fold((b + &a).as_bytes(), &how).0);
    }

    /// Law 5 for script text: reading and writing gives the same text, byte for byte or formatted
    /// again.
    #[test]
    fn script_text_survives(text in script_text(), step in 1usize..99) {
        prop_assert_eq!(copy(Slow(text.as_bytes(), step), false), text.as_bytes().as_bstr());
        let rewritten = copy(text.as_bytes(), true);
        prop_assert_eq!(&copy(&rewritten[..], true), &rewritten);
        let config = Config::default();
        prop_assert_eq!(fold(&rewritten[..], &config).0, fold(text.as_bytes(), &config).0);
    }

    /// Laws 1 and 5 for any bytes: a reader and a writer of text are `cat`.
    #[test]
    fn copying_is_cat(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\t')], 0..300)) {
        prop_assert_eq!(copy(&bytes[..], false), bytes.as_bstr());
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut writer = Writer::new(Vec::new(), "memory");
        folded::read(&bytes[..], "text", &mut frames, &mut writer, &mut tally).unwrap();
        let copied: BString = writer.into_inner().into();
        prop_assert_eq!(copied, bytes.as_bstr());
    }
}
