//! Cursors: where a page ended, bound to the question it answered.
//!
//! A cursor is base64url over a version, a check sum of the question (route, customer, filters,
//! order; not the limit) and the place. It carries no rights: whose rows are read is decided by the
//! key alone. Used with another question it is refused, because its place would mean nothing there.

use super::{error::ApiError, query::Params};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use niyanta_core::time::WallTime;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{fmt::Write as _, ops::RangeInclusive};
use utoipa::ToSchema;

/// How many rows a page has.
#[derive(Debug, Clone)]
pub(crate) struct PageSize {
    /// What may be asked for.
    pub(crate) allowed: RangeInclusive<u32>,
    /// When nothing is asked for.
    pub(crate) default: u32,
}

/// Lists of resources.
pub(crate) const RESOURCES: PageSize = PageSize {
    allowed: 1..=100,
    default: 50,
};
/// Log lines and audit events, which are small and many.
pub(crate) const RECORDS: PageSize = PageSize {
    allowed: 1..=1_000,
    default: 100,
};

/// A question whose answer comes in pages. Two questions are the same when these parts are.
#[derive(Debug, Default)]
pub(crate) struct Question(Sha256);

impl Question {
    /// Of this route.
    pub(crate) fn of(route: &str) -> Self {
        Self::default().with(route)
    }

    /// Adds a part.
    pub(crate) fn with(mut self, part: impl std::fmt::Display) -> Self {
        let text = part.to_string();
        self.0.update(text.len().to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn sum(self) -> String {
        let digest = self.0.finalize();
        digest.iter().take(8).fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Where in which list a request reads.
#[derive(Debug)]
pub(crate) struct Paging {
    question: String,
    place: Option<String>,
    limit: u32,
}

impl Paging {
    /// Takes `limit` and `cursor`.
    pub(crate) fn take(
        params: &mut Params,
        size: &PageSize,
        question: Question,
    ) -> Result<Self, ApiError> {
        let limit = params.integer("limit", size.allowed.clone());
        let question = question.sum();
        let place = match params.one("cursor") {
            None => None,
            Some(cursor) => Some(open(&cursor, &question)?),
        };
        Ok(Self {
            question,
            place,
            limit: limit.unwrap_or(size.default),
        })
    }

    /// The place after which to read, as its list writes it.
    pub(crate) fn place<T>(
        &self,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(place) = &self.place else {
            return Ok(None);
        };
        read(place).map(Some).ok_or_else(foreign)
    }

    /// How many rows to read: one more than is shown, to know whether there are more.
    pub(crate) const fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// The cursor of a place in this list.
    pub(crate) fn cursor(&self, place: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("1.{}.{place}", self.question))
    }

    /// What to show of the rows read, and where the next page begins.
    pub(crate) fn cut<T>(
        self,
        mut rows: Vec<T>,
        place: impl FnOnce(&T) -> String,
    ) -> (Vec<T>, Pagination) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next_cursor = last.map(|row| self.cursor(&place(row)));
        let pagination = Pagination {
            next_cursor,
            has_more,
        };
        (rows, pagination)
    }
}

/// What a list says of its next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default, ToSchema)]
pub(crate) struct Pagination {
    next_cursor: Option<String>,
    has_more: bool,
}

/// A place in a list ordered by (`created_at`, id).
pub(crate) fn row_place(created_at: WallTime, id: u128) -> String {
    format!("{}.{id:032x}", created_at.0)
}

/// Reads [`row_place`]. Moments that no row can have are refused, so that an invented cursor never
/// reaches the database with a value that it cannot take.
pub(crate) fn read_row_place(text: &str) -> Option<(WallTime, u128)> {
    let (created_at, id) = text.split_once('.')?;
    let created_at = created_at
        .parse()
        .ok()
        .filter(|micros| (0..=YEAR_9999).contains(micros))?;
    Some((WallTime(created_at), u128::from_str_radix(id, 16).ok()?))
}

/// The end of RFC 3339, in microseconds.
const YEAR_9999: i64 = 253_402_300_799_999_999;

fn open(cursor: &str, question: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| foreign())?;
    let text = String::from_utf8(bytes).map_err(|_| foreign())?;
    let mut parts = text.splitn(3, '.');
    let (version, sum, place) = (parts.next(), parts.next(), parts.next());
    if version != Some("1") {
        return Err(foreign());
    }
    if sum != Some(question) {
        return Err(ApiError::bad_request(
            "the cursor belongs to another list or other filters",
        ));
    }
    place.map(str::to_owned).ok_or_else(foreign)
}

fn foreign() -> ApiError {
    ApiError::bad_request("the cursor cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn params(uri: &str) -> Params {
        let (parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
        Params::parse(&parts).unwrap()
    }

    fn paging(uri: &str, route: &str) -> Result<Paging, ApiError> {
        Paging::take(&mut params(uri), &RESOURCES, Question::of(route))
    }

    #[test]
    fn a_cursor_leads_to_its_place_whatever_the_limit() {
        let first = paging("/?limit=2", "a").unwrap();
        assert_eq!(first.rows(), 3);
        let (rows, pagination) = first.cut(vec![1_u128, 2, 3], |id| row_place(WallTime(7), *id));
        assert_eq!(rows, [1, 2]);
        assert!(pagination.has_more);
        let cursor = pagination.next_cursor.unwrap();
        let next = paging(&format!("/?limit=9&cursor={cursor}"), "a").unwrap();
        assert_eq!(next.place(read_row_place).unwrap(), Some((WallTime(7), 2)));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let (rows, pagination) = paging("/?limit=2", "a")
            .unwrap()
            .cut(vec![1, 2], |_| String::new());
        assert_eq!((rows.len(), pagination), (2, Pagination::default()));
    }

    #[test]
    fn a_cursor_of_another_question_is_refused() {
        let (_, pagination) = paging("/?limit=1", "a")
            .unwrap()
            .cut(vec![1, 2], |_| "1".to_owned());
        let uri = format!("/?cursor={}", pagination.next_cursor.unwrap());
        assert_eq!(paging(&uri, "b").unwrap_err().status(), 400);
        assert!(paging(&uri, "a").is_ok());
    }

    #[test]
    fn invented_cursors_are_refused() {
        for cursor in [
            "x",
            "",
            &URL_SAFE_NO_PAD.encode("2.a.b"),
            &URL_SAFE_NO_PAD.encode([0xff]),
        ] {
            let found = paging(&format!("/?cursor={cursor}"), "a");
            assert!(found.is_err(), "{cursor}");
        }
    }

    #[test]
    fn parts_of_a_question_do_not_run_together() {
        let one = Question::of("r").with("ab").with("c").sum();
        assert_ne!(one, Question::of("r").with("a").with("bc").sum());
    }
}
