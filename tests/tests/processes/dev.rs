//! `niyanta dev`: everything in one process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    Client, Process, Scratch, Signal, free_port, niyanta_command, one_at_a_time, tree_digest, until,
};

#[tokio::test]
async fn dev_hashes_a_tree_of_the_checkout_and_keeps_its_state_over_a_restart() {
    let _turn = one_at_a_time().await;
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let port = free_port().to_string();
    let dev = start(&scratch, &port);
    let ready = dev_json(&data, &dev).await;
    let client = client(&ready);

    let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core")
        .canonicalize()
        .unwrap();
    let id = client.submit("hash_tree", json!({"path": tree})).await;
    let done = client
        .wait_for(&id, "COMPLETED", Duration::from_secs(30))
        .await;
    assert_eq!(done["result_data"], tree_digest(&tree));
    let history = client.history(&id).await;
    history.assert_sound(done["version"].as_u64().unwrap());
    assert_eq!(history.count("workload.completed"), 1);

    let echo = client
        .submit("exec", json!({"argv": ["echo", "hello from exec"]}))
        .await;
    client
        .wait_for(&echo, "COMPLETED", Duration::from_secs(30))
        .await;
    until(
        "the line that exec wrote",
        Duration::from_secs(10),
        async || {
            let logs = client.logs(&echo).await;
            logs.iter()
                .any(|line| line["message"] == "hello from exec")
                .then_some(())
        },
    )
    .await;

    dev.signal(Signal::TERM);
    let status = dev.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0), "{}", dev.log_tail(20));

    let dev = start(&scratch, &port);
    until(
        "dev to be ready again",
        Duration::from_secs(30),
        async || {
            assert!(dev.exit_status().is_none(), "{}", dev.log_tail(20));
            client
                .try_get("/ready")
                .await
                .filter(|answer| answer.status == 200)
        },
    )
    .await;
    let again = dev_json(&data, &dev).await;
    assert_eq!(again["server"], ready["server"]);
    let client = self::client(&again);
    assert_eq!(
        client.workload(&id).await,
        done,
        "a finished workload is the same after a restart"
    );
    let id = client.submit("sleep", json!({"seconds": 0})).await;
    client
        .wait_for(&id, "COMPLETED", Duration::from_secs(30))
        .await;
}

#[tokio::test]
async fn the_command_line_submits_to_dev_waits_and_shows() {
    let _turn = one_at_a_time().await;
    let scratch = Scratch::new();
    let port = free_port().to_string();
    let dev = start(&scratch, &port);
    let ready = dev_json(&scratch.join("data"), &dev).await;
    let run = |args: &[&str]| {
        let output = niyanta_command()
            .args(args)
            .env("NIYANTA_SERVER", ready["server"].as_str().unwrap())
            .env("NIYANTA_API_KEY", ready["api_key"].as_str().unwrap())
            .output()
            .unwrap();
        let (out, err) = (output.stdout, output.stderr);
        (
            output.status.code(),
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    };
    let id = client(&ready).submit("sleep", json!({"seconds": 0})).await;
    client(&ready)
        .wait_for(&id, "COMPLETED", Duration::from_secs(30))
        .await;

    let (code, out, err) = run(&["get", &id, "--output", "json"]);
    assert_eq!(code, Some(0), "{err}");
    let workload: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&workload["workload_id"], &workload["status"]),
        (&json!(id), &json!("COMPLETED"))
    );

    for command in [
        vec!["list"],
        vec!["get", &id],
        vec!["audit", &id],
        vec!["logs", &id],
    ] {
        let (code, out, err) = run(&command);
        assert_eq!(code, Some(0), "{command:?}: {err}");
        assert!(command[0] == "logs" || out.contains("COMPLETED") || out.contains("completed"));
    }
    let (code, out, err) = run(&["get", "wl_00000000000000000000000000000000"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(!err.trim().is_empty());
    let (code, ..) = run(&["no-such-command"]);
    assert_eq!(code, Some(2));
}

fn start(scratch: &Scratch, port: &str) -> Process {
    let mut command = niyanta_command();
    command
        .arg("dev")
        .arg("--data-dir")
        .arg(scratch.join("data"));
    command.env("SERVER_PORT", port).env("GRPC_PORT", "0");
    Process::start("niyanta dev", &mut command, &scratch.join("dev.log"))
}

async fn dev_json(data: &Path, dev: &Process) -> Value {
    until("dev.json", Duration::from_secs(60), async || {
        assert!(dev.exit_status().is_none(), "{}", dev.log_tail(20));
        serde_json::from_slice(&fs::read(data.join("dev.json")).ok()?).ok()
    })
    .await
}

fn client(ready: &Value) -> Client {
    Client::new(ready["server"].as_str().unwrap(), ready["api_key"].as_str())
}
