//! A hand-written worker that speaks the wire protocol and can misbehave at will.

use std::time::Duration;

use async_nats::{Client, Subscriber};
use base64::Engine as _;
use chrono::{SecondsFormat, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// Where workers talk to coordinators.
const EVENTS: &str = "coordinator.events";
/// Where workers send log lines.
const LOGS: &str = "coordinator.logs";

/// One incarnation of a worker under a test's control. It does nothing by itself: no heartbeats,
/// no started reports.
#[derive(Debug)]
pub struct RawWorker {
    /// Its connection, for anything that this type does not do.
    pub nats: Client,
    /// Its id.
    pub id: String,
    /// Its incarnation.
    pub incarnation: String,
    /// The highest generation that an answer or a command named.
    pub generation_seen: u64,
    /// The sequence of its last message.
    pub sequence: u64,
    commands: Subscriber,
}

impl RawWorker {
    /// Connects and subscribes to its commands; does not register.
    pub async fn connect(nats_url: &str, id: &str) -> Self {
        let nats = async_nats::connect(nats_url).await.unwrap();
        let commands = nats
            .subscribe(format!("worker.{id}.commands"))
            .await
            .unwrap();
        nats.flush().await.unwrap();
        Self {
            nats,
            id: id.to_owned(),
            incarnation: Uuid::new_v4().simple().to_string(),
            generation_seen: 0,
            sequence: 0,
            commands,
        }
    }

    /// Connects and registers as a worker for these types.
    pub async fn registered(nats_url: &str, id: &str, types: &[&str], capacity: u32) -> Self {
        let mut this = Self::connect(nats_url, id).await;
        let answer = this.register(types, capacity).await;
        assert_eq!(answer["status"], "ok", "{answer:#}");
        this
    }

    /// Sends `worker.register` and returns the payload of the answer.
    pub async fn register(&mut self, types: &[&str], capacity: u32) -> Value {
        let payload = json!({
            "capabilities": types, "capacity_total": capacity, "tags": {}, "version": "test",
        });
        self.request("worker.register", payload).await
    }

    /// Sends one heartbeat that lists these (workload, attempt), and returns the answer's payload.
    pub async fn heartbeat(&mut self, running: &[(&str, u64)]) -> Value {
        let running: Vec<Value> = running
            .iter()
            .map(|(id, attempt)| json!({"workload_id": id, "attempt": attempt}))
            .collect();
        self.request(
            "worker.heartbeat",
            json!({"status": "HEALTHY", "running": running}),
        )
        .await
    }

    /// Sends `workload.started`, `workload.completed`, … for an attempt.
    pub async fn report(&mut self, kind: &str, id: &str, attempt: u64, extra: Value) -> Value {
        let mut payload = json!({"workload_id": id, "attempt": attempt});
        merge(&mut payload, extra);
        self.request(kind, payload).await
    }

    /// Sends a checkpoint.
    pub async fn checkpoint(&mut self, id: &str, attempt: u64, number: u64, data: &[u8]) -> Value {
        let data = base64::engine::general_purpose::STANDARD.encode(data);
        let extra = json!({"checkpoint_sequence": number, "data": data});
        self.report("workload.checkpoint", id, attempt, extra).await
    }

    /// A request as the contract has it: the same bytes again after 2 s and doubling, until the
    /// answer, of which the payload is returned.
    pub async fn request(&mut self, kind: &str, payload: Value) -> Value {
        let envelope = self.envelope(kind, payload);
        self.repeat_until_answered(EVENTS, &envelope).await
    }

    /// Sends log lines, on the subject for logs.
    pub async fn log(&mut self, id: &str, attempt: u64, first: u64, lines: &[&str]) -> Value {
        let at = now();
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| json!({"timestamp": at, "level": "info", "message": line}))
            .collect();
        let payload = json!({
            "workload_id": id, "attempt": attempt, "first_sequence": first, "lines": lines,
        });
        let envelope = self.envelope("workload.log", payload);
        self.repeat_until_answered(LOGS, &envelope).await
    }

    /// Sends this envelope until it is answered.
    pub async fn repeat_until_answered(
        &mut self,
        subject: &'static str,
        envelope: &Value,
    ) -> Value {
        let bytes = envelope.to_string();
        let started = Instant::now();
        let mut pause = Duration::from_secs(2);
        loop {
            if let Some(answer) = self
                .request_raw(subject, bytes.clone().into_bytes(), pause)
                .await
            {
                assert_eq!(
                    answer["correlation_id"], envelope["message_id"],
                    "{answer:#}"
                );
                assert_eq!(answer["type"], "reply", "{answer:#}");
                self.see(&answer["payload"]);
                return answer["payload"].clone();
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no answer to {envelope:#}"
            );
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    /// Sends any bytes as a request; `None` when nobody answers in time.
    pub async fn request_raw(
        &self,
        subject: &'static str,
        bytes: Vec<u8>,
        within: Duration,
    ) -> Option<Value> {
        // Not the client's own `request`: with nobody subscribed that fails at once, and a worker
        // waits all the same.
        let inbox = self.nats.new_inbox();
        let mut answers = self.nats.subscribe(inbox.clone()).await.unwrap();
        self.nats
            .publish_with_reply(subject, inbox, bytes.into())
            .await
            .ok()?;
        let answered = timeout(within, async {
            while let Some(message) = answers.next().await {
                if let Ok(answer) = serde_json::from_slice(&message.payload) {
                    return Some(answer);
                }
            }
            None
        });
        answered.await.ok().flatten()
    }

    /// Sends a message that expects no answer.
    pub async fn tell(&mut self, kind: &str, payload: Value) {
        let bytes = self.envelope(kind, payload).to_string();
        self.nats.publish(EVENTS, bytes.into()).await.unwrap();
        self.nats.flush().await.unwrap();
    }

    /// Progress of an attempt.
    pub async fn progress(&mut self, id: &str, attempt: u64, percent: u64, message: &str) {
        let payload = json!({
            "workload_id": id, "attempt": attempt, "progress_percent": percent, "message": message,
        });
        self.tell("workload.progress", payload).await;
    }

    /// A new message of this incarnation, with the next sequence.
    pub fn envelope(&mut self, kind: &str, mut payload: Value) -> Value {
        self.sequence += 1;
        let common = json!({
            "worker_id": self.id, "incarnation": self.incarnation,
            "generation_seen": self.generation_seen, "sequence": self.sequence,
        });
        merge(&mut payload, common);
        json!({
            "message_id": Uuid::new_v4().to_string(), "type": kind, "timestamp": now(),
            "sender_id": self.id, "sender_type": "worker", "payload": payload,
        })
    }

    /// The next command for this incarnation, as its whole envelope.
    pub async fn next_command(&mut self, within: Duration) -> Option<Value> {
        let next = async {
            loop {
                let message = self.commands.next().await?;
                let command: Value = serde_json::from_slice(&message.payload).unwrap();
                if command["payload"]["incarnation"] == self.incarnation.as_str() {
                    return Some(command);
                }
            }
        };
        let command = timeout(within, next).await.ok().flatten()?;
        self.see(&command["payload"]);
        Some(command)
    }

    /// The next assignment, heartbeating (with nothing running) while it waits.
    pub async fn next_assignment(&mut self, within: Duration) -> Value {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(command) = self.next_command(Duration::from_secs(1)).await {
                if command["type"] == "workload.assign" {
                    return command["payload"].clone();
                }
            } else {
                self.heartbeat(&[]).await;
            }
        }
        panic!("{} was assigned nothing within {within:?}", self.id);
    }

    fn see(&mut self, payload: &Value) {
        let generation = payload["generation"].as_u64().unwrap_or(0);
        self.generation_seen = self.generation_seen.max(generation);
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
