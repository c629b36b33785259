//! The values of the language and how each becomes one of another type.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A value: what an expression, or a part of one, comes to (SQLS-01).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// Unicode characters; also what URIs, timestamps and binary attributes are.
    String(Cow<'a, str>),
    /// 32 bits, signed.
    Integer(i32),
    /// `TRUE` or `FALSE`.
    Boolean(bool),
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Unicode characters.
    String,
    /// 32 bits, signed.
    Integer,
    /// `TRUE` or `FALSE`.
    Boolean,
}

impl Type {
    /// What something of this type comes to when it fails.
    pub(super) fn zero(self) -> Value<'static> {
        match self {
            Self::String => Value::String(Cow::Borrowed("")),
            Self::Integer => Value::Integer(0),
            Self::Boolean => Value::Boolean(false),
        }
    }
}

/// As in "an Integer".
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a String",
            Self::Integer => "an Integer",
            Self::Boolean => "a Boolean",
        })
    }
}

impl<'a> Value<'a> {
    /// The type of the value.
    pub fn value_type(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    /// The value with a text of its own.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Self::Integer(number) => Value::Integer(number),
            Self::Boolean(truth) => Value::Boolean(truth),
        }
    }

    /// The cast to String, which always succeeds (SQLS-10).
    pub(super) fn into_string(self) -> Cow<'a, str> {
        match self {
            Self::String(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(truth) => Cow::Borrowed(boolean_text(truth)),
        }
    }

    /// The cast to Integer; `None` for a text that is no number of 32 bits (SQLS-10).
    pub(super) fn to_integer(&self) -> Option<i32> {
        match self {
            Self::String(text) => text.parse().ok(),
            Self::Integer(number) => Some(*number),
            Self::Boolean(truth) => Some(i32::from(*truth)),
        }
    }

    /// The cast to Boolean; `None` for a text that is neither `true` nor `false` (SQLS-10).
    pub(super) fn to_boolean(&self) -> Option<bool> {
        match self {
            Self::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Self::String(_) => None,
            Self::Integer(number) => Some(*number != 0),
            Self::Boolean(truth) => Some(*truth),
        }
    }

    /// Whether this value, cast to the type of `target`, equals it; `None` when it cannot be cast (SQLS-11).
    pub(super) fn equals(&self, target: &Value<'_>) -> Option<bool> {
        match target {
            Value::Integer(wanted) => self.to_integer().map(|number| number == *wanted),
            Value::Boolean(wanted) => self.to_boolean().map(|truth| truth == *wanted),
            Value::String(wanted) => Some(match self {
                Self::String(text) => text == wanted,
                Self::Integer(number) => is_decimal(wanted) && wanted.parse() == Ok(*number),
                Self::Boolean(truth) => wanted == boolean_text(*truth),
            }),
        }
    }
}

/// The value as the language writes it, but for characters that it has no way to write.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write!(f, "'{text}'"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(true) => f.write_str("TRUE"),
            Self::Boolean(false) => f.write_str("FALSE"),
        }
    }
}

/// Whether a text is the only one that means what it means: no text of another form becomes the same Integer or
/// the same Boolean by a cast.
pub(super) fn is_canonical(text: &str) -> bool {
    let value = Value::String(Cow::Borrowed(text));
    (value.to_integer().is_none() || is_decimal(text))
        && value.to_boolean().is_none_or(|truth| text == boolean_text(truth))
}

/// Whether a text that is a number is written as the cast from Integer writes it.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || digits.starts_with(|first: char| matches!(first, '1'..='9'))
}

fn boolean_text(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}
