//! Recognises files that are often mistaken for profiles, and says what to do with each.

use bstr::ByteSlice;

use super::json::has_names;
use crate::error::Error;

/// A kind of file that no stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mistaken {
    /// As a phrase: `a profile of callgrind`.
    what: &'static str,
    remedy: &'static str,
}

/// Recognises a kind of file by its start.
type Signs = fn(&[u8]) -> bool;

const MISTAKEN: [(Signs, Mistaken); 23] = [
    (
        is_callgrind,
        Mistaken {
            what: "a profile of callgrind",
            remedy: "it keeps no paths of calls, only pairs of caller and callee: open it with callgrind_annotate or kcachegrind, or record the program with fg-record",
        },
    ),
    (
        is_gperftools,
        Mistaken {
            what: "a profile of gperftools, or of Go with debug=1",
            remedy: "convert it with `go tool pprof -proto PROGRAM FILE`; get Go's without debug=1",
        },
    ),
    (
        is_pprof_report,
        Mistaken {
            what: "a report of pprof",
            remedy: "fold the profile that the report was made from",
        },
    ),
    (
        |start| start.starts_with(b"v8-version,"),
        Mistaken {
            what: "a log of V8 (`node --prof`)",
            remedy: "record with `fg-record node --perf-basic-prof`, or read it with `node --prof-process`",
        },
    ),
    (
        is_perf_report,
        Mistaken {
            what: "the output of perf report",
            remedy: "fold the recording, perf.data, or the output of `perf script`",
        },
    ),
    (
        is_perf_listing,
        Mistaken {
            what: "the output of perf trace, perf annotate or perf sched",
            remedy: "fold the recording, perf.data, or the output of `perf script`",
        },
    ),
    (
        is_strace,
        Mistaken {
            what: "the output of strace or ltrace",
            remedy: "record the program: fg-record --off-cpu shows where it waits",
        },
    ),
    (is_archive, Mistaken { what: "an archive of tar", remedy: "unpack it: tar -xf FILE" }),
    (
        is_bcc,
        Mistaken {
            what: "the output of bcc's profile or offcputime",
            remedy: "run it with -f, which writes folded stacks",
        },
    ),
    (
        is_go_traceback,
        Mistaken {
            what: "a traceback of Go, which has no samples",
            remedy: "record the program with fg-record, or fold a profile of net/http/pprof",
        },
    ),
    (
        |start| start.contains_str("\"linux-perf-json-version\""),
        Mistaken {
            what: "perf.data that `perf data convert` turned into JSON",
            remedy: "fold the recording, perf.data, or the output of `perf script`",
        },
    ),
    (
        is_instruments,
        Mistaken {
            what: "a table copied from Instruments",
            remedy: "export the recording with `xctrace export` and fold that",
        },
    ),
    (
        |start| start.starts_with(b"FLR\0"),
        Mistaken {
            what: "a recording of Java Flight Recorder",
            remedy: "convert it to folded stacks with jfrconv of async-profiler",
        },
    ),
    (
        |start| start.starts_with(b"\x7fELF"),
        Mistaken {
            what: "a program, not a recording",
            remedy: "record it first: fg-record ./program",
        },
    ),
    (is_html, Mistaken { what: "a web page", remedy: "save the profile as folded stacks instead" }),
    (
        |start| start.starts_with(b"\x04\x08{"),
        Mistaken {
            what: "a dump of Ruby's stackprof",
            remedy: "convert it with `stackprof --json FILE`",
        },
    ),
    (
        |start| has_names(start, &["label", "duration", "markers", "ticks"]),
        Mistaken {
            what: "a recording of Firefox's old developer tools",
            remedy: "record it with the Firefox Profiler, and fold the file that this saves",
        },
    ),
    (
        |start| has_names(start, &["meta", "stackwalk", "interval"]),
        Mistaken {
            what: "a raw profile of Firefox, which has addresses instead of names",
            remedy: "open it in profiler.firefox.com, and fold the file that this saves",
        },
    ),
    (
        |start| has_names(start, &["version", "recording", "instrumentTypes"]),
        Mistaken {
            what: "a timeline of Safari",
            remedy: "import it into speedscope, and fold what this exports",
        },
    ),
    (
        |start| has_names(start, &["program", "rts_arguments", "cost_centres"]),
        Mistaken {
            what: "a profile of GHC in JSON",
            remedy: "run the program with +RTS -p instead of -pj, and fold that",
        },
    ),
    (
        is_json,
        Mistaken {
            what: "JSON of no known profiler",
            remedy: "save the profile as folded stacks instead, or name the format with --format if it is known",
        },
    ),
    (
        |start| start.starts_with(b"!<arch>") || start.starts_with(b"\0asm"),
        Mistaken { what: "a compiled program", remedy: "record it first: fg-record ./program" },
    ),
    (
        |start| start.contains(&0),
        Mistaken {
            what: "a binary file, but not a recording of perf",
            remedy: "check that it is the right file",
        },
    ),
];

impl Mistaken {
    /// The kind of an input that starts with `start`, if it is one of these.
    pub(crate) fn of(start: &[u8]) -> Option<Mistaken> {
        MISTAKEN.iter().find(|(signs, _)| signs(start)).map(|(_, mistaken)| *mistaken)
    }

    /// The error of an input called `name`.
    pub(crate) fn refuse(self, name: &str) -> Error {
        Error::Unreadable {
            input: name.into(),
            why: format!("is {}, which cannot be read", self.what),
            remedy: self.remedy.into(),
        }
    }
}

/// `events: Ir`, and a function that costs some (valgrind's `cl-format.html`).
fn is_callgrind(start: &[u8]) -> bool {
    let starts = |word: &[u8]| start.lines().any(|line| line.starts_with(word));
    starts(b"# callgrind format") || starts(b"events: ") && (starts(b"fn=") || starts(b"fl="))
}

/// Whether such a file has lines that look like the first line of a sample and its frames:
/// `sampling period = 100`, and then `  19490304       27 @ 0xbccc97`.
pub(super) fn passes_for_script(start: &[u8]) -> bool {
    is_gperftools(start)
        || is_pprof_report(start)
        || is_perf_listing(start)
        || is_go_traceback(start)
        || is_archive(start)
}

/// Whether such a file has lines that end with a number, as folded stacks do.
pub(super) fn passes_for_folded(start: &[u8]) -> bool {
    is_perf_listing(start) || is_strace(start)
}

/// The formats before pprof's: text, or words of the processor's size (gperftools'
/// `cpuprofile-fileformat.html`): 0, 3, 0, the period in microseconds, 0.
fn is_gperftools(start: &[u8]) -> bool {
    const TEXT: [&str; 8] = [
        "heap profile: ",
        "threadcreate profile: ",
        "goroutine profile: ",
        "--- heapz ",
        "--- growthz ",
        "--- contention",
        "--- threadz ",
        "--- mutex:",
    ];
    let words = |size: usize| {
        let is = |at: usize, value: u8| {
            let word = start.get(at * size..(at + 1) * size);
            word.is_some_and(|word| {
                let low = word[0].max(word[size - 1]);
                let high = &word[1..size - 1];
                low == value
                    && word[0].min(word[size - 1]) == 0
                    && high.iter().all(|&byte| byte == 0)
            })
        };
        is(0, 0) && is(1, 3) && is(4, 0)
    };
    TEXT.iter().any(|text| start.starts_with(text.as_bytes())) || words(8) || words(4)
}

/// `go tool pprof -top`, `-traces` and `-raw`.
fn is_pprof_report(start: &[u8]) -> bool {
    let mut first = start.lines().take(8);
    first.any(|line| {
        line.starts_with(b"Showing nodes accounting for ")
            || line.starts_with(b"PeriodType: ")
            || line.starts_with(b"-----------+-----")
            || line.trim_ascii_start().starts_with(b"flat  flat%   sum%")
    })
}

/// `# Samples: 1K of event 'cycles'` and, below it, `# Overhead  Command  Shared Object  Symbol`
fn is_perf_report(start: &[u8]) -> bool {
    let is_title = |line: &[u8]| {
        line.starts_with(b"#")
            && (line.contains_str("Overhead  ")
                || line.starts_with(b"# Samples: ") && line.contains_str(" of event "))
    };
    start.lines().any(is_title)
}

/// `     0.871 ( 0.018 ms): w/1520 brk() = 0x560b627a0000`, the title of `perf annotate`, and that
/// of `perf sched timehist`.
fn is_perf_listing(start: &[u8]) -> bool {
    let is_call = |line: &[u8]| {
        let (time, rest) = line.trim_ascii_start().split_once_str(" (")?;
        let took = rest[..rest.find("): ")?].trim_ascii();
        let is_time = |text: &[u8]| text.iter().all(|byte| b".?0123456789".contains(byte));
        Some(is_time(time.trim_ascii()) && (took.is_empty() || took.ends_with(b" ms")))
    };
    let mut first = start.lines().filter(|line| !line.trim_ascii().is_empty()).take(8);
    first.any(|line| {
        is_call(line) == Some(true)
            || line.contains_str("Source code & Disassembly of ")
            || line.contains_str("wait time  sch delay   run time")
    })
}

/// `openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY) = 3`, with a process or a time before it.
fn is_strace(start: &[u8]) -> bool {
    let is_call = |line: &&[u8]| {
        let Some((call, result)) = line.rsplit_once_str(" = ") else { return false };
        let call = call.trim_ascii_end();
        let name = call.find_byte(b'(').map(|open| &call[..open]);
        let name = name.and_then(|before| before.rsplit(|&byte| byte == b' ').next());
        let is_name = |name: &[u8]| {
            !name.is_empty() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
        };
        call.ends_with(b")") && name.is_some_and(is_name) && !result.contains(&b';')
    };
    let first: Vec<_> =
        start.lines().filter(|line| !line.trim_ascii().is_empty()).take(8).collect();
    let calls = first.iter().filter(|line| is_call(line)).count();
    calls > 0 && calls * 2 > first.len()
}

/// POSIX's `ustar` in the header of the first file.
fn is_archive(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// `Sampling at 49 Hertz of all threads by user + kernel stack`, `Tracing off-CPU time (us)`
fn is_bcc(start: &[u8]) -> bool {
    start.starts_with(b"Sampling at ") && start.contains_str(" Hertz")
        || start.starts_with(b"Tracing off-CPU time (us)")
}

/// `goroutine 1 [running]:`
fn is_go_traceback(start: &[u8]) -> bool {
    let is_title = |line: &[u8]| line.starts_with(b"goroutine ") && line.ends_with(b"]:");
    start.lines().take(8).any(is_title)
}

/// `Weight`, `Self Weight`, nothing and `Symbol Name`, with tabs in between.
fn is_instruments(start: &[u8]) -> bool {
    let title = start.lines().next().unwrap_or_default();
    title.contains(&b'\t') && title.contains_str("Self Weight")
}

fn is_html(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let starts =
        |word: &[u8]| start.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word));
    starts(b"<!doctype html") || starts(b"<html")
}

/// An object with a name in it, or a list of objects or lists.
fn is_json(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    let Some((bracket, rest)) = text.split_first() else { return false };
    let next = rest.trim_ascii_start().first();
    match bracket {
        b'{' => matches!(next, Some(b'"' | b'}')),
        b'[' => matches!(next, Some(b'{' | b'[')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "the output of perf trace, perf annotate or perf sched";
    const STRACE: &str = "the output of strace or ltrace";
    const GPERFTOOLS: &str = "a profile of gperftools, or of Go with debug=1";

    #[test]
    fn mistaken_files_are_named() {
        for (start, what) in [
            (&b"events: Ir\n\nfl=a.c\nfn=main\n16 400\n"[..], Some("a profile of callgrind")),
            (b"v8-version,11,3,244\n", Some("a log of V8 (`node --prof`)")),
            (
                b"# Overhead  Command  Shared Object\n#\n  9.9%  a\n",
                Some("the output of perf report"),
            ),
            (b"\0\0\0\0\x03\0\0\0\x01\0\0\0\x10\x27\0\0\0\0\0\0", Some(GPERFTOOLS)),
            (b"\0\0\0\0\0\0\0\x03", Some("a binary file, but not a recording of perf")),
            (
                b"# Samples: 43  of event 'cycles'\n#\n# Children      Self  Command\n",
                Some("the output of perf report"),
            ),
            (b"     ? (         ): w/1  ... [continued]: execve()) = 0\n", Some(LISTING)),
            (b"     0.871 ( 0.018 ms): w/1 brk()      = 0x560b\n", Some(LISTING)),
            (b" Percent |\tSource code & Disassembly of w (30 samples)\n", Some(LISTING)),
            (
                b"    time    cpu  task name    wait time  sch delay   run time\n 1.5 [00] a 0 0 0\n",
                Some(LISTING),
            ),
            (b"execve(\"./w\", [\"w\"], 0x7f) = 0\nbrk(NULL)   = 0x55\n", Some(STRACE)),
            (b"7 12:00:01 read(3, \"\\177\", 832) = 832\n", Some(STRACE)),
            (b"malloc(12)   = 0x12\nfree(0x12)  = <void>\n", Some(STRACE)),
            (b"f(int) = 1;g 5\n", None),
            (b"main;operator=(A) 5\n", None),
            (b"Sampling at 49 Hertz of all threads\n", Some("the output of bcc's profile or offcputime")),
            (
                b"goroutine 1 [running]:\nmain.f()\n\t/a.go:8 +0x1d\n",
                Some("a traceback of Go, which has no samples"),
            ),
            (b"\x04\x08{\x0b:\x0cversion", Some("a dump of Ruby's stackprof")),
            (
                b"{\"meta\":{\"version\":27,\"interval\":1,\"stackwalk\":1}}",
                Some("a raw profile of Firefox, which has addresses instead of names"),
            ),
            (
                b"{\"label\":\"a\",\"duration\":4,\"markers\":[],\"ticks\":[],\"profile\":{\"meta\":{}}}",
                Some("a recording of Firefox's old developer tools"),
            ),
            (
                b"{\"version\":1,\"recording\":{\"instrumentTypes\":[]}}",
                Some("a timeline of Safari"),
            ),
            (
                b"{\n\"program\": \"a\",\n\"rts_arguments\": [\"-pj\"],\n\"cost_centres\": []}",
                Some("a profile of GHC in JSON"),
            ),
            (b"{\"a\": []}", Some("JSON of no known profiler")),
            (b"[\n {\"a\": \"X\"}]", Some("JSON of no known profiler")),
            (b"<!DOCTYPE html>\n<html>", Some("a web page")),
            (b"\x7fELF\x02\x01", Some("a program, not a recording")),
            (b"a\0b\0", Some("a binary file, but not a recording of perf")),
            (b"[unknown];f 1\n", None),
            (b"{closure};f 1\n", None),
            (b"events: 5\n", None),
        ] {
            assert_eq!(Mistaken::of(start).map(|mistaken| mistaken.what), what, "{start:?}");
        }
    }
}
