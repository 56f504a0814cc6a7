//! P19: nobody is told of an older version than somebody was told before, through whichever
//! coordinator.

use std::collections::BTreeMap;

use super::{Evidence, Violation};
use crate::history::{Asked, Outcome};

pub(super) fn check(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let mut told: BTreeMap<&str, Vec<&Asked>> = BTreeMap::new();
    for asked in &evidence.asked {
        let answer = (asked.outcome, asked.workload.as_deref(), asked.version);
        if let (Outcome::Ok, Some(id), Some(_)) = answer {
            told.entry(id).or_default().push(asked);
        }
    }
    for (id, mut answers) in told {
        // By when they were asked; what was answered before that is the floor.
        answers.sort_by_key(|asked| asked.from);
        let mut answered = answers.clone();
        answered.sort_by_key(|asked| asked.to);
        let mut answered = answered.into_iter().peekable();
        let mut floor: Option<&Asked> = None;
        for asked in &answers {
            while let Some(before) = answered.next_if(|before| before.to < asked.from) {
                if floor.is_none_or(|floor| floor.version < before.version) {
                    floor = Some(before);
                }
            }
            if let Some(floor) = floor.filter(|floor| floor.version > asked.version) {
                let text = format!(
                    "{id}: node {} told of version {:?} at {}, and node {} of {:?}, asked at {}",
                    floor.node, floor.version, floor.to, asked.node, asked.version, asked.from
                );
                found.push(Violation {
                    property: "P19",
                    text,
                });
            }
        }
    }
    for asked in &evidence.asked {
        let is_lost = asked.status == 404
            && asked
                .workload
                .as_deref()
                .is_some_and(|id| evidence.workloads.contains_key(id));
        if is_lost {
            let text = format!(
                "{:?}: acknowledged, then 404 of node {}",
                asked.workload, asked.node
            );
            found.push(Violation {
                property: "P19",
                text,
            });
        }
    }
}
