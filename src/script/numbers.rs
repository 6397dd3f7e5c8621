//! Reads numbers and times of perf-script text.
//!
//! A header has five of them, which take much of the time to read it.

/// The value of a word of digits, if it fits.
pub(super) fn number<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    let mut value: u64 = 0;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if digits.is_empty() { None } else { N::try_from(value).ok() }
}

/// `1526.501428` or `12` in nanoseconds. Digits of the fraction after the ninth are ignored.
pub(crate) fn nanoseconds(seconds: &[u8]) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    let Some(dot) = position(seconds, b'.') else {
        return number::<u64>(seconds)?.checked_mul(SECOND);
    };
    let whole: u64 = number(&seconds[..dot])?;
    let fraction = &seconds[dot + 1..];
    let (fraction, cut) = fraction.split_at(fraction.len().min(9));
    if !cut.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = number::<u64>(fraction)? * 10u64.pow(9 - fraction.len() as u32);
    whole.checked_mul(SECOND)?.checked_add(nanos)
}

/// The value of the digits at the start of `text`, if there are some and it fits, and their number.
#[inline]
pub(super) fn leading_number(text: &[u8]) -> (Option<u64>, usize) {
    let mut value = 0u64;
    let mut len = 0;
    while let Some(digit) = text.get(len).map(|byte| byte.wrapping_sub(b'0')).filter(|&d| d <= 9) {
        value = value.wrapping_mul(10).wrapping_add(digit.into());
        len += 1;
    }
    // Nineteen digits always fit.
    match len {
        0 => (None, 0),
        1..20 => (Some(value), len),
        _ => (number(&text[..len]), len),
    }
}

/// The time at the start of `text`, `1526.501428:`, and the index of its colon.
pub(super) fn leading_time(text: &[u8]) -> Option<(Option<u64>, usize)> {
    let (seconds, dot) = leading_number(text);
    let fraction = text.get(dot..)?.strip_prefix(b".")?;
    let (nanos, len) = leading_number(fraction);
    let end = dot + 1 + len;
    if dot == 0 || len == 0 || text.get(end) != Some(&b':') {
        return None;
    }
    let time = match (seconds, nanos) {
        (Some(seconds), Some(nanos)) if seconds < 1_000_000_000 && len <= 9 => {
            Some(seconds * 1_000_000_000 + nanos * POWERS[9 - len])
        }
        _ => nanoseconds(&text[..end]),
    };
    Some((time, end))
}

/// Whether `word` looks like `1526.501428`.
pub(super) fn is_time(word: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    position(word, b'.').is_some_and(|dot| digits(&word[..dot]) && digits(&word[dot + 1..]))
}

const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The index of `byte`. Words are short, so a plain loop is faster than memchr.
pub(super) fn position(word: &[u8], byte: u8) -> Option<usize> {
    word.iter().position(|&other| other == byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_the_same_at_a_glance(text in "([0-9]{0,3}|[0-9]{9,21})[.]?([0-9]{0,2}|[0-9]{8,21})[:.]?[0-9:]?") {
            let slow = position(text.as_bytes(), b':').filter(|&end| is_time(&text.as_bytes()[..end]));
            let slow = slow.map(|end| (nanoseconds(&text.as_bytes()[..end]), end));
            prop_assert_eq!(leading_time(text.as_bytes()), slow, "{}", text);
        }
    }

    #[test]
    fn time_is_exact() {
        assert_eq!(nanoseconds(b"1526.501428"), Some(1_526_501_428_000));
        assert_eq!(nanoseconds(b"0.000000001"), Some(1));
        assert_eq!(nanoseconds(b"1.1234567899"), Some(1_123_456_789));
        assert_eq!(nanoseconds(b"12"), Some(12_000_000_000));
        for odd in
            [&b"18446744073.709551616"[..], b"1.123456789x", b"1.2.3", b"+1", b".5", b"1.", b""]
        {
            assert_eq!(nanoseconds(odd), None, "{odd:?}");
        }
    }
}
