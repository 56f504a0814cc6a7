//! A request, ready to be sent.

use reqwest::Method;
use serde_json::Value;
use tests::{Answer, Client};

use super::document::{Operation, header};

/// By whose key a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    /// The place's customer.
    Own,
    /// A customer that may ask once a second.
    Limited,
    /// Another customer, which may ask as it likes.
    Other,
    Admin,
}

/// A request of an operation.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) who: Who,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
}

impl Asked {
    pub(crate) fn by(self, who: Who) -> Self {
        Self { who, ..self }
    }

    pub(crate) fn query(self, query: &str) -> Self {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}{query}", self.path);
        Self { path, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: &Value) -> Self {
        let body = Some(body.to_string());
        Self { body, ..self }
    }

    /// Sends it, and checks the answer against the document and the request.
    pub(crate) async fn send(&self, operation: &Operation, client: &Client) -> Answer {
        let id = format!("asked-{:x}", uuid::Uuid::new_v4().simple());
        let mut headers = vec![("X-Request-Id", id.as_str())];
        let own = self.headers.iter();
        headers.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        let method = self.method.clone();
        let sent = client.send(method, &self.path, &headers, self.body.clone());
        let answer = sent
            .await
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path));
        operation.check(&answer);
        assert_eq!(header(&answer, "x-request-id"), Some(id), "{}", self.path);
        self.check_rate(operation, &answer);
        answer
    }

    /// A customer is told its rate in every answer that comes after its key was known, unless the
    /// rate itself could not be found out.
    fn check_rate(&self, operation: &Operation, answer: &Answer) {
        use super::document::Access;
        let limited = matches!(self.who, Who::Own | Who::Limited | Who::Other)
            && operation.access == Access::Customer;
        let told = ["ratelimit", "ratelimit-policy"].map(|name| header(answer, name).is_some());
        match answer.status {
            401 | 403 | 414 | 431 => assert_eq!(told, [false; 2]),
            500.. => assert!(told == [false; 2] || limited && told == [true; 2]),
            _ => assert_eq!(
                told, [limited; 2],
                "{} {}: {answer:?}",
                self.method, self.path
            ),
        }
    }
}
