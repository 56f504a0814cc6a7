//! P12 and P13: no worker above its capacity, no customer above its limits.

use std::collections::BTreeMap;

use super::{Evidence, SLACK, Violation, is_end};
use crate::history::{AuditRow, Outcome, What};

type Times<'a> = BTreeMap<&'a str, Vec<(i64, i64)>>;

pub(super) fn check(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let mut of_customer = Times::new();
    slots(evidence, &mut of_customer, found);
    processes(evidence, found);
    let waiting = waiting(evidence);
    for limits in &evidence.head.customers {
        let of = |times: &Times<'_>| {
            let times = times.get(limits.customer.as_str()).cloned();
            u64::try_from(most(times.unwrap_or_default())).unwrap_or(0)
        };
        let (open, queued) = (of(&of_customer), of(&waiting));
        let mut fail = |text: String| {
            let text = format!("{}: {text}", limits.customer);
            found.push(Violation {
                property: "P13",
                text,
            });
        };
        if open > limits.running {
            fail(format!("{open} open attempts of {}", limits.running));
        }
        if queued > limits.queued {
            fail(format!("{queued} in the queue of {}", limits.queued));
        }
    }
}

/// Open attempts of each worker, as the audit has them; gathers those of customers on the way.
fn slots<'a>(evidence: &Evidence<'a>, of_customer: &mut Times<'a>, found: &mut Vec<Violation>) {
    let capacity = i64::from(evidence.head.capacity);
    let mut of_worker: BTreeMap<(&str, &str), Vec<(i64, i64)>> = BTreeMap::new();
    for (id, trail) in &evidence.trails {
        let row = evidence.workloads.get(id);
        for (opened, closed) in open_times(trail) {
            let names = (opened.worker.as_deref(), opened.incarnation.as_deref());
            let names = (names.0.unwrap_or_default(), names.1.unwrap_or_default());
            let times = [(opened.at, 1), (closed, -1)];
            of_worker.entry(names).or_default().extend(times);
            if let Some(row) = row {
                of_customer.entry(&row.customer).or_default().extend(times);
            }
        }
    }
    for ((worker, incarnation), times) in of_worker {
        let most = most(times);
        if most > capacity {
            let text = format!("{worker} ({incarnation}) had {most} attempts in {capacity} slots");
            found.push(Violation {
                property: "P12",
                text,
            });
        }
    }
}

/// What each process ran at once, as its diary has it.
fn processes(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let capacity = i64::from(evidence.head.capacity);
    let mut in_process = Times::new();
    for run in evidence.runs.values().flatten() {
        let times = in_process.entry(run.process).or_default();
        times.extend([(run.from, 1), (run.to, -1)]);
    }
    for (process, times) in in_process {
        let most = most(times);
        if most > capacity {
            let text = format!("{process} ran {most} attempts at once in {capacity} slots");
            found.push(Violation {
                property: "P12",
                text,
            });
        }
    }
}

/// Each attempt with the moment when it was over. That is a little early: within one batch moments
/// do not tell what came first.
fn open_times<'a>(trail: &[&'a AuditRow]) -> Vec<(&'a AuditRow, i64)> {
    let mut found: Vec<(&AuditRow, i64)> = Vec::new();
    let mut open: Option<&AuditRow> = None;
    for event in trail {
        let is_over = is_end(&event.kind)
            || matches!(event.kind.as_str(), "retrying" | "requeued" | "paused");
        if is_over && let Some(opened) = open.take() {
            found.push((opened, event.at - SLACK));
        }
        if event.kind == "scheduled" {
            open = Some(event);
        }
    }
    found.extend(open.map(|opened| (opened, i64::MAX)));
    found
}

/// When what was acknowledged was in the queue for certain: from its answer until a little before
/// it was first assigned or ended.
fn waiting<'a>(evidence: &Evidence<'a>) -> Times<'a> {
    let mut acknowledged: BTreeMap<&str, i64> = BTreeMap::new();
    for asked in &evidence.asked {
        let is_submission = matches!(asked.what, What::Submit { .. });
        if let (true, Outcome::Ok, Some(id)) = (is_submission, asked.outcome, &asked.workload) {
            let first = acknowledged.entry(id).or_insert(asked.to);
            *first = asked.to.min(*first);
        }
    }
    let mut waiting = Times::new();
    for (id, from) in acknowledged {
        let (Some(row), Some(trail)) = (evidence.workloads.get(id), evidence.trails.get(id)) else {
            continue;
        };
        let left = trail
            .iter()
            .find(|it| it.kind == "scheduled" || is_end(&it.kind));
        let to = left.map_or(i64::MAX, |event| evidence.moment(event.at) - SLACK);
        if to > from {
            let times = waiting.entry(row.customer.as_str()).or_default();
            times.extend([(from, 1), (to, -1)]);
        }
    }
    waiting
}

/// The most at once, of beginnings and ends. At the same moment ends come first.
fn most(mut times: Vec<(i64, i64)>) -> i64 {
    times.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, change) in times {
        now += change;
        most = most.max(now);
    }
    most
}
