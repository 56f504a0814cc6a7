//! P7, P8 and P9, as the diaries of the workers have them: no two at once, and nothing that is
//! called over while it runs.

use std::collections::BTreeSet;

use super::{Evidence, Run, SLACK, Violation, WAKING, is_end};
use crate::history::AuditRow;

pub(super) fn check(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    for (id, runs) in &evidence.runs {
        let trail = evidence
            .trails
            .get(id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        assigned(evidence, runs, trail, found);
        for (index, first) in runs.iter().enumerate() {
            for second in &runs[index + 1..] {
                together(evidence, first, second, found);
            }
            over(evidence, first, trail, found);
        }
    }
    completed(evidence, found);
}

/// Each run is of an attempt that was assigned before it began, to that worker, and once.
fn assigned(
    evidence: &Evidence<'_>,
    runs: &[Run<'_>],
    trail: &[&AuditRow],
    found: &mut Vec<Violation>,
) {
    let mut seen = BTreeSet::new();
    for run in runs {
        let mut fail = |property: &'static str, text: &str| {
            let text = format!(
                "{} attempt {} in {}: {text}",
                run.workload, run.attempt, run.process
            );
            found.push(Violation { property, text });
        };
        if !seen.insert(run.attempt) {
            fail("P7", "the attempt ran more than once");
        }
        let event = trail
            .iter()
            .find(|it| it.kind == "scheduled" && it.attempt == run.attempt);
        let Some(event) = event else {
            fail("P5", "it ran, and no such assignment was ever committed");
            continue;
        };
        let worker = run.process.split('#').next();
        if event.worker.as_deref() != worker {
            fail("P7", &format!("it was assigned to {:?}", event.worker));
        }
        if evidence.moment(event.at) > run.from + SLACK {
            fail("P5", "it began before its assignment was committed");
        }
    }
}

fn together(
    evidence: &Evidence<'_>,
    first: &Run<'_>,
    second: &Run<'_>,
    found: &mut Vec<Violation>,
) {
    let (from, to) = (first.from.max(second.from), first.to.min(second.to));
    let by = awake_for(evidence, first, from, to).min(awake_for(evidence, second, from, to));
    if by > 0 {
        let text = format!(
            "{}: attempt {} in {} and attempt {} in {} ran at once for {by} us",
            first.workload, first.attempt, first.process, second.attempt, second.process
        );
        found.push(Violation {
            property: "P8",
            text,
        });
    }
}

/// Nothing is called over, and no new attempt assigned, while a run goes on.
fn over(evidence: &Evidence<'_>, run: &Run<'_>, trail: &[&AuditRow], found: &mut Vec<Violation>) {
    for event in trail {
        let is_new = event.kind == "scheduled" && event.attempt > run.attempt;
        if !(is_new || is_end(&event.kind) || event.kind == "paused") || event.attempt < run.attempt
        {
            continue;
        }
        let by = awake_for(evidence, run, evidence.moment(event.at) + SLACK, run.to);
        if by > 0 {
            let text = format!(
                "{} #{} {}: attempt {} still ran in {} for {by} us",
                run.workload, event.sequence, event.kind, run.attempt, run.process
            );
            found.push(Violation {
                property: "P9",
                text,
            });
        }
    }
}

/// A workload is COMPLETED only by a run that said so.
fn completed(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    for (id, trail) in &evidence.trails {
        for event in trail.iter().filter(|event| event.kind == "completed") {
            let runs = evidence.runs.get(id).map(Vec::as_slice).unwrap_or_default();
            let by = runs
                .iter()
                .find(|run| run.attempt == event.attempt && run.ended == Some("completed"));
            if by.is_none_or(|run| run.to > evidence.moment(event.at) + SLACK) {
                let text = format!("{id} #{}: no run completed before", event.sequence);
                found.push(Violation {
                    property: "P7",
                    text,
                });
            }
        }
    }
}

/// How long a run went on between two moments, without its pauses and what waking takes.
fn awake_for(evidence: &Evidence<'_>, run: &Run<'_>, from: i64, to: i64) -> i64 {
    let (from, to) = (from.max(run.from), to.min(run.to));
    let mut left = to - from;
    for (begin, end) in evidence.pauses.get(run.process).into_iter().flatten() {
        let end = end.saturating_add(WAKING);
        left -= (end.min(to) - (*begin).max(from)).max(0);
    }
    left.max(0)
}
