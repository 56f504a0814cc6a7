//! One worker in the memory of a term.

use crate::{
    Config,
    batch::WorkerRecord,
    fleet::{ReportedStatus, WorkerDesired, WorkerStatus},
    ids::{BatchNumber, Incarnation, MessageSequence, WishRevision},
    probes::planted,
    time::{Duration, Timestamp, WallTime},
};

/// A worker: its row as it will be once everything gathered is committed, and what was heard of it.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) record: WorkerRecord,
    pub(crate) desired: WorkerDesired,
    pub(crate) wish_revision: WishRevision,
    pub(crate) drain_deadline: Option<WallTime>,
    /// The last batch of this term that writes its row; none yet when zero.
    pub(crate) written: BatchNumber,
    /// What is certainly in the database; none before its first registration is.
    pub(crate) committed: Option<Committed>,
    pub(crate) presence: Presence,
    /// Its silence is counted from here: when it was last heard, or this leader began to listen.
    pub(crate) silent_since: Timestamp,
    /// A change of its status is gathered or in flight: what is committed is about to differ.
    pub(crate) status_moves: bool,
    /// It deregistered: its row goes, unless a drain of its id must be remembered.
    pub(crate) said_goodbye: bool,
    /// Its row is being deleted: everything of it is over.
    pub(crate) is_leaving: bool,
}

/// The part of a worker's committed row that decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) incarnation: Incarnation,
    pub(crate) status: WorkerStatus,
    pub(crate) longest_lease: Duration,
}

/// What this term has heard of the incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nothing: an earlier leader knew it.
    Unheard,
    /// It speaks.
    Heard {
        /// The newest state heard.
        sequence: MessageSequence,
        /// What it says of itself.
        says: ReportedStatus,
        /// It has been silent for so long that giving it work would be a waste.
        is_quiet: bool,
        /// Not yet noted in the database that it was heard.
        is_news: bool,
    },
    /// Its lease has ended by this leader's clock. A heartbeat makes it `Heard` again.
    Lapsed,
}

/// What a silence has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Silence {
    /// Nothing yet.
    Short,
    /// Heartbeats are missing.
    Quiet,
    /// The lease is over, with its margin.
    LeaseOver,
    /// The worker is to be called DEAD.
    Dead,
}

impl Worker {
    pub(crate) fn is_current(&self, incarnation: &Incarnation) -> bool {
        self.record.incarnation == *incarnation
    }

    /// Open attempts name it, and it has no row: kept until their grace is over.
    pub(crate) fn is_ghost(&self) -> bool {
        self.is_dead() && self.committed.is_none() && self.written == BatchNumber::ZERO
    }

    /// It is gone by its own word, and nothing of its row is worth keeping.
    pub(crate) fn has_left(&self) -> bool {
        self.said_goodbye && self.desired == WorkerDesired::Run
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.record.status == WorkerStatus::Dead
    }

    pub(crate) fn is_unheard(&self) -> bool {
        self.presence == Presence::Unheard && !self.is_dead()
    }

    /// May be given work: heard by this term, willing, and HEALTHY in the database and in what is
    /// on its way there.
    pub(crate) fn is_placeable(&self) -> bool {
        let committed = self.committed.as_ref().is_some_and(|committed| {
            committed.status == WorkerStatus::Healthy
                && committed.incarnation == self.record.incarnation
        });
        let willing = matches!(
            self.presence,
            Presence::Heard {
                says: ReportedStatus::Healthy,
                is_quiet: false,
                ..
            }
        );
        let steady = self.record.status == WorkerStatus::Healthy && !self.status_moves
            || planted!(DrainedWorkerGetsWork);
        committed && willing && steady && !self.is_leaving
    }

    /// The status that its wishes and words call for.
    pub(crate) fn status_due(&self) -> WorkerStatus {
        if self.is_dead() {
            return WorkerStatus::Dead;
        }
        match (self.desired, self.presence) {
            (WorkerDesired::Remove, _) => WorkerStatus::Dead,
            (
                WorkerDesired::Drain,
                Presence::Unheard | Presence::Heard { .. } | Presence::Lapsed,
            )
            | (
                WorkerDesired::Run,
                Presence::Heard {
                    says: ReportedStatus::Draining,
                    ..
                },
            ) => WorkerStatus::Draining,
            (
                WorkerDesired::Run,
                Presence::Heard {
                    says: ReportedStatus::Healthy,
                    ..
                },
            ) => WorkerStatus::Healthy,
            (WorkerDesired::Run, Presence::Unheard | Presence::Lapsed) => self.record.status,
        }
    }

    /// The lease that it may be told: never longer than what is committed.
    pub(crate) fn lease_to_tell(&self, config: &Config) -> Duration {
        if planted!(LongestLeaseNotRaised) {
            return config.heartbeat_timeout;
        }
        let longest = self.committed.as_ref().map(|c| c.longest_lease);
        config
            .heartbeat_timeout
            .min(longest.unwrap_or(config.heartbeat_timeout))
    }

    /// A word of its current incarnation arrived.
    pub(crate) fn hear(&mut self, now: Timestamp, sequence: MessageSequence, says: ReportedStatus) {
        let (sequence, says) = match self.presence {
            Presence::Heard {
                sequence: newest,
                says: newer,
                ..
            } if newest > sequence => (newest, newer),
            Presence::Heard { .. } | Presence::Unheard | Presence::Lapsed => (sequence, says),
        };
        self.silent_since = self.silent_since.max(now);
        self.presence = Presence::Heard {
            sequence,
            says,
            is_quiet: false,
            is_news: true,
        };
    }

    /// The newest state heard in this term.
    pub(crate) const fn last_sequence(&self) -> Option<MessageSequence> {
        match self.presence {
            Presence::Heard { sequence, .. } => Some(sequence),
            Presence::Unheard | Presence::Lapsed => None,
        }
    }

    pub(crate) fn lease_end(&self, longest_ttl: Duration) -> Timestamp {
        let lease = match self.presence {
            Presence::Unheard if planted!(GraceWithoutTtl) => self.record.longest_lease,
            Presence::Unheard => self.record.longest_lease.saturating_add(longest_ttl),
            Presence::Heard { .. } | Presence::Lapsed => self.record.longest_lease,
        };
        if planted!(NoDriftMargin) {
            return self.silent_since.plus(lease);
        }
        self.silent_since.plus(Config::with_drift_margin(lease))
    }

    fn dead_at(&self, config: &Config, longest_ttl: Duration) -> Timestamp {
        let threshold = self.silent_since.plus(config.worker_dead_threshold);
        threshold.max(self.lease_end(longest_ttl))
    }

    /// Two heartbeats and a half.
    fn quiet_at(&self, config: &Config) -> Timestamp {
        self.silent_since.plus(config.heartbeat_interval() * 5 / 2)
    }

    pub(crate) fn silence(
        &self,
        config: &Config,
        longest_ttl: Duration,
        heard_until: Timestamp,
    ) -> Silence {
        if heard_until >= self.dead_at(config, longest_ttl) {
            Silence::Dead
        } else if heard_until >= self.lease_end(longest_ttl) {
            Silence::LeaseOver
        } else if heard_until >= self.quiet_at(config) {
            Silence::Quiet
        } else {
            Silence::Short
        }
    }

    /// When its silence may come to something that it has not come to yet.
    pub(crate) fn next_look(&self, config: &Config, longest_ttl: Duration) -> Option<Timestamp> {
        if self.is_leaving {
            return None;
        }
        match self.presence {
            Presence::Heard {
                is_quiet: false, ..
            } => Some(self.quiet_at(config)),
            Presence::Heard { is_quiet: true, .. } | Presence::Unheard => {
                Some(self.lease_end(longest_ttl))
            }
            Presence::Lapsed if self.is_dead() => None,
            Presence::Lapsed => Some(self.dead_at(config, longest_ttl)),
        }
    }
}
