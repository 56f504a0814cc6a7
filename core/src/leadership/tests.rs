//! Leadership by behaviour, at the edges of the number range, and several nodes on one lease row.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod behaviour;
mod several;

use super::*;
use alloc::vec::Vec;

const TTL: Duration = Duration::from_secs(10);

fn config(enable_ha: bool) -> Config {
    Config {
        enable_ha,
        ..Config::new("me".parse().unwrap(), 7)
    }
}

const fn at(millis: u64) -> Timestamp {
    Timestamp(millis * 1_000_000)
}

fn row(holder: &str, generation: u64, remaining: Duration) -> LeaseRow {
    LeaseRow {
        incarnation: holder.parse().unwrap(),
        generation: Generation(generation),
        remaining,
        resigned: false,
    }
}

/// One node, with the steps of its last input.
struct Node {
    leadership: Leadership,
    steps: Vec<Step>,
    now: Timestamp,
}

impl Node {
    fn new(enable_ha: bool) -> Self {
        let leadership = Leadership::new(&config(enable_ha));
        Self {
            leadership,
            steps: Vec::new(),
            now: Timestamp::ZERO,
        }
    }

    /// A node that has just begun to lead generation 5 and hears itself.
    fn leading(enable_ha: bool) -> Self {
        let mut node = Self::new(enable_ha);
        node.tick(0);
        node.hear();
        if enable_ha {
            let ask = node.asked();
            node.input(0, |l, now, steps| {
                l.on_lease_read(ask, &row("other", 4, Duration::ZERO), now, steps);
            });
        } else {
            node.tick(0);
        }
        let ask = AskId(node.leadership.next_ask.0);
        node.input(0, |l, now, steps| {
            l.on_taken(ask, Generation(5), now, steps)
        });
        assert_eq!(node.leadership.term(), Some(Generation(5)));
        node
    }

    fn input(
        &mut self,
        millis: u64,
        input: impl FnOnce(&mut Leadership, Timestamp, &mut Vec<Step>),
    ) -> &[Step] {
        self.now = at(millis);
        self.steps.clear();
        input(&mut self.leadership, self.now, &mut self.steps);
        &self.steps
    }

    fn tick(&mut self, millis: u64) -> &[Step] {
        self.input(millis, Leadership::on_tick)
    }

    /// Answers the last probe.
    fn hear(&mut self) {
        let Some((nonce, _)) = self.leadership.broker.latest() else {
            return;
        };
        let steps = self.steps.clone();
        self.input(self.now.0 / 1_000_000, |l, now, steps| {
            l.on_probe_heard(nonce, now, steps)
        });
        self.steps.splice(0..0, steps);
    }

    fn asked(&self) -> AskId {
        let mut asks = self.steps.iter().filter_map(|step| match step {
            Step::Take { ask, .. } | Step::Read { ask, .. } | Step::Renew { ask, .. } => Some(*ask),
            Step::Resign { .. }
            | Step::Announce { .. }
            | Step::Probe { .. }
            | Step::TermBegan { .. }
            | Step::TermEnded { .. }
            | Step::Exit { .. } => None,
        });
        asks.next_back().unwrap()
    }

    fn takes(&self) -> Option<(Generation, Option<Generation>)> {
        self.steps.iter().find_map(|step| match step {
            Step::Take { above, own, .. } => Some((*above, *own)),
            Step::Read { .. }
            | Step::Renew { .. }
            | Step::Resign { .. }
            | Step::Announce { .. }
            | Step::Probe { .. }
            | Step::TermBegan { .. }
            | Step::TermEnded { .. }
            | Step::Exit { .. } => None,
        })
    }

    fn reads(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Read { .. }))
    }

    fn ended(&self) -> Option<TermEnd> {
        self.steps.iter().find_map(|step| match step {
            Step::TermEnded { why, .. } => Some(*why),
            Step::Take { .. }
            | Step::Read { .. }
            | Step::Renew { .. }
            | Step::Resign { .. }
            | Step::Announce { .. }
            | Step::Probe { .. }
            | Step::TermBegan { .. }
            | Step::Exit { .. } => None,
        })
    }
}
