//! From a failing run to the smallest one that fails the same property.
//!
//! Leaves out whatever can be left out, in ever smaller pieces (delta debugging): picks, whatever the
//! plan lists (strikes, errands, operations), nodes; then makes what is left plain: delays the
//! shortest, times round, numbers small. It walks the plan as a tree of values and knows none of its
//! fields but the nodes, so that a fault added to the plan is shrunk without a line here. A smaller
//! run may fail for another reason: only the violated property is held fast.

use crate::{
    decision::{Choice, Pick, Who},
    plan::Plan,
    properties::Violation,
    schedule::{
        Schedule, Size,
        text::{parse_span, print_span},
    },
};
use niyanta_core::time::Duration;
use serde_json::Value;
use std::collections::BTreeSet;

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is tried to be left out.
    pub step: &'static str,
    /// Runs so far.
    pub runs: u64,
    /// The smallest that fails so far.
    pub size: Size,
}

/// The smallest found, and what it took.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// It.
    pub schedule: Schedule,
    /// How it fails.
    pub violation: Violation,
    /// Runs that it took.
    pub runs: u64,
}

/// Shrinks a schedule that violates a property. At most `runs_max` runs are tried; `progress` hears
/// how far it is. Nothing if the schedule violates nothing.
pub fn shrink(
    schedule: Schedule,
    runs_max: u64,
    progress: &mut dyn FnMut(Progress),
) -> Option<Shrunk> {
    let violation = schedule.run(false).violation?;
    let mut shrinker = Shrinker {
        best: schedule,
        violation,
        runs: 1,
        runs_max,
        step: "",
        progress,
    };
    shrinker.run();
    let Shrinker {
        mut best,
        violation,
        runs,
        ..
    } = shrinker;
    best.violates = Some(violation.property.to_owned());
    best.about.clone_from(&violation.what);
    Some(Shrunk {
        schedule: best,
        violation,
        runs,
    })
}

struct Shrinker<'a> {
    best: Schedule,
    violation: Violation,
    runs: u64,
    runs_max: u64,
    step: &'static str,
    progress: &'a mut dyn FnMut(Progress),
}

impl Shrinker<'_> {
    fn run(&mut self) {
        let best = self.best.clone();
        self.attempt(best);
        loop {
            let before = self.best.size();
            self.leave_out_picks();
            self.leave_out_lists();
            self.leave_out_nodes();
            if self.best.size() == before || self.is_spent() {
                break;
            }
        }
        self.make_plain();
        self.leave_out_picks();
        self.leave_out_lists();
        self.make_picks_round();
    }

    const fn is_spent(&self) -> bool {
        self.runs >= self.runs_max
    }

    /// Takes a candidate if it still fails the same property.
    fn attempt(&mut self, mut candidate: Schedule) -> bool {
        if self.is_spent() || candidate.plan.check().is_err() {
            return false;
        }
        self.runs += 1;
        let outcome = candidate.run(false);
        let failed = outcome.violation;
        let Some(violation) = failed.filter(|found| found.property == self.violation.property)
        else {
            return false;
        };
        // What never came up before it failed need not be mentioned.
        candidate.picks = outcome.picks;
        self.best = candidate;
        self.violation = violation;
        (self.progress)(Progress {
            step: self.step,
            runs: self.runs,
            size: self.best.size(),
        });
        true
    }

    fn attempt_plan(&mut self, plan: &Value) -> bool {
        let Ok(mut plan) = serde_json::from_value::<Plan>(plan.clone()) else {
            return false;
        };
        plan.bug = self.best.bug;
        let candidate = Schedule {
            plan,
            ..self.best.clone()
        };
        self.attempt(candidate)
    }

    fn attempt_picks(&mut self, keep: impl Fn(&Pick) -> bool) -> bool {
        let kept: Vec<Pick> = self.best.picks.iter().copied().filter(keep).collect();
        if kept.len() == self.best.picks.len() {
            return false;
        }
        let candidate = Schedule {
            picks: kept,
            ..self.best.clone()
        };
        self.attempt(candidate)
    }

    fn leave_out_picks(&mut self) {
        self.step = "choices";
        if self.attempt_picks(|_| false) {
            return;
        }
        for choice in Choice::ALL.iter().copied() {
            self.attempt_picks(|pick| pick.choice != choice);
        }
        let groups: BTreeSet<(Choice, Who)> = self
            .best
            .picks
            .iter()
            .map(|pick| (pick.choice, pick.who))
            .collect();
        for group in groups {
            self.attempt_picks(|pick| (pick.choice, pick.who) != group);
        }
        let mut size = self.best.picks.len() / 2;
        while size >= 1 && !self.is_spent() {
            let mut start = 0;
            while start < self.best.picks.len() && !self.is_spent() {
                let gone: Vec<Pick> = self
                    .best
                    .picks
                    .iter()
                    .skip(start)
                    .take(size)
                    .copied()
                    .collect();
                if !self.attempt_picks(|pick| !gone.contains(pick)) {
                    start += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Whatever the plan lists, but the nodes themselves.
    fn leave_out_lists(&mut self) {
        self.step = "faults and operations";
        let Some(plan) = self.plan_value() else {
            return;
        };
        let Some(fields) = plan.as_object() else {
            return;
        };
        let lists: Vec<String> = fields
            .iter()
            .filter(|(name, value)| value.is_array() && !NODES.contains(&name.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        for list in lists {
            self.leave_out_of(&list);
        }
    }

    fn leave_out_of(&mut self, list: &str) {
        let mut size = self.list_len(list);
        while size >= 1 && !self.is_spent() {
            let mut start = 0;
            while start < self.list_len(list) && !self.is_spent() {
                let Some(mut plan) = self.plan_value() else {
                    return;
                };
                if let Some(items) = plan.get_mut(list).and_then(Value::as_array_mut) {
                    let end = (start + size).min(items.len());
                    items.drain(start..end);
                    drop_orphans(items);
                }
                if !self.attempt_plan(&plan) {
                    start += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    fn list_len(&self, list: &str) -> usize {
        let plan = self.plan_value();
        let items = plan.as_ref().and_then(|plan| plan.get(list));
        items.and_then(Value::as_array).map_or(0, Vec::len)
    }

    fn leave_out_nodes(&mut self) {
        self.step = "nodes";
        for place in (0..self.best.plan.coordinators.len()).rev() {
            let mut candidate = self.best.clone();
            let present = !std::mem::replace(&mut candidate.plan.coordinators[place].absent, true);
            let _taken = present && self.attempt(candidate);
        }
        for place in (0..self.best.plan.workers.len()).rev() {
            let mut candidate = self.best.clone();
            let present = !std::mem::replace(&mut candidate.plan.workers[place].absent, true);
            let _taken = present && self.attempt(candidate);
        }
        // The absent ones at an end can go, as long as nothing names them.
        while self
            .best
            .plan
            .coordinators
            .last()
            .is_some_and(|node| node.absent)
        {
            let mut candidate = self.best.clone();
            candidate.plan.coordinators.pop();
            if !self.attempt(candidate) {
                break;
            }
        }
        while self
            .best
            .plan
            .workers
            .last()
            .is_some_and(|node| node.absent)
        {
            let mut candidate = self.best.clone();
            candidate.plan.workers.pop();
            if !self.attempt(candidate) {
                break;
            }
        }
        while self.best.plan.customers.len() > 1 {
            let mut candidate = self.best.clone();
            candidate.plan.customers.pop();
            if !self.attempt(candidate) {
                break;
            }
        }
    }

    /// Times round, numbers small, switches off.
    fn make_plain(&mut self) {
        self.step = "times and numbers";
        let Some(plan) = self.plan_value() else {
            return;
        };
        let mut leaves = Vec::new();
        list_leaves(&plan, &mut String::new(), &mut leaves);
        for leaf in leaves {
            if self.is_spent() {
                return;
            }
            let Some(plan) = self.plan_value() else {
                return;
            };
            let Some(value) = plan.pointer(&leaf).cloned() else {
                continue;
            };
            for plainer in plainer(&value) {
                let mut plan = plan.clone();
                let Some(place) = plan.pointer_mut(&leaf) else {
                    continue;
                };
                *place = plainer;
                if self.attempt_plan(&plan) {
                    break;
                }
            }
        }
    }

    fn make_picks_round(&mut self) {
        self.step = "delays";
        for index in 0..self.best.picks.len() {
            for micros in [1_000_000, 100_000, 10_000, 1_000, 100] {
                let Some(pick) = self.best.picks.get(index).copied() else {
                    return;
                };
                if !pick.choice.is_time() || pick.value.is_multiple_of(micros) {
                    break;
                }
                let mut candidate = self.best.clone();
                candidate.picks[index].value = pick.value.div_ceil(micros) * micros;
                if self.attempt(candidate) {
                    break;
                }
            }
        }
    }

    fn plan_value(&self) -> Option<Value> {
        serde_json::to_value(&self.best.plan).ok()
    }
}

/// Errands about an errand that is gone go too.
fn drop_orphans(items: &mut Vec<Value>) {
    let ids: BTreeSet<u64> = items
        .iter()
        .filter_map(|item| item.get("id")?.as_u64())
        .collect();
    items.retain(|item| {
        let about = item.pointer("/does").and_then(Value::as_object);
        let of = about.and_then(|does| does.values().find_map(|what| what.get("of")?.as_u64()));
        of.is_none_or(|of| ids.contains(&of))
    });
}

/// The paths of everything in a tree that is a time, a number or a switch.
fn list_leaves(value: &Value, path: &mut String, leaves: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields
                .iter()
                .filter(|(name, _)| !KEPT.contains(&name.as_str()))
            {
                path.push('/');
                path.push_str(name);
                list_leaves(value, path, leaves);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                list_leaves(value, path, leaves);
                path.truncate(length);
            }
        }
        Value::Number(_) | Value::Bool(true) | Value::String(_) => leaves.push(path.clone()),
        Value::Null | Value::Bool(false) => {}
    }
}

/// What a value might be instead, the plainest first.
fn plainer(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(true) => vec![Value::Bool(false)],
        Value::Number(number) => {
            let mut plainer: Vec<Value> = vec![0.into(), 1.into(), 10.into()];
            plainer.retain(|other| {
                let size = |value: &Value| value.as_i64().map(i64::unsigned_abs);
                size(other) < number.as_i64().map(i64::unsigned_abs)
            });
            plainer
        }
        Value::String(text) => {
            let Ok(span) = parse_span(text) else {
                return Vec::new();
            };
            let nanos = span.as_nanos();
            [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 1_000]
                .into_iter()
                .filter(|unit| nanos % unit != 0)
                .filter_map(|unit| u64::try_from(nanos.div_ceil(unit) * unit).ok())
                .map(|nanos| Value::String(print_span(Duration::from_nanos(nanos))))
                .collect()
        }
        Value::Null | Value::Bool(false) | Value::Array(_) | Value::Object(_) => Vec::new(),
    }
}

/// Lists of nodes: their places are names.
const NODES: &[&str] = &["coordinators", "workers", "customers", "types"];

/// Names, not amounts.
const KEPT: &[&str] = &["id", "of", "seed", "customer", "place", "worker", "key"];
