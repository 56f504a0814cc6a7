//! What operators do and read: coordinators, workers, customers, keys.

use super::{
    Database, SimStore, misheard,
    shelf::{Account, Presence},
    views::{cut, signed, wide},
};
use crate::model::store::{Answer, CounterRow, Statement, WishWorker, WorkerWishAnswer};
use niyanta_core::{
    fleet::WorkerDesired,
    ids::{CustomerId, Generation, WorkerId},
    snapshot::CustomerRow,
    time::{Duration, WallTime},
};
use runtime::store::{
    AdminActor, AdminAuditRow, CoordinatorRecord, CoordinatorRow, CustomerPatch, CustomerRecord,
    CustomerView, Json, KeyId, KeyRecord, KeyRow, Limits, Page, PatchCustomer, Revision,
    StoreError, WorkerFilter, WorkerView, WorkerWish, WorkerWishOutcome, words,
};
use serde_json::{Map, json};

impl SimStore {
    pub(super) fn see_coordinator(&self, it: &CoordinatorRecord) -> Result<(), StoreError> {
        words::check_text(&it.coordinator_id)?;
        let now = self.database_time();
        let mut database = self.lock();
        let seen = database
            .shelf
            .coordinators
            .entry(it.incarnation.clone())
            .or_insert_with(|| Presence {
                record: it.clone(),
                started_at: now,
                last_seen: now,
            });
        seen.record = it.clone();
        seen.last_seen = now;
        Ok(())
    }

    pub(super) fn list_coordinators(&self, within: Duration) -> Vec<CoordinatorRow> {
        let now = self.database_time();
        let database = self.lock();
        let lease = database.model.lease();
        let seen = database.shelf.coordinators.values();
        let recent = seen.filter(|seen| seen.last_seen > now.minus(within));
        let mut rows: Vec<_> = recent
            .map(|seen| {
                let is_leader = lease.incarnation == seen.record.incarnation
                    && !lease.resigned
                    && lease.expires_at > now;
                CoordinatorRow {
                    record: seen.record.clone(),
                    started_at: seen.started_at,
                    last_seen: seen.last_seen,
                    is_leader,
                    generation: if is_leader {
                        lease.generation
                    } else {
                        Generation::ZERO
                    },
                }
            })
            .collect();
        rows.sort_by(|a, b| {
            let place = |row: &CoordinatorRow| (row.started_at, row.record.incarnation.clone());
            place(a).cmp(&place(b))
        });
        rows
    }

    pub(super) fn list_workers(
        &self,
        filter: &WorkerFilter,
        after: Option<&WorkerId>,
        limit: u32,
    ) -> Vec<WorkerView> {
        let database = self.lock();
        let wanted = database.model.workers().filter(|found| {
            let record = &found.row.record;
            after.is_none_or(|after| record.worker > *after)
                && (filter.status.is_empty() || filter.status.contains(&record.status))
        });
        let ids = wanted.map(|found| found.row.record.worker.clone());
        let ids: Vec<_> = ids.take(wide(limit)).collect();
        let views = ids.iter().filter_map(|id| database.worker_view(id));
        views.collect()
    }

    pub(super) fn find_worker(&self, worker: &WorkerId) -> Option<WorkerView> {
        self.lock().worker_view(worker)
    }

    pub(super) fn wish_one_worker(
        &self,
        wish: &WorkerWish,
    ) -> Result<WorkerWishOutcome, StoreError> {
        let now = self.time.now();
        let mut database = self.lock();
        let answer = database.run(
            now,
            &Statement::WishWorker(WishWorker {
                worker: wish.worker.clone(),
                desired: wish.desired,
                upon: Some((wish.incarnation.clone(), wish.upon)),
                deadline: wish.deadline,
            }),
        )?;
        let view = database.worker_view(&wish.worker).map(Box::new);
        let view = match (answer, view) {
            (Answer::WorkerWished(WorkerWishAnswer::Written), Some(view)) => view,
            (Answer::WorkerWished(WorkerWishAnswer::Overtaken { .. }), Some(view)) => {
                return Ok(WorkerWishOutcome::Overtaken(view));
            }
            (Answer::WorkerWished(_), _) => return Ok(WorkerWishOutcome::NotFound),
            (other, _) => return Err(misheard("wish_worker", &other)),
        };
        let action = match wish.desired {
            WorkerDesired::Run => "worker.undrain",
            WorkerDesired::Drain => "worker.drain",
            WorkerDesired::Remove => "worker.remove",
        };
        let seconds = wish.deadline.map(|deadline| deadline.as_secs());
        let details = seconds.map_or_else(|| json!({}), |it| json!({ "deadline_seconds": it }));
        let now = database.model.time(database.last);
        database.note(now, &wish.actor, action, wish.worker.to_string(), details);
        Ok(WorkerWishOutcome::Written(view))
    }

    pub(super) fn add_customer(
        &self,
        it: &CustomerRecord,
        actor: &AdminActor,
    ) -> Result<CustomerView, StoreError> {
        words::check_text(&it.name)?;
        let now = self.database_time();
        let mut database = self.lock();
        let is_new = !database.shelf.customers.contains_key(&it.id);
        if is_new {
            let account = Account {
                record: it.clone(),
                revision: Revision::ZERO,
                created_at: now,
            };
            database.shelf.customers.insert(it.id, account);
            database.set_limits(it.id);
            let limits = it.overrides;
            let mut details = Map::new();
            details.insert("name".to_owned(), json!(it.name));
            details.insert("tier".to_owned(), json!(it.tier.as_str()));
            for (name, limit) in [
                ("max_concurrent_workloads", limits.max_concurrent_workloads),
                ("max_queue_depth", limits.max_queue_depth),
                ("rate_limit_per_sec", limits.rate_limit_per_sec),
                ("rate_limit_burst", limits.rate_limit_burst),
            ] {
                details.extend(limit.map(|limit| (name.to_owned(), json!(limit))));
            }
            let subject = it.id.to_string();
            database.note(now, actor, "customer.created", subject, json!(details));
        }
        let view = database.customer_view(it.id);
        view.ok_or_else(|| StoreError::Failed("a customer is not there".into()))
    }

    pub(super) fn list_customers(&self, page: &Page) -> Vec<CustomerView> {
        let database = self.lock();
        let ids = database.shelf.customers.keys();
        let views = ids.filter_map(|id| database.customer_view(*id)).collect();
        cut(page, views, |view| (view.created_at, view.id.0))
    }

    pub(super) fn change_customer(
        &self,
        customer: CustomerId,
        patch: &CustomerPatch,
        upon: Revision,
        actor: &AdminActor,
    ) -> Result<PatchCustomer, StoreError> {
        patch.name.as_deref().map_or(Ok(()), words::check_text)?;
        let now = self.database_time();
        let mut database = self.lock();
        let Some(before) = database.customer_view(customer) else {
            return Ok(PatchCustomer::NotFound);
        };
        if before.revision != upon {
            return Ok(PatchCustomer::Overtaken(Box::new(before)));
        }
        let Some(account) = database.shelf.customers.get_mut(&customer) else {
            return Ok(PatchCustomer::NotFound);
        };
        account.revision = upon.next();
        let record = &mut account.record;
        let mut details = Map::new();
        if let Some(name) = &patch.name {
            details.insert("name".to_owned(), json!(name));
            record.name.clone_from(name);
        }
        if let Some(tier) = patch.tier {
            details.insert("tier".to_owned(), json!(tier.as_str()));
            record.tier = tier;
        }
        let limits = &mut record.overrides;
        for (name, wanted, limit) in [
            (
                "max_concurrent_workloads",
                patch.max_concurrent_workloads,
                &mut limits.max_concurrent_workloads,
            ),
            (
                "max_queue_depth",
                patch.max_queue_depth,
                &mut limits.max_queue_depth,
            ),
            (
                "rate_limit_per_sec",
                patch.rate_limit_per_sec,
                &mut limits.rate_limit_per_sec,
            ),
            (
                "rate_limit_burst",
                patch.rate_limit_burst,
                &mut limits.rate_limit_burst,
            ),
        ] {
            if let Some(wanted) = wanted {
                details.insert(name.to_owned(), json!(wanted));
                *limit = wanted;
            }
        }
        database.set_limits(customer);
        let subject = customer.to_string();
        database.note(now, actor, "customer.updated", subject, json!(details));
        let after = database.customer_view(customer).map(Box::new);
        Ok(after.map_or(PatchCustomer::NotFound, PatchCustomer::Patched))
    }

    pub(super) fn add_key(
        &self,
        it: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        words::check_text(&it.name)?;
        let now = self.database_time();
        let mut database = self.lock();
        if let Some(there) = database.shelf.keys.get(&it.id) {
            return Ok(Some(there.clone()));
        }
        let owner = it.customer;
        if owner.is_some_and(|id| !database.shelf.customers.contains_key(&id)) {
            return Ok(None);
        }
        let row = KeyRow {
            id: it.id,
            customer: owner,
            name: it.name.clone(),
            prefix: it.prefix.clone(),
            secret_hash: it.secret_hash,
            created_at: now,
            expires_at: it.expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        database.shelf.keys.insert(it.id, row.clone());
        let details = json!({
            "name": it.name,
            "prefix": it.prefix,
            "customer_id": owner.map(|id| id.to_string()),
        });
        database.note(now, actor, "key.created", it.id.to_string(), details);
        Ok(Some(row))
    }

    pub(super) fn list_keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Option<Vec<KeyRow>> {
        let database = self.lock();
        if customer.is_some_and(|id| !database.shelf.customers.contains_key(&id)) {
            return None;
        }
        let mine = database.shelf.keys.values();
        let mine = mine.filter(|key| key.customer == customer).cloned();
        Some(cut(page, mine.collect(), |key| (key.created_at, key.id.0)))
    }

    pub(super) fn end_key(&self, key: KeyId, actor: &AdminActor) -> Option<KeyRow> {
        let now = self.database_time();
        let mut database = self.lock();
        let found = database.shelf.keys.get_mut(&key)?;
        let ends = found.revoked_at.is_none();
        found.revoked_at.get_or_insert(now);
        let row = found.clone();
        if ends {
            database.note(now, actor, "key.revoked", key.to_string(), json!({}));
        }
        Some(row)
    }

    pub(super) fn note_key_use(&self, used: &[(KeyId, WallTime)]) {
        let mut database = self.lock();
        for (key, at) in used {
            if let Some(found) = database.shelf.keys.get_mut(key) {
                found.last_used_at = found.last_used_at.max(Some(*at));
            }
        }
    }

    pub(super) fn list_admin_audit(&self, after: Option<i64>, limit: u32) -> Vec<AdminAuditRow> {
        let database = self.lock();
        let rows = database.shelf.admin_audit.iter();
        let rows = rows.filter(|row| row.sequence > after.unwrap_or(0));
        rows.take(wide(limit)).cloned().collect()
    }
}

impl Database {
    /// The customer's limits in force.
    pub(super) fn limits(&self, customer: CustomerId) -> Option<Limits> {
        let record = &self.shelf.customers.get(&customer)?.record;
        Some(words::limits_in_force(record.tier, &record.overrides))
    }

    /// Tells the model what limits are in force; its counters stay.
    fn set_limits(&mut self, customer: CustomerId) {
        let Some(limits) = self.limits(customer) else {
            return;
        };
        let tier = self.shelf.customers.get(&customer).map(|it| it.record.tier);
        let policy = CustomerRow {
            id: customer,
            weight: tier.map_or(1, |tier| tier.weight()),
            max_running: limits.max_concurrent_workloads,
        };
        let max_queued = u64::from(limits.max_queue_depth);
        let mut rows = self.model.customers();
        let before = rows.find(|row| row.limits.id == customer).cloned();
        drop(rows);
        let row = match before {
            Some(before) => CounterRow {
                limits: policy,
                max_queued,
                ..before
            },
            None => CounterRow::new(policy, max_queued),
        };
        self.model.add_customer(row);
    }

    pub(super) fn customer_view(&self, customer: CustomerId) -> Option<CustomerView> {
        let account = self.shelf.customers.get(&customer)?;
        let counters = self
            .model
            .customers()
            .find(|row| row.limits.id == customer)?;
        Some(CustomerView {
            id: customer,
            name: account.record.name.clone(),
            tier: account.record.tier,
            limits: self.limits(customer)?,
            overrides: account.record.overrides,
            revision: account.revision,
            running: counters.running,
            queued: signed(counters.submitted) - signed(counters.left_queue),
            created_at: account.created_at,
        })
    }

    fn worker_view(&self, worker: &WorkerId) -> Option<WorkerView> {
        let row = &self.model.worker(worker)?.row;
        let record = &row.record;
        let seen = self.shelf.workers.get(worker).copied().unwrap_or_default();
        let open = self.model.workloads().filter(|found| {
            let holder = found.row.leader.worker.as_ref();
            holder.is_some_and(|(id, _)| id == worker)
        });
        let running = open.map(|found| (found.row.id, found.row.leader.attempt));
        Some(WorkerView {
            worker: record.worker.clone(),
            incarnation: record.incarnation.clone(),
            status: record.status,
            desired: row.desired,
            wish_revision: row.wish_revision,
            capabilities: record.capabilities.iter().cloned().collect(),
            capacity_total: record.capacity,
            tags: record.tags.clone(),
            version: record.version.to_string(),
            last_heartbeat: seen.last_heartbeat,
            registered_at: seen.registered_at,
            running: running.collect(),
        })
    }

    /// Notes what an operator did.
    fn note(
        &mut self,
        now: WallTime,
        actor: &AdminActor,
        action: &str,
        subject: String,
        details: Json,
    ) {
        let row = AdminAuditRow {
            sequence: signed(self.shelf.admin_audit.len() as u64 + 1),
            timestamp: now,
            actor_id: match actor {
                AdminActor::Key(key) => key.to_string(),
                AdminActor::CommandLine => "command_line".to_owned(),
            },
            action: action.to_owned(),
            subject,
            details,
        };
        self.shelf.admin_audit.push(row);
    }
}
