//! Who leads: the lease of this node, reckoned on its own clock.
//!
//! Owns the questions to the lease row and the deadline until which this node may act. Does not own
//! the term's work: it says when a term begins and ends, and the coordinator builds or drops it.

use crate::{
    Config, Effect, Event,
    ids::{AskId, Generation},
    time::{Duration, Timestamp},
};
use alloc::vec::Vec;

/// What leadership became by an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing of note.
    Same,
    /// A term began.
    Began(Generation),
    /// The term is over.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Leadership {
    state: State,
    asks: AskId,
    highest: Generation,
    own: Option<Generation>,
    known: Option<crate::snapshot::LeaseRow>,
}

#[derive(Debug)]
enum State {
    Waiting {
        until: Timestamp,
    },
    Taking {
        ask: AskId,
        sent: Timestamp,
    },
    Leading {
        generation: Generation,
        deadline: Timestamp,
        renew_at: Timestamp,
        renewal: Option<(AskId, Timestamp)>,
    },
    Stopped,
}

impl Leadership {
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self {
            state: State::Waiting { until: now },
            asks: AskId::ZERO,
            highest: Generation::ZERO,
            own: None,
            known: None,
        }
    }

    pub(crate) fn leads(&self, now: Timestamp) -> Option<Generation> {
        match self.state {
            State::Leading {
                generation,
                deadline,
                ..
            } if now < deadline => Some(generation),
            State::Leading { .. }
            | State::Waiting { .. }
            | State::Taking { .. }
            | State::Stopped => None,
        }
    }

    pub(crate) const fn known(&self) -> Option<&crate::snapshot::LeaseRow> {
        self.known.as_ref()
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Taking { .. } | State::Stopped => None,
            State::Leading {
                deadline,
                renew_at,
                renewal,
                ..
            } => Some(if renewal.is_some() {
                deadline
            } else {
                renew_at.min(deadline)
            }),
        }
    }

    pub(crate) fn on_time(
        &mut self,
        config: &Config,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Step {
        match &mut self.state {
            State::Waiting { until } if *until <= now => {
                self.take(config, now, effects);
                Step::Same
            }
            State::Leading { deadline, .. } if *deadline <= now => {
                self.take(config, now, effects);
                Step::Ended
            }
            State::Leading {
                generation,
                renew_at,
                renewal,
                deadline,
            } if *renew_at <= now && renewal.is_none() => {
                self.asks = self.asks.next();
                *renewal = Some((self.asks, now));
                effects.push(Effect::RenewLease {
                    ask: self.asks,
                    generation: *generation,
                    ttl: config.leader_lease_ttl,
                    within: deadline.since(now),
                });
                Step::Same
            }
            State::Waiting { .. }
            | State::Leading { .. }
            | State::Taking { .. }
            | State::Stopped => Step::Same,
        }
    }

    /// The term was dropped in doubt: a new one is taken above it.
    pub(crate) fn rebuild(
        &mut self,
        config: &Config,
        now: Timestamp,
        delay: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if delay == Duration::ZERO {
            self.take(config, now, effects);
        } else {
            self.state = State::Waiting {
                until: now.plus(delay),
            };
        }
    }

    pub(crate) fn on_generation_seen(
        &mut self,
        config: &Config,
        now: Timestamp,
        seen: Generation,
        effects: &mut Vec<Effect>,
    ) -> Step {
        if seen <= self.highest {
            return Step::Same;
        }
        self.highest = seen;
        if matches!(self.state, State::Leading { .. }) {
            self.take(config, now, effects);
            return Step::Ended;
        }
        Step::Same
    }

    pub(crate) fn on_shutdown(&mut self, effects: &mut Vec<Effect>) -> Step {
        let step = if let State::Leading { generation, .. } = self.state {
            effects.push(Effect::ResignLease { generation });
            Step::Ended
        } else {
            Step::Same
        };
        self.state = State::Stopped;
        step
    }

    pub(crate) fn on_event(
        &mut self,
        config: &Config,
        now: Timestamp,
        event: &Event,
        effects: &mut Vec<Effect>,
    ) -> Step {
        match (&mut self.state, event) {
            (
                State::Taking { ask, sent },
                Event::LeaseTaken {
                    ask: answered,
                    generation,
                    ..
                },
            ) if ask == answered => {
                let deadline = sent
                    .plus(config.leader_lease_ttl)
                    .minus(config.leader_margin());
                self.highest = self.highest.max(*generation);
                self.own = Some(*generation);
                self.state = State::Leading {
                    generation: *generation,
                    deadline,
                    renew_at: sent.plus(config.renewal_interval()),
                    renewal: None,
                };
                if deadline <= now {
                    self.take(config, now, effects);
                    return Step::Same;
                }
                Step::Began(*generation)
            }
            (
                State::Taking { ask, .. },
                Event::LeaseRefused {
                    ask: answered, row, ..
                },
            ) if ask == answered => {
                let wait = row
                    .remaining
                    .min(config.leader_lease_ttl / 2)
                    .max(Duration::from_millis(50));
                self.known = Some(row.clone());
                self.highest = self.highest.max(row.generation);
                self.state = State::Waiting {
                    until: now.plus(wait),
                };
                Step::Same
            }
            (State::Taking { ask, .. }, Event::LeaseUnknown { ask: answered })
                if ask == answered =>
            {
                self.state = State::Waiting {
                    until: now.plus(config.leader_lease_ttl / 10),
                };
                Step::Same
            }
            (
                State::Leading {
                    generation,
                    deadline,
                    renew_at,
                    renewal,
                },
                Event::LeaseRenewed {
                    ask,
                    generation: renewed,
                    ..
                },
            ) if generation == renewed => {
                if let Some((_, sent)) = renewal.take_if(|(asked, _)| asked == ask) {
                    *deadline = sent
                        .plus(config.leader_lease_ttl)
                        .minus(config.leader_margin());
                    *renew_at = sent.plus(config.renewal_interval());
                }
                Step::Same
            }
            (
                State::Leading {
                    renew_at, renewal, ..
                },
                Event::LeaseUnanswered { ask },
            ) => {
                if renewal.take_if(|(asked, _)| asked == ask).is_some() {
                    *renew_at = now.plus(config.renewal_interval() / 4);
                }
                Step::Same
            }
            (
                State::Leading { generation, .. },
                Event::LeaseLost {
                    generation: lost, ..
                },
            ) if generation == lost => {
                self.state = State::Waiting { until: now };
                Step::Ended
            }
            _ => Step::Same,
        }
    }

    fn take(&mut self, config: &Config, now: Timestamp, effects: &mut Vec<Effect>) {
        self.asks = self.asks.next();
        self.state = State::Taking {
            ask: self.asks,
            sent: now,
        };
        effects.push(Effect::TakeLease {
            ask: self.asks,
            above: self.highest,
            own: self.own,
            force: !config.enable_ha,
            ttl: config.leader_lease_ttl,
            within: config.leader_lease_ttl / 2,
        });
    }
}
