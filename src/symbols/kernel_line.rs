//! A line of `/proc/kallsyms`: an address, a letter for the kind, a name, and of a kernel module's symbols its module.

use bstr::{BString, ByteSlice};

/// A symbol of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelSymbol {
    /// As the file has it.
    pub name: BString,
    /// Where it starts, in the recorded kernel's addresses.
    pub start: u64,
    /// Where the next one starts.
    pub end: u64,
    /// The kernel module it is of, without brackets; empty for the kernel itself.
    pub module: BString,
}

/// One line, with its name at its place in the text.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) address: u64,
    /// In lower case.
    pub(super) kind: u8,
    /// The name, and after a tab the module in brackets.
    pub(super) rest: &'a [u8],
}

impl<'a> Line<'a> {
    /// The name, and the kernel module it is of.
    pub(super) fn name(&self) -> (&'a [u8], &'a [u8]) {
        match self.rest.split_once_str("\t[") {
            Some((name, module)) => (name, module.strip_suffix(b"]").unwrap_or(module)),
            None => (self.rest, b""),
        }
    }

    /// The symbol of `address`, which is not before it, if this is a function and reaches that far. `next` starts behind the address.
    pub(super) fn symbol_at(&self, address: u64, next: Option<Line<'_>>) -> Option<KernelSymbol> {
        let (name, module) = self.name();
        let end = match next {
            Some(next) if next.name().1.is_empty() == module.is_empty() => next.address,
            // The last symbol of the kernel does not reach over to the first module, nor to the end of memory.
            _ => (self.address | 0xfff).saturating_add(1).saturating_add(0x1000),
        };
        (matches!(self.kind, b't' | b'w') && address < end).then(|| KernelSymbol {
            name: name.into(),
            start: self.address,
            end,
            module: module.into(),
        })
    }
}

/// Calls `each` with every line that is a symbol of text, data, or weak, as perf takes them.
pub(super) fn lines<'a>(text: &'a [u8], mut each: impl FnMut(Line<'a>)) {
    for line in text.lines() {
        let Some((address, digits)) = address(line) else { continue };
        if let Some([b' ', kind, b' ', rest @ ..]) = line.get(digits..)
            && matches!(kind, b't' | b'T' | b'w' | b'W' | b'd' | b'D' | b'b' | b'B')
        {
            each(Line { address, kind: kind.to_ascii_lowercase(), rest });
        }
    }
}

/// The address that a line starts with, and how many digits it has: 16, as the kernel prints them, and rarely fewer.
fn address(line: &[u8]) -> Option<(u64, usize)> {
    let digit = |byte: &u8| DIGITS[usize::from(*byte)];
    let whole = |address: u64, byte| address << 4 | u64::from(digit(byte));
    let all = line.first_chunk::<16>();
    if let Some(all) = all.filter(|all| all.iter().fold(0, |any, byte| any | digit(byte)) < 16) {
        let over = line.get(16).is_some_and(|byte| digit(byte) < 16);
        return (!over).then(|| (all.iter().fold(0, whole), 16));
    }
    let digits = line.iter().take_while(|byte| digit(byte) < 16).count();
    (1..16).contains(&digits).then(|| (line[..digits].iter().fold(0, whole), digits))
}

/// The value of each hexadecimal digit; what is none has a high bit.
const DIGITS: [u8; 256] = {
    let (mut digits, mut value) = ([0x80; 256], 0);
    while value < 16 {
        let byte = b"0123456789abcdef"[value];
        digits[byte as usize] = value as u8;
        digits[byte.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    digits
};
