//! Sorting of many strings that begin alike: names, and stacks of ranks.
//!
//! Comparing two strings goes over all that they have in common, again for each pair. Here a word of each is compared at a time, as
//! one integer beside the string's number; only those that have it in common are sorted by the next one. (A multikey quicksort with
//! cached words: Ng and Kakehi, "Cache Efficient Radix Sort for String Sorting", 2007.)

use std::cmp::Ordering;

/// So few strings are compared as they are.
const FEW: usize = 12;

/// The numbers from 0 on, so `many`, in the order of `compare` of the strings they stand for.
///
/// `word` tells the words of a string from 0 on, `None` behind its end. Where words differ they must compare as the strings do, with
/// 0 for none.
pub(super) fn sorted(
    many: usize,
    word: impl Fn(u32, usize) -> Option<u64>,
    compare: impl Fn(u32, u32) -> Ordering,
) -> Vec<u32> {
    let mut all: Vec<(u64, u32)> = (0..many as u32).map(|number| (0, number)).collect();
    let mut left = vec![(0..all.len(), 0)];
    while let Some((range, depth)) = left.pop() {
        let mut start = range.start;
        let same = &mut all[range];
        let mut has_more = false;
        if same.len() > FEW {
            for (key, number) in same.iter_mut() {
                let word = word(*number, depth);
                has_more |= word.is_some();
                *key = word.unwrap_or(0);
            }
        }
        if !has_more {
            same.sort_unstable_by(|a, b| compare(a.1, b.1));
            continue;
        }
        same.sort_unstable_by_key(|&(word, _)| word);
        for run in same.chunk_by(|a, b| a.0 == b.0) {
            if run.len() > 1 {
                left.push((start..start + run.len(), depth + 1));
            }
            start += run.len();
        }
    }
    all.into_iter().map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_a_plain_sort(strings in prop::collection::vec("[\0ab]{0,20}", 0..200)) {
            let bytes = |at: u32| strings[at as usize].as_bytes();
            let word = |at: u32, depth: usize| {
                let rest = bytes(at).get(2 * depth..).filter(|rest| !rest.is_empty())?;
                Some(u64::from(rest[0]) << 8 | u64::from(rest.get(1).copied().unwrap_or(0)))
            };
            let numbers = sorted(strings.len(), word, |a, b| bytes(a).cmp(bytes(b)));
            let order: Vec<&str> = numbers.into_iter().map(|at| &*strings[at as usize]).collect();
            let mut plain: Vec<&str> = strings.iter().map(|string| &**string).collect();
            plain.sort();
            prop_assert_eq!(order, plain);
        }
    }
}
