//! Rate limits: a token bucket for each customer, on each coordinator for itself.
//!
//! A request to a customer's route takes one token before its body is read, whatever becomes of it;
//! a batch takes one for all of its items. Operators are not limited: they must come in when a
//! customer floods. Buckets live in memory, so a customer that spreads its requests over three
//! coordinators has three times its rate; a bucket shared through the database was rejected,
//! because it would put a write before every read.
//!
//! The rate in force is asked for with the first request and again after [`BELIEVED`].

use super::{
    ApiState,
    error::{ApiError, Code},
    outcome,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use niyanta_core::ids::CustomerId;
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::{Duration, Instant};

/// The runtime's own clock, so that simulated and paused time hold here too.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, StateInformationMiddleware>;

/// How many requests a second, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    fn new(per_second: u32, burst: u32) -> Self {
        // Limits begin at 1: `customers` refuses others, and so do the tiers.
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            per_second: at_least_one(per_second),
            burst: at_least_one(burst),
        }
    }

    /// Whole seconds, rounded up, until so many tokens have come.
    fn seconds_for(self, tokens: u32) -> u32 {
        tokens.div_ceil(self.per_second.get())
    }
}

struct Bucket {
    rate: Rate,
    limiter: Arc<Limiter>,
    asked_at: Instant,
    used_at: Instant,
}

/// The buckets of this process.
pub struct Admission {
    buckets: Mutex<HashMap<CustomerId, Bucket>>,
    clock: TokioClock,
}

/// What a customer has left, for the headers of its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    rate: Rate,
    remaining: u32,
    /// Until the bucket is full again; for who was refused, until there is a token.
    reset_seconds: u32,
}

impl Allowance {
    /// `RateLimit-Policy` and `RateLimit`, as structured fields.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let Rate { burst, .. } = self.rate;
        let window = self.rate.seconds_for(burst.get());
        let (left, reset) = (self.remaining, self.reset_seconds);
        let fields = [
            (
                RATE_LIMIT_POLICY,
                format!("\"customer\";q={burst};w={window}"),
            ),
            (RATE_LIMIT, format!("\"customer\";r={left};t={reset}")),
        ];
        for (name, text) in fields {
            // Digits and names make valid headers.
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            buckets: Mutex::default(),
            clock: TokioClock(Instant::now()),
        }
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Admission {
    /// Takes a token of this customer, or refuses with what is left and when to come back.
    pub(crate) async fn take(
        &self,
        state: &ApiState,
        customer: CustomerId,
    ) -> Result<Allowance, (ApiError, Option<Allowance>)> {
        let (rate, limiter) = match self.known(customer) {
            Some(found) => found,
            None => self
                .ask(state, customer)
                .await
                .map_err(|error| (error, None))?,
        };
        match limiter.check() {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let missing = rate.burst.get().saturating_sub(remaining);
                Ok(Allowance {
                    rate,
                    remaining,
                    reset_seconds: rate.seconds_for(missing),
                })
            }
            Err(refused) => {
                let wait = refused.wait_time_from(self.clock.now());
                let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
                let seconds = seconds.max(1);
                let detail = format!(
                    "this customer may ask {} times a second, and {} times at once",
                    rate.per_second, rate.burst
                );
                let error = ApiError::new(Code::RateLimited, detail).retry_after(seconds);
                let allowance = Allowance {
                    rate,
                    remaining: 0,
                    reset_seconds: seconds,
                };
                Err((error, Some(allowance)))
            }
        }
    }

    fn known(&self, customer: CustomerId) -> Option<(Rate, Arc<Limiter>)> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_mut(&customer)?;
        bucket.used_at = Instant::now();
        let is_fresh = bucket.asked_at.elapsed() < BELIEVED;
        is_fresh.then(|| (bucket.rate, Arc::clone(&bucket.limiter)))
    }

    /// Asks for the rate in force. A bucket whose rate has not changed keeps its level.
    async fn ask(
        &self,
        state: &ApiState,
        customer: CustomerId,
    ) -> Result<(Rate, Arc<Limiter>), ApiError> {
        let asked_at = Instant::now();
        let found = outcome::read(|| state.store.customer(customer)).await?;
        let limits = found.ok_or_else(ApiError::internal)?.limits;
        let rate = Rate::new(limits.rate_limit_per_sec, limits.rate_limit_burst);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            // A bucket that is full again remembers nothing.
            buckets.retain(|_, bucket| {
                let refill = bucket.rate.seconds_for(bucket.rate.burst.get());
                bucket.used_at.elapsed() < Duration::from_secs(refill.into())
            });
        }
        let bucket = buckets.entry(customer).or_insert_with(|| Bucket {
            rate,
            limiter: self.limiter(rate),
            asked_at,
            used_at: asked_at,
        });
        if bucket.rate != rate {
            bucket.rate = rate;
            bucket.limiter = self.limiter(rate);
        }
        bucket.asked_at = asked_at;
        Ok((rate, Arc::clone(&bucket.limiter)))
    }

    fn limiter(&self, rate: Rate) -> Arc<Limiter> {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        let limiter = RateLimiter::direct_with_clock(quota, self.clock.clone());
        Arc::new(limiter.with_middleware())
    }
}

/// How long a rate is believed without asking again.
const BELIEVED: Duration = Duration::from_secs(5);
/// From so many buckets on, those that are full again are dropped.
const BUCKETS_MAX: usize = 10_000;
/// The policy.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of it.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
