//! Real processes under seeded faults: runs it, judges a history again, measures failovers.
//!
//! `chaos worker` is what a run starts as its workers: the production worker, with a handler that
//! keeps a diary outside of the system.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a tool for developers: what it finds goes to the terminal"
)]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chaos::check::{Verdict, check};
use chaos::failover::{Class, FailoverOptions, Measured, measure};
use chaos::run::{RunOptions, SiteOptions, run};
use chaos::schedule::schedule;
use chaos::{clock, history, plot};
use clap::{Args, Parser, Subcommand};
use runtime::broker::Broker;
use runtime::broker::nats::{NatsBroker, NatsConfig};
use runtime::config::{LogFormat, LogLevel};
use runtime::worker::{self, Context, Outcome, WorkerConfig, WorkloadHandler};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
#[command(about = "Real processes under seeded faults")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the system under faults and judges what happened.
    Run {
        /// How long faults and load last.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        /// Of all that is drawn.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where the history goes.
        #[arg(long, default_value = "chaos.jsonl")]
        history: PathBuf,
    },
    /// Judges a saved history again.
    Check {
        /// The file.
        history: PathBuf,
    },
    /// Prints what a seed would do.
    Schedule {
        /// As of `run`.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        /// As of `run`.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measures how long a lost leader or worker is missed.
    Failover {
        /// Of each class.
        #[arg(long, default_value_t = 100)]
        trials: usize,
        /// `LEADER_LEASE_TTL`.
        #[arg(long, default_value_t = 3_000)]
        ttl_ms: u64,
        /// Of the moments of the strikes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A folder with a `failover.md`, whose figures are replaced, and where the picture goes.
        #[arg(long)]
        docs: Option<PathBuf>,
    },
    /// A worker of a run.
    #[command(hide = true)]
    Worker(WorkerArgs),
}

#[derive(Debug, Args)]
struct WorkerArgs {
    #[arg(long)]
    id: String,
    #[arg(long)]
    process: String,
    #[arg(long)]
    nats_url: String,
    #[arg(long)]
    capacity: u32,
    #[arg(long)]
    state_dir: PathBuf,
    #[arg(long)]
    diary: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Run {
            seconds,
            seed,
            history,
        } => {
            let program = std::env::current_exe()?;
            let length = Duration::from_secs(seconds);
            let options = RunOptions::new(program, seed, length, history);
            let verdict = run(&options).await?;
            let again = format!("chaos -- run --seconds {seconds} --seed {seed}");
            println!("history: {}", options.history.display());
            Ok(tell(&verdict, &again))
        }
        Command::Check { history } => {
            let verdict = check(&history::load(&history)?);
            Ok(tell(
                &verdict,
                &format!("chaos -- check {}", history.display()),
            ))
        }
        Command::Schedule { seconds, seed } => {
            let workers = RunOptions::new(PathBuf::new(), seed, Duration::ZERO, PathBuf::new());
            for strike in schedule(seed, Duration::from_secs(seconds), workers.site.workers) {
                println!("{strike}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Failover {
            trials,
            ttl_ms,
            seed,
            docs,
        } => {
            let mut site = SiteOptions::new(std::env::current_exe()?);
            site.ttl = Duration::from_millis(ttl_ms);
            let classes = Class::ALL.to_vec();
            let options = FailoverOptions {
                site,
                trials,
                classes,
                seed,
            };
            let measured = measure(&options).await?;
            println!("{}", plot::table(&measured));
            if let Some(folder) = docs {
                write_report(&folder, &measured)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Worker(args) => {
            work(args).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Replaces the figures of the report and its picture; what people wrote around them stays.
fn write_report(folder: &Path, measured: &[Measured]) -> anyhow::Result<()> {
    let path = folder.join("failover.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.context("failover.md has no place for figures")?;
    let table = plot::table(measured);
    std::fs::write(&path, format!("{before}{BEGIN}\n{table}{END}{after}"))?;
    std::fs::write(folder.join("failover.svg"), plot::picture(measured))?;
    Ok(())
}

fn tell(verdict: &Verdict, again: &str) -> ExitCode {
    for (name, count) in &verdict.figures {
        println!("{count:>9}  {name}");
    }
    for violation in verdict.violations.iter().take(TOLD_MAX) {
        println!("VIOLATION {violation}");
    }
    let count = verdict.violations.len();
    println!("{count} violations. Again: cargo run --release -p {again}");
    if count == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn work(args: WorkerArgs) -> anyhow::Result<()> {
    runtime::telemetry::start(LogLevel::Info, LogFormat::Text);
    let mut config = WorkerConfig::new(args.id.parse()?);
    let diary = File::options()
        .create(true)
        .append(true)
        .open(&args.diary)
        .with_context(|| args.diary.display().to_string())?;
    config.handlers = vec![Arc::new(Diligent(Arc::new(diary)))];
    config.capacity = args.capacity;
    config.state_dir = Some(args.state_dir);
    config.shutdown_timeout = Duration::from_secs(10);
    let nats = NatsConfig {
        url: args.nats_url,
        credentials: None,
        name: args.process,
    };
    let broker: Arc<dyn Broker> = Arc::new(NatsBroker::connect(&nats).await?);
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let asked = stop.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        asked.cancel();
    });
    worker::run(config, Arc::clone(&broker), stop).await?;
    broker.close().await;
    Ok(())
}

/// The workload type `chaos`: `{ms, fails?, is_doomed?}`.
struct Diligent(Arc<File>);

#[async_trait::async_trait]
impl WorkloadHandler for Diligent {
    fn workload_type(&self) -> &'static str {
        "chaos"
    }

    async fn run(&self, context: Context) -> Outcome {
        let mut page = Page::open(&self.0, &context);
        let number = |name: &str| context.input_params[name].as_u64().unwrap_or(0);
        let whole = Duration::from_millis(number("ms"));
        let before = context
            .checkpoint
            .as_deref()
            .and_then(millis)
            .unwrap_or_default();
        let begun = tokio::time::Instant::now();
        loop {
            let done = before + begun.elapsed();
            if done >= whole {
                break;
            }
            if context.stop_cause().is_some() {
                context
                    .checkpoint(done.as_millis().to_string().into_bytes())
                    .await;
                page.ended = "stopped";
                return Outcome::Stopped;
            }
            tokio::select! {
                biased;
                _ = context.stopped() => {}
                () = tokio::time::sleep((whole - done).min(Duration::from_secs(1))) => {}
            }
            if whole > Duration::from_secs(1) {
                context
                    .checkpoint(done.as_millis().to_string().into_bytes())
                    .await;
            }
        }
        if context.input_params["is_doomed"] == json!(true) {
            page.ended = "failed";
            return Outcome::permanent("it was meant to fail");
        }
        if u64::from(context.attempt.0) <= number("fails") {
            page.ended = "failed";
            return Outcome::transient("it was meant to fail this time");
        }
        page.ended = "completed";
        Outcome::Completed(Some(json!({"attempt": context.attempt.0})))
    }
}

fn millis(checkpoint: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(checkpoint).ok()?;
    text.parse().ok().map(Duration::from_millis)
}

/// The diary of one attempt: its first line when made, its last when dropped, however that comes.
struct Page {
    diary: Arc<File>,
    workload: String,
    attempt: u64,
    ended: &'static str,
}

impl Page {
    fn open(diary: &Arc<File>, context: &Context) -> Self {
        let page = Self {
            diary: Arc::clone(diary),
            workload: context.workload.to_string(),
            attempt: u64::from(context.attempt.0),
            ended: "killed",
        };
        page.write(None);
        page
    }

    /// One write, so that lines of different attempts never mix.
    fn write(&self, ended: Option<&str>) {
        let line = json!({
            "workload": self.workload, "attempt": self.attempt, "at": clock::now(), "ended": ended,
        });
        (&*self.diary)
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.write(Some(self.ended));
    }
}

/// Where the figures of the report stand.
const BEGIN: &str = "<!-- figures: made by `chaos failover` -->";
const END: &str = "<!-- end of figures -->";
/// More are not told one by one.
const TOLD_MAX: usize = 50;
