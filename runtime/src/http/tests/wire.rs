//! The API over a real socket.

use super::*;
use server::{Ended, Limits, serve};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

async fn start(rig: &Rig) -> (SocketAddr, CancellationToken, JoinHandle<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let router = router(rig.state.clone());
    let serving = tokio::spawn(serve(listener, router, Limits::default(), shutdown.clone()));
    (address, shutdown, serving)
}

/// Writes all of it before reading any of the answer, as simple clients do.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{head}host: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_body_that_is_refused_early_does_not_hide_the_answer() {
    let rig = Rig::new();
    let (address, shutdown, serving) = start(&rig).await;
    let body = vec![b'x'; 12 << 20];
    let json = "content-type: application/json\r\n";
    let own = format!("authorization: Bearer {}\r\n", rig.own);
    for (head, code) in [
        (
            format!("POST /v1/workloads HTTP/1.1\r\n{own}{json}"),
            "PAYLOAD_TOO_LARGE",
        ),
        (
            format!("POST /v1/workloads HTTP/1.1\r\n{json}"),
            "UNAUTHORIZED",
        ),
        (format!("POST /v1/nothing HTTP/1.1\r\n{json}"), "NOT_FOUND"),
        (
            format!("PUT /v1/workloads HTTP/1.1\r\n{json}"),
            "METHOD_NOT_ALLOWED",
        ),
    ] {
        let answer = exchange(address, &head, &body).await;
        assert!(answer.contains(code), "{code}: {answer}");
    }
    shutdown.cancel();
    assert_eq!(serving.await.unwrap(), Ended::Gracefully);
}
