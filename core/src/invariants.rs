//! Whole-state checks, named: for tests, the simulator, the fuzzer and a debug endpoint.
//!
//! Owns what must hold between the parts of a term after every event. Costs as much as the state is
//! large; never called on the way of a decision.

use crate::{
    Config, Coordinator,
    coordinator::term::Term,
    ids::{WorkerId, WorkloadId},
};
use alloc::{format, string::String, vec::Vec};

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which property, in the words of the design or this file.
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Everything that is wrong with a coordinator's state. Empty, always.
#[must_use]
pub fn check(coordinator: &Coordinator) -> Vec<Violation> {
    let mut violations = check_lease(coordinator);
    let Some(term) = coordinator.term() else {
        return violations;
    };
    an_open_attempt_is_counted_everywhere(term, &mut violations);
    the_scheduler_agrees_with_itself(term, &mut violations);
    buffers_are_bounded(term, &mut violations);
    violations
}

/// What [`check`] begins with, and what costs next to nothing: for whoever looks after every event and
/// at the whole now and then.
#[must_use]
pub fn check_lease(coordinator: &Coordinator) -> Vec<Violation> {
    let mut violations = Vec::new();
    if coordinator.term().is_some() {
        a_term_acts_only_under_its_lease(coordinator, &mut violations);
    }
    violations
}

fn report(violations: &mut Vec<Violation>, property: &'static str, detail: String) {
    violations.push(Violation { property, detail });
}

fn a_term_acts_only_under_its_lease(coordinator: &Coordinator, violations: &mut Vec<Violation>) {
    if coordinator.leads(coordinator.now()).is_none() {
        let detail = String::from("a term without a lease");
        report(violations, "P3", detail);
    }
}

fn an_open_attempt_is_counted_everywhere(term: &Term, violations: &mut Vec<Violation>) {
    let mut open = 0;
    for (id, workload) in term.held_workloads() {
        let leader = &workload.row.leader;
        let is_open = leader.status.has_open_attempt();
        open += usize::from(is_open);
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                report(violations, "P7", format!("{id} {}: {what}", leader.status));
            }
        };
        expect(
            workload.open.is_some() == is_open,
            "open attempt and status differ",
        );
        expect(
            leader.worker.is_some() == is_open,
            "worker and status differ",
        );
        expect(
            is_open || leader.stopping.is_none(),
            "stops without an attempt",
        );
        if let (Some(open), Some((worker, incarnation))) = (&workload.open, &leader.worker) {
            expect(
                open.is_of(worker, incarnation),
                "two workers for one attempt",
            );
            expect(term.lists(worker, *id), "its worker does not list it");
        }
    }
    let (listed, used) = term.counts_by_worker();
    if listed != open || used != open {
        let detail = format!("{open} open, {listed} listed, {used} slots used");
        report(violations, "P12", detail);
    }
}

fn the_scheduler_agrees_with_itself(term: &Term, violations: &mut Vec<Violation>) {
    if let Err(what) = term.check_scheduler() {
        report(violations, "P12", String::from(what));
    }
}

fn buffers_are_bounded(term: &Term, violations: &mut Vec<Violation>) {
    let room = term.gathering_room();
    if room > Config::BATCH_ROWS_MAX / 2 {
        report(violations, "bounded", format!("room for {room} changes"));
    }
}

impl Term {
    fn held_workloads(&self) -> impl Iterator<Item = (&WorkloadId, &crate::workload::Workload)> {
        self.all_workloads()
    }

    fn lists(&self, worker: &WorkerId, id: WorkloadId) -> bool {
        self.has_open(worker, id)
    }
}
