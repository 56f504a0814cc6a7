//! Takes off the wire what a refused request still sends.
//!
//! A client that is busy sending when its connection closes never sees the answer: the kernel
//! throws it away with the unread bytes. So before a refusal is sent, the rest of the body is read
//! and forgotten, within bounds. Not for clients that wait to be asked (`Expect`): they stop by
//! themselves.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::header,
};
use futures::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::time::{Duration, Instant, timeout_at};

/// A body of which a handler may read as much as it likes.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size_hint()
    }
}

/// What is left of a body when its request was answered.
pub(crate) struct Leftover(Option<Shared>);

impl Leftover {
    /// Keeps hold of the body of a request.
    pub(crate) fn of(request: Request) -> (Request, Self) {
        if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
            return (request, Self(None));
        }
        let (parts, body) = request.into_parts();
        let body = Shared(Arc::new(Mutex::new(body)));
        (
            Request::from_parts(parts, Body::new(body.clone())),
            Self(Some(body)),
        )
    }

    /// Reads and forgets it.
    pub(crate) async fn discard(self) {
        let Some(body) = self.0.filter(|body| !body.is_end_stream()) else {
            return;
        };
        let deadline = Instant::now() + DISCARDING;
        let mut discarded = 0;
        let mut chunks = Body::new(body).into_data_stream();
        while let Ok(Some(Ok(chunk))) = timeout_at(deadline, chunks.next()).await {
            discarded += chunk.len();
            if discarded > DISCARDED_MAX {
                return;
            }
        }
    }
}

/// How much is read at most.
const DISCARDED_MAX: usize = 32 << 20;
/// For how long.
const DISCARDING: Duration = Duration::from_secs(5);
