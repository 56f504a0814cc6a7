//! The bug bank: bugs that real coordinators shipped, and others of their classes.
//!
//! Owns their names, where each is planted, and which properties may say that they caught it. What a
//! bug does wrong stands where it is planted.

mod table;

pub use table::Bug;

use std::str::FromStr;

/// Where a bug is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// In `core`.
    Core,
    /// In the driver: `runtime`'s, and the event simulation's, which stands for it.
    Driver,
    /// In the HTTP API: `runtime`'s, and the event simulation's, which stands for it.
    Http,
    /// In the worker: its machine, which the event simulation runs, or its shell.
    Worker,
    /// A wrong variant of the model of the database or of the broker. Counted apart.
    Model,
    /// Nowhere: the design leaves no place to write it. A test shows why.
    Nowhere,
}

/// What must catch a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The event simulation.
    Events,
    /// The exhaustive search of small worlds.
    Exhaustive,
    /// The production driver over simulated TCP.
    Wire,
    /// The production driver's tasks in random order.
    Tasks,
    /// Real databases, brokers and processes.
    Real,
}

impl Bug {
    /// Whether this layer must catch it.
    #[must_use]
    pub fn is_for(self, layer: Layer) -> bool {
        self.layers().contains(&layer)
    }

    /// Whether a violation of this property counts as catching it.
    #[must_use]
    pub fn is_caught_by(self, property: &str) -> bool {
        self.properties().contains(&property)
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<u16>().ok();
        let found = Self::ALL
            .iter()
            .copied()
            .find(|bug| Some(bug.number()) == number || bug.name() == text);
        found.ok_or_else(|| format!("there is no bug {text}: `bank --list` shows them"))
    }
}
