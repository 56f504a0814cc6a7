#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::worker::{handler::Control, machine::Event};
use niyanta_core::{
    ids::{Attempt, Generation},
    time::{Duration, Timestamp},
    workload::OnLeaseLoss,
};
use std::{fs, os::unix::fs::symlink};
use tokio::sync::{mpsc, watch};

/// Files whose byte order is not the order of their folders' names, and what must be left out.
fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["a", "a/b", "z", "z/deep", "z/deep/er"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    for name in ["a.txt", "a/b/c", "a/0", "a-1", "z/deep/er/x", "é"] {
        fs::write(root.join(name), format!("this is {name}")).unwrap();
    }
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("large"), vec![7; 20 * 1024 * 1024]).unwrap();
    symlink("a.txt", root.join("link")).unwrap();
    symlink("a", root.join("folder-link")).unwrap();
    folder
}

/// The same from `find`, `sort` and `sha256sum`.
fn expected(root: &Path) -> String {
    let script = "cd \"$0\" && find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(root)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

fn context(root: &Path, checkpoint: Option<Vec<u8>>) -> (Context, Control, mpsc::Receiver<Event>) {
    let (events, received) = mpsc::channel(10_000);
    let assignment = crate::protocol::Assignment {
        workload: niyanta_core::ids::WorkloadId(1),
        workload_type: "hash_tree".parse().unwrap(),
        attempt: Attempt(1),
        generation: Generation(1),
        heartbeat_sequence: 1,
        config_json: json!({}),
        resource_limits: json!({}),
        input_params: json!({ "path": root.to_str().unwrap() }),
        checkpoint_interval: Duration::ZERO,
        checkpoint,
        timeout: Duration::from_secs(60),
        on_lease_loss: OnLeaseLoss::Stop,
    };
    let lease = watch::Sender::new(Timestamp::MAX).subscribe();
    let (context, control) = Context::new(assignment, events, lease);
    (context, control, received)
}

fn checkpoints(mut events: mpsc::Receiver<Event>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Checkpoint { data, .. } = event {
            all.push(data);
        }
    }
    all
}

#[tokio::test]
async fn the_digest_is_that_of_sha256sum_in_byte_order() {
    let folder = tree();
    let (context, _control, _events) = context(folder.path(), None);
    let Outcome::Completed(Some(result)) = HashTree::default().run(context).await else {
        panic!("not completed");
    };
    assert_eq!(result["sha256"], expected(folder.path()));
    assert_eq!(result["files"], 8);
}

#[tokio::test]
async fn every_checkpoint_leads_to_the_same_digest() {
    let folder = tree();
    let (whole, _control, events) = context(folder.path(), None);
    let whole = HashTree::default().run(whole).await;
    let saved = checkpoints(events);
    assert!(saved.len() >= 2, "{} checkpoints", saved.len());
    for checkpoint in saved {
        assert!(checkpoint.len() < 2_000);
        let (rest, _control, _events) = context(folder.path(), Some(checkpoint));
        assert_eq!(HashTree::default().run(rest).await, whole);
    }
}

#[tokio::test]
async fn a_stop_checkpoints_and_the_next_attempt_goes_on_there() {
    let folder = tree();
    let (first, control, events) = context(folder.path(), None);
    control.stop.send_replace(Some(Cause::Paused));
    // The measuring is over in one step, so the stop is met while hashing.
    assert_eq!(HashTree::default().run(first).await, Outcome::Stopped);
    let saved = checkpoints(events);
    let (rest, _control, _events) = context(folder.path(), saved.last().cloned());
    let Outcome::Completed(Some(result)) = HashTree::default().run(rest).await else {
        panic!("not completed");
    };
    assert_eq!(result["sha256"], expected(folder.path()));
}

#[tokio::test]
async fn a_limited_attempt_can_be_stopped_at_any_time_and_another_goes_on_there() {
    let folder = tree();
    let (first, control, mut events) = context(folder.path(), None);
    let crawling = tokio::spawn(async { HashTree::limited(NonZeroU64::MIN).run(first).await });
    while !matches!(events.recv().await, Some(Event::Progress { .. })) {}
    control.stop.send_replace(Some(Cause::Drained));
    assert_eq!(crawling.await.unwrap(), Outcome::Stopped);
    let saved = checkpoints(events);
    let (rest, _control, _events) = context(folder.path(), saved.last().cloned());
    let Outcome::Completed(Some(result)) = HashTree::default().run(rest).await else {
        panic!("not completed");
    };
    assert_eq!(result["sha256"], expected(folder.path()));
}

#[tokio::test]
async fn what_is_not_there_fails_for_good() {
    let (context, _control, _events) = context(Path::new("/nowhere/at/all"), None);
    let Outcome::Failed {
        error_type,
        message,
    } = HashTree::default().run(context).await
    else {
        panic!("not failed");
    };
    assert_eq!(error_type, niyanta_core::workload::ErrorType::Permanent);
    assert!(message.contains("/nowhere/at/all"), "{message}");
}

#[test]
fn a_partial_file_that_changed_is_read_again() {
    let folder = tree();
    let mut hashing = Hashing::new(folder.path().to_owned(), None).unwrap();
    while hashing
        .current
        .as_ref()
        .is_none_or(|current| current.found.relative != b"large")
    {
        assert!(hashing.step(BYTES_PER_STEP).unwrap());
    }
    let saved = Saved::read(&hashing.save()).unwrap();
    assert!(saved.partial.as_ref().unwrap().read > 0);
    fs::write(folder.path().join("large"), "small now").unwrap();
    let mut rest = Hashing::new(folder.path().to_owned(), Some(saved)).unwrap();
    while rest.step(BYTES_PER_STEP).unwrap() {}
    assert_eq!(rest.result()["sha256"], expected(folder.path()));
}
