//! The small texts of the command line: pairs, durations, moments, JSON from an argument, a file
//! or standard input. All errors are wrong usage, found before anything is sent.

use std::{io::Read, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::failure::{Failure, Outcome};
use crate::config::{LogFormat, LogLevel, SecretUrl, parse_duration, redact_url};

const DURATION: &str = "expected a duration such as 500ms, 10s, 5m, 1h, 90d";

/// `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A duration with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| DURATION.to_owned())
}

/// Whole seconds, written as a duration or as a bare number.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let duration = duration(text)?;
    if duration.subsec_millis() == 0 {
        Ok(duration.as_secs())
    } else {
        Err("expected whole seconds".to_owned())
    }
}

/// A moment: RFC 3339, or a duration from now on.
pub(super) fn moment(text: &str) -> Result<String, String> {
    let now = Utc::now();
    relative(text)
        .and_then(|ahead| now.checked_add_signed(ahead))
        .map_or_else(|| absolute(text), |at| Ok(print(at)))
}

/// A moment: RFC 3339, or a duration ago.
pub(super) fn past_moment(text: &str) -> Result<String, String> {
    let now = Utc::now();
    relative(text)
        .and_then(|ago| now.checked_sub_signed(ago))
        .map_or_else(|| absolute(text), |at| Ok(print(at)))
}

fn relative(text: &str) -> Option<chrono::TimeDelta> {
    chrono::TimeDelta::from_std(parse_duration(text)?).ok()
}

fn absolute(text: &str) -> Result<String, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| print(at.to_utc()))
        .map_err(|_| {
            "expected a moment such as 2026-01-31T12:00:00Z, or a duration such as 10m".to_owned()
        })
}

fn print(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The broker of a worker: the embedded one has no address that another process could use.
pub(super) fn broker_url(text: &str) -> Result<SecretUrl, String> {
    let fits = text.split(',').all(|server| {
        let server = server.trim();
        server.starts_with("nats://") || server.starts_with("tls://")
    });
    if fits {
        Ok(SecretUrl::new(text))
    } else {
        Err(format!(
            "{}: expected nats://HOST:PORT or tls://HOST:PORT",
            redact_url(text)
        ))
    }
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, String> {
    LogLevel::parse(text).ok_or_else(|| "expected error, warn, info, debug or trace".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormat::parse(text).ok_or_else(|| "expected text or json".to_owned())
}

/// A JSON object given as text, as `@FILE`, or as `-` for standard input.
pub(super) fn json_object(flag: &str, given: &str) -> Outcome<Value> {
    let (text, origin) = if given == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("{flag} -: {error}")))?;
        (text, "standard input".to_owned())
    } else if let Some(path) = given.strip_prefix('@') {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{flag} {given}: {error}")))?;
        (text, path.to_owned())
    } else {
        (given.to_owned(), "the value".to_owned())
    };
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{flag}: {origin} is not JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Failure::usage(format!(
            "{flag}: {origin} must be a JSON object such as {{\"seconds\": 5}}"
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn seconds_may_be_bare_or_a_duration_but_must_be_whole() {
        assert_eq!(seconds("60"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        assert!(seconds("1500ms").is_err());
        assert!(seconds("soon").is_err());
    }

    #[test]
    fn a_moment_is_absolute_or_counted_from_the_present() {
        assert_eq!(
            moment("2026-01-31T12:00:00+01:00").unwrap(),
            "2026-01-31T11:00:00.000Z"
        );
        let before = print(Utc::now());
        assert!(moment("1h").unwrap() > before);
        assert!(past_moment("1h").unwrap() < before);
        assert!(moment("tomorrow").is_err());
    }

    #[test]
    fn parameters_come_from_the_argument_or_a_file_and_are_an_object() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\": 1}").unwrap();
        let from_file = format!("@{}", file.path().display());
        assert_eq!(json_object("--params", &from_file).unwrap()["a"], 1);
        assert_eq!(json_object("--params", "{\"a\": 2}").unwrap()["a"], 2);
        for wrong in ["[1]", "{", "@/nowhere/at/all"] {
            let failure = json_object("--params", wrong).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{failure:?}");
        }
    }

    #[test]
    fn a_pair_needs_a_name() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(pair("=b").is_err());
        assert!(pair("ab").is_err());
    }
}
