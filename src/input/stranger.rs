//! Recognises files that are often mistaken for profiles, and says what to do with each.

use bstr::ByteSlice;

use crate::error::Error;

/// A kind of file that no stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// As a phrase: `a profile of callgrind`.
    what: &'static str,
    remedy: &'static str,
}

/// Recognises a kind of file by its start.
type Signs = fn(&[u8]) -> bool;

const STRANGERS: [(Signs, Stranger); 12] = [
    (
        is_callgrind,
        Stranger {
            what: "a profile of callgrind",
            remedy: "it keeps no paths of calls, only pairs of caller and callee: open it with callgrind_annotate or kcachegrind, or record the program with fg-record",
        },
    ),
    (
        is_gperftools,
        Stranger {
            what: "a profile of gperftools, or of Go with debug=1",
            remedy: "convert it with `go tool pprof -proto PROGRAM FILE`; get Go's without debug=1",
        },
    ),
    (
        is_pprof_report,
        Stranger {
            what: "a report of pprof",
            remedy: "fold the profile that the report was made from",
        },
    ),
    (
        |start| start.starts_with(b"v8-version,"),
        Stranger {
            what: "a log of V8 (`node --prof`)",
            remedy: "record with `fg-record node --perf-basic-prof`, or read it with `node --prof-process`",
        },
    ),
    (
        is_perf_report,
        Stranger {
            what: "the output of perf report",
            remedy: "fold the recording, perf.data, or the output of `perf script`",
        },
    ),
    (
        is_instruments,
        Stranger {
            what: "a table copied from Instruments",
            remedy: "export the recording with `xctrace export` and fold that",
        },
    ),
    (
        |start| start.starts_with(b"FLR\0"),
        Stranger {
            what: "a recording of Java Flight Recorder",
            remedy: "convert it to folded stacks with jfrconv of async-profiler",
        },
    ),
    (
        |start| start.starts_with(b"\x7fELF"),
        Stranger {
            what: "a program, not a recording",
            remedy: "record it first: fg-record ./program",
        },
    ),
    (is_html, Stranger { what: "a web page", remedy: "save the profile as folded stacks instead" }),
    (
        is_json,
        Stranger {
            what: "JSON of no known profiler",
            remedy: "save the profile as folded stacks instead, or name the format with --format if it is known",
        },
    ),
    (
        |start| start.starts_with(b"!<arch>") || start.starts_with(b"\0asm"),
        Stranger { what: "a compiled program", remedy: "record it first: fg-record ./program" },
    ),
    (
        |start| start.contains(&0),
        Stranger {
            what: "a binary file, but not a recording of perf",
            remedy: "check that it is the right file",
        },
    ),
];

impl Stranger {
    /// The kind of an input that starts with `start`, if it is one of these.
    pub(crate) fn of(start: &[u8]) -> Option<Stranger> {
        STRANGERS.iter().find(|(signs, _)| signs(start)).map(|(_, stranger)| *stranger)
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

/// Whether a stranger has lines that look like the first line of a sample and its frames:
/// `sampling period = 100`, and then `  19490304       27 @ 0xbccc97`.
pub(super) fn passes_for_script(start: &[u8]) -> bool {
    is_gperftools(start) || is_pprof_report(start)
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
                let (low, high) = (word[0].max(word[size - 1]), &word[1..size - 1]);
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

/// `# Overhead  Command  Shared Object  Symbol`
fn is_perf_report(start: &[u8]) -> bool {
    let is_title = |line: &[u8]| line.starts_with(b"#") && line.contains_str("Overhead  ");
    start.lines().any(is_title)
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

    const GPERFTOOLS: &str = "a profile of gperftools, or of Go with debug=1";

    #[test]
    fn strangers_are_named() {
        for (start, what) in [
            (&b"events: Ir\n\nfl=a.c\nfn=main\n16 400\n"[..], Some("a profile of callgrind")),
            (b"v8-version,11,3,244\n", Some("a log of V8 (`node --prof`)")),
            (
                b"# Overhead  Command  Shared Object\n#\n  9.9%  a\n",
                Some("the output of perf report"),
            ),
            (b"\0\0\0\0\x03\0\0\0\x01\0\0\0\x10\x27\0\0\0\0\0\0", Some(GPERFTOOLS)),
            (b"\0\0\0\0\0\0\0\x03", Some("a binary file, but not a recording of perf")),
            (b"{\"a\": []}", Some("JSON of no known profiler")),
            (b"[\n {\"a\": \"X\"}]", Some("JSON of no known profiler")),
            (b"<!DOCTYPE html>\n<html>", Some("a web page")),
            (b"\x7fELF\x02\x01", Some("a program, not a recording")),
            (b"a\0b\0", Some("a binary file, but not a recording of perf")),
            (b"[unknown];f 1\n", None),
            (b"{closure};f 1\n", None),
            (b"events: 5\n", None),
        ] {
            assert_eq!(Stranger::of(start).map(|stranger| stranger.what), what, "{start:?}");
        }
    }
}
