//! Writes text for benchmarks, the same on every machine, as `perf script` would print it for
//! programs that nobody has to run.
//!
//! ```sh
//! cargo run --release --example corpus -- repetitive > /tmp/repetitive.txt
//! ```
//!
//! Programs go through phases. Within a phase, samples share their callers, as neighbours in a
//! profile do, and differ near the leaf. Symbols have 10 to 150 bytes. Some frames are the
//! kernel's, and some are inlined. The kinds differ in how many lines and stacks are distinct:
//!
//! | kind | bytes | distinct lines | distinct stacks | what it is like |
//! |---|---|---|---|---|
//! | `repetitive` | 635 MB | 3,000 | 4,000 | a server's hours |
//! | `diverse` | 576 MB | 350,000 | 74,000 | a compiler, a browser |
//! | `stacks` | 1,060 MB | 60,000 | 1,000,000 | an interpreter, deep recursion |
//! | `cruel` | 872 MB | 1,400,000 | 320,000 | return addresses of which few repeat |

#![allow(clippy::print_stderr, reason = "an example may")]

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// The properties of a text.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// How it is called.
    pub name: &'static str,
    /// About how long it is.
    pub bytes: usize,
    /// How many frame lines are distinct at most, addresses left aside.
    pub lines: u64,
    /// How many phases there are, and how many stacks each has.
    pub phases: u64,
    /// See `phases`.
    pub stacks: u64,
    /// How many frames a stack has at most.
    pub depth: u64,
}

/// All kinds.
pub(crate) const KINDS: [Kind; 4] = [
    Kind {
        name: "repetitive",
        bytes: 635_000_000,
        lines: 3_000,
        phases: 40,
        stacks: 100,
        depth: 40,
    },
    Kind {
        name: "diverse",
        bytes: 576_000_000,
        lines: 374_000,
        phases: 2_000,
        stacks: 50,
        depth: 40,
    },
    Kind {
        name: "stacks",
        bytes: 1_060_000_000,
        lines: 60_000,
        phases: 40_000,
        stacks: 5_000,
        depth: 14,
    },
    Kind {
        name: "cruel",
        bytes: 872_000_000,
        lines: 1_500_000,
        phases: 40_000,
        stacks: 5_000,
        depth: 40,
    },
];

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Writes about `kind.bytes` of text.
///
/// # Errors
/// `out` fails.
pub(crate) fn write(kind: &Kind, out: &mut impl Write) -> io::Result<()> {
    let (mut random, mut path) = (Random::new(0), Vec::new());
    let (mut phase, mut time, mut written) = (0, 1_526_000_000u64, 0);
    let mut text = Vec::new();
    while written < kind.bytes {
        if random.below(30) == 0 {
            phase = random.below(kind.phases);
        }
        path.clear();
        walk(&mut Random::new(1 + phase), kind, &mut path);
        walk(
            &mut Random::new(1 + kind.phases + phase * kind.stacks + random.below(kind.stacks)),
            kind,
            &mut path,
        );
        time += 1_003;
        text.clear();
        writeln!(
            text,
            "python3 14854 [00{}]  {}.{:06}:     500000 cpu-clock:ppp: ",
            time / 50_000 % 2,
            time / 1_000_000,
            time % 1_000_000
        )?;
        for function in path.iter().rev() {
            frame(function % kind.lines, &mut text)?;
        }
        text.push(b'\n');
        out.write_all(&text)?;
        written += text.len();
    }
    Ok(())
}

/// Goes on by up to half of the depth: what a function calls is made of its own number.
fn walk(random: &mut Random, kind: &Kind, path: &mut Vec<u64>) {
    for _ in 0..kind.depth / 4 + random.below(kind.depth / 4 + 1) {
        let caller = path.last().copied().unwrap_or(1);
        let site = random.below(4) * random.below(4) * kind.lines / 64;
        path.push((caller ^ site).wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(23));
    }
}

/// The frame line of a number.
fn frame(line: u64, text: &mut Vec<u8>) -> io::Result<()> {
    let address = 0x7f53_0000_0000 + line * 0x140;
    let long = "core::iter::adapters::map::Map<alloc::vec::IntoIter<rustc_middle::ty::Ty>, ";
    match line % 8 {
        0 => writeln!(
            text,
            "\tffffffff{:08x} vfs_read_{line}+0x{:x} ([kernel.kallsyms])",
            line * 64 % (1 << 32),
            line % 199
        ),
        1..=3 => writeln!(
            text,
            "\t    {address:x} _PyEval_Frame{}+0x{:x} (/usr/bin/python3.11)",
            line / 4,
            line % 4001
        ),
        4 => writeln!(
            text,
            "\t    {address:x} _int_malloc_{line} (/usr/lib/x86_64-linux-gnu/libc.so.6)"
        ),
        5 => writeln!(
            text,
            "\t    {address:x} {long}fold_{line}>+0x1b (/usr/lib/librustc_driver-0123456789abcdef.so)"
        ),
        6 => writeln!(
            text,
            "\t    {address:x} std::map<int, A{line}>::find(int const&)+0x2c (/usr/lib/libc++.so.1)"
        ),
        _ => writeln!(text, "\t    {address:x} {long}<f{line} as B>::call>+0x1b (inlined)"),
    }
}

#[allow(dead_code, reason = "the benches include this file")]
fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        eprintln!("usage: corpus {}", KINDS.map(|kind| kind.name).join("|"));
        return ExitCode::from(2);
    };
    match write(kind, &mut BufWriter::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corpus: {error}");
            ExitCode::FAILURE
        }
    }
}
