//! The operations of a script on a production store, and how their outcomes are told.

use crate::terms;
use niyanta_core::{
    ids::{Attempt, Generation, WishRevision},
    scheduling::AffinityRules,
    time::Duration,
};
use runtime::store::{
    AdminActor, CheckpointReport, Json, KeyId, LeaseAnswer, OutcomeReport, Store, StoreError,
    Submission, SubmitOutcome, TakeLease, Wish, WishOutcome, WorkerWish, WorkerWishOutcome,
    Written,
};
use serde_json::json;
use sim::conformance::{CUSTOMERS, Op};
use std::sync::Arc;

/// Every submission's and wish's key.
const KEY: KeyId = KeyId(9);

/// Does what a coordinator does, to its end.
pub(crate) async fn perform(store: &dyn Store, node: usize, op: &Op) -> String {
    match attempt(store, node, op).await {
        Ok(outcome) => outcome,
        Err(StoreError::Unavailable(_)) => String::from("unavailable"),
        Err(StoreError::LockTimeout(_)) => String::from("lock timeout"),
        Err(StoreError::Unknown(_)) => String::from("unknown"),
        Err(StoreError::Refused(_)) => String::from("refused"),
        Err(StoreError::Corrupt(what)) => format!("corrupt: {what}"),
        Err(StoreError::Failed(what)) => format!("failed: {what}"),
    }
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm for each operation, and no decision"
)]
async fn attempt(store: &dyn Store, node: usize, op: &Op) -> Result<String, StoreError> {
    let incarnation = terms::node(node);
    Ok(match op {
        Op::TakeLease {
            above,
            own,
            force,
            long,
        } => {
            let ask = TakeLease {
                holder: incarnation.to_string(),
                incarnation,
                above: Generation(*above),
                own: own.map(Generation),
                force: *force,
                ttl: terms::ttl(*long),
            };
            match store.take_lease(ask).await?.value {
                LeaseAnswer::Taken(generation) => format!("taken {generation}"),
                LeaseAnswer::Held(row) => format!("lease {}", terms::lease_row(&row)),
            }
        }
        Op::ReadLease => format!(
            "lease {}",
            terms::lease_row(&store.read_lease().await?.value)
        ),
        Op::RenewLease { generation, long } => {
            let generation = Generation(*generation);
            let renewal = store.renew_lease(&incarnation, generation, terms::ttl(*long));
            format!("renewed {}", renewal.await?.value)
        }
        Op::ResignLease { generation } => {
            let generation = Generation(*generation);
            store.resign_lease(&incarnation, generation).await?;
            String::from("done")
        }
        Op::Persist(words) => {
            let batch = Arc::new(terms::batch(words));
            format!("{:?}", store.commit(&batch).await?)
        }
        Op::ReadFence => terms::told(&store.read_fence().await?),
        Op::Snapshot { limit } => terms::told(&store.snapshot(*limit).await?.value),
        Op::Load { what, limit } => {
            terms::told(&store.load(&terms::load(what), *limit).await?.value)
        }
        Op::Reasons(noted) => {
            reasons(store, noted).await?;
            String::from("done")
        }
        Op::Heartbeats(heard) => {
            heartbeats(store, heard).await?;
            String::from("done")
        }
        Op::Content { .. } => content(store, op).await?,
        Op::Submit {
            customer,
            workload,
            key,
            priority,
        } => {
            let submission = submission(*customer, *workload, *key, *priority);
            match store.submit(&[submission]).await.remove(0)? {
                SubmitOutcome::Created(view) | SubmitOutcome::Existing(view) => {
                    format!("there {}", view.id.0)
                }
                SubmitOutcome::QueueFull { .. } => String::from("queue full"),
                SubmitOutcome::KeyReused => String::from("key reused"),
                SubmitOutcome::UnknownType => String::from("unknown type"),
            }
        }
        Op::Wish {
            customer,
            workload,
            desired,
            upon,
        } => {
            let wish = Wish {
                customer: terms::customer(*customer),
                workload: terms::workload(*workload),
                desired: terms::word(desired),
                upon: WishRevision(*upon),
                actor: KEY,
                reason: None,
                if_version: None,
            };
            match store.wish(&wish).await? {
                WishOutcome::Written(view)
                | WishOutcome::Already(view)
                | WishOutcome::TerminalSame(view) => format!("recorded {}", view.version),
                WishOutcome::Refused(_) => String::from("conflict"),
                WishOutcome::Overtaken(_) => String::from("overtaken"),
                WishOutcome::VersionMismatch(_) => String::from("version mismatch"),
                WishOutcome::NotFound => String::from("not found"),
            }
        }
        Op::WishWorker {
            worker,
            desired,
            upon: (start, revision),
            deadline,
        } => {
            let wish = WorkerWish {
                worker: terms::worker(*worker),
                desired: terms::word(desired),
                incarnation: terms::start((*worker, *start)),
                upon: WishRevision(*revision),
                deadline: deadline.then_some(Duration::from_secs(60)),
                actor: AdminActor::CommandLine,
            };
            String::from(match store.wish_worker(&wish).await? {
                WorkerWishOutcome::Written(_) => "written",
                WorkerWishOutcome::Overtaken(_) => "overtaken",
                WorkerWishOutcome::NotFound => "no worker",
            })
        }
        Op::Get { customer, workload } => {
            let (customer, workload) = (terms::customer(*customer), terms::workload(*workload));
            let view = store.workload(customer, workload).await?;
            terms::told(&view.map(|view| (view.status, view.desired, view.version)))
        }
        Op::Hold(_) => String::from("a stranger's"),
    })
}

async fn reasons(store: &dyn Store, reasons: &[(u8, u32, u32)]) -> Result<(), StoreError> {
    let reasons: Vec<_> = reasons
        .iter()
        .map(|(id, attempt, why)| (terms::workload(*id), Attempt(*attempt), terms::reason(*why)))
        .collect();
    store.record_pending_reasons(&reasons).await
}

async fn heartbeats(store: &dyn Store, heard: &[(u8, u8)]) -> Result<(), StoreError> {
    let heard: Vec<_> = heard
        .iter()
        .map(|it| (terms::worker(it.0), terms::start(*it), Duration::ZERO))
        .collect();
    store.record_heartbeats(&heard).await
}

/// As the coordinator's driver does: a note takes the place of a last report that is refused.
async fn content(store: &dyn Store, op: &Op) -> Result<String, StoreError> {
    let Op::Content {
        workload,
        attempt,
        worker,
        checkpoint,
        bad,
    } = op
    else {
        return Ok(String::from("no content"));
    };
    let (workload, attempt) = (terms::workload(*workload), Attempt(*attempt));
    let incarnation = terms::start(*worker);
    let data = if *bad { "\0" } else { "data" };
    let written = match checkpoint {
        Some(checkpoint_sequence) => {
            let report = CheckpointReport {
                workload,
                attempt,
                incarnation,
                checkpoint_sequence: *checkpoint_sequence,
                data: data.to_owned(),
            };
            store.put_checkpoint(&report).await
        }
        None => {
            let report = |result: Option<Json>, message: Option<&str>| OutcomeReport {
                workload,
                attempt,
                incarnation: incarnation.clone(),
                result_data: result,
                error_message: message.map(str::to_owned),
            };
            match store
                .put_outcome(&report(Some(json!({ "it": data })), None))
                .await
            {
                Err(StoreError::Refused(_)) => {
                    store.put_outcome(&report(None, Some("refused"))).await?;
                    return Ok(String::from("content refused"));
                }
                other => other,
            }
        }
    };
    match written {
        Ok(Written::Stored) => Ok(String::from("stored")),
        Ok(Written::NotOpen) => Ok(String::from("not open")),
        Err(StoreError::Refused(_)) => Ok(String::from("content refused")),
        Err(error) => Err(error),
    }
}

fn submission(customer: u8, workload: u8, key: Option<u8>, priority: u16) -> Submission {
    Submission {
        id: terms::workload(workload),
        customer: terms::customer(customer),
        actor: KEY,
        idempotency: key.map(|key| (key.to_string(), [7; 32])),
        workload_type: terms::kind(),
        input_params: json!({}),
        priority,
        affinity: AffinityRules::default(),
        affinity_rules: None,
        class: terms::CLASS,
        timeout_seconds: None,
        max_retries: None,
        labels: std::collections::BTreeMap::new(),
        run_after: None,
    }
}

/// Makes what every script finds: its customers, with room for so many, and their workload type.
pub(crate) async fn furnish(store: &dyn Store) {
    use runtime::store::{ConfigId, ConfigRecord, CustomerRecord, LimitOverrides, Revision, Tier};
    for number in 1..=CUSTOMERS {
        let room = sim::conformance::ROOM[usize::from(number) - 1];
        let customer = CustomerRecord {
            id: terms::customer(number),
            name: format!("customer {number}"),
            tier: Tier::Free,
            overrides: LimitOverrides {
                max_queue_depth: Some(room),
                ..LimitOverrides::default()
            },
        };
        let made = store.create_customer(&customer, &AdminActor::CommandLine);
        made.await.unwrap();
        let config = ConfigRecord {
            id: ConfigId(number.into()),
            workload_type: terms::kind(),
            description: None,
            config_json: json!({}),
            resource_limits: json!({}),
            checkpoint_interval_sec: 60,
            max_retries: terms::MAX_RETRIES,
            timeout_seconds: terms::TIMEOUT_SECONDS,
            on_lease_loss: niyanta_core::workload::OnLeaseLoss::Stop,
        };
        let made = store.create_config(terms::customer(number), &config, Revision::ZERO);
        made.await.unwrap();
    }
}
