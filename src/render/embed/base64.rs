//! Bytes as the text that XML can hold.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64.
pub(super) fn encode(bytes: &[u8]) -> Vec<u8> {
    let digits = |[a, b, c]: [u8; 3]| {
        let word = u32::from_be_bytes([0, a, b, c]);
        [18, 12, 6, 0].map(|shift| DIGITS[(word >> shift & 63) as usize])
    };
    let (threes, rest) = bytes.as_chunks::<3>();
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    text.extend(threes.iter().flat_map(|three| digits(*three)));
    match *rest {
        [a] => text.extend([&digits([a, 0, 0])[..2], b"=="].concat()),
        [a, b] => text.extend([&digits([a, b, 0])[..3], b"="].concat()),
        _ => {}
    }
    text
}

/// The bytes of base64 text, between whose digits may be white space; `None` if it is none.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0);
    let digits = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    for digit in digits.take_while(|byte| **byte != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_everybody_knows() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("\u{7ff}\u{3f}~", "378/fg=="),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text.as_bytes());
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode(b"Zm 9\nv"), Some(b"foo".to_vec()));
        assert_eq!(decode(b"Zm9<"), None);
    }
}
