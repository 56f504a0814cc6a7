//! Plain words for values in schedule files: `2.5s`, `150us`, `cancel`.

use crate::clock::Moment;
use niyanta_core::time::Duration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{fmt::Display, str::FromStr};

/// Serializes what prints as the text that it parses from.
///
/// # Errors
///
/// Only the serializer's own.
pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The inverse of [`serialize`].
///
/// # Errors
///
/// When the text does not parse.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    T::Err: Display,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|problem| Error::custom(format!("`{text}`: {problem}")))
}

/// A length of time.
pub mod span {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer, parse_span, print_span};

    /// As `2.5s`.
    ///
    /// # Errors
    ///
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print_span(*value))
    }

    /// The inverse of [`serialize`].
    ///
    /// # Errors
    ///
    /// When the text is no length of time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).map_err(Error::custom)
    }
}

/// A length of time, or none.
pub mod optional_span {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer, parse_span, span};

    /// As `2.5s`, if there is one.
    ///
    /// # Errors
    ///
    /// Only the serializer's own.
    pub fn serialize<S>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        match value {
            Some(value) => span::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// The inverse of [`serialize`].
    ///
    /// # Errors
    ///
    /// When the text is no length of time.
    pub fn deserialize<'de, D>(deserializer: D) -> Result<Option<Duration>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        let parsed = text.map(|text| parse_span(&text));
        parsed.transpose().map_err(Error::custom)
    }
}

/// Several, each as text.
pub mod list {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    /// As a list of texts.
    ///
    /// # Errors
    ///
    /// Only the serializer's own.
    pub fn serialize<'a, T, S>(values: &'a T, serializer: S) -> Result<S::Ok, S::Error>
    where
        &'a T: IntoIterator<Item: Display>,
        S: Serializer,
    {
        serializer.collect_seq(values.into_iter().map(|value| value.to_string()))
    }

    /// The inverse of [`serialize`].
    ///
    /// # Errors
    ///
    /// When one of the texts does not parse.
    pub fn deserialize<'de, T, V, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromIterator<V> + IntoIterator<Item = V>,
        V: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parsed = texts.iter().map(|text| {
            let parsed = text.parse();
            parsed.map_err(|problem| Error::custom(format!("`{text}`: {problem}")))
        });
        parsed.collect()
    }
}

/// A moment is written as the time from the start of the run.
impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        span::serialize(&self.since(Self::default()), serializer)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::default().plus(span::deserialize(deserializer)?))
    }
}

/// A length of time in its largest unit, exactly: `2.5s`, `150us`, `0s`.
#[must_use]
pub fn print_span(span: Duration) -> String {
    let nanos = span.as_nanos();
    let (unit, size) = UNITS
        .iter()
        .find(|(_, size)| nanos >= *size)
        .or(UNITS.first())
        .copied()
        .unwrap_or(("s", 1));
    let (whole, rest) = (nanos / size, nanos % size);
    if rest == 0 {
        return format!("{whole}{unit}");
    }
    let digits = usize::try_from(size.ilog10()).unwrap_or(0);
    let decimals = format!("{rest:0digits$}");
    format!("{whole}.{}{unit}", decimals.trim_end_matches('0'))
}

/// The inverse of [`print_span`].
///
/// # Errors
///
/// Says what was found, and what is allowed.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let problem = || {
        let allowed = "a length of time below 100 000 s, such as 2.5s, 20ms, 150us or 0s";
        format!("`{text}` is not {allowed}")
    };
    let number = text.trim_end_matches(char::is_alphabetic);
    let unit = &text[number.len()..];
    let (_, size) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(problem)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = usize::try_from(size.ilog10()).unwrap_or(0);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = !whole.is_empty() && whole.len() <= 13 && decimals.len() <= digits;
    if !fits || !are_digits(whole) || !are_digits(decimals) {
        return Err(problem());
    }
    let whole: u128 = whole.parse().map_err(|_| problem())?;
    let rest: u128 = format!("{decimals:0<digits$}0")
        .parse()
        .map_err(|_| problem())?;
    let nanos = u64::try_from(whole * size + rest / 10).map_err(|_| problem())?;
    let span = Duration::from_nanos(nanos);
    if span >= SPAN_END {
        return Err(problem());
    }
    Ok(span)
}

const UNITS: [(&str, u128); 4] = [
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Beyond any run, and beyond what a fault that never ends is given.
const SPAN_END: Duration = Duration::from_secs(100_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_print_as_they_parse() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (150_000, "150us"),
            (1_500_000, "1.5ms"),
            (2_000_000_000, "2s"),
            (2_000_000_001, "2.000000001s"),
            (61_050_000_000, "61.05s"),
        ] {
            let span = Duration::from_nanos(nanos);
            if nanos > 0 {
                assert_eq!(print_span(span), text);
            }
            assert_eq!(parse_span(text), Ok(span));
            assert_eq!(parse_span(&print_span(span)), Ok(span));
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused_with_what_is_allowed() {
        for text in [
            "", "5", "s", "1.s5", "-1s", "1.5ns", "1h", "1..5s", "1e3s", "100000s",
        ] {
            let refused = parse_span(text).expect_err(text);
            assert!(refused.contains("such as 2.5s"), "{refused}");
        }
    }
}
