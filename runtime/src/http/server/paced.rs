//! A connection's bytes, with a time for each phase: idle, sending a header, being answered.
//!
//! Only the phases without a request are timed here, and answers that the client does not take.
//! While a request is served its handler keeps the times.

use super::{Limits, refusal};
use futures::task::AtomicWaker;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, Sleep, sleep_until},
};

/// Whether a connection serves a request, shared between its bytes and its service.
#[derive(Debug)]
pub(super) struct Pace {
    opened: Instant,
    /// Milliseconds from then to the end of the last request.
    quiet_since: AtomicU64,
    /// Requests that arrived.
    begun: AtomicU64,
    /// Requests that are over.
    over: AtomicU64,
    /// Whoever reads while a request is served, to start the time of what comes next.
    reader: AtomicWaker,
}

impl Pace {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            quiet_since: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
            reader: AtomicWaker::new(),
        })
    }

    /// How long it has been without a request; zero while there is one.
    pub(super) fn quiet(&self) -> Duration {
        if self.begun.load(Ordering::Relaxed) > self.over.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        let since = Duration::from_millis(self.quiet_since.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(since)
    }

    /// A request has arrived; it is over when the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request is being served.
#[derive(Debug)]
pub(super) struct Busy(Arc<Pace>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.quiet_since.store(now, Ordering::Relaxed);
        self.0.over.fetch_add(1, Ordering::Relaxed);
        self.0.reader.wake();
    }
}

/// What the connection is in the middle of, as far as reading goes.
enum Phase {
    /// Of a request, or before the first: since then nothing has come.
    Idle,
    /// Of a header.
    Header,
    /// Of serving.
    Busy,
}

/// Bytes with deadlines.
pub(super) struct Paced<Io> {
    io: Io,
    pace: Arc<Pace>,
    limits: Limits,
    phase: Phase,
    /// Requests known to be over.
    over: u64,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing of what is to be written.
    writing: Option<Pin<Box<Sleep>>>,
    /// What is sent instead of something that hyper wrote, and how much of it was.
    instead: (Vec<u8>, usize),
}

impl<Io> Paced<Io> {
    pub(super) fn new(io: Io, pace: Arc<Pace>, limits: Limits) -> Self {
        Self {
            io,
            pace,
            limits,
            phase: Phase::Idle,
            over: 0,
            reading: Box::pin(sleep_until(Instant::now() + limits.idle)),
            writing: None,
            instead: (Vec::new(), 0),
        }
    }

    fn turn(&mut self, phase: Phase, allowed: Duration) {
        self.phase = phase;
        self.reading.as_mut().reset(Instant::now() + allowed);
    }

    /// Notes where the service is. A request can begin and end between two calls.
    fn follow(&mut self) {
        let over = self.pace.over.load(Ordering::Relaxed);
        if self.pace.begun.load(Ordering::Relaxed) > over {
            self.phase = Phase::Busy;
        } else if over > self.over {
            self.over = over;
            self.turn(Phase::Idle, self.limits.idle);
        }
    }

    /// The outcome of a write, or of the client's not taking it for too long.
    fn paced_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let limit = self.limits.write_stall;
        let stall = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Paced<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pace.reader.register(cx.waker());
        self.follow();
        let filled = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > filled && matches!(self.phase, Phase::Idle) {
                    let allowed = self.limits.header_read;
                    self.turn(Phase::Header, allowed);
                }
                return Poll::Ready(result);
            }
            Poll::Pending => {}
        }
        match self.phase {
            Phase::Busy => Poll::Pending,
            Phase::Idle | Phase::Header => self
                .reading
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<Io: AsyncWrite + Unpin> Paced<Io> {
    /// Sends what stands instead of something else.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead.1 < self.instead.0.len() {
            let rest = &self.instead.0[self.instead.1..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.instead.1 += written,
            }
        }
        self.instead = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Paced<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(answer) = refusal::rewritten(bytes) {
            this.instead = (answer, 0);
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = match this.poll_instead(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_write(cx, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        this.paced_write(cx, outcome)
    }

    /// One buffer at a time, so that each is seen whole: answers are small.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let outcome = match this.poll_instead(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_flush(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        this.paced_write(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let outcome = match this.poll_instead(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.io).poll_shutdown(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        this.paced_write(cx, outcome)
    }
}
