//! What workers say of attempts: started, checkpointed, completed, failed, stopped.
//!
//! Owns the judgement of a report by attempt and incarnation (P7), and the memory of the reports
//! that ended attempts, so that a repeat is answered as the first was. A report about a workload
//! that is not in memory waits for its row.

use super::{
    quarantine::Strikes,
    term::{Step, Term},
};
use crate::{
    Content, Effect, ReplyStatus, Request, WorkerMessage,
    batch::Actor,
    ids::{Attempt, Incarnation, WorkerId, WorkloadId},
    probes::{mark, planted},
    workload::{Cause, ErrorType, Move, Over, Status, Workload},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

/// A report without its envelope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    pub(super) workload: WorkloadId,
    pub(super) attempt: Attempt,
    pub(super) says: Says,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    Started,
    Checkpoint(u64, Content),
    Completed(Content),
    Failed(ErrorType, Content),
    Stopped(Cause),
}

/// The kinds of report that end an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Completed,
    Failed,
    Stopped,
}

/// Reports that ended attempts, the oldest forgotten first: then the row is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endings {
    known: BTreeMap<(WorkloadId, Attempt), Ending>,
    order: VecDeque<(WorkloadId, Attempt)>,
}

#[derive(Debug, Clone)]
struct Ending {
    worker: WorkerId,
    incarnation: Incarnation,
    last: Last,
    status: ReplyStatus,
}

impl Endings {
    const MAX: usize = 16_384;

    pub(super) fn is_reported(&self, id: WorkloadId, attempt: Attempt) -> bool {
        self.known.contains_key(&(id, attempt))
    }

    fn insert(&mut self, key: (WorkloadId, Attempt), ending: Ending) {
        if self.known.insert(key, ending).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > Self::MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// How the first of this report was answered, if it ended the attempt.
    fn answer(&self, request: &Request, report: &Report) -> Option<ReplyStatus> {
        let ending = self.known.get(&(report.workload, report.attempt))?;
        let same = ending.worker == request.worker
            && ending.incarnation == request.incarnation
            && report.says.last() == Some(ending.last);
        same.then(|| ending.status.clone())
    }
}

impl Says {
    const fn last(self) -> Option<Last> {
        match self {
            Self::Started | Self::Checkpoint(..) => None,
            Self::Completed(_) => Some(Last::Completed),
            Self::Failed(..) => Some(Last::Failed),
            Self::Stopped(_) => Some(Last::Stopped),
        }
    }

    /// The same with its content taken as refused, where that is possible.
    const fn refused(self) -> Option<Self> {
        match self {
            Self::Started | Self::Checkpoint(..) | Self::Stopped(_) => None,
            Self::Completed(_) => Some(Self::Completed(Content::Refused)),
            Self::Failed(kind, _) => Some(Self::Failed(kind, Content::Refused)),
        }
    }
}

impl Report {
    /// The report in a message, if it is one.
    pub(super) const fn of(message: &WorkerMessage) -> Option<Self> {
        let (workload, attempt, says) = match message {
            WorkerMessage::Started { workload, attempt } => (*workload, *attempt, Says::Started),
            WorkerMessage::Checkpoint {
                workload,
                attempt,
                checkpoint_sequence,
                content,
            } => (
                *workload,
                *attempt,
                Says::Checkpoint(*checkpoint_sequence, *content),
            ),
            WorkerMessage::Completed {
                workload,
                attempt,
                content,
            } => (*workload, *attempt, Says::Completed(*content)),
            WorkerMessage::Failed {
                workload,
                attempt,
                error_type,
                content,
            } => (*workload, *attempt, Says::Failed(*error_type, *content)),
            WorkerMessage::Stopped {
                workload,
                attempt,
                cause,
            } => (*workload, *attempt, Says::Stopped(*cause)),
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Deregister => return None,
        };
        Some(Self {
            workload,
            attempt,
            says,
        })
    }
}

impl Term {
    pub(super) fn on_report(
        &mut self,
        request: Request,
        report: Report,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.workloads.contains_key(&report.workload);
        if known || self.endings.answer(&request, &report).is_some() {
            return self.judge(&request, report, effects);
        }
        mark!(ReportWaitsForRow);
        if let Some(refused) = self.loads.park(report.workload, request) {
            effects.push(Effect::Forget {
                to: refused.reply_to,
            });
        }
    }

    /// The row of a report's workload was asked for: what memory has now is all there is.
    pub(super) fn on_report_about_loaded(&mut self, request: Request, effects: &mut Vec<Effect>) {
        let Some(report) = Report::of(&request.body) else {
            return;
        };
        let is_closed = self.quarantine.has_workload(report.workload, self.now) || self.room() == 0;
        if is_closed {
            return effects.push(Effect::Forget {
                to: request.reply_to,
            });
        }
        self.judge(&request, report, effects);
    }

    fn judge(&mut self, request: &Request, mut report: Report, effects: &mut Vec<Effect>) {
        let source = (
            request.worker.clone(),
            request.incarnation.clone(),
            request.sequence,
        );
        if self.quarantine.strikes(&source) == Some(Strikes::Once)
            && let Some(refused) = report.says.refused()
        {
            report.says = refused;
        }
        let is_repeat = self.endings.answer(request, &report).is_some();
        if is_repeat {
            mark!(LastReportRepeated);
        }
        if planted!(DoubledCompletionCounts) && is_repeat {
            self.change(report.workload, None, |_| {});
        }
        let workload = self.workloads.get(&report.workload);
        let open =
            workload.and_then(|w| w.open_by(&request.worker, &request.incarnation, report.attempt));
        let any = workload.and_then(|w| w.open.as_ref());
        let open = open.or_else(|| any.filter(|_| planted!(OldAttemptAccepted)));
        let status = match open {
            Some(open) if !self.is_committed(open.opened_in) => {
                // Nobody can know of it yet.
                return effects.push(Effect::Forget {
                    to: request.reply_to,
                });
            }
            Some(_) => self.act(request, report),
            None => self
                .endings
                .answer(request, &report)
                .unwrap_or_else(|| answer_by_row(workload, &report)),
        };
        self.commits.note_source(source);
        if planted!(EndAnsweredBeforeCommit) {
            return self.reply_plain(request, status, effects);
        }
        self.reply_after(request, status, effects);
    }

    /// A report on an open attempt, by the process that has it.
    fn act(&mut self, request: &Request, report: Report) -> ReplyStatus {
        let id = report.workload;
        let actor = Actor::Worker(request.worker.clone());
        let status = match report.says {
            Says::Started => {
                self.note_started(id, actor);
                ReplyStatus::Ok
            }
            Says::Checkpoint(sequence, content) => {
                self.note_started(id, actor);
                self.note_checkpoint(id, (report.attempt, sequence), content)
            }
            Says::Completed(content) => {
                self.note_started(id, actor.clone());
                self.complete(id, content, actor)
            }
            Says::Failed(_, Content::Refused) => {
                mark!(LastReportWithoutContent);
                self.fail(id, ErrorType::Permanent, actor);
                ReplyStatus::OkContentRefused
            }
            Says::Failed(kind, Content::Absent | Content::Stored | Content::NotOpen) => {
                self.fail(id, kind, actor);
                ReplyStatus::Ok
            }
            Says::Stopped(cause) => {
                self.close(id, Over::Stopped(cause), actor);
                ReplyStatus::Ok
            }
        };
        if let Some(last) = report.says.last() {
            let ending = Ending {
                worker: request.worker.clone(),
                incarnation: request.incarnation.clone(),
                last,
                status: status.clone(),
            };
            self.endings.insert((id, report.attempt), ending);
            self.drop_row_if_done(&request.worker);
        }
        status
    }

    fn note_started(&mut self, id: WorkloadId, actor: Actor) {
        let status = self.workloads.get(&id).map(Workload::status);
        if status == Some(Status::Scheduled) {
            self.change(id, Some(Step::new(Move::Start, actor)), |_| {});
        }
    }

    /// A newer checkpoint shows progress: lost workers before it do not count any more.
    fn note_checkpoint(
        &mut self,
        id: WorkloadId,
        place: (Attempt, u64),
        content: Content,
    ) -> ReplyStatus {
        match content {
            Content::Refused => return ReplyStatus::Refused,
            Content::Absent | Content::NotOpen => return ReplyStatus::Ok,
            Content::Stored => {}
        }
        let Some(workload) = self.workloads.get_mut(&id) else {
            return ReplyStatus::Stale;
        };
        if workload.row.checkpoint.is_some_and(|last| last >= place) {
            return ReplyStatus::Ok;
        }
        workload.row.checkpoint = Some(place);
        if workload.row.leader.loss_count > 0 {
            self.change(id, None, |leader| leader.loss_count = 0);
        }
        ReplyStatus::Ok
    }

    fn complete(&mut self, id: WorkloadId, content: Content, actor: Actor) -> ReplyStatus {
        match content {
            Content::Refused => {
                self.fail(id, ErrorType::Permanent, actor);
                ReplyStatus::OkContentRefused
            }
            Content::Absent | Content::Stored | Content::NotOpen => {
                self.change(id, Some(Step::new(Move::Complete, actor)), |leader| {
                    leader.error_type = None;
                });
                ReplyStatus::Ok
            }
        }
    }
}

/// The answer to a report on an attempt that is not open, by what became of the workload: `ok` when
/// this report may have ended it, in an earlier term.
fn answer_by_row(workload: Option<&Workload>, report: &Report) -> ReplyStatus {
    let Some(workload) = workload else {
        return ReplyStatus::Stale;
    };
    if workload.attempt() != report.attempt || workload.open.is_some() {
        mark!(ReportOfOlderAttempt);
        return ReplyStatus::Stale;
    }
    let status = workload.status();
    let error_type = workload.row.leader.error_type;
    let may_have_ended = match report.says {
        Says::Started | Says::Checkpoint(..) => false,
        Says::Completed(_) => status == Status::Completed,
        Says::Failed(kind, _) => error_type == Some(kind),
        Says::Stopped(_) => true,
    };
    if may_have_ended {
        return ReplyStatus::Ok;
    }
    let was_refused = matches!(
        report.says,
        Says::Completed(Content::Refused | Content::NotOpen) | Says::Failed(..)
    );
    if was_refused && status == Status::Failed && error_type == Some(ErrorType::Permanent) {
        return ReplyStatus::OkContentRefused;
    }
    ReplyStatus::Stale
}
