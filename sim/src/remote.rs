//! The store and the broker of a simulation, reached over streams of bytes.
//!
//! Owns what a real client and server of either do with a connection: frames, deadlines, pools,
//! reconnects, pings. Every question and answer is a frame of real bytes, so that loss, delay, holds
//! and resets of the stream are theirs; of the store's questions the bytes are as many as they would
//! be, but what they stand for is handed over by a token through a table in this process, which
//! spares a codec for forty types that the simulation does not try. The broker's words are the bytes
//! themselves.
//!
//! Generic over any `AsyncRead + AsyncWrite`. Each call has a deadline and gives up its connection
//! when it misses it: a connection that lost bytes stays silent for ever.

pub mod broker;
mod frame;
pub mod store;

pub use broker::{RemoteBroker, serve_broker};
pub use frame::Frame;
pub use store::{Course, RemoteStore, StoreHost, Table};

use async_trait::async_trait;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// Opens connections to one server.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens one.
    async fn dial(&self) -> io::Result<Self::Io>;
}
