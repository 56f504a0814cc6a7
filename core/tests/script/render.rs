//! Turns into text: one line for an event, one for each effect, one for each row that is written.
//!
//! A line of an event begins with its moment and its kind, one of an effect with `->` and its kind.
//! What a leader does again and again (renewals, probes, sweeps, heartbeats that say nothing) is left
//! out, unless the script asks for everything.

use super::super::rig::{Seen, store::wall};
use niyanta_core::{
    Effect, Event, Reply, ReplyStatus, Request, StopOrder, WorkerMessage,
    batch::{Actor, AuditDetails, AuditStep, Batch, WorkerWrite, WorkloadWrite},
    ids::{Attempt, Generation, Incarnation, WorkerId, WorkloadId},
    scheduling::PendingReason,
    snapshot::{FenceRow, LeaseRow, Load, Loaded, Snapshot},
    time::{Timestamp, WallTime},
};

pub(crate) struct Renderer {
    pub(crate) origin: Timestamp,
    pub(crate) everything: bool,
}

impl Renderer {
    /// The lines of one turn; none when there is nothing to see.
    pub(crate) fn turn(&self, seen: &Seen) -> Vec<String> {
        let effects: Vec<&Effect> = seen
            .effects
            .iter()
            .filter(|effect| self.everything || !is_routine(effect, &seen.event))
            .collect();
        if effects.is_empty() && !self.everything && is_quiet(&seen.event) {
            return Vec::new();
        }
        let at = seen.at.since(self.origin);
        let moment = format!("{}.{:03}", at.as_secs(), at.subsec_millis());
        let mut lines = vec![format!("  {moment:>8}  {}", self.event(&seen.event))];
        for effect in effects {
            for (n, line) in self.effect(effect).into_iter().enumerate() {
                let lead = if n == 0 { "-> " } else { "     " };
                lines.push(format!("            {lead}{line}"));
            }
        }
        lines
    }

    pub(crate) fn wall(&self, moment: WallTime) -> String {
        let origin = wall(self.origin);
        if moment >= origin {
            format!("{:?}", moment.since(origin))
        } else {
            format!("-{:?}", origin.since(moment))
        }
    }

    fn event(&self, event: &Event) -> String {
        let kind = event.kind();
        let said = match event {
            Event::Tick { .. }
            | Event::WorkersHinted
            | Event::ListeningInterrupted
            | Event::ShutdownRequested => String::new(),
            Event::LeaseTaken {
                ask, generation, ..
            }
            | Event::LeaseRenewed {
                ask, generation, ..
            }
            | Event::LeaseLost { ask, generation } => format!("ask {ask}: generation {generation}"),
            Event::LeaseRefused { ask, row, .. } | Event::LeaseRead { ask, row, .. } => {
                format!("ask {ask}: {}", lease_row(row))
            }
            Event::LeaseUnknown { ask } | Event::LeaseUnanswered { ask } => format!("ask {ask}"),
            Event::LeaseResigned { generation }
            | Event::SnapshotFailed { generation }
            | Event::GenerationSeen(generation)
            | Event::LeaderResigned(generation) => format!("generation {generation}"),
            Event::SnapshotLoaded {
                generation,
                snapshot,
                ..
            } => format!("generation {generation}: {}", snapshot_text(snapshot)),
            Event::PersistAnswered {
                generation,
                number,
                outcome,
            } => format!("{generation}/{number}: {outcome:?}"),
            Event::FenceRead { row, .. } => fence_text(row.as_ref()),
            Event::Loaded { load, rows, .. } => {
                format!("load {load}: {}", loaded_text(rows.as_deref()))
            }
            Event::Request(request) => request_text(request),
            Event::WorkloadsHinted(ids) => list(ids.iter().map(|id| id.0)),
            Event::CustomersHinted(ids) => list(ids.iter().map(|id| id.0)),
            Event::ProbeHeard { nonce } => format!("{nonce:x}"),
        };
        format!("{kind} {said}").trim_end().to_owned()
    }

    #[expect(clippy::too_many_lines, reason = "one text for each variant")]
    fn effect(&self, effect: &Effect) -> Vec<String> {
        let kind = effect.kind();
        let said = match effect {
            Effect::TakeLease {
                ask,
                above,
                own,
                force,
                ttl,
                within,
            } => {
                let own = own.map(|own| format!(", own {own}")).unwrap_or_default();
                let force = if *force { ", whatever it says" } else { "" };
                format!("ask {ask}: above {above}{own}{force}, for {ttl:?} within {within:?}")
            }
            Effect::ReadLease { ask, within } => format!("ask {ask}: within {within:?}"),
            Effect::RenewLease {
                ask,
                generation,
                ttl,
                within,
            } => format!("ask {ask}: generation {generation} for {ttl:?} within {within:?}"),
            Effect::ResignLease { generation }
            | Effect::AnnounceResignation { generation }
            | Effect::AnnounceLeader { generation } => format!("generation {generation}"),
            Effect::ProbeBroker { nonce } => format!("{nonce:x}"),
            Effect::LoadSnapshot { generation, limit } => {
                format!("generation {generation}: at most {limit} that wait")
            }
            Effect::Persist(batch) => return self.batch(batch),
            Effect::ReadFence { generation, number } => format!("{generation}/{number}"),
            Effect::Load { load, what, .. } => format!("{load}: {}", self.load(what)),
            Effect::RecordPendingReasons { reasons, .. } => {
                let told = reasons
                    .iter()
                    .map(|(id, attempt, reason)| self.reason(*id, *attempt, reason));
                list(told)
            }
            Effect::RecordHeartbeats { heard, .. } => list(
                heard
                    .iter()
                    .map(|(id, incarnation, ago)| format!("{id}/{incarnation} {ago:?} ago")),
            ),
            Effect::Reply { to, reply, .. } => format!("{to}: {}", reply_text(reply)),
            Effect::Forget { to } => format!("{to}"),
            Effect::Assign {
                worker,
                incarnation,
                workload,
                attempt,
                heartbeat_sequence,
                ..
            } => format!(
                "{worker}/{incarnation}: {} attempt {attempt}, heard {heartbeat_sequence}",
                workload.0
            ),
            Effect::Stop {
                worker,
                incarnation,
                order,
                ..
            } => format!("{worker}/{incarnation}: {}", order_text(order)),
            Effect::DrainWorker {
                worker,
                incarnation,
                deadline,
                ..
            } => {
                let by = deadline.map(|by| format!(" within {by:?}"));
                format!("{worker}/{incarnation}{}", by.unwrap_or_default())
            }
            Effect::Exit { reason } => format!("{reason:?}"),
        };
        vec![format!("{kind} {said}")]
    }

    fn batch(&self, batch: &Batch) -> Vec<String> {
        let mut lines = vec![format!("persist {}/{}", batch.generation, batch.number)];
        lines.extend(batch.workloads.iter().map(|write| self.write(write)));
        lines.extend(batch.workers.iter().map(worker_write));
        lines.extend(batch.counters.iter().map(|counter| {
            format!(
                "customer {}: left_queue +{}, running {:+}",
                counter.customer.0, counter.left_queue, counter.running
            )
        }));
        lines
    }

    fn write(&self, write: &WorkloadWrite) -> String {
        let to = &write.to;
        let mut text = format!(
            "{}: {}/{} -> {}/{}",
            write.id.0, write.from_status, write.from_attempt, to.status, to.attempt
        );
        let mut note = |holds: bool, what: String| {
            if holds {
                text.push_str(", ");
                text.push_str(&what);
            }
        };
        if let Some((worker, incarnation)) = &to.worker {
            note(true, format!("on {worker}/{incarnation}"));
        }
        if let Some(cause) = to.stopping {
            note(true, format!("stopping {cause}"));
        }
        note(to.retry_count > 0, format!("retries {}", to.retry_count));
        note(to.loss_count > 0, format!("losses {}", to.loss_count));
        if let Some(until) = to.backoff_until {
            note(true, format!("not before {}", self.wall(until)));
        }
        if let Some(error) = to.error_type {
            note(true, format!("error {error}"));
        }
        note(to.wish_seen.0 > 0, format!("wish {} seen", to.wish_seen));
        for step in &write.steps {
            note(true, step_text(step));
        }
        for (stamp, name) in [
            (write.stamp_scheduled, "scheduled_at"),
            (write.stamp_started, "started_at"),
            (write.stamp_completed, "completed_at"),
        ] {
            note(stamp, format!("stamp {name}"));
        }
        text
    }

    fn load(&self, what: &Load) -> String {
        match what {
            Load::Workloads(ids) => format!("workloads {}", list(ids.iter().map(|id| id.0))),
            Load::Wishes => "wishes".into(),
            Load::Backlog { customer, .. } => format!("backlog of customer {}", customer.0),
            Load::Sweep { .. } => "sweep".into(),
            Load::Eligible { after, until } => {
                let (after, until) = (self.wall(*after), self.wall(*until));
                format!("eligible after {after} up to {until}")
            }
            Load::WorkerWishes => "wishes for workers".into(),
            Load::Customers(ids) => format!("customers {}", list(ids.iter().map(|id| id.0))),
        }
    }

    fn reason(&self, id: WorkloadId, attempt: Attempt, reason: &PendingReason) -> String {
        let detail = match reason {
            PendingReason::NoCapableWorker { workers } => format!("{workers} workers"),
            PendingReason::NoCapacity { capable }
            | PendingReason::Affinity { capable }
            | PendingReason::AntiAffinity { capable } => format!("{capable} capable"),
            PendingReason::CustomerLimit { running, limit } => format!("{running} of {limit}"),
            PendingReason::RetryBackoff { until } | PendingReason::RunAfter { until } => {
                format!("until {}", self.wall(*until))
            }
        };
        format!("{}/{attempt} {} ({detail})", id.0, reason.code().as_str())
    }
}

/// What a leader does again and again.
fn is_routine(effect: &Effect, event: &Event) -> bool {
    match effect {
        Effect::RenewLease { .. }
        | Effect::ProbeBroker { .. }
        | Effect::RecordHeartbeats { .. }
        | Effect::Load {
            what: Load::Wishes | Load::Sweep { .. } | Load::Eligible { .. } | Load::WorkerWishes,
            ..
        } => true,
        Effect::Reply { reply, .. } => {
            is_heartbeat(event) && reply.status == ReplyStatus::Ok && reply.stop.is_empty()
        }
        Effect::TakeLease { .. }
        | Effect::ReadLease { .. }
        | Effect::ResignLease { .. }
        | Effect::AnnounceResignation { .. }
        | Effect::AnnounceLeader { .. }
        | Effect::LoadSnapshot { .. }
        | Effect::Persist(_)
        | Effect::ReadFence { .. }
        | Effect::Load { .. }
        | Effect::RecordPendingReasons { .. }
        | Effect::Forget { .. }
        | Effect::Assign { .. }
        | Effect::Stop { .. }
        | Effect::DrainWorker { .. }
        | Effect::Exit { .. } => false,
    }
}

/// What is not worth a line when nothing came of it.
fn is_quiet(event: &Event) -> bool {
    let routine = matches!(
        event,
        Event::Tick { .. }
            | Event::LeaseRenewed { .. }
            | Event::ProbeHeard { .. }
            | Event::Loaded { .. }
    );
    routine || is_heartbeat(event)
}

const fn is_heartbeat(event: &Event) -> bool {
    matches!(
        event,
        Event::Request(Request {
            body: WorkerMessage::Heartbeat { .. },
            ..
        })
    )
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    items.join(", ")
}

fn lease_row(row: &LeaseRow) -> String {
    let how = if row.resigned {
        "resigned".to_owned()
    } else {
        format!("{:?} left", row.remaining)
    };
    format!("{} of {}, {how}", row.generation, row.incarnation)
}

fn fence_text(row: Option<&FenceRow>) -> String {
    row.map_or_else(
        || "failed".to_owned(),
        |row| format!("{}/{} of {}", row.generation, row.applied, row.incarnation),
    )
}

fn snapshot_text(snapshot: &Snapshot) -> String {
    format!(
        "fence {}; {} workers, {} open, {} waiting",
        fence_text(Some(&snapshot.fence)),
        snapshot.workers.len(),
        snapshot.open.len(),
        snapshot.waiting.len()
    )
}

fn loaded_text(rows: Option<&Loaded>) -> String {
    let Some(rows) = rows else {
        return "failed".into();
    };
    let workloads = rows.workloads.iter().map(|row| {
        let leader = &row.leader;
        let place = format!("{}/{}", leader.status, leader.attempt);
        format!("{} {place} wished {}", row.id.0, row.desired)
    });
    let workers = rows
        .workers
        .iter()
        .map(|row| format!("{} wished {}", row.record.worker, row.desired));
    let text = list(workloads.chain(workers));
    if text.is_empty() {
        "nothing".into()
    } else {
        text
    }
}

fn request_text(request: &Request) -> String {
    let said = match &request.body {
        WorkerMessage::Register {
            capabilities,
            capacity,
            replaces,
            ..
        } => {
            let types = list(capabilities.iter());
            let replaces = replaces.as_ref().map(|old| format!(", replaces {old}"));
            format!("{types}, {capacity} slots{}", replaces.unwrap_or_default())
        }
        WorkerMessage::Heartbeat { status, running } => {
            let runs = running.iter().map(|(id, attempt)| on(*id, *attempt));
            format!("{status}, runs [{}]", list(runs))
        }
        WorkerMessage::Started { workload, attempt } => on(*workload, *attempt),
        WorkerMessage::Checkpoint {
            workload,
            attempt,
            checkpoint_sequence,
            content,
        } => format!(
            "{} number {checkpoint_sequence}, content {content:?}",
            on(*workload, *attempt)
        ),
        WorkerMessage::Completed {
            workload,
            attempt,
            content,
        } => format!("{}, content {content:?}", on(*workload, *attempt)),
        WorkerMessage::Failed {
            workload,
            attempt,
            error_type,
            content,
        } => format!(
            "{} {error_type}, content {content:?}",
            on(*workload, *attempt)
        ),
        WorkerMessage::Stopped {
            workload,
            attempt,
            cause,
        } => format!("{} {cause}", on(*workload, *attempt)),
        WorkerMessage::Deregister => String::new(),
    };
    let seen = match request.generation_seen {
        Generation::ZERO => String::new(),
        seen => format!(", seen {seen}"),
    };
    format!(
        "{} {}/{} #{}: {said}{seen}",
        request.reply_to, request.worker, request.incarnation, request.sequence
    )
    .trim_end_matches([' ', ':'])
    .to_owned()
}

fn on(workload: WorkloadId, attempt: Attempt) -> String {
    format!("{}/{attempt}", workload.0)
}

fn reply_text(reply: &Reply) -> String {
    let stops = reply.stop.iter().map(order_text);
    let stops = list(stops);
    let stops = if stops.is_empty() {
        stops
    } else {
        format!(", stop [{stops}]")
    };
    format!("{:?}, lease {:?}{stops}", reply.status, reply.lease)
}

fn order_text(order: &StopOrder) -> String {
    format!(
        "{} {} within {:?}",
        on(order.workload, order.attempt),
        order.cause,
        order.deadline
    )
}

fn step_text(step: &AuditStep) -> String {
    let actor = match &step.actor {
        Actor::Coordinator => "coordinator".to_owned(),
        Actor::Worker(worker) => format!("worker {worker}"),
        Actor::System => "system".to_owned(),
    };
    let details = match &step.details {
        AuditDetails::None => String::new(),
        AuditDetails::Assigned { checkpoint, .. } => checkpoint
            .map(|(attempt, sequence)| format!(" from checkpoint {attempt}/{sequence}"))
            .unwrap_or_default(),
        AuditDetails::Stopped { cause, worker } => format!(" ({cause} on {worker})"),
        AuditDetails::Retrying {
            error_type, retry, ..
        } => format!(" ({error_type}, retry {retry})"),
        AuditDetails::Failed { error_type } => format!(" ({error_type})"),
    };
    format!("{} by {actor}{details}", step.kind)
}

fn worker_write(write: &WorkerWrite) -> String {
    match write {
        WorkerWrite::Put(record) => {
            let name = name(&record.worker, &record.incarnation);
            let stamp = if record.stamp_registered {
                ", stamp registered_at"
            } else {
                ""
            };
            let lease = record.longest_lease;
            format!(
                "{name}: {}, {} slots, longest lease {lease:?}, wish {} seen{stamp}",
                record.status, record.capacity, record.wish_seen
            )
        }
        WorkerWrite::Remove { worker } => format!("{worker}: deleted"),
    }
}

fn name(worker: &WorkerId, incarnation: &Incarnation) -> String {
    format!("{worker}/{incarnation}")
}
