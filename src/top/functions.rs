//! The functions of a profile, or their groups, with their weights.

use bstr::BString;

use super::{By, Groups, Top};

/// A function and its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: BString,
    /// The weight of the stacks that end in it.
    pub own: u64,
    /// The weight of the stacks that hold it.
    pub total: u64,
}

/// All functions, the heaviest first: by their own weight, then by their total, then by name.
///
/// Memory: about 60 bytes for each name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Functions {
    /// The functions.
    pub all: Vec<Function>,
    /// The weight of the profile.
    pub total: u64,
    /// What they are.
    pub by: By,
}

impl Functions {
    pub(super) fn new(top: &Top, groups: &Groups) -> Functions {
        let mut sums = vec![(0u64, 0u64); groups.names.len()];
        let mut last_seen = vec![usize::MAX; groups.names.len()];
        let mut room = Vec::new();
        for (number, (stack, weight)) in top.stacks().enumerate() {
            groups.of(stack, &mut room);
            for &group in &room {
                if std::mem::replace(&mut last_seen[group], number) != number {
                    sums[group].1 = sums[group].1.saturating_add(weight);
                }
            }
            if let Some(&leaf) = room.last() {
                sums[leaf].0 = sums[leaf].0.saturating_add(weight);
            }
        }
        let function = |(name, &(own, total)): (&BString, &(u64, u64))| {
            (total > 0).then(|| Function { name: name.clone(), own, total })
        };
        let mut all: Vec<Function> = groups.names.iter().zip(&sums).filter_map(function).collect();
        all.sort_unstable_by(|a, b| {
            b.own.cmp(&a.own).then(b.total.cmp(&a.total)).then_with(|| a.name.cmp(&b.name))
        });
        Functions { all, total: top.total, by: groups.by }
    }

    /// Puts the functions in order of their totals.
    pub fn by_total(&mut self) {
        self.all.sort_by_key(|function| std::cmp::Reverse(function.total));
    }
}
