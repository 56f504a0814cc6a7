//! One HTTP call over simulated TCP, as a plain client makes it.

use super::hosts::{API_PORT, coordinator};
use ::turmoil::net::TcpStream;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use niyanta_core::time::Duration;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// What came of a call.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// It was certainly not sent.
    NotSent,
    /// No whole answer came in time.
    Lost,
    /// This.
    Came(u16, Value),
}

/// A call.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    /// The secret of a key.
    pub(super) secret: &'a str,
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) body: Option<&'a Value>,
}

impl Call<'_> {
    /// Calls this coordinator, and waits as long as clients do.
    pub(super) async fn send(&self, place: usize) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let host = coordinator(place);
        let connected = timeout_at(deadline, TcpStream::connect((host.as_str(), API_PORT))).await;
        let Ok(Ok(stream)) = connected else {
            return Answer::NotSent;
        };
        let answer = self.talk(&host, stream);
        timeout_at(deadline, answer).await.unwrap_or(Answer::Lost)
    }

    async fn talk(&self, host: &str, stream: TcpStream) -> Answer {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let Ok((mut sender, connection)) = handshake else {
            return Answer::NotSent;
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let mut request = Request::builder()
            .method(&self.method)
            .uri(self.path)
            .header(header::HOST, host)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret));
        if let Some(key) = self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = match self.body {
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
}

/// The longest that a client waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
