//! What hyper answers by itself, in the API's own form.
//!
//! A request whose head hyper cannot read never reaches the router: hyper answers it with a bare
//! status and closes. Such an answer is known by its head, which has no request id, and is replaced
//! by a problem with one. No answer of ours looks like it: they all carry a request id in the head,
//! and JSON bodies hold no empty line.

use super::super::error::{ApiError, Code};

/// The answer to send instead, if these bytes are one of hyper's own.
pub(super) fn rewritten(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let error = match head.get(..4)? {
        b"400 " => ApiError::bad_request("the request cannot be read as HTTP/1.1"),
        b"414 " => ApiError::new(Code::UriTooLong, "the address is too long"),
        b"431 " => ApiError::new(
            Code::HeadersTooLarge,
            "the headers are too large, or too many",
        ),
        _ => return None,
    };
    let text = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let is_bare = text.ends_with("\r\n\r\n") && !text.contains("\r\nx-request-id:");
    if !is_bare {
        return None;
    }
    // Without a router there are no surroundings to take an id from.
    let id = format!("req_{}", uuid::Uuid::new_v4().simple());
    let body = serde_json::to_string(&error.problem(&id)).ok()?;
    let (status, length) = (error.status(), body.len());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nx-request-id: {id}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    Some(answer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_rewritten() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        let answer = String::from_utf8(rewritten(bare).unwrap()).unwrap();
        assert!(answer.contains("HEADERS_TOO_LARGE") && answer.contains("x-request-id: req_"));
        for ours in [
            &b"HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n\r\n{}",
            b"HTTP/1.1 4",
        ] {
            assert_eq!(rewritten(ours), None);
        }
    }
}
