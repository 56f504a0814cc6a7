//! What a plan must be before it can be run: what a schedule file may have got wrong.

use super::{Affinity, Does, Operation, Plan};
use crate::schedule::ScheduleError;
use std::collections::BTreeSet;

impl Plan {
    /// Whether it can be run.
    ///
    /// # Errors
    ///
    /// Names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), ScheduleError> {
        count("plan.coordinators", self.coordinators.len(), 1, 16)?;
        count("plan.workers", self.workers.len(), 0, 100)?;
        count("plan.customers", self.customers.len(), 1, 100)?;
        if self.coordinators.iter().all(|node| node.absent) {
            let allowed = "one that is not absent";
            return Err(ScheduleError::value("plan.coordinators", "none", allowed));
        }
        let present = self.coordinators.iter().filter(|node| !node.absent);
        let present = present.count();
        if present > 1 && !self.enable_ha {
            let allowed = "true, for there are several coordinators";
            return Err(ScheduleError::value("plan.enable-ha", false, allowed));
        }
        if self.heal_at.0 == 0 {
            return Err(ScheduleError::value("plan.heal-at", "0s", "above 0s"));
        }
        drift("plan.database-drift-ppm", self.database_drift_ppm)?;
        self.check_nodes()?;
        for (index, customer) in self.customers.iter().enumerate() {
            let room = u64::from(customer.max_running.min(customer.weight));
            if room.min(customer.max_queued) == 0 {
                let field = format!("plan.customers[{index}]");
                return Err(ScheduleError::value(
                    field,
                    "a limit or weight of 0",
                    "above 0",
                ));
            }
        }
        self.check_errands()?;
        for (index, (_, operation)) in self.operations.iter().enumerate() {
            let field = format!("plan.operations[{index}]");
            match *operation {
                Operation::Drain { place, .. }
                | Operation::Undrain { place }
                | Operation::Remove { place } => {
                    below(field, place, self.workers.len(), "worker")?;
                }
                Operation::CancelAll { customer } => {
                    below(field, customer, self.customers.len(), "customer")?;
                }
                Operation::ChangeLimits {
                    customer,
                    max_running,
                    max_queued,
                } => {
                    below(field.clone(), customer, self.customers.len(), "customer")?;
                    if u64::from(max_running).min(max_queued) == 0 {
                        return Err(ScheduleError::value(field, "a limit of 0", "above 0"));
                    }
                }
            }
        }
        for (index, strike) in self.strikes.iter().enumerate() {
            let field = format!("plan.strikes[{index}].blow");
            if present == 1 && strike.blow.is_for_good() && strike.blow.target().is_some() {
                let allowed = "an end, or a second coordinator";
                let found = "for good, upon the only coordinator";
                return Err(ScheduleError::value(field, found, allowed));
            }
            let (coordinator, worker) = strike.blow.places();
            if let Some(place) = coordinator {
                below(field.clone(), place, self.coordinators.len(), "coordinator")?;
            }
            if let Some(place) = worker {
                below(field, place, self.workers.len(), "worker")?;
            }
        }
        Ok(())
    }

    fn check_nodes(&self) -> Result<(), ScheduleError> {
        for (index, node) in self.coordinators.iter().enumerate() {
            let field = |name: &str| format!("plan.coordinators[{index}].{name}");
            drift(&field("clock.drift-ppm"), node.clock.drift_ppm)?;
            for (name, span) in [
                ("ttl", node.ttl),
                ("heartbeat-timeout", node.heartbeat_timeout),
                ("later-heartbeat-timeout", node.later_heartbeat_timeout),
                ("dead-threshold", node.dead_threshold),
                ("interval", node.interval),
            ] {
                if span.is_zero() {
                    return Err(ScheduleError::value(field(name), "0s", "above 0s"));
                }
            }
            for (name, number) in [
                ("batch-size", node.batch_size),
                ("window", node.window),
                ("loss-limit", node.loss_limit),
            ] {
                if number == 0 {
                    return Err(ScheduleError::value(field(name), 0, "above 0"));
                }
            }
            if node.load_limit < node.window {
                let allowed = format!("the window ({}) or more", node.window);
                let found = node.load_limit;
                return Err(ScheduleError::value(field("load-limit"), found, allowed));
            }
        }
        for (index, node) in self.workers.iter().enumerate() {
            let field = format!("plan.workers[{index}]");
            drift(&format!("{field}.clock.drift-ppm"), node.clock.drift_ppm)?;
            if node.profile.capacity == 0 {
                let field = format!("{field}.profile.capacity");
                return Err(ScheduleError::value(field, 0, "above 0"));
            }
        }
        Ok(())
    }

    fn check_errands(&self) -> Result<(), ScheduleError> {
        let mut ids = BTreeSet::new();
        for (index, errand) in self.errands.iter().enumerate() {
            let field = |name: &str| format!("plan.errands[{index}].{name}");
            below(
                field("customer"),
                errand.customer,
                self.customers.len(),
                "customer",
            )?;
            if !ids.insert(errand.id) {
                let allowed = "a number that no other errand has";
                return Err(ScheduleError::value(field("id"), errand.id, allowed));
            }
            match &errand.does {
                Does::List => {}
                Does::Submit { job, times, .. } => {
                    if *times == 0 {
                        let field = field("does.submit.times");
                        return Err(ScheduleError::value(field, 0, "above 0"));
                    }
                    if let Affinity::Worker(place) = job.affinity {
                        below(
                            field("does.submit.job.affinity"),
                            place,
                            self.workers.len(),
                            "worker",
                        )?;
                    }
                    if job.timeout.is_zero() {
                        let field = field("does.submit.job.timeout");
                        return Err(ScheduleError::value(field, "0s", "above 0s"));
                    }
                }
                Does::Wish { of, .. } | Does::Get { of } => {
                    let known = self
                        .errands
                        .iter()
                        .any(|other| other.id == *of && matches!(other.does, Does::Submit { .. }));
                    if !known {
                        let allowed = "the id of an errand that submits";
                        return Err(ScheduleError::value(field("does.of"), of, allowed));
                    }
                }
            }
        }
        Ok(())
    }
}

fn count(field: &str, found: usize, low: usize, high: usize) -> Result<(), ScheduleError> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    Err(ScheduleError::value(
        field,
        format!("{found} of them"),
        format!("{low} to {high}"),
    ))
}

fn below(field: String, place: usize, len: usize, what: &str) -> Result<(), ScheduleError> {
    if place < len {
        return Ok(());
    }
    Err(ScheduleError::value(
        field,
        place,
        format!("the place of a {what}, of which there are {len}"),
    ))
}

fn drift(field: &str, ppm: i64) -> Result<(), ScheduleError> {
    if ppm.abs() <= DRIFT_PPM_MAX {
        return Ok(());
    }
    Err(ScheduleError::value(
        field,
        ppm,
        format!("-{DRIFT_PPM_MAX} to {DRIFT_PPM_MAX}"),
    ))
}

/// A tenth: far beyond any clock.
const DRIFT_PPM_MAX: i64 = 100_000;
