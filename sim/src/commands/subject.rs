//! A run by its seed or its file, and what else the commands share.

use indicatif::{ProgressBar, ProgressStyle};
use sim::decision::Decider;
use sim::{Outcome, Plan, explore::run_plan, schedule::Schedule};
use sim_probes::Bug;
use std::{
    fmt, fs,
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

/// A run by what it comes from.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// Drawn from a seed.
    Seed(u64),
    /// Kept in a file.
    File(PathBuf),
}

impl FromStr for Subject {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seed = text.parse().map(Self::Seed);
        Ok(seed.unwrap_or_else(|_| Self::File(PathBuf::from(text))))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "seed {seed}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A run, and what it came from.
pub(crate) struct Run {
    /// Who was there, and what was planned.
    pub(crate) plan: Plan,
    /// What it showed.
    pub(crate) outcome: Outcome,
    /// The property that it is expected to violate, when it comes from a file that says so.
    pub(crate) expected: Option<String>,
}

impl Subject {
    /// Runs it, and keeps its story when `told` is set.
    pub(crate) fn run(&self, bug: Option<Bug>, told: bool) -> anyhow::Result<Run> {
        match self {
            Self::Seed(seed) => {
                let plan = Plan::draw(*seed, bug);
                let outcome = run_plan(plan.clone(), Decider::drawing(*seed), told);
                let expected = None;
                Ok(Run {
                    plan,
                    outcome,
                    expected,
                })
            }
            Self::File(path) => {
                let mut schedule = Schedule::read(path)?;
                if bug.is_some() {
                    schedule.plant(bug);
                }
                let outcome = schedule.run(told);
                Ok(Run {
                    plan: schedule.plan,
                    outcome,
                    expected: schedule.violates,
                })
            }
        }
    }

    /// The schedule of a run of it.
    pub(crate) fn schedule(&self, bug: Option<Bug>) -> anyhow::Result<Schedule> {
        match self {
            Self::Seed(_) => {
                let run = self.run(bug, false)?;
                let violation = run.outcome.violation;
                let violates = violation.map(|violation| violation.property);
                Ok(Schedule::new(run.plan, run.outcome.picks, violates))
            }
            Self::File(path) => {
                let mut schedule = Schedule::read(path)?;
                if bug.is_some() {
                    schedule.plant(bug);
                }
                Ok(schedule)
            }
        }
    }

    /// The command that replays it.
    pub(crate) fn replay_command(&self, bug: Option<Bug>) -> String {
        let what = match self {
            Self::Seed(seed) => seed.to_string(),
            Self::File(path) => path.display().to_string(),
        };
        let planted = bug.map(|bug| format!(" --bug {}", bug.name()));
        format!(
            "cargo run --release -p sim -- replay {what}{}",
            planted.unwrap_or_default()
        )
    }
}

/// A bar on the terminal; where there is none, nothing.
pub(crate) fn bar(len: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Time that this thread was on a core, so that a busy machine does not show; where the system does not
/// say, time that passed.
pub(crate) struct Stopwatch {
    began: Instant,
    on_core: Option<Duration>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            on_core: on_core(),
        }
    }

    pub(crate) fn seconds(&self) -> f64 {
        let on_core = on_core().zip(self.on_core);
        let spent = on_core.map(|(now, then)| now.saturating_sub(then));
        spent.unwrap_or_else(|| self.began.elapsed()).as_secs_f64()
    }
}

/// The first number of this file is nanoseconds on a core (Linux).
fn on_core() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
