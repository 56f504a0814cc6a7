//! P10, P11, P13, P18 and P19: what customers are told.

use super::{
    super::{
        Property, acknowledged::Acknowledged, idempotency::OnePerKey, limits::Limits,
        read_your_writes::ReadYourWrites, tenants::Tenants,
    },
    rig::{ALICE, BOB, Rig, W, call, record, row, told},
};
use crate::{
    model::store::Change,
    properties::Observation,
    world::{ApiAnswer, ApiAsk},
};
use niyanta_core::{
    Effect, Event,
    batch::{Batch, WorkerWrite},
    ids::{BatchNumber, CustomerId, Generation, WishRevision, WorkloadId},
    snapshot::{CustomerRow, Loaded},
    workload::{AuditKind, Desired, Status},
};
use std::sync::Arc;

fn submit(id: WorkloadId, customer: CustomerId, key: Option<u64>) -> ApiAsk {
    ApiAsk::Submit {
        row: Box::new(row(id, customer)),
        key,
    }
}

const fn get(workload: WorkloadId, customer: CustomerId) -> ApiAsk {
    ApiAsk::Get { customer, workload }
}

/// The submission of `W` by Alice lands.
fn landed<P: Property>(rig: &mut Rig, property: &mut P, key: Option<u64>) {
    let changes = rig.submit(row(W, ALICE), key);
    assert_eq!(rig.show_changes(property, &changes), Ok(()));
}

#[test]
fn p10_what_is_acknowledged_is_there() {
    let (mut rig, mut p10) = (Rig::new(), Acknowledged::default());
    let asked = call(1, 0, rig.now, submit(W, ALICE, None));
    assert!(told(&mut rig, &mut p10, &asked, &ApiAnswer::Submitted(W)).is_err());
    let (mut rig, mut p10) = (Rig::new(), Acknowledged::default());
    landed(&mut rig, &mut p10, None);
    assert_eq!(
        told(&mut rig, &mut p10, &asked, &ApiAnswer::Submitted(W)),
        Ok(())
    );
    assert_eq!(rig.show(&mut p10, &Observation::Settled), Ok(()));
    let wish = ApiAsk::Wish {
        customer: ALICE,
        workload: W,
        desired: Desired::Cancel,
    };
    let wish = call(2, 0, rig.now, wish);
    let recorded = ApiAnswer::Wished {
        revision: WishRevision(1),
        version: 2,
    };
    assert!(told(&mut rig, &mut p10, &wish, &recorded).is_err());
}

#[test]
fn p10_what_is_denied_never_is() {
    for denied in [ApiAnswer::QueueFull, ApiAnswer::Unavailable] {
        let (mut rig, mut p10) = (Rig::new(), Acknowledged::default());
        let asked = call(1, 0, rig.now, submit(W, ALICE, None));
        assert_eq!(told(&mut rig, &mut p10, &asked, &denied), Ok(()));
        let late = rig.submit(row(W, ALICE), None);
        assert!(rig.show_changes(&mut p10, &late).is_err(), "{denied:?}");
    }
    let (mut rig, mut p10) = (Rig::new(), Acknowledged::default());
    let asked = call(1, 0, rig.now, submit(W, ALICE, None));
    assert_eq!(
        told(&mut rig, &mut p10, &asked, &ApiAnswer::TimedOut),
        Ok(())
    );
    landed(&mut rig, &mut p10, None);
}

#[test]
fn p10_a_cancel_is_never_undone() {
    let (mut rig, mut p10) = (Rig::new(), Acknowledged::default());
    let wished = |before| Change::Wished {
        workload: W,
        before,
        before_version: 1,
    };
    assert_eq!(
        rig.show_changes(&mut p10, &[wished(Desired::Pause)]),
        Ok(())
    );
    assert!(
        rig.show_changes(&mut p10, &[wished(Desired::Cancel)])
            .is_err()
    );
}

#[test]
fn p11_one_workload_for_a_key() {
    let (mut rig, mut p11) = (Rig::new(), OnePerKey::default());
    landed(&mut rig, &mut p11, Some(7));
    let submitted = |workload, customer| Change::Submitted {
        workload,
        customer,
        key: Some(7),
    };
    let other = WorkloadId(11);
    assert_eq!(rig.show_changes(&mut p11, &[submitted(other, BOB)]), Ok(()));
    let asked = call(1, 0, rig.now, submit(WorkloadId(12), ALICE, Some(7)));
    assert_eq!(
        told(&mut rig, &mut p11, &asked, &ApiAnswer::Submitted(W)),
        Ok(())
    );
    let unmade = call(2, 0, rig.now, submit(WorkloadId(12), ALICE, Some(8)));
    assert!(told(&mut rig, &mut p11, &unmade, &ApiAnswer::Submitted(W)).is_err());
    assert!(
        rig.show_changes(&mut p11, &[submitted(other, ALICE)])
            .is_err()
    );
}

#[test]
fn p13_no_queue_above_its_limit() {
    let (mut rig, mut p13) = (Rig::new(), Limits::default());
    for id in [10, 11] {
        let changes = rig.submit(row(WorkloadId(id), ALICE), None);
        assert_eq!(rig.show_changes(&mut p13, &changes), Ok(()));
    }
    // Bob's are his own.
    let changes = rig.submit(row(WorkloadId(12), BOB), None);
    assert_eq!(rig.show_changes(&mut p13, &changes), Ok(()));
    sim_probes::plant(Some(sim_probes::Bug::QuotaIgnored));
    let changes = rig.submit(row(WorkloadId(13), ALICE), None);
    sim_probes::plant(None);
    assert!(rig.show_changes(&mut p13, &changes).is_err());
}

#[test]
fn p13_no_more_open_attempts_than_the_leader_was_told() {
    let given = |limit: u32| {
        let (mut rig, mut p13) = (Rig::new(), Limits::default());
        landed(&mut rig, &mut p13, None);
        rig.land(vec![], vec![WorkerWrite::Put(record("one", 2))]);
        let loaded = Event::Loaded {
            load: niyanta_core::ids::LoadId(1),
            rows: Some(Box::new(Loaded {
                customers: vec![CustomerRow {
                    id: ALICE,
                    weight: 1,
                    max_running: limit,
                }],
                complete: true,
                ..Loaded::default()
            })),
            database_time: rig.time(),
        };
        let write = rig.write(W, &[AuditKind::Scheduled]);
        let batch = Batch {
            generation: Generation(1),
            incarnation: super::rig::leader(1),
            number: BatchNumber(2),
            workloads: vec![write.clone()],
            workers: Vec::new(),
            counters: Vec::new(),
        };
        let local = super::rig::local(&rig);
        let handled = Observation::Handled {
            place: 0,
            local,
            event: &loaded,
            effects: &[Effect::Persist(Arc::new(batch))],
            term: Some(Generation(1)),
            broken: &[],
        };
        rig.show(&mut p13, &handled)?;
        let changes = rig.land(vec![write], vec![]);
        rig.show_changes(&mut p13, &changes)
    };
    assert_eq!(given(1), Ok(()));
    assert!(given(0).is_err());
}

#[test]
fn p18_nobody_is_told_of_anothers_workload() {
    let (mut rig, mut p18) = (Rig::new(), Tenants::default());
    landed(&mut rig, &mut p18, None);
    let got = ApiAnswer::Got(Status::Pending, Desired::Run, 1);
    let own = call(1, 0, rig.now, get(W, ALICE));
    assert_eq!(told(&mut rig, &mut p18, &own, &got), Ok(()));
    let foreign = call(2, 1, rig.now, get(W, BOB));
    assert_eq!(
        told(&mut rig, &mut p18, &foreign, &ApiAnswer::NotFound),
        Ok(())
    );
    assert!(told(&mut rig, &mut p18, &foreign, &got).is_err());
    let list = call(3, 1, rig.now, ApiAsk::List { customer: BOB });
    assert_eq!(
        told(&mut rig, &mut p18, &list, &ApiAnswer::Listed(vec![])),
        Ok(())
    );
    let all = ApiAnswer::Listed(vec![(W, 1)]);
    assert!(told(&mut rig, &mut p18, &list, &all).is_err());
    let key = call(4, 1, rig.now, submit(WorkloadId(11), BOB, Some(1)));
    assert!(told(&mut rig, &mut p18, &key, &ApiAnswer::Submitted(W)).is_err());
}

#[test]
fn p18_nobody_moves_anothers_workload() {
    let (mut rig, mut p18) = (Rig::new(), Tenants::default());
    landed(&mut rig, &mut p18, None);
    let wish = |customer| ApiAsk::Wish {
        customer,
        workload: W,
        desired: Desired::Cancel,
    };
    let wished = Change::Wished {
        workload: W,
        before: Desired::Run,
        before_version: 1,
    };
    let foreign = call(1, 1, rig.now, wish(BOB));
    let begun = Observation::CallBegun { call: &foreign };
    assert_eq!(rig.show(&mut p18, &begun), Ok(()));
    assert!(
        rig.show_changes(&mut p18, std::slice::from_ref(&wished))
            .is_err()
    );
    let own = call(2, 0, rig.now, wish(ALICE));
    assert_eq!(
        rig.show(&mut p18, &Observation::CallBegun { call: &own }),
        Ok(())
    );
    assert_eq!(rig.show_changes(&mut p18, &[wished]), Ok(()));
}

#[test]
fn p19_a_workload_never_goes_back() {
    let (mut rig, mut p19) = (Rig::new(), ReadYourWrites::default());
    let got = |version| ApiAnswer::Got(Status::Pending, Desired::Run, version);
    let read = |number, rig: &Rig| call(number, 0, rig.now, get(W, ALICE));
    let asked = call(1, 0, rig.now, submit(W, ALICE, None));
    assert_eq!(
        told(&mut rig, &mut p19, &asked, &ApiAnswer::Submitted(W)),
        Ok(())
    );
    let early = read(2, &rig);
    let first = read(3, &rig);
    assert_eq!(told(&mut rig, &mut p19, &first, &got(3)), Ok(()));
    // It was asked before anything newer was told.
    assert_eq!(told(&mut rig, &mut p19, &early, &got(2)), Ok(()));
    let late = read(4, &rig);
    assert!(told(&mut rig, &mut p19, &late, &got(2)).is_err());
    let gone = read(5, &rig);
    assert!(told(&mut rig, &mut p19, &gone, &ApiAnswer::NotFound).is_err());
}

#[test]
fn p19_a_list_shows_what_was_acknowledged() {
    let (mut rig, mut p19) = (Rig::new(), ReadYourWrites::default());
    let asked = call(1, 0, rig.now, submit(W, ALICE, None));
    assert_eq!(
        told(&mut rig, &mut p19, &asked, &ApiAnswer::Submitted(W)),
        Ok(())
    );
    let list = |number, rig: &Rig| call(number, 0, rig.now, ApiAsk::List { customer: ALICE });
    let asked = list(2, &rig);
    let shows = ApiAnswer::Listed(vec![(W, 1)]);
    assert_eq!(told(&mut rig, &mut p19, &asked, &shows), Ok(()));
    let asked = list(3, &rig);
    assert!(told(&mut rig, &mut p19, &asked, &ApiAnswer::Listed(vec![])).is_err());
}

#[test]
fn p19_what_was_told_can_have_happened_in_one_order() {
    let history = |second: Desired| {
        let (mut rig, mut p19) = (Rig::new(), ReadYourWrites::default());
        let asked = call(1, 0, rig.now, submit(W, ALICE, None));
        told(&mut rig, &mut p19, &asked, &ApiAnswer::Submitted(W))?;
        let wish = ApiAsk::Wish {
            customer: ALICE,
            workload: W,
            desired: Desired::Pause,
        };
        let wish = call(2, 0, rig.now, wish);
        let recorded = ApiAnswer::Wished {
            revision: WishRevision(1),
            version: 2,
        };
        told(&mut rig, &mut p19, &wish, &recorded)?;
        let read = call(3, 0, rig.now, get(W, ALICE));
        let got = ApiAnswer::Got(Status::Pending, second, 2);
        told(&mut rig, &mut p19, &read, &got)?;
        rig.show(&mut p19, &Observation::Settled)
    };
    assert_eq!(history(Desired::Pause), Ok(()));
    assert!(
        history(Desired::Run).is_err(),
        "the version is new, the wish is not"
    );
}
