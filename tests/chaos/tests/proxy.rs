//! The line that faults are made on: what passes, what waits, what is lost, and for how long.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use tests::{Proxy, Weather, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Long enough for loopback; only what must *not* arrive is waited for in vain.
const A_WHILE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn everything_passes_in_both_directions_and_the_end_too() {
    let line = Echo::behind_a_line().await;
    let mut stream = line.connect().await;
    for text in ["one", "two and a half"] {
        assert_eq!(said_back(&mut stream, text).await.unwrap(), text);
    }
    let whole = "x".repeat(1 << 20);
    assert_eq!(said_back(&mut stream, &whole).await.unwrap(), whole);
    drop(stream);
    until("the server to see the end", SOON, async || {
        (line.ended.load(std::sync::atomic::Ordering::Relaxed) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_held_arrives_whole_and_in_order_afterwards() {
    let line = Echo::behind_a_line().await;
    for weather in [Weather::held(true, false), Weather::held(false, true)] {
        let mut stream = line.connect().await;
        assert_eq!(said_back(&mut stream, "before").await.unwrap(), "before");
        line.proxy.set(weather);
        stream.write_all(b"during").await.unwrap();
        assert!(hears_nothing(&mut stream).await);
        line.proxy.heal();
        assert_eq!(heard(&mut stream, 6).await.unwrap(), "during");
        assert_eq!(said_back(&mut stream, "after").await.unwrap(), "after");
    }
}

#[tokio::test]
async fn what_is_cut_is_lost_and_the_connection_ends_with_the_cut() {
    let line = Echo::behind_a_line().await;
    for weather in [Weather::cut(true, false), Weather::cut(false, true)] {
        let mut stream = line.connect().await;
        assert_eq!(said_back(&mut stream, "before").await.unwrap(), "before");
        line.proxy.set(weather);
        stream.write_all(b"during").await.unwrap();
        assert!(hears_nothing(&mut stream).await);
        // Nobody new gets through either.
        let mut other = line.connect().await;
        other.write_all(b"hello").await.unwrap();
        assert!(hears_nothing(&mut other).await);
        line.proxy.heal();
        let end = timeout(SOON, stream.read_u8()).await.unwrap();
        assert!(end.is_err(), "bytes are missing, and the stream went on");
        assert_eq!(heard(&mut other, 5).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_quiet_connection_survives_a_cut() {
    let line = Echo::behind_a_line().await;
    let mut stream = line.connect().await;
    assert_eq!(said_back(&mut stream, "before").await.unwrap(), "before");
    line.proxy.set(Weather::cut(true, true));
    assert!(hears_nothing(&mut stream).await);
    line.proxy.heal();
    assert_eq!(said_back(&mut stream, "after").await.unwrap(), "after");
}

#[tokio::test]
async fn a_slow_line_delays_each_way_and_limits_what_comes() {
    let line = Echo::behind_a_line().await;
    let mut stream = line.connect().await;
    line.proxy
        .set(Weather::slow(Duration::from_millis(100), 100_000));
    let begun = Instant::now();
    let text = "x".repeat(20_000);
    assert_eq!(said_back(&mut stream, &text).await.unwrap(), text);
    // Twice the delay, and twice 20,000 bytes of which the last of each way may overlap.
    assert!(
        begun.elapsed() >= Duration::from_millis(400),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn refused_and_reset_connections_end_at_once() {
    let line = Echo::behind_a_line().await;
    let mut old = line.connect().await;
    assert_eq!(said_back(&mut old, "before").await.unwrap(), "before");
    line.proxy.set(Weather::refusing());
    let mut new = line.connect().await;
    assert!(timeout(SOON, new.read_u8()).await.unwrap().is_err());
    assert_eq!(said_back(&mut old, "still").await.unwrap(), "still");
    line.proxy.reset();
    assert!(timeout(SOON, old.read_u8()).await.unwrap().is_err());
    line.proxy.heal();
    let mut new = line.connect().await;
    assert_eq!(said_back(&mut new, "again").await.unwrap(), "again");
}

/// A server that says everything back, and a line to it.
struct Echo {
    proxy: Proxy,
    ended: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Echo {
    async fn behind_a_line() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap().port()).await;
        let ended = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
        let count = std::sync::Arc::clone(&ended);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = std::sync::Arc::clone(&count);
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    // A reset is an end too.
                    tokio::io::copy(&mut from, &mut to).await.ok();
                    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                });
            }
        });
        Self { proxy, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.proxy.port()))
            .await
            .unwrap()
    }
}

async fn said_back(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    let (mut from, mut to) = stream.split();
    let (sent, heard) = tokio::join!(to.write_all(text.as_bytes()), async {
        let mut bytes = vec![0; text.len()];
        from.read_exact(&mut bytes).await.map(|_| bytes)
    });
    sent?;
    Ok(String::from_utf8(heard?).unwrap())
}

async fn heard(stream: &mut TcpStream, length: usize) -> std::io::Result<String> {
    let mut bytes = vec![0; length];
    timeout(SOON, stream.read_exact(&mut bytes))
        .await
        .unwrap()?;
    Ok(String::from_utf8(bytes).unwrap())
}

async fn hears_nothing(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    timeout(A_WHILE, stream.peek(&mut byte)).await.is_err()
}
