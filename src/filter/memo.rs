//! Remembers answers, by the dense id of a frame or by a name, so that each is computed once.

use crate::intern::Interner;

/// Remembers one answer per dense id.
pub(super) struct Memo<T>(Vec<Option<T>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Memo(Vec::new())
    }
}

impl<T: Copy> Memo<T> {
    /// The answer for `id`. Calls `work` only the first time.
    #[inline]
    pub(super) fn get(&mut self, id: usize, work: impl FnOnce() -> T) -> T {
        match self.0.get(id) {
            Some(&Some(answer)) => answer,
            _ => self.set(id, work()),
        }
    }

    #[cold]
    fn set(&mut self, id: usize, answer: T) -> T {
        if self.0.len() <= id {
            self.0.resize(id + 1, None);
        }
        if let Some(slot) = self.0.get_mut(id) {
            *slot = Some(answer);
        }
        answer
    }
}

/// Remembers one answer per name.
#[derive(Default)]
pub(super) struct NameMemo {
    names: Interner,
    answers: Memo<bool>,
}

impl NameMemo {
    /// The answer for `name`. Calls `work` only the first time.
    pub(super) fn get(&mut self, name: &[u8], work: impl FnOnce() -> bool) -> bool {
        self.answers.get(self.names.intern(name) as usize, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_once() {
        let mut memo = Memo::default();
        assert_eq!(memo.get(3, || 'x'), 'x');
        assert_eq!(memo.get(3, || unreachable!()), 'x');
        assert_eq!(memo.get(0, || 'y'), 'y');
        let mut names = NameMemo::default();
        assert!(names.get(b"web", || true));
        assert!(!names.get(b"", || false));
        assert!(names.get(b"web", || unreachable!()));
    }
}
