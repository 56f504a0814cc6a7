//! P19: an acknowledged write is visible to the next read, and no workload goes back to an older
//! version.

use super::{Observation, Property, View};
use crate::{
    clock::Moment,
    world::{ApiAnswer, ApiAsk, Call},
};
use niyanta_core::ids::WorkloadId;
use std::collections::BTreeMap;

/// P19.
#[derive(Default)]
pub(crate) struct ReadYourWrites {
    /// What callers were told of each workload: when, and of which version.
    told: BTreeMap<WorkloadId, Vec<(Moment, u64)>>,
}

impl Property for ReadYourWrites {
    const NAME: &'static str = "P19";

    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String> {
        match observation {
            Observation::CallAnswered { call, answer } => self.check(view.now, call, *answer),
            _ => Ok(()),
        }
    }
}

impl ReadYourWrites {
    fn check(&mut self, now: Moment, call: &Call, answer: ApiAnswer) -> Result<(), String> {
        let (workload, version) = match (&call.ask, answer) {
            (_, ApiAnswer::Submitted(workload)) => (workload, 1),
            (ApiAsk::Wish { workload, .. }, ApiAnswer::Wished { version, .. })
            | (ApiAsk::Get { workload, .. }, ApiAnswer::Got(_, _, version)) => (*workload, version),
            (ApiAsk::Get { workload, .. }, ApiAnswer::NotFound) => (*workload, 0),
            _ => return Ok(()),
        };
        let told = self.told.entry(workload).or_default();
        // Only what was told before this call was made binds it.
        let known = told.iter().filter(|(at, _)| *at < call.begun);
        let newest = known.map(|(_, version)| *version).max().unwrap_or(0);
        told.push((now, version));
        // A submission's answer names the workload; its version is not looked at here.
        let names_only = matches!(answer, ApiAnswer::Submitted(_));
        if version < newest && !names_only {
            return Err(format!(
                "{workload} is told at version {version}, after {newest}"
            ));
        }
        Ok(())
    }
}
