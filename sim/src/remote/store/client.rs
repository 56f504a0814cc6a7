//! A coordinator's connections to the store.
//!
//! The lease and the leader's commits each have a lane of their own, as in the production adapter,
//! so that neither queues behind reads. A connection is used by one question at a time; one whose
//! answer did not come in time is dropped with its question's outcome unknown.

use super::{
    super::{Dial, Frame},
    ANSWER, ASK, LOCKED, Parcel, SimStore, Table, unknown,
};
use crate::ports::far::{FarStore, Question, Way};
use bytes::Bytes;
use futures::future::BoxFuture;
use niyanta_core::time::Duration;
use runtime::store::StoreError;
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// The store as a coordinator reaches it over streams.
pub type RemoteStore<D> = FarStore<Connections<D>>;

/// A coordinator's connections.
pub struct Connections<D: Dial> {
    dial: D,
    table: Table,
    within: Duration,
    lanes: [Lane<D::Io>; 3],
}

impl<D: Dial> fmt::Debug for Connections<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// Idle connections of one purpose, and how many there may be.
struct Lane<Io> {
    idle: Mutex<Vec<Io>>,
    places: Semaphore,
}

impl<Io> Lane<Io> {
    fn new(places: usize) -> Self {
        Self {
            idle: Mutex::default(),
            places: Semaphore::new(places),
        }
    }

    fn take(&self) -> Option<Io> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    fn give(&self, io: Io) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(io);
    }
}

impl<D: Dial> RemoteStore<D> {
    /// A store that is dialled when it is asked. No question waits longer than `within`.
    #[must_use]
    pub fn new(dial: D, table: Table, within: Duration) -> Self {
        Self(Connections {
            dial,
            table,
            within,
            lanes: [Lane::new(1), Lane::new(1), Lane::new(POOL)],
        })
    }
}

impl<D: Dial> Way for Connections<D> {
    async fn ask<T, F>(&self, question: Question, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(SimStore) -> BoxFuture<'static, T> + Send + 'static,
    {
        let deadline = Instant::now() + self.within;
        let lane = &self.lanes[question.purpose as usize];
        let unavailable = |why: String| StoreError::Unavailable(why.into());
        let place = timeout_at(deadline, lane.places.acquire()).await;
        let Ok(Ok(_place)) = place else {
            return Err(unavailable("no connection is free".to_owned()));
        };
        let mut io = match lane.take() {
            Some(io) => io,
            None => match timeout_at(deadline, self.dial.dial()).await {
                Ok(Ok(io)) => io,
                Ok(Err(error)) => return Err(unavailable(error.to_string())),
                Err(_) => return Err(unavailable("nobody answers".to_owned())),
            },
        };
        let boxed = Box::new(move |store| -> BoxFuture<'static, Parcel> {
            let answer = job(store);
            Box::pin(async move { Box::new(answer.await) as Parcel })
        });
        let token = self.table.ask(boxed, question.kind);
        let asking = Frame::new(ASK, token, Bytes::from(vec![0; question.bytes]));
        let conversation = async {
            asking.write(&mut io).await?;
            Frame::read(&mut io).await
        };
        let frame = match timeout_at(deadline, conversation).await {
            Ok(Ok(Some(frame))) if frame.number == token => frame,
            Ok(Ok(_)) => return Err(unknown("the connection ended")),
            Ok(Err(error)) => return Err(unknown(error)),
            Err(_) => return Err(unknown("no answer in time")),
        };
        lane.give(io);
        match frame.kind {
            ANSWER => {
                let parcel = self.table.take_answer(token);
                let answer = parcel.and_then(|parcel| parcel.downcast::<T>().ok());
                answer.map_or_else(|| Err(unknown("the answer is another's")), |it| Ok(*it))
            }
            LOCKED => Err(StoreError::LockTimeout("a row".into())),
            other => Err(StoreError::Failed(
                format!("a frame of kind {other}").into(),
            )),
        }
    }
}

/// Connections beside those of the lease and the commits.
const POOL: usize = 6;
