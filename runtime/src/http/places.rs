//! How much is done at once, and for whom: what is too much is shed before memory grows.
//!
//! Three [`Pool`]s bound a process: requests being answered, requests that wait (long-polls and
//! streams), and bytes of bodies. No customer gets more than a share of any, so that one that
//! floods sheds its own requests first. Whatever finds no place is answered 503 with `Retry-After`,
//! and nothing of it was done. Probes are outside of all this.
//!
//! Whoever waits looks at the database from time to time, and a few of them at once ([`Looks`]): else a
//! thousand who woke together would stand before everybody else at its connections.
//!
//! A queue in front was rejected: whoever waits in it still costs memory, and gets its answer when
//! its client has gone.

use super::error::{ApiError, Code};
use crate::metrics::HTTP_SHED;
use axum::{extract::FromRequestParts, http::request::Parts};
use niyanta_core::ids::CustomerId;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Who holds a place: a customer, or the operators together.
type Holder = Option<CustomerId>;

tokio::task_local! {
    static CURRENT: Place;
}

/// The place of the request that this task answers.
pub(super) fn current() -> Option<Place> {
    CURRENT.try_with(Clone::clone).ok()
}

/// So much of something, of which each holder gets a share.
#[derive(Debug)]
struct Pool {
    name: &'static str,
    total_max: usize,
    each_max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    each: HashMap<Holder, usize>,
}

impl Pool {
    fn new(name: &'static str, total_max: usize) -> Arc<Self> {
        // What never happened is told as zero, so that its first increase is seen.
        metrics::counter!(HTTP_SHED, "what" => name).increment(0);
        Arc::new(Self {
            name,
            total_max,
            each_max: total_max / SHARE,
            used: Mutex::default(),
        })
    }

    fn take(self: &Arc<Self>, holder: Holder, amount: usize) -> Result<Taken, ApiError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let own = used.each.get(&holder).copied().unwrap_or(0);
        let is_theirs = own + amount > self.each_max;
        if is_theirs || used.total + amount > self.total_max {
            metrics::counter!(HTTP_SHED, "what" => self.name).increment(1);
            let whose = if is_theirs { "for you" } else { "here" };
            let detail = format!(
                "too much is going on {whose}: {}; nothing was done",
                self.name
            );
            return Err(ApiError::new(Code::ServiceUnavailable, detail).retry_after(1));
        }
        used.total += amount;
        used.each.insert(holder, own + amount);
        Ok(Taken {
            pool: Arc::clone(self),
            holder,
            amount,
        })
    }
}

/// A part of a pool, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    pool: Arc<Pool>,
    holder: Holder,
    amount: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self
            .pool
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        used.total -= self.amount;
        if let Some(own) = used.each.get_mut(&self.holder) {
            *own -= self.amount;
            if *own == 0 {
                used.each.remove(&self.holder);
            }
        }
    }
}

/// Who waits and looks at the database right now.
#[derive(Debug)]
pub(crate) struct Looks(Semaphore);

impl Looks {
    /// Waits for its turn, and has it until the value is dropped.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.acquire().await.ok()
    }
}

/// The pools of a process.
#[derive(Debug)]
pub struct Places {
    requests: Arc<Pool>,
    waiting: Arc<Pool>,
    bytes: Arc<Pool>,
    /// For what is looked at again by those who wait.
    pub(crate) looks: Looks,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            requests: Pool::new("requests", REQUESTS_MAX),
            waiting: Pool::new("waiting", WAITING_MAX),
            bytes: Pool::new("bytes", BODIES_BYTES_MAX),
            looks: Looks(Semaphore::new(LOOKS_MAX)),
        }
    }
}

impl Places {
    /// A place for a request, or 503.
    pub(crate) fn admit(&self, holder: Option<CustomerId>) -> Result<Place, ApiError> {
        let request = self.requests.take(holder, 1)?;
        Ok(Place(Arc::new(Held {
            holder,
            waiting: Arc::clone(&self.waiting),
            bytes: Arc::clone(&self.bytes),
            taken: Mutex::new((Some(request), Vec::new())),
        })))
    }
}

#[derive(Debug)]
struct Held {
    holder: Holder,
    waiting: Arc<Pool>,
    bytes: Arc<Pool>,
    /// The place among the requests, unless it waits; and the bytes of its body.
    taken: Mutex<(Option<Taken>, Vec<Taken>)>,
}

/// The place of one request, as long as its handler or its mutation runs.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Held>);

impl Place {
    /// Answers a request in this place.
    pub(crate) async fn run<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }

    /// From here on the request waits for something to happen: it gives its place to others, and
    /// takes one of those that wait, as long as the value lives.
    pub(crate) fn wait(&self) -> Result<Taken, ApiError> {
        let waiting = self.0.waiting.take(self.0.holder, 1)?;
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.0 = None;
        Ok(waiting)
    }

    /// Room for so many more bytes of the body, until the request is over.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), ApiError> {
        let room = self.0.bytes.take(self.0.holder, bytes)?;
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.1.push(room);
        Ok(())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Place {
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        // Guarded routes alone wait or read bodies.
        current().ok_or_else(ApiError::internal)
    }
}

/// Requests being answered at once.
const REQUESTS_MAX: usize = 1_024;
/// Long-polls and streams at once.
const WAITING_MAX: usize = 4_096;
/// Looks of those that wait, at once: a small part of the connections to the database.
pub(super) const LOOKS_MAX: usize = 2;
/// Bytes of bodies held at once, beyond the first of each.
const BODIES_BYTES_MAX: usize = 256 << 20;
/// No holder gets more than one part in so many.
const SHARE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Holder = Some(CustomerId(1));
    const TWO: Holder = Some(CustomerId(2));

    #[test]
    fn one_who_floods_leaves_room_for_others() {
        let places = Places::default();
        let mine: Vec<_> = (0..REQUESTS_MAX / SHARE)
            .map(|_| places.admit(ONE).unwrap())
            .collect();
        let refused = places.admit(ONE).unwrap_err();
        assert_eq!(refused.code(), Code::ServiceUnavailable);
        let other = places.admit(TWO).unwrap();
        drop(mine);
        assert!(places.admit(ONE).is_ok());
        drop(other);
        let used = places.requests.used.lock().unwrap();
        assert_eq!((used.total, used.each.len()), (0, 0));
    }

    #[test]
    fn who_waits_takes_no_place_from_who_is_answered() {
        let places = Places::default();
        let places_max = REQUESTS_MAX / SHARE;
        let waiting: Vec<_> = (0..places_max * 2)
            .map(|_| places.admit(ONE).unwrap().wait().unwrap())
            .collect();
        assert!(places.admit(ONE).is_ok());
        drop(waiting);
        assert_eq!(places.waiting.used.lock().unwrap().total, 0);
    }

    #[test]
    fn bytes_are_given_back_when_the_request_is_over() {
        let places = Places::default();
        let place = places.admit(ONE).unwrap();
        place.grow(BODIES_BYTES_MAX / SHARE).unwrap();
        assert!(place.grow(1).is_err());
        assert!(places.admit(TWO).unwrap().grow(1).is_ok());
        drop(place);
        assert_eq!(places.bytes.used.lock().unwrap().total, 0);
    }
}
