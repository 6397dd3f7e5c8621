//! Sorts many strings with long common prefixes: names, and stacks of ranks.
//!
//! A comparison of two strings walks over their common prefix, again for each pair. Here each
//! string has one word beside its number, and words are compared as integers. Only strings with
//! equal words are sorted by the next word in which they differ. (A multikey quicksort with cached
//! words: Ng and Kakehi, "Cache Efficient Radix Sort for String Sorting", 2007.)
//!
//! It saves 16 % of the CPU of folding 200,000 distinct stacks, and 9 % of a recording of rustc.

use std::cmp::Ordering;

use rayon::Scope;
use rayon::prelude::*;

/// Up to this many strings are compared directly.
const FEW: usize = 12;
/// More than this many are worth another thread.
const MANY: usize = if cfg!(test) { 40 } else { 1 << 14 };

/// A word of a string, and the string's number.
type Item = (u64, u32);

/// Strings, by their numbers.
pub(super) trait Strings: Sync {
    /// A word of a string; `None` behind its end. Words must compare as the strings do, if a
    /// missing word is 0.
    fn word(&self, string: u32, at: usize) -> Option<u64>;

    /// Compares whole strings.
    fn compare(&self, a: u32, b: u32) -> Ordering;
}

/// The numbers below `many`, in the order of their strings. If `parallel`, several threads sort.
pub(super) fn sorted(many: usize, strings: &impl Strings, parallel: bool) -> Vec<u32> {
    let mut all: Vec<Item> = (0..many as u32).map(|number| (0, number)).collect();
    if parallel && many > MANY {
        rayon::in_place_scope(|scope| sort_beside(scope, &mut all, 0, strings));
    } else {
        sort(vec![&mut all], 0, strings);
    }
    all.into_iter().map(|(_, number)| number).collect()
}

/// Sorts each of `parts`. All words before `depth` are equal within a part.
fn sort(parts: Vec<&mut [Item]>, depth: usize, strings: &impl Strings) {
    let mut left: Vec<_> = parts.into_iter().map(|part| (part, depth)).collect();
    while let Some((same, depth)) = left.pop() {
        let depth = depth + common(same, depth, strings);
        left.extend(by_word(same, depth, strings, usize::MAX).map(|run| (run, depth + 1)));
    }
}

/// The same, with the help of other threads.
fn sort_beside<'s>(
    scope: &Scope<'s>,
    same: &'s mut [Item],
    depth: usize,
    strings: &'s impl Strings,
) {
    let mut small = Vec::new();
    let mut count = 0;
    let depth = depth + common(same, depth, strings);
    for run in by_word(same, depth, strings, MANY) {
        if run.len() > MANY {
            scope.spawn(move |scope| sort_beside(scope, run, depth + 1, strings));
            continue;
        }
        count += run.len();
        small.push(run);
        if count > MANY {
            let parts = std::mem::take(&mut small);
            scope.spawn(move |_| sort(parts, depth + 1, strings));
            count = 0;
        }
    }
    sort(small, depth + 1, strings);
}

/// How many words all of `same` have in common from `depth` on. Sorting by them would change
/// nothing.
fn common(same: &[Item], depth: usize, strings: &impl Strings) -> usize {
    let Some((&(_, first), others)) = same.split_first().filter(|_| same.len() > FEW) else {
        return 0;
    };
    let mut many = usize::MAX;
    for &(_, other) in others {
        let equal = |&at: &usize| {
            let word = strings.word(first, at);
            word.is_some() && word == strings.word(other, at)
        };
        many = (depth..).take(many).take_while(equal).count();
        if many == 0 {
            break;
        }
    }
    many
}

/// Sorts by the word at `depth`, with other threads if there are more than `alone`. Returns the
/// runs of equal words, which need further sorting.
fn by_word<'a, S: Strings>(
    same: &'a mut [Item],
    depth: usize,
    strings: &S,
    alone: usize,
) -> impl Iterator<Item = &'a mut [Item]> + use<'a, S> {
    let fill = |(key, number): &mut Item| {
        let word = strings.word(*number, depth);
        *key = word.unwrap_or(0);
        word.is_some()
    };
    let is_alone = same.len() <= alone;
    let has_more = match same.len() {
        ..=FEW => false,
        _ if is_alone => same.iter_mut().fold(false, |has_more, item| fill(item) | has_more),
        _ => same.par_iter_mut().map(fill).reduce(|| false, |a, b| a | b),
    };
    if !has_more {
        same.sort_unstable_by(|a, b| strings.compare(a.1, b.1));
    } else if is_alone {
        same.sort_unstable_by_key(|&(word, _)| word);
    } else {
        same.par_sort_unstable_by_key(|&(word, _)| word);
    }
    let runs = same.chunk_by_mut(move |a, b| has_more && a.0 == b.0);
    runs.filter(|run| run.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words of two bytes.
    impl Strings for Vec<String> {
        fn word(&self, string: u32, at: usize) -> Option<u64> {
            let rest = self[string as usize].as_bytes().get(2 * at..);
            let rest = rest.filter(|rest| !rest.is_empty())?;
            Some(u64::from(rest[0]) << 8 | u64::from(rest.get(1).copied().unwrap_or(0)))
        }

        fn compare(&self, a: u32, b: u32) -> Ordering {
            self[a as usize].cmp(&self[b as usize])
        }
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_plain_sort(
            strings in prop::collection::vec("(abbabba|bbbb|)[\0ab]{0,8}", 0..300), parallel: bool,
        ) {
            let numbers = sorted(strings.len(), &strings, parallel);
            let order: Vec<&str> = numbers.into_iter().map(|at| &*strings[at as usize]).collect();
            let mut plain: Vec<&str> = strings.iter().map(|string| &**string).collect();
            plain.sort();
            prop_assert_eq!(order, plain);
        }
    }
}
