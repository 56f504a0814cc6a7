//! One run: a site, its customers, its faults, quiet, and the verdict.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::join_all;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::check::{Verdict, check};
use super::clock;
use super::customers::{Asker, resume_all};
use super::history::{DiaryEntry, Happened, Head, Record, Recorder, load};
use super::nemesis::{carry_out, order};
use super::schedule::schedule;
use super::site::Site;
pub use super::site::SiteOptions;
use super::tables;

/// What is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The system.
    pub site: SiteOptions,
    /// Of everything that is drawn.
    pub seed: u64,
    /// How long faults and load last.
    pub length: Duration,
    /// Tasks that submit one at a time.
    pub singles: u32,
    /// Tasks that submit many at a time.
    pub batches: u32,
    /// Where the history goes, with a folder of logs beside it when something is wrong.
    pub history: PathBuf,
}

impl RunOptions {
    /// The usual load.
    #[must_use]
    pub fn new(worker_program: PathBuf, seed: u64, length: Duration, history: PathBuf) -> Self {
        Self {
            site: SiteOptions::new(worker_program),
            seed,
            length,
            singles: 10,
            batches: 2,
            history,
        }
    }
}

/// Runs, waits for quiet, writes the history, reads it back and judges it.
///
/// # Errors
/// When the history cannot be written or read.
pub async fn run(options: &RunOptions) -> anyhow::Result<Verdict> {
    let recorder = Arc::new(Recorder::create(&options.history)?);
    let site = Arc::new(Site::start(options.site.clone(), Arc::clone(&recorder)).await);
    recorder.record(&Record::Head(Head {
        seed: options.seed,
        seconds: options.length.as_secs(),
        from_wall: clock::from_wall(),
        capacity: options.site.capacity,
        customers: site.customers.iter().map(|it| it.limits.clone()).collect(),
    }));
    let strikes = schedule(options.seed, options.length, options.site.workers);
    let (stop, stopped) = watch::channel(false);
    let (watch_stop, watch_stopped) = watch::channel(false);
    let watching = {
        let site = Arc::clone(&site);
        tokio::spawn(async move { tables::watch(&site, watch_stopped).await })
    };
    let mut asking = ask(&site, options, &stopped);
    let begun = Instant::now();
    // Each at its moment, several at once where they meet.
    join_all(strikes.iter().map(|strike| carry_out(&site, strike, begun))).await;
    sleep((begun + options.length).saturating_duration_since(Instant::now())).await;
    stop.send_replace(true);
    while let Some(ended) = asking.join_next().await {
        ended?;
    }
    let quiet = become_quiet(&site, &options.site).await;
    watch_stop.send_replace(true);
    watching.await?;
    stop_workers(&site).await;
    read_diaries(&site)?;
    tables::record(&site.database_url, &recorder).await?;
    let records = load(&options.history)?;
    let mut verdict = check(&records);
    verdict.figures.extend(quiet);
    if !verdict.violations.is_empty() {
        site.keep_logs(&options.history.with_extension("logs"));
    }
    Ok(verdict)
}

fn ask(site: &Arc<Site>, options: &RunOptions, stopped: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    for by in 0..options.singles + options.batches {
        // A third of those who ask one at a time are the customer with small limits.
        let is_small = by < options.singles && by % 3 == 2;
        let customer = &site.customers[usize::from(is_small)];
        let batch = if by < options.singles { 1 } else { BATCH };
        let asker = Asker::new(site, by, customer, batch, options.seed);
        asking.spawn(asker.run(stopped.clone()));
    }
    asking
}

/// Takes every fault away and waits until all work has ended, for as long as [`QUIET_WITHIN`];
/// what has not ended by then is the judge's to find.
async fn become_quiet(site: &Arc<Site>, options: &SiteOptions) -> Vec<(String, u64)> {
    for seat in &site.coordinators {
        seat.to_postgres.heal();
        seat.to_nats.heal();
        let mut process = seat.process.lock().await;
        if process.it.process.exit_status().is_some() {
            site.happened(&process.name(), Happened::EndedUnasked);
            process.start_again(site);
        }
    }
    for seat in &site.workers {
        seat.to_nats.heal();
        let mut process = seat.process.lock().await;
        let id = process.it.id.clone();
        if process.it.process.exit_status().is_some() {
            site.happened(&process.it.name, Happened::EndedUnasked);
            process.start_again(site, &id, seat.to_nats.port());
        }
    }
    let healed = Instant::now();
    for seat in &site.workers {
        let id = seat.process.lock().await.it.id.clone();
        while !order(site, &id, "undrain").await && healed.elapsed() < QUIET_WITHIN {
            sleep(Duration::from_millis(200)).await;
        }
    }
    let mut left = Vec::new();
    while healed.elapsed() < QUIET_WITHIN {
        if let Ok(paused) = tables::paused(&site.database_url).await {
            resume_all(site, paused).await;
        }
        left = tables::open(&site.database_url).await.unwrap_or_default();
        if left.is_empty() {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    // The counters follow in the same commits; a term that just began needs no more than this.
    sleep(options.ttl).await;
    let open = left
        .iter()
        .map(|(_, count)| u64::try_from(*count).unwrap_or(0))
        .sum();
    vec![
        ("open at the end".to_owned(), open),
        ("seconds until quiet".to_owned(), healed.elapsed().as_secs()),
    ]
}

/// So that their diaries are whole.
async fn stop_workers(site: &Site) {
    for seat in &site.workers {
        seat.process.lock().await.stop(site).await;
    }
}

/// A line of a diary, as the worker writes it.
#[derive(Debug, Deserialize)]
struct Line {
    workload: String,
    attempt: u64,
    at: i64,
    ended: Option<String>,
}

fn read_diaries(site: &Site) -> anyhow::Result<()> {
    for path in site.diaries() {
        let process = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        for line in BufReader::new(file).lines() {
            let line: Line = serde_json::from_str(&line?).with_context(|| process.clone())?;
            site.recorder.record(&Record::Diary(DiaryEntry {
                process: process.clone(),
                workload: line.workload,
                attempt: line.attempt,
                at: line.at,
                ended: line.ended,
            }));
        }
    }
    Ok(())
}

/// Submissions in one request.
const BATCH: usize = 40;
/// How long after the last fault everything must have ended.
const QUIET_WITHIN: Duration = Duration::from_secs(120);
