//! The messages of pprof: profile.proto of github.com/google/pprof.
//!
//! A message is a list of fields: a tag with the field's number and kind, and a number (LEB128) or
//! a length and bytes.

use crate::leb128;

/// The fields of `Profile`.
pub(crate) mod profile {
    pub(crate) const SAMPLE_TYPE: u64 = 1;
    pub(crate) const SAMPLE: u64 = 2;
    pub(crate) const MAPPING: u64 = 3;
    pub(crate) const LOCATION: u64 = 4;
    pub(crate) const FUNCTION: u64 = 5;
    pub(crate) const STRING_TABLE: u64 = 6;
    pub(crate) const TIME_NANOS: u64 = 9;
    pub(crate) const DURATION_NANOS: u64 = 10;
    pub(crate) const PERIOD_TYPE: u64 = 11;
    pub(crate) const DEFAULT_SAMPLE_TYPE: u64 = 14;
}

/// The fields of `ValueType`.
pub(crate) mod value_type {
    pub(crate) const TYPE: u64 = 1;
    pub(crate) const UNIT: u64 = 2;
}

/// The fields of `Sample`.
pub(crate) mod sample {
    pub(crate) const LOCATION_ID: u64 = 1;
    pub(crate) const VALUE: u64 = 2;
    pub(crate) const LABEL: u64 = 3;
}

/// The fields of `Label`.
pub(crate) mod label {
    pub(crate) const KEY: u64 = 1;
    pub(crate) const STR: u64 = 2;
    pub(crate) const NUM: u64 = 3;
}

/// The fields of `Mapping`.
pub(crate) mod mapping {
    pub(crate) const ID: u64 = 1;
    pub(crate) const FILENAME: u64 = 5;
}

/// The fields of `Location`.
pub(crate) mod location {
    pub(crate) const ID: u64 = 1;
    pub(crate) const MAPPING_ID: u64 = 2;
    pub(crate) const LINE: u64 = 4;
}

/// The fields of `Line`.
pub(crate) mod line {
    pub(crate) const FUNCTION_ID: u64 = 1;
    pub(crate) const LINE: u64 = 2;
}

/// The fields of `Function`.
pub(crate) mod function {
    pub(crate) const ID: u64 = 1;
    pub(crate) const NAME: u64 = 2;
    pub(crate) const FILENAME: u64 = 4;
}

/// Appends a field that is a number.
pub(crate) fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    leb128::write(out, field << 3);
    leb128::write(out, value);
}

/// Appends a field that is text, a message, or several numbers.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    leb128::write(out, field << 3 | 2);
    leb128::write(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A number, or 0.
    pub(crate) fn number(self) -> u64 {
        match self {
            Value::Number(number) => number,
            Value::Bytes(_) => 0,
        }
    }

    /// Text or a message; empty for a number.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Number(_) => &[],
        }
    }

    /// The numbers of a field that may be repeated, packed or not.
    pub(crate) fn numbers(self) -> impl Iterator<Item = u64> + 'a {
        let (one, mut packed) = match self {
            Value::Number(number) => (Some(number), &[][..]),
            Value::Bytes(bytes) => (None, bytes),
        };
        one.into_iter().chain(std::iter::from_fn(move || leb128::read(&mut packed)))
    }
}

/// The fields of a message. `None` is an error, after which there are no more fields.
pub(crate) fn fields(mut message: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let field = take_field(&mut message);
        if field.is_none() {
            message = &[];
        }
        Some(field)
    })
}

fn take_field<'a>(message: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = leb128::read(message)?;
    let value = match tag & 7 {
        0 => Value::Number(leb128::read(message)?),
        1 => Value::Bytes(leb128::take(message, 8)?),
        2 => {
            let length = leb128::read(message)?;
            Value::Bytes(leb128::take(message, length)?)
        }
        5 => Value::Bytes(leb128::take(message, 4)?),
        _ => return None,
    };
    Some((tag >> 3, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        number(&mut message, 1, u64::MAX);
        bytes(&mut message, 20, b"ab");
        number(&mut message, 2, 300);
        let all = [
            Some((1, Value::Number(u64::MAX))),
            Some((20, Value::Bytes(b"ab"))),
            Some((2, Value::Number(300))),
        ];
        assert!(fields(&message).eq(all));
        for end in 0..message.len() {
            let errors = fields(&message[..end]).filter(Option::is_none).count();
            assert!(errors <= 1, "{end}");
        }
        let mut packed = Vec::new();
        for number in [1, 300] {
            leb128::write(&mut packed, number);
        }
        assert!(Value::Bytes(&packed).numbers().eq([1, 300]));
        assert!(Value::Number(7).numbers().eq([7]));
    }
}
