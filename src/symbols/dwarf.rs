//! Finds inlined functions by one walk through the DIEs of each unit that holds an address.
//!
//! ```text
//!  addresses ─▶ units that hold them ─▶ a walk per unit, in parallel
//!               by .debug_aranges, or     compile_unit
//!               else by their roots         subprogram a ─────────── 0x10, 0x18: chains [a] [a]
//!                                             inlined_subroutine b ─ 0x18:       chains [a] [a b]
//!                                           subprogram c ─────────── nothing: skipped, by
//!                                                                    DW_AT_sibling if it has one
//! ```

use rayon::prelude::*;

use super::chain::{Chain, File, find};
use super::lines;
use super::split::Split;
use super::units::{Claim, Sections, Units};

/// The debugging information of a module.
pub(super) struct Dwarf<'d> {
    sections: Sections<'d>,
    units: Units<'d>,
    /// Whether to read line tables.
    lines: bool,
    /// The units of the file that debug files share.
    shared: Option<Units<'d>>,
}

/// The result of a walk.
#[derive(Default)]
pub(super) struct Found {
    /// A chain for each address, which may be empty.
    pub chains: Vec<Chain>,
    /// Units that could not be read to their end.
    pub broken: usize,
}

impl<'d> Dwarf<'d> {
    /// Lists the units of `sections` and of the shared file, if there is one.
    pub(super) fn new(
        mut sections: Sections<'d>,
        shared: Option<Sections<'d>>,
        lines: bool,
    ) -> Dwarf<'d> {
        let shared = shared.map(|mut shared| {
            let units = Units::list(&mut shared);
            sections.set_sup(shared);
            units
        });
        Dwarf { units: Units::list(&mut sections), sections, lines, shared }
    }

    /// The functions at each of `addresses`, which are sorted, distinct, and in the file's own
    /// address space.
    pub(super) fn find(&self, addresses: &[u64], split: &Split<'_>) -> Found {
        let mut found = Found { chains: vec![Chain::default(); addresses.len()], broken: 0 };
        found.broken += usize::from(self.units.broken);
        let (claims, listed) = self.units.by_aranges(&self.sections, addresses);
        self.walk(addresses, claims, split, &mut found);
        let (rest, unnamed) = found.rest(addresses);
        if rest.is_empty() {
            return found;
        }
        let (mut claims, silent) =
            self.units.by_roots(&self.sections, &unnamed, |unit| !listed.contains(&unit));
        for claim in &mut claims {
            claim.at = rest[claim.at];
        }
        self.walk(addresses, claims, split, &mut found);
        // Units that do not say which code they hold may hold any of it.
        let (rest, unnamed) = found.rest(addresses);
        if !rest.is_empty() {
            let walked = silent.par_iter().map(|&unit| {
                let (chains, ok) = self.unit(unit, &unnamed, split);
                let named = |(at, chain): (&usize, Chain)| {
                    (!chain.is_empty()).then_some((Claim { at: *at, end: u64::MAX, unit }, chain))
                };
                (rest.iter().zip(chains).filter_map(named).collect(), ok)
            });
            found.take(walked.collect());
        }
        found
    }

    /// Walks every unit that claims addresses.
    fn walk(
        &self,
        addresses: &[u64],
        mut claims: Vec<Claim>,
        split: &Split<'_>,
        found: &mut Found,
    ) {
        claims.sort_unstable_by_key(|claim| (claim.unit, claim.at, claim.end));
        claims.dedup_by_key(|claim| (claim.unit, claim.at));
        let units: Vec<&[Claim]> = claims.chunk_by(|a, b| a.unit == b.unit).collect();
        let walked = units.into_par_iter().map(|claims| {
            let asked: Vec<u64> = claims.iter().map(|claim| addresses[claim.at]).collect();
            let (mut chains, ok) = self.unit(claims[0].unit, &asked, split);
            if self.lines
                && let Some((unit, _)) = self.units.get(&self.sections, claims[0].unit)
            {
                lines::find(&self.sections, unit, &asked, &mut chains);
            }
            (claims.iter().copied().zip(chains).collect(), ok)
        });
        found.take(walked.collect());
    }

    /// The chains that one unit has for `addresses`, and whether it could be read.
    fn unit(&self, index: usize, addresses: &[u64], split: &Split<'_>) -> (Vec<Chain>, bool) {
        let Some((unit, _)) = self.units.get(&self.sections, index) else {
            return (vec![Chain::default(); addresses.len()], false);
        };
        if unit.dwo_id.is_some()
            && let Some(found) = split.find(&self.sections, unit, addresses)
        {
            return found;
        }
        let file = File { sections: &self.sections, units: Some(&self.units) };
        let shared = self.sections.sup.as_deref().zip(self.shared.as_ref());
        let shared = shared.map(|(sections, units)| File { sections, units: Some(units) });
        find(file, shared, unit, addresses)
    }
}

impl Found {
    /// Whether nothing is missing: all units could be read, and each function has a name.
    pub(super) fn is_whole(&self) -> bool {
        let has_names = |chain: &Chain| chain.iter().all(|call| call.name.is_some());
        self.broken == 0 && self.chains.iter().all(has_names)
    }

    /// The addresses without a chain, and their indices.
    fn rest(&self, addresses: &[u64]) -> (Vec<usize>, Vec<u64>) {
        let rest: Vec<usize> =
            (0..self.chains.len()).filter(|&at| self.chains[at].is_empty()).collect();
        let unnamed = rest.iter().map(|&at| addresses[at]).collect();
        (rest, unnamed)
    }

    /// Takes the chains of all units. If several units name an address, the one whose range ends
    /// first wins, then the first in the file.
    fn take(&mut self, walked: Vec<(Vec<(Claim, Chain)>, bool)>) {
        self.broken += walked.iter().filter(|(_, ok)| !ok).count();
        let mut named: Vec<(Claim, Chain)> =
            walked.into_iter().flat_map(|(named, _)| named).collect();
        named.sort_by_key(|(claim, _)| *claim);
        for (claim, chain) in named {
            let slot = &mut self.chains[claim.at];
            if slot.is_empty() && (slot.lines.is_empty() || !chain.is_empty()) {
                *slot = chain;
            }
        }
    }
}
