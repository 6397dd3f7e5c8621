//! Stacks → the text of callgrind (valgrind's `cl-format.html`), which keeps for each function what
//! it costs itself, and for each pair of caller and callee what the calls cost.
//!
//! Recursion counts once: of a function that is several times in a stack, only the first call
//! costs. So what all calls of a function cost together, which is what callgrind_annotate shows, is
//! its share of the profile. kcachegrind adds up what a function calls instead. It shows a function
//! larger that calls itself through others.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};

use super::profile::{Position, Profile};
use crate::unit;

pub(super) fn write(profile: &Profile, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let event: String = profile.unit().unwrap_or(unit::SAMPLES.into());
    let event: String =
        event.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    writeln!(out, "# callgrind format\nversion: 1")?;
    writeln!(out, "creator: flamepipe {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "cmd: {}", title.replace(|c: char| c.is_control(), "?"))?;
    writeln!(out, "positions: line\nevents: {event}\nsummary: {}", profile.weight)?;
    let names = &profile.names;
    let Costs { own, calls } = Costs::of(profile);
    let mut functions = Numbered::default();
    let mut files = Numbered::default();
    let mut file_of = |function| match names.functions[function as usize].file {
        Some(file) => files.name(file, &names.files[file as usize]),
        None => "???".into(),
    };
    let mut name_of = |function| functions.name(function, &names.functions[function as usize].name);
    let mut last = None;
    for caller in 0..names.functions.len() as u32 {
        let file = names.functions[caller as usize].file;
        if last != Some(file) {
            writeln!(out, "\nfl={}", file_of(caller))?;
            last = Some(file);
        }
        writeln!(out, "\nfn={}", name_of(caller))?;
        let mut lines = own.range((caller, 0)..=(caller, u32::MAX)).peekable();
        // A function without a cost of its own has one, so that it is listed.
        if lines.peek().is_none() {
            writeln!(out, "0 0")?;
        }
        for ((_, line), own) in lines {
            writeln!(out, "{line} {own}")?;
        }
        for (&(_, line, callee), cost) in calls.range((caller, 0, 0)..=(caller, u32::MAX, u32::MAX))
        {
            if names.functions[callee as usize].file != file {
                writeln!(out, "cfi={}", file_of(callee))?;
            }
            // How often it was called is not known.
            writeln!(out, "cfn={}\ncalls=1 0\n{line} {cost}", name_of(callee))?;
        }
    }
    Ok(())
}

/// Names, which are written once, and then only their numbers.
#[derive(Default)]
struct Numbered {
    written: HashSet<u32>,
}

impl Numbered {
    fn name(&mut self, number: u32, name: &str) -> String {
        if !self.written.insert(number) {
            return format!("({})", number + 1);
        }
        format!("({}) {}", number + 1, name.replace(|c: char| c.is_control(), "?"))
    }
}

/// The cost of each function and call. A cost belongs to a line of the function or the caller.
#[derive(Default)]
struct Costs {
    /// By the number of the function and the line.
    own: BTreeMap<(u32, u32), u64>,
    /// By the number of the caller, the line and the number of the callee.
    calls: BTreeMap<(u32, u32, u32), u64>,
}

impl Costs {
    fn of(profile: &Profile) -> Costs {
        let names = &profile.names;
        let mut costs = Costs::default();
        let mut seen_in = vec![usize::MAX; names.functions.len()];
        for (at, (stack, weight)) in profile.stacks().enumerate() {
            let mut caller: Option<Position> = None;
            for &position in stack {
                let position = names.positions[position as usize];
                let function = position.function;
                let is_first = std::mem::replace(&mut seen_in[function as usize], at) != at;
                if let Some(caller) = caller.filter(|_| is_first) {
                    let call = (caller.function, caller.line, function);
                    *costs.calls.entry(call).or_insert(0) += weight;
                }
                caller = Some(position);
            }
            if let Some(leaf) = caller {
                *costs.own.entry((leaf.function, leaf.line)).or_insert(0) += weight;
            }
        }
        costs
    }
}
