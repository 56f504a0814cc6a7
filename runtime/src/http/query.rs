//! Reading the query: each parameter taken once, the rest refused with 400.
//!
//! `customer_id` is not seen here: it belongs to [`super::auth::Tenant`].

use super::{
    error::{ApiError, FieldError},
    json::parse_moment,
};
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use niyanta_core::{ids::InvalidId, time::WallTime};
use std::{ops::RangeInclusive, str::FromStr};

/// The parameters of a request, being taken.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut params = Self::parse(parts)?;
        params.pairs.retain(|(name, _)| name != "customer_id");
        Ok(params)
    }
}

impl Params {
    /// All parameters, in order.
    pub(crate) fn parse(parts: &Parts) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Ok(Query(pairs)) = query else {
            return Err(ApiError::bad_request("the query cannot be read"));
        };
        let mut params = Self {
            pairs,
            known: Vec::new(),
            errors: Vec::new(),
        };
        let nul = params
            .pairs
            .iter()
            .position(|(n, v)| n.contains('\0') || v.contains('\0'));
        if let Some(place) = nul {
            let (name, _) = params.pairs.swap_remove(place);
            params.refuse(&name.replace('\0', ""), "must not contain U+0000");
            return Err(ApiError::bad_query(params.errors));
        }
        Ok(params)
    }

    /// The values of a parameter that may be repeated.
    pub(crate) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (taken, rest) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|(found, _)| found == name);
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be there once.
    pub(crate) fn one(&mut self, name: &'static str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.refuse(name, "must not be repeated");
            return None;
        }
        values.pop()
    }

    /// A value that is one of our words or ids.
    pub(crate) fn word<T: FromStr<Err = InvalidId>>(&mut self, name: &'static str) -> Option<T> {
        let text = self.one(name)?;
        self.parse_word(name, &text)
    }

    /// Values that are our words or ids.
    pub(crate) fn words<T: FromStr<Err = InvalidId>>(&mut self, name: &'static str) -> Vec<T> {
        let texts = self.all(name);
        let found = texts.iter().map(|text| self.parse_word(name, text));
        found.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// A whole number in a range.
    pub(crate) fn integer<T>(&mut self, name: &'static str, allowed: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let text = self.one(name)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && allowed.contains(n));
        if number.is_none() {
            let (low, high) = (allowed.start(), allowed.end());
            self.refuse(name, format!("must be a whole number from {low} to {high}"));
        }
        number
    }

    /// A moment, RFC 3339. A `+` that arrived as a blank is understood.
    pub(crate) fn moment(&mut self, name: &'static str) -> Option<WallTime> {
        let text = self.one(name)?;
        let moment = parse_moment(&text).or_else(|| parse_moment(&text.replace(' ', "+")));
        if moment.is_none() {
            self.refuse(name, "must be a time in RFC 3339");
        }
        moment
    }

    /// `true` or `false`; absent is `false`.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        match self.one(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.refuse(name, "must be true or false");
                false
            }
        }
    }

    /// Gives a parameter that was not sent a value.
    pub(crate) fn default_one(&mut self, name: &'static str, value: Option<&str>) {
        let sent = self.pairs.iter().any(|(found, _)| found == name);
        if let Some(value) = value.filter(|_| !sent) {
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Somebody else takes what is left.
    pub(crate) fn all_others_are_fine(&mut self) {
        self.pairs.clear();
    }

    /// Notes what is wrong with a parameter.
    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError {
            pointer: format!("?{name}"),
            detail: detail.into(),
        });
    }

    /// Refuses what was not asked for; 400 if anything is wrong.
    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        let allowed = self.known.join(", ");
        for (name, _) in std::mem::take(&mut self.pairs) {
            let detail = if allowed.is_empty() {
                "unknown parameter; none is allowed".to_owned()
            } else {
                format!("unknown parameter; allowed are {allowed}")
            };
            self.refuse(&name, detail);
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::bad_query(self.errors))
    }

    fn parse_word<T: FromStr<Err = InvalidId>>(&mut self, name: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(word) => Some(word),
            Err(InvalidId { allowed, .. }) => {
                self.refuse(name, format!("must be {allowed}"));
                None
            }
        }
    }
}
