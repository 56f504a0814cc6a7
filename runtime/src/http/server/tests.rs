//! Connections over memory, on paused time.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use super::*;
use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep},
};

/// A listener whose connections come from a channel.
struct Channel(mpsc::Receiver<DuplexStream>);

impl Listener for Channel {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(io) => (io, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Server {
    connect: mpsc::Sender<DuplexStream>,
    shutdown: CancellationToken,
    serving: JoinHandle<Ended>,
}

impl Server {
    fn start() -> Self {
        Self::limited(Limits::default())
    }

    fn limited(limits: Limits) -> Self {
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route(
                "/slow",
                get(|| async { sleep(Duration::from_secs(20)).await }),
            )
            .route("/never", get(std::future::pending::<()>))
            .route("/large", get(|| async { "x".repeat(1 << 20) }));
        let (connect, connections) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(
            Channel(connections),
            router,
            limits,
            shutdown.clone(),
        ));
        Self {
            connect,
            shutdown,
            serving,
        }
    }

    async fn connect(&self) -> DuplexStream {
        let (client, server) = duplex(64 << 10);
        self.connect.send(server).await.unwrap();
        client
    }
}

/// What comes until the server closes.
async fn rest(client: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn ask(client: &mut DuplexStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
}

async fn answer(client: &mut DuplexStream) -> String {
    let mut bytes = vec![0; 4096];
    let length = client.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_header_sent_byte_by_byte_has_five_seconds() {
    let server = Server::start();
    let mut client = server.connect().await;
    let start = Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_a_minute() {
    let server = Server::start();
    let mut client = server.connect().await;
    sleep(Duration::from_secs(50)).await;
    ask(&mut client, "/").await;
    assert!(answer(&mut client).await.ends_with("hello"));
    sleep(Duration::from_secs(50)).await;
    ask(&mut client, "/").await;
    assert!(answer(&mut client).await.ends_with("hello"));
    let start = Instant::now();
    assert_eq!(rest(&mut client).await, "");
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_long_is_not_idle() {
    let server = Server::start();
    let mut client = server.connect().await;
    ask(&mut client, "/slow").await;
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped() {
    let server = Server::start();
    let mut client = server.connect().await;
    ask(&mut client, "/large").await;
    sleep(Duration::from_secs(31)).await;
    let taken = rest(&mut client).await;
    assert!(taken.len() < 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_answers_and_closes_what_is_idle() {
    let server = Server::start();
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    ask(&mut busy, "/slow").await;
    sleep(Duration::from_secs(1)).await;
    server.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(rest(&mut busy).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.serving.await.unwrap(), Ended::Gracefully);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_at_its_deadline() {
    let server = Server::start();
    let mut client = server.connect().await;
    ask(&mut client, "/never").await;
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    server.shutdown.cancel();
    assert_eq!(server.serving.await.unwrap(), Ended::ByDeadline);
    assert_eq!(start.elapsed(), Limits::default().shutdown);
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test(start_paused = true)]
async fn heads_that_cannot_be_read_are_refused_as_problems() {
    let many: String = (0..300).map(|n| format!("h{n}: 1\r\n")).collect();
    for (request, code) in [
        ("not http\r\n\r\n".to_owned(), "INVALID_INPUT"),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)),
            "URI_TOO_LONG",
        ),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "HEADERS_TOO_LARGE"),
    ] {
        let server = Server::start();
        let mut client = server.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut client).await;
        assert!(answer.contains(code), "{answer}");
        assert!(answer.contains("\r\nx-request-id: req_"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn quiet_connections_make_room_for_those_that_wait() {
    let server = Server::limited(Limits {
        connections_max: 2,
        ..Limits::default()
    });
    let mut half_open = server.connect().await;
    let mut busy = server.connect().await;
    ask(&mut busy, "/slow").await;
    let mut late = server.connect().await;
    ask(&mut late, "/").await;
    let start = Instant::now();
    assert!(answer(&mut late).await.ends_with("hello"));
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(rest(&mut half_open).await, "");
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200"));
}
