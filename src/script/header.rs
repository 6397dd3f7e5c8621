//! Reads the first line of a sample in perf-script text.
//!
//! ```text
//! java 25607 4794564.109216: cycles:
//! V8 WorkerThread 24636/25607 [000] 94564.109216:     257597 cycles:uppp:
//! false 64414 20110.539270:      34467 cycles:u:  ffffffff9aa3c8de [unknown] ([unknown])
//! swapper     0 [001]  11.5: sched:sched_switch: prev_comm=swapper/1 prev_pid=0
//! :-1    -1 [000]  5.000001:          1 cpu_core/cycles/:
//! app 10557 [001] U      1925.671328:   10309278 cpu-clock:      with `perf script -F +misc`
//! app  1925.671328:   10309278 cpu-clock:                        with `-F -tid`
//! app  1925.671328:                                              with `-F comm,time,ip,sym`
//! app   10309278 cpu-clock:                            with `-F comm,period,event,ip,sym`
//! ```
//!
//! A comm may hold anything, digits and colons too. So the line is read from its time,
//! `12.345678:`, because no other field looks like that. Only lines without a time are read from
//! the left. Those with neither a time nor a thread could be anything: see [`Header::bare`].

use std::ops::Range;

use bstr::{BStr, ByteSlice};

use super::line;
use super::numbers::{is_time, leading_number, leading_time, nanoseconds, number, position};

/// The first line of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// The thread's name, trimmed.
    pub comm: &'a BStr,
    /// The process, if perf prints it (`-F pid`), as `pid/tid`.
    pub pid: Option<u32>,
    /// The thread; `None` if perf prints -1.
    pub tid: Option<u32>,
    /// The CPU.
    pub cpu: Option<u32>,
    /// In nanoseconds.
    pub time: Option<u64>,
    /// How many units of the event the sample stands for.
    pub period: Option<u64>,
    /// The event with its modifiers, without the final colon.
    pub event: &'a BStr,
    /// The trimmed text after the event: a tracepoint's payload, or the only frame.
    pub rest: &'a BStr,
}

impl<'a> Header<'a> {
    /// Parses a line. `None` if it is not the first line of a sample.
    pub fn parse(line: &'a [u8]) -> Option<Header<'a>> {
        let line = line.trim_ascii_end();
        let mut header = Header::default();
        let (who, what) = match find_time(line) {
            Some((start, end)) => {
                header.time = nanoseconds(&line[start..end]);
                (&line[..start], &line[end + 1..])
            }
            None => split_after_thread(line)?,
        };
        header.parse_what(what)?;
        header.parse_who(who)?;
        Some(header)
    }

    /// Parses a line with only some of a thread's name, its number, a period and an event: `perf
    /// script -F comm,ip,sym`. Other text looks like that, too, so the caller must know that a
    /// sample begins.
    pub fn bare(line: &'a [u8]) -> Option<Header<'a>> {
        let mut header = Header::default();
        let mut who = line.trim_ascii_end();
        let (before, word) = split_last_word(who);
        if let Some(event) = word.strip_suffix(b":") {
            header.event = event.trim_end_with(|c| c == ':').as_bstr();
            who = before;
        }
        if let Some((before, period)) = split_period(who) {
            header.period = Some(period);
            who = before;
        }
        let (before, word) = split_last_word(who);
        if let Some(thread) = thread_of(word).filter(|_| before.is_empty()) {
            (header.pid, header.tid) = thread;
        } else if line::is_comm(who) {
            header.comm = who.trim_ascii().as_bstr();
        } else if !who.trim_ascii().is_empty() {
            return None;
        }
        (!line.starts_with(b"\t") && header != Header::default()).then_some(header)
    }

    /// Whether nothing else looks like this line. Otherwise frames must follow.
    pub fn is_sure(&self) -> bool {
        let has_thread = self.pid.is_some() || self.tid.is_some();
        let signs = [has_thread, self.time.is_some(), !self.event.is_empty()];
        signs.into_iter().filter(|&sign| sign).count() > 1
    }

    /// The same, faster where the line starts like the `last` one that was parsed.
    pub(crate) fn parse_after(line: &'a [u8], last: &mut Last) -> Option<Header<'a>> {
        let line = line.trim_ascii_end();
        if let Some(header) = last.parse(line) {
            return Some(header);
        }
        let header = Header::parse(line)?;
        // Without a thread, only the rest of the line shows that this is a sample.
        let has_thread = header.pid.is_some() || header.tid.is_some();
        if let Some((start, _)) = find_time(line).filter(|(start, _)| *start > 0 && has_thread) {
            let blanks = line.len() - line.trim_ascii_start().len();
            let Header { comm, pid, tid, cpu, .. } = header;
            last.learn(Known {
                text: line[..start].to_vec(),
                comm: blanks..blanks + comm.len(),
                pid,
                tid,
                cpu,
            });
        }
        Some(header)
    }

    /// `V8 WorkerThread 24636/25607 [000] `
    fn parse_who(&mut self, who: &'a [u8]) -> Option<()> {
        let mut who = without_date(who.trim_ascii_end());
        let (mut before, mut last) = split_last_word(who);
        // `-F +misc`: the mode, in letters.
        if !before.is_empty()
            && !last.is_empty()
            && last.iter().all(|mode| b"KUHGgMESp".contains(mode))
        {
            let (_, thread) = split_last_word(before);
            if thread.ends_with(b"]") || thread_of(thread).is_some() {
                who = before;
                (before, last) = split_last_word(who);
            }
        }
        if let Some(cpu) = last.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]")) {
            self.cpu = Some(number(cpu)?);
            who = before;
        }
        let (comm, thread) = split_last_word(who);
        match thread_of(thread) {
            Some(thread) => {
                (self.pid, self.tid) = thread;
                self.comm = comm.trim_ascii().as_bstr();
            }
            // With `-F -tid`, only a time and an event show that this is a sample, or frames behind
            // a time.
            None if self.time.is_some() && (!self.event.is_empty() || self.rest.is_empty()) => {
                self.comm = who.trim_ascii().as_bstr();
            }
            None => return None,
        }
        Some(())
    }

    /// ` 257597 cycles:uppp: rest`. `None` for other records, such as `PERF_RECORD_LOST lost 12`.
    fn parse_what(&mut self, what: &'a [u8]) -> Option<()> {
        let what = what.trim_ascii_start();
        if what.starts_with(b"PERF_RECORD_") {
            return None;
        }
        let (period, len) = leading_number(what);
        // `-F -event`
        if len == what.len() {
            self.period = period;
            return Some(());
        }
        let (mut event, mut after) = split_word(&what[len..]);
        if period.is_some() && event.is_empty() {
            (event, after) = split_word(after);
            if event.ends_with(b":") {
                self.period = period;
            } else {
                (event, after) = split_word(what);
            }
        } else {
            event = &what[..len + event.len()];
        }
        match event.strip_suffix(b":") {
            Some(mut name) => {
                // An old perf prints `cycles:` at the end of a line. `::` is an empty modifier.
                while let Some(shorter) = name.strip_suffix(b":") {
                    name = shorter;
                }
                self.event = name.as_bstr();
                self.rest = after.as_bstr();
            }
            None => self.rest = what.as_bstr(),
        }
        Some(())
    }
}

/// The text before the time in the last samples. Most samples follow one of the same thread on the
/// same CPU, or of the threads that take turns. This saves 6 % of fg-fold's CPU on text with call
/// chains, and 21 % on text without.
#[derive(Default)]
pub(crate) struct Last {
    known: Vec<Known>,
    /// The one to forget next.
    oldest: usize,
}

/// The text before a time.
struct Known {
    text: Vec<u8>,
    /// The range of the comm in `text`.
    comm: Range<usize>,
    pid: Option<u32>,
    tid: Option<u32>,
    cpu: Option<u32>,
}

impl Last {
    /// More would take longer to compare than a header takes to be read.
    const MOST: usize = 4;

    fn parse<'a>(&self, line: &'a [u8]) -> Option<Header<'a>> {
        self.known.iter().find_map(|known| known.parse(line))
    }

    fn learn(&mut self, known: Known) {
        if self.known.len() < Self::MOST {
            self.known.push(known);
        } else {
            self.known[self.oldest] = known;
            self.oldest = (self.oldest + 1) % Self::MOST;
        }
    }
}

impl Known {
    /// `line`, if it has its time where this one had it.
    fn parse<'a>(&self, line: &'a [u8]) -> Option<Header<'a>> {
        let rest = line.strip_prefix(&*self.text)?;
        let (time, end) = leading_time(rest)?;
        let mut header = Header {
            comm: line[self.comm.clone()].as_bstr(),
            pid: self.pid,
            tid: self.tid,
            cpu: self.cpu,
            time,
            ..Header::default()
        };
        header.parse_what(&rest[end + 1..])?;
        Some(header)
    }
}

/// The range of the time without its colon: the first word of the form `12.345678:`.
fn find_time(line: &[u8]) -> Option<(usize, usize)> {
    // A line of JSON may have a million colons and no blank.
    let is_of_time = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    memchr::memchr_iter(b':', line).find_map(|end| {
        let start = line[..end].iter().rposition(|byte| !is_of_time(byte)).map_or(0, |at| at + 1);
        let is_word = start == 0 || is_blank(line[start - 1]);
        (is_word && is_time(&line[start..end])).then_some((start, end))
    })
}

/// Splits a line without a time after the first word of digits, or after a `[cpu]` behind that.
fn split_after_thread(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let mut at = 0;
    loop {
        let start = at + line[at..].find_not_byteset(b" \t")?;
        let end = line[start..].find_byteset(b" \t").map_or(line.len(), |len| start + len);
        let is_thread =
            || thread_of(&line[start..end]).is_some() && split_period(&line[..end]).is_none();
        if start > 0 && is_thread() {
            let rest = line[end..].trim_ascii_start();
            let (word, _) = split_word(rest);
            let cpu = word.starts_with(b"[") && word.ends_with(b"]");
            let middle = if cpu { line.len() - rest.len() + word.len() } else { end };
            return Some(line.split_at(middle));
        }
        at = end;
    }
}

/// `app 7 2026-01-31 23:59:59.123456`, of `-F +tod`, is `app 7`.
fn without_date(who: &[u8]) -> &[u8] {
    let (before, clock) = split_last_word(who);
    let is_of = |word: &[u8], signs: &[u8]| {
        word.iter().all(|byte| byte.is_ascii_digit() || signs.contains(byte))
            && word.iter().filter(|byte| signs.contains(byte)).count() == signs.len() + 1
    };
    let (who_alone, date) = split_last_word(before);
    let is_clock = clock.rsplit_once_str(".").is_some_and(|(clock, _)| is_of(clock, b":"));
    if is_clock && is_of(date, b"-") { who_alone } else { who }
}

/// Splits off a period at the end, which perf prints in ten columns, unlike a thread.
fn split_period(text: &[u8]) -> Option<(&[u8], u64)> {
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = text.split_at(text.len() - digits);
    let who = before.trim_ascii_end();
    let columns = (before.len() + digits.len()).checked_sub(who.len())?;
    let blank = usize::from(!who.is_empty());
    (columns == digits.len().max(10) + blank).then_some((who, number(digits)?))
}

/// `24636/25607`, `25607`, `-1`.
fn thread_of(word: &[u8]) -> Option<(Option<u32>, Option<u32>)> {
    let id = |word: &[u8]| if word == b"-1" { Some(None) } else { number(word).map(Some) };
    match position(word, b'/') {
        Some(slash) => Some((id(&word[..slash])?, id(&word[slash + 1..])?)),
        None => Some((None, id(word)?)),
    }
}

/// Whether a byte separates fields. simpleperf also uses tabs.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| is_blank(byte)).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

fn split_last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_end();
    let start = text.iter().rposition(|&byte| is_blank(byte)).map_or(0, |space| space + 1);
    (text[..start].trim_ascii_end(), &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_came_before_makes_no_difference(lines in prop::collection::vec(
            "( |a|a b|1.5:|x 7){0,2} (7|8|1/2|-1)( \\[00[12]\\])?  ?(1.5|12.25|x)?:? (9 )?(cycles:u?|a) ?(1.5:)?", 1..20,
        )) {
            let mut last = Last::default();
            for line in &lines {
                let line = line.as_bytes();
                prop_assert_eq!(Header::parse_after(line, &mut last), Header::parse(line));
            }
        }
    }

    /// The obvious form of `parse_what`.
    fn slow_what(what: &[u8]) -> (Option<u64>, &[u8]) {
        let what = what.trim_ascii_start();
        if !what.is_empty() && what.iter().all(u8::is_ascii_digit) {
            return (number(what), b"");
        }
        let (word, after) = split_word(what);
        let (next, _) = split_word(after);
        match number(word) {
            Some(period) if next.ends_with(b":") => (Some(period), next),
            _ => (None, word),
        }
    }

    proptest! {
        #[test]
        fn periods_and_events_are_told_apart(what in "[ ]{0,2}([0-9]{0,2}|[0-9]{19,21})[ a:]{0,2}(cycles:u?:?|9|)[ ]{0,2}(x|:|7)?") {
            let mut header = Header::default();
            header.parse_what(what.as_bytes()).unwrap();
            let (period, event) = slow_what(what.as_bytes());
            let event = event.strip_suffix(b":").map_or(&b""[..], |name| name.trim_end_with(|c| c == ':'));
            prop_assert_eq!((header.period, header.event), (period, event.as_bstr()), "{}", what);
        }
    }

    #[test]
    fn the_thread_and_the_time_may_be_missing() {
        for (line, comm, tid, period, event) in [
            ("java", "java", None, None, ""),
            ("my app    2004008 ", "my app", None, Some(2004008), ""),
            ("   2004008 ", "", None, Some(2004008), ""),
            ("   2004008 cpu-clock:u: ", "", None, Some(2004008), "cpu-clock:u"),
            ("cpu-clock: ", "", None, None, "cpu-clock"),
            ("java cycles: ", "java", None, None, "cycles"),
            ("123/456 ", "", Some(456), None, ""),
            ("  456    2004008 ", "", Some(456), Some(2004008), ""),
        ] {
            assert_eq!(Header::parse(line.as_bytes()), None, "{line:?}");
            let header = Header::bare(line.as_bytes()).unwrap();
            assert_eq!((header.comm, header.tid), (comm.into(), tid), "{line:?}");
            assert_eq!((header.period, header.event), (period, event.into()), "{line:?}");
        }
        for odd in ["", " ", "a name of more than 15 bytes", "\tjava"] {
            assert_eq!(Header::bare(odd.as_bytes()), None, "{odd:?}");
        }
    }

    #[test]
    fn headers_of_every_perf() {
        let parse = |line: &'static str| Header::parse(line.as_bytes()).unwrap();
        let java = parse("java 25607 4794564.109216: cycles: \n");
        assert_eq!((java.comm, java.pid, java.tid), ("java".into(), None, Some(25607)));
        assert_eq!(
            (java.time, java.period, java.event),
            (Some(4_794_564_109_216_000), None, "cycles".into())
        );
        let v8 = parse("V8 WorkerThread 24636/25607 [003] 94564.109216:     257597 cycles:uppp:");
        assert_eq!(
            (v8.comm, v8.pid, v8.tid, v8.cpu),
            ("V8 WorkerThread".into(), Some(24636), Some(25607), Some(3))
        );
        assert_eq!((v8.period, v8.event, v8.rest), (Some(257597), "cycles:uppp".into(), "".into()));
        let single = parse(
            "false 64414 20110.539270:      34467 cycles:u:  ffffffff9aa3c8de [unknown] ([unknown])",
        );
        assert_eq!(single.rest, "ffffffff9aa3c8de [unknown] ([unknown])");
        let switch = parse(
            "         swapper     0 [001]  11.5: sched:sched_switch: prev_comm=a:1.5: prev_pid=0",
        );
        assert_eq!((switch.comm, switch.event), ("swapper".into(), "sched:sched_switch".into()));
        assert_eq!(switch.rest, "prev_comm=a:1.5: prev_pid=0");
        let missing = parse(":-1    -1 [000]  5.000001:          1 cpu_core/cycles/: ");
        assert_eq!(
            (missing.comm, missing.tid, missing.event),
            (":-1".into(), None, "cpu_core/cycles/".into())
        );
    }

    #[test]
    fn comms_may_hold_anything() {
        for comm in
            ["a 12 b", "12", "a:b", "tokio-runtime-w", "x [001]", "kworker/0:1-events", "1.5"]
        {
            let line = format!("{comm} 7 [001] 1.000000: 9 cycles: ");
            let header = Header::parse(line.as_bytes()).unwrap();
            assert_eq!(
                (header.comm, header.tid, header.time),
                (comm.into(), Some(7), Some(1_000_000_000)),
                "{comm}"
            );
        }
    }

    #[test]
    fn fields_may_be_missing() {
        let header = Header::parse(b"java  123/456 cycles: ").unwrap();
        assert_eq!((header.pid, header.tid, header.event), (Some(123), Some(456), "cycles".into()));
        let header = Header::parse(b"java 123 [002] ").unwrap();
        assert_eq!((header.comm, header.cpu, header.event), ("java".into(), Some(2), "".into()));
        let header =
            Header::parse(b"perf 12 5.5: ffffffff9aa3c8de native_write ([kernel])").unwrap();
        assert_eq!(
            (header.event, header.rest),
            ("".into(), "ffffffff9aa3c8de native_write ([kernel])".into())
        );
        let header = Header::parse(b"10557  1925.671328:   10309278 cpu-clock: ").unwrap();
        assert_eq!(
            (header.comm, header.tid, header.period),
            ("".into(), Some(10557), Some(10309278))
        );
        let header = Header::parse(b"my app  1925.671328:   10309278 cpu-clock: ").unwrap();
        assert_eq!(
            (header.comm, header.tid, header.event),
            ("my app".into(), None, "cpu-clock".into())
        );
        let header = Header::parse(b"p 10557  1925.671328:   10309278 ").unwrap();
        assert_eq!((header.period, header.event), (Some(10309278), "".into()));
        let header = Header::parse(b"1925.671328:   10309278 cpu-clock: ").unwrap();
        assert_eq!(
            (header.comm, header.period, header.event),
            ("".into(), Some(10309278), "cpu-clock".into())
        );
        let header =
            Header::parse(b"p 10557 [001] 2026-01-31 23:59:59.123456  1925.671328: ").unwrap();
        assert_eq!((header.comm, header.tid, header.cpu), ("p".into(), Some(10557), Some(1)));
        let header = Header::parse(b"my app  1925.671328: ").unwrap();
        assert_eq!((header.comm, header.is_sure()), ("my app".into(), false));
        for who in ["p 10557 U", "p 10557 [001] KSp"] {
            let line = format!("{who}   1925.671328:   10309278 cpu-clock: ");
            let header = Header::parse(line.as_bytes()).unwrap();
            assert_eq!((header.comm, header.tid), ("p".into(), Some(10557)), "{who}");
        }
        let line = "Web Content 2\t25122 [007] 115539.936701:\t\t1000000 task-clock:u:";
        let header = Header::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (header.comm, header.tid, header.cpu),
            ("Web Content 2".into(), Some(25122), Some(7))
        );
        assert_eq!((header.period, header.event), (Some(1000000), "task-clock:u".into()));
        for odd in [
            "",
            "my app    2004008 ",
            "java",
            "what is this",
            "x 1.5: y",
            "app 100/100 [003] 1.000100: PERF_RECORD_LOST lost 12",
            "app 100 0.000000: PERF_RECORD_COMM exec: app:100/100",
        ] {
            assert_eq!(Header::parse(odd.as_bytes()), None, "{odd:?}");
        }
    }

    /// If each colon looked at all that is before it, this would take hours.
    #[test]
    fn a_long_line_of_colons_is_read_once() {
        let json = "\"a\":1,".repeat(1 << 20);
        assert_eq!(Header::parse(json.as_bytes()), None);
        assert_eq!(Header::parse(format!("{json} 1.5: x").as_bytes()), None);
    }
}
