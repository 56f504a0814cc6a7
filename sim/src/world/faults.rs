//! Great faults: armed by time, struck when their moment comes, and taken back.

use super::{Inbound, Occurrence, World};
use crate::{
    bound,
    decision::Streams,
    message::Address,
    model::{broker::Direction, store::Lane},
    plan::{Blow, FOR_GOOD, InFlight, Target},
    properties::Observation,
};
use niyanta_core::{Event, time::Duration};
use runtime::worker::machine;
use sim_probes::{Bug, is_planted};

impl World {
    pub(super) fn arm_strike(&mut self) {
        let Some(strike) = self.strikes.pop_front() else {
            return;
        };
        if self.is_healed {
            return;
        }
        if strike.during.is_some() {
            self.armed.push(strike);
        } else {
            self.strike(strike.blow, None);
        }
    }

    /// Something is in flight at a place: whatever waits for that strikes.
    pub(super) fn strike_during(&mut self, in_flight: InFlight, place: usize) {
        if self.armed.is_empty() {
            return;
        }
        let leads = self.leader_place() == Some(place);
        let hits = |target: Target| match target {
            Target::Leader => leads || in_flight == InFlight::LeaseTaking,
            Target::Place(other) => other == place,
        };
        let found = self.armed.iter().position(|strike| {
            strike.during == Some(in_flight) && strike.blow.target().is_none_or(hits)
        });
        if let Some(index) = found {
            let strike = self.armed.remove(index);
            self.strike(strike.blow, Some(place));
        }
    }

    /// Where the holder of the lease runs, if it does.
    pub(super) fn leader_place(&self) -> Option<usize> {
        let holder = &self.store.lease().incarnation;
        self.nodes.iter().position(|node| {
            node.process
                .as_ref()
                .is_some_and(|process| process.incarnation == *holder)
        })
    }

    /// The same, while some strike waits for its moment.
    pub(super) fn leader_if_aimed_at(&self) -> Option<usize> {
        if self.armed.is_empty() {
            return None;
        }
        self.leader_place()
    }

    fn strike(&mut self, blow: Blow, here: Option<usize>) {
        self.counts.faults += 1;
        self.struck.insert(blow.class());
        self.trace
            .tell(self.now, "fault", || crate::story::blow(&blow, here));
        let who = blow.target();
        let place = here.or_else(|| match who {
            Some(Target::Leader) => self.leader_place(),
            Some(Target::Place(place)) => Some(place),
            None => None,
        });
        match place {
            Some(place) if who.is_some() => self.strike_coordinator(blow, place),
            Some(_) | None => self.strike_others(blow),
        }
    }

    fn strike_coordinator(&mut self, blow: Blow, place: usize) {
        match blow {
            Blow::CrashCoordinator { down, .. } => self.crash(place, down),
            Blow::CrashTwice { down, lives, .. } => {
                self.crash(place, down);
                self.after(down + lives, Occurrence::CrashAgain { place, down });
            }
            Blow::CutFromWorker {
                place: worker,
                direction,
                length,
                ..
            } => self.cut_from_worker(place, worker, direction, length),
            Blow::ShutDownCoordinator { down, .. } => self.shut_down(place, down),
            Blow::PauseCoordinator { length, .. } => self.pause_coordinator(place, length),
            Blow::Overload { length, .. } => self.overload(place, length),
            Blow::CutFromBroker {
                direction, length, ..
            } => self.cut_from_broker(place, direction, length),
            Blow::CutFromStore {
                direction, length, ..
            } => self.cut_from_store(place, direction, length),
            Blow::StallStore { .. }
            | Blow::RestartStore { .. }
            | Blow::RestartBroker { .. }
            | Blow::Swizzle { .. }
            | Blow::StepDatabaseClock { .. }
            | Blow::LimitConnections { .. }
            | Blow::FailOver { .. }
            | Blow::CrashWorker { .. }
            | Blow::ShutDownWorker { .. }
            | Blow::PauseWorker { .. }
            | Blow::FadeWorker { .. }
            | Blow::CutWorker { .. } => self.strike_others(blow),
        }
    }

    /// What is aimed at no coordinator; a coordinator that is not there is not struck.
    fn strike_others(&mut self, blow: Blow) {
        match blow {
            Blow::StallStore { length } => {
                let length = self.until_healed(length);
                self.store_stalled_until = self.store_stalled_until.max(self.now.plus(length));
            }
            Blow::RestartStore { down } => self.restart_store(down),
            Blow::RestartBroker { down } => self.restart_broker(down),
            Blow::Swizzle { order, length } => self.swizzle(order, length),
            Blow::StepDatabaseClock { millis } => {
                self.store.step_clock(i64::from(millis) * 1_000);
            }
            Blow::LimitConnections { limit, length } => {
                self.store.limit_connections(limit);
                self.after(self.until_healed(length), Occurrence::FreeConnections);
            }
            Blow::FailOver { commits, down } => self.fail_over(commits, down),
            Blow::CrashWorker { place, down } => {
                self.end_worker(place);
                self.after(down, Occurrence::StartWorker(place));
            }
            Blow::ShutDownWorker { place, .. } => self.shut_down_worker(place),
            Blow::PauseWorker {
                place,
                length,
                alone,
            } => self.pause_worker(place, length, alone),
            Blow::FadeWorker { place, lag, length } => self.fade_worker(place, lag, length),
            Blow::CutWorker {
                place,
                direction,
                length,
            } => {
                let length = self.until_healed(length);
                let who = Address::Worker(place);
                self.broker.cut(who, direction);
                self.after(length, Occurrence::MendBroker { who, direction });
            }
            Blow::CrashCoordinator { .. }
            | Blow::ShutDownCoordinator { .. }
            | Blow::PauseCoordinator { .. }
            | Blow::Overload { .. }
            | Blow::CutFromBroker { .. }
            | Blow::CutFromStore { .. }
            | Blow::CrashTwice { .. }
            | Blow::CutFromWorker { .. } => {}
        }
    }

    /// It dies, and is started again.
    fn crash(&mut self, place: usize, down: Duration) {
        self.end_coordinator(place);
        self.after(down, Occurrence::StartCoordinator(place));
    }

    /// It dies soon after its start, unless everything has healed meanwhile.
    pub(super) fn crash_again(&mut self, place: usize, down: Duration) {
        if !self.is_healed {
            self.crash(place, down);
        }
    }

    fn cut_from_worker(
        &mut self,
        place: usize,
        worker: usize,
        direction: Direction,
        length: Duration,
    ) {
        let length = self.until_healed(length);
        let (own, other) = (Address::Coordinator(place), Address::Worker(worker));
        let mut cut = |from, to| {
            self.broker.cut_pair(from, to);
            self.after(length, Occurrence::MendPair { from, to });
        };
        if direction.cuts_outward() {
            cut(own, other);
        }
        if direction.cuts_inward() {
            cut(other, own);
        }
    }

    /// Everybody who is connected to the broker.
    fn everybody(&self) -> Vec<Address> {
        let nodes = (0..self.nodes.len()).map(Address::Coordinator);
        nodes
            .chain((0..self.hosts.len()).map(Address::Worker))
            .collect()
    }

    /// All connections are gone at once, and made again one after the other.
    fn restart_broker(&mut self, down: Duration) {
        let direction = Direction::Both;
        for (index, who) in (1u32..).zip(self.everybody()) {
            let length = self.until_healed(down + Duration::from_millis(37) * index);
            self.broker.cut(who, direction);
            self.after(length, Occurrence::MendBroker { who, direction });
            if let Address::Coordinator(place) = who {
                self.interrupt_later(place, Duration::ZERO);
                self.interrupt_later(place, length);
            }
        }
    }

    fn swizzle(&mut self, order: u32, length: Duration) {
        let length = self.until_healed(length);
        let mut rng = Streams::new(u64::from(order)).stream("swizzle", 0);
        for who in self.everybody() {
            if rng.per_mille(400) {
                continue;
            }
            let (clogs, frees) = (
                rng.duration(Duration::ZERO, length / 2),
                rng.duration(length / 2, length),
            );
            let lag = rng.duration(length / 8, length / 2);
            self.after(clogs, Occurrence::Congest { who, lag });
            self.after(frees, Occurrence::Decongest { who });
        }
    }

    /// The database goes on from a copy that is behind.
    fn fail_over(&mut self, commits: usize, down: Duration) {
        self.restart_store(down);
        let lost = self.store.fail_over(commits);
        self.trace.tell(self.now, "fault", || {
            format!("the database has lost its last {lost} commits")
        });
        let fence = self.store.fence().clone();
        self.observe(&Observation::FailedOver { fence: &fence });
    }

    fn shut_down(&mut self, place: usize, down: Duration) {
        let epoch = self.nodes[place].epoch;
        let inbound = Inbound::Event(Box::new(Event::ShutdownRequested));
        self.after(
            Duration::ZERO,
            Occurrence::Inbound {
                place,
                epoch,
                inbound,
            },
        );
        // It is gone a moment later, whatever it was doing.
        let grace = Duration::from_secs(2);
        self.after(grace, Occurrence::KillCoordinator { place, epoch });
        self.after(grace + down, Occurrence::StartCoordinator(place));
    }

    pub(super) fn kill_coordinator(&mut self, place: usize, epoch: u32) {
        if self.nodes[place].epoch == epoch {
            self.end_coordinator(place);
        }
    }

    fn pause_coordinator(&mut self, place: usize, length: Duration) {
        let length = self.until_healed(length);
        let until = self.now.plus(length);
        let node = &mut self.nodes[place];
        let epoch = node.epoch;
        let Some(process) = &mut node.process else {
            return;
        };
        if process.paused_until.is_none() {
            process.paused_at = self.now;
        }
        let until = process.paused_until.map_or(until, |other| other.max(until));
        process.paused_until = Some(until);
        self.tear(place, until);
        self.at(until, Occurrence::ResumeCoordinator { place, epoch });
    }

    fn overload(&mut self, place: usize, length: Duration) {
        let until = self.now.plus(self.until_healed(length));
        let node = &mut self.nodes[place];
        let epoch = node.epoch;
        if let Some(process) = &mut node.process {
            process.overloaded_until = process.overloaded_until.max(until);
            self.at(until, Occurrence::ReadInbox { place, epoch });
        }
    }

    fn shut_down_worker(&mut self, place: usize) {
        self.tell_worker(
            place,
            machine::Event::ShutdownRequested(bound::SHUTDOWN_GRACE),
        );
    }

    fn pause_worker(&mut self, place: usize, length: Duration, alone: bool) {
        let length = self.until_healed(length);
        let until = self.now.plus(length);
        let host = &mut self.hosts[place];
        if host.worker.is_none() {
            return;
        }
        let until = host.paused_until.map_or(until, |other| other.max(until));
        // Of two pauses at once the wider one counts until both are over.
        host.all_paused = !alone || (host.paused_until.is_some() && host.all_paused);
        host.paused_until = Some(until);
        let epoch = host.epoch;
        let guards = host.worker.as_ref().map(|worker| worker.guarded_until);
        let guards = guards.map(|local| host.clock().when(local));
        self.at(until, Occurrence::ResumeWorker { place, epoch });
        if alone && let Some(at) = guards.filter(|at| *at < until) {
            self.at(at, Occurrence::GuardChildren { place, epoch });
        }
    }

    fn fade_worker(&mut self, place: usize, lag: Duration, length: Duration) {
        let length = self.until_healed(length);
        let (who, direction) = (Address::Worker(place), Direction::Outward);
        self.broker.congest(who, lag);
        self.after(length / 2, Occurrence::CutBroker { who, direction });
        self.after(length, Occurrence::MendBroker { who, direction });
        self.after(length, Occurrence::Decongest { who });
    }

    fn cut_from_broker(&mut self, place: usize, direction: Direction, length: Duration) {
        let length = self.until_healed(length);
        let who = Address::Coordinator(place);
        self.broker.cut(who, direction);
        // A cut that lasts is noticed by the connection's own pings; a short one may not be.
        let noticed = Duration::from_millis(1_200);
        if length > noticed {
            self.interrupt_later(place, noticed);
        }
        self.interrupt_later(place, length);
        self.after(length, Occurrence::MendBroker { who, direction });
    }

    fn interrupt_later(&mut self, place: usize, delay: Duration) {
        let hidden = is_planted(Bug::OverflowReadAsSilence);
        let epoch = self.nodes[place].epoch;
        let inbound = Inbound::Interrupted { hidden };
        self.after(
            delay,
            Occurrence::Inbound {
                place,
                epoch,
                inbound,
            },
        );
    }

    fn cut_from_store(&mut self, place: usize, direction: Direction, length: Duration) {
        let length = self.until_healed(length);
        self.change_store_cut(place, direction, true);
        self.after(length, Occurrence::MendStore { place, direction });
    }

    fn change_store_cut(&mut self, place: usize, direction: Direction, cut: bool) {
        let [outward, inward] = &mut self.store_cuts[place];
        let change = |count: &mut u32| {
            *count = if cut {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        };
        if direction.cuts_outward() {
            change(outward);
        }
        if direction.cuts_inward() {
            change(inward);
        }
    }

    pub(super) fn mend_broker(&mut self, who: Address, direction: Direction) {
        self.trace
            .tell(self.now, "fault", || format!("{who} is connected again"));
        self.broker.mend(who, direction);
        if let Address::Worker(place) = who {
            self.after(
                Duration::from_millis(40),
                Occurrence::ReconnectWorker(place),
            );
        }
    }

    pub(super) fn mend_store(&mut self, place: usize, direction: Direction) {
        self.trace.tell(self.now, "fault", || {
            format!("c{place} reaches the database again")
        });
        self.change_store_cut(place, direction, false);
        for lane in Lane::ALL {
            self.serve_queue(place, *lane);
        }
    }
}

impl Blow {
    /// The places it names: of a coordinator, and of a worker.
    #[must_use]
    pub const fn places(&self) -> (Option<usize>, Option<usize>) {
        let coordinator = match self.target() {
            Some(Target::Place(place)) => Some(place),
            Some(Target::Leader) | None => None,
        };
        let worker = match self {
            Self::CrashWorker { place, .. }
            | Self::CutFromWorker { place, .. }
            | Self::ShutDownWorker { place, .. }
            | Self::PauseWorker { place, .. }
            | Self::FadeWorker { place, .. }
            | Self::CutWorker { place, .. } => Some(*place),
            Self::CrashCoordinator { .. }
            | Self::ShutDownCoordinator { .. }
            | Self::PauseCoordinator { .. }
            | Self::Overload { .. }
            | Self::CutFromBroker { .. }
            | Self::CutFromStore { .. }
            | Self::CrashTwice { .. }
            | Self::StallStore { .. }
            | Self::RestartBroker { .. }
            | Self::Swizzle { .. }
            | Self::StepDatabaseClock { .. }
            | Self::LimitConnections { .. }
            | Self::FailOver { .. }
            | Self::RestartStore { .. } => None,
        };
        (coordinator, worker)
    }

    /// What it is called where faults are counted.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::CrashCoordinator { .. } => "coordinator crashed",
            Self::ShutDownCoordinator { .. } => "coordinator shut down",
            Self::PauseCoordinator { .. } => "coordinator paused",
            Self::Overload { .. } => "coordinator overloaded",
            Self::CutFromBroker { .. } => "coordinator cut from broker",
            Self::CutFromStore { .. } => "coordinator cut from database",
            Self::StallStore { .. } => "database stalled",
            Self::CrashWorker { .. } => "worker crashed",
            Self::ShutDownWorker { .. } => "worker shut down",
            Self::PauseWorker { .. } => "worker paused",
            Self::FadeWorker { .. } => "worker faded",
            Self::CutWorker { .. } => "worker cut from broker",
            Self::CutFromWorker { .. } => "worker cut from coordinator",
            Self::CrashTwice { .. } => "coordinator crashed twice",
            Self::RestartStore { .. } => "database restarted",
            Self::RestartBroker { .. } => "broker restarted",
            Self::Swizzle { .. } => "connections clogged in turn",
            Self::StepDatabaseClock { .. } => "database clock set",
            Self::LimitConnections { .. } => "database connections limited",
            Self::FailOver { .. } => "database lost commits",
        }
    }

    /// Whether it outlasts the healing.
    #[must_use]
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::CutFromBroker { length, .. } => *length >= FOR_GOOD,
            Self::CrashCoordinator { down, .. }
            | Self::ShutDownCoordinator { down, .. }
            | Self::CrashTwice { down, .. }
            | Self::CrashWorker { down, .. }
            | Self::ShutDownWorker { down, .. } => *down >= FOR_GOOD,
            Self::PauseCoordinator { .. }
            | Self::Overload { .. }
            | Self::CutFromStore { .. }
            | Self::StallStore { .. }
            | Self::RestartBroker { .. }
            | Self::CutFromWorker { .. }
            | Self::Swizzle { .. }
            | Self::StepDatabaseClock { .. }
            | Self::LimitConnections { .. }
            | Self::FailOver { .. }
            | Self::RestartStore { .. }
            | Self::PauseWorker { .. }
            | Self::FadeWorker { .. }
            | Self::CutWorker { .. } => false,
        }
    }

    /// Which coordinator it is aimed at, if at one.
    #[must_use]
    pub const fn target(&self) -> Option<Target> {
        match self {
            Self::CrashCoordinator { who, .. }
            | Self::CrashTwice { who, .. }
            | Self::CutFromWorker { who, .. }
            | Self::ShutDownCoordinator { who, .. }
            | Self::PauseCoordinator { who, .. }
            | Self::Overload { who, .. }
            | Self::CutFromBroker { who, .. }
            | Self::CutFromStore { who, .. } => Some(*who),
            Self::StallStore { .. }
            | Self::RestartStore { .. }
            | Self::RestartBroker { .. }
            | Self::Swizzle { .. }
            | Self::StepDatabaseClock { .. }
            | Self::LimitConnections { .. }
            | Self::FailOver { .. }
            | Self::CrashWorker { .. }
            | Self::ShutDownWorker { .. }
            | Self::PauseWorker { .. }
            | Self::FadeWorker { .. }
            | Self::CutWorker { .. } => None,
        }
    }
}
