//! P10 and P11: what was acknowledged is there, what was refused is not, one key is one workload.

use std::collections::BTreeMap;

use super::{Evidence, SLACK, Violation};
use crate::history::{Asked, Outcome, What};

pub(super) fn check(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    submissions(evidence, found);
    wishes(evidence, found);
}

type Key<'a> = (&'a str, &'a str);

fn submissions(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let mut stored: BTreeMap<Key<'_>, Vec<&str>> = BTreeMap::new();
    for row in evidence.workloads.values() {
        if let Some(key) = &row.key {
            stored
                .entry((&row.customer, key))
                .or_default()
                .push(&row.id);
        }
    }
    for ((_, key), ids) in stored.iter().filter(|(_, ids)| ids.len() > 1) {
        let text = format!("the key {key} has the workloads {ids:?}");
        found.push(Violation {
            property: "P11",
            text,
        });
    }
    let mut sendings: BTreeMap<Key<'_>, Vec<&Asked>> = BTreeMap::new();
    for asked in &evidence.asked {
        if let What::Submit { key } = &asked.what {
            sendings
                .entry((&asked.customer, key))
                .or_default()
                .push(asked);
        }
    }
    for (key, sent) in sendings {
        let ids = stored.get(&key).map(Vec::as_slice).unwrap_or_default();
        for asked in sent.iter().filter(|asked| asked.outcome == Outcome::Ok) {
            let told = asked.workload.as_deref().unwrap_or_default();
            if !ids.contains(&told) {
                let text = format!(
                    "{told}, acknowledged under the key {} at {} by node {}, is lost",
                    key.1, asked.to, asked.node
                );
                found.push(Violation {
                    property: "P10",
                    text,
                });
            }
        }
        let is_refused = sent.iter().all(|asked| asked.outcome == Outcome::Failed);
        if is_refused && !ids.is_empty() {
            let statuses: Vec<u16> = sent.iter().map(|asked| asked.status).collect();
            let text = format!(
                "the key {} was answered {statuses:?}, and {ids:?} is there",
                key.1
            );
            found.push(Violation {
                property: "P10",
                text,
            });
        }
    }
}

fn wishes(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    for asked in &evidence.asked {
        let (What::Wish { verb, reason }, Some(id)) = (&asked.what, &asked.workload) else {
            continue;
        };
        let Some(trail) = evidence.trails.get(id.as_str()) else {
            continue;
        };
        let own = trail
            .iter()
            .find(|event| event.reason.as_deref() == Some(reason));
        let mut fail = |text: String| {
            found.push(Violation {
                property: "P10",
                text,
            })
        };
        if asked.outcome == Outcome::Failed && own.is_some() {
            fail(format!(
                "the wish {reason} to {verb} {id} was answered {}, and is in its trail",
                asked.status
            ));
        }
        if asked.outcome != Outcome::Ok {
            continue;
        }
        // A wish that the workload has already is not written again, and what runs need not be
        // resumed.
        let kind = format!("{verb}_requested");
        let is_written = own.is_some()
            || verb == "resume"
            || trail
                .iter()
                .any(|event| event.kind == kind && evidence.moment(event.at) <= asked.to + SLACK);
        if !is_written {
            fail(format!(
                "the wish {reason} to {verb} {id}, answered {}, is not in its trail",
                asked.status
            ));
        }
        let row = evidence.workloads.get(id.as_str());
        if verb == "cancel" && row.is_some_and(|row| row.desired != "cancel") {
            fail(format!("{id}: an acknowledged cancel was undone"));
        }
    }
}
