//! P5: no decision is told to a worker before its commit.

use super::{Observation, Property, View};
use crate::model::store::Change;
use niyanta_core::{
    Effect, Event, Reply, ReplyStatus, Request, WorkerMessage,
    batch::WorkerWrite,
    ids::{Attempt, Incarnation, RequestId, WorkerId, WorkloadId},
    time::Duration,
    workload::Cause,
};
use std::collections::{BTreeMap, BTreeSet};

/// P5.
#[derive(Default)]
pub(crate) struct ToldAfterCommit {
    assigned: BTreeSet<(WorkloadId, Attempt, Incarnation)>,
    leases: BTreeMap<(WorkerId, Incarnation), Duration>,
    asked: BTreeMap<(usize, RequestId), Request>,
}

impl Property for ToldAfterCommit {
    const NAME: &'static str = "P5";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CoordinatorStarted { place, .. } => {
                self.asked.retain(|(other, _), _| other != place);
                Ok(())
            }
            Observation::Handled {
                place,
                event: Event::Request(request),
                ..
            } => {
                self.asked
                    .insert((*place, request.reply_to), request.clone());
                Ok(())
            }
            Observation::Committed {
                change: Change::Batch { batch, .. },
            } => {
                for write in &batch.workloads {
                    if let Some((_, incarnation)) = &write.to.worker {
                        let key = (write.id, write.to.attempt, incarnation.clone());
                        self.assigned.insert(key);
                    }
                }
                for write in &batch.workers {
                    if let WorkerWrite::Put(record) = write {
                        let key = (record.worker.clone(), record.incarnation.clone());
                        self.leases.insert(key, record.longest_lease);
                    }
                }
                Ok(())
            }
            Observation::CarriedOut { place, effect } => self.check(view, *place, effect),
            _ => Ok(()),
        }
    }
}

impl ToldAfterCommit {
    fn check(&mut self, view: View<'_>, place: usize, effect: &Effect) -> Result<(), String> {
        match effect {
            Effect::Assign {
                workload,
                attempt,
                incarnation,
                ..
            } => {
                let key = (*workload, *attempt, incarnation.clone());
                if self.assigned.contains(&key) {
                    Ok(())
                } else {
                    Err(format!(
                        "c{place} assigns {workload} attempt {attempt} uncommitted"
                    ))
                }
            }
            Effect::Stop { order, .. } if order.cause == Cause::Cancelled => {
                let wished = view.store.workload(order.workload).is_some_and(|found| {
                    found.row.desired == niyanta_core::workload::Desired::Cancel
                });
                if wished {
                    Ok(())
                } else {
                    Err(format!(
                        "c{place} stops {} as cancelled: nobody did",
                        order.workload
                    ))
                }
            }
            Effect::Reply { to, reply, .. } => match self.asked.remove(&(place, *to)) {
                Some(request) => self.check_reply(view, place, &request, reply),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn check_reply(
        &self,
        view: View<'_>,
        place: usize,
        request: &Request,
        reply: &Reply,
    ) -> Result<(), String> {
        let ok = matches!(
            reply.status,
            ReplyStatus::Ok | ReplyStatus::OkContentRefused
        );
        if !ok {
            return Ok(());
        }
        let who = &request.worker;
        match &request.body {
            WorkerMessage::Register { .. } | WorkerMessage::Heartbeat { .. } => {
                let key = (who.clone(), request.incarnation.clone());
                match self.leases.get(&key) {
                    Some(longest) if reply.lease <= *longest => Ok(()),
                    Some(longest) => Err(format!(
                        "c{place} tells {who} a lease of {:?}, {longest:?} is committed",
                        reply.lease
                    )),
                    None => Err(format!("c{place} takes {who} for registered, uncommitted")),
                }
            }
            WorkerMessage::Completed {
                workload, attempt, ..
            }
            | WorkerMessage::Failed {
                workload, attempt, ..
            }
            | WorkerMessage::Stopped {
                workload, attempt, ..
            } => {
                let open = view.store.workload(*workload).is_some_and(|found| {
                    let leader = &found.row.leader;
                    let mine = leader
                        .worker
                        .as_ref()
                        .is_some_and(|(_, incarnation)| *incarnation == request.incarnation);
                    leader.status.has_open_attempt() && leader.attempt == *attempt && mine
                });
                if open {
                    Err(format!(
                        "c{place} acknowledges the end of {workload} attempt {attempt}, uncommitted"
                    ))
                } else {
                    Ok(())
                }
            }
            WorkerMessage::Started { .. }
            | WorkerMessage::Checkpoint { .. }
            | WorkerMessage::Deregister => Ok(()),
        }
    }
}
