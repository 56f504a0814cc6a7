//! Connections: hyper for each, with limits of time that hyper alone does not keep.
//!
//! `axum::serve` was rejected: it installs no timer, so a client that sends its header a byte at a
//! time holds a connection for ever; it cannot stop by a deadline; and its loop picks at random.
//! Hyper's own header time-out counts an idle connection as one that is slow to send, so [`Paced`]
//! keeps the two apart.

mod paced;
mod refusal;

use axum::{Router, body::Body, http::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use paced::{Pace, Paced};
use std::{convert::Infallible, sync::Arc};
use tokio::{
    select,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;
use tracing::Instrument as _;

/// The times that a connection is given.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first byte of a request to the end of its header.
    pub header_read: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Without the client taking anything of an answer.
    pub write_stall: Duration,
    /// From the call to stop to the end of the last connection.
    pub shutdown: Duration,
    /// Connections at once. Further ones wait to be accepted, while those that were quiet for
    /// [`Self::spared`] are closed to make room.
    pub connections_max: usize,
    /// How long a connection may be without a request when others wait to be accepted.
    pub spared: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            write_stall: Duration::from_secs(30),
            shutdown: Duration::from_secs(30),
            connections_max: 4_096,
            spared: Duration::from_secs(2),
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection came to its end.
    Gracefully,
    /// The deadline passed first; the rest was dropped.
    ByDeadline,
}

/// Serves until `shutdown`, then lets the requests in flight finish, up to the deadline.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) -> Ended {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let crowd = Arc::new(Notify::new());
    // Cancelled at the deadline: connections are dropped where they are.
    let hard_stop = CancellationToken::new();
    loop {
        let accepted = select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&mut listener, &places, &crowd) => accepted,
        };
        let (io, place) = accepted;
        let crowd = Arc::clone(&crowd);
        let serving = connection(io, router.clone(), limits, crowd, shutdown.clone());
        let hard_stop = hard_stop.clone();
        tokio::spawn(
            connections.track_future(
                async move {
                    select! {
                        biased;
                        () = hard_stop.cancelled() => {}
                        () = serving => {}
                    }
                    drop(place);
                }
                .in_current_span(),
            ),
        );
    }
    drop(listener);
    connections.close();
    if timeout(limits.shutdown, connections.wait()).await.is_ok() {
        return Ended::Gracefully;
    }
    tracing::warn!(
        connections = connections.len(),
        "connections outlived the deadline"
    );
    hard_stop.cancel();
    connections.wait().await;
    Ended::ByDeadline
}

async fn accept<L: Listener>(
    listener: &mut L,
    places: &Arc<Semaphore>,
    crowd: &Notify,
) -> (L::Io, OwnedSemaphorePermit) {
    // Accepted first: only who knocks makes the place too small.
    let (io, _address) = listener.accept().await;
    loop {
        let place = Arc::clone(places).acquire_owned();
        match timeout(CROWD_PAUSE, place).await {
            Ok(Ok(place)) => return (io, place),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => crowd.notify_waiters(),
        }
    }
}

async fn connection<Io>(
    io: Io,
    router: Router,
    limits: Limits,
    crowd: Arc<Notify>,
    shutdown: CancellationToken,
) where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let pace = Pace::new();
    let watched = Arc::clone(&pace);
    let io = TokioIo::new(Paced::new(io, Arc::clone(&pace), limits));
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, pace) = (router.clone(), Arc::clone(&pace));
        async move {
            let busy = pace.begin();
            let response = router.oneshot(request.map(Body::new)).await?;
            // The request is over when hyper lets go of the answer's body.
            Ok::<_, Infallible>(response.map(|body| Held { body, _busy: busy }))
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HYPER_HEADERS_MAX);
    let serving = builder.serve_connection(io, service);
    tokio::pin!(serving);
    let stopping = shutdown.cancelled();
    tokio::pin!(stopping);
    let mut asked_to_stop = false;
    let result = loop {
        select! {
            biased;
            () = &mut stopping, if !asked_to_stop => {
                asked_to_stop = true;
                serving.as_mut().graceful_shutdown();
            }
            result = &mut serving => break result,
            () = crowd.notified() => {
                if watched.quiet() >= limits.spared {
                    tracing::debug!("closing a quiet connection to make room");
                    return;
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection broke off");
    }
}

/// How long somebody waits for a place before quiet connections are closed, and again.
const CROWD_PAUSE: Duration = Duration::from_millis(100);
/// Most that is read of one connection ahead of being understood: room for a head that the API
/// refuses in its own words, and for little more, because hostile clients fill it.
const BUFFER_BYTES_MAX: usize = 80 << 10;
/// More than the API allows, so that the API refuses them in its own words.
const HYPER_HEADERS_MAX: usize = 256;

/// A body that keeps its request busy until it is dropped.
struct Held {
    body: Body,
    _busy: paced::Busy,
}

impl hyper::body::Body for Held {
    type Data = <Body as hyper::body::Body>::Data;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
