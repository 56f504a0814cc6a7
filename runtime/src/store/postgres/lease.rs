//! Taking, reading, renewing and resigning the lease.
//!
//! A takeover locks the lease row, then the fence row; a renewal the lease row alone; a commit the
//! fence row and never the lease's. So no two of them can wait for each other in a circle.

use super::super::{
    LeaseAnswer, StoreError, TakeLease, Timed,
    encode::{Time, int, micros},
    records::{FenceColumns, LeaseColumns},
};
use super::session::{Lane, Session};
use niyanta_core::{
    ids::{Generation, Incarnation},
    snapshot::{FenceRow, LeaseRow},
    time::Duration,
};

const TAKE: &str = "\
with l as (
    update lease set holder = $1, incarnation = $2, generation = greatest(generation, $3) + 1,
        expires_at = clock_timestamp() + $4 * interval '1 microsecond',
        resigned = false, longest_ttl = greatest(longest_ttl, $4)
    where id = 1 and ($6 or expires_at < clock_timestamp() or resigned
        or (incarnation = $2 and generation = $5))
    returning generation),
f as (
    update fence set generation = l.generation, incarnation = $2, applied_batch = 0
    from l where fence.id = 1 returning fence.generation),
n as (select (select count(*) from l) as l, (select count(*) from f) as f)
select (select generation from f), clock_timestamp(),
    case when n.l = 1 and n.f <> 1 then niyanta_raise('NY003', 'the fence row is missing') end
from n";

/// The lease row as [`LeaseColumns`] wants it.
pub(super) const READ: &str = "\
select incarnation, generation, resigned, clock_timestamp() as database_time,
    greatest(0, (extract(epoch from expires_at - clock_timestamp()) * 1000000)::bigint) as remaining
from lease where id = 1";

const RENEW: &str = "\
with u as (
    update lease set expires_at = clock_timestamp() + $3 * interval '1 microsecond',
        longest_ttl = greatest(longest_ttl, $3)
    where id = 1 and incarnation = $1 and generation = $2 and not resigned returning 1)
select (select count(*) from u) = 1, clock_timestamp()";

impl Session {
    pub(super) async fn take_lease(
        &self,
        ask: TakeLease,
    ) -> Result<Timed<LeaseAnswer>, StoreError> {
        let (above, ttl) = (int(ask.above.0)?, micros(ask.ttl));
        // A generation that no row has stands for none.
        let own = ask.own.map_or(Ok(-1), |own| int(own.0))?;
        let (taken, at, _): (Option<i64>, Time, Option<i64>) = self
            .write_past_sleepers(Lane::Lease, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(TAKE)
                        .bind(&ask.holder)
                        .bind(ask.incarnation.as_str())
                        .bind(above)
                        .bind(ttl)
                        .bind(own)
                        .bind(ask.force)
                        .fetch_one(conn)
                        .await
                })
            })
            .await?;
        if let Some(generation) = taken {
            let generation = super::super::encode::number(&"lease row", generation)?;
            let value = LeaseAnswer::Taken(Generation(generation));
            return Ok(Timed {
                value,
                database_time: at.into(),
            });
        }
        let Timed {
            value,
            database_time,
        } = self.read_lease().await?;
        Ok(Timed {
            value: LeaseAnswer::Held(value),
            database_time,
        })
    }

    pub(super) async fn read_lease(&self) -> Result<Timed<LeaseRow>, StoreError> {
        let row: LeaseColumns = self
            .read(Lane::Lease, |conn| {
                Box::pin(sqlx::query_as(READ).fetch_one(conn))
            })
            .await?;
        let database_time = row.database_time.into();
        Ok(Timed {
            value: row.read()?,
            database_time,
        })
    }

    pub(super) async fn renew_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
        ttl: Duration,
    ) -> Result<Timed<bool>, StoreError> {
        let (incarnation, generation) = (incarnation.clone(), int(generation.0)?);
        let (renewed, at): (bool, Time) = self
            .write_past_sleepers(Lane::Lease, move |conn| {
                Box::pin(async move {
                    sqlx::query_as(RENEW)
                        .bind(incarnation.as_str())
                        .bind(generation)
                        .bind(micros(ttl))
                        .fetch_one(conn)
                        .await
                })
            })
            .await?;
        Ok(Timed {
            value: renewed,
            database_time: at.into(),
        })
    }

    pub(super) async fn resign_lease(
        &self,
        incarnation: &Incarnation,
        generation: Generation,
    ) -> Result<(), StoreError> {
        let (incarnation, generation) = (incarnation.clone(), int(generation.0)?);
        self.write(Lane::Lease, move |conn| {
            Box::pin(async move {
                sqlx::query(
                    "update lease set resigned = true \
                     where id = 1 and incarnation = $1 and generation = $2",
                )
                .bind(incarnation.as_str())
                .bind(generation)
                .execute(conn)
                .await
                .map(|_| ())
            })
        })
        .await
    }

    pub(super) async fn read_fence(&self) -> Result<FenceRow, StoreError> {
        let row: FenceColumns = self
            .read(Lane::Commit, |conn| {
                Box::pin(sqlx::query_as(FENCE).fetch_one(conn))
            })
            .await?;
        row.read()
    }
}

/// The fence row as [`FenceColumns`] wants it.
pub(super) const FENCE: &str =
    "select generation, incarnation, applied_batch from fence where id = 1";
