//! Workload configs.

use super::super::{
    ConfigId, ConfigRecord, ConfigRow, CreateConfig, DeleteConfig, Page, ReplaceConfig, Revision,
    StoreError,
    encode::{Time, int, json_text, maybe_text, uuid},
    records::{ConfigColumns, config_columns},
};
use super::{
    session::{Lane, Session, sqlstate},
    workloads::place,
};
use niyanta_core::ids::CustomerId;
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};
use uuid::Uuid;

const CREATE: &str = concat!(
    "with c as (
        select id from customers where id = $1 and revision = $11 for no key update)
     insert into workload_configs (customer_id, id, workload_type, description, config_json,
        resource_limits, checkpoint_interval_sec, max_retries, timeout_seconds, on_lease_loss,
        created_at, updated_at)
     select c.id, $2, $3, $4, $5::json, $6::json, $7, $8, $9, $10, clock_timestamp(),
        clock_timestamp()
     from c
     on conflict (customer_id, workload_type) do nothing returning ",
    config_columns!()
);
const REPLACE: &str = concat!(
    "update workload_configs set workload_type = $3, description = $4, config_json = $5::json,
        resource_limits = $6::json, checkpoint_interval_sec = $7, max_retries = $8,
        timeout_seconds = $9, on_lease_loss = $10, updated_at = clock_timestamp(),
        revision = revision + 1
     where customer_id = $1 and id = $2 and revision = $11 returning ",
    config_columns!()
);
const ONE: &str = concat!(
    "select ",
    config_columns!(),
    " from workload_configs where customer_id = $1 and id = $2"
);
const LIST_UP: &str = concat!(
    "select ",
    config_columns!(),
    " from workload_configs where customer_id = $1 and (created_at, id) > ($2, $3)
        and ($4::timestamptz is null or created_at <= $4) order by created_at, id limit $5"
);
const LIST_DOWN: &str = concat!(
    "select ",
    config_columns!(),
    " from workload_configs where customer_id = $1 and (created_at, id) < ($2, $3)
        and ($4::timestamptz is null or created_at <= $4)
      order by created_at desc, id desc limit $5"
);

/// SQLSTATE of a unique violation.
const UNIQUE_VIOLATION: &str = "23505";

/// A config as its statements want it.
struct Columns {
    customer: Uuid,
    record: ConfigRecord,
    config: String,
    limits: String,
    upon: i64,
}

impl Columns {
    fn new(
        customer: CustomerId,
        record: &ConfigRecord,
        upon: Revision,
    ) -> Result<Self, StoreError> {
        maybe_text(record.description.as_deref())?;
        Ok(Self {
            customer: uuid(customer.0),
            config: json_text(&record.config_json)?,
            limits: json_text(&record.resource_limits)?,
            upon: int(upon.0)?,
            record: record.clone(),
        })
    }

    fn bind<'q>(
        &'q self,
        query: QueryAs<'q, Postgres, ConfigColumns, PgArguments>,
    ) -> QueryAs<'q, Postgres, ConfigColumns, PgArguments> {
        let record = &self.record;
        query
            .bind(self.customer)
            .bind(uuid(record.id.0))
            .bind(record.workload_type.as_str())
            .bind(&record.description)
            .bind(&self.config)
            .bind(&self.limits)
            .bind(i64::from(record.checkpoint_interval_sec))
            .bind(i64::from(record.max_retries))
            .bind(i64::from(record.timeout_seconds))
            .bind(record.on_lease_loss.as_str())
            .bind(self.upon)
    }
}

impl Session {
    pub(super) async fn create_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<CreateConfig, StoreError> {
        let columns = Columns::new(customer, config, upon)?;
        let row = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    columns
                        .bind(sqlx::query_as(CREATE))
                        .fetch_optional(conn)
                        .await
                })
            })
            .await;
        match row {
            Ok(Some(row)) => Ok(CreateConfig::Created(ConfigColumns::read(row)?)),
            Err(error) if sqlstate(&error).as_deref() != Some(UNIQUE_VIOLATION) => Err(error),
            // The type is taken, unless it is by an earlier sending of this very statement.
            Ok(None) | Err(_) => match self.config(customer, config.id).await? {
                Some(row) => Ok(CreateConfig::Created(row)),
                None => {
                    let found = self.customer(customer).await?;
                    Ok(CreateConfig::refused(found.as_ref(), upon))
                }
            },
        }
    }

    pub(super) async fn config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<Option<ConfigRow>, StoreError> {
        let row: Option<ConfigColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(ONE)
                        .bind(uuid(customer.0))
                        .bind(uuid(config.0))
                        .fetch_optional(conn)
                        .await
                })
            })
            .await?;
        row.map(ConfigColumns::read).transpose()
    }

    pub(super) async fn configs(
        &self,
        customer: CustomerId,
        page: &Page,
    ) -> Result<Vec<ConfigRow>, StoreError> {
        let page = page.clone();
        let rows: Vec<ConfigColumns> = self
            .read(Lane::Api, move |conn| {
                Box::pin(async move {
                    let (at, id) = place(&page);
                    sqlx::query_as(if page.ascending { LIST_UP } else { LIST_DOWN })
                        .bind(uuid(customer.0))
                        .bind(at)
                        .bind(id)
                        .bind(page.until.map(Time::from))
                        .bind(i64::from(page.limit))
                        .fetch_all(conn)
                        .await
                })
            })
            .await?;
        rows.into_iter().map(ConfigColumns::read).collect()
    }

    pub(super) async fn replace_config(
        &self,
        customer: CustomerId,
        config: &ConfigRecord,
        upon: Revision,
    ) -> Result<ReplaceConfig, StoreError> {
        let columns = Columns::new(customer, config, upon)?;
        let row = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    columns
                        .bind(sqlx::query_as(REPLACE))
                        .fetch_optional(conn)
                        .await
                })
            })
            .await;
        match row {
            Ok(Some(row)) => Ok(ReplaceConfig::Replaced(ConfigColumns::read(row)?)),
            Ok(None) => {
                let found = self.config(customer, config.id).await?;
                Ok(found.map_or(ReplaceConfig::NotFound, ReplaceConfig::Overtaken))
            }
            Err(error) if sqlstate(&error).as_deref() == Some(UNIQUE_VIOLATION) => {
                Ok(ReplaceConfig::TypeTaken)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn delete_config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<DeleteConfig, StoreError> {
        let answer: String = self
            .write(Lane::Api, move |conn| {
                Box::pin(async move {
                    sqlx::query_scalar("select niyanta_delete_config($1, $2)")
                        .bind(uuid(customer.0))
                        .bind(uuid(config.0))
                        .fetch_one(conn)
                        .await
                })
            })
            .await?;
        match answer.as_str() {
            "deleted" => Ok(DeleteConfig::Deleted),
            "in_use" => Ok(DeleteConfig::InUse),
            "not_found" => Ok(DeleteConfig::NotFound),
            other => Err(StoreError::Corrupt(format!(
                "niyanta_delete_config answered {other}"
            ))),
        }
    }
}
