//! A file of sorted folded text, which is [pruned](super::prune) before its names are looked up.

use std::fs::File;
use std::io::Write;

use super::prune::Pruned;
use super::{Order, Renderer, embed, svg};
use crate::error::Result;
use crate::folded::{Folded, FoldedSink};
use crate::sample::{Frame, FrameTable};
use crate::tally::{Count, Tally};
use crate::windows::Windows;

impl<W: Write> Renderer<W> {
    /// Takes all stacks of `file`, of which no other input may follow or have come before, if it holds nothing but sorted folded text that
    /// needs no second look, and so much that it is worth while. False, and nothing was taken, if not: then it has to be read.
    ///
    /// What is drawn is the same. Memory: what is seen, and what is beside it.
    pub fn sorted_file(
        &mut self,
        file: &File,
        frames: &mut FrameTable,
        tally: &mut Tally,
    ) -> Result<bool> {
        let config = &self.config;
        if config.order != Order::Frames || config.reverse || !config.base.is_empty() {
            return Ok(false);
        }
        let least = if config.embed { embed::MOST_STACKS } else { 0 };
        if !has_lines(file, least) {
            return Ok(false);
        }
        let narrow = |total| svg::narrow(config, total);
        let Some(pruned) = Pruned::read(file, narrow).filter(|all| all.stacks > least) else {
            return Ok(false);
        };
        pruned.texts.iter().try_for_each(|text| self.text(text))?;
        if self.config.embed {
            self.embed.refuse_many();
        }
        self.differential = Some(false);
        tally.read += Count { items: pruned.stacks, weight: pruned.total };
        tally.folded_before += pruned.stacks;
        let mut stack = Vec::new();
        pruned.visit(|depth, name, own| {
            stack.truncate(depth);
            stack.push(frames.intern(Frame::named(name)));
            if let Some(weight) = own {
                self.place(frames, &Folded { stack: &stack, weight, ..Folded::default() });
            }
        });
        Ok(true)
    }
}

/// Whether there are more lines than `least`, which a small file need not be read to tell.
fn has_lines(file: &File, least: u64) -> bool {
    let len = file.metadata().map_or(0, |file| file.len());
    if least == 0 || len <= least {
        return len > least;
    }
    let (mut lines, mut windows) = (0, Windows::new(file, 0..len));
    while let Some(Ok(Some(chunk))) = windows.as_mut().map(Windows::next_chunk) {
        lines += memchr::memchr_iter(b'\n', chunk).count() as u64;
        if lines > least {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folded;
    use crate::render::Config;
    use bstr::BString;
    use proptest::prelude::*;

    fn drawn(text: &[u8], min_width: f64, take: bool) -> Option<(BString, Tally)> {
        let config = Config { embed: false, min_width, ..Config::default() };
        let mut renderer = Renderer::new(config, "text", Vec::new(), "memory");
        let (mut frames, mut tally) = (FrameTable::default(), Tally::default());
        if take {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text).unwrap();
            if !renderer.sorted_file(&file, &mut frames, &mut tally).unwrap() {
                assert_eq!((tally, renderer.seen.items), (Tally::default(), 0));
                return None;
            }
        } else {
            folded::read(text, "text", &mut frames, &mut renderer, &mut tally).unwrap();
        }
        renderer.finish(&mut frames, &mut tally).ok()?;
        Some((renderer.into_inner().into(), tally))
    }

    fn is_taken(text: &str) -> bool {
        let taken = drawn(text.as_bytes(), 10.0, true);
        assert!(taken.is_none() || taken == drawn(text.as_bytes(), 10.0, false), "{text:?}");
        taken.is_some()
    }

    #[test]
    fn sorted_text_is_taken() {
        assert!(is_taken("# unit: ns\na 1\na::b 40\na;c 2\n\na;c;d 90\nb<x y>;c 3\nbé_;x 50"));
        assert!(is_taken("a;f<[u8; 8]> 1\na;g 9\na;g 1\n"));
    }

    #[test]
    fn what_needs_a_second_look_is_not() {
        for text in [
            "",
            "a 0\n",
            "b 1\na 1\n",
            "a;b 1\na 1\n",
            "a;b 1\na::b 1\n",
            "a 1\nodd\n",
            "a 1 2\n",
            "a 1\nb 1.5\n",
            "a 1\nb\u{1} 1\n",
            "a 1\na ;b 1\n",
            "a 1\na; b;c 1\na;\u{2003};c 1\n",
            "a 1\n\u{2003}b 1\n",
            "a 18446744073709551615\nb 1\n",
        ] {
            assert!(!is_taken(text), "{text:?}");
        }
    }

    #[test]
    fn what_hardly_becomes_less_is_not() {
        let text = (0..2000).map(|n| format!("a;b{n:04} 1\n")).collect::<String>();
        assert_eq!(drawn(text.as_bytes(), 0.0, true), None);
        assert!(
            drawn(text.as_bytes(), 1.0, true).is_none(),
            "all are beside each other, and keep their places"
        );
        let deep =
            (0..2000).map(|n| format!("a;b;c{n:04} 1\n")).collect::<String>() + "z 1000000\n";
        assert_eq!(drawn(deep.as_bytes(), 1.0, true), None, "z comes too late");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Names that are beginnings of others, where `;` sorts behind what follows and before it.
        #[test]
        fn what_is_drawn_is_the_same(
            stacks in prop::collection::btree_map(prop::collection::vec("a|a:|a:b|a<|aa|b|b c", 1..6).prop_map(|stack| stack.join(";")), 0u64..1000, 1..80),
            min_width in prop::sample::select(vec![0.0, 0.1, 1.0, 5.0, 20.0, 200.0]),
        ) {
            let text = stacks.iter().map(|(stack, weight)| format!("{stack} {weight}\n")).collect::<String>();
            let whole = drawn(text.as_bytes(), min_width, false);
            prop_assert!(whole.is_none() || drawn(text.as_bytes(), min_width, true) == whole);
        }
    }
}
