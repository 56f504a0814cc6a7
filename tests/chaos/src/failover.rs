//! How long a lost leader, or a lost worker, is missed.
//!
//! Owns the trials: under load, from the strike to the first assignment by the next leader, as the
//! audit has it, or to the first new assignment of what the lost worker ran. The strike comes at a
//! random moment between two renewals. Both moments are of this machine's wall clock.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::clock;
use super::history::Recorder;
use super::site::{Site, SiteOptions};
use super::tables;
use tests::Client;
use tests::Signal;
use tests::Weather;

/// What is done to the leader, or to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `kill -9`.
    Kill,
    /// SIGSTOP, until another leads.
    Pause,
    /// Cut off from Postgres and NATS, both ways.
    Partition,
    /// Cut off from NATS alone, both ways.
    Deaf,
    /// SIGTERM.
    Stop,
    /// SIGTERM and a new start of each coordinator in turn; counted from the leader's SIGTERM.
    Rolling,
    /// `kill -9` of a worker with work.
    LostWorker,
}

impl Class {
    /// All, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Deaf,
        Self::Stop,
        Self::Rolling,
        Self::LostWorker,
    ];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "leader killed (-9)",
            Self::Pause => "leader paused (SIGSTOP)",
            Self::Partition => "leader cut off from everything",
            Self::Deaf => "leader cut off from NATS alone",
            Self::Stop => "leader stopped (SIGTERM)",
            Self::Rolling => "rolling restart, the leader's turn",
            Self::LostWorker => "worker killed (-9)",
        })
    }
}

/// The times of one class, sorted, and what submissions felt of it.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Which.
    pub class: Class,
    /// Milliseconds, ascending.
    pub millis: Vec<i64>,
    /// The longest time without an acknowledged submission on a coordinator that was not struck, in
    /// milliseconds, over all trials.
    pub longest_gap: i64,
}

impl Measured {
    /// The value that so many of a thousand do not exceed.
    #[must_use]
    pub fn quantile(&self, per_mille: usize) -> i64 {
        let rank = (self.millis.len() * per_mille).div_ceil(1_000).max(1);
        self.millis[rank - 1]
    }
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct FailoverOptions {
    /// The system.
    pub site: SiteOptions,
    /// Trials of each class.
    pub trials: usize,
    /// Which classes.
    pub classes: Vec<Class>,
    /// Of the moments of the strikes.
    pub seed: u64,
}

/// Measures all classes, one trial after the other.
///
/// # Errors
/// When the database does not answer, or nobody takes over within [`NEVER`].
pub async fn measure(options: &FailoverOptions) -> anyhow::Result<Vec<Measured>> {
    let history = PathBuf::from("/dev/null");
    let recorder = Arc::new(Recorder::create(&history)?);
    let site = Arc::new(Site::start(options.site.clone(), recorder).await);
    let (stop, stopped) = watch::channel(false);
    let watching = {
        let (site, stopped) = (Arc::clone(&site), stopped.clone());
        tokio::spawn(async move { tables::watch(&site, stopped).await })
    };
    let load = Load::start(&site, &stopped);
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut all = Vec::new();
    for class in &options.classes {
        let mut measured = Measured {
            class: *class,
            millis: Vec::new(),
            longest_gap: 0,
        };
        for _ in 0..options.trials {
            settle(&site).await?;
            let renewal = options.site.ttl.as_millis() / 3;
            let wait = rng.random_range(0..u64::try_from(renewal)?.max(1));
            sleep(Duration::from_millis(wait)).await;
            load.forget_gaps();
            let leader = site.leader();
            let took = trial(&site, *class, leader).await;
            let took = took.with_context(|| format!("{class}, trial {}", measured.millis.len()))?;
            measured.millis.push(took);
            let gap = load.longest_gap_without(leader);
            measured.longest_gap = measured.longest_gap.max(gap);
        }
        measured.millis.sort_unstable();
        all.push(measured);
    }
    stop.send_replace(true);
    watching.await?;
    load.end().await?;
    Ok(all)
}

/// Waits until all are ready, one leads, and it assigns.
async fn settle(site: &Site) -> anyhow::Result<()> {
    for seat in &site.coordinators {
        seat.process.lock().await.it.ready().await;
    }
    site.admin(0).healthy_workers(site.workers.len()).await;
    let mut connection = PgConnection::connect(&site.database_url).await?;
    let statement = "select count(*) from audit where kind = 'workload.scheduled'
        and generation = (select generation from lease)";
    let begun = Instant::now();
    let mut before: i64 = sqlx::query_scalar(statement)
        .fetch_one(&mut connection)
        .await?;
    while begun.elapsed() < NEVER {
        sleep(Duration::from_millis(300)).await;
        let now: i64 = sqlx::query_scalar(statement)
            .fetch_one(&mut connection)
            .await?;
        let seen = site.lease.borrow().clone();
        let generation: i64 = sqlx::query_scalar("select generation from lease")
            .fetch_one(&mut connection)
            .await?;
        if now > before && seen.is_some_and(|seen| seen.generation == generation) {
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("nobody leads and assigns after {NEVER:?}")
}

/// Milliseconds from the strike to the assignment that ends it.
async fn trial(site: &Site, class: Class, leader: usize) -> anyhow::Result<i64> {
    let seat = &site.coordinators[leader];
    let generation = site
        .lease
        .borrow()
        .as_ref()
        .map_or(0, |seen| seen.generation);
    let struck_at = || clock::now() - clock::from_wall();
    match class {
        Class::Kill => {
            let mut process = seat.process.lock().await;
            let at = struck_at();
            process.kill(site);
            let took = assigned_after(site, generation, at).await;
            process.start_again(site);
            took
        }
        Class::Pause => {
            let process = seat.process.lock().await;
            let at = struck_at();
            process.it.process.signal(Signal::STOP);
            let took = assigned_after(site, generation, at).await;
            process.it.process.signal(Signal::CONT);
            took
        }
        Class::Partition | Class::Deaf => {
            let at = struck_at();
            if class == Class::Partition {
                seat.to_postgres.set(Weather::cut(true, true));
            }
            seat.to_nats.set(Weather::cut(true, true));
            let took = assigned_after(site, generation, at).await;
            seat.to_postgres.heal();
            seat.to_nats.heal();
            took
        }
        Class::Stop => {
            let mut process = seat.process.lock().await;
            let at = struck_at();
            process.it.process.signal(Signal::TERM);
            let took = assigned_after(site, generation, at).await;
            process.stop(site).await;
            process.start_again(site);
            took
        }
        Class::Rolling => rolling(site, leader).await,
        Class::LostWorker => lost_worker(site).await,
    }
}

/// From the first to the last in order, as an operator would who does not know who leads.
async fn rolling(site: &Site, leader: usize) -> anyhow::Result<i64> {
    let mut took = None;
    for (index, seat) in site.coordinators.iter().enumerate() {
        let mut process = seat.process.lock().await;
        let generation = site
            .lease
            .borrow()
            .as_ref()
            .map_or(0, |seen| seen.generation);
        let at = clock::now() - clock::from_wall();
        process.it.process.signal(Signal::TERM);
        if index == leader {
            took = Some(assigned_after(site, generation, at).await?);
        }
        process.stop(site).await;
        process.start_again(site);
        process.it.ready().await;
    }
    took.context("the leader is one of them")
}

/// From the death of a worker to the next assignment of one of its workloads.
async fn lost_worker(site: &Site) -> anyhow::Result<i64> {
    let seat = &site.workers[0];
    let mut process = seat.process.lock().await;
    let id = process.it.id.clone();
    let client = Client::new(&site.coordinators[0].url, Some(&site.customers[0].key));
    let body = json!({
        "workload_type": "chaos", "input_params": {"ms": 600_000},
        "affinity_rules": {"soft_affinity": {"worker_id": id}},
    });
    let workload = client.submit_body(&body).await;
    let told = |value: &serde_json::Value| value["status"] == "RUNNING";
    let running = client.wait_until(&workload, "RUNNING", NEVER, told).await;
    anyhow::ensure!(
        running["worker_id"] == id.as_str(),
        "it runs elsewhere: {running:#}"
    );
    let at = clock::now() - clock::from_wall();
    process.kill(site);
    let again = |value: &serde_json::Value| value["attempt"].as_u64() > Some(1);
    client
        .wait_until(&workload, "a second attempt", NEVER, again)
        .await;
    let history = client.history(&workload).await;
    let second = history
        .of_type("workload.scheduled")
        .nth(1)
        .context("a second assignment")?;
    let then = tests::History::time_of(second).timestamp_micros();
    process.start_again(site, &id, seat.to_nats.port());
    client.control(&workload, "cancel").await.expect(202);
    Ok((then - at) / clock::MILLISECOND)
}

/// Milliseconds from a moment to the first assignment of a later term.
async fn assigned_after(site: &Site, generation: i64, at: i64) -> anyhow::Result<i64> {
    let mut connection = PgConnection::connect(&site.database_url).await?;
    let statement = "select (extract(epoch from min(at)) * 1000000)::bigint from audit
        where kind = 'workload.scheduled' and generation > $1";
    let begun = Instant::now();
    while begun.elapsed() < NEVER {
        let first: Option<i64> = sqlx::query_scalar(statement)
            .bind(generation)
            .fetch_one(&mut connection)
            .await?;
        if let Some(first) = first {
            return Ok((first - at) / clock::MILLISECOND);
        }
        sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("nobody assigned anything for {NEVER:?}")
}

/// Submissions to each coordinator, one task each, and how long each went without an answer.
struct Load {
    gaps: Arc<Vec<Gap>>,
    tasks: JoinSet<()>,
}

/// Of one coordinator: when it last acknowledged, and the longest it did not.
#[derive(Debug)]
struct Gap {
    last: AtomicI64,
    longest: AtomicI64,
}

impl Load {
    fn start(site: &Arc<Site>, stopped: &watch::Receiver<bool>) -> Self {
        let gap = || Gap {
            last: AtomicI64::new(clock::now()),
            longest: AtomicI64::new(0),
        };
        let gaps: Arc<Vec<Gap>> = Arc::new(site.coordinators.iter().map(|_| gap()).collect());
        let mut tasks = JoinSet::new();
        for (index, seat) in site.coordinators.iter().enumerate() {
            let key = Some(site.customers[0].key.as_str());
            let client = Client::with_patience(&seat.url, key, Duration::from_secs(1));
            let (gaps, stopped) = (Arc::clone(&gaps), stopped.clone());
            tasks.spawn(async move {
                let body = json!({"workload_type": "chaos", "input_params": {"ms": 1}});
                while !*stopped.borrow() {
                    let body = Some(body.to_string());
                    let sent = client.send(Method::POST, "/v1/workloads", &[], body).await;
                    if sent.is_ok_and(|answer| answer.status == 202) {
                        gaps[index].acknowledged();
                    }
                    sleep(EVERY).await;
                }
            });
        }
        Self { gaps, tasks }
    }

    fn forget_gaps(&self) {
        for gap in self.gaps.iter() {
            gap.longest.store(0, Ordering::Relaxed);
        }
    }

    /// In milliseconds, of those that were not struck; one that still goes on counts.
    fn longest_gap_without(&self, struck: usize) -> i64 {
        let others = self
            .gaps
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != struck);
        let longest = others.map(|(_, gap)| {
            let open = clock::now() - gap.last.load(Ordering::Relaxed);
            open.max(gap.longest.load(Ordering::Relaxed))
        });
        longest.max().unwrap_or(0) / clock::MILLISECOND
    }

    async fn end(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

impl Gap {
    fn acknowledged(&self) {
        let now = clock::now();
        let before = self.last.swap(now, Ordering::Relaxed);
        self.longest.fetch_max(now - before, Ordering::Relaxed);
    }
}

/// Between two submissions to one coordinator.
const EVERY: Duration = Duration::from_millis(20);
/// Longer than any of it may take.
const NEVER: Duration = Duration::from_secs(60);
