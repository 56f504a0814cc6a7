//! What may be answered after the store said, or failed to say, what became of a statement.
//!
//! Waits, sends and judges over the store port; what may be concluded, and when to send again, is
//! [`super::pursuit`]'s. Does not know any operation: callers give one to send and one to judge its
//! value.

use super::{
    error::ApiError,
    pursuit::{Next, OUTCOME_PATIENCE, Pursuit, Showed, UNSENT_PATIENCE},
};
use crate::probes::planted;
use crate::{
    error_chain::chain,
    store::{StoreError, Submission, SubmitOutcome},
};
use std::future::Future;
use tokio::time::{Duration, Instant, sleep, timeout_at};

/// How long a read may take in all.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(10);
/// Between the tries of a read.
const READ_PAUSE: Duration = Duration::from_millis(100);

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
        StoreError::Unknown(_) if planted!(UnknownIsFailure) => {
            Verdict::Refused(ApiError::unavailable())
        }
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

impl Verdict {
    const fn showed(&self) -> Showed {
        match self {
            Self::Doubt => Showed::Doubt,
            Self::Again => Showed::NotDone,
            Self::Refused(_) => Showed::Failure,
        }
    }

    /// What is answered when it is answered as it is.
    fn refused<R>(self) -> Result<R, ApiError> {
        match self {
            Self::Refused(error) => Err(error),
            Self::Doubt | Self::Again => Err(ApiError::outcome_unknown()),
        }
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
    let mut pursuit = Pursuit::default();
    loop {
        let doubt = pursuit.is_in_doubt();
        let verdict = match timeout_at(deadline, send(doubt)).await {
            Ok(Ok(value)) => {
                let judged = judge(value, doubt);
                let next = pursuit.hear(start.elapsed(), showed(&judged));
                return conclude(next, judged);
            }
            Ok(Err(error)) => judge_error(&error),
            Err(_elapsed) => Verdict::Doubt,
        };
        let next = pursuit.hear(start.elapsed(), verdict.showed());
        if let Next::SendAgain(pause) = next {
            sleep(pause).await;
            continue;
        }
        return conclude(next, verdict.refused());
    }
}

const fn showed<R, E>(judged: &Result<R, E>) -> Showed {
    match judged {
        Ok(_) => Showed::Success,
        Err(_) => Showed::Refusal,
    }
}

/// The answer that ends a pursuit.
fn conclude<R>(next: Next, said: Result<R, ApiError>) -> Result<R, ApiError> {
    match next {
        Next::AnswerIt => said,
        Next::AnswerUnavailable => Err(ApiError::unavailable()),
        Next::AnswerUnknown | Next::SendAgain(_) => Err(ApiError::outcome_unknown()),
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
        sleep(READ_PAUSE).await;
    }
}

/// One submission on its way to an outcome.
enum Item {
    Open(Pursuit),
    Done(Box<Result<SubmitOutcome, ApiError>>),
}

/// Sends submissions until the outcome of each is known, or the deadline has passed: the rules of
/// [`settle`], for each by itself. `send` answers in the order of what it is given.
pub(crate) async fn settle_submissions<Send, Sent>(
    mut send: Send,
    submissions: &[Submission],
) -> Vec<Result<SubmitOutcome, ApiError>>
where
    Send: FnMut(Vec<Submission>) -> Sent,
    Sent: Future<Output = Vec<Result<SubmitOutcome, StoreError>>>,
{
    let start = Instant::now();
    let deadline = start + OUTCOME_PATIENCE;
    let mut items: Vec<Item> = submissions
        .iter()
        .map(|_| Item::Open(Pursuit::default()))
        .collect();
    loop {
        let open: Vec<usize> = (0..items.len())
            .filter(|place| matches!(items[*place], Item::Open(_)))
            .collect();
        let sent: Vec<Submission> = open
            .iter()
            .map(|place| submissions[*place].clone())
            .collect();
        let answers = timeout_at(deadline, send(sent)).await;
        let mut answers = answers.map(Vec::into_iter);
        let mut pause = None;
        for place in open {
            let answer = answers.as_mut().ok().and_then(Iterator::next);
            let Item::Open(pursuit) = &mut items[place] else {
                continue;
            };
            match settle_item(pursuit, start.elapsed(), answer) {
                Ok(wait) => pause = pause.max(Some(wait)),
                Err(done) => items[place] = Item::Done(Box::new(done)),
            }
        }
        // Those that are still open go together.
        match pause {
            Some(pause) => sleep(pause).await,
            None => break,
        }
    }
    let done = items.into_iter().map(|item| match item {
        Item::Done(result) => *result,
        Item::Open(_) => Err(ApiError::outcome_unknown()),
    });
    done.collect()
}

/// What one answer makes of a submission: a pause before it is sent again, or its end. No answer is
/// doubt.
fn settle_item(
    pursuit: &mut Pursuit,
    elapsed: Duration,
    answer: Option<Result<SubmitOutcome, StoreError>>,
) -> Result<Duration, Result<SubmitOutcome, ApiError>> {
    let (showed, said) = match answer {
        Some(Ok(outcome)) => {
            let showed = match outcome {
                SubmitOutcome::Created(_) | SubmitOutcome::Existing(_) => Showed::Success,
                SubmitOutcome::KeyReused
                | SubmitOutcome::UnknownType
                | SubmitOutcome::QueueFull { .. } => Showed::Refusal,
            };
            (showed, Ok(outcome))
        }
        Some(Err(error)) => {
            let verdict = judge_error(&error);
            (verdict.showed(), verdict.refused())
        }
        None => (Showed::Doubt, Err(ApiError::outcome_unknown())),
    };
    match pursuit.hear(elapsed, showed) {
        Next::SendAgain(pause) => Ok(pause),
        next @ (Next::AnswerIt | Next::AnswerUnknown | Next::AnswerUnavailable) => {
            Err(conclude(next, said))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::error::Code, *};
    use std::cell::RefCell;

    fn unknown() -> StoreError {
        StoreError::Unknown("lost".into())
    }

    fn unavailable() -> StoreError {
        StoreError::Unavailable("gone".into())
    }

    type Line = fn() -> Result<Result<u8, ()>, StoreError>;

    /// Sends what the script says, its last line for ever; judges `Err` as a refusal.
    async fn settled(script: Vec<Line>) -> (Result<u8, Code>, Vec<bool>) {
        let sent = RefCell::new(Vec::new());
        let send = |doubt| {
            let place = sent.borrow().len().min(script.len() - 1);
            sent.borrow_mut().push(doubt);
            let answer = script[place]();
            async move { answer }
        };
        let refused = |_| ApiError::new(Code::QueueFull, "full");
        let result = settle(send, |value, _| value.map_err(refused)).await;
        (result.map_err(|error| error.code()), sent.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_outcome_is_looked_for_until_it_is_known() {
        let (result, sent) =
            settled(vec![|| Err(unknown()), || Err(unavailable()), || Ok(Ok(7))]).await;
        assert_eq!((result, sent), (Ok(7), vec![false, true, true]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_doubt_a_refusal_is_no_refusal() {
        for refusal in [
            (|| Ok(Err(()))) as Line,
            || Err(StoreError::Refused("bad".into())),
            || Err(StoreError::Failed("bug".into())),
        ] {
            let (result, _) = settled(vec![|| Err(unknown()), refusal]).await;
            assert_eq!(result, Err(Code::Timeout));
        }
        let (result, _) = settled(vec![|| Ok(Err(()))]).await;
        assert_eq!(result, Err(Code::QueueFull));
    }

    #[tokio::test(start_paused = true)]
    async fn doubt_that_stays_is_a_504_before_the_response_is_due() {
        let start = Instant::now();
        let (result, sent) = settled(vec![|| Err(unknown())]).await;
        assert_eq!(result, Err(Code::Timeout));
        assert!(sent.len() > 10 && start.elapsed() < super::super::RESPONSE);
        let (result, _) = settled(vec![|| Err(unknown()), || Err(unavailable())]).await;
        assert_eq!(result, Err(Code::Timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_sent_is_a_503_after_a_while() {
        let start = Instant::now();
        let (result, sent) = settled(vec![|| Err(unavailable())]).await;
        assert_eq!(result, Err(Code::ServiceUnavailable));
        assert!(sent.iter().all(|doubt| !doubt));
        assert!(start.elapsed() < Duration::from_secs(5));
        let (result, _) = settled(vec![|| Err(StoreError::LockTimeout("row".into())), || {
            Ok(Ok(1))
        }])
        .await;
        assert_eq!(result, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_doubt() {
        let result = settle(
            |_| std::future::pending::<Result<u8, StoreError>>(),
            |value, _| Ok(value),
        )
        .await;
        assert_eq!(result.map_err(|error| error.code()), Err(Code::Timeout));
        let read = read(std::future::pending::<Result<u8, StoreError>>).await;
        assert_eq!(
            read.map_err(|error| error.code()),
            Err(Code::ServiceUnavailable)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_submission_of_a_group_has_its_own_outcome() {
        let body = serde_json::json!({"workload_type": "sleep"});
        let one = |id| {
            let submitter = super::super::submission::Submitter {
                customer: niyanta_core::ids::CustomerId(1),
                actor: crate::store::KeyId(1),
                id: niyanta_core::ids::WorkloadId(id),
            };
            super::super::submission::read_item(submitter, &body).unwrap()
        };
        let rounds = RefCell::new(Vec::new());
        let send = |open: Vec<Submission>| {
            let ids: Vec<u128> = open.iter().map(|submission| submission.id.0).collect();
            let first = rounds.borrow().is_empty();
            rounds.borrow_mut().push(ids.clone());
            let answers = ids.into_iter().map(|id| match (id, first) {
                (1 | 2, true) => Err(unknown()),
                (3, true) => Err(unavailable()),
                (4, true) => Ok(SubmitOutcome::UnknownType),
                (1, false) => Ok(SubmitOutcome::QueueFull { limit: 1 }),
                (2 | 3, false) => Ok(SubmitOutcome::KeyReused),
                (other, _) => panic!("{other} was sent again"),
            });
            let answers: Vec<_> = answers.collect();
            async move { answers }
        };
        let results = settle_submissions(send, &[one(1), one(2), one(3), one(4)]).await;
        let codes: Vec<_> = results
            .into_iter()
            .map(|result| result.map_err(|e| e.code()))
            .collect();
        assert_eq!(
            codes,
            [
                Err(Code::Timeout),
                Err(Code::Timeout),
                Ok(SubmitOutcome::KeyReused),
                Ok(SubmitOutcome::UnknownType),
            ]
        );
        assert_eq!(rounds.into_inner(), [vec![1, 2, 3, 4], vec![1, 2, 3]]);
    }
}
