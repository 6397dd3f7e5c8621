//! [Coded](super::code) lines as what they were.

use std::io::{self, BufRead, Read};

use bstr::ByteSlice;

/// Longer than this no line is taken for one of ours, in bytes.
const LONGEST: u64 = 64 << 20;

/// Reads coded lines as what they were.
pub(super) struct Decoder<R> {
    coded: R,
    /// The coded line at hand.
    code: Vec<u8>,
    /// What it stands for, with its newline, and how much of that was read.
    line: Vec<u8>,
    read: usize,
    /// Where its names end.
    ends: Vec<usize>,
    /// All names so far, and where each ends.
    names: Vec<u8>,
    name_ends: Vec<usize>,
}

impl<R: BufRead> Decoder<R> {
    /// Nothing was read yet.
    pub(super) fn new(coded: R) -> Self {
        let (code, line, names) = (Vec::new(), Vec::new(), Vec::new());
        Decoder { coded, code, line, read: 0, ends: Vec::new(), names, name_ends: Vec::new() }
    }

    /// Restores the next line; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        self.code.clear();
        // A few bytes can be made to unpack to gigabytes.
        let mut limited = (&mut self.coded).take(LONGEST);
        if limited.read_until(b'\n', &mut self.code)? == 0 {
            return Ok(false);
        }
        let code = std::mem::take(&mut self.code);
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the stacks in it are broken");
        let restored = code.strip_suffix(b"\n").and_then(|code| self.restore(code));
        self.code = code;
        self.read = 0;
        restored.map(|()| true).ok_or_else(broken)
    }

    fn restore(&mut self, code: &[u8]) -> Option<()> {
        let (shared, mut rest) = number(code)?;
        if shared > self.ends.len() {
            return None;
        }
        self.ends.truncate(shared);
        self.line.truncate(self.ends.last().copied().unwrap_or(0));
        while let Some(name) = rest.strip_prefix(b";") {
            if !self.ends.is_empty() {
                self.line.push(b';');
            }
            if let Some(quoted) = name.strip_prefix(b"'") {
                // The last one ends at its last quote, as what stands behind the stack has none.
                let end = match quoted.find_byte(b';') {
                    Some(next) => {
                        next.checked_sub(1).filter(|&end| quoted.get(end) == Some(&b'\''))?
                    }
                    None => quoted.rfind_byte(b'\'')?,
                };
                let (name, behind) = quoted.split_at(end);
                self.names.extend_from_slice(name);
                self.name_ends.push(self.names.len());
                self.line.extend_from_slice(name);
                rest = behind.get(1..)?;
            } else {
                let (known, behind) = number(name)?;
                let end = *self.name_ends.get(known)?;
                let start = known.checked_sub(1).map_or(0, |before| self.name_ends[before]);
                self.line.extend_from_slice(self.names.get(start..end)?);
                rest = behind;
            }
            self.ends.push(self.line.len());
            if self.line.len() as u64 > LONGEST {
                return None;
            }
        }
        self.line.extend_from_slice(rest);
        self.line.push(b'\n');
        Some(())
    }
}

/// A number at the start of `text`, and what stands behind it.
fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    Some((digits.to_str().ok()?.parse().ok()?, rest))
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.line.len() && !self.next()? {
            return Ok(0);
        }
        let read = self.line.get(self.read..).unwrap_or_default().read(into)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn decoded(code: &[u8]) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        Decoder::new(code).read_to_end(&mut lines).map(|_| lines)
    }

    #[test]
    fn what_is_broken_is_refused() {
        for code in
            ["1 a\n", "x\n", "0;7 1\n", "0;'a\n", "0;'a;'b' 1\n", "0;' 1\n", "0;'a' 1", "-1\n"]
        {
            assert!(decoded(code.as_bytes()).is_err(), "{code}");
        }
        assert_eq!(decoded(b"0;'a';0 1\n").unwrap(), b"a;a 1\n");
        let bomb = format!("0;'{}'{}\n", "x".repeat(1 << 16), ";0".repeat(LONGEST as usize >> 16));
        assert!(decoded(bomb.as_bytes()).is_err());
    }

    proptest! {
        /// Nearly such code as is written: it is refused, or it is lines.
        #[test]
        fn whatever_is_read_is_an_error_or_lines(code in "([0-3]{0,2}(;('[ab']{0,2}'?|[0-9]{0,2})){0,3}[ 0-9;']{0,4}\n?){0,6}") {
            if let Ok(lines) = decoded(code.as_bytes()) {
                prop_assert_eq!(ByteSlice::lines(&lines[..]).count(), code.lines().count());
            }
        }
    }
}
