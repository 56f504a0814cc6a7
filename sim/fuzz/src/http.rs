//! Whatever clients send: bodies, cursors in queries, headers. The first byte says where it stands.
//!
//! It is taken, or refused with a status that blames the client; never with one of ours. Equal JSON
//! has equal canonical bytes, and a cursor leads back to its place.

use niyanta_core::time::WallTime;
use runtime::http::inputs::{Input, canonical, cursor};

/// Reads the rest of the bytes as what the first byte says.
///
/// # Panics
/// When a refusal blames the server, or something does not read back.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let input = Input::ALL[usize::from(*first) % Input::ALL.len()];
    if let Err(status) = input.read(rest) {
        assert!(
            (400..500).contains(&status),
            "{input:?} is refused with {status}"
        );
    }
    if let Some(bytes) = canonical(rest) {
        assert_eq!(
            canonical(&bytes),
            Some(bytes),
            "the canonical form is its own"
        );
    }
    if let Some((moment, id)) = rest.first_chunk::<8>().zip(rest.last_chunk::<16>()) {
        let moment = WallTime(i64::from_le_bytes(*moment).unsigned_abs().cast_signed() % YEAR_9999);
        let cursor = cursor(moment, u128::from_le_bytes(*id));
        let query = format!("cursor={cursor}");
        assert_eq!(Input::RowCursor.read(query.as_bytes()), Ok(()), "{query}");
    }
}

/// The end of RFC 3339, in microseconds.
const YEAR_9999: i64 = 253_402_300_799_999_999;
