//! Reads numbers, strings and arrays from bytes of either byte order, without copying.
//!
//! A recording has the byte order of the machine that made it. Every getter returns `None` if the
//! bytes end too early, so a length in the input is never trusted before the bytes are there.

use bstr::{BStr, ByteSlice};

/// The byte order of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endian {
    /// x86, Arm, RISC-V.
    Little,
    /// s390x, older PowerPC.
    Big,
}

impl Endian {
    /// The byte order of this machine.
    pub(crate) const NATIVE: Endian =
        if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };

    /// The `u64` in these bytes.
    #[inline]
    pub(crate) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Endian::Little => u64::from_le_bytes(bytes),
            Endian::Big => u64::from_be_bytes(bytes),
        }
    }

    /// The `u32` in these bytes.
    #[inline]
    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The `u16` in these bytes.
    #[inline]
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// A position in bytes that moves forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Cursor { bytes, endian }
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The byte order.
    pub(crate) fn endian(&self) -> Endian {
        self.endian
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(usize::try_from(count).ok()?)?;
        self.bytes = rest;
        Some(taken)
    }

    /// Skips `count` bytes.
    pub(crate) fn skip(&mut self, count: u64) -> Option<()> {
        self.take(count).map(|_| ())
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*array)
    }

    /// The next byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next `u16`.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(self.endian.u16(self.array()?))
    }

    /// The next `u32`.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(self.endian.u32(self.array()?))
    }

    /// The next `u64`.
    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(self.endian.u64(self.array()?))
    }

    /// The next `u64` if `present`: an optional field of a sample. The outer `None` means that the
    /// bytes end too early.
    #[inline]
    pub(crate) fn u64_if(&mut self, present: bool) -> Option<Option<u64>> {
        if present { self.u64().map(Some) } else { Some(None) }
    }

    /// The next `count` words.
    pub(crate) fn words(&mut self, count: u64) -> Option<Words<'a>> {
        let bytes = self.take(count.checked_mul(8)?)?;
        Some(Words { bytes, endian: self.endian })
    }

    /// The bytes up to the first NUL or the end. Consumes everything.
    pub(crate) fn text(&mut self) -> &'a BStr {
        until_nul(std::mem::take(&mut self.bytes))
    }

    /// A string of a feature section: a `u32` length, then that many bytes, padded with NULs.
    pub(crate) fn string(&mut self) -> Option<&'a BStr> {
        let length = self.u32()?;
        self.take(length.into()).map(until_nul)
    }
}

fn until_nul(bytes: &[u8]) -> &BStr {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default().as_bstr()
}

/// `u64`s borrowed from the recording, such as a call chain or registers.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Words<'a> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / 8
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The word at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        let word = self.bytes.get(index.checked_mul(8)?..)?.first_chunk()?;
        Some(self.endian.u64(*word))
    }

    /// A cursor at the first word.
    pub(crate) fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.bytes, self.endian)
    }

    /// All words, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u64> + DoubleEndedIterator + 'a {
        let endian = self.endian;
        self.bytes.as_chunks::<8>().0.iter().map(move |word| endian.u64(*word))
    }
}

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|word| format!("{word:#x}"))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_and_no_end_overrun() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let mut little = Cursor::new(&bytes, Endian::Little);
        assert_eq!(little.u64(), Some(0x0807_0605_0403_0201));
        assert_eq!((little.u16(), little.u8(), little.u8()), (None, Some(9), None));
        let mut big = Cursor::new(&bytes, Endian::Big);
        assert_eq!((big.u32(), big.u16()), (Some(0x0102_0304), Some(0x0506)));
        assert_eq!(big.words(u64::MAX), None);
        assert_eq!(big.take(4), None);
        assert_eq!(big.rest(), [7, 8, 9], "a refused read takes nothing");
    }

    #[test]
    fn strings_end_at_their_nul() {
        let mut cursor = Cursor::new(b"\x04\0\0\0ab\0\0cd\0e", Endian::Little);
        assert_eq!(cursor.string(), Some(b"ab".as_bstr()));
        assert_eq!(cursor.text(), "cd");
        assert_eq!((cursor.text(), cursor.string()), (b"".as_bstr(), None));
    }
}
