//! What customers write: submissions, wishes, workload configs.

use super::{
    SimStore, misheard,
    shelf::{Moments, Papers, user},
};
use crate::model::store::{
    Answer, Statement, Submission as Made, SubmitAnswer, Wish as Wished, WishAnswer,
};
use niyanta_core::{
    batch::LeaderHalf,
    ids::{Attempt, CustomerId, WishRevision},
    snapshot::WorkloadRow,
    time::{Duration, WallTime},
    workload::{Desired, Status},
};
use runtime::store::{
    ConfigId, ConfigRecord, ConfigRow, CreateConfig, DeleteConfig, ReplaceConfig, Revision,
    StoreError, Submission, SubmitOutcome, Wish, WishOutcome, words,
};
use std::{collections::BTreeMap, sync::Arc};

impl SimStore {
    pub(super) fn submit_one(&self, it: &Submission) -> Result<SubmitOutcome, StoreError> {
        check(it)?;
        let now = self.time.now();
        let mut database = self.lock();
        if let Some(view) = database.view(it.customer, it.id) {
            return Ok(SubmitOutcome::Created(Box::new(view)));
        }
        let key = it.idempotency.as_ref();
        let place = key.map(|(key, _)| (it.customer, key.clone()));
        let known = place
            .as_ref()
            .and_then(|place| database.shelf.keys_of_bodies.get(place))
            .copied();
        if let (Some((_, hash, workload)), Some((_, sent))) = (known, key) {
            return Ok(match database.view(it.customer, workload) {
                Some(_) if hash != *sent => SubmitOutcome::KeyReused,
                Some(view) => SubmitOutcome::Existing(Box::new(view)),
                None => {
                    let lost = format!("the key of {workload} outlives it");
                    return Err(StoreError::Corrupt(lost));
                }
            });
        }
        let config = database.config_of(it.customer, &it.workload_type);
        let account = database.limits(it.customer);
        let (Some(config), Some(limits)) = (config, account) else {
            return Ok(SubmitOutcome::UnknownType);
        };
        let number = database.shelf.next_number;
        database.shelf.next_number += 1;
        database.shelf.submitting = Some(Box::new(papers(it, &config)));
        let made = Made {
            row: row(it, &config.record),
            key: key.map(|_| number),
        };
        let answer = database.run(now, &Statement::Submit(Arc::new(made)));
        database.shelf.submitting = None;
        let there = match answer? {
            Answer::Submitted(SubmitAnswer::There(there)) => there,
            Answer::Submitted(SubmitAnswer::QueueFull) => {
                let limit = limits.max_queue_depth;
                return Ok(SubmitOutcome::QueueFull { limit });
            }
            other => return Err(misheard("submit", &other)),
        };
        if let (Some(place), Some((_, hash))) = (place, key) {
            let record = (number, *hash, there);
            database.shelf.keys_of_bodies.insert(place, record);
        }
        let view = database.view(it.customer, there).map(Box::new);
        let view = view.ok_or_else(|| StoreError::Failed("a workload is not there".into()))?;
        Ok(if there == it.id {
            SubmitOutcome::Created(view)
        } else {
            SubmitOutcome::Existing(view)
        })
    }

    pub(super) fn wish_one(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        if let Some(reason) = &wish.reason {
            words::check_text(reason)?;
        }
        let now = self.time.now();
        let mut database = self.lock();
        let Some(before) = database.view(wish.customer, wish.workload) else {
            return Ok(WishOutcome::NotFound);
        };
        let wanted = wish.if_version.as_ref();
        if wanted.is_some_and(|wanted| !wanted.contains(&before.version)) {
            return Ok(WishOutcome::VersionMismatch(Box::new(before)));
        }
        let hand = user(
            WallTime::default(),
            wish.actor.to_string(),
            wish.reason.clone(),
        );
        database.shelf.wishing = Some(hand);
        let answer = database.run(
            now,
            &Statement::Wish(Wished {
                customer: wish.customer,
                workload: wish.workload,
                desired: wish.desired,
                upon: wish.upon,
            }),
        );
        // Left over when nothing was written.
        let is_written = database.shelf.wishing.take().is_none();
        let Some(after) = database.view(wish.customer, wish.workload).map(Box::new) else {
            return Err(StoreError::Failed("a workload is gone".into()));
        };
        match answer? {
            Answer::Wished(WishAnswer::Recorded { .. }) if is_written => {
                Ok(WishOutcome::Written(after))
            }
            Answer::Wished(WishAnswer::Recorded { .. }) if before.status.is_terminal() => {
                Ok(WishOutcome::TerminalSame(after))
            }
            Answer::Wished(WishAnswer::Recorded { .. }) => Ok(WishOutcome::Already(after)),
            Answer::Wished(WishAnswer::Conflict) => Ok(WishOutcome::Refused(after)),
            Answer::Wished(WishAnswer::Overtaken) => Ok(WishOutcome::Overtaken(after)),
            Answer::Wished(WishAnswer::NotFound) => Ok(WishOutcome::NotFound),
            other => Err(misheard("wish", &other)),
        }
    }

    pub(super) fn add_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError> {
        check_config(config)?;
        let now = self.database_time();
        let mut database = self.lock();
        if let Some(there) = database.shelf.configs.get(&(customer, config.id)) {
            return Ok(CreateConfig::Created(there.clone()));
        }
        let Some(account) = database.shelf.customers.get(&customer) else {
            return Ok(CreateConfig::NoCustomer);
        };
        if account.revision != upon {
            return Ok(CreateConfig::Overtaken);
        }
        let taken = database.config_of(customer, &config.workload_type);
        if taken.is_some() {
            return Ok(CreateConfig::TypeTaken);
        }
        let row = ConfigRow {
            record: config.clone(),
            created_at: now,
            updated_at: now,
            revision: Revision::ZERO,
        };
        let place = (customer, config.id);
        database.shelf.configs.insert(place, row.clone());
        Ok(CreateConfig::Created(row))
    }

    pub(super) fn change_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError> {
        check_config(config)?;
        let now = self.database_time();
        let mut database = self.lock();
        let other = database.config_of(customer, &config.workload_type);
        let is_taken = other.is_some_and(|other| other.record.id != config.id);
        let Some(row) = database.shelf.configs.get_mut(&(customer, config.id)) else {
            return Ok(ReplaceConfig::NotFound);
        };
        if row.revision != upon {
            return Ok(ReplaceConfig::Overtaken(row.clone()));
        }
        if is_taken {
            return Ok(ReplaceConfig::TypeTaken);
        }
        row.record = config.clone();
        row.updated_at = now;
        row.revision = upon.next();
        Ok(ReplaceConfig::Replaced(row.clone()))
    }

    pub(super) fn drop_config(&self, customer: CustomerId, config: ConfigId) -> DeleteConfig {
        let mut database = self.lock();
        if !database.shelf.configs.contains_key(&(customer, config)) {
            return DeleteConfig::NotFound;
        }
        let in_use = database.model.workloads().any(|found| {
            let papers = database.shelf.papers.get(&found.row.id);
            papers.is_some_and(|papers| papers.config == config)
                && !found.row.leader.status.is_terminal()
        });
        if in_use {
            return DeleteConfig::InUse;
        }
        if let Some(account) = database.shelf.customers.get_mut(&customer) {
            account.revision = account.revision.next();
        }
        database.shelf.configs.remove(&(customer, config));
        DeleteConfig::Deleted
    }
}

fn check(it: &Submission) -> Result<(), StoreError> {
    words::check_json(&it.input_params)?;
    if let Some(rules) = &it.affinity_rules {
        words::check_json(rules)?;
    }
    if let Some((key, _)) = &it.idempotency {
        words::check_text(key)?;
    }
    it.labels.iter().try_for_each(|(name, value)| {
        words::check_text(name)?;
        words::check_text(value)
    })
}

fn check_config(config: &ConfigRecord) -> Result<(), StoreError> {
    words::check_json(&config.config_json)?;
    words::check_json(&config.resource_limits)?;
    config
        .description
        .as_deref()
        .map_or(Ok(()), words::check_text)
}

fn papers(it: &Submission, config: &ConfigRow) -> Papers {
    let record = &config.record;
    Papers {
        config: record.id,
        actor: it.actor.to_string(),
        input_params: it.input_params.clone(),
        config_json: record.config_json.clone(),
        resource_limits: record.resource_limits.clone(),
        checkpoint_interval_sec: record.checkpoint_interval_sec,
        timeout_seconds: it.timeout_seconds.unwrap_or(record.timeout_seconds),
        affinity_rules: it.affinity_rules.clone(),
        labels: it.labels.clone(),
        moments: Moments::default(),
        progress: None,
        result: None,
        error: None,
        checkpoint: None,
        hands: Vec::new(),
        logs: BTreeMap::new(),
    }
}

/// The row that a submission makes; the model fills in the halves and the queue's columns.
fn row(it: &Submission, config: &ConfigRecord) -> WorkloadRow {
    let timeout = it.timeout_seconds.unwrap_or(config.timeout_seconds);
    WorkloadRow {
        id: it.id,
        customer: it.customer,
        workload_type: it.workload_type.clone(),
        affinity: Arc::new(it.affinity.clone()),
        class: it.class,
        priority: it.priority,
        max_retries: it.max_retries.unwrap_or(config.max_retries),
        timeout: Duration::from_secs(u64::from(timeout)),
        on_lease_loss: config.on_lease_loss,
        run_after: it.run_after,
        desired: Desired::Run,
        wish_revision: WishRevision::ZERO,
        leader: LeaderHalf {
            status: Status::Pending,
            attempt: Attempt::ZERO,
            worker: None,
            retry_count: 0,
            loss_count: 0,
            eligible_at: WallTime::default(),
            sort_key: 0,
            backoff_until: None,
            wish_seen: WishRevision::ZERO,
            stopping: None,
            error_type: None,
        },
        checkpoint: None,
        started_at: None,
    }
}
