//! Clients that mean no good, a thousand at a time: nothing hangs, and others are served.
//!
//! They run on threads of their own that give way to everybody else: they would have machines of
//! their own, and what is measured is what the server makes of them, not who gets the cores.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tests::{Client, Cluster, ClusterOptions, Signal, one_at_a_time};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// So many of each of the six kinds.
const EACH: usize = 170;
/// Asked by the customer that is no part of it, quiet and under attack.
const ASKED: usize = 200;
const MEBIBYTE: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_hostile_clients_hang_nothing_and_others_are_served() {
    let _turn = one_at_a_time().await;
    let cluster = Cluster::start(ClusterOptions {
        coordinators: 1,
        ..ClusterOptions::default()
    })
    .await;
    let (_, hostile_key) = cluster.new_customer("enterprise", "hostile").await;
    let hostile = cluster.coordinators[0].client(&hostile_key);
    let followed = hostile.submit("sleep", json!({"seconds": 600})).await;
    let quiet = p99(&cluster.customer(0)).await;
    let before = resident(&cluster);

    let attack = Attack::begin(&cluster, &hostile_key, &followed);
    // Under way once every kind was met at least once: the slowest is a body's 10 s.
    sleep_until_all_met(&attack).await;
    let attacked = p99(&cluster.customer(0)).await;
    let grown = resident(&cluster).saturating_sub(before);
    println!(
        "p99 of others: {quiet:?} quiet, {attacked:?} under attack, {:.1} times; {} MiB more memory; {:?}",
        attacked.as_secs_f64() / quiet.as_secs_f64(),
        grown / MEBIBYTE,
        attack.seen(),
    );
    assert!(grown < 512 * MEBIBYTE, "memory grew by {grown} bytes");

    // Still attacked, it stops in time.
    cluster.signal(0, Signal::TERM);
    let ended = cluster.coordinators[0]
        .process
        .ended(Duration::from_secs(35));
    assert!(ended.await.success());
    attack.end().await;
}

async fn sleep_until_all_met(attack: &Attack) {
    tests::until(
        "every kind to be met",
        Duration::from_secs(60),
        async || attack.seen().iter().all(|(_, met)| *met > 0).then_some(()),
    )
    .await;
}

/// The slowest but two of the answers; all must be 200.
async fn p99(client: &Client) -> Duration {
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let asked = Instant::now();
        client.get("/v1/workloads?limit=1").await.expect(200);
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    times[ASKED - 1 - ASKED / 100]
}

/// Resident memory of the coordinator, in bytes.
fn resident(cluster: &Cluster) -> u64 {
    let pid = cluster.coordinators[0].process.pid();
    let path = format!("/proc/{}/statm", pid.as_raw_nonzero());
    let pages = std::fs::read_to_string(path).unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SlowHeader,
    SlowBody,
    HugeHeader,
    HugeBody,
    EndlessStream,
    HalfOpen,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::SlowHeader,
        Self::SlowBody,
        Self::HugeHeader,
        Self::HugeBody,
        Self::EndlessStream,
        Self::HalfOpen,
    ];
}

struct Attack {
    /// Taken when it is over.
    runtime: Option<Runtime>,
    stop: Arc<AtomicBool>,
    met: Arc<[AtomicU64; 6]>,
    tasks: Vec<JoinHandle<()>>,
}

impl Attack {
    fn begin(cluster: &Cluster, key: &str, followed: &str) -> Self {
        let url = cluster.coordinators[0].url();
        let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
        let (stop, met) = (
            Arc::new(AtomicBool::new(false)),
            Arc::<[AtomicU64; 6]>::default(),
        );
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(|| assert!(rustix::process::nice(5).is_ok()))
            .enable_all()
            .build()
            .unwrap();
        let mut tasks = Vec::new();
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            for _ in 0..EACH {
                let (stop, met) = (Arc::clone(&stop), Arc::clone(&met));
                let (key, followed) = (key.to_owned(), followed.to_owned());
                tasks.push(runtime.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        once(kind, address, (&key, &followed), &stop, &met[place]).await;
                        sleep(Duration::from_millis(200)).await;
                    }
                }));
            }
        }
        Self {
            runtime: Some(runtime),
            stop,
            met,
            tasks,
        }
    }

    /// How often the server answered, cut off or kept each kind.
    fn seen(&self) -> Vec<(Kind, u64)> {
        let met = self.met.iter().map(|met| met.load(Ordering::Relaxed));
        Kind::ALL.into_iter().zip(met).collect()
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in std::mem::take(&mut self.tasks) {
            task.await.unwrap();
        }
    }
}

impl Drop for Attack {
    /// A test may not wait for the threads, also when it failed.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One connection of this kind, until the server answers or ends it. It counts as met when the server
/// answers it, cuts it off or keeps it, not when it was not let in.
async fn once(
    kind: Kind,
    address: SocketAddr,
    (key, followed): (&str, &str),
    stop: &AtomicBool,
    met: &AtomicU64,
) {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return;
    };
    let meet = || met.fetch_add(1, Ordering::Relaxed);
    let authorized = format!("host: a\r\nauthorization: Bearer {key}\r\n");
    let json = "content-type: application/json\r\n";
    let (head, drip): (String, &[u8]) = match kind {
        Kind::SlowHeader => ("GET /v1/workloads HTTP/1.1\r\nx-slow: ".to_owned(), b"x"),
        Kind::SlowBody => (
            format!(
                "POST /v1/workloads HTTP/1.1\r\n{authorized}{json}content-length: 900000\r\n\r\n{{"
            ),
            b" ",
        ),
        Kind::HugeHeader => (
            format!("GET / HTTP/1.1\r\nx-huge: {}\r\n\r\n", "x".repeat(2 << 20)),
            b"",
        ),
        Kind::HugeBody => (
            format!(
                "POST /v1/workloads:batch HTTP/1.1\r\n{authorized}{json}content-length: {}\r\n\r\n{}",
                1_u64 << 33,
                "[".repeat(1 << 20)
            ),
            b"[",
        ),
        Kind::EndlessStream => (
            format!("GET /v1/workloads/{followed}/logs?follow=true HTTP/1.1\r\n{authorized}\r\n"),
            b"",
        ),
        Kind::HalfOpen => (String::new(), b""),
    };
    // A server that closes first is as good an answer.
    if stream.write_all(head.as_bytes()).await.is_err() {
        meet();
        return;
    }
    let mut answer = [0_u8; 512];
    loop {
        match timeout(Duration::from_millis(500), stream.read(&mut answer)).await {
            // A stream and a half-open connection are met by being kept, within bounds.
            Ok(Ok(read)) if kind == Kind::EndlessStream && read > 0 => {
                meet();
                while !stop.load(Ordering::Relaxed) && !is_over(&mut stream).await {}
                return;
            }
            Ok(_) => {
                meet();
                return;
            }
            Err(_) if stop.load(Ordering::Relaxed) => return,
            Err(_) if kind == Kind::HalfOpen => {
                meet();
                while !stop.load(Ordering::Relaxed) && !is_over(&mut stream).await {}
                return;
            }
            Err(_) if stream.write_all(drip).await.is_err() => {
                meet();
                return;
            }
            Err(_) => {}
        }
    }
}

/// Whether the server has ended it, after half a second of not reading what it sends.
async fn is_over(stream: &mut TcpStream) -> bool {
    let mut byte = [0_u8; 1];
    sleep(Duration::from_millis(500)).await;
    let looked = timeout(Duration::from_millis(10), stream.peek(&mut byte)).await;
    matches!(looked, Ok(Ok(0) | Err(_)))
}
