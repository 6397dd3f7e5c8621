//! Stacks → the text of callgrind (valgrind's `cl-format.html`), which keeps for each function what
//! it costs itself, and for each pair of caller and callee what the calls cost.
//!
//! Recursion counts once: of a function that is several times in a stack, only the first call
//! costs. So what all calls of a function cost together, which is what callgrind_annotate shows, is
//! its share of the profile. kcachegrind adds up what a function calls instead. It shows a function
//! larger that calls itself through others.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::profile::Profile;
use crate::unit;

pub(super) fn write(profile: &Profile, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let event: String = profile.unit().unwrap_or(unit::SAMPLES.into());
    let event: String =
        event.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    writeln!(out, "# callgrind format\nversion: 1")?;
    writeln!(out, "creator: flamepipe {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "cmd: {}", title.replace(|c: char| c.is_control(), "?"))?;
    writeln!(out, "positions: line\nevents: {event}\nsummary: {}", profile.weight)?;
    // The file of all functions: it is not known.
    writeln!(out, "\nfl=???")?;
    let Costs { own, calls } = Costs::of(profile);
    let mut names = Names { all: &profile.names.all, is_written: vec![false; own.len()] };
    for (caller, own) in (0..).zip(own) {
        writeln!(out, "\nfn={}\n0 {own}", names.name(caller))?;
        for (&(_, callee), cost) in calls.range((caller, 0)..=(caller, u32::MAX)) {
            // How often it was called is not known.
            writeln!(out, "cfn={}\ncalls=1 0\n0 {cost}", names.name(callee))?;
        }
    }
    Ok(())
}

/// Names, which are written once, and then only their numbers.
struct Names<'a> {
    all: &'a [String],
    is_written: Vec<bool>,
}

impl Names<'_> {
    fn name(&mut self, function: u32) -> String {
        let at = function as usize;
        if std::mem::replace(&mut self.is_written[at], true) {
            return format!("({})", function + 1);
        }
        let name = self.all[at].replace(|c: char| c.is_control(), "?");
        format!("({}) {name}", function + 1)
    }
}

/// What functions and calls cost.
struct Costs {
    /// By the number of the function.
    own: Vec<u64>,
    /// By the numbers of caller and callee.
    calls: BTreeMap<(u32, u32), u64>,
}

impl Costs {
    fn of(profile: &Profile) -> Costs {
        let mut own = vec![0; profile.names.all.len()];
        let mut calls = BTreeMap::new();
        let mut seen_in = vec![usize::MAX; own.len()];
        for (at, (stack, weight)) in profile.stacks().enumerate() {
            let mut caller = None;
            for &function in stack {
                let is_first = std::mem::replace(&mut seen_in[function as usize], at) != at;
                if let Some(caller) = caller.filter(|_| is_first) {
                    *calls.entry((caller, function)).or_insert(0) += weight;
                }
                caller = Some(function);
            }
            if let Some(leaf) = caller {
                own[leaf as usize] += weight;
            }
        }
        Costs { own, calls }
    }
}
