//! Everything derived, computed anew from what it is derived from. For tests, the simulator and
//! the fuzzer.

use super::{Scheduler, customer::avoids};
use alloc::collections::{BTreeMap, BTreeSet};

impl Scheduler {
    /// Recomputes all derived counts and orders.
    ///
    /// # Errors
    /// Names the first that does not agree.
    pub fn check_consistency(&self) -> Result<(), &'static str> {
        self.workers.check_consistency()?;
        self.check_running()?;
        self.check_entries()?;
        self.check_order()
    }

    fn check_running(&self) -> Result<(), &'static str> {
        let mut counts = BTreeMap::<_, (u32, u32)>::new();
        for occupant in self.workers.occupants() {
            let count = counts.entry(occupant.customer).or_default();
            *count = (count.0 + 1, count.1 + u32::from(avoids(occupant)));
        }
        for (id, customer) in &self.customers {
            if counts.remove(id).unwrap_or_default() != (customer.running, customer.avoiders) {
                return Err("a running count is not the number of open attempts");
            }
        }
        if counts.is_empty() {
            Ok(())
        } else {
            Err("an open attempt counts for no customer")
        }
    }

    fn check_entries(&self) -> Result<(), &'static str> {
        let mut alarms = BTreeSet::new();
        for (id, entry) in &self.entries {
            let customer = self.customers.get(&entry.customer);
            let queue = customer.and_then(|customer| customer.classes.get(&entry.class));
            let listed = queue.is_some_and(|queue| {
                if entry.timed {
                    queue.timed.held().contains(&entry.alarm())
                } else {
                    queue.ready.held().contains(&entry.position)
                }
            });
            if !listed || self.workers.is_occupant(*id) {
                return Err("a held workload is in no window, or runs");
            }
            alarms.extend(entry.timed.then(|| entry.alarm()));
        }
        if alarms != self.alarms {
            return Err("the alarms differ from what waits for its time");
        }
        if self.requirements.users() != self.entries.len() {
            return Err("requirements are kept for nobody, or lost");
        }
        let queues = || {
            self.customers
                .values()
                .flat_map(|customer| customer.classes.values())
        };
        let listed: usize = queues()
            .map(|queue| queue.ready.len() + queue.timed.len())
            .sum();
        if listed != self.entries.len() {
            return Err("a window lists a workload that is not held");
        }
        let within = |len: usize| len <= self.window;
        if queues().all(|queue| within(queue.ready.len()) && within(queue.timed.len())) {
            Ok(())
        } else {
            Err("a window holds more than it may")
        }
    }

    fn check_order(&self) -> Result<(), &'static str> {
        let mut places = BTreeSet::new();
        for (id, customer) in &self.customers {
            places.extend(customer.place);
            if customer.place != customer.share(*id) {
                return Err("a customer is not where its share puts it");
            }
            for (class, queue) in &customer.classes {
                let head = if queue.blocked {
                    None
                } else {
                    queue.ready.first()
                };
                if queue.head != head
                    || head.is_some_and(|head| !customer.open.contains(&(head, *class)))
                    || queue.blocked != customer.blocked.contains(class)
                {
                    return Err("a class does not stand where its head is");
                }
                let low = self.low.contains(&(*id, *class));
                if low != queue.wants_refill(self.window) {
                    return Err("a low window is not noted, or a full one is");
                }
                let untold = queue.untold_from.is_some() && !queue.ready.is_empty();
                let noted = self.telling.classes.contains(&(*id, *class));
                if untold && !noted && customer.policy.is_some() {
                    return Err("a class with untold members is not noted");
                }
            }
            let heads = customer
                .classes
                .values()
                .filter(|queue| queue.head.is_some())
                .count();
            if heads != customer.open.len() {
                return Err("a head belongs to no class");
            }
        }
        if places == self.order {
            Ok(())
        } else {
            Err("the order of service is wrong")
        }
    }
}
