//! Other words for what a client says: of a statement's text, and of what it asks of its session.

use bytes::{BufMut, Bytes, BytesMut};

/// Texts, and what is said in their place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    all: Vec<Word>,
}

#[derive(Debug, Clone)]
struct Word {
    text: String,
    instead: String,
    said: u32,
}

impl Words {
    /// These texts, each with what is said in its place.
    pub(crate) fn new(all: &[(&str, &str)]) -> Self {
        let all = all.iter().map(|(text, instead)| Word {
            text: (*text).to_owned(),
            instead: (*instead).to_owned(),
            said: 0,
        });
        Self { all: all.collect() }
    }

    /// These, and those.
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.all.extend(more.all);
        self
    }

    /// Whether each was said at least once: a text that the client no longer says would prove
    /// nothing.
    pub(crate) fn were_all_said(&self) -> bool {
        self.all.iter().all(|word| word.said > 0)
    }

    /// The message that is passed on in place of this one.
    pub(crate) fn instead_of(&mut self, kind: u8, message: Bytes) -> Bytes {
        if self.all.is_empty() || !matches!(kind, STARTUP | PARSE) {
            return message;
        }
        let head = usize::from(kind != STARTUP);
        let mut body = message[head + 4..].to_vec();
        let before = body.clone();
        for word in &mut self.all {
            let mut from = 0;
            while let Some(at) = find(&body[from..], word.text.as_bytes()) {
                let at = from + at;
                body.splice(at..at + word.text.len(), word.instead.bytes());
                from = at + word.instead.len();
                word.said += 1;
            }
        }
        if body == before {
            return message;
        }
        let mut out = BytesMut::new();
        out.extend_from_slice(&message[..head]);
        out.put_u32(u32::try_from(body.len() + 4).unwrap());
        out.extend_from_slice(&body);
        out.freeze()
    }
}

fn find(body: &[u8], text: &[u8]) -> Option<usize> {
    body.windows(text.len()).position(|window| window == text)
}

/// The first message of a connection has no kind.
const STARTUP: u8 = 0;
const PARSE: u8 = b'P';
