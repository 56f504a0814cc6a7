#![allow(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::too_many_lines, reason = "tables of messages")]

use super::*;
use crate::protocol::{self, CoordinatorOrigin, PeerWord, WorkerOrigin, wire};
use niyanta_core::{
    Reply, ReplyStatus, StopOrder, fleet::ReportedStatus, time::Duration, workload::OnLeaseLoss,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const WORKLOAD: &str = "wl_00000000000000000000000000000001";

/// A message of this type, as a foreign client would write it, with these fields in its payload.
fn message(kind: &str, fields: Value) -> Value {
    let mut payload = json!({
        "worker_id": "w1",
        "incarnation": "i1",
        "generation_seen": 3,
        "sequence": 7,
        "workload_id": WORKLOAD,
        "attempt": 2,
        "a_field_of_tomorrow": [1, 2, 3],
    });
    let fields = fields.as_object().unwrap().clone();
    payload.as_object_mut().unwrap().extend(fields);
    json!({
        "message_id": "m1",
        "type": kind,
        "timestamp": "2026-11-23T12:00:00.5+01:00",
        "sender_id": "w1",
        "sender_type": "worker",
        "another_field_of_tomorrow": null,
        "payload": payload,
    })
}

fn read(value: &Value) -> Result<Incoming, Box<Malformed>> {
    decode(value.to_string().as_bytes())
}

fn read_body(kind: &str, fields: Value) -> Body {
    let incoming = read(&message(kind, fields)).unwrap();
    assert_eq!(incoming.message_id.as_deref(), Some("m1"));
    assert_eq!(incoming.worker.as_str(), "w1");
    assert_eq!(incoming.generation_seen, Generation(3));
    assert_eq!(incoming.sequence, MessageSequence(7));
    assert_eq!(incoming.refused, None);
    incoming.body
}

fn refusal(kind: &str, fields: Value) -> Malformed {
    *read(&message(kind, fields)).unwrap_err()
}

#[test]
fn every_message_of_the_contract_is_read() {
    let register = json!({
        "capabilities": ["sleep", "hash_tree"], "capacity_total": 4,
        "tags": { "zone": "a" }, "version": "1", "replaces": "i0",
    });
    let Body::Plain(WorkerMessage::Register {
        capabilities,
        capacity: 4,
        tags,
        replaces,
        ..
    }) = read_body("worker.register", register)
    else {
        panic!("not a registration");
    };
    assert_eq!((capabilities.len(), tags.len()), (2, 1));
    assert_eq!(replaces.unwrap().as_str(), "i0");

    let running = json!([{ "workload_id": WORKLOAD, "attempt": 2 }]);
    let beat = json!({ "status": "DRAINING", "running": running });
    assert_eq!(
        read_body("worker.heartbeat", beat),
        Body::Plain(WorkerMessage::Heartbeat {
            status: ReportedStatus::Draining,
            running: vec![(WORKLOAD.parse().unwrap(), Attempt(2))],
        })
    );
    assert!(matches!(
        read_body("workload.started", json!({})),
        Body::Plain(WorkerMessage::Started {
            attempt: Attempt(2),
            ..
        })
    ));
    assert!(matches!(
        read_body("workload.progress", json!({ "progress_percent": 12.5 })),
        Body::Progress { message: None, .. }
    ));
    assert!(matches!(
        read_body(
            "workload.checkpoint",
            json!({ "checkpoint_sequence": 1, "data": "aGk=" })
        ),
        Body::Checkpoint {
            checkpoint_sequence: 1,
            ..
        }
    ));
    assert!(matches!(
        read_body("workload.completed", json!({ "result_data": null })),
        Body::Outcome {
            error_type: None,
            result_data: None,
            ..
        }
    ));
    let failed = json!({ "error_message": "no", "error_type": "timeout", "result_data": [1] });
    assert!(matches!(
        read_body("workload.failed", failed),
        Body::Outcome {
            error_type: Some(ErrorType::Timeout),
            ..
        }
    ));
    assert!(matches!(
        read_body(
            "workload.stopped",
            json!({ "cause": "paused", "checkpoint_sequence": 4 })
        ),
        Body::Plain(WorkerMessage::Stopped {
            cause: Cause::Paused,
            ..
        })
    ));
    let lines = json!([{ "timestamp": "2026-11-23T12:00:00Z", "level": "info", "message": "x" }]);
    assert!(matches!(
        read_body(
            "workload.log",
            json!({ "first_sequence": 1, "lines": lines })
        ),
        Body::Log {
            first_sequence: 1,
            ..
        }
    ));
    let farewell = read_body("worker.deregister", json!({}));
    assert_eq!(farewell, Body::Plain(WorkerMessage::Deregister));
}

#[test]
fn what_is_not_an_object_has_nothing_to_read() {
    for bytes in [
        &b""[..],
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"{\"a\":1}x",
        &[0; 100],
    ] {
        assert_eq!(decode(bytes).unwrap_err().problem, Problem::NotJson);
    }
    let long = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(
        decode(&long).unwrap_err().problem,
        Problem::TooLarge(_)
    ));
}

#[test]
fn an_unknown_type_can_be_answered() {
    let refused = refusal("worker.dance", json!({}));
    assert_eq!(
        refused.problem,
        Problem::UnknownType("worker.dance".to_owned())
    );
    assert_eq!(refused.message_id.as_deref(), Some("m1"));
    assert_eq!(refused.worker.unwrap().as_str(), "w1");
}

#[test]
fn each_bad_field_is_named() {
    let cases = [
        ("worker.register", json!({}), "capacity_total"),
        (
            "worker.register",
            json!({ "capacity_total": 0 }),
            "capacity_total",
        ),
        (
            "worker.register",
            json!({ "capacity_total": 1001 }),
            "capacity_total",
        ),
        (
            "worker.register",
            json!({ "capacity_total": 1.5 }),
            "capacity_total",
        ),
        (
            "worker.heartbeat",
            json!({ "status": "DEAD", "running": [] }),
            "status",
        ),
        (
            "worker.heartbeat",
            json!({ "status": "HEALTHY" }),
            "running",
        ),
        (
            "worker.heartbeat",
            json!({ "status": "HEALTHY", "running": [1] }),
            "running",
        ),
        ("workload.started", json!({ "attempt": 0 }), "attempt"),
        (
            "workload.started",
            json!({ "attempt": 4_294_967_296_u64 }),
            "attempt",
        ),
        (
            "workload.started",
            json!({ "workload_id": "wl_1" }),
            "workload_id",
        ),
        ("workload.started", json!({ "sequence": -1 }), "sequence"),
        (
            "workload.started",
            json!({ "generation_seen": u64::MAX }),
            "generation_seen",
        ),
        (
            "workload.started",
            json!({ "incarnation": "a b" }),
            "incarnation",
        ),
        (
            "workload.started",
            json!({ "worker_id": "w2" }),
            "worker_id",
        ),
        (
            "workload.progress",
            json!({ "progress_percent": 100.1 }),
            "progress_percent",
        ),
        (
            "workload.progress",
            json!({ "progress_percent": 1, "message": "\0" }),
            "message",
        ),
        (
            "workload.checkpoint",
            json!({ "checkpoint_sequence": 1, "data": "?" }),
            "data",
        ),
        (
            "workload.checkpoint",
            json!({ "checkpoint_sequence": 1, "data": "A".repeat(CHECKPOINT_BYTES_MAX + 4) }),
            "data",
        ),
        (
            "workload.log",
            json!({ "first_sequence": 1, "lines": [{}] }),
            "timestamp",
        ),
    ];
    for (kind, fields, field) in cases {
        let refused = refusal(kind, fields.clone());
        assert!(
            refused.problem.to_string().starts_with(field),
            "{kind} {fields}: {}",
            refused.problem
        );
        assert_eq!(refused.message_id.as_deref(), Some("m1"));
    }
}

#[test]
fn a_registration_says_only_what_the_contract_allows() {
    let good = json!({
        "capabilities": ["sleep"], "capacity_total": 1000, "tags": {}, "version": "1",
    });
    assert!(read(&message("worker.register", good.clone())).is_ok());
    let cases = [
        ("capabilities", json!(["Upper"])),
        ("capabilities", json!("sleep")),
        ("tags", json!({ "a": 1 })),
        ("tags", json!({ "a": "\0" })),
        ("version", json!("\0")),
        ("replaces", json!("i1")),
    ];
    for (field, value) in cases {
        let mut bad = good.clone();
        bad[field] = value;
        let refused = refusal("worker.register", bad);
        assert!(
            refused.problem.to_string().starts_with(field),
            "{}",
            refused.problem
        );
    }
}

/// Breaks the text of a message where JSON values would not let us.
fn spoiled(kind: &str, fields: Value, from: &str, to: &str) -> Vec<u8> {
    let text = message(kind, fields).to_string();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

#[test]
fn a_last_report_ends_its_attempt_whatever_else_is_wrong_with_it() {
    let huge = json!({ "result_data": "x".repeat(RESULT_BYTES_MAX) });
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let long = message(
        "workload.completed",
        json!({ "x": "x".repeat(MESSAGE_BYTES_MAX) }),
    );
    let mut headless = message("workload.completed", json!({ "sequence": null }));
    for field in ["message_id", "timestamp", "sender_id", "sender_type"] {
        headless.as_object_mut().unwrap().remove(field);
    }
    let mark = json!({ "result_data": "MARK" });
    let completed = "workload.completed";
    let cases = [
        message(completed, huge).to_string().into_bytes(),
        message(completed, json!({ "result_data": { "a\0": 1 } }))
            .to_string()
            .into_bytes(),
        message("workload.failed", json!({}))
            .to_string()
            .into_bytes(),
        message(
            "workload.failed",
            json!({ "error_message": "\0", "error_type": "transient" }),
        )
        .to_string()
        .into_bytes(),
        message(
            "workload.failed",
            json!({ "error_message": "", "error_type": "worker_lost" }),
        )
        .to_string()
        .into_bytes(),
        message("workload.stopped", json!({ "cause": "bored" }))
            .to_string()
            .into_bytes(),
        long.to_string().into_bytes(),
        headless.to_string().into_bytes(),
        spoiled(completed, mark.clone(), "\"MARK\"", "1e999"),
        spoiled(completed, mark.clone(), "MARK", "\\ud800"),
        spoiled(completed, mark, "\"MARK\"", &deep),
    ];
    for bytes in cases {
        let incoming = decode(&bytes).unwrap();
        assert!(incoming.body.is_last_report());
        assert!(incoming.refused.is_some());
        assert_eq!(incoming.incarnation.as_str(), "i1");
    }
}

#[test]
fn a_refused_failure_is_permanent_and_keeps_what_can_be_kept() {
    let fields = json!({ "error_message": "because", "error_type": "bored" });
    let incoming = read(&message("workload.failed", fields)).unwrap();
    let Body::Outcome {
        error_type,
        error_message,
        ..
    } = incoming.body
    else {
        panic!("not an outcome");
    };
    assert_eq!(error_type, Some(ErrorType::Permanent));
    assert_eq!(error_message.as_deref(), Some("because"));
}

#[test]
fn a_last_report_of_nobody_or_nothing_is_refused() {
    for field in ["worker_id", "incarnation", "workload_id", "attempt"] {
        let refused = refusal("workload.completed", json!({ field: null }));
        assert_eq!(refused.problem, Problem::Missing { field });
    }
}

#[test]
fn one_wild_word_does_not_exhaust_the_generations() {
    let wild = json!({ "generation_seen": i64::MAX });
    let incoming = read(&message("workload.started", wild)).unwrap();
    assert_eq!(incoming.generation_seen, Generation(GENERATION_SEEN_MAX));
}

const ORIGIN: CoordinatorOrigin<'static> = CoordinatorOrigin {
    coordinator_id: "c1",
    message_id: "m2",
    now: WallTime(1_700_000_000_000_000),
};

#[test]
fn answers_have_the_fields_of_the_contract() {
    let mut answer = Reply {
        status: ReplyStatus::Ok,
        lease: Duration::from_secs(60),
        heartbeat: Duration::from_millis(2_500),
        stop: vec![StopOrder {
            workload: WORKLOAD.parse().unwrap(),
            attempt: Attempt(2),
            cause: Cause::Drained,
            deadline: Duration::from_secs(30),
        }],
    };
    let json = |bytes: bytes::Bytes| serde_json::from_slice::<Value>(&bytes).unwrap();
    let said = json(protocol::reply(
        &ORIGIN,
        Some("m1"),
        Generation(4),
        &answer,
        true,
        None,
    ));
    assert_eq!(said["type"], "reply");
    assert_eq!(said["correlation_id"], "m1");
    assert_eq!(said["sender_type"], "coordinator");
    let stop = json!([{
        "workload_id": WORKLOAD, "attempt": 2, "cause": "drained", "deadline_seconds": 30,
    }]);
    assert_eq!(
        said["payload"],
        json!({
            "status": "ok", "generation": 4, "lease_seconds": 60, "heartbeat_seconds": 2.5,
            "stop": stop,
        })
    );
    answer.status = ReplyStatus::IdInUse {
        retry_after: Duration::from_secs(9),
    };
    let said = json(protocol::reply(
        &ORIGIN,
        Some("m1"),
        Generation(4),
        &answer,
        false,
        None,
    ));
    assert_eq!(said["payload"]["retry_after_seconds"], 9);
    assert!(said["payload"]["stop"].is_null());
    answer.status = ReplyStatus::IncarnationEnded;
    let said = json(protocol::reply(
        &ORIGIN,
        None,
        Generation(4),
        &answer,
        false,
        Some("x"),
    ));
    assert_eq!(said["payload"]["status"], "rejected");
    assert_eq!(said["payload"]["reason"], "incarnation_ended");
    let said = json(protocol::log_reply(&ORIGIN, Some("m1"), None));
    assert_eq!(said["payload"], json!({ "status": "ok" }));
}

#[test]
fn an_assignment_reaches_the_worker_as_it_was_meant() {
    let row = crate::store::AssignmentRow {
        workload: WORKLOAD.parse().unwrap(),
        attempt: Attempt(2),
        workload_type: "sleep".parse().unwrap(),
        config_json: json!({ "a": 1 }),
        resource_limits: json!({ "cpu_cores": null }),
        input_params: json!({ "seconds": 1.5 }),
        checkpoint_interval_sec: 30,
        checkpoint: Some((Attempt(1), 5, "aGk=".to_owned())),
        timeout_seconds: 3_600,
        on_lease_loss: OnLeaseLoss::Continue,
    };
    let incarnation = "i1".parse().unwrap();
    let beat = MessageSequence(9);
    let bytes = protocol::assign(&ORIGIN, &incarnation, Generation(4), beat, &row);
    let Some(protocol::Word::Command {
        command: protocol::Command::Assign(heard),
        ..
    }) = protocol::read_word(&bytes)
    else {
        panic!("not an assignment");
    };
    assert_eq!(heard.checkpoint.as_deref(), Some(&b"hi"[..]));
    assert_eq!(heard.input_params, row.input_params);
    assert_eq!(
        (heard.heartbeat_sequence, heard.generation),
        (9, Generation(4))
    );
    assert_eq!(heard.on_lease_loss, OnLeaseLoss::Continue);
}

#[test]
fn words_between_coordinators_survive_the_wire() {
    let words = [
        PeerWord::WorkloadsHinted(vec![WORKLOAD.parse().unwrap()]),
        PeerWord::WorkersHinted,
        PeerWord::CustomersHinted(Vec::new()),
        PeerWord::LeaderResigned(Generation(3)),
        PeerWord::KeyRevoked(crate::store::KeyId(1)),
        PeerWord::Probe {
            incarnation: "i1".parse().unwrap(),
            nonce: u64::MAX,
        },
    ];
    for word in words {
        assert_eq!(PeerWord::decode(&word.encode()), Some(word));
    }
    for bytes in [&b""[..], b"{}", br#"{"type":"dance"}"#] {
        assert_eq!(PeerWord::decode(bytes), None);
    }
}

proptest! {
    #[test]
    fn no_bytes_can_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = protocol::read_word(&bytes);
        let _ = PeerWord::decode(&bytes);
    }

    #[test]
    fn no_cut_or_changed_message_can_break_a_reader(
        at in 0..600_usize, byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let fields = json!({ "error_message": "x", "error_type": "transient", "result_data": {} });
        let mut bytes = message("workload.failed", fields).to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn what_a_worker_writes_is_read(text in "[^\0]{0,100}", sequence in 0..=i64::MAX as u64) {
        let (worker, incarnation) = ("w1".parse().unwrap(), "i1".parse().unwrap());
        let origin = WorkerOrigin {
            worker: &worker,
            incarnation: &incarnation,
            generation_seen: Generation(1),
            sequence,
            now: WallTime(0),
        };
        let body = wire::Failed {
            of: protocol::of(WORKLOAD.parse().unwrap(), Attempt(1)),
            error_message: text.clone(),
            error_type: "permanent".to_owned(),
            result_data: None,
        };
        let incoming = decode(&origin.encode("workload.failed", body)).unwrap();
        prop_assert_eq!(incoming.sequence, MessageSequence(sequence));
        let Body::Outcome { error_message, .. } = incoming.body else {
            panic!("not an outcome");
        };
        prop_assert_eq!(error_message, Some(text));
    }
}
