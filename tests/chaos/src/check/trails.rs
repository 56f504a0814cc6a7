//! P1, P2, P6, P16, P21 and P22, as the audit has them: numbered without a gap, only legal steps,
//! one end, no term after a later one, attempts that only grow, retries within their limit.

use std::collections::BTreeMap;

use super::{Evidence, SLACK, Violation, is_end, is_terminal, is_wish};
use crate::clock::MILLISECOND;
use crate::history::{AuditRow, WorkloadRow};

pub(super) fn check(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    for (id, row) in &evidence.workloads {
        let Some(trail) = evidence.trails.get(id) else {
            let text = format!("{id} has no trail");
            found.push(Violation {
                property: "P16",
                text,
            });
            continue;
        };
        numbers(row, trail, found);
        steps(row, trail, found);
        attempts(evidence, row, trail, found);
    }
    for id in evidence
        .trails
        .keys()
        .filter(|id| !evidence.workloads.contains_key(*id))
    {
        let text = format!("{id} has a trail and no row");
        found.push(Violation {
            property: "P16",
            text,
        });
    }
    terms(evidence, found);
    holders(evidence, found);
}

fn numbers(row: &WorkloadRow, trail: &[&AuditRow], found: &mut Vec<Violation>) {
    let numbers: Vec<u64> = trail.iter().map(|event| event.sequence).collect();
    if numbers != (1..=row.version).collect::<Vec<_>>() {
        let text = format!("{}: version {}, events {numbers:?}", row.id, row.version);
        found.push(Violation {
            property: "P16",
            text,
        });
    }
}

/// Where an event leads; nothing when there is no such step.
fn step(status: &str, kind: &str) -> Option<&'static str> {
    Some(match (status, kind) {
        ("", "created") => "PENDING",
        ("PENDING", "scheduled") => "SCHEDULED",
        ("SCHEDULED", "started") => "RUNNING",
        ("RUNNING" | "REDISTRIBUTING", "completed") => "COMPLETED",
        ("SCHEDULED" | "RUNNING" | "REDISTRIBUTING", "failed") => "FAILED",
        ("SCHEDULED" | "RUNNING" | "REDISTRIBUTING", "retrying")
        | ("REDISTRIBUTING" | "PAUSED", "requeued") => "PENDING",
        ("SCHEDULED" | "RUNNING", "redistributing") => "REDISTRIBUTING",
        ("PENDING" | "SCHEDULED" | "RUNNING" | "REDISTRIBUTING", "paused") => "PAUSED",
        ("PENDING" | "SCHEDULED" | "RUNNING" | "REDISTRIBUTING" | "PAUSED", "cancelled") => {
            "CANCELLED"
        }
        _ => return None,
    })
}

fn steps(row: &WorkloadRow, trail: &[&AuditRow], found: &mut Vec<Violation>) {
    let mut fail = |text: String| {
        found.push(Violation {
            property: "P6",
            text,
        })
    };
    let mut status = "";
    for event in trail.iter().filter(|event| !is_wish(&event.kind)) {
        let Some(next) = step(status, &event.kind) else {
            let at = format!("{} #{}", row.id, event.sequence);
            fail(format!("{at}: {} from {status:?}", event.kind));
            return;
        };
        status = next;
    }
    if status != row.status {
        fail(format!(
            "{}: is {}, and its trail ends {status}",
            row.id, row.status
        ));
    }
    let ends = trail.iter().filter(|event| is_end(&event.kind)).count();
    if ends != usize::from(is_terminal(&row.status)) {
        fail(format!("{}: {} and {ends} ends", row.id, row.status));
    }
}

fn attempts(
    evidence: &Evidence<'_>,
    row: &WorkloadRow,
    trail: &[&AuditRow],
    found: &mut Vec<Violation>,
) {
    let scheduled: Vec<&&AuditRow> = trail.iter().filter(|it| it.kind == "scheduled").collect();
    let numbers: Vec<u64> = scheduled.iter().map(|event| event.attempt).collect();
    if numbers != (1..=row.attempt).collect::<Vec<_>>() {
        let text = format!("{}: attempt {}, scheduled {numbers:?}", row.id, row.attempt);
        found.push(Violation {
            property: "P7",
            text,
        });
    }
    if let Some(after) = row.run_after
        && let Some(early) = scheduled.iter().find(|event| event.at < after)
    {
        let text = format!("{}: assigned at {}, not before {after}", row.id, early.at);
        found.push(Violation {
            property: "P21",
            text,
        });
    }
    for event in trail {
        // Counted from when the leader heard of the failure, which is not before it happened; its
        // commit may be later.
        let runs = evidence.runs.get(row.id.as_str()).into_iter().flatten();
        let failed = runs
            .filter(|run| run.attempt == event.attempt)
            .map(|run| run.to)
            .max();
        let (Some(backoff), Some(failed)) = (event.backoff_ms, failed) else {
            continue;
        };
        let next = scheduled.iter().find(|next| next.sequence > event.sequence);
        let is_early =
            |next: &&&&AuditRow| evidence.moment(next.at) + SLACK < failed + backoff * MILLISECOND;
        if let Some(next) = next.filter(is_early) {
            let text = format!(
                "{} #{}: assigned before its back-off ended",
                row.id, next.sequence
            );
            found.push(Violation {
                property: "P21",
                text,
            });
        }
    }
    let retries = trail.iter().filter(|it| it.kind == "retrying").count() as u64;
    if retries > row.max_retries {
        let text = format!("{}: {retries} retries of {}", row.id, row.max_retries);
        found.push(Violation {
            property: "P22",
            text,
        });
    }
}

/// No commit of a term after one of a later term: in each trail by number, over all by moment.
fn terms(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let mut spans: BTreeMap<i64, (&AuditRow, &AuditRow)> = BTreeMap::new();
    for trail in evidence.trails.values() {
        let mut highest = 0;
        for event in trail.iter().filter(|event| event.generation > 0) {
            if event.generation < highest {
                let (id, number, term) = (&event.workload, event.sequence, event.generation);
                let text = format!("{id} #{number} is of term {term}, after one of {highest}");
                found.push(Violation {
                    property: "P1",
                    text,
                });
            }
            highest = highest.max(event.generation);
            let span = spans.entry(event.generation).or_insert((event, event));
            if event.at < span.0.at {
                span.0 = event;
            }
            if event.at > span.1.at {
                span.1 = event;
            }
        }
    }
    let spans: Vec<_> = spans.into_iter().collect();
    for pair in spans.windows(2) {
        let ((before, (_, last)), (after, (first, _))) = (pair[0], pair[1]);
        if last.at >= first.at {
            let text = format!(
                "{} #{} of term {before} was written {} us after {} #{} of term {after}",
                last.workload,
                last.sequence,
                last.at - first.at,
                first.workload,
                first.sequence
            );
            found.push(Violation {
                property: "P1",
                text,
            });
        }
    }
}

/// One incarnation for each generation, and generations only grow.
fn holders(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    for pair in evidence.leases.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if after.generation <= before.generation {
            let text = format!("after {before:?} came {after:?}");
            found.push(Violation {
                property: "P2",
                text,
            });
        }
    }
}
