//! P1 to P5, P17 and P20: who leads, and what leaders say.

use super::{
    super::{
        Observation, Property, commit_order::CommitOrder, first_terms::UniqueTerms,
        generations_obeyed::GenerationsObeyed, lease_held::LeaseHeld, same_effects::SameEffects,
        term_is_over::TermIsOver, told_after_commit::ToldAfterCommit,
    },
    rig::{ALICE, CLOCK, Rig, W, heartbeat, incarnation, leader, local, row, worker},
};
use crate::{
    model::store::{Change, LeaseStep},
    worker::Deed,
};
use niyanta_core::{
    Config, Effect, Event, Reply, ReplyStatus,
    batch::{Batch, WorkerWrite},
    ids::{AskId, Attempt, BatchNumber, Generation, MessageSequence, RequestId},
    time::{Duration, Timestamp},
    workload::AuditKind,
};
use std::sync::Arc;

fn batch(generation: u64, number: u64) -> Arc<Batch> {
    Arc::new(Batch {
        generation: Generation(generation),
        incarnation: leader(1),
        number: BatchNumber(number),
        workloads: Vec::new(),
        workers: Vec::new(),
        counters: Vec::new(),
    })
}

/// Core handles a tick, and wants these things.
fn handled<P: Property>(
    rig: &mut Rig,
    property: &mut P,
    term: Option<u64>,
    event: &Event,
    effects: &[Effect],
) -> Result<(), String> {
    let local = local(rig);
    rig.show(
        property,
        &Observation::Handled {
            place: 0,
            local,
            event,
            effects,
            term: term.map(Generation),
            broken: &[],
        },
    )
}

const fn tick() -> Event {
    Event::Tick {
        heard_until: Timestamp(0),
    }
}

fn config() -> Config {
    let mut config = Config::new(leader(1), 7);
    config.enable_ha = true;
    config.leader_lease_ttl = Duration::from_secs(10);
    config
}

fn started<P: Property>(rig: &mut Rig, property: &mut P) {
    let local = local(rig);
    let started = Observation::CoordinatorStarted {
        place: 0,
        config: &config(),
        local,
    };
    assert_eq!(rig.show(property, &started), Ok(()));
}

fn reply(generation: u64) -> Effect {
    Effect::Reply {
        to: RequestId(1),
        generation: Generation(generation),
        reply: Reply {
            status: ReplyStatus::Ok,
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            stop: Vec::new(),
        },
    }
}

fn landed(batch: &Arc<Batch>, rig: &Rig) -> Change {
    Change::Batch {
        batch: Arc::clone(batch),
        time: rig.time(),
        moved: Vec::new(),
    }
}

#[test]
fn p1_batches_land_in_turn_once_and_as_they_were_given() {
    let (mut rig, mut p1) = (Rig::new(), CommitOrder::default());
    let (first, second) = (batch(1, 1), batch(1, 2));
    let given = [
        Effect::Persist(Arc::clone(&first)),
        Effect::Persist(Arc::clone(&second)),
    ];
    assert!(handled(&mut rig, &mut p1, Some(1), &tick(), &given).is_ok());
    let change = landed(&first, &rig);
    assert!(
        rig.show_changes(&mut p1, std::slice::from_ref(&change))
            .is_ok()
    );
    assert!(rig.show_changes(&mut p1, &[change]).is_err(), "twice");
    let change = landed(&second, &rig);
    assert!(rig.show_changes(&mut p1, &[change]).is_ok());
    let change = landed(&batch(1, 3), &rig);
    assert!(rig.show_changes(&mut p1, &[change]).is_err(), "not given");
}

#[test]
fn p1_nothing_of_a_term_lands_after_the_next_was_taken() {
    let (mut rig, mut p1) = (Rig::new(), CommitOrder::default());
    let old = batch(1, 1);
    let given = [Effect::Persist(Arc::clone(&old))];
    assert!(handled(&mut rig, &mut p1, Some(1), &tick(), &given).is_ok());
    rig.take_lease(2);
    let change = landed(&old, &rig);
    assert!(rig.show_changes(&mut p1, &[change]).is_err());
}

#[test]
fn p1_a_number_has_one_content() {
    let (mut rig, mut p1) = (Rig::new(), CommitOrder::default());
    let given = [Effect::Persist(batch(1, 1))];
    assert!(handled(&mut rig, &mut p1, Some(1), &tick(), &given).is_ok());
    assert!(handled(&mut rig, &mut p1, Some(1), &tick(), &given).is_ok());
    let mut other = Batch::clone(&batch(1, 1));
    other.workers.push(WorkerWrite::Remove {
        worker: "worker-1".parse().expect("a valid id"),
    });
    let given = [Effect::Persist(Arc::new(other))];
    assert!(handled(&mut rig, &mut p1, Some(1), &tick(), &given).is_err());
}

#[test]
fn p2_generations_only_grow() {
    let (mut rig, mut p2) = (Rig::new(), UniqueTerms::default());
    let taken = rig.take_lease(2);
    assert_eq!(rig.show_changes(&mut p2, &taken), Ok(()));
    let next = rig.take_lease(3);
    assert_eq!(rig.show_changes(&mut p2, &next), Ok(()));
    assert!(rig.show_changes(&mut p2, &taken).is_err());
}

#[test]
fn p3_nobody_acts_after_its_own_deadline() {
    let (mut rig, mut p3) = (Rig::new(), LeaseHeld::default());
    started(&mut rig, &mut p3);
    let take = [Effect::TakeLease {
        ask: AskId(1),
        above: Generation::ZERO,
        own: None,
        force: false,
        ttl: Duration::from_secs(10),
        within: Duration::from_secs(2),
    }];
    assert!(handled(&mut rig, &mut p3, None, &tick(), &take).is_ok());
    // The answer takes long: what counts is the sending.
    rig.wait(Duration::from_secs(6));
    let taken = Event::LeaseTaken {
        ask: AskId(1),
        generation: Generation(1),
        database_time: rig.time(),
    };
    assert!(handled(&mut rig, &mut p3, Some(1), &taken, &[reply(1)]).is_ok());
    rig.wait(Duration::from_secs(4));
    assert!(handled(&mut rig, &mut p3, Some(1), &tick(), &[]).is_ok());
    assert!(handled(&mut rig, &mut p3, Some(1), &tick(), &[reply(1)]).is_err());
}

#[test]
fn p3_nobody_takes_over_before_the_lease_ends_nor_renews_anothers() {
    let (mut rig, mut p3) = (Rig::new(), LeaseHeld::default());
    let (before, time) = (rig.store.lease().clone(), rig.time());
    let step = |step, by: u32, time| Change::Lease {
        step,
        time,
        by: leader(by),
        before: before.clone(),
        after: before.clone(),
    };
    let taken = LeaseStep::Taken { forced: false };
    assert!(rig.show_changes(&mut p3, &[step(taken, 2, time)]).is_err());
    let late = time.plus(Duration::from_secs(11));
    assert!(rig.show_changes(&mut p3, &[step(taken, 2, late)]).is_ok());
    assert!(
        rig.show_changes(&mut p3, &[step(LeaseStep::Renewed, 1, time)])
            .is_ok()
    );
    assert!(
        rig.show_changes(&mut p3, &[step(LeaseStep::Renewed, 2, time)])
            .is_err()
    );
}

#[test]
fn p4_no_worker_obeys_an_older_term_nor_forgets_the_newest() {
    let (mut rig, mut p4) = (Rig::new(), GenerationsObeyed::default());
    let hears = Deed::HeardElected(Generation(3));
    assert_eq!(rig.worker_does(&mut p4, 0, &hears), Ok(()));
    let says = |seen| Deed::Said(Arc::new(heartbeat(0, seen, seen)));
    assert_eq!(rig.worker_does(&mut p4, 0, &says(3)), Ok(()));
    let mut forgetful = Rig::new();
    let mut p4_again = GenerationsObeyed::default();
    assert_eq!(forgetful.worker_does(&mut p4_again, 0, &hears), Ok(()));
    assert!(forgetful.worker_does(&mut p4_again, 0, &says(2)).is_err());
    let obeys = Deed::ObeyedOld {
        generation: Generation(2),
        seen: Generation(3),
    };
    assert!(rig.worker_does(&mut p4, 0, &obeys).is_err());
}

#[test]
fn p4_no_coordinator_leads_on_having_heard_of_a_higher_term() {
    let (mut rig, mut p4) = (Rig::new(), GenerationsObeyed::default());
    let seen = Event::GenerationSeen(Generation(5));
    assert!(handled(&mut rig, &mut p4, None, &seen, &[]).is_ok());
    assert!(handled(&mut rig, &mut p4, Some(6), &tick(), &[]).is_ok());
    assert!(handled(&mut rig, &mut p4, Some(4), &tick(), &[]).is_err());
}

#[test]
fn p5_an_assignment_is_told_after_its_commit() {
    let (mut rig, mut p5) = (Rig::new(), ToldAfterCommit::default());
    let assign = Effect::Assign {
        generation: Generation(1),
        worker: worker("one"),
        incarnation: incarnation("one-1"),
        workload: W,
        attempt: Attempt(1),
        heartbeat_sequence: MessageSequence(1),
    };
    let carried = Observation::CarriedOut {
        place: 0,
        effect: &assign,
    };
    let mut early = Rig::new();
    assert!(
        early
            .show(&mut ToldAfterCommit::default(), &carried)
            .is_err()
    );
    rig.assigned(&mut p5, W);
    assert_eq!(rig.show(&mut p5, &carried), Ok(()));
}

#[test]
fn p5_the_end_of_an_attempt_is_acknowledged_after_its_commit() {
    let (mut rig, mut p5) = (Rig::new(), ToldAfterCommit::default());
    rig.assigned(&mut p5, W);
    let ask = |rig: &mut Rig, p5: &mut ToldAfterCommit| {
        let request = niyanta_core::Request {
            reply_to: RequestId(1),
            worker: worker("one"),
            incarnation: incarnation("one-1"),
            generation_seen: Generation(1),
            sequence: MessageSequence(9),
            body: niyanta_core::WorkerMessage::Completed {
                workload: W,
                attempt: Attempt(1),
                content: niyanta_core::Content::Absent,
            },
        };
        let event = Event::Request(request);
        assert!(handled(rig, p5, Some(1), &event, &[]).is_ok());
    };
    let answers = Observation::CarriedOut {
        place: 0,
        effect: &reply(1),
    };
    ask(&mut rig, &mut p5);
    assert!(rig.show(&mut p5, &answers).is_err());
    let write = rig.write(W, &[AuditKind::Completed]);
    let ended = rig.land(vec![write], vec![]);
    assert_eq!(rig.show_changes(&mut p5, &ended), Ok(()));
    ask(&mut rig, &mut p5);
    assert_eq!(rig.show(&mut p5, &answers), Ok(()));
}

#[test]
fn p17_an_ended_term_is_silent() {
    let (mut rig, mut p17) = (Rig::new(), TermIsOver::default());
    started(&mut rig, &mut p17);
    assert!(handled(&mut rig, &mut p17, Some(4), &tick(), &[reply(4)]).is_ok());
    assert!(handled(&mut rig, &mut p17, None, &tick(), &[]).is_ok());
    assert!(handled(&mut rig, &mut p17, Some(5), &tick(), &[reply(5)]).is_ok());
    let late = Observation::CarriedOut {
        place: 0,
        effect: &reply(4),
    };
    assert!(rig.show(&mut p17, &late).is_err());
    assert!(handled(&mut rig, &mut p17, Some(5), &tick(), &[reply(4)]).is_err());
}

#[test]
fn p20_a_twin_wants_the_same() {
    let (mut rig, mut p20) = (Rig::new(), SameEffects::default());
    rig.plan.seed = 0;
    started(&mut rig, &mut p20);
    let mut core = niyanta_core::Coordinator::new(config(), local(&rig));
    let mut effects = Vec::new();
    core.handle(local(&rig), tick(), &mut effects);
    assert!(!effects.is_empty(), "a candidate asks for the lease");
    assert!(handled(&mut rig, &mut p20, None, &tick(), &effects).is_ok());
    rig.wait(Duration::from_secs(1));
    assert!(handled(&mut rig, &mut p20, None, &tick(), &[reply(1)]).is_err());
}

#[test]
fn the_stage_itself_is_sound() {
    let mut rig = Rig::new();
    let submitted = rig.submit(row(W, ALICE), None);
    assert_eq!(submitted.len(), 1);
    assert_eq!(CLOCK.read(rig.now), local(&rig));
}
