//! Reads text as perf, other profilers and editors write it: its meaning, or that it is not a
//! profile.

use bstr::ByteSlice;

use super::{Config, folded};
use crate::harness::Dir;
use crate::recording::record;

const FRAMES: &str =
    "\t          401253 hot+0x1 (/srv/mt)\n\t          401300 main+0x1 (/srv/mt)\n\n";

/// perf script -F, with fields more and fields less.
#[test]
fn any_fields_may_be_printed() {
    let plain = format!("mt 17163  1629.855127:  7 cycles: \n{FRAMES}");
    for text in [
        plain.clone(),
        // +addr
        plain.replace("cycles: ", "cycles:     55dde83a7050 buf+0x0 (/srv/mt)"),
        plain.replace("cycles: ", "cycles:     55dde83a7050 [unknown] ([unknown])"),
        // +misc, -tid, -comm
        plain.replace("17163 ", "17163 U    "),
        plain.replace("17163 ", "17163 [001] KSp    "),
        plain.replace("17163 ", ""),
        // +dsoff, -dso, +srcline, +insn, +flags
        plain.replace("(/srv/mt)", "(/srv/mt+0x1253)"),
        plain.replace(" (/srv/mt)", ""),
        plain.replace("(/srv/mt)\n", "(/srv/mt)\n  mt.c:12\n"),
        plain.replace("(/srv/mt)\n\n", "(/srv/mt)\n insn: 66 0f ef c0\n"),
        plain.replace("cycles: ", "cycles:   int              "),
        // Not indented, by tabs.
        plain.replace("\t          ", ""),
        plain.replace(' ', "\t"),
        plain.replace("\t          ", "    ").replace(" hot", "\thot").replace(" main", "\tmain"),
    ] {
        let text = text.repeat(3);
        assert_eq!(folded(&text), "mt;main;hot 21\n", "{text}");
        let outcome =
            Dir::new().cmd("fg-fold").args(["--strict", "--no-unit"]).stdin(&*text).run().success();
        assert_eq!(outcome.stdout, "mt;main;hot 21\n", "{text}");
    }
    // -time, -event, -period
    assert_eq!(folded(&plain.replace("1629.855127:", "")), "mt;main;hot 7\n");
    assert_eq!(folded(&plain.replace("cycles:", "")), "mt;main;hot 7\n");
    assert_eq!(folded(&plain.replace(" 7 ", " ")), "mt;main;hot 1\n");
    assert_eq!(folded(&plain.replace("mt 17163", "17163")), "[unknown];main;hot 7\n");
}

#[test]
fn frames_without_a_first_line_are_of_an_unknown_thread() {
    let fold = |text: &str| {
        let outcome =
            Dir::new().cmd("fg-fold").args(["--strict", "--no-unit"]).stdin(text).run().success();
        outcome.stdout.to_string()
    };
    // -F ip,sym,dso and -F ip,sym of call chains, -F ip,sym of none.
    let chains = format!("\n{FRAMES}").repeat(2);
    assert_eq!(fold(&chains), "[unknown];main;hot 2\n");
    assert_eq!(fold(&chains.replace(" (/srv/mt)", "")), "[unknown];main;hot 2\n");
    assert_eq!(fold(&FRAMES.repeat(2)), "[unknown];main;hot 2\n");
    // -F comm,ip,sym,dso
    let named = format!("mt \n{FRAMES}\nV8 WorkerThread \n{FRAMES}\n").replace("\n\n\n", "\n\n");
    assert_eq!(fold(&named), "V8_WorkerThread;main;hot 1\nmt;main;hot 1\n");
    // If a thread was named before, a frame behind a blank line is odd.
    let torn = format!("mt 1 1.5: 7 cycles: \n{FRAMES}\t          401300 main+0x1 (/srv/mt)\n\n");
    assert_eq!(folded(&torn), "mt;main;hot 7\n");
    let flat = "     55efdbd06136 f\n     55efdbd06142 g\n     55efdbd06136 f\n";
    assert_eq!(fold(flat), "[unknown];f 2\n[unknown];g 1\n");
}

/// A field of the first line is no thread, and each sample has another time.
#[test]
fn first_lines_may_lack_the_thread_or_the_time() {
    let fold = |first: &str| {
        let text = format!("{first} \n{FRAMES}\n").repeat(2).replacen("1629.8", "1629.7", 1);
        let outcome = Dir::new().cmd("fg-fold").args(["--strict"]).stdin(&*text).run().success();
        outcome.stdout.to_string()
    };
    for (first, folded) in [
        ("1629.855127:", "[unknown];main;hot 2\n"),
        ("mt 1629.855127:", "mt;main;hot 2\n"),
        ("1629.855127:    2004008 cpu-clock:", "# unit: ns 0\n[unknown];main;hot 4008016\n"),
        ("   2004008", "[unknown];main;hot 4008016\n"),
        ("mt    2004008", "mt;main;hot 4008016\n"),
        ("   2004008 cpu-clock:", "# unit: ns 0\n[unknown];main;hot 4008016\n"),
        ("mt cycles:", "mt;main;hot 2\n"),
        ("17163/17163", "[unknown];main;hot 2\n"),
    ] {
        assert_eq!(fold(first), folded, "{first}");
    }
}

#[test]
fn other_records_and_messages_are_no_samples() {
    let sample = format!("app 100 1.0:  7 cycles: \n{FRAMES}");
    for line in [
        "app 100/100 [003] 1.000100: PERF_RECORD_SWITCH_CPU_WIDE OUT preempt  next pid/tid:     0/0",
        "app 100/100 [003] 1.000100: PERF_RECORD_FORK(100:101):(100:100)",
        "app 100 0.000000: PERF_RECORD_MMAP2 100/100: [0x400000(0x1000) @ 0 08:01 12 0]: r-xp /usr/bin/app",
        " instruction trace error type 1 time 4525.744123981 cpu 0 pid 21595 tid 21595 ip 0 code 8: Lost trace data",
        "WARNING: The perf.data file data size field is 0 which is unexpected.",
        "Failed to open /tmp/perf-12964.map, continuing without symbols",
        "addr2line: DWARF error: section .debug_info is larger than its filesize!",
        "perf 12 is what was said",
    ] {
        let text = format!("{line}\n{sample}{line}\n{line}\n\n{sample}");
        let outcome = Dir::new().cmd("fg-fold").stdin(&*text).run().success();
        assert_eq!(outcome.stdout, "# unit: cycles 0\napp;main;hot 14\n", "{line}");
        outcome.says("fg-fold: 2 samples ").says("3 odd lines or records skipped");
        // A filter passes it on.
        let filter =
            Dir::new().cmd("fg-filter").args(["-q", "--drop", "nothing"]).stdin(&*text).stdout();
        assert_eq!(filter, text.as_bytes(), "{line}");
    }
}

/// `--itrace=be`: the frame of a branch is where it came from.
#[test]
fn branches_are_no_names() {
    let to = "7f85fc8da190 foo+0x10 (/usr/lib/a.so) =>     7f85fc8da200 bar+0x0 (/usr/lib/a.so)";
    let text =
        format!("zeek 21595 [000] 4525.744124:      1         branches:u:  {to}\n").repeat(2);
    assert_eq!(folded(&text), "zeek;foo 2\n");
    let outcome = Dir::new().cmd("fg-fold").stdin(&*text).run().success();
    outcome.says("2 samples · 0.0 % reach a thread root · no call chains, so the graph is flat");
}

/// `--insn-trace`, `--xed` and `-F +ipc`.
#[test]
fn instructions_are_no_parts_of_names() {
    for end in ["\t\tpush %rbp", " insn: 55", " \t IPC: 0.50 (1/2)"] {
        let text = format!("a 7 [000] 4.5:  1 instructions:u:  401000 f+0x1 (/a){end}\n").repeat(2);
        assert_eq!(folded(&text), "a;f 2\n", "{end}");
    }
}

#[test]
fn the_kernel_is_told_by_module_or_address() {
    for (frame, is_kernel) in [
        ("ffffffff81000010 f ([kernel.kallsyms])", true),
        ("ffffffff81000010 f ([guest.kernel.kallsyms.1234])", true),
        ("ffffffffc0000012 f ([ext4])", true),
        ("ffffffffc0000013 f (/lib/modules/6.1.0/kernel/fs/ext4/ext4.ko.xz)", true),
        ("ffffffffc0000017 f (bpf_prog_6deef7357e7b4530_f)", true),
        ("ffff80000810001b f (/proc/kcore)", true),
        ("ffffffff8100001a [unknown] ([unknown])", true),
        ("ffffffff8100001a f", true),
        ("    7ffc8100001d f ([vdso])", false),
        ("ffffffffff600000 f ([vsyscall])", false),
        ("    7ffc8100001d f ([heap])", false),
        ("    7ffc8100001d [unknown] ([unknown])", false),
        ("          40101e f", false),
    ] {
        let text = format!("app 10 1.0:  1 cycles: \n\t{frame}\n\t          40101e main (/a)\n\n")
            .repeat(3);
        let name = if frame.contains("[unknown] (") { "[unknown]" } else { "f" };
        let mark = if is_kernel { "_[k]" } else { "" };
        let config = Config { kernel: true, ..Config::default() };
        let ours = super::fold(text.as_bytes(), &config).0;
        assert_eq!(ours, format!("app;main;{name}{mark} 3\n"), "{frame}");
    }
}

#[test]
fn an_event_without_chains_may_come_first() {
    let bare = "srv 28142 [004] 42460.0868: syscalls:sys_enter_getgid: \n".repeat(3);
    let chain = format!("srv 28142 [000] 515038.5: kmem:kmalloc: call_site=ff ptr=0x1\n{FRAMES}");
    assert_eq!(folded(&(bare + &chain)), "srv;main;hot 1\n");
}

#[test]
fn packed_and_encoded_text_is_read_by_all_stages() {
    let dir = Dir::new();
    let text = "a;b 10\na;c 20\n";
    let utf16: Vec<u8> =
        "\u{feff}a;b 10\r\na;c 20\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    dir.write("bom.folded", format!("\u{feff}{text}"));
    dir.write("utf16.folded", utf16);
    dir.write("x.folded.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    dir.write("plain.folded", text);
    let plain = dir.cmd("fg-render").args(["-q", "--title", "t", "plain.folded"]).stdout();
    for name in ["bom.folded", "utf16.folded", "x.folded.zst"] {
        assert_eq!(dir.cmd("fg-fold").args(["-q", name]).stdout(), text, "{name}");
        assert_eq!(dir.cmd("fg-fold").args(["-q"]).stdin(dir.read(name)).stdout(), text);
        assert_eq!(
            dir.cmd("fg-filter").args(["-q", "--keep", "b", name]).stdout().trim_end(),
            b"a;b 10"
        );
        assert_eq!(
            dir.cmd("fg-diff").args(["-q", name, "plain.folded"]).stdout(),
            "a;b 10 10\na;c 20 20\n"
        );
        let drawn = dir.cmd("fg-render").args(["-q", "--title", "t", name]).stdout();
        assert_eq!(
            drawn.contains_str("<title>b (10 samples"),
            plain.contains_str("<title>b (10 samples")
        );
    }
    // Without anything to do a filter is cat, whatever it is given.
    assert_eq!(dir.cmd("fg-filter").arg("bom.folded").stdout(), dir.read("bom.folded"));
    // A graph of ours, packed.
    dir.cmd("fg-render").args(["-q", "-o", "g.svg", "plain.folded"]).run().success();
    dir.write("g.svgz", zstd::encode_all(&dir.read("g.svg")[..], 1).unwrap());
    assert_eq!(dir.cmd("fg-fold").args(["-q", "g.svgz"]).stdout(), text);
    dir.write("x.bz2", "BZh91AY&SY");
    dir.cmd("fg-fold")
        .arg("x.bz2")
        .run()
        .code(1)
        .says("x.bz2 is compressed with bzip2")
        .says("bunzip2 -c");
}

#[test]
fn a_first_line_may_be_long() {
    let dir = Dir::new();
    let deep =
        format!("{} 7\n", (0..20_000).map(|i| format!("f{i}")).collect::<Vec<_>>().join(";"));
    dir.write("deep.folded", &deep);
    assert_eq!(dir.cmd("fg-fold").args(["-q", "deep.folded"]).stdout(), deep);
    assert_eq!(dir.cmd("fg-filter").args(["-q", "--keep", "^f9$", "deep.folded"]).stdout(), deep);
}

#[test]
fn a_blank_behind_a_semicolon_makes_no_other_frame() {
    let text = "a; b;  c d 1\na;b;c d 2\n";
    assert_eq!(Dir::new().cmd("fg-fold").arg("-q").stdin(text).stdout(), "a;b;c d 3\n");
}

#[test]
fn maps_of_bpftrace_are_folded() {
    let text = "Attaching 1 probe...\n\n@[\n    f+38642\n    main+3\n    0x5541f689495641d7\n]: 1\n@[\n    \
                kf+1\n\n    main+2\n, my bash]: 5\n";
    assert_eq!(
        Dir::new().cmd("fg-fold").args(["-q", "--strict"]).stdin(text).stdout(),
        "0x5541f689495641d7;main;f 1\nmy bash;main;kf 5\n"
    );
}

#[test]
fn what_is_no_profile_is_named() {
    let dir = Dir::new();
    for (text, what) in [
        ("events: Ir\n\nfl=a.c\nfn=main\n16 400\n17 20\n18 5\n", "a profile of callgrind"),
        (
            "version: 1\ncreator: callgrind-3.19\nevents: Ir\nfl=(1) a.c\nfn=(1) main\n16 4\n",
            "a profile of callgrind",
        ),
        ("v8-version,11,3,244,8,-node.38,0\nv8-platform,linux,linux\n", "a log of V8"),
        ("{\"nodes\": [1]}\n", "JSON"),
        ("# Overhead  Command\n    10.31%  p\n", "the output of perf report"),
        ("\u{7f}ELF\u{2}\u{1}\0\0", "a program, not a recording"),
        // Each of these has a line that could be the first one of a sample, and then frames.
        (
            "Showing nodes accounting for 150, 100% of 150 total\n      flat  flat%   sum%        cum   cum%\n        \
             80 53.33% 53.33%        130 86.67%  line3002 (inline)\n",
            "a report of pprof",
        ),
        (
            "File: app\nType: cpu\nDuration: 10s, Total samples = 1.12s (11.20%)\n\
             -----------+---------------\n      key1:  tag1\n        1s   0000000000001000 f a.c:1\n             \
             0000000000002000 g a.c:9 (inline)\n",
            "a report of pprof",
        ),
        (
            "PeriodType: cpu nanoseconds\nPeriod: 10000000\nSamples:\nsamples/count cpu/nanoseconds\n          \
             1   10000000: 1 2 3 4 5\n          2   20000000: 6 2 3 4 5\n",
            "a report of pprof",
        ),
        (
            "--- contentionz 1 ---\ncycles/second = 3201000000\nsampling period = 100\n  19490304       27 @ 0xbccc97 0xc61202\n",
            "a profile of gperftools",
        ),
        (
            "heap profile:    144:  8498176 [   144:  8498176] @ heapz_v2/524288\n     1:     9216 [     1:     9216] @ 0xc635c8\n",
            "a profile of gperftools",
        ),
    ] {
        dir.write("x", text);
        for (program, args) in [
            ("fg-fold", &["x"][..]),
            ("fg-render", &["x"]),
            ("fg-filter", &["--keep", "main", "x"]),
            ("fg-diff", &["x", "x"]),
            ("fg-script", &["x"]),
            ("flamegraph", &["--perfdata", "x"]),
        ] {
            let outcome = dir.cmd(program).args(args).run().code(1);
            let outcome = outcome.says(&format!("x is {what}"));
            assert!(outcome.stdout.is_empty(), "{program} {text}");
        }
    }
}

/// Law 3, of recordings with several events and of such without call chains.
#[test]
fn the_first_event_that_is_listed_is_folded() {
    let test = "the_first_event_that_is_listed_is_folded";
    let spin =
        ["sh", "-c", "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done; ls -R /usr/lib >/dev/null"];
    for (options, unit) in [
        ("-F 997 -g -e cpu-clock,page-faults", "# unit: ns 0"),
        ("-F 997 -g -e page-faults,cpu-clock", "# unit: page-faults 0"),
        ("-F 997 -e cpu-clock", "# unit: ns 0"),
    ] {
        let dir = Dir::new();
        let Some(_) = record(&dir, test, options, &spin) else { return };
        let alone = dir.cmd("fg-fold").args(["-q", "--no-inline", "perf.data"]).stdout();
        assert!(alone.starts_with(unit.as_bytes()), "{options}: {alone}");
        let text = dir.cmd("fg-script").args(["-q", "--no-inline", "perf.data"]).stdout();
        assert_eq!(dir.cmd("fg-fold").arg("-q").stdin(&text).stdout(), alone, "{options}");
        let by_perf = dir
            .cmd("fg-fold")
            .args(["-q", "--no-inline", "--backend", "perf", "perf.data"])
            .stdout();
        assert!(by_perf.starts_with(unit.as_bytes()), "{options}: {by_perf}");
    }
}

#[test]
fn a_recording_without_call_chains_is_a_flat_graph() {
    let test = "a_recording_without_call_chains_is_a_flat_graph";
    let dir = Dir::new();
    let spin = ["sh", "-c", "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done"];
    let Some(_) = record(&dir, test, "-F 997 -e cpu-clock", &spin) else { return };
    let says = "no call chains, so the graph is flat";
    dir.cmd("flamegraph")
        .args(["--no-inline", "--perfdata", "perf.data", "-o", "a.svg"])
        .run()
        .success()
        .says(says);
    dir.cmd("fg-fold").args(["--no-inline", "perf.data", "-o", "a"]).run().success().says(says);
    dir.cmd("fg-fold")
        .args(["--backend", "perf", "perf.data", "-o", "b"])
        .run()
        .success()
        .says(says);
    dir.cmd("fg-script").args(["perf.data", "-o", "t"]).run().success().says(says);
    let folded = dir.read("a");
    let depths = folded.lines().skip(1).map(|line| line.split_str(";").count());
    assert!(depths.max().unwrap() == 2, "{folded}");
    let text = dir.cmd("perf").args(["script", "-i", "perf.data"]).stdout();
    dir.write("text", &text);
    dir.cmd("fg-fold").args(["text", "-o", "c"]).run().success().says(says);
}

#[test]
fn a_newline_in_a_name_forges_no_stack() {
    let test = "a_newline_in_a_name_forges_no_stack";
    let dir = Dir::new();
    let name =
        "printf 'my\\nworker 7' > /proc/$$/comm; i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done";
    let Some(_) = record(&dir, test, "-F 997 -g -e cpu-clock", &["sh", "-c", name]) else { return };
    let outcome = dir.cmd("fg-fold").arg("perf.data").run().success();
    let outcome = outcome.says("1 name with replaced bytes");
    assert!(
        outcome.stdout.lines().any(|line| line.starts_with(b"my?worker_7;")),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stdout.lines().all(|line| !line.starts_with(b"worker")), "{}", outcome.stdout);
    let text = dir.cmd("fg-script").args(["-q", "perf.data"]).stdout();
    assert_eq!(dir.cmd("fg-fold").arg("-q").stdin(&text).stdout(), outcome.stdout);
}

/// Offsets are as perf counts them: from the start of the symbol to the address, even if that is a
/// return address.
#[test]
fn offsets_lead_to_the_address() {
    let test = "offsets_lead_to_the_address";
    let dir = Dir::new();
    let dd = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", "count=100000"];
    let Some(_) = record(&dir, test, "-F 997 -g -e cpu-clock", &dd) else { return };
    let lines = |program: &str, args: &[&str]| {
        let text = dir.cmd(program).args(args).stdout();
        let lines =
            text.lines().filter(|line| line.starts_with(b"\t") && line.contains_str("libc"));
        // `f83e7 llseek+0x7 (…)`: a function may have several names, all with the same offset.
        lines
            .map(|line| {
                let frame = line.trim().to_str_lossy().into_owned();
                let (address, rest) = frame.split_once(' ').unwrap();
                let offset = rest.rsplit_once('+').map_or("", |(_, offset)| offset);
                format!("{address} +{offset}")
            })
            .collect::<std::collections::BTreeSet<_>>()
    };
    let ours = lines("fg-script", &["-q", "perf.data"]);
    let perf = lines("perf", &["script", "-i", "perf.data"]);
    let both = ours.intersection(&perf).count();
    assert!(both * 10 >= perf.len() * 9, "{both} of {}: {ours:#?} {perf:#?}", perf.len());
}

/// A cut in the middle of a sample, or of the digits of a weight, must not pass for the whole.
#[test]
fn text_that_is_cut_is_said_to_be() {
    let script = format!("mt 7  1.855127:  7 cycles: \n{FRAMES}").repeat(2);
    for end in 1..=script.len() {
        let is_whole = end % (script.len() / 2) == 0;
        let (_, tally) = super::fold(&script.as_bytes()[..end], &Config::default());
        assert_eq!(tally.is_clean(), is_whole, "{:?}", &script[..end]);
    }
    let dir = Dir::new();
    for (text, code) in
        [("main;f 123\nmain;g 4\n", 0), ("main;f 123\nmain;g 4", 3), ("main;f 12", 3)]
    {
        let outcome = dir.cmd("fg-fold").args(["--strict"]).stdin(text).run().code(code);
        assert_eq!(outcome.stderr.contains_str("1 input cut short at its end"), code == 3);
        dir.cmd("fg-filter").args(["--strict", "--keep", "main"]).stdin(text).run().code(code);
    }
    dir.write("whole", &script);
    dir.write("cut", &script[..script.len() - 1]);
    for (file, code) in [("whole", 0), ("cut", 3)] {
        dir.cmd("fg-fold").args(["--strict", file]).run().code(code);
    }
}
