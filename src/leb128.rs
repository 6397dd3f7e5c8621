//! Numbers as LEB128: seven bits a byte, the lowest first, the top bit set if more bytes follow.

/// Appends `value` to `out`.
pub(crate) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the start of `bytes`.
pub(crate) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes that many bytes from the start of `bytes`.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for (value, expected) in [(0, &[0][..]), (127, &[127]), (300, &[0xac, 2])] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, expected);
            assert_eq!(read(&mut &out[..]), Some(value));
        }
        let mut out = Vec::new();
        write(&mut out, u64::MAX);
        assert_eq!(out.len(), 10);
        assert_eq!(read(&mut &out[..]), Some(u64::MAX));
        assert_eq!(read(&mut &out[..9]), None);
    }
}
