//! Workers' requests as a driver reads them: contents are written before core hears of them.

use super::{World, node::Asker, operations::Purpose};
use crate::{
    clock::Moment,
    decision::{Choice, Occasion, Who},
    message::{Carries, WorkerRequest},
    model::store::{Answer, ContentWrite, Failure, Statement},
    plan::InFlight,
};
use niyanta_core::{
    Content, Event, WorkerMessage,
    ids::{Attempt, RequestId, WorkloadId},
};
use std::sync::Arc;

impl World {
    /// A worker's request was read; its content is written first when there is any.
    pub(super) fn read_request(
        &mut self,
        place: usize,
        arrived: Moment,
        request: Arc<WorkerRequest>,
    ) {
        let checkpoint = match request.carries {
            Carries::Nothing => {
                self.hand_request(place, &request, Content::Absent);
                return;
            }
            Carries::Result => None,
            Carries::Checkpoint(sequence) => Some(sequence),
        };
        let about = match &request.request.body {
            WorkerMessage::Checkpoint {
                workload, attempt, ..
            }
            | WorkerMessage::Completed {
                workload, attempt, ..
            }
            | WorkerMessage::Failed {
                workload, attempt, ..
            } => (*workload, *attempt),
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Started { .. }
            | WorkerMessage::Stopped { .. }
            | WorkerMessage::Deregister => return,
        };
        let is_bad = self.is_bad(about);
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        if super::node_term(&process.core).is_none() {
            // Only a leader writes, and only a leader answers.
            return;
        }
        self.next_call += 1;
        let ticket = self.next_call;
        process.writing.insert(ticket, arrived);
        let write = ContentWrite {
            workload: about.0,
            attempt: about.1,
            incarnation: request.request.incarnation.clone(),
            checkpoint,
            is_bad,
        };
        let purpose = Purpose::Report { request, ticket };
        self.ask(
            place,
            Statement::Content(write),
            purpose,
            super::driver::STATEMENT_TIMEOUT,
        );
        self.strike_during(InFlight::ContentWriting, place);
    }

    /// Whether what an attempt reports holds a text that no column can hold: it does each time.
    fn is_bad(&mut self, about: (WorkloadId, Attempt)) -> bool {
        let rate = self.plan.rates.bad;
        if rate == 0 {
            return false;
        }
        let decider = &mut self.decider;
        *self.bad_contents.entry(about).or_insert_with(|| {
            let who = Who::submission(about.0);
            let point = decider.occasion(Occasion::Report, who);
            decider.pick(point, Choice::ReportText, |rng| {
                u32::from(rng.per_mille(rate))
            }) > 0
        })
    }

    pub(super) fn finish_report(
        &mut self,
        place: usize,
        request: &WorkerRequest,
        ticket: u64,
        outcome: Result<Answer, Failure>,
    ) {
        if let Some(process) = &mut self.nodes[place].process {
            process.writing.remove(&ticket);
        }
        // Without an answer nobody knows what is stored: the worker repeats its report.
        if let Ok(Answer::Content(content)) = outcome {
            self.hand_request(place, request, content);
        }
    }

    fn hand_request(&mut self, place: usize, asked: &WorkerRequest, stored: Content) {
        let Some(process) = self.nodes[place].awake() else {
            return;
        };
        process.last_request = process.last_request.next();
        let reply_to: RequestId = process.last_request;
        process.requests.insert(
            reply_to,
            Asker {
                place: asked.from,
                message_id: asked.message_id,
                incarnation: asked.request.incarnation.clone(),
            },
        );
        let mut request = asked.request.clone();
        request.reply_to = reply_to;
        match &mut request.body {
            WorkerMessage::Checkpoint { content, .. }
            | WorkerMessage::Completed { content, .. }
            | WorkerMessage::Failed { content, .. } => *content = stored,
            WorkerMessage::Register { .. }
            | WorkerMessage::Heartbeat { .. }
            | WorkerMessage::Started { .. }
            | WorkerMessage::Stopped { .. }
            | WorkerMessage::Deregister => {}
        }
        self.hand(place, &Event::Request(request));
    }
}
