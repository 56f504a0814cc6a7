//! Reading JSON bodies: typed, complete, and with a pointer for everything that is wrong.
//!
//! [`Fields`] is used like a checklist: take each field that may be there, then [`Fields::finish`],
//! which refuses the rest. All errors of a body are gathered, not only the first. `null` counts as
//! absent. Deserializing into structs was rejected: serde stops at the first error, knows no
//! pointers, and its words name Rust's types.

use super::error::{ApiError, FieldError};
use crate::store::Json;
use niyanta_core::{ids::InvalidId, time::WallTime};
use serde_json::Map;
use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, str::FromStr};

/// What is wrong with a body so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    /// Notes an error.
    pub(crate) fn push(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        // A body can hold a hundred thousand wrong fields; nobody reads more than a screen of them.
        if self.0.len() < Self::MOST {
            self.0.push(FieldError {
                pointer: pointer.into(),
                detail: detail.into(),
            });
        }
    }

    /// 422 if anything is wrong.
    pub(crate) fn into_result(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(self.0))
    }

    const MOST: usize = 32;
}

/// The fields of one object, being taken.
#[derive(Debug)]
pub(crate) struct Fields<'a, 'e> {
    object: Option<&'a Map<String, Json>>,
    path: String,
    known: Vec<&'static str>,
    errors: &'e mut Errors,
}

impl<'a, 'e> Fields<'a, 'e> {
    /// The fields of a body, none of whose texts may hold U+0000.
    pub(crate) fn of_body(body: &'a Json, errors: &'e mut Errors) -> Self {
        refuse_nul(body, &mut String::new(), errors);
        Self::at(body, String::new(), errors)
    }

    /// The fields of a body whose parts are read, and judged, one by one.
    pub(crate) fn of_batch(body: &'a Json, errors: &'e mut Errors) -> Self {
        Self::at(body, String::new(), errors)
    }

    fn at(value: &'a Json, path: String, errors: &'e mut Errors) -> Self {
        let object = value.as_object();
        if object.is_none() {
            errors.push(
                path.clone(),
                format!("must be an object, not {}", kind(value)),
            );
        }
        Self {
            object,
            path,
            known: Vec::new(),
            errors,
        }
    }

    /// The value of a field, if it is there and not null.
    pub(crate) fn value(&mut self, name: &'static str) -> Option<&'a Json> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.object?.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there, be it null.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.object.is_some_and(|object| object.contains_key(name))
    }

    /// Notes what is wrong with a field.
    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = format!("{}/{}", self.path, escape(name));
        self.errors.push(pointer, detail);
    }

    /// Notes that a required field is missing, unless it is there.
    pub(crate) fn require(&mut self, name: &'static str) {
        let missing = self
            .object
            .is_some_and(|o| o.get(name).is_none_or(Json::is_null));
        if missing {
            self.refuse(name, "is required");
        }
    }

    /// A whole number in a range.
    pub(crate) fn integer<T>(&mut self, name: &'static str, allowed: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let value = self.value(name)?;
        let number = value.as_i64().and_then(|number| T::try_from(number).ok());
        let found = number.filter(|number| allowed.contains(number));
        if found.is_none() {
            let (low, high) = (allowed.start(), allowed.end());
            let detail = format!(
                "must be a whole number from {low} to {high}, not {}",
                shown(value)
            );
            self.refuse(name, detail);
        }
        found
    }

    /// A text of so many characters.
    pub(crate) fn text(
        &mut self,
        name: &'static str,
        characters: RangeInclusive<usize>,
    ) -> Option<String> {
        let value = self.value(name)?;
        let text = value
            .as_str()
            .filter(|text| characters.contains(&text.chars().count()));
        if text.is_none() {
            let (low, high) = (characters.start(), characters.end());
            let detail = format!(
                "must be a text of {low} to {high} characters, not {}",
                shown(value)
            );
            self.refuse(name, detail);
        }
        text.map(str::to_owned)
    }

    /// A text that is one of our words or ids.
    pub(crate) fn word<T: FromStr<Err = InvalidId>>(&mut self, name: &'static str) -> Option<T> {
        let value = self.value(name)?;
        let Some(text) = value.as_str() else {
            self.refuse(name, format!("must be a text, not {}", kind(value)));
            return None;
        };
        match text.parse() {
            Ok(word) => Some(word),
            Err(InvalidId { allowed, .. }) => {
                self.refuse(name, format!("must be {allowed}, not {}", shown(value)));
                None
            }
        }
    }

    /// A moment, RFC 3339.
    pub(crate) fn moment(&mut self, name: &'static str) -> Option<WallTime> {
        let value = self.value(name)?;
        let moment = value.as_str().and_then(parse_moment);
        if moment.is_none() {
            let detail = format!("must be a time in RFC 3339, not {}", shown(value));
            self.refuse(name, detail);
        }
        moment
    }

    /// A JSON object of at most so many bytes, encoded.
    pub(crate) fn object(&mut self, name: &'static str, bytes_max: usize) -> Option<Json> {
        let value = self.value(name)?;
        if !value.is_object() {
            self.refuse(name, format!("must be an object, not {}", kind(value)));
            return None;
        }
        let bytes = encoded_bytes(value);
        if bytes > bytes_max {
            let detail = format!("has {bytes} bytes encoded, at most {bytes_max} are allowed");
            self.refuse(name, detail);
            return None;
        }
        Some(value.clone())
    }

    /// The elements of a list of at most so many.
    pub(crate) fn list(&mut self, name: &'static str, most: usize) -> Option<&'a [Json]> {
        let value = self.value(name)?;
        let list = value.as_array().filter(|list| list.len() <= most);
        if list.is_none() {
            let found = value
                .as_array()
                .map_or_else(|| shown(value), |l| l.len().to_string());
            self.refuse(
                name,
                format!("must be a list of at most {most}, not {found}"),
            );
        }
        list.map(Vec::as_slice)
    }

    /// A map of text to text: at most 32 entries, names of 1 to 128 characters without `=`, values
    /// of at most 256 characters.
    pub(crate) fn tags(&mut self, name: &'static str) -> Option<BTreeMap<String, String>> {
        let value = self.value(name)?;
        let Some(object) = value.as_object() else {
            self.refuse(name, format!("must be an object, not {}", kind(value)));
            return None;
        };
        if object.len() > TAGS_MAX {
            let detail = format!(
                "has {} entries, at most {TAGS_MAX} are allowed",
                object.len()
            );
            self.refuse(name, detail);
            return None;
        }
        let mut tags = BTreeMap::new();
        for (key, value) in object {
            let pointer = format!("{}/{}/{}", self.path, escape(name), escape(key));
            let letters = key.chars().count();
            if letters == 0 || letters > TAG_NAME_CHARS_MAX || key.contains('=') {
                let detail = format!("names have 1 to {TAG_NAME_CHARS_MAX} characters and no '='");
                self.errors.push(pointer, detail);
                continue;
            }
            let text = value
                .as_str()
                .filter(|text| text.chars().count() <= TAG_VALUE_CHARS_MAX);
            let Some(text) = text else {
                let detail = format!("must be a text of at most {TAG_VALUE_CHARS_MAX} characters");
                self.errors.push(pointer, detail);
                continue;
            };
            tags.insert(key.clone(), text.to_owned());
        }
        Some(tags)
    }

    /// The fields of an object inside.
    pub(crate) fn inside(&mut self, name: &'static str) -> Option<Fields<'a, '_>> {
        let value = self.value(name)?;
        let path = format!("{}/{}", self.path, escape(name));
        Some(Fields::at(value, path, self.errors))
    }

    /// Refuses every field that was not asked for.
    pub(crate) fn finish(self) {
        let Some(object) = self.object else { return };
        for name in object.keys() {
            if !self.known.contains(&name.as_str()) {
                let pointer = format!("{}/{}", self.path, escape(name));
                let detail = format!("unknown field; allowed are {}", self.known.join(", "));
                self.errors.push(pointer, detail);
            }
        }
    }
}

/// A moment in RFC 3339.
pub(crate) fn parse_moment(text: &str) -> Option<WallTime> {
    let moment = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(WallTime(moment.timestamp_micros()))
}

/// How many bytes a value has, encoded without white space.
pub(crate) fn encoded_bytes(value: &Json) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and a parsed value has text keys only.
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

/// Appends a value so that equal JSON gives equal bytes: keys sorted, no white space, whole numbers
/// without a fraction.
pub(crate) fn canonical(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Object(object) => {
            let mut keys: Vec<_> = object.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (place, key) in keys.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Json::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                canonical(&object[key], out);
            }
            out.push(b'}');
        }
        Json::Array(list) => {
            out.push(b'[');
            for (place, element) in list.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                canonical(element, out);
            }
            out.push(b']');
        }
        Json::Number(number) => out.extend_from_slice(canonical_number(number).as_bytes()),
        Json::Null | Json::Bool(_) | Json::String(_) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

/// Formatting a whole float without a fraction gives the same digits as the integer.
fn canonical_number(number: &serde_json::Number) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            // Adding zero turns -0 into 0.
            format!("{:.0}", float + 0.0)
        }
        Some(_) | None => number.to_string(),
    }
}

fn refuse_nul(value: &Json, path: &mut String, errors: &mut Errors) {
    let length = path.len();
    match value {
        Json::String(text) if text.contains('\0') => {
            errors.push(path.clone(), "must not contain U+0000");
        }
        Json::Object(object) => {
            for (key, value) in object {
                path.push('/');
                path.push_str(&escape(key));
                if key.contains('\0') {
                    errors.push(path.replace('\0', "\u{fffd}"), "must not contain U+0000");
                }
                refuse_nul(value, path, errors);
                path.truncate(length);
            }
        }
        Json::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                path.push('/');
                path.push_str(&place.to_string());
                refuse_nul(value, path, errors);
                path.truncate(length);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

const fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// The value as far as it helps to see it. Texts are not repeated: they may hold a secret that was
/// put in the wrong place, and refusals are logged by clients and proxies.
fn shown(value: &Json) -> String {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
        Json::String(text) => format!("a text of {} characters", text.chars().count()),
        Json::Array(_) | Json::Object(_) => kind(value).to_owned(),
    }
}

/// Most labels of a workload, or tags in a rule.
pub(crate) const TAGS_MAX: usize = 32;
/// Longest name of a label or tag.
pub(crate) const TAG_NAME_CHARS_MAX: usize = 128;
/// Longest value of a label or tag.
pub(crate) const TAG_VALUE_CHARS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn canonical_text(value: &Json) -> String {
        let mut out = Vec::new();
        canonical(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn equal_bodies_have_equal_canonical_bytes() {
        let one: Json =
            serde_json::from_str(r#"{"b":[1.0,-0.0,"x"],"a":{"d":null,"c":1e3}}"#).unwrap();
        let two: Json = serde_json::from_str(r#"{"a":{"c":1000,"d":null},"b":[1,0,"x"]}"#).unwrap();
        assert_eq!(canonical_text(&one), canonical_text(&two));
        assert_eq!(
            canonical_text(&two),
            r#"{"a":{"c":1000,"d":null},"b":[1,0,"x"]}"#
        );
        assert_ne!(canonical_text(&json!(0.5)), canonical_text(&json!(0.25)));
    }

    #[test]
    fn nul_is_found_at_any_depth_in_values_and_names() {
        let body = json!({"a": ["ok", {"b/c": "x\0y"}], "n\0": 1});
        let mut errors = Errors::default();
        let mut fields = Fields::of_body(&body, &mut errors);
        fields.value("a");
        drop(fields);
        let pointers: Vec<_> = errors.0.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a/1/b~1c", "/n\u{fffd}"]);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let body = json!({"priority": 1001, "timeout_seconds": 1.5, "x": 1, "y": null});
        let mut errors = Errors::default();
        let mut fields = Fields::of_body(&body, &mut errors);
        fields.require("workload_type");
        assert_eq!(fields.integer("priority", 0..=1000_u16), None);
        assert_eq!(fields.integer("timeout_seconds", 1..=10_u32), None);
        fields.finish();
        let pointers: Vec<_> = errors.0.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/workload_type",
                "/priority",
                "/timeout_seconds",
                "/x",
                "/y"
            ]
        );
    }

    #[test]
    fn the_number_of_errors_is_bounded() {
        let body = Json::Object((0..1000).map(|n| (n.to_string(), json!(1))).collect());
        let mut errors = Errors::default();
        Fields::of_body(&body, &mut errors).finish();
        assert_eq!(errors.0.len(), Errors::MOST);
    }
}
