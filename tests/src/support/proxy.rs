//! A line between two processes that can be cut, held, slowed, refused and reset, each direction
//! by itself.
//!
//! Owns one listening port, and all connections through it. Knows nothing of what is said. What a
//! cut swallowed is missing from a stream of bytes, so a connection that lost some ends when the
//! cut does; what a hold keeps arrives late, whole and in order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// One direction of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Whether anything comes through.
    pub flow: Flow,
    /// How much later it comes.
    pub delay: Duration,
    /// How much comes in a second; without a limit when nothing.
    pub bytes_per_second: Option<u32>,
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// They arrive.
    #[default]
    Pass,
    /// They wait, and arrive when it is over.
    Hold,
    /// They are lost, and nobody is told.
    Cut,
}

/// Both directions of a line, and whether it takes new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// From the client to the server.
    pub up: Way,
    /// From the server to the client.
    pub down: Way,
    /// New connections are reset at once.
    pub refuses: bool,
    /// Connections made under another number are reset.
    epoch: u64,
}

impl Weather {
    /// Bytes are lost in these directions.
    #[must_use]
    pub fn cut(up: bool, down: bool) -> Self {
        Self::stopped(Flow::Cut, up, down)
    }

    /// Bytes wait in these directions.
    #[must_use]
    pub fn held(up: bool, down: bool) -> Self {
        Self::stopped(Flow::Hold, up, down)
    }

    /// Everything is late, and little at a time.
    #[must_use]
    pub fn slow(delay: Duration, bytes_per_second: u32) -> Self {
        let way = Way {
            flow: Flow::Pass,
            delay,
            bytes_per_second: Some(bytes_per_second),
        };
        Self {
            up: way,
            down: way,
            ..Self::default()
        }
    }

    /// What is connected stays so; nobody else is let in.
    #[must_use]
    pub fn refusing() -> Self {
        Self {
            refuses: true,
            ..Self::default()
        }
    }

    fn stopped(flow: Flow, up: bool, down: bool) -> Self {
        let way = |is_stopped: bool| Way {
            flow: if is_stopped { flow } else { Flow::Pass },
            ..Way::default()
        };
        Self {
            up: way(up),
            down: way(down),
            ..Self::default()
        }
    }
}

/// A line to one server. Ends with this value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
}

impl Proxy {
    /// Listens, and passes everything on to the server on that port of loopback.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Arc::new(watch::Sender::new(Weather::default()));
        let sky = weather.subscribe();
        tokio::spawn(accept(listener, server, sky));
        Self { port, weather }
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes how it is, for all connections.
    pub fn set(&self, weather: Weather) {
        self.weather.send_modify(|now| {
            *now = Weather {
                epoch: now.epoch,
                ..weather
            }
        });
    }

    /// Everything arrives again.
    pub fn heal(&self) {
        self.set(Weather::default());
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.weather.send_modify(|now| now.epoch += 1);
    }
}

async fn accept(listener: TcpListener, server: u16, mut sky: watch::Receiver<Weather>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The proxy is gone when nobody can change the weather any more.
            () = async { while sky.changed().await.is_ok() {} } => return,
        };
        let Ok((client, _)) = accepted else { continue };
        if sky.borrow().refuses {
            // Without lingering a close is a reset.
            client.set_zero_linger().unwrap();
            continue;
        }
        tokio::spawn(connection(client, server, sky.clone()));
    }
}

/// One connection, until either end closes it or the weather does.
async fn connection(mut client: TcpStream, server: u16, mut sky: watch::Receiver<Weather>) {
    let epoch = sky.borrow().epoch;
    // A cut line carries no new connections either.
    let is_open = |now: &Weather| now.up.flow != Flow::Cut && now.down.flow != Flow::Cut;
    if sky.wait_for(is_open).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
        client.set_zero_linger().ok();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let is_whole = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            whole = pump(from_client, to_server, sky.clone(), |now| now.up) => whole,
            whole = pump(from_server, to_client, sky.clone(), |now| now.down) => whole,
            _ = sky.wait_for(|now| now.epoch != epoch) => false,
        }
    };
    if !is_whole {
        // Whoever has closed already needs no reset.
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

/// One direction of a connection. True when all that was said has arrived, false when it must be
/// reset.
async fn pump(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    sky: watch::Receiver<Weather>,
    way: fn(&Weather) -> Way,
) -> bool {
    let (chunks, queue) = mpsc::channel(QUEUE);
    let (_, is_whole) = tokio::join!(
        take(from, chunks, sky.clone(), way),
        deliver(queue, to, sky, way)
    );
    is_whole
}

async fn take(
    mut from: impl AsyncRead + Unpin,
    chunks: mpsc::Sender<(Instant, Bytes)>,
    sky: watch::Receiver<Weather>,
    way: fn(&Weather) -> Way,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = chunks.closed() => return,
        };
        let due = Instant::now() + way(&sky.borrow()).delay;
        let chunk = Bytes::copy_from_slice(&buffer[..read]);
        if read == 0 || chunks.send((due, chunk)).await.is_err() {
            return;
        }
    }
}

async fn deliver(
    mut queue: mpsc::Receiver<(Instant, Bytes)>,
    mut to: impl AsyncWrite + Unpin,
    mut sky: watch::Receiver<Weather>,
    way: fn(&Weather) -> Way,
) -> bool {
    let mut has_lost = false;
    loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            over = sky.wait_for(|now| way(now).flow != Flow::Cut), if has_lost => {
                drop(over);
                return false;
            }
        };
        let Some((due, chunk)) = next else {
            return !has_lost;
        };
        sleep_until(due).await;
        let flows = sky.wait_for(|now| way(now).flow != Flow::Hold).await;
        let Ok(now) = flows.map(|now| way(&now)) else {
            return false;
        };
        if now.flow == Flow::Cut {
            has_lost = true;
            continue;
        }
        if has_lost {
            return false;
        }
        if let Some(rate) = now.bytes_per_second {
            let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            sleep(Duration::from_secs(1) * bytes / rate.max(1)).await;
        }
        if to.write_all(&chunk).await.is_err() {
            return false;
        }
    }
}

/// What is on its way at most, in each direction of a connection.
const QUEUE: usize = 256;
const CHUNK: usize = 16 * 1024;
