//! Wishes for workloads: one update of one row, and its audit event with the number that it took.
//!
//! The update names the revision that the wish was made upon, so of all its sendings one lands at
//! most, and none after another wish.

use super::super::{
    StoreError, Wish, WishOutcome,
    encode::{int, maybe_text, uuid},
    records::{ViewColumns, view_columns},
    shared::wish_event,
};
use super::{
    session::{Lane, Session},
    workloads::find,
};
use niyanta_core::workload::Desired;
use serde_json::json;

/// A wish that could be written, but was not because the row moved, is tried again this often.
const TRIES: usize = 8;

const WISH: &str = concat!(
    "with w as (
        update workloads set desired = $3, wish_revision = wish_revision + 1,
            version = version + 1, updated_at = clock_timestamp()
        where id = $2 and customer_id = $1 and open and desired <> 'cancel' and desired <> $3
            and ($7::bigint[] is null or version = any($7)) and wish_revision = $8
        returning *),
    a as (
        insert into audit (workload_id, sequence, kind, at, actor_type, actor_id, attempt,
            generation, details)
        select w.id, w.version, $4, w.updated_at, 'user', $5, w.attempt, 0, $6::json from w)
    select ",
    view_columns!(),
    " from w join workload_payloads p on p.workload_id = w.id
      left join workload_outcomes o on o.workload_id = w.id"
);

impl Session {
    pub(super) async fn wish(&self, wish: &Wish) -> Result<WishOutcome, StoreError> {
        maybe_text(wish.reason.as_deref())?;
        let (customer, id) = (uuid(wish.customer.0), uuid(wish.workload.0));
        for _ in 0..TRIES {
            if let Some(row) = self.write_wish(wish).await? {
                return Ok(WishOutcome::Written(row.view()?));
            }
            let row: Option<ViewColumns> = self
                .read(Lane::Api, move |conn| Box::pin(find(conn, customer, id)))
                .await?;
            let Some(row) = row else {
                return Ok(WishOutcome::NotFound);
            };
            if let Some(outcome) = wish.refusal(row.view()?) {
                return Ok(outcome);
            }
        }
        let why = "the workload moved each time that it was looked at";
        Err(StoreError::Unavailable(why.into()))
    }

    async fn write_wish(&self, wish: &Wish) -> Result<Option<ViewColumns>, StoreError> {
        let (customer, id) = (uuid(wish.customer.0), uuid(wish.workload.0));
        let (desired, event): (Desired, _) = (wish.desired, wish_event(wish.desired));
        let actor = wish.actor.to_string();
        let details = wish
            .reason
            .as_ref()
            .map_or_else(|| json!({}), |it| json!({ "reason": it }));
        let versions = wish.if_version.clone();
        let upon = int(wish.upon.0)?;
        self.write_past_sleepers(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query_as(WISH)
                    .bind(customer)
                    .bind(id)
                    .bind(desired.as_str())
                    .bind(event.as_str())
                    .bind(actor)
                    .bind(details.to_string())
                    .bind(versions)
                    .bind(upon)
                    .fetch_optional(conn)
                    .await
            })
        })
        .await
    }
}
