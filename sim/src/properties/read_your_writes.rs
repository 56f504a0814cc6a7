//! P19: for one client a workload never goes back to an older version, and an acknowledged write is
//! visible to the next read, through any coordinator.
//!
//! Two looks at the same histories: at once, at versions alone; and when the run is over, at whether
//! everything that was told of a workload can have happened in one order
//! ([`linear`](super::linear)).

use super::{
    Observation, Property, View,
    linear::{self, Operation, What},
};
use crate::{
    clock::Moment,
    world::{ApiAnswer, ApiAsk, Call},
};
use niyanta_core::ids::{CustomerId, WorkloadId};
use std::collections::{BTreeMap, BTreeSet};

/// P19.
#[derive(Default)]
pub(crate) struct ReadYourWrites {
    /// What was told of each workload.
    told: BTreeMap<WorkloadId, History>,
    /// What each customer was told that it has.
    owned: BTreeMap<CustomerId, Vec<(Moment, WorkloadId)>>,
    /// Calls that are not answered, by number.
    open: BTreeMap<u64, (WorkloadId, Operation)>,
}

#[derive(Default)]
struct History {
    operations: Vec<Operation>,
    /// The newest versions that were told, and when: each newer than the one before.
    newest: Vec<(Moment, u64)>,
}

impl Property for ReadYourWrites {
    const NAME: &'static str = "P19";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CallBegun { call } => {
                let what = match &call.ask {
                    ApiAsk::Submit { row, .. } => Some((row.id, What::MaybeMade)),
                    ApiAsk::Wish {
                        workload, desired, ..
                    } => Some((*workload, What::MaybeWished(*desired))),
                    ApiAsk::Get { .. }
                    | ApiAsk::List { .. }
                    | ApiAsk::ChangeLimits { .. }
                    | ApiAsk::WishWorker { .. } => None,
                };
                if let Some((workload, what)) = what {
                    let unknown = Operation {
                        begun: call.begun,
                        ended: Moment(u64::MAX),
                        what,
                    };
                    self.open.insert(call.number, (workload, unknown));
                }
                Ok(())
            }
            Observation::CallAnswered { call, answer } => self.answered(view.now, call, answer),
            Observation::Settled | Observation::Stuck { .. } => self.check_all(),
            _ => Ok(()),
        }
    }
}

impl ReadYourWrites {
    fn answered(&mut self, now: Moment, call: &Call, answer: &ApiAnswer) -> Result<(), String> {
        if let (ApiAsk::List { customer, .. }, ApiAnswer::Listed(rows)) = (&call.ask, answer) {
            return self.check_list(now, call, *customer, rows);
        }
        let Some((workload, what, version)) = told(call, answer) else {
            if !matches!(answer, ApiAnswer::TimedOut) {
                // Certainly not done: nothing of it may ever show.
                self.open.remove(&call.number);
            }
            return Ok(());
        };
        self.open.remove(&call.number);
        if let (ApiAsk::Submit { row, .. }, What::Made) = (&call.ask, what) {
            let owned = self.owned.entry(row.customer).or_default();
            owned.push((now, workload));
        }
        let history = self.told.entry(workload).or_default();
        let mut push = |what| {
            history.operations.push(Operation {
                begun: call.begun,
                ended: now,
                what,
            });
        };
        match what {
            // It was written by a sending that had no answer, and looked at afterwards.
            What::Wished { desired, version } if call.in_doubt => {
                push(What::WishedEarlier(desired));
                push(What::Seen { version });
            }
            _ => push(what),
        }
        let version = version.unwrap_or_default();
        // A submission's answer names the workload alone.
        let names_only = matches!(what, What::Made | What::Refused(_));
        history
            .check_version(now, call.begun, version, names_only)
            .map_err(|newest| format!("{workload} is told at version {version}, after {newest}"))
    }

    /// Everything that a customer was told of before it asked is in its list, as new as it was.
    fn check_list(
        &mut self,
        now: Moment,
        call: &Call,
        customer: CustomerId,
        rows: &[(WorkloadId, u64)],
    ) -> Result<(), String> {
        let listed: BTreeMap<WorkloadId, u64> = rows.iter().copied().collect();
        if listed.len() != rows.len() {
            return Err(format!(
                "{customer} is told of a workload twice in one list"
            ));
        }
        let known: BTreeSet<WorkloadId> = self
            .owned
            .get(&customer)
            .into_iter()
            .flatten()
            .filter(|(at, _)| *at < call.begun)
            .map(|(_, workload)| *workload)
            .collect();
        if let Some(missing) = known.iter().find(|id| !listed.contains_key(id)) {
            return Err(format!(
                "{missing} was acknowledged, and is not in the list"
            ));
        }
        for (workload, version) in listed {
            let history = self.told.entry(workload).or_default();
            history
                .check_version(now, call.begun, version, false)
                .map_err(|newest| {
                    format!("{workload} is listed at version {version}, after {newest}")
                })?;
        }
        Ok(())
    }

    fn check_all(&mut self) -> Result<(), String> {
        for (workload, unknown) in std::mem::take(&mut self.open).into_values() {
            let operations = &mut self.told.entry(workload).or_default().operations;
            operations.push(unknown);
        }
        for (workload, history) in &self.told {
            linear::check(&history.operations).map_err(|left| {
                format!("no order of the calls explains what was told of {workload}: {left:?}")
            })?;
        }
        Ok(())
    }
}

impl History {
    /// Only what was told before a call was made binds its answer. Gives the newest of that.
    fn check_version(
        &mut self,
        now: Moment,
        begun: Moment,
        version: u64,
        names_only: bool,
    ) -> Result<(), u64> {
        let before = self.newest.iter().rev().find(|(at, _)| *at < begun);
        let bound = before.map_or(0, |(_, version)| *version);
        if version > self.newest.last().map_or(0, |(_, version)| *version) {
            self.newest.push((now, version));
        }
        if version < bound && !names_only {
            return Err(bound);
        }
        Ok(())
    }
}

/// What a call's answer says of which workload, and at which version.
fn told(call: &Call, answer: &ApiAnswer) -> Option<(WorkloadId, What, Option<u64>)> {
    match (&call.ask, answer) {
        (ApiAsk::Submit { .. }, ApiAnswer::Submitted(workload)) => {
            Some((*workload, What::Made, Some(1)))
        }
        (
            ApiAsk::Wish {
                workload, desired, ..
            },
            ApiAnswer::Wished { version, .. },
        ) => {
            let wished = What::Wished {
                desired: *desired,
                version: *version,
            };
            Some((*workload, wished, Some(*version)))
        }
        (
            ApiAsk::Wish {
                workload, desired, ..
            },
            ApiAnswer::Conflict,
        ) => Some((*workload, What::Refused(*desired), None)),
        (ApiAsk::Get { workload, .. }, ApiAnswer::Got(status, desired, version)) => {
            let read = What::Read {
                version: *version,
                desired: *desired,
                ended: status.is_terminal(),
            };
            Some((*workload, read, Some(*version)))
        }
        // A client that asks for what is another's is told that there is nothing.
        (ApiAsk::Get { workload, .. }, ApiAnswer::NotFound) if !call.trespasses => {
            Some((*workload, What::NotFound, Some(0)))
        }
        _ => None,
    }
}
