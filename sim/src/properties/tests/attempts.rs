//! P6 to P9, P12, P14 to P16, P21 and P22: attempts, and what workers do with them.

use super::{
    super::{
        Observation, audit_trail::AuditTrail, capacity::Capacity, exclusive_run::ExclusiveRun,
        healthy_only::HealthyOnly, legal_moves::LegalMoves, one_attempt::OneAttempt,
        over_before_next::OverBeforeNext, placement::Placement, retries::Retries,
        silence_heard::SilenceHeard,
    },
    rig::{ALICE, BOB, CLOCK, Rig, W, began, heartbeat, kind, leader, local, record, row},
};
use crate::{model::store::Change, worker::Deed};
use niyanta_core::{
    Config, Effect, Event,
    batch::{Actor, AuditDetails, Batch, WorkerWrite},
    fleet::WorkerStatus,
    ids::{Attempt, BatchNumber, Generation, WorkloadId},
    time::{Duration, Timestamp},
    workload::{AuditKind, Cause, Desired, ErrorType},
};
use std::sync::Arc;

const LEASE: Duration = Duration::from_secs(10);

#[test]
fn p6_only_legal_moves() {
    let (mut rig, mut p6) = (Rig::new(), LegalMoves);
    rig.assigned(&mut p6, W);
    let ended = rig.write(W, &[AuditKind::Completed]);
    let mut rig_again = Rig::new();
    let mut illegal = LegalMoves;
    rig_again.assigned(&mut illegal, W);
    let write = rig_again.write(W, &[AuditKind::Scheduled]);
    let change = rig_again.forged(1, 9, vec![write]);
    assert!(rig_again.show_changes(&mut illegal, &[change]).is_err());
    let changes = rig.land(vec![ended], vec![]);
    assert_eq!(rig.show_changes(&mut p6, &changes), Ok(()));
    for kind in [
        AuditKind::Cancelled,
        AuditKind::Retrying,
        AuditKind::Completed,
    ] {
        let write = rig.write(W, &[kind]);
        let change = rig.forged(1, 9, vec![write]);
        assert!(
            rig.show_changes(&mut p6, &[change]).is_err(),
            "{kind} after the end"
        );
    }
}

#[test]
fn p7_a_report_counts_for_an_attempt_that_finished() {
    let (mut rig, mut p7) = (Rig::new(), OneAttempt::default());
    rig.assigned(&mut p7, W);
    let write = rig.write(W, &[AuditKind::Completed]);
    let change = rig.forged(1, 9, vec![write]);
    assert!(
        rig.show_changes(&mut p7, std::slice::from_ref(&change))
            .is_err()
    );
    let finished = Deed::Finished {
        workload: W,
        attempt: Attempt(1),
        completed: true,
    };
    assert_eq!(rig.worker_does(&mut p7, 0, &finished), Ok(()));
    assert_eq!(rig.show_changes(&mut p7, &[change]), Ok(()));
}

#[test]
fn p7_no_second_attempt_beside_an_open_one() {
    let (mut rig, mut p7) = (Rig::new(), OneAttempt::default());
    rig.assigned(&mut p7, W);
    let write = rig.write(W, &[AuditKind::Scheduled]);
    let change = rig.forged(1, 9, vec![write]);
    assert!(rig.show_changes(&mut p7, &[change]).is_err());
}

#[test]
fn p8_no_two_workers_run_a_workload_under_leases() {
    let (mut rig, mut p8) = (Rig::new(), ExclusiveRun);
    rig.assigned(&mut p8, W);
    rig.renew(&mut p8, 0, 1, LEASE);
    assert_eq!(rig.worker_does(&mut p8, 0, &began(W, 1)), Ok(()));
    rig.wait(Duration::from_secs(5));
    rig.renew(&mut p8, 1, 1, LEASE);
    assert!(rig.worker_does(&mut p8, 1, &began(W, 2)).is_err());
    // After the first one's lease it is another matter.
    rig.wait(Duration::from_secs(5));
    assert_eq!(rig.worker_does(&mut p8, 1, &began(W, 2)), Ok(()));
}

#[test]
fn p8_nothing_outlives_its_lease_but_what_a_waking_worker_is_killing() {
    let (mut rig, mut p8) = (Rig::new(), ExclusiveRun);
    rig.assigned(&mut p8, W);
    rig.renew(&mut p8, 0, 1, LEASE);
    assert_eq!(rig.worker_does(&mut p8, 0, &began(W, 1)), Ok(()));
    let stands = Observation::WorkerStands {
        place: 0,
        clock: CLOCK,
    };
    assert_eq!(rig.show(&mut p8, &stands), Ok(()));
    rig.wait(LEASE);
    assert!(rig.show(&mut p8, &stands).is_err(), "it runs on");
    assert_eq!(
        rig.worker_does(&mut p8, 0, &Deed::Killing(W, Attempt(1))),
        Ok(())
    );
    assert!(
        rig.show(&mut p8, &stands).is_err(),
        "it was killed too late"
    );
    assert_eq!(
        rig.show(&mut p8, &Observation::WorkerResumed { place: 0 }),
        Ok(())
    );
    assert_eq!(
        rig.show(&mut p8, &stands),
        Ok(()),
        "it slept, and only stops"
    );
    rig.wait(Duration::from_secs(1));
    assert!(rig.show(&mut p8, &stands).is_err(), "it takes its time");
}

#[test]
fn p8_a_lease_counts_from_the_sending() {
    let (mut rig, mut p8) = (Rig::new(), ExclusiveRun);
    rig.assigned(&mut p8, W);
    let said = Deed::Said(Arc::new(heartbeat(0, 1, 1)));
    assert_eq!(rig.worker_does(&mut p8, 0, &said), Ok(()));
    rig.wait(Duration::from_secs(6));
    let answer = super::rig::answer(0, 1, 1, LEASE);
    let heard = Deed::HeardAnswer(Arc::new(answer));
    assert_eq!(rig.worker_does(&mut p8, 0, &heard), Ok(()));
    rig.wait(Duration::from_secs(4));
    assert!(rig.worker_does(&mut p8, 0, &began(W, 1)).is_err());
}

#[test]
fn p9_nothing_ends_while_its_attempt_runs_under_a_lease() {
    let (mut rig, mut p9) = (Rig::new(), OverBeforeNext);
    rig.assigned(&mut p9, W);
    rig.renew(&mut p9, 0, 1, LEASE);
    assert_eq!(rig.worker_does(&mut p9, 0, &began(W, 1)), Ok(()));
    let write = rig.write(W, &[AuditKind::Cancelled]);
    let change = rig.forged(1, 9, vec![write]);
    assert!(
        rig.show_changes(&mut p9, std::slice::from_ref(&change))
            .is_err()
    );
    assert_eq!(
        rig.worker_does(&mut p9, 0, &Deed::Ended(W, Attempt(1))),
        Ok(())
    );
    // The stage is at the first attempt still: what landed is only told.
    let mut after = OverBeforeNext;
    let mut over = Rig::new();
    over.assigned(&mut after, W);
    let write = over.write(W, &[AuditKind::Cancelled]);
    let change = over.forged(1, 9, vec![write]);
    assert_eq!(over.show_changes(&mut after, &[change]), Ok(()));
    // And nobody begins what is not open.
    assert!(over.worker_does(&mut after, 0, &began(W, 2)).is_err());
}

#[test]
fn p12_no_more_attempts_than_slots_and_the_counters_are_true() {
    let (mut rig, mut p12) = (Rig::new(), HealthyOnly);
    rig.assigned(&mut p12, W);
    let mut p12 = Capacity;
    let full = |rig: &mut Rig, id: u128, customer| {
        let submitted = rig.submit(row(WorkloadId(id), customer), None);
        rig.show_changes(&mut Capacity, &submitted).unwrap();
        let write = rig.write(WorkloadId(id), &[AuditKind::Scheduled]);
        rig.land(vec![write], vec![])
    };
    let second = full(&mut rig, 11, ALICE);
    // The counters are not written with it, which is a fault of its own.
    let found = rig.show_changes(&mut p12, &second);
    assert!(found.is_err_and(|what| what.contains("running")));
    let narrow = rig.land(vec![], vec![WorkerWrite::Put(record("one", 1))]);
    rig.show_changes(&mut Capacity, &narrow).unwrap();
    let third = full(&mut rig, 12, BOB);
    let found = rig.show_changes(&mut p12, &third);
    assert!(found.is_err_and(|what| what.contains("room for 1")));
}

#[test]
fn p14_nothing_is_given_to_a_worker_that_is_not_healthy() {
    let (mut rig, mut p14) = (Rig::new(), HealthyOnly);
    rig.assigned(&mut p14, W);
    let draining = niyanta_core::batch::WorkerRecord {
        status: WorkerStatus::Draining,
        ..record("one", 2)
    };
    let drained = rig.land(vec![], vec![WorkerWrite::Put(draining)]);
    assert_eq!(rig.show_changes(&mut p14, &drained), Ok(()));
    let id = WorkloadId(11);
    let submitted = rig.submit(row(id, ALICE), None);
    assert_eq!(rig.show_changes(&mut p14, &submitted), Ok(()));
    let write = rig.write(id, &[AuditKind::Scheduled]);
    let assigned = rig.land(vec![write], vec![]);
    assert!(rig.show_changes(&mut p14, &assigned).is_err());
}

/// A leader says that worker `one` is dead.
fn calls_dead(rig: &mut Rig, p15: &mut SilenceHeard, number: u64) -> Result<(), String> {
    let dead = niyanta_core::batch::WorkerRecord {
        status: WorkerStatus::Dead,
        ..record("one", 2)
    };
    let batch = Batch {
        generation: Generation(1),
        incarnation: leader(1),
        number: BatchNumber(number),
        workloads: Vec::new(),
        workers: vec![WorkerWrite::Put(dead)],
        counters: Vec::new(),
    };
    handled(rig, p15, &tick(), &[Effect::Persist(Arc::new(batch))])
}

const fn tick() -> Event {
    Event::Tick {
        heard_until: Timestamp(0),
    }
}

fn handled(
    rig: &mut Rig,
    p15: &mut SilenceHeard,
    event: &Event,
    effects: &[Effect],
) -> Result<(), String> {
    let local = local(rig);
    rig.show(
        p15,
        &Observation::Handled {
            place: 0,
            local,
            event,
            effects,
            term: Some(Generation(1)),
            broken: &[],
        },
    )
}

/// A leader that listens, whose worker `one` was heard just now.
fn listening() -> (Rig, SilenceHeard) {
    let (mut rig, mut p15) = (Rig::new(), SilenceHeard::default());
    let mut config = Config::new(leader(1), 7);
    config.worker_dead_threshold = Duration::from_secs(20);
    let local = local(&rig);
    let started = Observation::CoordinatorStarted {
        place: 0,
        config: &config,
        local,
    };
    assert_eq!(rig.show(&mut p15, &started), Ok(()));
    let taken = Event::LeaseTaken {
        ask: niyanta_core::ids::AskId(1),
        generation: Generation(1),
        database_time: rig.time(),
    };
    assert_eq!(handled(&mut rig, &mut p15, &taken, &[]), Ok(()));
    rig.assigned(&mut p15, W);
    let said = heartbeat(0, 1, 1);
    let reached = Observation::WordReached {
        place: 0,
        said: &said,
    };
    assert_eq!(rig.show(&mut p15, &reached), Ok(()));
    (rig, p15)
}

#[test]
fn p15_a_worker_is_dead_only_after_a_silence_that_was_listened_through() {
    let (mut rig, mut p15) = listening();
    rig.wait(Duration::from_secs(19));
    assert!(calls_dead(&mut rig, &mut p15, 1).is_err(), "too early");
    rig.wait(Duration::from_secs(2));
    assert_eq!(calls_dead(&mut rig, &mut p15, 2), Ok(()));

    let (mut rig, mut p15) = listening();
    rig.wait(Duration::from_secs(15));
    let gap = Observation::ListeningInterrupted { place: 0 };
    assert_eq!(rig.show(&mut p15, &gap), Ok(()));
    rig.wait(Duration::from_secs(10));
    assert!(
        calls_dead(&mut rig, &mut p15, 1).is_err(),
        "there was a gap"
    );
}

#[test]
fn p15_nothing_is_taken_before_the_lease_and_the_margin_have_passed() {
    let taken = |after: u64| {
        let (mut rig, mut p15) = listening();
        rig.wait(Duration::from_secs(after));
        let mut write = rig.write(W, &[AuditKind::Redistributing, AuditKind::Requeued]);
        write.steps[0].actor = Actor::System;
        write.steps[0].details = AuditDetails::Stopped {
            cause: Cause::LeaseLost,
            worker: super::rig::worker("one"),
        };
        let batch = Batch {
            generation: Generation(1),
            incarnation: leader(1),
            number: BatchNumber(3),
            workloads: vec![write],
            workers: Vec::new(),
            counters: Vec::new(),
        };
        handled(
            &mut rig,
            &mut p15,
            &tick(),
            &[Effect::Persist(Arc::new(batch))],
        )
    };
    // 10 s of lease, 2 % and a second.
    assert!(taken(11).is_err());
    assert_eq!(taken(12), Ok(()));
}

#[test]
fn p16_the_audit_is_the_commits() {
    let (mut rig, mut p16) = (Rig::new(), AuditTrail);
    rig.assigned(&mut p16, W);
    let forged = Change::Wished {
        workload: W,
        before: Desired::Run,
        before_version: 7,
    };
    assert!(rig.show_changes(&mut p16, &[forged]).is_err());
    let (mut rig, mut p16) = (Rig::new(), AuditTrail);
    rig.assigned(&mut p16, W);
    let write = rig.write(W, &[AuditKind::Completed]);
    let unwritten = rig.forged(1, 9, vec![write]);
    assert!(
        rig.show_changes(&mut p16, &[unwritten]).is_err(),
        "no event of it"
    );
}

#[test]
fn p21_an_assignment_fits_type_time_and_wish() {
    let assign = |change: &dyn Fn(&mut niyanta_core::snapshot::WorkloadRow)| {
        let (mut rig, mut p21) = (Rig::new(), Placement);
        let mut submitted = row(W, ALICE);
        change(&mut submitted);
        let changes = rig.submit(submitted, None);
        rig.show_changes(&mut p21, &changes)?;
        let changes = rig.land(vec![], vec![WorkerWrite::Put(record("one", 2))]);
        rig.show_changes(&mut p21, &changes)?;
        let write = rig.write(W, &[AuditKind::Scheduled]);
        let changes = rig.land(vec![write], vec![]);
        rig.show_changes(&mut p21, &changes)
    };
    assert_eq!(assign(&|_| {}), Ok(()));
    assert!(assign(&|row| row.workload_type = kind("train")).is_err());
    let later = Rig::new().time().plus(Duration::from_secs(60));
    assert!(assign(&|row| row.run_after = Some(later)).is_err());
    let rules = |change: fn(&mut niyanta_core::scheduling::AffinityRules)| {
        let mut rules = niyanta_core::scheduling::AffinityRules::default();
        change(&mut rules);
        Arc::new(rules)
    };
    let elsewhere = rules(|rules| rules.hard.worker_id = Some(super::rig::worker("two")));
    assert!(assign(&|row| row.affinity = Arc::clone(&elsewhere)).is_err());
}

/// A failure that may be tried again, or not.
fn fails(rig: &Rig, number: u32, details: AuditDetails, kind: AuditKind) -> Change {
    let mut write = rig.write(W, &[kind]);
    write.steps[0].details = details;
    write.to.retry_count = number;
    rig.forged(1, u64::from(number) + 10, vec![write])
}

const fn retrying(retry: u32) -> AuditDetails {
    AuditDetails::Retrying {
        error_type: ErrorType::Transient,
        retry,
        backoff: Duration::ZERO,
    }
}

#[test]
fn p22_no_more_retries_than_allowed_and_no_fewer() {
    let (mut rig, mut p22) = (Rig::new(), Retries::default());
    rig.assigned(&mut p22, W);
    let first = fails(&rig, 1, retrying(1), AuditKind::Retrying);
    assert_eq!(rig.show_changes(&mut p22, &[first]), Ok(()));
    let second = fails(&rig, 2, retrying(2), AuditKind::Retrying);
    assert!(
        rig.show_changes(&mut p22, &[second]).is_err(),
        "one is allowed"
    );

    let (mut rig, mut p22) = (Rig::new(), Retries::default());
    rig.assigned(&mut p22, W);
    let failed = AuditDetails::Failed {
        error_type: ErrorType::Transient,
    };
    let early = fails(&rig, 0, failed, AuditKind::Failed);
    assert!(
        rig.show_changes(&mut p22, &[early]).is_err(),
        "a retry was left"
    );
    let forgotten = fails(&rig, 0, retrying(1), AuditKind::Retrying);
    assert!(
        rig.show_changes(&mut p22, &[forgotten]).is_err(),
        "not counted"
    );
}

#[test]
fn p22_losses_in_a_row_end_it() {
    let lost = |rig: &Rig| {
        let mut write = rig.write(W, &[AuditKind::Redistributing, AuditKind::Requeued]);
        write.steps[0].actor = Actor::System;
        write.steps[0].details = AuditDetails::Stopped {
            cause: Cause::LeaseLost,
            worker: super::rig::worker("one"),
        };
        rig.forged(1, 9, vec![write])
    };
    let (mut rig, mut p22) = (Rig::new(), Retries::default());
    rig.assigned(&mut p22, W);
    let once = lost(&rig);
    assert_eq!(
        rig.show_changes(&mut p22, std::slice::from_ref(&once)),
        Ok(())
    );
    assert!(rig.show_changes(&mut p22, &[once]).is_err(), "two end it");
}
