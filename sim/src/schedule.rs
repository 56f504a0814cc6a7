//! A run as a file: the whole plan, the picks that are not benign, and what is expected of it.
//!
//! Owns the format, which people read and compare. A schedule names no seed of a generator: what it
//! means does not change when plans are drawn otherwise. A choice that it does not mention is
//! benign. Does not judge whether a run is worth keeping.

mod picks;
pub mod text;

use crate::{
    Outcome, Plan,
    decision::{Decider, Pick},
    explore::run_plan,
    plan::Rates,
};
use serde::{Deserialize, Serialize};
use sim_probes::Bug;
use std::{fs, io, path::Path};
use toml_edit::{DocumentMut, Item};

/// One run, complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Schedule {
    /// The version of the format.
    pub format: u32,
    /// What it shows, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What is done wrong on purpose; without it the run is clean.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "bug_name")]
    pub bug: Option<Bug>,
    /// The property that does not hold; nothing when all must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violates: Option<String>,
    /// Who is there, and what happens when.
    pub plan: Plan,
    /// What was picked, where it is not the benign pick.
    #[serde(default, with = "picks")]
    pub picks: Vec<Pick>,
}

/// Why a schedule file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It cannot be read.
    #[error("{path}: cannot be read")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A field has a value that it cannot have.
    #[error("`{field}`: {problem}")]
    Field {
        /// Which field.
        field: String,
        /// Which value it has, and what is allowed.
        problem: String,
    },
}

impl ScheduleError {
    /// A value that a field cannot have.
    pub fn value(
        field: impl Into<String>,
        value: impl std::fmt::Display,
        allowed: impl std::fmt::Display,
    ) -> Self {
        Self::Field {
            field: field.into(),
            problem: format!("{value} is not allowed; allowed is {allowed}"),
        }
    }
}

impl Schedule {
    /// What was drawn, with what was picked, as it must be written down.
    #[must_use]
    pub fn new(mut plan: Plan, picks: Vec<Pick>, violates: Option<&str>) -> Self {
        // Rates say how to draw, and nothing is drawn any more.
        plan.rates = Rates::default();
        Self {
            format: FORMAT,
            about: String::new(),
            bug: plan.bug,
            violates: violates.map(str::to_owned),
            plan,
            picks,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or does not say what a schedule must.
    pub fn read(path: &Path) -> Result<Self, ScheduleError> {
        let text = fs::read_to_string(path).map_err(|source| ScheduleError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// When it does not say what a schedule must: names the field, its value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let document = toml_edit::de::Deserializer::parse(text)
            .map_err(|problem| ScheduleError::Syntax(problem.to_string()))?;
        let mut schedule: Self =
            serde_path_to_error::deserialize(document).map_err(|problem| ScheduleError::Field {
                field: problem.path().to_string(),
                problem: problem.inner().message().to_owned(),
            })?;
        if schedule.format != FORMAT {
            return Err(ScheduleError::value("format", schedule.format, FORMAT));
        }
        schedule.plan.bug = schedule.bug;
        schedule.plan.check()?;
        Ok(schedule)
    }

    /// The text of a file.
    ///
    /// # Errors
    ///
    /// When a number of the plan does not fit into TOML's.
    pub fn print(&self) -> Result<String, ScheduleError> {
        let document = toml_edit::ser::to_document(self);
        let mut document: DocumentMut = document.map_err(|problem| ScheduleError::Field {
            field: "plan".to_owned(),
            problem: problem.to_string(),
        })?;
        lay_out(&mut document);
        let header = "# A run of Niyanta's simulator, kept: every choice that is not listed is benign.\n\
                      # cargo run --release -p sim -- replay FILE\n\n";
        Ok(format!("{header}{document}"))
    }

    /// Plants a bug in it, or none.
    pub fn plant(&mut self, bug: Option<Bug>) {
        self.bug = bug;
        self.plan.bug = bug;
    }

    /// Runs it. The story is told when `told` is set.
    #[must_use]
    pub fn run(&self, told: bool) -> Outcome {
        let decider = Decider::scripted(self.picks.iter().copied());
        run_plan(self.plan.clone(), decider, told)
    }

    /// What it counts for: see [`Size`].
    #[must_use]
    pub fn size(&self) -> Size {
        Size::of(&self.plan, &self.picks)
    }
}

/// How much happens in a schedule beyond the benign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Errands of clients, operations of operators, strikes, and picks that are not benign.
    pub events: usize,
    /// Of those, the faults: strikes, and picks of a fate that is not benign.
    pub faults: usize,
    /// Coordinators, workers and customers.
    pub nodes: usize,
}

impl Size {
    /// The size of a plan with these picks.
    #[must_use]
    pub fn of(plan: &Plan, picks: &[Pick]) -> Self {
        let fates = picks.iter().filter(|pick| pick.choice.is_fault()).count();
        Self {
            events: plan.errands.len() + plan.operations.len() + plan.strikes.len() + picks.len(),
            faults: plan.strikes.len() + fates,
            nodes: plan.coordinators.len() + plan.workers.len() + plan.customers.len(),
        }
    }
}

/// One field of a node on a line, one element of any other list on a line.
fn lay_out(document: &mut DocumentMut) {
    for section in ["plan", "picks"] {
        if let Some(item) = document.get_mut(section) {
            *item = match std::mem::take(item).into_table() {
                Ok(table) => Item::Table(table),
                Err(other) => other,
            };
        }
    }
    let Some(plan) = document.get_mut("plan").and_then(Item::as_table_mut) else {
        return;
    };
    for (name, item) in plan.iter_mut() {
        if NODES.contains(&name.get()) {
            *item = match std::mem::take(item).into_array_of_tables() {
                Ok(tables) => Item::ArrayOfTables(tables),
                Err(other) => other,
            };
        } else if let Some(list) = item.as_array_mut()
            && list.iter().any(|element| !element.is_str())
        {
            for element in list.iter_mut() {
                element.decor_mut().set_prefix("\n    ");
            }
            list.set_trailing("\n");
            list.set_trailing_comma(true);
        }
    }
}

/// What is told one field on a line.
const NODES: &[&str] = &["coordinators", "workers", "customers"];

mod bug_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use sim_probes::Bug;

    #[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        bug: &Option<Bug>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bug {
            Some(bug) => serializer.serialize_str(bug.name()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bug>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(Error::custom))
            .transpose()
    }
}

/// The version of the format that is written and read.
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::run;

    #[test]
    fn a_run_that_went_through_a_file_is_the_same_run() {
        for seed in 0..6 {
            let drawn = run(seed, None, false);
            let schedule = Schedule::new(Plan::draw(seed, None), drawn.picks, None);
            let text = schedule.print().expect("printed");
            let read = Schedule::parse(&text).expect("parsed");
            assert_eq!(read.print().expect("printed"), text, "seed {seed}");
            let again = read.run(false);
            assert_eq!(again.mismatch, None, "seed {seed}");
            assert_eq!(again.hash, drawn.hash, "seed {seed}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_the_field_its_value_and_what_is_allowed() {
        let drawn = run(1, None, false);
        let mut plan = Plan::draw(1, None);
        plan.strikes.clear();
        let picks = drawn.picks.into_iter().filter(|pick| pick.nth == 1).take(3);
        let good = Schedule::new(plan, picks.collect(), None)
            .print()
            .expect("printed");
        Schedule::parse(&good).expect("a good file");
        let wrong = |from: &str, to: &str| {
            assert!(good.contains(from), "{from} is not in the file:\n{good}");
            let bad = good.replacen(from, to, 1);
            Schedule::parse(&bad).expect_err(to).to_string()
        };
        let cases = [
            ("format = 1", "format = 9", ["format", "9", "1"]),
            (
                "format = 1",
                "format = 1\nbug = \"Nix\"",
                ["bug", "Nix", "bank"],
            ),
            (
                "strikes = []",
                "strikes = [{}]",
                ["plan.strikes[0]", "at", "missing"],
            ),
            (
                "strikes = []",
                "strikes = [{ at = \"1h\", blow = { stall-store = { length = \"1s\" } } }]",
                ["plan.strikes[0].at", "1h", "2.5s"],
            ),
            (
                "strikes = []",
                "strikes = [{ at = \"1s\", blow = { crash-worker = { place = 77, down = \"1s\" } } }]",
                ["plan.strikes[0].blow", "77", "worker"],
            ),
            (
                "[picks]\n",
                "[picks]\n\"message c0>w1 #0 fate\" = \"lost\"\n",
                ["picks", "#0", "#1"],
            ),
            (
                "[picks]\n",
                "[picks]\n\"letter c0>w1 #1 fate\" = \"lost\"\n",
                ["picks", "letter", "message"],
            ),
            (
                "[picks]\n",
                "[picks]\n\"message c0>w1 #1 fate\" = \"eaten\"\n",
                ["picks", "eaten", "doubled"],
            ),
            (
                "[picks]\n",
                "[picks]\n\"message c0>w1 #1 delay\" = \"soon\"\n",
                ["picks", "soon", "150us"],
            ),
        ];
        for (from, to, says) in cases {
            let said = wrong(from, to);
            for word in says {
                assert!(said.contains(word), "{to}: {said:?} does not say {word:?}");
            }
        }
        assert!(matches!(
            Schedule::parse("= nonsense"),
            Err(ScheduleError::Syntax(_))
        ));
        let nowhere = Schedule::read(Path::new("no/such/schedule.toml"));
        assert!(matches!(nowhere, Err(ScheduleError::Read { .. })));
    }
}
