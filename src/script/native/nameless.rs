//! Counts samples in generated code without names, and tells the user how the program that
//! generated it can write them.

use std::collections::BTreeMap;

use super::addresses::Addresses;
use crate::sample::FrameTable;
use crate::symbols::{Doubt, Loader};
use crate::unwind::Spaces;

/// The least percentage of all samples for which a hint is given.
const MUCH: u64 = 5;

/// How many samples are in code without a file, by the id of the address.
#[derive(Default)]
pub(super) struct Nameless {
    samples: u64,
    samples_at: BTreeMap<u32, u64>,
    /// The samples in code without a name, of processes whose code has its final names.
    settled: BTreeMap<Runtime, Settled>,
}

#[derive(Default)]
struct Settled {
    samples: u64,
    /// The process with the most of them, and how many it has.
    most: u64,
    pid: u32,
}

/// A program that generates code, and how the user can make it write the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Runtime {
    name: &'static str,
    /// The beginning of the name of a file that it maps.
    file: &'static str,
    hint: &'static str,
}

const RUNTIMES: [Runtime; 10] = [
    Runtime {
        name: "java",
        file: "libjvm.so",
        hint: "run it with -XX:+UnlockDiagnosticVMOptions -XX:+DumpPerfMapAtExit, or call jcmd PID Compiler.perfmap \
               before it ends",
    },
    Runtime { name: ".NET", file: "libcoreclr.so", hint: "set DOTNET_PerfMapEnabled=1" },
    Runtime { name: ".NET", file: "libclrjit.so", hint: "set DOTNET_PerfMapEnabled=1" },
    Runtime { name: "node", file: "node", hint: "run it with --perf-basic-prof" },
    Runtime { name: "node", file: "libnode.so", hint: "run it with --perf-basic-prof" },
    Runtime { name: "deno", file: "deno", hint: "run it with --v8-flags=--perf-basic-prof" },
    Runtime { name: "erlang", file: "beam.smp", hint: "run it with +JPperf true" },
    Runtime { name: "ruby", file: "libruby", hint: "run it with --yjit-perf=map (Ruby 3.3)" },
    Runtime { name: "python", file: "libpython", hint: "run it with -X perf (Python 3.12)" },
    Runtime { name: "python", file: "python", hint: "run it with -X perf (Python 3.12)" },
];

/// Any other program.
const UNKNOWN: Runtime = Runtime {
    name: "a program",
    file: "",
    hint: "have its compiler write a map for perf, if it can",
};

impl Runtime {
    /// The one that maps files with these names. The first of the list wins, because Java can be
    /// embedded in Python.
    fn of<'a>(files: impl Iterator<Item = &'a [u8]> + Clone) -> Runtime {
        let has = |runtime: &&Runtime| {
            files.clone().any(|path| {
                let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                let rest = name.strip_prefix(runtime.file.as_bytes());
                // `node`, `python3.12`, `libpython3.12.so.1.0`, but not `nodejs-addon`.
                rest.is_some_and(|rest| {
                    rest.first().is_none_or(|byte| !byte.is_ascii_alphabetic() && *byte != b'-')
                })
            })
        };
        RUNTIMES.iter().find(has).copied().unwrap_or(UNKNOWN)
    }
}

impl Nameless {
    /// Counts a sample with this stack, leaf first.
    pub(super) fn count(&mut self, stack: &[u32], addresses: &Addresses) {
        self.samples += 1;
        if let Some(&id) = stack.iter().find(|&&id| addresses.is_code(id)) {
            *self.samples_at.entry(id).or_default() += 1;
        }
    }

    /// Counts the code of processes that has its final names.
    pub(super) fn settle(
        &mut self,
        is_it: impl Fn(u32) -> bool,
        addresses: &Addresses,
        spaces: &Spaces,
        frames: &FrameTable,
    ) {
        let is_nameless = |id| {
            let mut named = addresses.frames(id, None).iter();
            named.any(|named| frames.symbol(named.frame) == "[unknown]")
        };
        let mut by_process: BTreeMap<u32, u64> = BTreeMap::new();
        self.samples_at.retain(|&id, samples| {
            let Some(pid) = addresses.process(id, spaces).filter(|&pid| is_it(pid)) else {
                return true;
            };
            if is_nameless(id) {
                *by_process.entry(pid).or_default() += *samples;
            }
            false
        });
        for (pid, samples) in by_process {
            let settled = self.settled.entry(Runtime::of(spaces.files(pid))).or_default();
            settled.samples += samples;
            if samples > settled.most {
                settled.most = samples;
                settled.pid = pid;
            }
        }
    }

    /// The addresses have new numbers, by their old ones.
    pub(super) fn renumber(&mut self, numbers: &[Option<u32>]) {
        let old = std::mem::take(&mut self.samples_at).into_iter();
        let new = |(id, samples)| Some((numbers.get(id as usize).copied()??, samples));
        self.samples_at = old.filter_map(new).collect();
    }

    /// A hint for each kind of program, once all of them are settled. A program with a map needs no
    /// hint.
    pub(super) fn hints(&self, spaces: &Spaces, loader: &Loader) -> Vec<String> {
        let mut hints = Vec::new();
        for (&runtime, &Settled { samples, pid, .. }) in &self.settled {
            let is_much = samples * 100 >= self.samples * MUCH;
            let has_map = || loader.perf_map(&spaces.processes.get(pid)).is_some();
            if is_much && !has_map() && !is_stranger_s(pid, loader) {
                hints.push(self.hint(runtime, samples, pid));
            }
        }
        hints
    }

    fn hint(&self, runtime: Runtime, samples: u64, pid: u32) -> String {
        let Runtime { name, hint, .. } = runtime;
        let percent = samples * 100 / self.samples.max(1);
        let hint = hint.replace("PID", &pid.to_string());
        format!(
            "{percent} % of the samples are in code that {name} made at run time, and no map (/tmp/perf-{pid}.map) or jitdump \
             names it: {hint}"
        )
    }
}

/// Whether the process has a map that is not believed because of its owner. A warning says so.
fn is_stranger_s(pid: u32, loader: &Loader) -> bool {
    let name = format!("perf-{pid}.map");
    let doubted = loader.warnings().doubted;
    doubted.iter().any(|(path, doubt)| *doubt == Doubt::Stranger && path.ends_with(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_the_files_that_they_map() {
        let name = |files: &[&str]| Runtime::of(files.iter().map(|file| file.as_bytes())).name;
        assert_eq!(name(&["/usr/bin/node", "/lib/libc.so.6"]), "node");
        assert_eq!(name(&["/usr/lib/libnode.so.108"]), "node");
        assert_eq!(name(&["/usr/bin/java", "/usr/lib/jvm/17/lib/server/libjvm.so"]), "java");
        assert_eq!(name(&["/usr/bin/python3.11", "/x/libjvm.so"]), "java");
        assert_eq!(name(&["/usr/bin/python3.11"]), "python");
        assert_eq!(name(&["/usr/bin/dotnet", "/usr/lib/libcoreclr.so"]), ".NET");
        assert_eq!(name(&["/usr/bin/nodejs-thing", "/x/pythonic"]), "a program");
    }

    #[test]
    fn hints_have_the_process_s_number() {
        let nameless = Nameless { samples: 200, ..Nameless::default() };
        let hint = nameless.hint(RUNTIMES[0], 50, 4711);
        assert!(
            hint.starts_with("25 % of the samples") && hint.contains("jcmd 4711 Compiler.perfmap"),
            "{hint}"
        );
    }
}
