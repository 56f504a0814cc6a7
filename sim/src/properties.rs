//! What must always hold, one file for each property of the design.
//!
//! Properties see what an outsider sees: events and effects of each coordinator, what the database
//! committed, what workers truly ran, what callers were told. They look at no private field.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a property looks at a few of the observations, and at none that are added later"
)]

mod acknowledged;
mod audit_trail;
mod capacity;
mod commit_order;
mod exclusive_run;
mod fair_order;
mod first_terms;
mod generations_obeyed;
mod healthy_only;
mod idempotency;
mod lease_held;
mod ledger;
mod legal_moves;
mod limits;
mod linear;
mod one_attempt;
mod over_before_next;
mod placement;
mod read_your_writes;
mod retries;
mod same_effects;
mod sight;
mod silence_heard;
mod tenants;
mod term_is_over;
mod told_after_commit;
mod truth;

#[cfg(test)]
mod tests;

use crate::{
    clock::{Clock, Moment},
    message::Said,
    model::store::{Change, CounterRow, Store},
    plan::Plan,
    trace::Trace,
    worker::Deed,
    world::{ApiAnswer, Call},
};
use ledger::Ledger;
use niyanta_core::{
    Config, Effect, Event,
    ids::{CustomerId, Generation, Incarnation},
    time::{Duration, Timestamp},
};
use std::fmt;
use truth::Truth;

/// Something that an outsider can see.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A coordinator's process started.
    CoordinatorStarted {
        /// Where.
        place: usize,
        /// With what.
        config: &'a Config,
        /// By its clock.
        local: Timestamp,
    },
    /// A coordinator's process is gone.
    CoordinatorGone {
        /// Where.
        place: usize,
    },
    /// A coordinator's process was not scheduled for a while, and is again.
    CoordinatorResumed {
        /// Where.
        place: usize,
        /// For how long.
        paused: Duration,
    },
    /// A coordinator's driver knows that words may have been missed, whether it says so or not.
    ListeningInterrupted {
        /// Where.
        place: usize,
    },
    /// A core handled an event.
    Handled {
        /// Where.
        place: usize,
        /// By its clock.
        local: Timestamp,
        /// The event.
        event: &'a Event,
        /// What it wants done.
        effects: &'a [Effect],
        /// The term it says that it leads.
        term: Option<Generation>,
        /// Invariants of its own that do not hold.
        broken: &'a [niyanta_core::invariants::Violation],
    },
    /// A driver carried an effect out.
    CarriedOut {
        /// Where.
        place: usize,
        /// The effect.
        effect: &'a Effect,
    },
    /// A driver's word of a term goes to the broker.
    Spoken {
        /// Where.
        place: usize,
        /// Of which term.
        generation: Generation,
    },
    /// A worker's words reached a coordinator's process, read or not.
    WordReached {
        /// Where.
        place: usize,
        /// What.
        said: &'a Said,
    },
    /// The database goes on from a copy that misses the last commits.
    FailedOver {
        /// The fence as it is there.
        fence: &'a niyanta_core::snapshot::FenceRow,
    },
    /// The database committed something.
    Committed {
        /// What.
        change: &'a Change,
    },
    /// A worker did something.
    Worker {
        /// Where.
        place: usize,
        /// Which start of its process.
        incarnation: &'a Incarnation,
        /// Its clock.
        clock: Clock,
        /// What.
        deed: &'a Deed,
    },
    /// A worker's process was not scheduled for a while, and is again.
    WorkerResumed {
        /// Where.
        place: usize,
    },
    /// A worker has done what it had to.
    WorkerStands {
        /// Where.
        place: usize,
        /// Its clock.
        clock: Clock,
    },
    /// A worker's process is gone, with all its children.
    WorkerGone {
        /// Where.
        place: usize,
        /// Which start of it.
        incarnation: &'a Incarnation,
    },
    /// A client or an operator made a call to the API.
    CallBegun {
        /// Which call.
        call: &'a Call,
    },
    /// The API answered a call.
    CallAnswered {
        /// Which call.
        call: &'a Call,
        /// What it said.
        answer: &'a ApiAnswer,
    },
    /// A renewal of the lease waits for a batch.
    RenewalWaits,
    /// A process asks to be woken at the same moment again and again.
    Spins {
        /// Where.
        place: usize,
    },
    /// After healing, everything stands still and is as it should be.
    Settled,
    /// After healing, something did not come to rest within the bound.
    Stuck {
        /// What.
        why: &'a str,
        /// The bound.
        bound: Duration,
    },
}

/// What properties may look at beside the observation.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// True time.
    pub(crate) now: Moment,
    /// The database as it is.
    pub(crate) store: &'a Store,
    /// What truly runs.
    pub(crate) truth: &'a Truth,
    /// What the commits add up to, this one included.
    pub(crate) ledger: &'a Ledger,
    /// The run's plan.
    pub(crate) plan: &'a Plan,
}

impl<'a> View<'a> {
    /// A customer's row.
    pub(crate) fn customer(self, id: CustomerId) -> Option<&'a CounterRow> {
        self.store.customers().find(|row| row.limits.id == id)
    }
}

/// One property.
pub(crate) trait Property {
    /// Its number in the design.
    const NAME: &'static str;

    /// Looks at an observation, and says what is wrong.
    fn observe(&mut self, view: View<'_>, observation: &Observation<'_>) -> Result<(), String>;
}

/// A property that did not hold.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Its number in the design, or `progress`, `invariants`, `spin`.
    pub property: &'static str,
    /// When.
    pub at: Moment,
    /// At which step of the run.
    pub step: u64,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            property,
            at,
            step,
            what,
        } = self;
        write!(f, "{property} at {at} (step {step}): {what}")
    }
}

macro_rules! properties {
    ($($field:ident: $type:ty,)+) => {
        /// All properties, watching one run.
        pub struct Properties {
            plan: Plan,
            loses_commits: bool,
            steps_clock: bool,
            truth: Truth,
            ledger: Ledger,
            violation: Option<Violation>,
            $($field: $type,)+
        }

        impl Properties {
            /// Properties that have seen nothing.
            #[must_use]
            pub fn new(plan: &Plan) -> Self {
                Self {
                    plan: plan.clone(),
                    loses_commits: plan.loses_commits(),
                    steps_clock: plan.steps_clock(),
                    truth: Truth::default(),
                    ledger: Ledger::default(),
                    violation: None,
                    $($field: <$type>::default(),)+
                }
            }

            /// The numbers of all properties, in the design's words.
            pub const NAMES: &'static [&'static str] = &[$(<$type as Property>::NAME,)+];

            /// Shows something to all of them.
            pub fn observe(
                &mut self,
                now: Moment,
                store: &Store,
                observation: &Observation<'_>,
                trace: &mut Trace,
            ) {
                if self.violation.is_some() {
                    return;
                }
                match observation {
                    Observation::Committed { change } => self.ledger.note(store, change),
                    Observation::FailedOver { .. } => self.ledger = Ledger::of(store),
                    _ => {}
                }
                let (truth, ledger) = (&self.truth, &self.ledger);
                let view = View { now, store, truth, ledger, plan: &self.plan };
                let mut found = general(observation).err().map(|what| (general_name(observation), what));
                $(
                    let holds = (!self.loses_commits || outlives_loss(<$type as Property>::NAME))
                        && !(self.steps_clock && rests_on_clock(<$type as Property>::NAME));
                    if found.is_none() && holds {
                        found = self.$field.observe(view, observation)
                            .err()
                            .map(|what| (<$type as Property>::NAME, what));
                    }
                )+
                self.truth.observe(now, observation);
                if let Some((property, what)) = found {
                    let step = trace.steps();
                    trace.tell(now, property, || format!("VIOLATED: {what}"));
                    self.violation = Some(Violation { property, at: now, step, what });
                }
            }

            /// Until when the worker at a place may run anything, by its own clock.
            #[must_use]
            pub(crate) fn lease_until(&self, place: usize) -> Timestamp {
                self.truth.lease_until(place)
            }

            /// The first that did not hold.
            #[must_use]
            pub const fn violation(&self) -> Option<&Violation> {
                self.violation.as_ref()
            }

            /// The first that did not hold.
            #[must_use]
            pub fn into_violation(self) -> Option<Violation> {
                self.violation
            }
        }
    };
}

properties! {
    p1: commit_order::CommitOrder,
    p2: first_terms::UniqueTerms,
    p3: lease_held::LeaseHeld,
    p4: generations_obeyed::GenerationsObeyed,
    p17: term_is_over::TermIsOver,
    p5: told_after_commit::ToldAfterCommit,
    p6: legal_moves::LegalMoves,
    p7: one_attempt::OneAttempt,
    p8: exclusive_run::ExclusiveRun,
    p9: over_before_next::OverBeforeNext,
    p10: acknowledged::Acknowledged,
    p11: idempotency::OnePerKey,
    p12: capacity::Capacity,
    p13: limits::Limits,
    p14: healthy_only::HealthyOnly,
    p15: silence_heard::SilenceHeard,
    p16: audit_trail::AuditTrail,
    p18: tenants::Tenants,
    p19: read_your_writes::ReadYourWrites,
    p21: placement::Placement,
    p20: same_effects::SameEffects,
    p22: retries::Retries,
    p23: fair_order::FairOrder,
}

/// Whether it holds although the database lost commits; the others are measured then.
const fn outlives_loss(property: &str) -> bool {
    matches!(
        property.as_bytes(),
        b"P1" | b"P6" | b"P12" | b"P14" | b"P16" | b"P17" | b"P18" | b"P20"
    )
}

/// Whether it holds only while nobody sets the database's clock. P21 and P22 compare moments of that
/// clock in one clause each, and leave those out themselves.
const fn rests_on_clock(property: &str) -> bool {
    matches!(property.as_bytes(), b"P3")
}

fn general(observation: &Observation<'_>) -> Result<(), String> {
    match observation {
        Observation::Handled { broken, place, .. } if !broken.is_empty() => {
            let broken: Vec<String> = broken
                .iter()
                .map(|broken| format!("{}: {}", broken.property, broken.detail))
                .collect();
            Err(format!("c{place}: {}", broken.join("; ")))
        }
        Observation::Stuck { why, bound } => {
            Err(format!("not settled {bound:?} after healing: {why}"))
        }
        Observation::RenewalWaits => {
            let what = "a renewal waits for a batch: under load the lease would be lost";
            Err(what.to_owned())
        }
        Observation::Spins { place } => Err(format!(
            "c{place} asks to be woken at the same moment again and again"
        )),
        _ => Ok(()),
    }
}

fn general_name(observation: &Observation<'_>) -> &'static str {
    match observation {
        Observation::Stuck { .. } | Observation::RenewalWaits => "progress",
        Observation::Spins { .. } => "spin",
        Observation::Handled { broken, .. } => match broken.first() {
            Some(broken) => broken.property,
            None => "invariants",
        },
        _ => "invariants",
    }
}
