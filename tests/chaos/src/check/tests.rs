use super::*;
use crate::history::CustomerLimits;

/// A sound history of two workloads: the first is moved once and completes in its second attempt,
/// the second is cancelled while it waits. Each test breaks one thing of it.
struct Sound(Vec<Record>);

const CUSTOMER: &str = "c";
const STEP: i64 = SECOND;

impl Sound {
    fn new() -> Self {
        let head = Head {
            seed: 1,
            seconds: 1,
            from_wall: 0,
            capacity: 1,
            customers: vec![CustomerLimits {
                customer: CUSTOMER.to_owned(),
                running: 1,
                queued: 2,
            }],
        };
        let mut this = Self(vec![Record::Head(head)]);
        this.process("w1#1", 0, Happened::Started);
        this.process("w2#1", 0, Happened::Started);
        this.lease(1, "i1").lease(2, "i2");
        this.asked(1, "k1", "wl_1").asked(2, "k2", "wl_2");
        this.audit("wl_1", 1, "created", 0, 0).at(1);
        this.audit("wl_1", 2, "scheduled", 1, 1)
            .at(3)
            .given_to("w1");
        this.diary("w1#1", "wl_1", 1, 4, Some((6, "stopped")));
        this.audit("wl_1", 3, "redistributing", 1, 1).at(7);
        this.audit("wl_1", 4, "requeued", 1, 1).at(8);
        this.audit("wl_1", 5, "scheduled", 2, 2)
            .at(9)
            .given_to("w2");
        this.diary("w2#1", "wl_1", 2, 10, Some((12, "completed")));
        this.audit("wl_1", 6, "started", 2, 2).at(13);
        this.audit("wl_1", 7, "completed", 2, 2).at(13);
        this.audit("wl_2", 1, "created", 0, 0).at(2);
        this.wish(4, "wl_2", "cancel", "r1");
        this.audit("wl_2", 2, "cancel_requested", 0, 0)
            .at(4)
            .because("r1");
        this.audit("wl_2", 3, "cancelled", 0, 2).at(11);
        this.row("wl_1", "k1", "COMPLETED", 2, 7);
        this.row("wl_2", "k2", "CANCELLED", 0, 3);
        this.workload("wl_2").desired = "cancel".to_owned();
        this.0.push(Record::Counters(CountersRow {
            customer: CUSTOMER.to_owned(),
            submitted: 2,
            left_queue: 2,
            running: 0,
        }));
        this.process("w1#1", 14, Happened::Ended);
        this.process("w2#1", 14, Happened::Ended);
        this
    }

    fn process(&mut self, process: &str, at: i64, what: Happened) {
        let process = process.to_owned();
        self.0.push(Record::Process(ProcessEvent {
            process,
            at: at * STEP,
            what,
        }));
    }

    fn lease(&mut self, generation: i64, incarnation: &str) -> &mut Self {
        self.0.push(Record::Lease(LeaseSeen {
            at: generation * STEP,
            generation,
            incarnation: incarnation.to_owned(),
            holder: "c0".to_owned(),
        }));
        self
    }

    fn ask(&mut self, at: i64, what: What, workload: &str, outcome: Outcome) -> &mut Asked {
        self.0.push(Record::Asked(Asked {
            by: 0,
            customer: CUSTOMER.to_owned(),
            from: at * STEP,
            to: at * STEP + SECOND / 2,
            node: 0,
            what,
            outcome,
            status: if outcome == Outcome::Ok { 202 } else { 503 },
            workload: Some(workload.to_owned()),
            version: None,
        }));
        let Some(Record::Asked(asked)) = self.0.last_mut() else {
            unreachable!()
        };
        asked
    }

    fn asked(&mut self, at: i64, key: &str, workload: &str) -> &mut Self {
        self.ask(
            at,
            What::Submit {
                key: key.to_owned(),
            },
            workload,
            Outcome::Ok,
        );
        self
    }

    fn wish(&mut self, at: i64, workload: &str, verb: &str, reason: &str) -> &mut Asked {
        let (verb, reason) = (verb.to_owned(), reason.to_owned());
        self.ask(at, What::Wish { verb, reason }, workload, Outcome::Ok)
    }

    fn read(&mut self, at: i64, workload: &str, version: u64) {
        self.ask(at, What::Read, workload, Outcome::Ok).version = Some(version);
    }

    fn audit(
        &mut self,
        workload: &str,
        sequence: u64,
        kind: &str,
        attempt: u64,
        term: i64,
    ) -> Event<'_> {
        self.0.push(Record::Audit(AuditRow {
            workload: workload.to_owned(),
            sequence,
            kind: kind.to_owned(),
            at: 0,
            attempt,
            generation: term,
            worker: None,
            incarnation: None,
            reason: None,
            backoff_ms: None,
        }));
        let Some(Record::Audit(row)) = self.0.last_mut() else {
            unreachable!()
        };
        Event(row)
    }

    fn diary(
        &mut self,
        process: &str,
        workload: &str,
        attempt: u64,
        at: i64,
        end: Option<(i64, &str)>,
    ) {
        let mut write = |at: i64, ended: Option<&str>| {
            self.0.push(Record::Diary(DiaryEntry {
                process: process.to_owned(),
                workload: workload.to_owned(),
                attempt,
                at: at * STEP,
                ended: ended.map(str::to_owned),
            }));
        };
        write(at, None);
        if let Some((at, how)) = end {
            write(at, Some(how));
        }
    }

    fn row(&mut self, id: &str, key: &str, status: &str, attempt: u64, version: u64) {
        self.0.push(Record::Workload(WorkloadRow {
            id: id.to_owned(),
            customer: CUSTOMER.to_owned(),
            status: status.to_owned(),
            desired: "run".to_owned(),
            attempt,
            version,
            retry_count: 0,
            max_retries: 3,
            run_after: None,
            key: Some(key.to_owned()),
            means: Some("quick".to_owned()),
        }));
    }

    fn workload(&mut self, id: &str) -> &mut WorkloadRow {
        self.find(|record| match record {
            Record::Workload(row) if row.id == id => Some(row),
            _ => None,
        })
    }

    fn event(&mut self, workload: &str, sequence: u64) -> &mut AuditRow {
        self.find(|record| match record {
            Record::Audit(row) if row.workload == workload && row.sequence == sequence => Some(row),
            _ => None,
        })
    }

    fn page(&mut self, process: &str, is_end: bool) -> &mut DiaryEntry {
        self.find(|record| match record {
            Record::Diary(entry) if entry.process == process && entry.ended.is_some() == is_end => {
                Some(entry)
            }
            _ => None,
        })
    }

    fn counters(&mut self) -> &mut CountersRow {
        self.find(|record| match record {
            Record::Counters(row) => Some(row),
            _ => None,
        })
    }

    fn find<T>(&mut self, wanted: impl FnMut(&mut Record) -> Option<&mut T>) -> &mut T {
        self.0.iter_mut().find_map(wanted).unwrap()
    }

    fn without(mut self, unwanted: impl Fn(&Record) -> bool) -> Self {
        self.0.retain(|record| !unwanted(record));
        self
    }
}

struct Event<'a>(&'a mut AuditRow);

impl Event<'_> {
    fn at(self, at: i64) -> Self {
        self.0.at = at * STEP;
        self
    }

    fn given_to(self, worker: &str) {
        self.0.worker = Some(worker.to_owned());
        self.0.incarnation = Some(format!("{worker}-i"));
    }

    fn because(self, reason: &str) {
        self.0.reason = Some(reason.to_owned());
    }
}

/// Breaks the sound history and expects this property to be named, with this said of it.
fn finds(property: &str, said: &str, wrong: impl FnOnce(&mut Sound)) {
    let mut sound = Sound::new();
    wrong(&mut sound);
    expect(property, said, &sound);
}

fn expect(property: &str, said: &str, history: &Sound) {
    let found = check(&history.0).violations;
    let is_named = found
        .iter()
        .any(|it| it.property == property && it.text.contains(said));
    assert!(is_named, "{property} ({said}) is not named: {found:#?}");
}

#[test]
fn a_sound_history_is_called_sound() {
    let found = check(&Sound::new().0).violations;
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_history_is_the_same_after_it_was_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    let recorder = crate::history::Recorder::create(&path).unwrap();
    let history = Sound::new().0;
    for record in &history {
        recorder.record(record);
    }
    recorder.flush();
    assert_eq!(crate::history::load(&path).unwrap(), history);
}

#[test]
fn a_lost_submission_is_found() {
    let history = Sound::new().without(|record| match record {
        Record::Workload(row) => row.id == "wl_1",
        Record::Audit(row) => row.workload == "wl_1",
        _ => false,
    });
    expect("P10", "is lost", &history);
    expect("P10", "not as many workloads", &history);
}

#[test]
fn a_submission_that_was_refused_and_is_there_is_found() {
    finds("P10", "was answered [503]", |it| {
        it.find(|record| match record {
            Record::Asked(asked)
                if asked.what
                    == What::Submit {
                        key: "k1".to_owned(),
                    } =>
            {
                Some(&mut asked.outcome)
            }
            _ => None,
        })
        .clone_from(&Outcome::Failed);
        it.find(|record| match record {
            Record::Asked(asked) if asked.outcome == Outcome::Failed => Some(&mut asked.status),
            _ => None,
        })
        .clone_from(&503);
    });
}

#[test]
fn two_workloads_of_one_key_are_found() {
    finds("P11", "the key k1", |it| {
        it.workload("wl_2").key = Some("k1".to_owned())
    });
}

#[test]
fn a_lost_or_undone_wish_is_found() {
    finds("P10", "is not in its trail", |it| {
        it.wish(5, "wl_1", "pause", "r2");
    });
    finds("P10", "was undone", |it| {
        it.workload("wl_2").desired = "run".to_owned()
    });
    finds("P10", "was answered 503, and is in its trail", |it| {
        let wish = it.wish(4, "wl_2", "cancel", "r1");
        (wish.outcome, wish.status) = (Outcome::Failed, 503);
    });
}

#[test]
fn a_gap_in_a_trail_is_found() {
    let history = Sound::new()
        .without(|record| matches!(record, Record::Audit(row) if row.workload == "wl_1" && row.sequence == 3));
    expect("P16", "version 7", &history);
    finds("P16", "has no trail", |it| {
        it.row("wl_3", "k3", "COMPLETED", 0, 0)
    });
}

#[test]
fn an_illegal_step_and_a_second_end_are_found() {
    finds("P6", "started from", |it| {
        it.event("wl_1", 2).kind = "started".to_owned()
    });
    finds("P6", "cancelled from \"COMPLETED\"", |it| {
        it.audit("wl_1", 8, "cancelled", 2, 2).at(14);
        it.workload("wl_1").version = 8;
    });
    finds("P6", "its trail ends", |it| {
        it.workload("wl_1").status = "FAILED".to_owned()
    });
    finds("P6", "nobody asked", |it| {
        it.event("wl_1", 7).kind = "cancelled".to_owned();
        it.workload("wl_1").status = "CANCELLED".to_owned();
    });
}

#[test]
fn a_commit_of_an_older_term_is_found() {
    finds("P1", "of term 1, after one of 2", |it| {
        it.event("wl_1", 7).generation = 1
    });
    finds("P1", "of term 1 was written", |it| {
        it.event("wl_1", 4).at = 12 * STEP;
    });
}

#[test]
fn a_generation_used_twice_is_found() {
    finds("P2", "came", |it| {
        it.lease(2, "i3");
    });
}

#[test]
fn two_workers_at_once_are_found_unless_a_pause_explains_it() {
    let mut history = Sound::new();
    history.page("w1#1", true).at = 12 * STEP;
    expect("P8", "ran at once for 2000000 us", &history);
    expect("P9", "still ran", &history);
    // It was stopped from before the second began until just before its own end.
    history.process("w1#1", 6, Happened::Stopped);
    history.process("w1#1", 11, Happened::GoesOn);
    let found = check(&history.0).violations;
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_process_that_wakes_and_goes_on_is_found() {
    let mut history = Sound::new();
    history.process("w1#1", 6, Happened::Stopped);
    history.process("w1#1", 8, Happened::GoesOn);
    history.page("w1#1", true).at = 12 * STEP;
    expect("P8", "ran at once", &history);
}

#[test]
fn a_run_that_was_never_assigned_or_ran_twice_is_found() {
    finds("P5", "no such assignment", |it| {
        it.diary("w1#1", "wl_1", 3, 13, Some((13, "stopped")));
    });
    finds("P5", "before its assignment", |it| {
        it.page("w2#1", false).at = 8 * STEP
    });
    finds("P7", "more than once", |it| {
        it.diary("w1#1", "wl_1", 1, 7, Some((8, "killed")));
    });
    finds("P7", "assigned to", |it| {
        it.event("wl_1", 2).worker = Some("w3".to_owned())
    });
}

#[test]
fn a_completion_without_a_run_is_found() {
    finds("P7", "no run completed before", |it| {
        it.page("w2#1", true).ended = Some("killed".to_owned());
    });
    finds("P7", "only fails", |it| {
        it.workload("wl_1").means = Some("doomed".to_owned())
    });
}

#[test]
fn an_attempt_number_used_twice_is_found() {
    finds("P7", "scheduled [1, 1]", |it| {
        it.event("wl_1", 5).attempt = 1
    });
}

#[test]
fn more_than_fits_is_found() {
    let third = |it: &mut Sound| {
        it.row("wl_3", "k3", "COMPLETED", 1, 4);
        it.audit("wl_3", 1, "created", 0, 0).at(2);
        it.audit("wl_3", 2, "scheduled", 1, 1).at(4).given_to("w1");
        it.audit("wl_3", 3, "started", 1, 1).at(5);
        it.audit("wl_3", 4, "completed", 1, 1).at(6);
        it.diary("w1#1", "wl_3", 1, 5, Some((6, "completed")));
    };
    finds("P12", "had 2 attempts in 1 slots", third);
    finds("P12", "ran 2 attempts at once", third);
    finds("P13", "2 open attempts of 1", third);
}

#[test]
fn a_queue_above_its_limit_is_found() {
    finds("P13", "3 in the queue of 2", |it| {
        it.asked(2, "k3", "wl_3");
        it.row("wl_3", "k3", "CANCELLED", 0, 2);
        it.audit("wl_3", 1, "created", 0, 0).at(2);
        it.audit("wl_3", 2, "cancelled", 0, 2).at(12);
        it.event("wl_1", 2).at = 4 * STEP;
    });
    finds("P13", "not exact", |it| it.counters().running = 1);
}

#[test]
fn an_older_version_after_a_newer_one_is_found() {
    finds("P19", "told of version", |it| {
        it.read(7, "wl_1", 3);
        it.read(8, "wl_1", 2);
    });
    finds("P19", "then 404", |it| {
        let read = it.ask(9, What::Read, "wl_1", Outcome::Failed);
        read.status = 404;
    });
    // Two reads at the same time may be answered in either order.
    let mut history = Sound::new();
    history.read(7, "wl_1", 3);
    history.read(7, "wl_1", 2);
    assert!(check(&history.0).violations.is_empty());
}

#[test]
fn an_assignment_before_its_time_is_found() {
    finds("P21", "not before", |it| {
        it.workload("wl_1").run_after = Some(5 * STEP)
    });
    finds("P21", "back-off", |it| {
        it.event("wl_1", 4).backoff_ms = Some(5_000)
    });
}

#[test]
fn too_many_retries_and_a_failure_of_sound_work_are_found() {
    finds("P22", "1 retries of 0", |it| {
        it.event("wl_1", 4).kind = "retrying".to_owned();
        it.workload("wl_1").max_retries = 0;
    });
    finds("P22", "does not fail for good", |it| {
        it.event("wl_1", 7).kind = "failed".to_owned();
        it.workload("wl_1").status = "FAILED".to_owned();
    });
}

#[test]
fn work_that_never_ended_is_found() {
    let mut history = Sound::new()
        .without(|record| matches!(record, Record::Audit(row) if row.kind == "completed"));
    let row = history.workload("wl_1");
    (row.status, row.version) = ("RUNNING".to_owned(), 6);
    expect("progress", "when all was quiet", &history);
}

#[test]
fn a_process_that_left_or_stayed_against_its_orders_is_found() {
    finds("process", "nobody had asked", |it| {
        it.process("c0#1", 9, Happened::EndedUnasked)
    });
    finds("process", "did not end in time", |it| {
        it.process("c0#1", 9, Happened::EndedLate)
    });
}
