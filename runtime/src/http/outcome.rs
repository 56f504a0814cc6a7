//! What may be answered after the store said, or failed to say, what became of a statement.
//!
//! The one place that keeps the promise of 4xx and 503, "not done, and never will be":
//! - after an unknown outcome the same statement, with the same ids, is sent again until the
//!   deadline of the response, then 504;
//! - once any sending had an unknown outcome, the answer is success or 504: an earlier sending may
//!   still take effect, so a later refusal refuses nothing;
//! - what was certainly not sent is tried again for a short while, then 503.
//!
//! Does not know any operation: callers give one to send and one to judge its value.

use super::error::ApiError;
use crate::store::{Store, StoreError, Submission, SubmitOutcome};
use std::{error::Error as _, future::Future};
use tokio::time::{Duration, Instant, sleep, timeout_at};

/// How long a mutation may look for its outcome: the response deadline less a margin.
pub(crate) const OUTCOME_PATIENCE: Duration = Duration::from_secs(25);
/// How long something that was certainly not done is tried again.
pub(crate) const UNSENT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a read may take in all.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What an error says about the statement that it answers.
enum Verdict {
    /// It may have taken effect, or may still do so.
    Doubt,
    /// It has not taken effect; another try may.
    Again,
    /// It has not taken effect, nor will another try.
    Refused(ApiError),
}

fn judge_error(error: &StoreError) -> Verdict {
    match error {
        StoreError::Unknown(_) => Verdict::Doubt,
        StoreError::Unavailable(_) | StoreError::LockTimeout(_) => Verdict::Again,
        StoreError::Refused(_) => {
            tracing::warn!(error = %chain(error), "the database refused a value that the API let through");
            Verdict::Refused(ApiError::unprocessable("the database refuses a value"))
        }
        StoreError::Corrupt(_) | StoreError::Failed(_) => {
            tracing::error!(error = %chain(error), "the database failed");
            Verdict::Refused(ApiError::internal())
        }
    }
}

/// An error with its sources.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The pauses between tries: doubling, bounded.
struct Pauses(Duration);

impl Pauses {
    async fn next(&mut self, deadline: Instant) {
        let until = Instant::now() + self.0;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        sleep(
            until
                .min(deadline)
                .saturating_duration_since(Instant::now()),
        )
        .await;
    }
}

/// Sends a mutation until its outcome is known, and judges it. `send` is told whether an earlier
/// sending may have taken effect, so that it can look before it sends again; `judge` likewise.
pub(crate) async fn settle<T, R, Send, Sent, Judge>(
    mut send: Send,
    judge: Judge,
) -> Result<R, ApiError>
where
    Send: FnMut(bool) -> Sent,
    Sent: Future<Output = Result<T, StoreError>>,
    Judge: FnOnce(T, bool) -> Result<R, ApiError>,
{
    let start = Instant::now();
    let deadline = start + OUTCOME_PATIENCE;
    let mut doubt = false;
    let mut pauses = Pauses(FIRST_PAUSE);
    loop {
        let verdict = match timeout_at(deadline, send(doubt)).await {
            Ok(Ok(value)) => {
                let judged = judge(value, doubt);
                return if doubt {
                    judged.map_err(|_| ApiError::outcome_unknown())
                } else {
                    judged
                };
            }
            Ok(Err(error)) => judge_error(&error),
            Err(_elapsed) => Verdict::Doubt,
        };
        match verdict {
            Verdict::Doubt => doubt = true,
            Verdict::Again if doubt || start.elapsed() < UNSENT_PATIENCE => {}
            Verdict::Again => return Err(ApiError::unavailable()),
            Verdict::Refused(_) if doubt => return Err(ApiError::outcome_unknown()),
            Verdict::Refused(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(ApiError::outcome_unknown());
        }
        pauses.next(deadline).await;
    }
}

/// Reads, trying again for a while. A read that has no answer has done nothing: 503.
pub(crate) async fn read<T, Ask, Asked>(mut ask: Ask) -> Result<T, ApiError>
where
    Ask: FnMut() -> Asked,
    Asked: Future<Output = Result<T, StoreError>>,
{
    let start = Instant::now();
    let deadline = start + READ_PATIENCE;
    let mut pauses = Pauses(FIRST_PAUSE);
    loop {
        match timeout_at(deadline, ask()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => match judge_error(&error) {
                Verdict::Doubt | Verdict::Again if start.elapsed() < UNSENT_PATIENCE => {}
                Verdict::Doubt | Verdict::Again => return Err(ApiError::unavailable()),
                Verdict::Refused(error) => return Err(error),
            },
            Err(_elapsed) => return Err(ApiError::unavailable()),
        }
        pauses.next(deadline).await;
    }
}

/// One submission on its way to an outcome.
enum Item {
    Open { doubt: bool },
    Done(Box<Result<SubmitOutcome, ApiError>>),
}

/// Sends submissions until the outcome of each is known, or the deadline has passed. The same rules
/// as [`settle`], for each by itself. Refusals come as errors made by `refuse`.
pub(crate) async fn settle_submissions(
    store: &dyn Store,
    submissions: &[Submission],
) -> Vec<Result<SubmitOutcome, ApiError>> {
    let start = Instant::now();
    let deadline = start + OUTCOME_PATIENCE;
    let mut pauses = Pauses(FIRST_PAUSE);
    let mut items: Vec<Item> = submissions
        .iter()
        .map(|_| Item::Open { doubt: false })
        .collect();
    loop {
        let open: Vec<usize> = (0..items.len())
            .filter(|place| matches!(items[*place], Item::Open { .. }))
            .collect();
        if open.is_empty() {
            break;
        }
        let sent: Vec<Submission> = open
            .iter()
            .map(|place| submissions[*place].clone())
            .collect();
        let answers = timeout_at(deadline, store.submit(&sent)).await;
        let late = Instant::now() >= deadline;
        let unsent_late = start.elapsed() >= UNSENT_PATIENCE;
        let mut answers = answers.map(Vec::into_iter);
        for place in open {
            let answer = answers.as_mut().ok().and_then(Iterator::next);
            let Item::Open { doubt } = items[place] else {
                continue;
            };
            items[place] = settle_item(doubt, answer, unsent_late, late);
        }
        pauses.next(deadline).await;
    }
    let done = items.into_iter().map(|item| match item {
        Item::Done(result) => *result,
        Item::Open { .. } => Err(ApiError::outcome_unknown()),
    });
    done.collect()
}

/// What one answer makes of a submission. No answer is doubt.
fn settle_item(
    doubt: bool,
    answer: Option<Result<SubmitOutcome, StoreError>>,
    unsent_late: bool,
    late: bool,
) -> Item {
    let done = |result| Item::Done(Box::new(result));
    let verdict = match answer {
        Some(Ok(outcome)) => {
            let success = match outcome {
                SubmitOutcome::Created(_) | SubmitOutcome::Existing(_) => true,
                SubmitOutcome::KeyReused
                | SubmitOutcome::UnknownType
                | SubmitOutcome::QueueFull { .. } => false,
            };
            if doubt && !success {
                return done(Err(ApiError::outcome_unknown()));
            }
            return done(Ok(outcome));
        }
        Some(Err(error)) => judge_error(&error),
        None => Verdict::Doubt,
    };
    match verdict {
        _ if late && doubt => done(Err(ApiError::outcome_unknown())),
        Verdict::Doubt if late => done(Err(ApiError::outcome_unknown())),
        Verdict::Doubt => Item::Open { doubt: true },
        Verdict::Again if doubt || !unsent_late => Item::Open { doubt },
        Verdict::Again => done(Err(ApiError::unavailable())),
        Verdict::Refused(_) if doubt => done(Err(ApiError::outcome_unknown())),
        Verdict::Refused(error) => done(Err(error)),
    }
}
