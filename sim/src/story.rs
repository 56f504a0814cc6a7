//! Words for a run, so that a person who never saw the code can follow it.
//!
//! Owns the cast, the laws in the design's words, and the names of things; what each event, effect,
//! statement and message is called stands in `words`. Decides nothing.

mod words;

pub use words::{
    answer, api_answer, ask, batch, blow, deed, effect, event, message, reply, request, said,
    statement,
};

use crate::{Plan, decision::Who, properties::Violation, schedule::text::print_span};
use niyanta_core::ids::{CustomerId, WorkloadId};
use std::fmt::{Debug, Write};

/// Who is there, in the words of a playbill.
#[must_use]
pub fn cast(plan: &Plan) -> String {
    let mut cast = String::from("Cast\n");
    let mut add = |name: String, what: String| {
        // Writing into a string cannot fail.
        let _infallible = writeln!(cast, "  {name:<10} {what}");
    };
    for (place, node) in plan
        .coordinators
        .iter()
        .enumerate()
        .filter(|(_, n)| !n.absent)
    {
        let (ttl, beat) = (print_span(node.ttl), print_span(node.heartbeat_timeout));
        add(
            format!("c{place}"),
            format!("a coordinator; leads for {ttl} at a time, gives workers a lease of {beat}"),
        );
    }
    for (place, node) in plan.workers.iter().enumerate().filter(|(_, n)| !n.absent) {
        let profile = &node.profile;
        let kinds: Vec<String> = profile
            .capabilities
            .iter()
            .map(ToString::to_string)
            .collect();
        let (worker, room, kinds) = (&profile.worker, profile.capacity, kinds.join(", "));
        let what = format!("a worker process under the id {worker}, with room for {room}: {kinds}");
        add(format!("w{place}"), what);
    }
    for (place, customer) in plan.customers.iter().enumerate() {
        let errands = plan
            .errands
            .iter()
            .filter(|errand| errand.customer == place);
        let (count, id) = (errands.count(), customer.id);
        let what = format!("the client of customer {id}, with {count} errands");
        add(format!("customer{place}"), what);
    }
    add(
        "store".to_owned(),
        "the database, which alone makes things true".to_owned(),
    );
    add("fault".to_owned(), "what goes wrong on purpose".to_owned());
    if let Some(bug) = plan.bug {
        add(
            "planted".to_owned(),
            format!("bug {} ({})", bug.number(), bug.name()),
        );
    }
    cast + "\n"
}

/// The violated property in the design's words, and what contradicted it.
#[must_use]
pub fn violation(violation: &Violation) -> String {
    let Violation {
        property,
        at,
        step,
        what,
    } = violation;
    let law = law(property);
    format!("{property} is violated at {at}, event {step}.\n  It says: {law}.\n  But: {what}\n")
}

/// What a property says, in one sentence.
#[must_use]
pub fn law(property: &str) -> &'static str {
    let found = LAWS.iter().find(|(name, _)| *name == property);
    found.map_or("something that is not in the list of laws", |(_, law)| law)
}

/// The properties of the design, and what the simulator itself holds to.
pub const LAWS: &[(&str, &str)] = &[
    (
        "P1",
        "batches are committed in the order of their terms, none of a term after one of a later \
      term, and each lands once, with the content that core gave it",
    ),
    (
        "P2",
        "a pair of term and incarnation is unique, and terms only grow",
    ),
    (
        "P3",
        "a node acts as leader only before its own deadline, and nobody takes the lease over \
      before it ends",
    ),
    (
        "P4",
        "nobody obeys a leader of an older term than the newest that they have seen",
    ),
    (
        "P5",
        "no decision is told to a worker or a client before it is committed",
    ),
    (
        "P6",
        "a workload's status only makes legal moves, and a final one never changes",
    ),
    (
        "P7",
        "a workload has at most one open attempt, and a report counts only for that attempt and \
      that start of its worker",
    ),
    (
        "P8",
        "no two workers hold, each by its own clock, a valid lease for the same workload, and a \
      process that wakes after its lease does nothing but stop",
    ),
    (
        "P9",
        "a workload gets no final status, no pause and no new attempt while an attempt is not \
      over",
    ),
    (
        "P10",
        "every acknowledged submission and wish is there afterwards, and every refused one is \
      not",
    ),
    (
        "P11",
        "there is one workload for each customer and idempotency key",
    ),
    (
        "P12",
        "a worker is given no more attempts than it has room for",
    ),
    (
        "P13",
        "no customer's limits are exceeded by an acknowledged submission or an assignment",
    ),
    (
        "P14",
        "nothing is assigned to a worker whose committed status is not HEALTHY",
    ),
    (
        "P15",
        "nothing is taken from a worker for a silence that the leader did not listen through",
    ),
    (
        "P16",
        "a workload's audit trail is exactly its committed changes, numbered without a gap",
    ),
    ("P17", "nothing of an ended term has an effect afterwards"),
    ("P18", "no customer sees or moves another's data"),
    (
        "P19",
        "a client never sees a workload go back to an older version, and sees what it was told \
      is written",
    ),
    ("P20", "the same events give the same effects"),
    (
        "P21",
        "every assignment satisfies type, affinity, `run_after`, back-off and limits when it is \
      committed",
    ),
    (
        "P22",
        "failures, losses and back-offs stay within their limits",
    ),
    (
        "P23",
        "whatever can be placed is considered within a bounded wait, first come first served \
      among equals",
    ),
    (
        "progress",
        "after everything has healed, all work comes to rest within a bound that the \
      configuration gives",
    ),
    (
        "invariants",
        "what a coordinator holds in memory is consistent in itself",
    ),
    (
        "spin",
        "no process asks to be woken at the same moment again and again",
    ),
    ("panic", "nothing panics"),
];

/// A workload by the errand that submitted it.
#[must_use]
pub fn job(workload: WorkloadId) -> String {
    format!("job{}", Who::submission(workload).0)
}

/// The text with each workload named by the errand that submitted it.
#[must_use]
pub fn named(text: &str) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(WorkloadId::PREFIX) {
        let (before, from) = rest.split_at(start);
        let end = WorkloadId::PREFIX.len() + 32;
        named.push_str(before);
        match from.get(..end).and_then(|id| id.parse().ok()) {
            Some(id) => {
                named.push_str(&job(id));
                rest = from.get(end..).unwrap_or_default();
            }
            None => {
                named.push_str(WorkloadId::PREFIX);
                rest = from.get(WorkloadId::PREFIX.len()..).unwrap_or_default();
            }
        }
    }
    named.push_str(rest);
    // The customers of plans have small numbers.
    named.replace(
        &format!("{}{}", CustomerId::PREFIX, "0".repeat(30)),
        "customer ",
    )
}

/// What prints for programmers, for people: `CrashWorker { place: 3 }` as `crash worker (place 3)`.
#[must_use]
pub fn plain(value: &dyn Debug) -> String {
    let text = format!("{value:?}");
    let mut plain = String::with_capacity(text.len());
    let mut before = ' ';
    for letter in text.chars() {
        match letter {
            '{' => plain.push('('),
            '}' => {
                plain.truncate(plain.trim_end().len());
                plain.push(')');
            }
            ':' | '"' => {}
            ' ' if matches!(before, '{') => {}
            _ if letter.is_ascii_uppercase() => {
                if before.is_ascii_lowercase() {
                    plain.push(' ');
                }
                plain.extend(letter.to_lowercase());
            }
            '_' => plain.push(' '),
            _ => plain.push(letter),
        }
        before = letter;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Properties;

    #[test]
    fn every_property_has_its_law() {
        for property in Properties::NAMES {
            assert!(LAWS.iter().any(|(name, _)| name == property), "{property}");
        }
    }

    #[test]
    fn workloads_are_named_by_the_errand_that_submitted_them() {
        let id = WorkloadId(0xabcd << 64 | 7 << 16 | 2);
        assert_eq!(named(&format!("begins {id}, wl_?")), "begins job7, wl_?");
    }

    #[test]
    fn what_prints_for_programmers_is_told_plainly() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "it is printed")]
        struct CrashWorker {
            place_of: u8,
        }
        assert_eq!(
            plain(&CrashWorker { place_of: 3 }),
            "crash worker (place of 3)"
        );
    }
}
