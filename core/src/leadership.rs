//! Who leads: the lease, its terms, and what ends them.
//!
//! Owns the lease arithmetic and the decision when to ask the database for the lease. The database
//! judges whether a take is granted; this machine judges how long its own lease may be trusted: to
//! the moment *before* the take or renewal was asked, plus the TTL, less a margin. It checks that
//! moment before anything else in every input, so nothing is decided in a term that has lapsed.
//! It does not rebuild, persist or broadcast: it says [`Step`]s, and the coordinator does.
//!
//! Invariants: a term begins only by an answer to the very take that is in flight, in time, and
//! with a generation above all that were heard of; after a take with an unknown outcome the row is
//! read before the next; a term that ended never comes back, its lease is taken anew under a new
//! generation.
//!
//! A candidate that the broker does not carry (it has not heard its own probe for one TTL) leaves a
//! free lease to others for one more TTL, and a leader in that state resigns: else a deaf leader
//! would lead for ever. Rejected: letting candidates heartbeat each other, a second failure
//! detector that can disagree with the lease.

use crate::{
    Config, ExitReason,
    ids::{AskId, Generation, Incarnation},
    probes::{mark, planted},
    rng::Rng,
    snapshot::LeaseRow,
    time::{Duration, Timestamp},
};
use alloc::vec::Vec;

mod broker_check;
mod step;

#[cfg(test)]
mod tests;

pub use step::{Step, TermEnd};

use broker_check::BrokerCheck;

/// Words about terms from here on are not believed: no history reaches them, and a term above them
/// could not be stored for long.
const GENERATION_HEARD_MAX: Generation = Generation(1 << 62);
/// Most of the jitter between candidates.
const JITTER_MAX: Duration = Duration::from_millis(100);

/// What the machine is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Does not lead.
    Candidate(Candidate),
    /// A take is in flight. Whatever it does, this is not leadership yet.
    Taking { ask: AskId, asked_at: Timestamp },
    /// Leads the term.
    Leading(Leading),
    /// Was asked to stop: takes no lease again.
    Stopped,
    /// Told the process to end.
    Exited,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    lease: Lease,
    /// The row is being read, since then.
    reading: Option<(AskId, Timestamp)>,
    /// Nothing is asked before.
    not_before: Timestamp,
}

/// What a candidate knows of the lease row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    /// Nothing that holds. `uncertain`: a take may have taken effect, so it must be read first.
    Unknown { uncertain: bool },
    /// Somebody holds it, until then by this node's clock.
    Held { until: Timestamp },
    /// It had ended, or was resigned, at this moment.
    Free { since: Timestamp },
    /// The row carries our own incarnation, or did when it was last heard of.
    Ours,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Leading {
    generation: Generation,
    began: Timestamp,
    /// The lease is not trusted from here on.
    deadline: Timestamp,
    renewal: Renewal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    Due(Timestamp),
    Asked { ask: AskId, asked_at: Timestamp },
}

/// The leadership of one coordinator. Every input takes the moment, and appends what to do.
#[derive(Debug, Clone)]
pub struct Leadership {
    incarnation: Incarnation,
    enable_ha: bool,
    ttl: Duration,
    margin: Duration,
    interval: Duration,
    state: State,
    /// The greatest generation heard of, from anybody.
    heard: Generation,
    /// The generation that the row is known to carry, or to have carried last, for us.
    own: Option<Generation>,
    /// The greatest generation whose leader said that it gave up.
    resigned: Option<Generation>,
    /// Since when this node leads, through terms that ended in doubt of themselves.
    leads_since: Option<Timestamp>,
    /// The moment of the last input.
    seen: Timestamp,
    /// Terms in a row that ended in doubt soon after they began.
    doubts: u32,
    broker: BrokerCheck,
    next_ask: AskId,
    rng: Rng,
}

impl Leadership {
    /// A candidate that acts at the first [`Self::on_tick`].
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            incarnation: config.incarnation.clone(),
            enable_ha: config.enable_ha,
            ttl: config.leader_lease_ttl,
            margin: config.leader_margin(),
            interval: config.renewal_interval(),
            state: candidate(Lease::Unknown { uncertain: false }, Timestamp::ZERO),
            heard: Generation::ZERO,
            own: None,
            resigned: None,
            leads_since: None,
            seen: Timestamp::ZERO,
            doubts: 0,
            broker: BrokerCheck::new(config.renewal_interval()),
            next_ask: AskId::ZERO,
            rng: Rng::new(config.seed).child("leadership"),
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        self.act(now, steps);
    }

    /// A take was granted.
    pub fn on_taken(
        &mut self,
        ask: AskId,
        generation: Generation,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        self.own = self.own.max(Some(generation));
        let outnumbered = self.heard >= generation;
        self.hear(generation);
        match self.state {
            State::Taking {
                ask: asked,
                asked_at,
            } if asked == ask => {
                let deadline = self.trusted_from(asked_at);
                if outnumbered {
                    mark!(TakeOutnumbered);
                    self.state = candidate(self.own_lease(), now);
                } else if now >= deadline {
                    // The answer took as long as the lease.
                    mark!(TakeAnsweredTooLate);
                    self.state = candidate(self.own_lease(), self.after_pause(now));
                } else {
                    self.begin(generation, asked_at, now, steps);
                }
            }
            // Nobody will lead with it: others need not wait for its end.
            State::Stopped => {
                mark!(TakenWhenStopped);
                steps.push(Step::Resign { generation });
            }
            State::Candidate(_) if planted!(LateTakeLeads) => {
                self.begin(generation, now, now, steps);
            }
            // Late: its take counts as unknown, and is being resolved.
            State::Taking { .. } | State::Candidate(_) | State::Leading(_) | State::Exited => {
                mark!(TakeGrantedAndGivenUp);
            }
        }
        self.act(now, steps);
    }

    /// A take changed nothing.
    pub fn on_refused(
        &mut self,
        ask: AskId,
        row: &LeaseRow,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        if matches!(self.state, State::Taking { ask: asked, .. } if asked == ask) {
            let lease = self.learn(row, now);
            // What looks free, or ours, has just been refused: not again at once.
            let not_before = match lease {
                Lease::Held { .. } | Lease::Unknown { .. } => now,
                Lease::Free { .. } | Lease::Ours => self.after_pause(now),
            };
            self.state = candidate(lease, not_before);
            self.exit_if_replaced(row, steps);
        }
        self.act(now, steps);
    }

    /// Whether a take took effect is unknown. It is not leadership.
    pub fn on_take_unknown(&mut self, ask: AskId, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        if let State::Taking {
            ask: asked,
            asked_at,
        } = self.state
            && asked == ask
        {
            if planted!(LeaderBeforeCertain) {
                self.begin(self.heard.next(), asked_at, now, steps);
            } else {
                mark!(TakeUnknown);
                self.doubt_take(now);
            }
        }
        self.act(now, steps);
    }

    /// The row was read.
    pub fn on_lease_read(
        &mut self,
        ask: AskId,
        row: &LeaseRow,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        if self.is_reading(ask) {
            let lease = self.learn(row, now);
            self.state = candidate(lease, now);
            self.exit_if_replaced(row, steps);
        }
        self.act(now, steps);
    }

    /// A renewal was granted.
    pub fn on_renewed(
        &mut self,
        ask: AskId,
        generation: Generation,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        let (ttl, margin, interval) = (self.ttl, self.margin, self.interval);
        if let State::Leading(leading) = &mut self.state
            && leading.generation == generation
            && let Renewal::Asked {
                ask: asked,
                asked_at,
            } = leading.renewal
            && asked == ask
        {
            let trusted_from = if planted!(LeaseFromAnswer) {
                now
            } else {
                asked_at
            };
            leading.deadline = leading.deadline.max(trusted_from.plus(ttl).minus(margin));
            leading.renewal = Renewal::Due(asked_at.plus(interval));
        }
        self.act(now, steps);
    }

    /// A renewal matched no row: the lease is not this term's any more.
    pub fn on_renewal_refused(
        &mut self,
        generation: Generation,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        if self.term() == Some(generation) {
            mark!(RenewalMatchedNothing);
            self.end(TermEnd::Lost, steps);
            self.state = candidate(Lease::Unknown { uncertain: true }, now);
        }
        self.act(now, steps);
    }

    /// A renewal or a read failed, or its outcome is unknown. The old deadline stands.
    pub fn on_unanswered(&mut self, ask: AskId, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        let again = self.after_pause(now);
        if self.is_reading(ask) {
            if let State::Candidate(candidate) = &mut self.state {
                candidate.reading = None;
                candidate.not_before = again;
            }
        } else if let State::Leading(leading) = &mut self.state
            && matches!(leading.renewal, Renewal::Asked { ask: asked, .. } if asked == ask)
        {
            mark!(RenewalUnanswered);
            leading.renewal = Renewal::Due(again);
        }
        self.act(now, steps);
    }

    /// Somebody speaks of this term. One above ours ends ours: the database has lost commits, and
    /// a new term above both heals that.
    pub fn on_peer_generation(
        &mut self,
        generation: Generation,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        if generation < GENERATION_HEARD_MAX {
            self.hear(generation);
            if self.term().is_some_and(|own| own < generation) {
                mark!(LeaderOutnumbered);
                self.end(TermEnd::Outnumbered { by: generation }, steps);
                self.state = candidate(self.own_lease(), now);
            }
        }
        self.act(now, steps);
    }

    /// A leader announced that it gives up this term: the lease is free.
    pub fn on_leader_resigned(
        &mut self,
        generation: Generation,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.lapse(now, steps);
        if generation < GENERATION_HEARD_MAX {
            // A late word of an older term says nothing of the lease as it is.
            let is_latest = generation >= self.heard;
            self.hear(generation);
            self.resigned = self.resigned.max(Some(generation));
            if let State::Candidate(candidate) = &mut self.state
                && is_latest
            {
                // What is being read may be older than the word.
                mark!(ResignationHeard);
                candidate.reading = None;
                match candidate.lease {
                    Lease::Held { .. } | Lease::Unknown { uncertain: false } => {
                        candidate.lease = Lease::Free { since: now };
                    }
                    Lease::Free { .. } | Lease::Ours | Lease::Unknown { uncertain: true } => {}
                }
            }
        }
        self.act(now, steps);
    }

    /// The broker carried a probe back.
    pub fn on_probe_heard(&mut self, nonce: u64, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        self.broker.hear(nonce);
        self.act(now, steps);
    }

    /// The fence is not this term's any more.
    pub fn on_fenced(&mut self, generation: Generation, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        if self.term() == Some(generation) {
            mark!(LeaderFenced);
            self.end(TermEnd::Fenced, steps);
            self.state = candidate(Lease::Unknown { uncertain: true }, now);
        }
        self.act(now, steps);
    }

    /// The term's state can no longer be trusted: drop it, and take a new generation at once while
    /// the lease is ours. Doubts that follow each other quickly are slowed down.
    pub fn on_doubt(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        if let State::Leading(leading) = &self.state {
            let hasty = now.since(leading.began) < self.ttl;
            self.doubts = if hasty {
                self.doubts.saturating_add(1)
            } else {
                0
            };
            let generation = leading.generation;
            if planted!(RebuildKeepsGeneration) {
                steps.push(Step::TermBegan { generation });
                return self.act(now, steps);
            }
            self.end(TermEnd::Doubt, steps);
            let at = if self.doubts > 1 {
                self.after_pause(now)
            } else {
                now
            };
            self.state = candidate(self.own_lease(), at);
        }
        self.act(now, steps);
    }

    /// The process is to stop: gives up the term, and takes no lease again.
    pub fn resign(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.lapse(now, steps);
        if let Some(generation) = self.term() {
            mark!(LeaderGaveUpLease);
            self.end(TermEnd::Resigned, steps);
            steps.push(Step::Resign { generation });
        }
        match self.state {
            State::Candidate(_) | State::Taking { .. } | State::Leading(_) => {
                self.state = State::Stopped;
            }
            State::Stopped | State::Exited => {}
        }
    }

    /// The resignation of a term was answered, or failed: others may try.
    pub fn on_resigned(&mut self, generation: Generation, steps: &mut Vec<Step>) {
        steps.push(Step::Announce { generation });
    }

    /// The term that this node leads, as of the last input.
    #[must_use]
    pub const fn term(&self) -> Option<Generation> {
        match &self.state {
            State::Leading(leading) => Some(leading.generation),
            State::Candidate(_) | State::Taking { .. } | State::Stopped | State::Exited => None,
        }
    }

    /// Until when this node leads, if nothing renews its lease.
    #[must_use]
    pub const fn trusted_until(&self) -> Option<Timestamp> {
        match &self.state {
            State::Leading(leading) => Some(leading.deadline),
            State::Candidate(_) | State::Taking { .. } | State::Stopped | State::Exited => None,
        }
    }

    /// The greatest generation heard of.
    #[must_use]
    pub const fn heard(&self) -> Generation {
        self.heard
    }

    /// When [`Self::on_tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let due = match &self.state {
            State::Candidate(candidate) => {
                let answered_by = candidate.reading.map(|(_, at)| at.plus(self.ttl));
                answered_by.unwrap_or_else(|| self.ask_at(candidate))
            }
            State::Taking { asked_at, .. } => asked_at.plus(self.ttl),
            State::Leading(leading) => {
                let renewal = match leading.renewal {
                    Renewal::Due(at) => at,
                    Renewal::Asked { .. } => Timestamp::MAX,
                };
                let deadline = if planted!(WorkOutlivesLease) {
                    Timestamp::MAX
                } else {
                    leading.deadline
                };
                deadline.min(renewal).min(self.deaf_at(leading))
            }
            State::Stopped | State::Exited => return None,
        };
        Some(due.min(self.broker.due()))
    }

    /// Ends a term whose lease is not trusted any more. Comes before everything else.
    fn lapse(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.seen = now;
        match &mut self.state {
            State::Leading(leading) if now >= leading.deadline && !planted!(WorkOutlivesLease) => {
                mark!(LeaseLapsed);
                self.end(TermEnd::Lapsed, steps);
                let deaf = self.enable_ha && !self.hears(now);
                let lease = if deaf {
                    Lease::Free { since: now }
                } else {
                    self.own_lease()
                };
                self.state = candidate(lease, now);
            }
            State::Taking { asked_at, .. } if now >= asked_at.plus(self.ttl) => {
                mark!(TakeNeverAnswered);
                self.doubt_take(now);
            }
            State::Candidate(candidate)
                if candidate
                    .reading
                    .is_some_and(|(_, at)| now >= at.plus(self.ttl)) =>
            {
                candidate.reading = None;
            }
            State::Candidate(_)
            | State::Taking { .. }
            | State::Leading(_)
            | State::Stopped
            | State::Exited => {}
        }
    }

    /// Does what is due.
    fn act(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        match &self.state {
            State::Stopped | State::Exited => return,
            State::Taking { .. } => {}
            State::Candidate(candidate) => {
                if candidate.reading.is_none() && now >= self.ask_at(candidate) {
                    self.ask(candidate.lease, now, steps);
                }
            }
            State::Leading(leading) => {
                if now >= self.deaf_at(leading) {
                    let generation = leading.generation;
                    mark!(DeafLeaderGaveUp);
                    self.end(TermEnd::Deaf, steps);
                    steps.push(Step::Resign { generation });
                    self.state = candidate(Lease::Free { since: now }, now);
                } else {
                    self.renew_if_due(now, steps);
                }
            }
        }
        if now >= self.broker.due() {
            let nonce = self.rng.number();
            self.broker.send(nonce, now);
            steps.push(Step::Probe { nonce });
        }
    }

    /// When a candidate asks, as things are.
    fn ask_at(&self, candidate: &Candidate) -> Timestamp {
        let at = match candidate.lease {
            Lease::Unknown { .. } | Lease::Ours => Timestamp::ZERO,
            Lease::Held { until } if self.enable_ha => until,
            // There is nobody else to leave it to.
            Lease::Held { .. } => Timestamp::ZERO,
            // While it hears itself it need not leave the lease to others.
            Lease::Free { since }
                if self.enable_ha && !self.hears(self.seen.max(candidate.not_before)) =>
            {
                since.plus(self.ttl)
            }
            Lease::Free { .. } => Timestamp::ZERO,
        };
        at.max(candidate.not_before)
    }

    /// Asks for the lease, or what has become of it.
    fn ask(&mut self, lease: Lease, now: Timestamp, steps: &mut Vec<Step>) {
        let read_first = match lease {
            Lease::Unknown { uncertain: true } => true,
            Lease::Unknown { uncertain: false } | Lease::Held { .. } => {
                self.enable_ha && !self.hears(now)
            }
            Lease::Free { .. } | Lease::Ours => false,
        };
        let ask = self.next_ask.next();
        self.next_ask = ask;
        if read_first {
            let reading = Candidate {
                lease,
                reading: Some((ask, now)),
                not_before: now,
            };
            self.state = State::Candidate(reading);
            steps.push(Step::Read {
                ask,
                within: self.interval,
            });
            return;
        }
        self.state = State::Taking { ask, asked_at: now };
        steps.push(Step::Take {
            ask,
            above: self.heard,
            own: self.own,
            force: !self.enable_ha,
            within: self.ttl / 2,
        });
    }

    fn renew_if_due(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let State::Leading(leading) = &mut self.state else {
            return;
        };
        let Renewal::Due(at) = leading.renewal else {
            return;
        };
        if now < at {
            return;
        }
        let ask = self.next_ask.next();
        self.next_ask = ask;
        leading.renewal = Renewal::Asked { ask, asked_at: now };
        // Shorter than what is left, so that one that hangs leaves time for another.
        let left = leading.deadline.since(now);
        let within = self.interval.min(left / 4 * 3);
        steps.push(Step::Renew {
            ask,
            generation: leading.generation,
            within,
        });
    }

    fn begin(
        &mut self,
        generation: Generation,
        asked_at: Timestamp,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) {
        self.leads_since.get_or_insert(now);
        self.state = State::Leading(Leading {
            generation,
            began: now,
            deadline: self.trusted_from(asked_at),
            renewal: Renewal::Due(asked_at.plus(self.interval)),
        });
        steps.push(Step::TermBegan { generation });
    }

    /// Says that the term is over. The caller sets what comes after it.
    fn end(&mut self, why: TermEnd, steps: &mut Vec<Step>) {
        if let Some(generation) = self.term() {
            steps.push(Step::TermEnded { generation, why });
        }
        match why {
            TermEnd::Outnumbered { .. } | TermEnd::Doubt => {}
            TermEnd::Lapsed
            | TermEnd::Lost
            | TermEnd::Fenced
            | TermEnd::Deaf
            | TermEnd::Resigned => self.leads_since = None,
        }
    }

    fn doubt_take(&mut self, now: Timestamp) {
        let at = self.after_pause(now);
        self.state = candidate(Lease::Unknown { uncertain: true }, at);
    }

    /// Takes in what the row says.
    fn learn(&mut self, row: &LeaseRow, now: Timestamp) -> Lease {
        self.hear(row.generation);
        if row.resigned || Some(row.generation) <= self.resigned {
            return Lease::Free { since: now };
        }
        if row.incarnation == self.incarnation {
            self.own = Some(row.generation);
            return Lease::Ours;
        }
        if row.remaining.is_zero() {
            return Lease::Free { since: now };
        }
        let jitter = self.rng.duration_up_to(JITTER_MAX.min(self.ttl / 20));
        Lease::Held {
            until: now.plus(row.remaining).plus(jitter),
        }
    }

    /// What a node knows of the lease that it held: it may take it anew. Without `enable_ha` it
    /// looks first, for it would take it from anybody.
    const fn own_lease(&self) -> Lease {
        if self.enable_ha {
            Lease::Ours
        } else {
            Lease::Unknown { uncertain: true }
        }
    }

    /// Without `enable_ha` a lease that somebody else took after us means that there are others.
    fn exit_if_replaced(&mut self, row: &LeaseRow, steps: &mut Vec<Step>) {
        let replaced =
            row.incarnation != self.incarnation && self.own.is_some_and(|own| own < row.generation);
        if !self.enable_ha && replaced {
            self.state = State::Exited;
            steps.push(Step::Exit {
                why: ExitReason::FencedWithoutHa,
            });
        }
    }

    fn is_reading(&self, ask: AskId) -> bool {
        matches!(&self.state, State::Candidate(candidate) if candidate.reading.is_some_and(|(asked, _)| asked == ask))
    }

    fn hear(&mut self, generation: Generation) {
        self.heard = self.heard.max(generation);
    }

    /// Whether the broker has carried our words within one TTL.
    fn hears(&self, now: Timestamp) -> bool {
        self.broker
            .last_proof()
            .is_some_and(|proof| now < proof.plus(self.ttl))
    }

    /// When a leader that hears nothing more of itself gives up.
    fn deaf_at(&self, leading: &Leading) -> Timestamp {
        if !self.enable_ha || planted!(DeafLeaderLeadsOn) {
            return Timestamp::MAX;
        }
        let proof = self.broker.last_proof().unwrap_or(Timestamp::ZERO);
        proof
            .max(self.leads_since.unwrap_or(leading.began))
            .plus(self.ttl)
    }

    /// Until when a lease asked for at `asked_at` is trusted.
    fn trusted_from(&self, asked_at: Timestamp) -> Timestamp {
        if planted!(LeaderMarginForgotten) {
            return asked_at.plus(self.ttl);
        }
        asked_at.plus(self.ttl).minus(self.margin)
    }

    /// A little later, not at the same moment as others.
    fn after_pause(&mut self, now: Timestamp) -> Timestamp {
        let pause = self.ttl / 20;
        now.plus(pause)
            .plus(self.rng.duration_up_to(JITTER_MAX.min(pause)))
    }
}

const fn candidate(lease: Lease, not_before: Timestamp) -> State {
    State::Candidate(Candidate {
        lease,
        reading: None,
        not_before,
    })
}
