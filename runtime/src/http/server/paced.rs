//! A connection's bytes, with a time for each phase: idle, sending a header, being answered.
//!
//! Only the phases without a request are timed here, and answers that the client does not take.
//! While a request is served its handler keeps the times.

use super::Limits;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Instant, Sleep, sleep_until},
};

/// Whether a connection serves a request, shared between its bytes and its service.
#[derive(Debug)]
pub(super) struct Pace {
    busy: AtomicBool,
}

impl Pace {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            busy: AtomicBool::new(false),
        })
    }

    /// A request has arrived; it is over when the value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// A request is being served.
#[derive(Debug)]
pub(super) struct Busy(Arc<Pace>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
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
    reading: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing of what is to be written.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<Io> Paced<Io> {
    pub(super) fn new(io: Io, pace: Arc<Pace>, limits: Limits) -> Self {
        Self {
            io,
            pace,
            limits,
            phase: Phase::Idle,
            reading: Box::pin(sleep_until(Instant::now() + limits.idle)),
            writing: None,
        }
    }

    fn turn(&mut self, phase: Phase, allowed: Duration) {
        self.phase = phase;
        self.reading.as_mut().reset(Instant::now() + allowed);
    }

    /// Notes where the service is.
    fn follow(&mut self) {
        match (self.pace.busy.load(Ordering::Relaxed), &self.phase) {
            (true, Phase::Idle | Phase::Header) => self.phase = Phase::Busy,
            (false, Phase::Busy) => self.turn(Phase::Idle, self.limits.idle),
            (true, Phase::Busy) | (false, Phase::Idle | Phase::Header) => {}
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

impl<Io: AsyncWrite + Unpin> AsyncWrite for Paced<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.paced_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.paced_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.paced_write(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.paced_write(cx, outcome)
    }
}
