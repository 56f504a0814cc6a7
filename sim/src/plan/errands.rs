//! What clients do: planned one by one, so that any of it can be left out.

use super::draw::{Shape, secs, types};
use crate::{clock::Moment, decision::Rng};
use niyanta_core::{
    ids::WorkloadType,
    time::Duration,
    workload::{Desired, OnLeaseLoss},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One thing that a customer's client sets out to do. A client goes in order, and does not begin
/// before the errand before has come to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Errand {
    /// Names it; a submission names its workload too.
    pub id: u16,
    /// Not before this moment.
    pub at: Moment,
    /// Whose client, by its place in the plan.
    pub customer: usize,
    /// Which coordinator is asked first.
    pub via: usize,
    /// Hangs up after this long; the coordinator goes on.
    #[serde(
        default,
        with = "crate::schedule::text::optional_span",
        skip_serializing_if = "Option::is_none"
    )]
    pub hangs_up_after: Option<Duration>,
    /// What for.
    pub does: Does,
}

/// What an errand is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Does {
    /// Submit a workload.
    Submit {
        /// What.
        job: Job,
        /// With this `Idempotency-Key`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<u64>,
        /// So often at once, each through another coordinator.
        #[serde(default = "once", skip_serializing_if = "is_once")]
        times: u8,
    },
    /// Cancel, pause or resume what that errand submitted, also if it is another customer's; nothing
    /// if nobody was told of it.
    Wish {
        /// Which errand.
        of: u16,
        /// What.
        #[serde(with = "crate::schedule::text")]
        desired: Desired,
    },
    /// Read what that errand submitted, also if it is another customer's; nothing if nobody was told
    /// of it.
    Get {
        /// Which errand.
        of: u16,
    },
    /// Read all that the customer has.
    List,
}

const fn once() -> u8 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_once(times: &u8) -> bool {
    *times == 1
}

/// A workload as it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Job {
    /// `workload_type`.
    #[serde(with = "crate::schedule::text")]
    pub workload_type: WorkloadType,
    /// Where it may run.
    pub affinity: Affinity,
    /// `priority`.
    pub priority: u16,
    /// `max_retries`.
    pub max_retries: u32,
    /// `timeout`.
    #[serde(with = "crate::schedule::text::span")]
    pub timeout: Duration,
    /// Goes on when its worker's lease ends.
    #[serde(with = "crate::schedule::text")]
    pub on_lease_loss: OnLeaseLoss,
    /// `run_after`, from when it is submitted.
    #[serde(
        default,
        with = "crate::schedule::text::optional_span",
        skip_serializing_if = "Option::is_none"
    )]
    pub run_after: Option<Duration>,
}

/// Where a workload may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Affinity {
    /// Anywhere.
    Anywhere,
    /// In this zone alone.
    Zone(Arc<str>),
    /// On the worker of this place alone.
    Worker(usize),
    /// Rather in this zone.
    RatherZone(Arc<str>),
    /// Not in this zone.
    NotZone(Arc<str>),
    /// Not beside workloads of this type.
    NotBeside(#[serde(with = "crate::schedule::text")] WorkloadType),
}

impl Shape {
    pub(super) fn errands(&self, rng: &mut Rng, customers: usize) -> Vec<Errand> {
        let mut errands = Vec::new();
        for customer in 0..customers {
            self.errands_of(rng, customer, &mut errands);
        }
        errands.sort_by_key(|errand| errand.at);
        errands
    }

    fn errands_of(&self, rng: &mut Rng, customer: usize, errands: &mut Vec<Errand>) {
        let count = rng.between(3, 40);
        let span = Duration::from_nanos(self.heal_at.0) / 2;
        let pace = if rng.per_mille(250) {
            Duration::from_millis(5)
        } else {
            span / u32::try_from(count).unwrap_or(1)
        };
        let mut at = Moment::default();
        let mut next_key = 0;
        let mut submitted = Vec::new();
        for _ in 0..count {
            at = at.plus(rng.duration(pace / 2, pace * 3 / 2));
            let id = u16::try_from(errands.len()).unwrap_or(u16::MAX);
            let about = rng.pick(&submitted).copied();
            let others = errands.iter().filter(|other| {
                other.customer != customer && matches!(other.does, Does::Submit { .. })
            });
            let others: Vec<u16> = others.map(|other| other.id).collect();
            let about = match rng.pick(&others) {
                Some(other) if rng.per_mille(60) => Some(*other),
                Some(_) | None => about,
            };
            let does = match (about, rng.below(20)) {
                (Some(of), 11..=18) => match rng.below(9) {
                    0..=2 => wish(of, Desired::Cancel),
                    3 | 4 => wish(of, Desired::Pause),
                    5 | 6 => wish(of, Desired::Run),
                    _ => Does::Get { of },
                },
                (_, 19) => Does::List,
                _ => {
                    submitted.push(id);
                    Does::Submit {
                        job: self.job(rng),
                        key: rng.per_mille(500).then(|| {
                            next_key += 1;
                            // Sometimes a key is used again on purpose.
                            next_key - u64::from(rng.per_mille(150) && next_key > 1)
                        }),
                        times: match rng.below(12) {
                            0 => 2,
                            1 => 3,
                            _ => 1,
                        },
                    }
                }
            };
            let via = rng.index(self.coordinators);
            let hangs_up_after = rng
                .per_mille(60)
                .then(|| rng.duration(Duration::from_millis(1), Duration::from_millis(400)));
            errands.push(Errand {
                hangs_up_after,
                id,
                at,
                customer,
                via,
                does,
            });
        }
    }

    fn job(&self, rng: &mut Rng) -> Job {
        let workload_type = match rng.pick(&types()) {
            Some(workload_type) => workload_type.clone(),
            None => unreachable!("there are types"),
        };
        Job {
            workload_type,
            affinity: self.affinity(rng),
            priority: *rng.pick(&[0, 10, 10, 10, 500]).unwrap_or(&10),
            max_retries: u32::try_from(rng.below(4)).unwrap_or(0),
            timeout: secs(*rng.pick(&[3, 60]).unwrap_or(&60)),
            on_lease_loss: if rng.per_mille(80) {
                OnLeaseLoss::Continue
            } else {
                OnLeaseLoss::Stop
            },
            run_after: rng
                .per_mille(120)
                .then(|| rng.duration(Duration::from_millis(10), secs(8))),
        }
    }

    fn affinity(&self, rng: &mut Rng) -> Affinity {
        let zone = |rng: &mut Rng| Arc::from(if rng.per_mille(500) { "east" } else { "west" });
        match rng.below(12) {
            0 => Affinity::Zone(zone(rng)),
            1 if self.workers > 0 => Affinity::Worker(rng.index(self.workers)),
            2 => Affinity::RatherZone(zone(rng)),
            3 => match rng.pick(&types()) {
                Some(workload_type) => Affinity::NotBeside(workload_type.clone()),
                None => Affinity::Anywhere,
            },
            4 => Affinity::NotZone(zone(rng)),
            _ => Affinity::Anywhere,
        }
    }
}

const fn wish(of: u16, desired: Desired) -> Does {
    Does::Wish { of, desired }
}
