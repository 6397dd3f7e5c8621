//! Helpers of all readers of JSON.

use std::borrow::Cow;
use std::fmt;

use bstr::ByteSlice;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::foreign::Stacks;
use crate::error::{Error, Result};

/// Whether an input that starts with `start` is an object or a list in JSON.
pub(super) fn is_json(start: &[u8]) -> bool {
    matches!(start.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Whether an input that starts with `start` is JSON with all of these names in it.
pub(super) fn has_names(start: &[u8], names: &[&str]) -> bool {
    is_json(start) && names.iter().all(|name| start.contains_str(format!("\"{name}\"")))
}

/// Reads the whole of `text`.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a str, to: &Stacks<'_>) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(&error, to))
}

/// What is wrong with the input, and where.
pub(super) fn corrupt(error: &serde_json::Error, to: &Stacks<'_>) -> Error {
    let at = format!("line {}, column {}", error.line(), error.column());
    let said = error.to_string();
    let problem = said.rsplit_once(" at line ").map_or(&said[..], |(problem, _)| problem);
    to.corrupt(at, problem)
}

/// Text, or a number as text. Anything else is empty, because it is not worth refusing a profile
/// for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl Text<'_> {
    /// The number that the text is.
    pub(super) fn number(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor).map(Text)
    }
}

/// A number, or text that is one: `"ts": "11550183666"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberVisitor).map(Number)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = f64;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_i64<E>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_f64<E>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
        let invalid = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        text.trim().parse().map_err(|_| invalid())
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(text.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned().into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(number.to_string().into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(number.to_string().into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(number.to_string().into())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok("".into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok("".into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok("".into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok("".into())
    }
}
