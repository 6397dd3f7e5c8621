//! Folding: against its naive twin, against inferno, against its own laws.

use bstr::{BString, ByteSlice};
use flamepipe::fold::{Config, Folder, Merge};
use flamepipe::folded::Writer;
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::script;
use flamepipe::tally::Tally;
use inferno::collapse::Collapse;
use inferno::collapse::perf as oracle;
use proptest::prelude::*;

use crate::harness::Dir;
use crate::recording::record;

#[path = "../naive/fold.rs"]
mod naive;
#[path = "../naive/reader.rs"]
mod naive_reader;

mod foreign;
mod inferno_compat;
mod inferno_errors;
mod merging;
mod program;
mod splits;
mod texts;

/// The configuration of the folder and its reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) fold: Config,
    pub(crate) addresses: bool,
}

impl From<&How> for How {
    fn from(how: &How) -> How {
        how.clone()
    }
}

impl From<&Config> for How {
    fn from(fold: &Config) -> How {
        How { fold: fold.clone(), addresses: false }
    }
}

/// Folds perf-script text in-process, to stacks alone.
pub(crate) fn fold(text: impl std::io::Read, how: impl Into<How>) -> (BString, Tally) {
    let How { fold, addresses } = how.into();
    fold_told(text, &How { fold: Config { no_unit: true, ..fold }, addresses })
}

/// The same, with the unit.
pub(crate) fn fold_told(text: impl std::io::Read, how: impl Into<How>) -> (BString, Tally) {
    let How { fold, addresses } = how.into();
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let mut folder = Folder::new(fold, "text", Merge::new(Writer::new(Vec::new(), "memory")));
    let wants = script::Config { addresses, ..script::Config::default() };
    script::Reader::new(&wants).read(text, "text", &mut frames, &mut folder, &mut tally).unwrap();
    // Text without any stack is refused, which does not matter here.
    let _ = folder.finish(&mut frames, &mut tally);
    (folder.into_next().into_next().into_inner().into(), tally)
}

/// The same, each line by itself.
fn fold_line_by_line(text: &[u8], how: impl Into<How>) -> BString {
    let How { fold, addresses } = how.into();
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let fold = Config { no_unit: true, ..fold };
    let mut folder = Folder::new(fold, "text", Merge::new(Writer::new(Vec::new(), "memory")));
    tally.read.items = naive_reader::read(text, addresses, &mut frames, &mut folder);
    let _ = folder.finish(&mut frames, &mut tally);
    folder.into_next().into_next().into_inner().into()
}

fn inferno(text: &[u8], how: impl Into<How>) -> BString {
    let How { fold: config, addresses } = how.into();
    let mut options = oracle::Options::default();
    options.annotate_jit = config.jit;
    options.annotate_kernel = config.kernel;
    options.include_addrs = addresses;
    options.include_pid = config.pid;
    options.include_tid = config.tid;
    options.event_filter = config.event.as_ref().map(|event| event.to_string());
    options.skip_after = config.skip_after.iter().map(|symbol| symbol.to_string()).collect();
    options.nthreads = 1;
    let mut out = Vec::new();
    oracle::Folder::from(options).collapse(text, &mut out).unwrap();
    out.into()
}

pub(crate) fn configs() -> impl Strategy<Value = How> {
    let event = prop::option::of(prop_oneof![Just("cycles"), Just("instructions"), Just("faults")]);
    let after = prop::collection::vec(prop_oneof![Just("main"), Just("core::fmt::write")], 0..2);
    (any::<[bool; 5]>(), event, after).prop_map(
        |([kernel, jit, addresses, pid, tid], event, after)| How {
            fold: Config {
                kernel,
                jit,
                pid,
                tid,
                event: event.map(Into::into),
                skip_after: after.into_iter().map(Into::into).collect(),
                ..Config::default()
            },
            addresses,
        },
    )
}

fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(choices)
}

/// Frame lines that inferno names rightly; the others are in `inferno_errors`.
fn frame_line() -> impl Strategy<Value = String> {
    let symbols = one_of(&[
        "main",
        "core::fmt::write",
        "std::rt::lang_start::{{closure}}",
        "[unknown]",
        "a;b",
        "foo(int, char)",
        "net/http.(*Client).Do",
        "std::vector<int, std::allocator<int> >::push_back(int&&)",
        "é",
        "operator+(int)",
        "x::hb90e1c1c787080f0",
        "_$LT$std..fs..File$u20$as$u20$Read$GT$::read::h5d84059cf335c8e6",
        "[(foo)]::bar()",
        "Lorg/mozilla/Foo;::call(Ljava/lang/Object;)V",
        "{lambda(int)#2}::operator+(int) const",
        "f+0x",
        "g+0xzz",
    ]);
    let modules = one_of(&[
        "/usr/bin/app",
        "[kernel.kallsyms]",
        "[unknown]",
        "/tmp/perf-19.map",
        "inlined",
        "/lib/modules/6.1/x.ko",
        "/usr/lib/debug/vmlinux-6.1",
        "/home/u/.debug/jit/jitted-1-2.so",
        "[nf_conntrack]",
        "",
    ]);
    let offsets = prop::option::of(0u32..3);
    let indents = one_of(&["\t", "        ", " "]);
    (indents, 0u64..40, symbols, offsets, modules).prop_map(
        |(indent, pc, symbol, offset, module)| {
            let offset = offset.map(|offset| format!("+0x{offset:x}")).unwrap_or_default();
            format!("{indent}{:>16x} {symbol}{offset} ({module})\n", pc * 0x1001_0001)
        },
    )
}

fn header_line() -> impl Strategy<Value = String> {
    let comms = one_of(&["java", "V8 WorkerThread", "app", "tokio-rt", "a:b", "kworker/0:1"]);
    let events = one_of(&["cycles", "cycles:u", "instructions", "cycles:uppp"]);
    let cpu = prop::option::of(0u8..4)
        .prop_map(|cpu| cpu.map(|cpu| format!("[{cpu:03}] ")).unwrap_or_default());
    let pid = prop::option::of(1u32..4)
        .prop_map(|pid| pid.map(|pid| format!("{pid}/")).unwrap_or_default());
    let period = prop::option::of(1u64..9)
        .prop_map(|period| period.map(|p| format!("{p:>10} ")).unwrap_or_default());
    (comms, pid, 1u32..4, cpu, period, events).prop_map(|(comm, pid, tid, cpu, period, event)| {
        format!("{comm} {pid}{tid} {cpu}1234.567890: {period}{event}: \n")
    })
}

/// One sample, blank line included; the last of a stream may lack it.
pub(crate) fn sample() -> impl Strategy<Value = String> {
    (header_line(), prop::collection::vec(frame_line(), 1..6))
        .prop_map(|(header, frames)| format!("{header}{}\n", frames.concat()))
}

/// Text that `perf script` could have written, with comments.
pub(crate) fn script_text() -> impl Strategy<Value = String> {
    let item = prop_oneof![9 => sample(), 1 => Just("# comment\n".to_owned())];
    (sample(), prop::collection::vec(item, 0..20)).prop_map(|(first, rest)| first + &rest.concat())
}

/// Text that no program should write.
fn odd_text() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(|mut line| {
        line.push(b'\n');
        line
    });
    let cut = (sample(), 0usize..200)
        .prop_map(|(text, at)| text.as_bytes()[..at.min(text.len())].to_vec());
    let item = prop_oneof![
        4 => sample().prop_map(String::into_bytes),
        1 => bytes,
        1 => cut,
        1 => header_line().prop_map(String::into_bytes),
        1 => frame_line().prop_map(String::into_bytes),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"  \r\n".to_vec()),
    ];
    prop::collection::vec(item, 0..20).prop_map(|items| items.concat())
}

/// Samples that differ near their leaves and repeat, sometimes with something odd between their
/// lines.
fn deep_text() -> impl Strategy<Value = String> {
    // Few lines as long as these are looked for as a whole.
    let line = |n: usize| {
        format!(
            "\t{:>16x} a_function_of_a_long_name::f{}+0x{n:x} (/usr/lib/libx.so)\n",
            n * 64,
            n / 2
        )
    };
    let between = one_of(&["", "", "", "", "# comment\n", "odd\n"]);
    let sample = (prop::collection::vec(0usize..9, 0..3), 0usize..6, between, 0usize..8).prop_map(
        move |(leaf, root, between, at)| {
            let mut lines: Vec<String> = leaf.into_iter().chain(root..9).map(line).collect();
            lines.insert(at.min(lines.len()), between.to_owned());
            format!("app 7 1.5: 10 cycles: \n{}\n", lines.concat())
        },
    );
    prop::collection::vec(sample, 0..30).prop_map(|samples| samples.concat())
}

/// At most `.1` bytes a read.
pub(crate) struct Slow<'a>(pub(crate) &'a [u8], pub(crate) usize);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

proptest! {
    #[test]
    fn equals_the_naive_folder(text in script_text(), how in configs()) {
        let naive: BString = naive::fold(text.as_bytes(), &how.fold, how.addresses).into();
        prop_assert_eq!(fold(text.as_bytes(), &how).0, naive);
    }

    #[test]
    fn equals_inferno_where_inferno_is_right(text in script_text(), mut how in configs()) {
        let (ours, tally) = fold(text.as_bytes(), &how);
        // inferno folds the event that happens first.
        how.fold.event = tally.folded.map(|event| flamepipe::fold::base_event(&event).into());
        let theirs = inferno(text.as_bytes(), &how);
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn callers_that_were_met_are_read_as_if_they_were_not(text in deep_text(), step in 1usize..300) {
        let config = Config::default();
        let (whole, tally) = fold(text.as_bytes(), &config);
        let (slow, slow_tally) = fold(Slow(text.as_bytes(), step), &config);
        prop_assert_eq!(&whole, &slow);
        prop_assert_eq!(tally, slow_tally);
        let naive: BString = naive::fold(text.as_bytes(), &config, false).into();
        prop_assert_eq!(whole, naive);
    }

    #[test]
    fn odd_text_neither_panics_nor_depends_on_chunks(text in odd_text(), config in configs(), step in 1usize..40) {
        let (whole, tally) = fold(&text[..], &config);
        let (slow, slow_tally) = fold(Slow(&text, step), &config);
        prop_assert_eq!(&whole, &slow);
        prop_assert_eq!(&tally, &slow_tally);
        prop_assert_eq!(&whole, &fold_line_by_line(&text, &config), "{:?} {:?}", text.as_bstr(), config);
        let out: u64 = whole.lines().map(|line| line.rsplit_str(" ").next().unwrap().to_str().unwrap().parse::<u64>().unwrap()).sum();
        let left_out: u64 = tally.losses().map(|(_, count)| count.weight).sum();
        prop_assert_eq!(tally.read.weight, out + left_out);
    }
}

fn folded(text: &str) -> String {
    fold(text.as_bytes(), &Config::default()).0.to_string()
}

/// perf's text of real programs, with each option alone, with all, and with none.
#[test]
fn real_recordings_fold_as_inferno_folds_them() {
    let test = "real_recordings_fold_as_inferno_folds_them";
    let dd = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=200000"];
    let python = ["python3", "-c", "import json\nfor i in range(9): json.dumps([i] * 99999)"];
    let shell =
        ["sh", "-c", "for i in 1 2 3; do ls -R /usr/lib >/dev/null; sort /etc/passwd; done"];
    // inferno keeps `fopen@@GLIBC_2.2.5`, and takes memory of the program for the kernel's.
    let version = regex::bytes::Regex::new(r"@@?GLIBC\w*(\.\d+)*").unwrap();
    let kernels = regex::bytes::Regex::new(r"\(\[(vdso|vsyscall|stack|heap)\]\)").unwrap();
    // What a program without frame pointers has in their place may look like an address of the
    // kernel. We mark such a frame, inferno does not.
    let odd_kernel =
        regex::bytes::Regex::new(r"(?m)^\s+ffff[0-9a-f]{12} (\[unknown\] \(\[unknown\]\))")
            .unwrap();
    for (options, command) in [
        ("-F 1997 -g -e cpu-clock", &dd[..]),
        ("-F 997 --call-graph dwarf,16384 -e cpu-clock", &python),
        // perf pads shorter names of events, and then inferno takes each sample for 1.
        // Every third fault: by frequency a short process may have none.
        ("-c 3 -g -e minor-faults,major-faults", &shell),
    ] {
        let event = options
            .split([' ', ','])
            .find(|word| word.len() > 2 && word[1..].contains('-') && !word.starts_with("--"));
        let dir = Dir::new();
        let Some(_) = record(&dir, test, options, command) else { return };
        let text = dir.cmd("perf").args(["script", "-i", "perf.data"]).stdout();
        assert!(text.lines().filter(|line| line.is_empty()).count() > 20, "{options}");
        let text = version.replace_all(&text, &b""[..]);
        let text = kernels.replace_all(&text, &b"(program)"[..]);
        let text = odd_kernel.replace_all(&text, &b"\t 1234 $1"[..]);
        let alone = |bit: u32| {
            let on = |which| bit == which || bit == 7;
            let fold = Config {
                kernel: on(0),
                jit: on(1),
                pid: on(3),
                tid: on(4),
                event: if on(5) { event.map(Into::into) } else { None },
                skip_after: on(6).then(|| "do_syscall_64".into()).into_iter().collect(),
                ..Config::default()
            };
            How { fold, addresses: on(2) }
        };
        for bit in 0..=8 {
            let config = alone(bit);
            assert_eq!(
                fold(&text[..], &config).0,
                inferno(&text, &config),
                "{options}: {config:?}"
            );
        }
    }
}

#[test]
fn listings_without_blank_lines_are_samples_too() {
    let line = "         app     7 [001]  1.500000:         10 cycles:  ffffffff81636ec3 f+0x33 ([kernel.kallsyms])\n";
    assert_eq!(folded(&line.repeat(3)), "app;f 30\n");
}

/// As of Linux 6.10 what starts a processor is called `common_startup_64`.
#[test]
fn an_idle_processor_reaches_its_root() {
    let text = "swapper     0/0     [000]  6562.572007462:    1003009 cpu-clock: \n\
        \tffffffff821f4dab pv_native_safe_halt+0xb ([kernel.kallsyms])\n\
        \tffffffff813c5ca5 cpu_startup_entry+0x25 ([kernel.kallsyms])\n\
        \tffffffff812fc053 common_startup_64+0x13b ([kernel.kallsyms])\n\n";
    let folded = Dir::new().cmd("fg-fold").stdin(text).run().success();
    folded.says("100.0 % reach a thread root");
}
