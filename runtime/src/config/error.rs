//! What can be wrong with a configuration. Every problem is one line that says which key, which
//! value, where it came from and what is allowed; all are told at once.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A key has a value that it cannot have.
    #[error("config: {key} = {value:?} ({origin}): {allowed}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What was given, without secrets.
        value: String,
        /// Where it was given.
        origin: String,
        /// What the key takes.
        allowed: &'static str,
    },
    /// A key that does not exist.
    #[error("config: {key} ({origin}): unknown key; {hint}")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where it was written.
        origin: String,
        /// The key that was probably meant, or where to find them all.
        hint: String,
    },
    /// The file cannot be read or is not YAML.
    #[error("config: {file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A key without a default is not set.
    #[error("config: {key} is not set: set {env}, --{flag} or {key} in the file to {allowed}")]
    Missing {
        /// The key.
        key: &'static str,
        /// Its environment variable.
        env: &'static str,
        /// Its flag.
        flag: String,
        /// What the key takes.
        allowed: &'static str,
    },
    /// Two keys that cannot be together.
    #[error("config: {detail}")]
    Conflict {
        /// Both keys with their values, and what to change.
        detail: String,
    },
}

/// Everything that is wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
