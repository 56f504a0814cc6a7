//! The store over streams: a client with lanes and deadlines, and the server it talks to.
//!
//! A question that arrived is executed, whether or not anybody still waits for its answer: the
//! statement of a connection that died is an orphan, and lands.

mod client;

pub use client::RemoteStore;

use super::Frame;
use crate::ports::SimStore;
use bytes::Bytes;
use futures::future::BoxFuture;
use runtime::store::StoreError;
use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
};

/// What a question is to the server.
pub(super) type Job = Box<dyn FnOnce(SimStore) -> BoxFuture<'static, Parcel> + Send>;

/// An answer, until it is taken.
pub(super) type Parcel = Box<dyn Any + Send>;

/// Where questions and answers lie while the frames that name them travel.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    next: u64,
    questions: BTreeMap<u64, (Job, &'static str)>,
    answers: BTreeMap<u64, Parcel>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        f.debug_struct("Table")
            .field("questions", &rows.questions.len())
            .field("answers", &rows.answers.len())
            .finish_non_exhaustive()
    }
}

impl Table {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, job: Job, kind: &'static str) -> u64 {
        let mut rows = self.rows();
        rows.next += 1;
        let token = rows.next;
        rows.questions.insert(token, (job, kind));
        token
    }

    fn take_question(&self, token: u64) -> Option<(Job, &'static str)> {
        self.rows().questions.remove(&token)
    }

    fn answer(&self, token: u64, parcel: Parcel) {
        self.rows().answers.insert(token, parcel);
    }

    fn take_answer(&self, token: u64) -> Option<Parcel> {
        self.rows().answers.remove(&token)
    }
}

/// What becomes of a question that arrived at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It is executed after this long.
    Executed(Duration),
    /// It waits this long for a row in vain.
    LockTimeout(Duration),
    /// It is executed after this long, and its connection breaks before the answer.
    AnswerLost(Duration),
    /// Its connection breaks, and it is executed after this long, when nobody expects it.
    Orphaned(Duration),
    /// Its connection breaks, and it is not executed.
    Broken,
}

/// The server.
pub struct StoreHost {
    /// What it serves.
    pub store: SimStore,
    /// Where questions lie.
    pub table: Table,
    /// Says what becomes of each question, by its kind.
    pub course: Box<dyn Fn(&'static str) -> Course + Send + Sync>,
}

impl fmt::Debug for StoreHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHost").finish_non_exhaustive()
    }
}

impl StoreHost {
    /// Serves one connection to its end. Statements that were begun go on in tasks of their own.
    pub async fn serve(self: Arc<Self>, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (mut reader, mut writer) = tokio::io::split(io);
        let (answers, mut outgoing) = mpsc::unbounded_channel::<Frame>();
        let mut writing = JoinSet::new();
        writing.spawn(async move {
            while let Some(frame) = outgoing.recv().await {
                if frame.kind == HANG_UP || frame.write(&mut writer).await.is_err() {
                    return;
                }
            }
        });
        loop {
            let frame = tokio::select! {
                biased;
                // The writer ends when the connection is to break.
                _ = writing.join_next() => return,
                frame = Frame::read(&mut reader) => frame,
            };
            let Ok(Some(frame)) = frame else { return };
            if frame.kind != ASK {
                return;
            }
            let host = Arc::clone(&self);
            tokio::spawn(host.execute(frame.number, answers.clone()));
        }
    }

    async fn execute(self: Arc<Self>, token: u64, answers: mpsc::UnboundedSender<Frame>) {
        let Some((job, kind)) = self.table.take_question(token) else {
            return;
        };
        // Nobody listens when the connection is gone: then nobody needs it.
        let say = |frame| drop(answers.send(frame));
        let hang_up = Frame::new(HANG_UP, token, Bytes::new());
        match (self.course)(kind) {
            Course::Executed(after) => {
                tokio::time::sleep(after).await;
                let parcel = job(self.store.clone()).await;
                self.table.answer(token, parcel);
                say(Frame::new(ANSWER, token, Bytes::from_static(&[0; 64])));
            }
            Course::AnswerLost(after) => {
                tokio::time::sleep(after).await;
                drop(job(self.store.clone()).await);
                say(hang_up);
            }
            Course::Orphaned(after) => {
                say(hang_up);
                tokio::time::sleep(after).await;
                drop(job(self.store.clone()).await);
            }
            Course::LockTimeout(after) => {
                tokio::time::sleep(after).await;
                say(Frame::new(LOCKED, token, Bytes::new()));
            }
            Course::Broken => say(hang_up),
        }
    }
}

/// No answer came: it was done, was not, or will be.
fn unknown(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unknown(why.into())
}

const ASK: u8 = 1;
const ANSWER: u8 = 2;
const LOCKED: u8 = 3;
/// Never written: the connection breaks instead.
const HANG_UP: u8 = 4;
