//! Durations as people write them: a whole number and a unit, `500ms 10s 5m 1h 90d`.
//!
//! A number without a unit is refused: guessing seconds where milliseconds were meant is an outage.

use std::time::Duration;

/// Longest unit first, so that printing takes the largest that divides.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `500ms`, `10s`, `5m`, `1h` or `90d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(*millis).map(Duration::from_millis)
}

/// Writes a duration in the largest unit that divides it; parts of a millisecond are dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, size)| millis.is_multiple_of(u128::from(*size)))
        .map_or_else(
            || format!("{millis}ms"),
            |(unit, size)| format!("{}{unit}", millis / u128::from(*size)),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_as_the_same_duration() {
        for text in ["500ms", "10s", "5m", "1h", "90d", "90s", "0s", "1500ms"] {
            let parsed = parse_duration(text);
            assert_eq!(parsed.map(format_duration).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_unit_is_required_and_nothing_else_is_understood() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 s",
            "10S",
            "1w",
            "1h30m",
            "+1s",
            "١s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
