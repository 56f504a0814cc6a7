//! Workload configs.

use super::super::{
    ConfigId, ConfigRecord, ConfigRow, CreateConfig, DeleteConfig, Page, ReplaceConfig, Revision,
    StoreError,
    encode::{Time, int, json_text, maybe_text, uuid},
    records::{ConfigColumns, config_columns},
};
use super::{
    session::{End, Session, now},
    workloads::place,
};
use niyanta_core::ids::CustomerId;
use sqlx::{Sqlite, query::QueryAs, sqlite::SqliteArguments};
use uuid::Uuid;

const CREATE: &str = concat!(
    "insert into workload_configs (customer_id, id, workload_type, description, config_json,
        resource_limits, checkpoint_interval_sec, max_retries, timeout_seconds, on_lease_loss,
        created_at, updated_at)
     select c.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
        $11 from customers c where c.id = $1 and c.revision = $12
     on conflict (customer_id, workload_type) do nothing returning ",
    config_columns!()
);
const REPLACE: &str = concat!(
    "update workload_configs set workload_type = $3, description = $4, config_json = $5,
        resource_limits = $6, checkpoint_interval_sec = $7, max_retries = $8,
        timeout_seconds = $9, on_lease_loss = $10, updated_at = $11,
        revision = revision + 1
     where customer_id = $1 and id = $2 and revision = $12 returning ",
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
        and ($4 is null or created_at <= $4) order by created_at, id limit $5"
);
const LIST_DOWN: &str = concat!(
    "select ",
    config_columns!(),
    " from workload_configs where customer_id = $1 and (created_at, id) < ($2, $3)
        and ($4 is null or created_at <= $4)
      order by created_at desc, id desc limit $5"
);

const TAKEN: &str = "\
select exists (
    select 1 from workload_configs where customer_id = $1 and workload_type = $2 and id <> $3)";
const IN_USE: &str = "select exists (select 1 from workloads where config_id = $1 and open)";

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
        query: QueryAs<'q, Sqlite, ConfigColumns, SqliteArguments>,
    ) -> QueryAs<'q, Sqlite, ConfigColumns, SqliteArguments> {
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
            .bind(now().0)
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
        let row: Option<ConfigColumns> = self
            .write(move |conn| {
                Box::pin(async move {
                    let row = columns
                        .bind(sqlx::query_as(CREATE))
                        .fetch_optional(conn)
                        .await?;
                    Ok(End::Keep(row))
                })
            })
            .await?;
        match row {
            Some(row) => row.read().map(CreateConfig::Created),
            // The type is taken, unless it is by an earlier sending of this very statement.
            None => match self.config(customer, config.id).await? {
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
            .fetch(move |conn| {
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
            .fetch(move |conn| {
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
        self.write(move |conn| {
            Box::pin(async move {
                let there: Option<ConfigColumns> = sqlx::query_as(ONE)
                    .bind(columns.customer)
                    .bind(uuid(columns.record.id.0))
                    .fetch_optional(&mut *conn)
                    .await?;
                let Some(there) = there.map(ConfigColumns::read).transpose()? else {
                    return Ok(End::Undo(ReplaceConfig::NotFound));
                };
                if there.revision != upon {
                    return Ok(End::Undo(ReplaceConfig::Overtaken(there)));
                }
                let taken: bool = sqlx::query_scalar(TAKEN)
                    .bind(columns.customer)
                    .bind(columns.record.workload_type.as_str())
                    .bind(uuid(columns.record.id.0))
                    .fetch_one(&mut *conn)
                    .await?;
                if taken {
                    return Ok(End::Undo(ReplaceConfig::TypeTaken));
                }
                let row: Option<ConfigColumns> = columns
                    .bind(sqlx::query_as(REPLACE))
                    .fetch_optional(conn)
                    .await?;
                Ok(End::Keep(match row {
                    Some(row) => ReplaceConfig::Replaced(row.read()?),
                    None => ReplaceConfig::NotFound,
                }))
            })
        })
        .await
    }

    pub(super) async fn delete_config(
        &self,
        customer: CustomerId,
        config: ConfigId,
    ) -> Result<DeleteConfig, StoreError> {
        let (customer, config) = (uuid(customer.0), uuid(config.0));
        self.write(move |conn| {
            Box::pin(async move {
                let there: Option<ConfigColumns> = sqlx::query_as(ONE)
                    .bind(customer)
                    .bind(config)
                    .fetch_optional(&mut *conn)
                    .await?;
                if there.is_none() {
                    return Ok(End::Undo(DeleteConfig::NotFound));
                }
                let used: bool = sqlx::query_scalar(IN_USE)
                    .bind(config)
                    .fetch_one(&mut *conn)
                    .await?;
                if used {
                    return Ok(End::Undo(DeleteConfig::InUse));
                }
                sqlx::query("update customers set revision = revision + 1 where id = $1")
                    .bind(customer)
                    .execute(&mut *conn)
                    .await?;
                sqlx::query("delete from workload_configs where id = $1")
                    .bind(config)
                    .execute(conn)
                    .await?;
                Ok(End::Keep(DeleteConfig::Deleted))
            })
        })
        .await
    }
}
