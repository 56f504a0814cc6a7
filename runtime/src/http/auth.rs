//! Who is asking: API keys, principals, and the only ways a handler can learn of one.
//!
//! A handler cannot act for a customer without a [`Tenant`], nor as an operator without an
//! [`Operator`], and both can only be made here, from a key that was checked. Routes say in their
//! table which of the two they serve; the check runs before the handler, for every route, so that a
//! handler that forgets to ask is still guarded.
//!
//! Checked keys are remembered for at most [`VALIDITY`], so that a revoked key stops working within
//! 5 s on every coordinator even when the hint of its revocation is lost. Refusals are not
//! remembered: a new key works everywhere at once.

mod key;

pub use key::{NewKey, Secret, new_key, new_key_from};

use super::{
    ApiState,
    error::{ApiError, Code},
    outcome,
    query::Params,
};
use crate::probes::planted;
use crate::store::{AdminActor, KeyId, KeyRow, Store};
use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use niyanta_core::{ids::CustomerId, time::WallTime};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use subtle::ConstantTimeEq as _;
use tokio::time::{Duration, Instant};

/// How long a checked key is believed without asking again, counted from before the question.
pub const VALIDITY: Duration = Duration::from_secs(3);

/// Which principals a route serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, without a key.
    Public,
    /// A customer's key, or an admin key with `?customer_id=`.
    Customer,
    /// Admin keys.
    Admin,
}

/// Whoever holds a key that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// A customer, by this key.
    Customer(CustomerId, KeyId),
    /// An operator, by this key.
    Admin(KeyId),
}

impl Principal {
    /// The key it came with.
    pub(crate) const fn key(self) -> KeyId {
        match self {
            Self::Customer(_, key) | Self::Admin(key) => key,
        }
    }
}

/// The customer for whom a handler acts. Can only come from a checked key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tenant {
    customer: CustomerId,
    key: KeyId,
}

impl Tenant {
    /// The customer.
    pub(crate) const fn customer(self) -> CustomerId {
        self.customer
    }

    /// The key by which it is done, for the audit.
    pub(crate) const fn key(self) -> KeyId {
        self.key
    }
}

impl FromRequestParts<ApiState> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let wanted = wanted_customer(parts)?;
        match principal(parts)? {
            Principal::Customer(customer, key) => {
                // Naming somebody else is answered as if there were nobody of that name.
                if wanted.is_some_and(|wanted| wanted != customer) {
                    return Err(ApiError::not_found("customer"));
                }
                Ok(Self { customer, key })
            }
            Principal::Admin(key) => {
                let Some(customer) = wanted else {
                    let detail = "an admin key acts for a customer only with ?customer_id=";
                    return Err(ApiError::new(Code::Forbidden, detail));
                };
                let found = outcome::read(|| state.store.customer(customer)).await?;
                if found.is_none() {
                    return Err(ApiError::not_found("customer"));
                }
                Ok(Self { customer, key })
            }
        }
    }
}

/// The operator who acts. Can only come from a checked admin key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator {
    key: KeyId,
}

impl Operator {
    /// For the admin audit.
    pub(crate) const fn actor(self) -> AdminActor {
        AdminActor::Key(self.key)
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, ApiError> {
        match principal(parts)? {
            Principal::Admin(key) => Ok(Self { key }),
            Principal::Customer(..) => Err(operators_only()),
        }
    }
}

/// Checks the key of a request to a guarded route before its handler runs, gives it a place among
/// the others, and takes a token of its customer: all before the body is read.
pub(crate) async fn check(
    State((state, access)): State<(ApiState, Access)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match access {
        Access::Public => return Ok(next.run(request).await),
        Access::Customer | Access::Admin => {}
    }
    let secret = bearer(request.headers())?;
    let principal = state.keys.principal(&state, &secret).await?;
    match (access, principal) {
        (Access::Admin, Principal::Customer(..)) => return Err(operators_only()),
        (Access::Public | Access::Customer, _) | (Access::Admin, Principal::Admin(_)) => {}
    }
    let (holder, limited) = match (access, principal) {
        (Access::Customer, Principal::Customer(customer, _)) => (Some(customer), Some(customer)),
        (Access::Public | Access::Admin, Principal::Customer(customer, _)) => {
            (Some(customer), None)
        }
        (_, Principal::Admin(_)) => (None, None),
    };
    request.extensions_mut().insert(principal);
    let place = state.places.admit(holder)?;
    let answering = async {
        let Some(customer) = limited else {
            return next.run(request).await;
        };
        let (mut response, allowance) = match state.admission.take(&state, customer).await {
            Ok(allowance) => (next.run(request).await, Some(allowance)),
            Err((error, allowance)) => (error.into_response(), allowance),
        };
        if let Some(allowance) = allowance {
            allowance.write(response.headers_mut());
        }
        response
    };
    let mut response = place.run(answering).await;
    response.extensions_mut().insert(principal);
    Ok(response)
}

fn principal(parts: &Parts) -> Result<Principal, ApiError> {
    let found = parts.extensions.get::<Principal>().copied();
    found.ok_or_else(|| {
        tracing::error!("a guarded handler stands on a route without a check");
        ApiError::internal()
    })
}

fn wanted_customer(parts: &Parts) -> Result<Option<CustomerId>, ApiError> {
    let mut params = Params::parse(parts)?;
    let wanted = params.word("customer_id");
    params.all_others_are_fine();
    params.finish()?;
    Ok(wanted)
}

fn operators_only() -> ApiError {
    ApiError::new(Code::Forbidden, "only admin keys may do this")
}

fn unauthorized(detail: &str) -> ApiError {
    ApiError::new(Code::Unauthorized, detail)
}

/// The secret in `Authorization: Bearer nyt_…`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Secret, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(unauthorized("send one header Authorization: Bearer nyt_…"));
    };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    let token = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let secret = token.and_then(|(_, token)| Secret::parse(token.trim()));
    secret.ok_or_else(|| unauthorized("this is not an API key"))
}

/// The keys that were checked lately, and which of them were used.
pub struct Keys {
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    used: Mutex<Used>,
}

struct Remembered {
    row: Arc<KeyRow>,
    asked_at: Instant,
}

#[derive(Default)]
struct Used {
    at: HashMap<KeyId, WallTime>,
    being_noted: bool,
}

impl Keys {
    /// Nothing is remembered.
    #[must_use]
    pub fn new() -> Self {
        Self {
            remembered: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// Forgets a key: it was revoked, here or elsewhere.
    pub fn invalidate(&self, key: KeyId) {
        if planted!(RevokedKeyCached) {
            return;
        }
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, found| found.row.id != key);
    }

    async fn principal(&self, state: &ApiState, secret: &Secret) -> Result<Principal, ApiError> {
        let hash = secret.hash();
        let row = match self.remembered(&hash) {
            Some(row) => row,
            None => self.ask(&*state.store, hash).await?,
        };
        let now = state.ambient.now();
        if row.revoked_at.is_some() {
            return Err(unauthorized("this API key was revoked"));
        }
        if row.expires_at.is_some_and(|end| end <= now) {
            return Err(unauthorized("this API key has expired"));
        }
        self.note_use(state, row.id, now);
        Ok(match row.customer {
            Some(customer) => Principal::Customer(customer, row.id),
            None => Principal::Admin(row.id),
        })
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Arc<KeyRow>> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = remembered.get(hash)?;
        (found.asked_at.elapsed() < VALIDITY || planted!(RevokedKeyCached))
            .then(|| Arc::clone(&found.row))
    }

    async fn ask(&self, store: &dyn Store, hash: [u8; 32]) -> Result<Arc<KeyRow>, ApiError> {
        let mut asked_at = Instant::now();
        let found = outcome::read(|| {
            asked_at = Instant::now();
            store.find_key(&hash)
        });
        let row = found
            .await?
            .filter(|row| bool::from(row.secret_hash.ct_eq(&hash)));
        let Some(row) = row else {
            return Err(unauthorized("this API key is not known"));
        };
        let row = Arc::new(row);
        if row.revoked_at.is_none() {
            let entry = Remembered {
                row: Arc::clone(&row),
                asked_at,
            };
            let mut remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if remembered.len() >= REMEMBERED_MAX {
                remembered.retain(|_, found| found.asked_at.elapsed() < VALIDITY);
            }
            if remembered.len() < REMEMBERED_MAX {
                remembered.insert(hash, entry);
            }
        }
        Ok(row)
    }

    /// Remembers that a key was used; one task at a time writes what has gathered.
    fn note_use(&self, state: &ApiState, key: KeyId, now: WallTime) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.at.insert(key, now);
        if used.being_noted {
            return;
        }
        used.being_noted = true;
        drop(used);
        let (keys, store) = (Arc::clone(&state.keys), Arc::clone(&state.store));
        tokio::spawn(async move {
            tokio::time::sleep(USE_GATHERING).await;
            let batch: Vec<_> = {
                let mut used = keys.used.lock().unwrap_or_else(PoisonError::into_inner);
                used.being_noted = false;
                used.at.drain().collect()
            };
            if let Err(error) = store.record_key_use(&batch).await {
                tracing::debug!(%error, keys = batch.len(), "the last use of keys was not noted");
            }
        });
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Most keys remembered at once; further ones are asked for each time.
const REMEMBERED_MAX: usize = 10_000;
/// How long uses gather before they are written.
const USE_GATHERING: Duration = Duration::from_secs(5);
