//! Evidence, outside of the system under test, of how often work really ran.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// A folder in which each run of an `exec` workload leaves a line, and in which two runs of one
/// workload at the same time collide.
#[derive(Debug)]
pub struct Ledger(PathBuf);

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Parameters of an `exec` that signs for `name` and runs for `seconds`. A second run while
    /// the first is not over exits 127, which is a permanent failure.
    #[must_use]
    pub fn exec(&self, name: &str, seconds: &str) -> Value {
        let script = "mkdir \"$0/$1.lock\" || exit 127; echo run >> \"$0/$1.runs\"; \
                      sleep \"$2\"; rmdir \"$0/$1.lock\"";
        json!({"argv": ["sh", "-c", script, self.0, name, seconds]})
    }

    /// How often `name` was run.
    #[must_use]
    pub fn runs(&self, name: &str) -> usize {
        let path = self.0.join(format!("{name}.runs"));
        fs::read_to_string(path).map_or(0, |lines| lines.lines().count())
    }
}
