//! What simulated workloads do: wait as long as they are told, end as they are told, and say truly
//! when they begin and end.

use super::RUN_LONGEST;
use crate::{
    clock::Clock,
    ports::{Checker, checker::Running},
};
use async_trait::async_trait;
use niyanta_core::time::Duration;
use runtime::worker::{Context, Outcome, WorkloadHandler};
use tokio::time::{Instant, sleep};

/// The types of work that there are.
pub(crate) const TYPES: [&str; 2] = ["hash", "train"];

/// Runs one type of work on one start of a worker.
pub(crate) struct SimHandler {
    pub(crate) workload_type: &'static str,
    pub(crate) checker: Checker,
    pub(crate) place: usize,
    pub(crate) clock: Clock,
}

#[async_trait]
impl WorkloadHandler for SimHandler {
    fn workload_type(&self) -> &str {
        self.workload_type
    }

    async fn run(&self, context: Context) -> Outcome {
        let running = Running::begin(
            &self.checker,
            (self.place, self.clock),
            (context.workload, context.attempt, context.generation),
            context.lease().is_none(),
        );
        let number = |name: &str| context.input_params[name].as_u64().unwrap_or(0);
        let length = Duration::from_millis(number("ms")).min(RUN_LONGEST);
        let fails = u32::try_from(number("fails")).unwrap_or(0);
        // A later attempt goes on from the last checkpoint.
        let done = context
            .checkpoint
            .as_deref()
            .and_then(read)
            .unwrap_or_default();
        let begun = Instant::now();
        let mut said = 0_u64;
        loop {
            let so_far = (done + begun.elapsed()).min(length);
            if so_far == length {
                break;
            }
            if context.stop_cause().is_some() {
                context.checkpoint(write(so_far)).await;
                return Outcome::Stopped;
            }
            said += 1;
            if said.is_multiple_of(4) {
                context.checkpoint(write(so_far)).await;
                context.log("info", format!("line {said}")).await;
            }
            let percent = 100.0 * so_far.as_secs_f64() / length.as_secs_f64();
            context.progress(percent, None);
            tokio::select! {
                biased;
                _ = context.stopped() => {}
                () = sleep(STEP.min(length.saturating_sub(so_far))) => running.stands(),
            }
        }
        let completed = context.attempt.0 > fails;
        running.finished(completed);
        if completed {
            let result = serde_json::json!({ "attempt": context.attempt.0 });
            Outcome::Completed(Some(result))
        } else if number("permanent") == 1 {
            Outcome::permanent("it was told to fail")
        } else {
            Outcome::transient("it was told to fail at first")
        }
    }
}

fn write(done: Duration) -> Vec<u8> {
    done.as_millis().to_string().into_bytes()
}

fn read(checkpoint: &[u8]) -> Option<Duration> {
    let millis = std::str::from_utf8(checkpoint).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

const STEP: Duration = Duration::from_millis(100);
