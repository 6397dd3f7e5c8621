//! Which of the two text formats an input is, by its first lines.

use bstr::ByteSlice;

use crate::folded;

/// A text format that can be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Folded stacks: `main;read_file;memcpy 42`.
    Folded,
    /// perf-script text: a header line, a line for each frame, a blank line.
    Script,
}

/// Tells the format from the start of an input, of which there is more unless it `ended`.
///
/// `None` where the text seen so far does not decide. The answer never changes when more is seen. An input with no
/// more than comments and blanks is both, and called folded.
pub fn sniff(start: &[u8], ended: bool) -> Option<Format> {
    let whole = if ended { start.len() } else { start.rfind_byte(b'\n').map_or(0, |at| at + 1) };
    let lines = start.get(..whole)?.lines();
    let mut lines =
        lines.filter(|line| !line.starts_with(b"#") && !line.trim_ascii().is_empty()).peekable();
    if ended && lines.peek().is_none() {
        return Some(Format::Folded);
    }
    while let Some(line) = lines.next() {
        // A header may look like a folded line (`rg  4242`, a tracepoint's `cpu=3 next 7`): the line after it decides.
        let after = lines.peek();
        if is_frame(line) || has_time_or_event(line) || after.is_some_and(|after| is_frame(after)) {
            return Some(Format::Script);
        }
        if folded::split(line).is_some() && (after.is_some() || ended) {
            return Some(Format::Folded);
        }
    }
    None
}

/// `\t    55e1d4a0 main+0x10 (/bin/a)`: indented, with an address of at least four digits.
fn is_frame(line: &[u8]) -> bool {
    let address = line.trim_ascii_start();
    let digits = address.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let indented = address.len() < line.len();
    indented && digits >= 4 && matches!(address.get(digits), None | Some(b' '))
}

/// `rg 4242 [001] 123.456789: 1001001 cycles:u: `: a header ends in a colon or has a time, a number with a colon.
fn has_time_or_event(line: &[u8]) -> bool {
    let is_time = |word: &[u8]| {
        let number = word.strip_suffix(b":").unwrap_or_default();
        number.contains(&b'.') && number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    line.trim_ascii_end().ends_with(b":") || line.fields().any(is_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "# captured on: Mon\n\nrg 42 [001] 12.345678:   1001001 cycles:u: \n\t   \
                          55e1d4a0 main+0x10 (/bin/rg)\n\n";

    #[test]
    fn formats_are_told_apart() {
        for (text, want) in [
            (SCRIPT, Some(Format::Script)),
            ("rg  4242 \n\t    55e1d4a0 main (/bin/rg)\n", Some(Format::Script)),
            ("rg 42 12.5: sched:sched_switch: prev_prio 120\n", Some(Format::Script)),
            ("rg 42 cycles: \n", Some(Format::Script)),
            ("main;f 1\n", Some(Format::Folded)),
            ("a 1\n", Some(Format::Folded)),
            (" main;f 1\n", Some(Format::Folded)),
            ("# note\nodd\nmain 1", Some(Format::Folded)),
            ("main;std::f 1.5 2\n", Some(Format::Folded)),
            ("", Some(Format::Folded)),
            ("# note\n\n", Some(Format::Folded)),
            ("odd\n", None),
            ("PERFILE2\0\0", None),
        ] {
            assert_eq!(sniff(text.as_bytes(), true), want, "{text:?}");
        }
    }

    #[test]
    fn more_text_does_not_change_the_answer() {
        for text in [SCRIPT, "rg  4242 \n\t    55e1d4a0 main (/bin/rg)\n", "a 1\nb 2\n", "odd\na 1"]
        {
            let all = sniff(text.as_bytes(), true);
            for end in 0..text.len() {
                let part = sniff(&text.as_bytes()[..end], false);
                assert!(part.is_none() || part == all, "{:?}", &text[..end]);
            }
        }
    }
}
