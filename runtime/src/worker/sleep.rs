//! `sleep`: waits `{seconds}`. A later attempt waits only for what is left.

use super::{Context, Outcome, WorkloadHandler};
use async_trait::async_trait;
use niyanta_core::time::Duration;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The workload type `sleep`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sleep;

#[async_trait]
impl WorkloadHandler for Sleep {
    fn workload_type(&self) -> &'static str {
        "sleep"
    }

    async fn run(&self, context: Context) -> Outcome {
        let seconds = context.input_params.get("seconds").and_then(Value::as_f64);
        let whole = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let Some(whole) = whole else {
            return Outcome::permanent("input_params.seconds must be a number, 0 or more");
        };
        let before = context
            .checkpoint
            .as_deref()
            .and_then(slept)
            .unwrap_or_default();
        let started = Instant::now();
        let mut next_checkpoint = started + context.checkpoint_interval;
        loop {
            let done = before + started.elapsed();
            let left = whole.saturating_sub(done);
            if left.is_zero() {
                return Outcome::Completed(Some(json!({ "seconds": seconds })));
            }
            if context.stop_cause().is_some() {
                context.checkpoint(checkpoint(done)).await;
                return Outcome::Stopped;
            }
            if Instant::now() >= next_checkpoint {
                context.checkpoint(checkpoint(done)).await;
                next_checkpoint = Instant::now() + context.checkpoint_interval;
            }
            context.progress(100.0 * done.as_secs_f64() / whole.as_secs_f64(), None);
            tokio::select! {
                biased;
                _ = context.stopped() => {}
                () = tokio::time::sleep(left.min(TICK)) => {}
            }
        }
    }
}

fn checkpoint(done: Duration) -> Vec<u8> {
    done.as_millis().to_string().into_bytes()
}

fn slept(checkpoint: &[u8]) -> Option<Duration> {
    let millis = std::str::from_utf8(checkpoint).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

const TICK: Duration = Duration::from_secs(1);
