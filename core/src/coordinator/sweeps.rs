//! What a term does because time passes.
//!
//! Owns the periodic work: the safety sweep, the record of heartbeats, the repeated announcement.

use super::term::Term;
use crate::{
    Effect,
    fleet::Presence,
    time::{Duration, Timestamp},
};
use alloc::vec::Vec;

impl Term {
    /// Time came. Silences are judged up to what has been listened to; the rest by the clock.
    pub(super) fn on_tick(&mut self, heard_until: Timestamp, effects: &mut Vec<Effect>) {
        self.on_commit_due(effects);
        self.on_silences_due(heard_until.min(self.now));
        self.on_attempts_due(effects);
        self.on_drains_due();
        self.on_sweep_due();
        self.on_record_due(effects);
        self.on_announce_due(effects);
    }

    fn on_sweep_due(&mut self) {
        if self.pace.sweep_at > self.now {
            return;
        }
        self.pace.sweep_at = self.now.plus(self.config.scheduler_interval);
        self.loads.want_sweep();
        self.drop_rows_left_over();
    }

    /// Rows that were to go when a batch had no room for it.
    fn drop_rows_left_over(&mut self) {
        let ended: Vec<_> = self
            .fleet
            .values()
            .filter(|worker| worker.is_dead() && !worker.is_leaving)
            .map(|worker| worker.record.worker.clone())
            .collect();
        for id in ended {
            self.drop_row_if_done(&id);
        }
    }

    fn on_record_due(&mut self, effects: &mut Vec<Effect>) {
        if self.pace.record_at > self.now {
            return;
        }
        let now = self.now;
        self.pace.record_at = now.plus(RECORD_INTERVAL);
        let mut heard = Vec::new();
        for worker in self.fleet.values_mut() {
            let since = now.since(worker.silent_since);
            if let Presence::Heard { is_news, .. } = &mut worker.presence
                && core::mem::take(is_news)
            {
                let record = &worker.record;
                heard.push((record.worker.clone(), record.incarnation.clone(), since));
            }
        }
        if !heard.is_empty() {
            effects.push(Effect::RecordHeartbeats {
                generation: self.generation,
                heard,
            });
        }
    }

    /// Announced again, after 1, 2 and 4 s, while known workers are unheard.
    fn on_announce_due(&mut self, effects: &mut Vec<Effect>) {
        let Some((at, wait)) = self.pace.announce else {
            return;
        };
        if at > self.now {
            return;
        }
        if !self.fleet.has_unheard() {
            self.pace.announce = None;
            return;
        }
        effects.push(Effect::AnnounceLeader {
            generation: self.generation,
        });
        let longer = wait * 2;
        self.pace.announce = (longer <= ANNOUNCE_MAX).then(|| (self.now.plus(longer), longer));
    }
}

/// How often it is recorded when workers were last heard.
const RECORD_INTERVAL: Duration = Duration::from_secs(10);
/// The last announcement waits this long.
const ANNOUNCE_MAX: Duration = Duration::from_secs(4);
