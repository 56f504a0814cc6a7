//! Between the lease and the term: events for leadership, and what its steps mean here.
//!
//! Owns the translation alone. When a lease is asked for, trusted or given up is
//! [`crate::leadership`]'s; what a term does is [`super::term`]'s.

use super::{
    Coordinator, Role,
    rebuild::Rebuild,
    term::{End, Term},
};
use crate::{
    Effect, Event,
    ids::{AskId, Generation},
    leadership::{Leadership, Step},
    snapshot::LeaseRow,
    time::{Timestamp, WallTime},
};
use alloc::vec::Vec;

impl Coordinator {
    /// Lets leadership take something in, and does what it says.
    pub(super) fn lead(
        &mut self,
        effects: &mut Vec<Effect>,
        input: impl FnOnce(&mut Leadership, Timestamp, &mut Vec<Step>),
    ) {
        let mut steps = Vec::new();
        input(&mut self.leadership, self.now, &mut steps);
        for step in steps {
            self.follow(step, effects);
        }
    }

    fn follow(&mut self, step: Step, effects: &mut Vec<Effect>) {
        let ttl = self.config.leader_lease_ttl;
        effects.push(match step {
            Step::Take {
                ask,
                above,
                own,
                force,
                within,
            } => Effect::TakeLease {
                ask,
                above,
                own,
                force,
                ttl,
                within,
            },
            Step::Read { ask, within } => Effect::ReadLease { ask, within },
            Step::Renew {
                ask,
                generation,
                within,
            } => Effect::RenewLease {
                ask,
                generation,
                ttl,
                within,
            },
            Step::Resign { generation } => Effect::ResignLease { generation },
            Step::Announce { generation } => Effect::AnnounceResignation { generation },
            Step::Probe { nonce } => Effect::ProbeBroker { nonce },
            Step::Exit { why } => Effect::Exit { reason: why },
            Step::TermBegan { generation } => return self.begin_term(generation, effects),
            Step::TermEnded { .. } => return self.drop_term(effects),
        });
    }

    fn begin_term(&mut self, generation: Generation, effects: &mut Vec<Effect>) {
        self.drop_term(effects);
        self.role = Role::Rebuilding(Rebuild::new(generation));
        self.load_snapshot(effects);
    }

    /// The term is over: nothing of it is ever told. Its unanswered requests are let go of.
    fn drop_term(&mut self, effects: &mut Vec<Effect>) {
        if let Role::Leading(term) = core::mem::replace(&mut self.role, Role::Following) {
            self.next_load = term.loads.next_id();
            self.quarantine = term.quarantine.clone();
            let unanswered = term.into_unanswered().into_iter();
            effects.extend(unanswered.map(|to| Effect::Forget { to }));
        }
    }

    /// The term itself says that it must end.
    pub(super) fn end_term(&mut self, end: End, effects: &mut Vec<Effect>) {
        match end {
            End::Doubt => self.lead(effects, Leadership::on_doubt),
            End::Fenced(generation) => {
                self.lead(effects, |l, now, steps| l.on_fenced(generation, now, steps));
            }
            End::Refused(batch, sources) => {
                self.drop_term(effects);
                self.quarantine.note_refused(&batch, &sources, self.now);
                self.lead(effects, Leadership::on_doubt);
            }
        }
    }

    pub(super) fn on_lease_refused(
        &mut self,
        ask: AskId,
        row: LeaseRow,
        effects: &mut Vec<Effect>,
    ) {
        self.lead(effects, |l, now, steps| l.on_refused(ask, &row, now, steps));
        self.lease_row = Some(row);
    }

    pub(super) fn on_lease_read(&mut self, ask: AskId, row: LeaseRow, effects: &mut Vec<Effect>) {
        self.lead(effects, |l, now, steps| {
            l.on_lease_read(ask, &row, now, steps)
        });
        self.lease_row = Some(row);
    }

    pub(super) fn on_lease_renewed(
        &mut self,
        ask: AskId,
        generation: Generation,
        database_time: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        self.lead(effects, |l, now, steps| {
            l.on_renewed(ask, generation, now, steps)
        });
        self.with_term(generation, |term: &mut Term| term.note_clock(database_time));
    }

    /// Events of leadership alone.
    pub(super) fn on_lease_event(&mut self, event: &Event, effects: &mut Vec<Effect>) {
        self.lead(effects, |l, now, steps| match *event {
            Event::LeaseTaken {
                ask, generation, ..
            } => l.on_taken(ask, generation, now, steps),
            Event::LeaseUnknown { ask } => l.on_take_unknown(ask, now, steps),
            Event::LeaseLost { generation, .. } => l.on_renewal_refused(generation, now, steps),
            Event::LeaseUnanswered { ask } => l.on_unanswered(ask, now, steps),
            Event::LeaseResigned { generation } => l.on_resigned(generation, steps),
            Event::LeaderResigned(generation) => l.on_leader_resigned(generation, now, steps),
            Event::GenerationSeen(generation) => l.on_peer_generation(generation, now, steps),
            Event::ProbeHeard { nonce } => l.on_probe_heard(nonce, now, steps),
            Event::ShutdownRequested => l.resign(now, steps),
            Event::Tick { .. }
            | Event::LeaseRefused { .. }
            | Event::LeaseRead { .. }
            | Event::LeaseRenewed { .. }
            | Event::SnapshotLoaded { .. }
            | Event::SnapshotFailed { .. }
            | Event::PersistAnswered { .. }
            | Event::FenceRead { .. }
            | Event::Loaded { .. }
            | Event::Request(_)
            | Event::WorkloadsHinted(_)
            | Event::WorkersHinted
            | Event::CustomersHinted(_)
            | Event::ListeningInterrupted => {}
        });
    }
}
