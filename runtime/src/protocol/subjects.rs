//! Where words are sent. Owns the names of subjects and the check of their prefix.

use niyanta_core::ids::WorkerId;

/// The subjects of one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subjects {
    prefix: String,
}

/// A prefix that would not make a valid subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "subject prefix {0:?} is not allowed: parts of A-Z a-z 0-9 _ -, separated by single dots, at most 128 characters"
)]
pub struct InvalidPrefix(pub String);

impl Subjects {
    /// Under `prefix`; the empty one means none.
    pub fn new(prefix: &str) -> Result<Self, InvalidPrefix> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let part = |text: &str| !text.is_empty() && text.bytes().all(allowed);
        if prefix.is_empty() {
            return Ok(Self::default());
        }
        if prefix.len() > 128 || !prefix.split('.').all(part) {
            return Err(InvalidPrefix(prefix.to_owned()));
        }
        Ok(Self {
            prefix: format!("{prefix}."),
        })
    }

    /// What workers ask and report.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}coordinator.events", self.prefix)
    }

    /// The logs of workloads.
    #[must_use]
    pub fn logs(&self) -> String {
        format!("{}coordinator.logs", self.prefix)
    }

    /// What leaders tell everybody.
    #[must_use]
    pub fn broadcast(&self) -> String {
        format!("{}coordinator.broadcast", self.prefix)
    }

    /// What coordinators tell each other.
    #[must_use]
    pub fn peers(&self) -> String {
        format!("{}coordinator.peers", self.prefix)
    }

    /// What leaders tell one worker.
    #[must_use]
    pub fn commands(&self, worker: &WorkerId) -> String {
        format!("{}worker.{worker}.commands", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_before_every_subject() {
        let subjects = Subjects::new("prod.eu").expect("valid");
        assert_eq!(subjects.events(), "prod.eu.coordinator.events");
        let worker = "w1".parse().expect("valid");
        assert_eq!(subjects.commands(&worker), "prod.eu.worker.w1.commands");
        let bare = Subjects::new("").expect("valid");
        assert_eq!(bare.broadcast(), "coordinator.broadcast");
    }

    #[test]
    fn a_prefix_cannot_hold_wildcards_or_empty_parts() {
        for prefix in ["a.", ".a", "a..b", "a.*", ">", "a b", "ä"] {
            assert!(Subjects::new(prefix).is_err(), "{prefix}");
        }
    }
}
