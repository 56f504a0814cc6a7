//! Picks in schedule files: one line each, `"message c0>w1 #3 fate" = "lost"`.

use super::text::{parse_span, print_span};
use crate::decision::{Choice, Occasion, Pick, Values, Who};
use niyanta_core::time::Duration;
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};
use std::fmt;

/// In the order of picking.
///
/// # Errors
///
/// Only the serializer's own.
pub(super) fn serialize<S: Serializer>(picks: &[Pick], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(picks.len()))?;
    for pick in picks {
        let name = pick.to_string();
        match pick.choice.values() {
            Values::Names(names) => {
                let index = usize::try_from(pick.value).unwrap_or(usize::MAX);
                let value = names.get(index).copied().unwrap_or("?");
                map.serialize_entry(&name, value)?;
            }
            Values::Time => {
                let span = Duration::from_micros(u64::from(pick.value));
                map.serialize_entry(&name, &print_span(span))?;
            }
            Values::Number => map.serialize_entry(&name, &pick.value)?,
        }
    }
    map.end()
}

/// The inverse of [`serialize`].
///
/// # Errors
///
/// When a name or a value is none that there is; says which, and what is allowed.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Pick>, D::Error> {
    struct Lines;
    impl<'de> Visitor<'de> for Lines {
        type Value = Vec<Pick>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("picks, such as \"message c0>w1 #3 fate\" = \"lost\"")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Pick>, A::Error> {
            let mut picks = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                let (choice, who, nth) = parse_name(&name).map_err(Error::custom)?;
                let value = match map.next_value::<Written>()? {
                    Written::Number(number) => number.to_string(),
                    Written::Text(text) => text,
                };
                let value = parse_value(choice, &value).map_err(|allowed| {
                    Error::custom(format!("`{name}`: `{value}` is not {allowed}"))
                })?;
                picks.push(Pick {
                    nth,
                    value,
                    who,
                    choice,
                });
            }
            Ok(picks)
        }
    }
    deserializer.deserialize_map(Lines)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u32),
    Text(String),
}

fn parse_name(name: &str) -> Result<(Choice, Who, u32), String> {
    let words: Vec<&str> = name.split(' ').collect();
    let &[occasion, who, nth, aspect] = words.as_slice() else {
        return Err(format!(
            "`{name}` does not name a choice: allowed is OCCASION WHO #TIME ASPECT, such as \
             `message c0>w1 #3 fate`"
        ));
    };
    let found = Occasion::ALL.iter().find(|known| known.name() == occasion);
    let occasion = *found.ok_or_else(|| {
        let known: Vec<&str> = Occasion::ALL.iter().map(|known| known.name()).collect();
        format!(
            "`{name}`: there is no occasion `{occasion}`, but {}",
            known.join(", ")
        )
    })?;
    let mut choices = Choice::ALL
        .iter()
        .filter(|choice| choice.occasion() == occasion);
    let choice = choices.clone().find(|choice| choice.aspect() == aspect);
    let choice = choice.ok_or_else(|| {
        let known: Vec<&str> = choices.by_ref().map(|choice| choice.aspect()).collect();
        format!(
            "`{name}`: it has no aspect `{aspect}`, but {}",
            known.join(", ")
        )
    })?;
    let example = Who(0).name(occasion);
    let who = Who::parse(who, occasion).ok_or_else(|| {
        format!("`{name}`: `{who}` is nobody here; allowed is such as `{example}`")
    })?;
    let time = nth.strip_prefix('#').and_then(|nth| nth.parse().ok());
    let nth = time
        .filter(|nth| *nth > 0)
        .ok_or_else(|| format!("`{name}`: `{nth}` does not count; allowed is #1 and up"))?;
    Ok((*choice, who, nth))
}

/// The value of a pick; otherwise what is allowed.
fn parse_value(choice: Choice, text: &str) -> Result<u32, String> {
    match choice.values() {
        Values::Names(names) => {
            let index = names.iter().position(|name| *name == text);
            let index = index.and_then(|index| u32::try_from(index).ok());
            index.ok_or_else(|| format!("one of {}", names.join(", ")))
        }
        Values::Time => {
            let allowed = "a length of time below 4 000 s, such as 2.5s, 20ms or 150us".to_owned();
            let micros = parse_span(text).map(|span| span.as_micros());
            micros
                .ok()
                .and_then(|micros| u32::try_from(micros).ok())
                .ok_or(allowed)
        }
        Values::Number => text.parse().map_err(|_| "a number from 0".to_owned()),
    }
}
