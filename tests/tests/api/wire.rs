//! Requests that no client library would send, a byte at a time if need be.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tests::Answer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::asked::Asked;

/// Sends these bytes, keeps the connection open, and reads one answer.
pub(crate) async fn exchange(url: &str, bytes: &str) -> Answer {
    let mut stream = connect(url).await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    answer(&mut stream).await
}

/// Sends the last byte of a body only when it is time, and reads the answer.
pub(crate) async fn slowly(
    url: &str,
    asked: &Asked,
    key: &str,
    time: impl Future<Output = ()>,
) -> Answer {
    let body = asked.body.as_deref().unwrap();
    let (first, last) = body.split_at(body.len() - 1);
    let (method, path, length) = (&asked.method, &asked.path, body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{first}"
    );
    let mut stream = connect(url).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    time.await;
    stream.write_all(last.as_bytes()).await.unwrap();
    answer(&mut stream).await
}

async fn connect(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

async fn answer(stream: &mut TcpStream) -> Answer {
    let mut read = Vec::new();
    loop {
        if let Some(answer) = whole(&read) {
            return answer;
        }
        let mut chunk = [0_u8; 4_096];
        let length = timeout(Duration::from_secs(40), stream.read(&mut chunk)).await;
        let length = length.expect("an answer within 40 s").unwrap();
        assert!(length > 0, "closed before it answered: {read:?}");
        read.extend_from_slice(&chunk[..length]);
    }
}

/// The answer, once all of it is there.
fn whole(read: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let length = headers["content-length"].to_str().unwrap();
    let length: usize = length.parse().unwrap();
    (body.len() >= length).then(|| Answer {
        status: status.parse().unwrap(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
        text: body.to_owned(),
        headers,
    })
}
