//! A format of another profiler. An input becomes folded text as a whole.

use std::fmt;
use std::io::Read;

use crate::error::Result;
use crate::tally::Tally;

/// A format of another profiler.
#[derive(Clone, Copy)]
pub struct Foreign {
    /// Its name in `--format`.
    pub(super) name: &'static str,
    /// Whether an input that starts with these whole lines has this format.
    pub(super) is: fn(&[u8]) -> bool,
    /// Folds an input, which errors call by the name, to folded text.
    pub(super) fold: Fold,
}

type Fold = fn(&Foreign, &mut dyn Read, &str, &mut Tally) -> Result<Vec<u8>>;

impl Foreign {
    /// Folds `input`, which errors call `name`, to folded text.
    pub(super) fn fold(
        &self,
        input: &mut dyn Read,
        name: &str,
        tally: &mut Tally,
    ) -> Result<Vec<u8>> {
        (self.fold)(self, input, name, tally)
    }
}

impl PartialEq for Foreign {
    fn eq(&self, other: &Foreign) -> bool {
        self.name == other.name
    }
}

impl Eq for Foreign {}

impl fmt::Debug for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}
