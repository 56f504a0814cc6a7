//! Each planted bug that the wire must catch is caught, by a property that may say so.
#![cfg(not(madsim))]

use sim::turmoil::run;
use sim_probes::{Bug, plant};

/// Seeds until one is caught, at most so many.
const SEEDS_MAX: u64 = 200;

fn is_caught(bug: Bug) {
    plant(Some(bug));
    let caught = (0..SEEDS_MAX).find_map(|seed| {
        let violation = run(seed, false).violation?;
        Some((seed, violation))
    });
    plant(None);
    let Some((seed, violation)) = caught else {
        panic!("{} was not caught in {SEEDS_MAX} seeds", bug.name());
    };
    let name = bug.name();
    assert!(
        bug.is_caught_by(violation.property),
        "{name}: seed {seed} violates {violation}"
    );
}

#[test]
fn an_unknown_outcome_told_as_a_failure_is_caught() {
    is_caught(Bug::UnknownIsFailure);
}

#[test]
fn a_report_lost_in_a_reconnect_is_missed() {
    is_caught(Bug::LostReportNotRepeated);
}

#[test]
fn a_read_from_a_copy_that_is_behind_is_caught() {
    is_caught(Bug::StaleReads);
}

#[test]
fn a_revoked_key_that_lives_on_is_caught() {
    is_caught(Bug::RevokedKeyCached);
}

#[test]
fn a_list_that_forgets_its_customer_is_caught() {
    is_caught(Bug::ListForgetsCustomer);
}
