//! Wishes, submissions and long-polls: what is answered to what the store says.

use super::*;
use crate::store::{WorkerView, WorkerWishOutcome};
use niyanta_core::fleet::{WorkerDesired, WorkerStatus};

async fn control(verb: &str, answers: Vec<Result<WishOutcome, StoreError>>) -> (Rig, Answer) {
    let rig = Rig::new();
    let seen = match verb {
        "resume" => view(Desired::Pause, Status::Pending),
        _ => view(Desired::Run, Status::Pending),
    };
    rig.store
        .workloads
        .lock()
        .unwrap()
        .insert((OWN, WORKLOAD), *seen);
    rig.store.wish_answers.lock().unwrap().extend(answers);
    let answer = rig
        .post(
            &format!("/v1/workloads/{WORKLOAD}/{verb}"),
            &json!({"reason": "why"}),
        )
        .await;
    (rig, answer)
}

fn view(desired: Desired, status: Status) -> Box<WorkloadView> {
    Box::new(WorkloadView {
        desired,
        ..workload(status)
    })
}

fn unknown<T>() -> Result<T, StoreError> {
    Err(StoreError::Unknown("lost".into()))
}

#[tokio::test]
async fn a_wish_is_200_only_when_wish_and_status_agree() {
    use Desired::{Cancel, Pause, Run};
    for (verb, desired, status, expected) in [
        ("cancel", Cancel, Status::Running, 202),
        ("cancel", Cancel, Status::Cancelled, 200),
        ("pause", Pause, Status::Running, 202),
        ("pause", Pause, Status::Paused, 200),
        ("resume", Run, Status::Pending, 200),
        ("resume", Run, Status::Running, 200),
        ("resume", Run, Status::Redistributing, 202),
        ("resume", Run, Status::Paused, 202),
    ] {
        let (rig, answer) =
            control(verb, vec![Ok(WishOutcome::Already(view(desired, status)))]).await;
        assert_eq!(answer.status, expected, "{verb} {status}");
        assert_eq!(answer.headers["etag"], "\"3\"");
        assert_eq!(rig.store.wishes.lock().unwrap()[0].desired, desired);
    }
    let written = WishOutcome::Written(view(Cancel, Status::Pending));
    let (rig, answer) = control("cancel", vec![Ok(written)]).await;
    assert_eq!(
        (answer.status, &answer.json()["desired"]),
        (202, &json!("cancel"))
    );
    assert_eq!(
        rig.store.wishes.lock().unwrap()[0].reason.as_deref(),
        Some("why")
    );
}

#[tokio::test]
async fn what_cannot_be_wished_is_refused() {
    let ended = || view(Desired::Run, Status::Completed);
    for (outcome, status, code) in [
        (WishOutcome::Refused(ended()), 409, "INVALID_STATE"),
        (
            WishOutcome::Refused(view(Desired::Cancel, Status::Running)),
            409,
            "INVALID_STATE",
        ),
        (
            WishOutcome::VersionMismatch(ended()),
            412,
            "PRECONDITION_FAILED",
        ),
        (WishOutcome::NotFound, 404, "NOT_FOUND"),
    ] {
        control("pause", vec![Ok(outcome)])
            .await
            .1
            .refuses(status, code);
    }
}

/// What the stub's wishes were made upon.
fn upon(rig: &Rig) -> Vec<u64> {
    let wishes = rig.store.wishes.lock().unwrap();
    wishes.iter().map(|wish| wish.upon.0).collect()
}

fn at(revision: u64, desired: Desired, status: Status) -> Box<WorkloadView> {
    Box::new(WorkloadView {
        wish_revision: WishRevision(revision),
        ..*view(desired, status)
    })
}

#[tokio::test(start_paused = true)]
async fn after_doubt_a_wish_is_success_or_504() {
    let cancelling = |revision| at(revision, Desired::Cancel, Status::Running);
    for outcome in [
        WishOutcome::Already(cancelling(2)),
        WishOutcome::Already(cancelling(5)),
        WishOutcome::VersionMismatch(cancelling(2)),
        WishOutcome::Written(cancelling(2)),
    ] {
        let (rig, answer) = control("cancel", vec![unknown(), Ok(outcome)]).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(upon(&rig), [1, 1]);
    }
    for outcome in [
        WishOutcome::NotFound,
        WishOutcome::Refused(view(Desired::Run, Status::Failed)),
        // Somebody else's.
        WishOutcome::VersionMismatch(cancelling(3)),
        // It had landed, or not: the wish that came after says something else.
        WishOutcome::Overtaken(at(2, Desired::Pause, Status::Running)),
        WishOutcome::Overtaken(at(3, Desired::Run, Status::Running)),
    ] {
        let (rig, answer) = control("cancel", vec![unknown(), Ok(outcome)]).await;
        answer.refuses(504, "TIMEOUT");
        assert_eq!(upon(&rig), [1, 1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_in_doubt_is_never_made_upon_another_wish() {
    let lost = || Err(StoreError::Unavailable("gone".into()));
    let written = WishOutcome::Written(at(2, Desired::Pause, Status::Running));
    let answers = vec![lost(), unknown(), lost(), unknown(), Ok(written)];
    let (rig, answer) = control("pause", answers).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(upon(&rig), [1; 5]);
    // Before there is doubt it is looked at each time.
    assert_eq!(rig.store.calls("workload"), 2);
}

#[tokio::test]
async fn a_wish_that_was_overtaken_without_doubt_is_made_anew() {
    let overtaken = WishOutcome::Overtaken(at(4, Desired::Run, Status::Running));
    let written = WishOutcome::Written(at(5, Desired::Pause, Status::Running));
    let (rig, answer) = control("pause", vec![Ok(overtaken), Ok(written)]).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(upon(&rig), [1, 4]);
    // Nothing is sent when there is nothing to wish, or no more.
    let overtaken = WishOutcome::Overtaken(at(4, Desired::Cancel, Status::Running));
    let (rig, answer) = control("pause", vec![Ok(overtaken)]).await;
    answer.refuses(409, "INVALID_STATE");
    assert_eq!(upon(&rig), [1]);
}

#[tokio::test]
async fn what_is_so_already_is_not_sent() {
    let rig = Rig::new();
    let uri = format!("/v1/workloads/{WORKLOAD}/resume");
    assert_eq!(rig.post(&uri, &json!({})).await.status, 200);
    assert_eq!(upon(&rig), [0; 0]);
}

fn worker(revision: u64, desired: WorkerDesired) -> Box<WorkerView> {
    Box::new(WorkerView {
        worker: "w-1".parse().unwrap(),
        incarnation: "i-1".parse().unwrap(),
        status: WorkerStatus::Healthy,
        desired,
        wish_revision: WishRevision(revision),
        capabilities: Vec::new(),
        capacity_total: 1,
        tags: BTreeMap::new(),
        version: String::new(),
        last_heartbeat: None,
        registered_at: WallTime(0),
        running: Vec::new(),
    })
}

#[tokio::test(start_paused = true)]
async fn an_operators_wish_in_doubt_is_never_made_upon_another() {
    use WorkerDesired::{Drain, Run};
    use WorkerWishOutcome::{NotFound, Overtaken, Written};
    let lost = || Err(StoreError::Unknown("lost".into()));
    for (answers, status, upon) in [
        (vec![Ok(Written(worker(4, Drain)))], 202, vec![3]),
        (vec![lost(), Ok(Written(worker(4, Drain)))], 202, vec![3, 3]),
        (
            vec![lost(), Ok(Overtaken(worker(4, Drain)))],
            202,
            vec![3, 3],
        ),
        (vec![lost(), Ok(Overtaken(worker(5, Run)))], 504, vec![3, 3]),
        (vec![lost(), Ok(NotFound)], 504, vec![3, 3]),
        (
            vec![Ok(Overtaken(worker(4, Run))), Ok(Written(worker(5, Drain)))],
            202,
            vec![3, 4],
        ),
        (vec![Ok(NotFound)], 404, vec![3]),
    ] {
        let rig = Rig::new();
        *rig.store.worker.lock().unwrap() = Some(*worker(3, Run));
        rig.store
            .worker_wish_answers
            .lock()
            .unwrap()
            .extend(answers);
        let drain = "/v1/admin/workers/w-1/drain";
        let answer = rig.send(post(drain, &rig.admin, "{}")).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let wishes = rig.store.worker_wishes.lock().unwrap();
        let sent: Vec<u64> = wishes.iter().map(|wish| wish.upon.0).collect();
        assert_eq!(sent, upon);
    }
}

#[tokio::test]
async fn bad_wishes_do_not_reach_the_store() {
    let rig = Rig::new();
    let uri = format!("/v1/workloads/{WORKLOAD}/cancel");
    for body in [
        json!({"reason": 1}),
        json!({"reason": "x".repeat(1_025)}),
        json!({"why": ""}),
        json!([]),
    ] {
        rig.post(&uri, &body).await.refuses(422, "INVALID_INPUT");
    }
    let tagged = request("POST", &uri, &rig.own)
        .header("if-match", "3")
        .body(Body::empty());
    rig.send(tagged.unwrap())
        .await
        .refuses(400, "INVALID_INPUT");
}

#[tokio::test]
async fn the_outcome_of_a_submission_is_answered() {
    let created = || Box::new(workload(Status::Pending));
    for (outcome, status, code) in [
        (SubmitOutcome::KeyReused, 422, "INVALID_INPUT"),
        (SubmitOutcome::UnknownType, 422, "INVALID_INPUT"),
        (SubmitOutcome::QueueFull { limit: 50 }, 429, "QUEUE_FULL"),
    ] {
        let rig = Rig::new();
        rig.store
            .submit_answers
            .lock()
            .unwrap()
            .push_back(Ok(outcome));
        rig.post("/v1/workloads", &json!({"workload_type": "sleep"}))
            .await
            .refuses(status, code);
    }
    for outcome in [
        SubmitOutcome::Created(created()),
        SubmitOutcome::Existing(created()),
    ] {
        let rig = Rig::new();
        rig.store
            .submit_answers
            .lock()
            .unwrap()
            .push_back(Ok(outcome));
        let answer = rig
            .post("/v1/workloads", &json!({"workload_type": "sleep"}))
            .await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json()["workload_id"], json!(WORKLOAD.to_string()));
        assert_eq!(
            answer.json()["pending_reason"]["code"],
            "not_yet_considered"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_submission_in_doubt_is_sent_again_with_the_same_id() {
    let rig = Rig::new();
    let created = SubmitOutcome::Created(Box::new(workload(Status::Pending)));
    rig.store
        .submit_answers
        .lock()
        .unwrap()
        .extend([unknown(), Ok(created)]);
    assert_eq!(
        rig.post("/v1/workloads", &json!({"workload_type": "sleep"}))
            .await
            .status,
        202
    );
    let submitted = rig.store.submitted.lock().unwrap();
    assert_eq!((submitted.len(), submitted[0].id), (2, submitted[1].id));
}

#[tokio::test]
async fn each_item_of_a_batch_has_its_own_outcome() {
    let rig = Rig::new();
    let created = SubmitOutcome::Created(Box::new(workload(Status::Pending)));
    let full = SubmitOutcome::QueueFull { limit: 50 };
    rig.store
        .submit_answers
        .lock()
        .unwrap()
        .extend([Ok(created), Ok(full)]);
    let good = json!({"workload_type": "sleep", "idempotency_key": "k"});
    let nul = json!({"workload_type": "sleep", "labels": {"a": "\0"}});
    let body = json!({"workloads": [good, 1, good, nul]});
    let answer = rig.post("/v1/workloads:batch", &body).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let results = json["results"].as_array().unwrap();
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [202, 422, 429, 422]);
    assert_eq!(results[0]["workload"]["status"], "PENDING");
    assert_eq!(results[2]["error"]["code"], "QUEUE_FULL");
    assert_eq!(results[3]["error"]["errors"][0]["pointer"], "/labels/a");
    let ids: Vec<_> = rig
        .store
        .submitted
        .lock()
        .unwrap()
        .iter()
        .map(|s| s.id)
        .collect();
    assert_ne!(ids[0], ids[1]);
    let many = json!({"workloads": vec![good; 1_001]});
    rig.post("/v1/workloads:batch", &many)
        .await
        .refuses(422, "INVALID_INPUT");
    for wrong in [
        json!({}),
        json!({"workloads": []}),
        json!({"workloads": [], "x": 1}),
        json!([]),
    ] {
        rig.post("/v1/workloads:batch", &wrong)
            .await
            .refuses(422, "INVALID_INPUT");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_its_mutation() {
    let rig = Rig::new();
    let created = SubmitOutcome::Created(Box::new(workload(Status::Pending)));
    rig.store
        .submit_answers
        .lock()
        .unwrap()
        .extend([Err(StoreError::Unavailable("gone".into())), Ok(created)]);
    let body = json!({"workload_type": "sleep"});
    let hung_up = tokio::time::timeout(Duration::from_millis(5), rig.post("/v1/workloads", &body));
    assert!(hung_up.await.is_err());
    rig.state.mutations.close();
    rig.state.mutations.wait().await;
    assert_eq!(rig.store.submitted.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_answers_at_a_change_at_the_end_or_at_a_stop() {
    let rig = Rig::new();
    let uri = format!("/v1/workloads/{WORKLOAD}?wait=20");
    let start = Instant::now();
    assert_eq!(rig.get(&uri).await.json()["version"], 3);
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(
        rig.get(&format!("{uri}&since_version=2")).await.json()["version"],
        3
    );
    assert_eq!(start.elapsed().as_secs(), 20);

    let change = async {
        sleep(Duration::from_secs(3)).await;
        let mut workloads = rig.store.workloads.lock().unwrap();
        workloads.get_mut(&(OWN, WORKLOAD)).unwrap().version = 4;
        drop(workloads);
        rig.state.changes.workload(WORKLOAD);
    };
    let (answer, ()) = tokio::join!(rig.get(&uri), change);
    assert_eq!(answer.json()["version"], 4);
    assert_eq!(start.elapsed().as_secs(), 23);

    let stop = async {
        sleep(Duration::from_secs(1)).await;
        rig.status.send_modify(|known| known.stopping = true);
    };
    let (answer, ()) = tokio::join!(rig.get(&uri), stop);
    assert_eq!((answer.status, start.elapsed().as_secs()), (200, 24));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_looks_in_turn_with_others_and_ends_in_time_all_the_same() {
    let rig = Rig::new();
    let mut turns = Vec::new();
    for _ in 0..places::LOOKS_MAX {
        turns.push(rig.state.places.looks.turn().await.unwrap());
    }
    let uri = format!("/v1/workloads/{WORKLOAD}?wait=20");
    let start = Instant::now();
    assert_eq!(rig.get(&uri).await.status, 200);
    assert_eq!(start.elapsed().as_secs(), 20);
    // At the beginning and at the end.
    assert_eq!(rig.store.calls("workload"), 2);
    drop(turns);
    assert_eq!(rig.get(&uri).await.status, 200);
    assert!(rig.store.calls("workload") > 20);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_on_an_ended_workload_answers_at_once() {
    let rig = Rig::new();
    let ended = workload(Status::Completed);
    rig.store
        .workloads
        .lock()
        .unwrap()
        .insert((OWN, WORKLOAD), ended);
    let start = Instant::now();
    assert_eq!(
        rig.get(&format!("/v1/workloads/{WORKLOAD}?wait=25&since_version=9"))
            .await
            .status,
        200
    );
    assert_eq!(start.elapsed(), Duration::ZERO);
}
