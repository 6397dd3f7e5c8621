//! Tells users that a program has lost the names of its functions, and how to keep them.

use std::path::Path;

use bstr::ByteSlice;

use crate::cargo::Stripped;
use crate::tally::{Tally, percent};

/// The least percentage of the weight that is worth a line.
const MUCH: u64 = 5;

/// Advice about the module without names that matters most, unless it is the one that was `told` of
/// before. Its file is looked at, because code may be nameless for other reasons.
pub(super) fn advice(tally: &Tally, told: Option<&Path>) -> Option<String> {
    let stacks = tally.stacks.as_ref()?;
    let (module, weight) = stacks.nameless.iter().max_by_key(|(_, weight)| **weight)?;
    let path = module.to_path().ok()?;
    let is_told = told.is_some_and(|told| path == told);
    if is_told || weight.saturating_mul(100) < stacks.weight.saturating_mul(MUCH) {
        return None;
    }
    let remedy = "build it without `strip` (strip = \"none\" in Cargo.toml, no -s for a linker), \
                  or fetch its names with --debuginfod";
    Stripped::of(path).symbols.then(|| {
        let share = percent(*weight, stacks.weight);
        let name = path.display();
        format!("{name} is stripped, so {share} of the weight passes through functions without names: {remedy}")
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::tally::StackQuality;

    #[test]
    fn advice_is_for_much_weight_in_stripped_files() {
        let folder = tempfile::tempdir().unwrap();
        let stripped = folder.path().join("stripped");
        // The header of this test, for a file without sections.
        let mut elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        elf.truncate(64);
        elf[32..48].fill(0);
        elf[56..64].fill(0);
        std::fs::write(&stripped, elf).unwrap();
        let us = std::env::current_exe().unwrap();
        let tally = |path: &Path, weight| {
            let path = path.to_str().unwrap();
            let nameless = [(path.into(), weight), ("[unknown]".into(), 1)].into();
            let stacks = StackQuality { weight: 1000, nameless, ..StackQuality::default() };
            let mut tally = Tally::default();
            tally.stacks = Some(stacks);
            tally
        };
        let said = advice(&tally(&stripped, 620), None).unwrap();
        assert!(said.contains("is stripped, so 62.0 % of the weight"), "{said}");
        assert_eq!(advice(&tally(&stripped, 620), Some(&stripped)), None);
        assert_eq!(advice(&tally(&stripped, 49), None), None);
        assert_eq!(advice(&tally(&us, 620), None), None);
        assert_eq!(advice(&tally(Path::new("/no/such/file"), 620), None), None);
        assert_eq!(advice(&Tally::default(), None), None);
    }
}
