//! Taking, reading, renewing and resigning the lease.

use super::super::{
    LeaseAnswer, StoreError, TakeLease, Timed,
    encode::{int, micros, number},
    records::{FenceColumns, LeaseColumns},
};
use super::session::{End, Fault, Session, from_now, now};
use niyanta_core::{
    ids::{Generation, Incarnation},
    snapshot::{FenceRow, LeaseRow},
    time::Duration,
};
use sqlx::SqliteConnection;

const TAKE: &str = "\
update lease set holder = $1, incarnation = $2, generation = max(generation, $3) + 1,
    expires_at = $4, resigned = 0, longest_ttl = max(longest_ttl, $5)
where id = 1 and ($6 or expires_at < $7 or resigned or (incarnation = $2 and generation = $8))
returning generation";

const READ: &str = "\
select incarnation, generation, resigned, $1 as database_time,
    max(0, expires_at - $1) as remaining
from lease where id = 1";

/// The fence row as [`FenceColumns`] wants it.
pub(super) const FENCE: &str =
    "select generation, incarnation, applied_batch from fence where id = 1";

async fn read(conn: &mut SqliteConnection) -> Result<Timed<LeaseRow>, Fault> {
    let row: LeaseColumns = sqlx::query_as(READ).bind(now().0).fetch_one(conn).await?;
    let database_time = row.database_time.into();
    Ok(Timed {
        value: row.read()?,
        database_time,
    })
}

impl Session {
    pub(super) async fn take_lease(
        &self,
        ask: TakeLease,
    ) -> Result<Timed<LeaseAnswer>, StoreError> {
        let above = int(ask.above.0)?;
        // A generation that no row has stands for none.
        let own = ask.own.map_or(Ok(-1), |own| int(own.0))?;
        self.write(move |conn| {
            Box::pin(async move {
                let database_time = now();
                let taken: Option<i64> = sqlx::query_scalar(TAKE)
                    .bind(&ask.holder)
                    .bind(ask.incarnation.as_str())
                    .bind(above)
                    .bind(database_time.plus(ask.ttl).0)
                    .bind(micros(ask.ttl))
                    .bind(ask.force)
                    .bind(database_time.0)
                    .bind(own)
                    .fetch_optional(&mut *conn)
                    .await?;
                let Some(generation) = taken else {
                    let Timed {
                        value,
                        database_time,
                    } = read(conn).await?;
                    let value = LeaseAnswer::Held(value);
                    return Ok(End::Undo(Timed {
                        value,
                        database_time,
                    }));
                };
                let fenced = sqlx::query(
                    "update fence set generation = $1, incarnation = $2, applied_batch = 0 \
                     where id = 1",
                )
                .bind(generation)
                .bind(ask.incarnation.as_str())
                .execute(conn)
                .await?;
                if fenced.rows_affected() != 1 {
                    return Err(StoreError::Failed("the fence row is missing".into()).into());
                }
                let value = LeaseAnswer::Taken(Generation(number(&"lease row", generation)?));
                Ok(End::Keep(Timed {
                    value,
                    database_time,
                }))
            })
        })
        .await
    }

    pub(super) async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError> {
        self.read(|conn| Box::pin(read(conn))).await
    }

    pub(super) async fn renew_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Result<Timed<bool>, StoreError> {
        let (incarnation, generation) = (incarnation.clone(), int(generation.0)?);
        self.write(move |conn| {
            Box::pin(async move {
                let done = sqlx::query(
                    "update lease set expires_at = $3, longest_ttl = max(longest_ttl, $4) \
                     where id = 1 and incarnation = $1 and generation = $2 and not resigned",
                )
                .bind(incarnation.as_str())
                .bind(generation)
                .bind(from_now(ttl))
                .bind(micros(ttl))
                .execute(conn)
                .await?;
                let value = done.rows_affected() == 1;
                Ok(End::Keep(Timed {
                    value,
                    database_time: now(),
                }))
            })
        })
        .await
    }

    pub(super) async fn resign_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let (incarnation, generation) = (incarnation.clone(), int(generation.0)?);
        self.write(move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "update lease set resigned = 1 \
                     where id = 1 and incarnation = $1 and generation = $2",
                )
                .bind(incarnation.as_str())
                .bind(generation)
                .execute(conn)
                .await?;
                Ok(End::Keep(()))
            })
        })
        .await
    }

    pub(super) async fn read_fence(&self) -> Result<FenceRow, StoreError> {
        self.read(|conn| {
            Box::pin(async move {
                let row: FenceColumns = sqlx::query_as(FENCE).fetch_one(conn).await?;
                Ok(row.read()?)
            })
        })
        .await
    }
}
