//! P23: bounded wait.

use super::{
    super::{Observation, fair_order::FairOrder},
    rig::{ALICE, BOB, Rig, heartbeat, local, record, row},
};
use niyanta_core::{
    Event,
    batch::WorkerWrite,
    ids::{CustomerId, Generation, WorkloadId},
    snapshot::Snapshot,
    time::{Duration, Timestamp},
    workload::AuditKind,
};

/// A leader that has led in peace for so long, whose worker `one` has two free slots.
fn peaceful(length: Duration, submitted: &[(u128, CustomerId)]) -> (Rig, FairOrder) {
    let (mut rig, mut p23) = (Rig::new(), FairOrder::default());
    let loaded = Event::SnapshotLoaded {
        generation: Generation(1),
        snapshot: Box::new(Snapshot {
            fence: rig.store.fence().clone(),
            longest_ttl: Duration::from_secs(10),
            workers: Vec::new(),
            customers: Vec::new(),
            open: Vec::new(),
            waiting: Vec::new(),
            next: None,
        }),
        database_time: rig.time(),
    };
    assert_eq!(handled(&mut rig, &mut p23, &loaded), Ok(()));
    let registered = rig.land(vec![], vec![WorkerWrite::Put(record("one", 2))]);
    assert_eq!(rig.show_changes(&mut p23, &registered), Ok(()));
    for (id, customer) in submitted {
        let changes = rig.submit(row(WorkloadId(*id), *customer), None);
        assert_eq!(rig.show_changes(&mut p23, &changes), Ok(()));
        rig.wait(Duration::from_millis(1));
    }
    let step = Duration::from_secs(1);
    let mut waited = Duration::ZERO;
    while waited < length {
        let said = heartbeat(0, 1, 1);
        let reached = Observation::WordReached {
            place: 0,
            said: &said,
        };
        assert_eq!(rig.show(&mut p23, &reached), Ok(()));
        assert_eq!(handled(&mut rig, &mut p23, &tick()), Ok(()));
        rig.wait(step);
        waited += step;
    }
    (rig, p23)
}

fn handled(rig: &mut Rig, p23: &mut FairOrder, event: &Event) -> Result<(), String> {
    let local = local(rig);
    rig.show(
        p23,
        &Observation::Handled {
            place: 0,
            local,
            event,
            effects: &[],
            term: Some(Generation(1)),
            broken: &[],
        },
    )
}

const fn tick() -> Event {
    Event::Tick {
        heard_until: Timestamp(0),
    }
}

fn assigns(rig: &mut Rig, p23: &mut FairOrder, id: u128) -> Result<(), String> {
    let write = rig.write(WorkloadId(id), &[AuditKind::Scheduled]);
    let changes = rig.land(vec![write], vec![]);
    rig.show_changes(p23, &changes)
}

/// A little longer than a round of the sweep may take with the rig's interval of a second, three of
/// them and two statements that are answered at the last moment; the leader sweeps meanwhile.
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(2);

#[test]
fn the_first_in_line_is_placed_first() {
    let line = [(10, ALICE), (11, ALICE)];
    let (mut rig, mut p23) = peaceful(LONG, &line);
    assert_eq!(assigns(&mut rig, &mut p23, 10), Ok(()));
    assert_eq!(assigns(&mut rig, &mut p23, 11), Ok(()));
    let (mut rig, mut p23) = peaceful(LONG, &line);
    assert!(assigns(&mut rig, &mut p23, 11).is_err());
    // Nothing is owed for what the leader may not have seen.
    let (mut rig, mut p23) = peaceful(SHORT, &line);
    assert_eq!(assigns(&mut rig, &mut p23, 11), Ok(()));
}

#[test]
fn what_could_be_placed_all_the_time_is_placed() {
    let (mut rig, mut p23) = peaceful(LONG, &[(10, ALICE)]);
    assert!(handled(&mut rig, &mut p23, &tick()).is_err());
    let (mut rig, mut p23) = peaceful(SHORT, &[(10, ALICE)]);
    assert_eq!(handled(&mut rig, &mut p23, &tick()), Ok(()));
    let (mut rig, mut p23) = peaceful(LONG, &[(10, ALICE)]);
    assert_eq!(
        rig.show(&mut p23, &Observation::CoordinatorGone { place: 0 }),
        Ok(())
    );
    assert_eq!(handled(&mut rig, &mut p23, &tick()), Ok(()));
}

#[test]
fn a_slot_goes_to_the_smaller_share() {
    let line = [(10, ALICE), (11, ALICE), (12, BOB)];
    let (mut rig, mut p23) = peaceful(LONG, &line);
    assert_eq!(assigns(&mut rig, &mut p23, 10), Ok(()));
    assert_eq!(assigns(&mut rig, &mut p23, 12), Ok(()));
    let (mut rig, mut p23) = peaceful(LONG, &line);
    assert_eq!(assigns(&mut rig, &mut p23, 10), Ok(()));
    let second = assigns(&mut rig, &mut p23, 11);
    assert!(second.is_err(), "one of Alice's runs, none of Bob's");
}
