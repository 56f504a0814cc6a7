//! Reads a JSON object field by field, so that one bad field does not hide the others.
//!
//! Owns the checks that a single field can fail: missing, of the wrong type, out of range, U+0000,
//! too long. Fields stay raw text until they are asked for: a value that cannot be represented (a
//! number beyond the range of 64-bit floats, half of a surrogate pair, nesting beyond the parser's
//! depth) then refuses its own field alone.

use super::{MESSAGE_ID_BYTES_MAX, Problem};
use niyanta_core::ids::InvalidId;
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use std::{collections::BTreeMap, str::FromStr};

/// The fields of one object; the last of doubled names counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    pub(super) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    /// The field, unless it is absent or `null`.
    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|raw| raw.get() != "null")
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    pub(super) fn object(&self, name: &'static str) -> Result<Self, Problem> {
        let raw = self.raw(name).ok_or_else(|| missing(name))?;
        Self::read(raw.get()).ok_or_else(|| invalid(name, "must be an object"))
    }

    fn parsed<T: DeserializeOwned>(
        &self,
        name: &'static str,
        wanted: &'static str,
    ) -> Result<T, Problem> {
        let raw = self.raw(name).ok_or_else(|| missing(name))?;
        serde_json::from_str(raw.get()).map_err(|_| invalid(name, wanted))
    }

    /// A text of at most `bytes_max` bytes without U+0000.
    pub(super) fn text(&self, name: &'static str, bytes_max: usize) -> Result<String, Problem> {
        let text: String = self.parsed(name, "must be a text")?;
        check_text(name, &text, bytes_max)?;
        Ok(text)
    }

    pub(super) fn optional_text(
        &self,
        name: &'static str,
        bytes_max: usize,
    ) -> Result<Option<String>, Problem> {
        self.optional(name, |fields| fields.text(name, bytes_max))
    }

    /// Something that core parses from a text.
    pub(super) fn id<T: FromStr<Err = InvalidId>>(&self, name: &'static str) -> Result<T, Problem> {
        let text: String = self.parsed(name, "must be a text")?;
        text.parse()
            .map_err(|error: InvalidId| invalid(name, format!("must be {}", error.allowed)))
    }

    /// A whole number in a range.
    pub(super) fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, Problem> {
        let wanted = || invalid(name, format!("must be a whole number from {min} to {max}"));
        let raw = self.raw(name).ok_or_else(|| missing(name))?;
        let number: u64 = serde_json::from_str(raw.get()).map_err(|_| wanted())?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(wanted())
        }
    }

    /// A number in a range.
    pub(super) fn float(&self, name: &'static str, min: f64, max: f64) -> Result<f64, Problem> {
        let number: f64 = self.parsed(name, "must be a number")?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(invalid(name, format!("must be from {min} to {max}")))
        }
    }

    /// Any JSON value whose compact form has at most `bytes_max` bytes, without U+0000.
    pub(super) fn json(
        &self,
        name: &'static str,
        bytes_max: usize,
    ) -> Result<Option<Value>, Problem> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let value: Value = serde_json::from_str(raw.get())
            .map_err(|error| invalid(name, format!("cannot be represented: {error}")))?;
        if contains_nul(&value) {
            return Err(invalid(name, "must not contain U+0000"));
        }
        let bytes = value.to_string().len();
        if bytes > bytes_max {
            return Err(too_long(name, bytes, bytes_max));
        }
        Ok(Some(value))
    }

    /// The elements of an array, each raw.
    pub(super) fn list(
        &self,
        name: &'static str,
        items_max: usize,
    ) -> Result<Vec<&'a RawValue>, Problem> {
        let raw = self.raw(name).ok_or_else(|| missing(name))?;
        let items: Vec<&'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| invalid(name, "must be a list"))?;
        if items.len() > items_max {
            return Err(invalid(
                name,
                format!("must have at most {items_max} items"),
            ));
        }
        Ok(items)
    }

    /// The elements of an array of objects.
    pub(super) fn objects(
        &self,
        name: &'static str,
        items_max: usize,
    ) -> Result<Vec<Self>, Problem> {
        let read = |raw: &'a RawValue| {
            Self::read(raw.get()).ok_or_else(|| invalid(name, "must be a list of objects"))
        };
        self.list(name, items_max)?.into_iter().map(read).collect()
    }

    /// Every field with its text value.
    pub(super) fn texts(self, name: &'static str) -> Result<Vec<(String, String)>, Problem> {
        let read = |(key, raw): (String, &RawValue)| {
            serde_json::from_str(raw.get())
                .map(|value| (key, value))
                .map_err(|_| invalid(name, "must map texts to texts"))
        };
        self.0.into_iter().map(read).collect()
    }

    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Self) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        if self.has(name) {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The `message_id`: also what a refusal is addressed by, so it must be sane.
    pub(super) fn message_id(&self) -> Result<String, Problem> {
        let id = self.text("message_id", MESSAGE_ID_BYTES_MAX)?;
        if id.is_empty() {
            return Err(invalid("message_id", "must not be empty"));
        }
        Ok(id)
    }
}

pub(super) fn check_text(name: &'static str, text: &str, bytes_max: usize) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(invalid(name, "must not contain U+0000"));
    }
    if text.len() > bytes_max {
        return Err(too_long(name, text.len(), bytes_max));
    }
    Ok(())
}

pub(super) fn invalid(field: &'static str, detail: impl Into<String>) -> Problem {
    Problem::Invalid {
        field,
        detail: detail.into(),
    }
}

const fn missing(field: &'static str) -> Problem {
    Problem::Missing { field }
}

fn too_long(field: &'static str, bytes: usize, bytes_max: usize) -> Problem {
    invalid(
        field,
        format!("has {bytes} bytes, at most {bytes_max} are allowed"),
    )
}

/// Bounded in depth by the parser that made the value.
fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
