//! What strikes, and what undoes it.

use super::{
    scenario::{Host, Strike},
    stage::Stage,
};
use crate::{
    clock::Moment,
    message::Address,
    model::broker::Direction,
    ports::broker::{cut, mend},
};
use bytes::Bytes;
use niyanta_core::time::Duration;
use runtime::{broker::Broker as _, protocol::Subjects};
use tokio::time::Instant;

/// What undoes a strike.
#[derive(Debug, Clone)]
pub(super) enum Undo {
    Start(Address),
    Resume(Address),
    Mend(Address, Direction),
    Reconnect(Address),
    Relieve(Address),
    Feed,
    Starve(Address, Duration, Moment),
}

impl Stage {
    pub(super) async fn strike(&mut self, now: Moment, strike: Strike) {
        let struck = self.try_strike(now, strike).await.is_some();
        self.struck += u64::from(struck);
        let words = format!("{strike:?}{}", if struck { "" } else { ", at nobody" });
        self.shared.checker.tell("fault", &words);
    }

    /// Who that is now.
    fn address(&self, host: Host) -> Option<Address> {
        match host {
            Host::Leader => self.shared.checker.leader().map(Address::Coordinator),
            Host::Coordinator(place) => Some(Address::Coordinator(place)),
            Host::Worker(place) => Some(Address::Worker(place)),
        }
    }

    async fn try_strike(&mut self, now: Moment, strike: Strike) -> Option<()> {
        match strike {
            Strike::Kill(host, down) => {
                let who = self.running(host)?;
                self.wake(now, who);
                self.handle.kill(self.nodes[&who]);
                self.gone(who);
                self.later(now.plus(down), Undo::Start(who));
            }
            Strike::Pause(host, length) => {
                let who = self.running(host)?;
                if self.paused.contains_key(&who) {
                    return None;
                }
                self.handle.pause(self.nodes[&who]);
                self.paused.insert(who, now);
                self.later(now.plus(length), Undo::Resume(who));
            }
            Strike::Stop(host, down) => {
                let who = self.running(host)?;
                let Address::Coordinator(place) = who else {
                    return None;
                };
                self.stops[place].send_modify(|stops| *stops += 1);
                self.later(now.plus(down), Undo::Start(who));
            }
            Strike::Hang { of, length, silent } => {
                let place = match of {
                    None => None,
                    Some(host) => match self.address(host)? {
                        Address::Coordinator(place) => Some(place),
                        Address::Worker(_) => return None,
                    },
                };
                let until = now.plus(length).min(self.shared.scenario.setting.heal_at);
                self.shared.desk.hang(place, until, silent);
            }
            Strike::Cut(host, direction, length) => {
                let who = self.address(host)?;
                cut(&self.shared.hub, who, direction);
                self.later(now.plus(length), Undo::Mend(who, direction));
            }
            Strike::Disconnect(host, length) => {
                let who = self.address(host)?;
                self.shared.hub.disconnect(who);
                self.later(now.plus(length), Undo::Reconnect(who));
            }
            Strike::Congest(host, lag, length) => {
                let who = self.address(host)?;
                let congest =
                    |lag| move |model: &mut crate::model::broker::Broker| model.congest(who, lag);
                self.shared.hub.change_weather(congest(lag));
                self.later(now.plus(length), Undo::Relieve(who));
            }
            Strike::Stall(host, length) => {
                let Address::Coordinator(place) = self.address(host)? else {
                    return None;
                };
                self.shared.pace.stall(place, Instant::now() + length);
            }
            Strike::Burst(words, starved) => {
                let who = self.running(Host::Leader)?;
                self.burst(now, who, words, starved).await;
            }
        }
        Some(())
    }

    /// Words that nobody understands, on a machine that is starved: the process that leads gets on for
    /// a moment at a time, and reads what one turn takes.
    async fn burst(&mut self, now: Moment, who: Address, words: usize, starved: Duration) {
        let subject = Subjects::default().events();
        for _ in 0..words {
            let word = Bytes::from_static(b"{}");
            // The crowd's connection is always there.
            drop(self.crowd.publish(&subject, None, word).await);
        }
        self.shared.pace.starve(MOMENT);
        let turns = u32::try_from(words / A_TURN + 1).unwrap_or(u32::MAX);
        let until = now.plus(starved * turns);
        self.later(until, Undo::Feed);
        self.starve(now, who, starved, until);
    }

    /// Lets a process get on for a moment now and then, until then.
    fn starve(&mut self, now: Moment, who: Address, starved: Duration, until: Moment) {
        if now >= until || self.is_healed {
            return;
        }
        if self.running_at(who) && !self.paused.contains_key(&who) {
            self.handle.pause(self.nodes[&who]);
            self.paused.insert(who, now);
            self.later(now.plus(starved), Undo::Resume(who));
        }
        let next = now.plus(starved + MOMENT);
        self.later(next, Undo::Starve(who, starved, until));
    }

    fn running_at(&self, who: Address) -> bool {
        !self.down.contains(&who) && !self.handle.is_exit(self.nodes[&who])
    }

    /// A host whose process is there.
    fn running(&self, host: Host) -> Option<Address> {
        let who = self.address(host)?;
        self.running_at(who).then_some(who)
    }

    /// A process is gone.
    pub(super) fn gone(&mut self, who: Address) {
        self.down.insert(who);
        match who {
            Address::Coordinator(place) => {
                self.shared.routers.set(place, None);
                self.shared.checker.coordinator_gone(place);
            }
            Address::Worker(place) => self.shared.checker.worker_gone(place),
        }
    }

    pub(super) fn undo(&mut self, now: Moment, undo: Undo) {
        if !matches!(undo, Undo::Starve(..)) {
            self.shared.checker.tell("fault", &format!("{undo:?}"));
        }
        match undo {
            Undo::Start(who) => {
                // One that was asked to stop may still be at it: it is started when it has ended.
                if self.down.remove(&who) {
                    self.handle.restart(self.nodes[&who]);
                }
            }
            Undo::Resume(who) => self.wake(now, who),
            Undo::Mend(who, direction) => mend(&self.shared.hub, who, direction),
            Undo::Reconnect(who) => self.shared.hub.reconnect(who),
            Undo::Relieve(who) => {
                let relieve = |model: &mut crate::model::broker::Broker| {
                    model.congest(who, Duration::ZERO);
                };
                self.shared.hub.change_weather(relieve);
            }
            Undo::Starve(who, starved, until) => self.starve(now, who, starved, until),
            Undo::Feed => self.shared.pace.starve(Duration::ZERO),
        }
    }

    /// Schedules a process again, if it was not.
    fn wake(&mut self, now: Moment, who: Address) {
        let Some(since) = self.paused.remove(&who) else {
            return;
        };
        match who {
            Address::Coordinator(place) => {
                self.shared
                    .checker
                    .coordinator_resumed(place, now.since(since));
            }
            Address::Worker(place) => self.shared.checker.worker_resumed(place),
        }
        self.handle.resume(self.nodes[&who]);
    }

    pub(super) fn later(&mut self, at: Moment, undo: Undo) {
        let heal_at = self.shared.scenario.setting.heal_at;
        self.last_undo += 1;
        // What comes up after healing is undone at its time.
        let at = if self.shared.checker.now() < heal_at {
            at.min(heal_at)
        } else {
            at
        };
        self.undos.insert((at, self.last_undo), undo);
    }
}

/// A driver reads about so many words in a turn.
const A_TURN: usize = 256;

/// A starved process gets on for so long at a time.
const MOMENT: Duration = Duration::from_millis(1);
