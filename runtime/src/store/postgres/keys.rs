//! API keys: made, listed, found by the hash of their secret, revoked.
//!
//! What is written carries its admin audit event, as all that operators do; the use of a key is only
//! noted.

use super::super::{
    AdminActor, KeyId, KeyRecord, KeyRow, Page, StoreError,
    encode::{Time, text, uuid},
    records::{KeyColumns, key_columns},
    shared::{actor_name, key_details},
};
use super::{
    admin::audited,
    session::{Lane, Session, sqlstate},
    workloads::place,
};
use niyanta_core::{ids::CustomerId, time::WallTime};

const CREATE_KEY: &str = concat!(
    "with k as (
        insert into api_keys (id, customer_id, name, prefix, secret_hash, created_at, expires_at)
        select $1, $2, $3, $4, $5, clock_timestamp(), $6
        where $2::uuid is null or exists (select 1 from customers where id = $2) returning *)",
    audited!("k", "$7", "'key.created'", "$8", "$9"),
    " select ",
    key_columns!(),
    " from k"
);
const REVOKE_KEY: &str = concat!(
    "with k as (
        update api_keys set revoked_at = clock_timestamp()
        where id = $1 and revoked_at is null returning *)",
    audited!("k", "$2", "'key.revoked'", "$3", "$4"),
    " select ",
    key_columns!(),
    " from k"
);
const KEY: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.id = $1"
);
const KEY_BY_HASH: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.secret_hash = $1"
);
const KEYS_UP: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.customer_id is not distinct from $1
        and (k.created_at, k.id) > ($2, $3)
        and ($4::timestamptz is null or k.created_at <= $4)
      order by k.created_at, k.id limit $5"
);
const KEYS_DOWN: &str = concat!(
    "select ",
    key_columns!(),
    " from api_keys k where k.customer_id is not distinct from $1
        and (k.created_at, k.id) < ($2, $3)
        and ($4::timestamptz is null or k.created_at <= $4)
      order by k.created_at desc, k.id desc limit $5"
);
const KEY_USE: &str = "\
with l as materialized (
    select k.id, u.at from unnest($1::uuid[], $2::timestamptz[]) as u(id, at)
    join api_keys k on k.id = u.id for no key update of k skip locked)
update api_keys k set last_used_at = greatest(k.last_used_at, l.at) from l where k.id = l.id";

impl Session {
    pub(super) async fn create_key(
        &self,
        key: &KeyRecord,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        text(&key.name)?;
        let (it, actor, details) = (key.clone(), actor_name(actor), key_details(key));
        let created: Result<Option<KeyColumns>, StoreError> = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(CREATE_KEY)
                        .bind(uuid(it.id.0))
                        .bind(it.customer.map(|id| uuid(id.0)))
                        .bind(it.name)
                        .bind(it.prefix)
                        .bind(it.secret_hash.to_vec())
                        .bind(it.expires_at.map(Time::from))
                        .bind(actor)
                        .bind(it.id.to_string())
                        .bind(details)
                        .fetch_optional(conn)
                        .await
                })
            })
            .await;
        match created {
            Ok(row) => row.map(KeyColumns::read).transpose(),
            // An earlier sending of this statement made it.
            Err(error) if sqlstate(&error).as_deref() == Some("23505") => {
                self.key(key.id).await?.ok_or(error).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    async fn key(&self, key: KeyId) -> Result<Option<KeyRow>, StoreError> {
        let row: Option<KeyColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(KEY)
                        .bind(uuid(key.0))
                        .fetch_optional(conn)
                        .await
                })
            })
            .await?;
        row.map(KeyColumns::read).transpose()
    }

    pub(super) async fn keys(
        &self,
        customer: Option<CustomerId>,
        page: &Page,
    ) -> Result<Option<Vec<KeyRow>>, StoreError> {
        if let Some(customer) = customer
            && self.customer(customer).await?.is_none()
        {
            return Ok(None);
        }
        let page = page.clone();
        let rows: Vec<KeyColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let (at, id) = place(&page);
                    sqlx::query_as(if page.ascending { KEYS_UP } else { KEYS_DOWN })
                        .bind(customer.map(|id| uuid(id.0)))
                        .bind(at)
                        .bind(id)
                        .bind(page.until.map(Time::from))
                        .bind(i64::from(page.limit))
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        rows.into_iter()
            .map(KeyColumns::read)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(super) async fn revoke_key(
        &self,
        key: KeyId,
        actor: &AdminActor,
    ) -> Result<Option<KeyRow>, StoreError> {
        let actor = actor_name(actor);
        let row: Option<KeyColumns> = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(REVOKE_KEY)
                        .bind(uuid(key.0))
                        .bind(actor)
                        .bind(key.to_string())
                        .bind("{}")
                        .fetch_optional(conn)
                        .await
                })
            })
            .await?;
        match row {
            Some(row) => row.read().map(Some),
            None => self.key(key).await,
        }
    }

    pub(super) async fn find_key(
        &self,
        secret_hash: &[u8; 32],
    ) -> Result<Option<KeyRow>, StoreError> {
        let hash = secret_hash.to_vec();
        let row: Option<KeyColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(KEY_BY_HASH)
                        .bind(hash)
                        .fetch_optional(conn)
                        .await
                })
            })
            .await?;
        row.map(KeyColumns::read).transpose()
    }

    pub(super) async fn record_key_use(
        &self,
        used: &[(KeyId, WallTime)],
    ) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = used.iter().map(|(id, _)| uuid(id.0)).collect();
        let times: Vec<_> = used.iter().map(|(_, at)| Time::from(*at)).collect();
        self.write(Lane::Api, move |conn| {
            Box::pin(async move {
                sqlx::query(KEY_USE)
                    .bind(ids)
                    .bind(times)
                    .execute(conn)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }
}
