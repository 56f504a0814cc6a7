//! What children do by themselves, and what becomes of them.

use super::{Occurrence, World};
use crate::{
    clock::Moment,
    decision::{Choice, Occasion, Who},
    worker::{Child, Deed, End, KILL_LONGEST, Script, Stage, StopManner},
};
use niyanta_core::{
    ids::{Attempt, WorkloadId},
    time::Duration,
    workload::{Cause, ErrorType, OnLeaseLoss},
};
use runtime::{
    protocol::Assignment,
    worker::machine::{Event, Outcome},
};
use serde_json::json;
use sim_probes::{Bug, is_planted};

pub(super) type Key = (WorkloadId, Attempt);

impl World {
    pub(super) fn start_child(&mut self, place: usize, assignment: &Assignment) {
        let (workload, attempt) = (assignment.workload, assignment.attempt);
        let outlives_lease = assignment.on_lease_loss == OnLeaseLoss::Continue;
        let script = Script::choose(&mut self.decider, workload);
        let child = Child::begin(self.now, script, outlives_lease);
        let Some(worker) = &mut self.hosts[place].worker else {
            return;
        };
        worker.children.insert((workload, attempt), child);
        self.observe_deed(
            place,
            &Deed::Began {
                workload,
                attempt,
                outlives_lease,
            },
        );
        self.wake_child_at(place, (workload, attempt), child.wake_at);
    }

    pub(super) fn stop_child(&mut self, place: usize, key: Key, cause: Cause) {
        let Some(child) = self
            .child(place, key)
            .filter(|child| child.is_undisturbed())
        else {
            return;
        };
        let manner = StopManner::choose(&mut self.decider, key.0);
        let stage = match manner {
            StopManner::After(length) => Stage::Stopping {
                until: self.now.plus(length),
            },
            StopManner::Ignores => Stage::Deaf,
        };
        let writes = matches!(cause, Cause::Paused | Cause::Drained);
        let child = Child { stage, ..child };
        self.put_child(place, key, child);
        if writes && manner != StopManner::Ignores {
            self.write_checkpoint(place, key);
        }
    }

    pub(super) fn kill_child(&mut self, place: usize, key: Key) {
        let Some(child) = self.child(place, key) else {
            return;
        };
        if matches!(child.stage, Stage::Dying { .. }) {
            return;
        }
        let point = self
            .decider
            .occasion(Occasion::Kill, Who::submission(key.0));
        let takes =
            self.decider
                .delay_up_to(point, Choice::KillLength, Duration::ZERO, KILL_LONGEST);
        let stage = Stage::Dying {
            until: self.now.plus(takes),
        };
        self.observe_deed(place, &Deed::Killing(key.0, key.1));
        self.put_child(place, key, Child { stage, ..child });
    }

    /// Something of a child may be due.
    pub(super) fn move_child(&mut self, place: usize, epoch: u32, key: Key) {
        let now = self.now;
        let host = &self.hosts[place];
        if host.epoch != epoch {
            return;
        }
        let Some(child) = self.child(place, key).filter(|child| child.wake_at <= now) else {
            return;
        };
        if let Some(until) = self.hosts[place].paused_until
            && self.hosts[place].all_paused
        {
            self.at(until, Occurrence::MoveChild { place, epoch, key });
            return;
        }
        match child.stage {
            Stage::Running { until } if until <= now => self.finish_child(place, key, child.script),
            Stage::Stopping { until } if until <= now => {
                self.end_child(place, key, Outcome::Stopped);
            }
            Stage::Dying { until } if until <= now => self.end_child(place, key, Outcome::Killed),
            Stage::Running { .. } => {
                let next_checkpoint = now.plus(child.script.checkpoint_every);
                let child = Child {
                    next_checkpoint,
                    ..child
                };
                self.put_child(place, key, child);
                if is_planted(Bug::WorkerReportsUnfinished) {
                    let (workload, attempt) = key;
                    let outcome = Outcome::Completed(None);
                    return self.tell_worker(
                        place,
                        Event::Ended {
                            workload,
                            attempt,
                            outcome,
                        },
                    );
                }
                self.write_checkpoint(place, key);
                if child.script.talks {
                    self.talk(place, key);
                }
            }
            Stage::Stopping { .. } | Stage::Dying { .. } | Stage::Deaf => {}
        }
    }

    fn finish_child(&mut self, place: usize, key: Key, script: Script) {
        let (workload, attempt) = key;
        let (completed, outcome) = match script.end {
            End::Completes => (true, Outcome::Completed(Some(json!({ "done": attempt.0 })))),
            End::CompletesUnspeakably => {
                let result = json!({ "text": "half a word\u{0}" });
                (true, Outcome::Completed(Some(result)))
            }
            End::Fails(error_type) => {
                let message = "it did not work".to_owned();
                let failed = Outcome::Failed {
                    error_type,
                    message,
                };
                (false, failed)
            }
            End::Never => {
                let message = "it hangs no more".to_owned();
                let failed = Outcome::Failed {
                    error_type: ErrorType::Transient,
                    message,
                };
                (false, failed)
            }
        };
        let finished = Deed::Finished {
            workload,
            attempt,
            completed,
        };
        self.observe_deed(place, &finished);
        self.end_child(place, key, outcome);
    }

    fn end_child(&mut self, place: usize, key: Key, outcome: Outcome) {
        let (workload, attempt) = key;
        let Some(worker) = &mut self.hosts[place].worker else {
            return;
        };
        if worker.children.remove(&key).is_none() {
            return;
        }
        self.observe_deed(place, &Deed::Ended(workload, attempt));
        self.tell_worker(
            place,
            Event::Ended {
                workload,
                attempt,
                outcome,
            },
        );
    }

    fn write_checkpoint(&mut self, place: usize, (workload, attempt): Key) {
        let Some(worker) = &mut self.hosts[place].worker else {
            return;
        };
        let Some(child) = worker.children.get_mut(&(workload, attempt)) else {
            return;
        };
        child.checkpoints += 1;
        let data = child.checkpoints.to_be_bytes().to_vec();
        self.tell_worker(
            place,
            Event::Checkpoint {
                workload,
                attempt,
                data,
            },
        );
    }

    fn talk(&mut self, place: usize, (workload, attempt): Key) {
        let progress = Event::Progress {
            workload,
            attempt,
            percent: 50.0,
            message: None,
        };
        self.tell_worker(place, progress);
        let line = Event::Log {
            workload,
            attempt,
            level: "info",
            message: "half-way".to_owned(),
        };
        self.tell_worker(place, line);
    }

    /// The process alone is paused: its guards see to it that nothing outlives the lease.
    pub(super) fn guard_children(&mut self, place: usize, epoch: u32) {
        let now = self.now;
        let host = &self.hosts[place];
        if host.epoch != epoch {
            return;
        }
        let local = host.clock().read(now);
        let Some(worker) = &host.worker else { return };
        if worker.guarded_until > local {
            return;
        }
        let dying: Vec<Key> = worker
            .children
            .iter()
            .filter(|(_, child)| !child.outlives_lease)
            .map(|(key, _)| *key)
            .collect();
        for key in dying {
            self.kill_child(place, key);
        }
    }

    fn child(&self, place: usize, key: Key) -> Option<Child> {
        let worker = self.hosts[place].worker.as_ref()?;
        worker.children.get(&key).copied()
    }

    fn put_child(&mut self, place: usize, key: Key, mut child: Child) {
        let before = child.wake_at;
        child.wake_at = child.next();
        let Some(worker) = &mut self.hosts[place].worker else {
            return;
        };
        worker.children.insert(key, child);
        // What was noted before wakes it too early at worst, and is void then.
        if child.wake_at != before {
            self.wake_child_at(place, key, child.wake_at);
        }
    }

    fn wake_child_at(&mut self, place: usize, key: Key, at: Moment) {
        if at < Moment(u64::MAX) {
            let epoch = self.hosts[place].epoch;
            self.at(at, Occurrence::MoveChild { place, epoch, key });
        }
    }
}
