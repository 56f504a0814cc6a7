//! How long after healing progress may take: computed from the configuration, term by term.
//!
//! Nothing here is measured, and nothing is a guess at what is usual: each term is the longest that
//! its step may take by the rules of the design, for what is left to do when the faults stop. A run
//! that has not settled by then has stopped making progress.

use niyanta_core::{Config, time::Duration};

/// What the bound is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The longest `leader_lease_ttl`.
    pub ttl: Duration,
    /// The longest worker's lease that was ever told.
    pub lease: Duration,
    /// The longest `worker_dead_threshold`.
    pub dead_threshold: Duration,
    /// The longest `scheduler_interval`.
    pub interval: Duration,
    /// The longest `retry_backoff_cap`.
    pub backoff_cap: Duration,
    /// The smallest `load_limit`.
    pub load_limit: u32,
    /// Workloads that have not ended.
    pub open: u32,
    /// How often they may yet be attempted, all together.
    pub attempts_left: u32,
    /// The longest that one attempt runs before it ends by itself or times out.
    pub longest_run: Duration,
    /// The fewest slots that any of them that can be placed at all may use.
    pub slots: u32,
    /// How far the database's clock may be set back: what it keeps moments of waits so much longer.
    pub set_back: Duration,
}

/// The bound, and what it consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// What takes how long at most.
    pub terms: Vec<(&'static str, Duration)>,
}

impl Bound {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.terms.iter().map(|(_, length)| *length).sum()
    }

    /// How long an assignment may go neither confirmed nor taken back: all but what attempts take.
    #[must_use]
    pub fn confirmation(&self) -> Duration {
        let terms = self.terms.iter().filter(|(what, _)| *what != BACKLOG);
        terms.map(|(_, length)| *length).sum()
    }
}

/// The longest that progress may take after healing.
#[must_use]
pub fn progress(facts: &Facts) -> Bound {
    let second = Duration::from_secs(1);
    let statement = STATEMENT_TIMEOUT;
    // An orphaned statement may land up to three of its time-outs after it was sent.
    let stragglers = (statement.max(facts.ttl)) * 3;
    // Everything that is down starts within half a second; a worker that just left, after a second
    // and a half; one that is stopping, after its grace and its farewell.
    let restarts = second * 2 + SHUTDOWN_GRACE + FAREWELL;
    // The lease of whoever held it ends; one who is deaf to the broker may be waited for one TTL
    // more; candidates look each TTL / 3; taking is answered or read again. Twice, because a
    // straggling takeover may land after the first.
    let election = (facts.ttl * 2 + facts.ttl / 3 + statement * 2) * 2;
    // The snapshot is read, and read again if its answer was lost; the first batches are answered.
    let rebuild = statement * 4;
    // A worker that is not heard is judged by its lease and threshold, with the drift margin, and by
    // a new leader after one TTL of grace. A second process of one id waits as long, and then is
    // judged itself.
    let silence = Config::with_drift_margin(facts.lease.max(facts.dead_threshold)) + facts.ttl;
    let verdicts = silence * 2;
    // A worker repeats each request within 10 s and a tenth.
    let reports = second * 11;
    // Wishes and what waits are found by sweeps, a page each; as in
    // `properties::sight::round_of_sweep`, once for the wishes and once for what they free.
    let pages = facts.open.div_ceil(facts.load_limit.max(1));
    let sweeps = facts.interval * (pages + 2) * 2;
    // What is asked to stop is killed within the stop deadline, and its end is reported.
    let stops = Config::STOP_DEADLINE + second;
    // Every attempt that is left, one after the other in the fewest slots, each with its longest
    // run, the grace after a time-out, its back-off, and the confirmation of its placement.
    let attempt = facts.longest_run + TIMEOUT_GRACE + facts.backoff_cap + statement;
    let backlog = attempt * facts.attempts_left / facts.slots.max(1) + attempt;
    Bound {
        terms: vec![
            ("stragglers", stragglers),
            ("restarts", restarts),
            ("election", election),
            ("rebuild", rebuild),
            ("verdicts on silent workers", verdicts),
            ("repeated reports", reports),
            ("sweeps", sweeps),
            ("stops", stops),
            (BACKLOG, backlog),
            ("the database's clock", facts.set_back),
        ],
    }
}

const BACKLOG: &str = "backlog";
/// An answer that takes longer is given up.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a worker that is asked to stop may take.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);
/// How long it then waits for the answer to its goodbye.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long what has timed out may take to stop before it is killed.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            ttl: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            dead_threshold: Duration::from_secs(90),
            interval: Duration::from_secs(5),
            backoff_cap: Duration::from_secs(6),
            load_limit: 8,
            open: 20,
            attempts_left: 60,
            longest_run: Duration::from_secs(40),
            slots: 3,
            set_back: Duration::ZERO,
        }
    }

    #[test]
    fn each_part_of_the_configuration_lengthens_the_bound() {
        let base = progress(&facts()).total();
        let longer = |change: fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            progress(&facts).total() > base
        };
        assert!(longer(|facts| facts.ttl *= 2));
        assert!(longer(|facts| facts.lease *= 2));
        assert!(longer(|facts| facts.dead_threshold *= 2));
        assert!(longer(|facts| facts.interval *= 2));
        assert!(longer(|facts| facts.backoff_cap *= 2));
        assert!(longer(|facts| facts.load_limit /= 4));
        assert!(longer(|facts| facts.open *= 4));
        assert!(longer(|facts| facts.attempts_left *= 2));
        assert!(longer(|facts| facts.longest_run *= 2));
        assert!(longer(|facts| facts.slots = 1));
        assert!(longer(|facts| facts.set_back = facts.ttl));
    }

    #[test]
    fn with_nothing_left_to_do_it_is_the_time_to_lead_and_to_judge() {
        let idle = Facts {
            open: 0,
            attempts_left: 0,
            ..facts()
        };
        let total = progress(&idle).total();
        assert!(total < progress(&facts()).total());
        let ttl = idle.ttl;
        assert!(total > ttl * 4, "two leases and two waits for the deaf");
    }
}
