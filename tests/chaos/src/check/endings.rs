//! Once faults have stopped: everything has ended as it was meant to, ledgers are exact, and no
//! process went away or stayed against its orders.

use std::collections::BTreeSet;

use super::{Evidence, Violation, is_terminal};
use crate::history::{Happened, What};

pub(super) fn check(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let cancelled: BTreeSet<&str> = evidence
        .asked
        .iter()
        .filter(|asked| matches!(&asked.what, What::Wish { verb, .. } if verb == "cancel"))
        .filter_map(|asked| asked.workload.as_deref())
        .collect();
    for (id, row) in &evidence.workloads {
        let mut fail = |property: &'static str, text: &str| {
            let text = format!("{id} ({:?}): {} {text}", row.means, row.status);
            found.push(Violation { property, text });
        };
        if !is_terminal(&row.status) {
            fail("progress", "when all was quiet");
        }
        if row.status == "CANCELLED" && !cancelled.contains(id) {
            fail("P6", "and nobody asked for it");
        }
        let is_meant_to_fail = row.means.as_deref() == Some("doomed");
        if row.status == "FAILED" && !is_meant_to_fail {
            fail("P22", "though its work does not fail for good");
        }
        if row.status == "COMPLETED" && is_meant_to_fail {
            fail("P7", "though its work only fails");
        }
    }
    for row in &evidence.counters {
        if row.running != 0 || row.submitted != row.left_queue {
            let text = format!("the ledger of a customer is not exact: {row:?}");
            found.push(Violation {
                property: "P13",
                text,
            });
        }
        let stored = evidence
            .workloads
            .values()
            .filter(|it| it.customer == row.customer);
        if stored.count() as i64 != row.submitted {
            let text = format!("not as many workloads as were counted: {row:?}");
            found.push(Violation {
                property: "P10",
                text,
            });
        }
    }
    for event in &evidence.processes {
        let text = match event.what {
            Happened::EndedUnasked => "ended, and nobody had asked it to",
            Happened::EndedLate => "did not end in time when it was told to",
            Happened::Started | Happened::Ended | Happened::Stopped | Happened::GoesOn => continue,
        };
        let text = format!("{} {text}", event.process);
        found.push(Violation {
            property: "process",
            text,
        });
    }
}
