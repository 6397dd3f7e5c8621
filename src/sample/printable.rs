//! Names that cannot be taken for anything else in text: one with a newline in it would forge a
//! line.

use std::borrow::Cow;

/// `name` with a `?` for each control character.
pub(crate) fn printable(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().all(|byte| !byte.is_ascii_control()) {
        return name.into();
    }
    let print = |&byte: &u8| if byte.is_ascii_control() { b'?' } else { byte };
    name.iter().map(print).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_go() {
        assert_eq!(*printable(b"my\nworker\x1b[31m\x7f"), *b"my?worker?[31m?");
        assert!(matches!(printable("é b".as_bytes()), Cow::Borrowed(_)));
    }
}
