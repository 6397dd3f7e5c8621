//! Compares a stack of folded text with the previous one. In sorted text most begin with the same
//! frames.

/// The text of a stack, its names joined by `;`.
#[derive(Default)]
pub(super) struct Joined {
    text: Vec<u8>,
    /// The end of each name in `text`.
    ends: Vec<usize>,
}

impl Joined {
    /// Sets the text. Returns how many names it shares with the previous one, from the root on. The
    /// last name of either counts as different.
    pub(super) fn set(&mut self, text: &[u8]) -> usize {
        let same = common_prefix(&self.text, text);
        let shared = self.ends.partition_point(|&end| end < same);
        self.ends.truncate(shared);
        let start = self.start(shared);
        let rest = text.get(start..).unwrap_or_default();
        self.ends.extend(memchr::memchr_iter(b';', rest).chain([rest.len()]).map(|at| start + at));
        self.text.truncate(same);
        self.text.extend_from_slice(text.get(same..).unwrap_or_default());
        shared
    }

    /// Its names without the `first` ones.
    pub(super) fn names(&self, first: usize) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.get(first..).unwrap_or_default().iter();
        ends.scan(self.start(first), |start, &end| {
            let name = self.text.get(*start..end);
            *start = end + 1;
            name
        })
    }

    fn start(&self, name: usize) -> usize {
        name.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1)
    }
}

/// The length of the common prefix of `a` and `b`.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let equal = |(a, b): &(&[u8], &[u8])| a == b;
    let whole = 16 * a.chunks_exact(16).zip(b.chunks_exact(16)).take_while(equal).count();
    let rest = a.iter().zip(b).skip(whole);
    whole + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_common_prefix_is_counted(mut a in prop::collection::vec(0u8..2, 0..100), at in 0usize..100, len in 0usize..100) {
            let mut b = a.clone();
            b.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
            b.truncate(len);
            let slow = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common_prefix(&a, &b), slow);
            a.truncate(slow);
            prop_assert_eq!(common_prefix(&b, &a), slow);
        }
    }
}
