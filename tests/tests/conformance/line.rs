//! A client's line to Postgres: knows where a message ends, and holds, loses or cuts it there.
//!
//! Owns one listening port for each client. Until it is told otherwise it passes everything on.
//! What it is told about is the next statement that is executed, from its `Bind` to its `Sync`; the
//! first of each connection does not count, with which the adapter asks for the isolation level.
//! Can put other words in a client's mouth, so that a wrong one can be tried on a real server.
//! Knows the framing of the protocol and no more. A general fault proxy cannot do this: the window
//! between the last two messages of a statement has no size in bytes or time.

mod words;

pub(crate) use words::Words;

use bytes::{Buf, Bytes, BytesMut};
use sim::conformance::How;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One client's line.
pub(crate) struct Line {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

/// What becomes of a statement on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and its answer too.
    Whole,
    /// The connection is lost before it.
    NeverSent,
    /// It arrives; its answer, and the connection, are lost.
    AnswerLost,
    /// It stops on its way, until it is told to go on.
    Stops(Point),
}

/// Where a statement, or its answer, stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    /// Nothing of it has arrived.
    BeforeBind,
    /// Half of its values have arrived.
    InBind,
    /// Its values have arrived.
    BeforeExecute,
    /// Part of the word to execute it has arrived.
    InExecute,
    /// It is executed, and not committed.
    BeforeSync,
    /// Part of the word to commit it has arrived.
    InSync,
    /// It is committed, and half of the answer has arrived. The rest stays with the server, as far
    /// as it does not fit on the way.
    InAnswer,
}

impl Point {
    /// How much of a message of this kind and length still arrives, if it stops there.
    fn lets(self, kind: u8, length: usize) -> Option<usize> {
        match (self, kind) {
            (Self::BeforeBind, BIND)
            | (Self::BeforeExecute, EXECUTE)
            | (Self::BeforeSync, SYNC) => Some(0),
            (Self::InBind, BIND) | (Self::InExecute, EXECUTE) | (Self::InSync, SYNC) => {
                Some(length / 2)
            }
            _ => None,
        }
    }

    const fn stops_answer(self) -> bool {
        matches!(self, Self::InAnswer)
    }
}

impl From<How> for Fate {
    fn from(how: How) -> Self {
        match how {
            How::Whole => Self::Whole,
            How::NoSync => Self::Stops(Point::BeforeSync),
            How::AnswerLost => Self::AnswerLost,
            How::NeverSent => Self::NeverSent,
        }
    }
}

/// What the connections of a line share.
#[derive(Default)]
struct Shared {
    /// What becomes of the next statement.
    next: Option<Fate>,
    /// Other words, and how often each was put in the client's mouth.
    words: Words,
    /// The connection whose statement is under way.
    under_way: Option<UnboundedSender<Order>>,
    /// The connection whose statement lacks the end of its message.
    parked: Option<UnboundedSender<Order>>,
    /// Connections that the client has lost, and whose statements go on.
    orphans: usize,
}

/// What happens to the statement under way.
#[derive(Debug)]
enum Order {
    /// The rest of the message comes.
    GoOn,
    /// The connection ends, on both sides.
    Cut,
    /// The rest of the message comes, and the client loses it; the server does not notice.
    Abandon,
}

impl Line {
    /// Listens, and passes on to the server on that port.
    pub(crate) async fn to(server: u16) -> Self {
        Self::with(server, Words::default()).await
    }

    /// Listens, and passes on to the server on that port, in other words.
    pub(crate) async fn with(server: u16, words: Words) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Shared {
            words,
            ..Shared::default()
        }));
        let of_all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                tokio::spawn(Link::new(client, server, Arc::clone(&of_all)).run());
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What becomes of the next statement.
    pub(crate) fn arm(&self, fate: impl Into<Fate>) {
        let fate = fate.into();
        self.lock().next = (fate != Fate::Whole).then_some(fate);
    }

    /// The statement that is next has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.lock().next.is_none()
    }

    /// Whether each of the other words was put in the client's mouth at least once.
    pub(crate) fn were_all_said(&self) -> bool {
        self.lock().words.were_all_said()
    }

    /// The statement under way stands where it was to stop.
    pub(crate) fn is_parked(&self) -> bool {
        self.lock().parked.is_some()
    }

    /// So many statements go on that their client has lost.
    pub(crate) fn orphans(&self) -> usize {
        self.lock().orphans
    }

    /// The end of the message comes.
    pub(crate) fn go_on(&self) {
        self.order(Order::GoOn);
    }

    /// The connection of the statement under way ends.
    pub(crate) fn cut(&self) {
        self.order(Order::Cut);
    }

    /// The client loses the connection of the statement under way.
    pub(crate) fn abandon(&self) {
        self.order(Order::Abandon);
    }

    fn order(&self, order: Order) {
        let mut shared = self.lock();
        // After an error the client may have begun another, before the end of this one has come.
        let parked = shared.parked.take();
        if let Some(link) = parked.as_ref().or(shared.under_way.as_ref()) {
            // Who is gone needs no order.
            link.send(order).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// One connection.
struct Link {
    client: Option<(OwnedReadHalf, OwnedWriteHalf)>,
    from_server: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    shared: Arc<Mutex<Shared>>,
    sender: UnboundedSender<Order>,
    orders: UnboundedReceiver<Order>,
    /// The first message has come, which has no kind.
    has_begun: bool,
    /// The adapter has asked what it asks first.
    has_asked: bool,
    fate: Fate,
    is_executing: bool,
    /// The end of the message, and what came after it.
    held: Option<BytesMut>,
    /// The rest of the answer. Meanwhile nothing is read from the server.
    answer: Option<BytesMut>,
    /// An answer was cut in two where no message ends: from there on bytes are passed on.
    is_torn: bool,
}

impl Link {
    fn new(client: TcpStream, server: TcpStream, shared: Arc<Mutex<Shared>>) -> Self {
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_server, to_server) = server.into_split();
        let (sender, orders) = unbounded_channel();
        Self {
            client: Some(client.into_split()),
            from_server,
            to_server,
            shared,
            sender,
            orders,
            has_begun: false,
            has_asked: false,
            fate: Fate::Whole,
            is_executing: false,
            held: None,
            answer: None,
            is_torn: false,
        }
    }

    async fn run(mut self) {
        let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
        loop {
            let goes_on = tokio::select! {
                order = self.orders.recv() => self.obey(order).await,
                read = from_client(&mut self.client, &mut up) => {
                    if read { self.pass_up(&mut up).await } else { self.outlives_client() }
                }
                read = self.from_server.read_buf(&mut down), if self.answer.is_none() => {
                    read.is_ok_and(|bytes| bytes > 0) && self.pass_down(&mut down).await
                }
            };
            if !goes_on {
                break;
            }
        }
        let mut shared = lock(&self.shared);
        if self.client.is_none() {
            shared.orphans -= 1;
        } else if self.is_executing {
            shared.under_way = None;
        }
        if self.held.is_some() || self.answer.is_some() {
            shared.parked = None;
        }
    }

    async fn obey(&mut self, order: Option<Order>) -> bool {
        match order {
            Some(Order::GoOn) => self.let_go().await,
            Some(Order::Cut) | None => false,
            Some(Order::Abandon) => {
                self.lose_client();
                self.let_go().await
            }
        }
    }

    fn lose_client(&mut self) {
        self.client = None;
        let mut shared = lock(&self.shared);
        shared.under_way = None;
        shared.orphans += 1;
    }

    /// Whether the client is gone and what it has sent is still under way.
    fn outlives_client(&mut self) -> bool {
        if self.held.is_none() {
            return false;
        }
        self.lose_client();
        true
    }

    /// The end of the message comes: because somebody says so, or because there is an error
    /// already, after which the client goes on to other things.
    async fn let_go(&mut self) -> bool {
        if self.held.is_none() && self.answer.is_none() {
            return true;
        }
        lock(&self.shared).parked = None;
        if let Fate::Stops(_) = self.fate {
            self.fate = Fate::Whole;
        }
        let mut goes_on = true;
        if let Some(rest) = self.held.take() {
            goes_on = self.to_server.write_all(&rest).await.is_ok();
        }
        if let (Some(rest), Some((_, to_client))) = (self.answer.take(), &mut self.client) {
            goes_on &= to_client.write_all(&rest).await.is_ok();
        }
        goes_on
    }

    /// Passes messages of the client on. False when the connection is to end.
    async fn pass_up(&mut self, up: &mut BytesMut) -> bool {
        let mut out = BytesMut::new();
        while let Some((kind, message)) = next(up, &mut self.has_begun) {
            let message = lock(&self.shared).words.instead_of(kind, message);
            if kind == BIND && !self.is_executing {
                let mut shared = lock(&self.shared);
                self.is_executing = true;
                let next = shared.next.take_if(|_| self.has_asked);
                self.fate = next.unwrap_or(Fate::Whole);
                self.has_asked = true;
                shared.under_way = Some(self.sender.clone());
                if self.fate == Fate::NeverSent {
                    return false;
                }
            }
            let stops = match self.fate {
                Fate::Stops(point) if self.is_executing => point.lets(kind, message.len()),
                Fate::Stops(_) | Fate::Whole | Fate::NeverSent | Fate::AnswerLost => None,
            };
            let arrives = match (&self.held, stops) {
                (Some(_), _) => 0,
                (None, stops) => stops.unwrap_or(message.len()),
            };
            out.extend_from_slice(&message[..arrives]);
            if arrives < message.len() {
                let held = self.held.get_or_insert_default();
                held.extend_from_slice(&message[arrives..]);
            }
        }
        if self.held.is_some() {
            // Before the server can answer: an error comes without the end of the message.
            lock(&self.shared).parked = Some(self.sender.clone());
        }
        self.to_server.write_all(&out).await.is_ok()
    }

    /// Passes messages of the server on. False when the connection is to end.
    async fn pass_down(&mut self, down: &mut BytesMut) -> bool {
        if let Fate::Stops(point) = self.fate
            && self.is_executing
            && point.stops_answer()
        {
            return self.stop_answer(down).await;
        }
        let mut out = if self.is_torn {
            down.split()
        } else {
            BytesMut::new()
        };
        let mut is_over = false;
        while let Some((kind, message)) = next(down, &mut true) {
            out.extend_from_slice(&message);
            is_over |= kind == READY && self.is_executing;
            if kind == ERROR && !self.let_go().await {
                return false;
            }
        }
        let is_lost = self.is_executing && self.fate == Fate::AnswerLost;
        if is_lost || self.client.is_none() {
            return !is_over;
        }
        if is_over {
            self.is_executing = false;
            lock(&self.shared).under_way = None;
        }
        match &mut self.client {
            Some((_, to_client)) => to_client.write_all(&out).await.is_ok(),
            None => true,
        }
    }

    /// The client gets half of what has come of its answer, and nothing more is read.
    async fn stop_answer(&mut self, down: &mut BytesMut) -> bool {
        let half = down.split_to(down.len() / 2);
        self.answer = Some(down.split());
        self.is_torn = true;
        // The end of the answer will not be looked for.
        self.is_executing = false;
        {
            let mut shared = lock(&self.shared);
            shared.under_way = None;
            shared.parked = Some(self.sender.clone());
        }
        match &mut self.client {
            Some((_, to_client)) => to_client.write_all(&half).await.is_ok(),
            None => true,
        }
    }
}

const BIND: u8 = b'B';
const EXECUTE: u8 = b'E';
const SYNC: u8 = b'S';
const READY: u8 = b'Z';
const ERROR: u8 = b'E';

/// Reads from the client, for ever if there is none. False when it is gone.
async fn from_client(
    client: &mut Option<(OwnedReadHalf, OwnedWriteHalf)>,
    up: &mut BytesMut,
) -> bool {
    match client {
        Some((client, _)) => client.read_buf(up).await.is_ok_and(|bytes| bytes > 0),
        None => std::future::pending().await,
    }
}

/// The next whole message, with its kind.
fn next(bytes: &mut BytesMut, has_begun: &mut bool) -> Option<(u8, Bytes)> {
    let head = usize::from(*has_begun);
    let mut length = bytes.get(head..head + 4)?;
    let whole = head + usize::try_from(length.get_u32()).unwrap();
    if bytes.len() < whole {
        return None;
    }
    let kind = if *has_begun { bytes[0] } else { 0 };
    *has_begun = true;
    Some((kind, bytes.split_to(whole).freeze()))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
