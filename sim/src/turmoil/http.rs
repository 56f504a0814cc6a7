//! One HTTP call over simulated TCP, as a plain client makes it.

use crate::parties::{API_PORT, Answer, Api, Call, PATIENCE, coordinator};
use ::turmoil::net::TcpStream;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// Calls over simulated TCP.
pub(super) struct OverTcp;

#[async_trait]
impl Api for OverTcp {
    async fn send(&self, place: usize, call: &Call<'_>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let host = coordinator(place);
        let connected = timeout_at(deadline, TcpStream::connect((host.as_str(), API_PORT))).await;
        let Ok(Ok(stream)) = connected else {
            return Answer::NotSent;
        };
        let answer = talk(call, &host, stream);
        timeout_at(deadline, answer).await.unwrap_or(Answer::Lost)
    }
}

async fn talk(call: &Call<'_>, host: &str, stream: TcpStream) -> Answer {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let Ok((mut sender, connection)) = handshake else {
        return Answer::NotSent;
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let mut request = Request::builder()
        .method(&call.method)
        .uri(call.path)
        .header(header::HOST, host)
        .header(header::AUTHORIZATION, format!("Bearer {}", call.secret));
    if let Some(key) = call.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let body = match call.body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    let Ok(request) = request.body(Full::new(body)) else {
        return Answer::NotSent;
    };
    let Ok(response) = sender.send_request(request).await else {
        return Answer::Lost;
    };
    let status = response.status().as_u16();
    let Ok(body) = response.into_body().collect().await else {
        return Answer::Lost;
    };
    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
    Answer::Came(status, body)
}
