//! A client's line to Postgres: knows where a message ends, and holds, loses or cuts it there.
//!
//! Owns one listening port for each client. Until it is told otherwise it passes everything on.
//! What it is told about is the next statement that is executed, from its `Bind` to its `Sync`; the
//! first of each connection does not count, with which the adapter asks for the isolation level.
//! Knows the framing of the protocol and no more. A general fault proxy cannot do this: the window
//! between the last two messages of a statement has no size in bytes or time.

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

/// What the connections of a line share.
#[derive(Default)]
struct Shared {
    /// What becomes of the next statement.
    next: Option<How>,
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(Shared::default()));
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
    pub(crate) fn arm(&self, how: How) {
        self.lock().next = (how != How::Whole).then_some(how);
    }

    /// The statement under way lacks the end of its message.
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
    how: How,
    is_executing: bool,
    /// The end of the message, and what came after it.
    held: Option<BytesMut>,
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
            how: How::Whole,
            is_executing: false,
            held: None,
        }
    }

    async fn run(mut self) {
        let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
        loop {
            let goes_on = tokio::select! {
                order = self.orders.recv() => self.obey(order).await,
                read = from_client(&mut self.client, &mut up) => {
                    read && self.pass_up(&mut up).await
                }
                read = self.from_server.read_buf(&mut down) => {
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
            shared.parked.take_if(|_| self.held.is_some());
        }
    }

    async fn obey(&mut self, order: Option<Order>) -> bool {
        match order {
            Some(Order::GoOn) => self.let_go().await,
            Some(Order::Cut) | None => false,
            Some(Order::Abandon) => {
                self.client = None;
                {
                    let mut shared = lock(&self.shared);
                    shared.under_way = None;
                    shared.orphans += 1;
                }
                self.let_go().await
            }
        }
    }

    /// The end of the message comes: because somebody says so, or because there is an error
    /// already, after which the client goes on to other things.
    async fn let_go(&mut self) -> bool {
        let Some(rest) = self.held.take() else {
            return true;
        };
        lock(&self.shared).parked = None;
        if self.how == How::NoSync {
            self.how = How::Whole;
        }
        self.to_server.write_all(&rest).await.is_ok()
    }

    /// Passes messages of the client on. False when the connection is to end.
    async fn pass_up(&mut self, up: &mut BytesMut) -> bool {
        let mut out = BytesMut::new();
        while let Some((kind, message)) = next(up, &mut self.has_begun) {
            if kind == BIND && !self.is_executing {
                let mut shared = lock(&self.shared);
                self.is_executing = true;
                let next = shared.next.take_if(|_| self.has_asked);
                self.how = next.unwrap_or(How::Whole);
                self.has_asked = true;
                shared.under_way = Some(self.sender.clone());
                if self.how == How::NeverSent {
                    return false;
                }
            }
            let is_end = kind == SYNC && self.is_executing && self.how == How::NoSync;
            if is_end || self.held.is_some() {
                let held = self.held.get_or_insert_default();
                held.extend_from_slice(&message);
            } else {
                out.extend_from_slice(&message);
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
        let mut out = BytesMut::new();
        let mut is_over = false;
        while let Some((kind, message)) = next(down, &mut true) {
            out.extend_from_slice(&message);
            is_over |= kind == READY && self.is_executing;
            if kind == ERROR && !self.let_go().await {
                return false;
            }
        }
        let is_lost = self.is_executing && self.how == How::AnswerLost;
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
}

const BIND: u8 = b'B';
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
