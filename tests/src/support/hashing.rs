//! A `hash_tree` that is interrupted, and what must be seen of its second attempt.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::client::Client;
use super::digest::tree_digest;
use super::wait::until;

const SOON: Duration = Duration::from_secs(60);

/// Waits until the first attempt has read something.
pub async fn some_progress(client: &Client, id: &str) {
    client
        .wait_until(id, "some progress", SOON, |workload| {
            workload["progress_percent"].as_f64() > Some(0.0)
        })
        .await;
}

/// Waits for the end; asserts that there were two attempts, that the second began where the first
/// one's checkpoint was (by the audit, by what `hash_tree` itself says, and by the digest of the
/// whole), and that the trail is sound.
pub async fn went_on(client: &Client, id: &str, tree: &Path) -> Value {
    let done = client.wait_for(id, "COMPLETED", SOON).await;
    assert_eq!(done["result_data"], tree_digest(tree));
    let history = client.history(id).await;
    history.assert_sound(done["version"].as_u64().unwrap());
    assert_eq!(history.count("workload.completed"), 1, "{history:#?}");
    assert_eq!(history.scheduled_attempts(), [1, 2], "{history:#?}");
    let second = history.of_type("workload.scheduled").nth(1).unwrap();
    assert_eq!(second["details"]["checkpoint"]["attempt"], 1, "{second:#}");
    let said = until(
        "the second attempt to say where it began",
        SOON,
        async || {
            let logs = client.logs(id).await;
            logs.into_iter().find(|line| {
                let message = line["message"].as_str().unwrap_or_default();
                line["attempt"] == 2 && message.starts_with("going on after")
            })
        },
    )
    .await;
    assert!(!said["message"].as_str().unwrap().ends_with(" 0 bytes"));
    println!("the second attempt: {}", said["message"]);
    done
}
