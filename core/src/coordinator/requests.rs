//! Workers' requests, each to its place.
//!
//! Owns admission: a request is forgotten, and repeated by its worker, while the gathering batch
//! has no room for what it may bring; a heartbeat is always heard. What the database refused alone
//! is answered so.

use super::{quarantine::Strikes, reports::Report, term::Term, workers::Registration};
use crate::{Effect, ReplyStatus, Request, WorkerMessage, fleet::ReportedStatus};
use alloc::vec::Vec;

impl Term {
    pub(super) fn on_request(&mut self, request: Request, effects: &mut Vec<Effect>) {
        if let WorkerMessage::Heartbeat { status, running } = &request.body {
            return self.on_heartbeat(&request, *status, running, effects);
        }
        let source = (
            request.worker.clone(),
            request.incarnation.clone(),
            request.sequence,
        );
        let report = Report::of(&request.body);
        let is_refused = match self.quarantine.strikes(&source) {
            Some(Strikes::Twice) => true,
            Some(Strikes::Once) => !matches!(
                request.body,
                WorkerMessage::Completed { .. } | WorkerMessage::Failed { .. }
            ),
            None => false,
        };
        if is_refused {
            return self.reply_after(&request, ReplyStatus::Refused, effects);
        }
        // A replaced worker's attempts are closed one by one: they ask for room themselves.
        if self.room() < self.room_needed() || self.commits.waiting_replies() >= REPLIES_MAX {
            self.note_alive(&request);
            return effects.push(Effect::Forget {
                to: request.reply_to,
            });
        }
        if let Some(report) = report {
            self.on_report(request, report, effects);
        } else if let Some(registration) = Registration::of(&request.body) {
            self.on_register(&request, registration, effects);
        } else {
            self.on_deregister(&request, effects);
        }
        self.commits.note_source(source);
    }

    /// A registration that there is no room for is heard all the same: what this leader forgets is
    /// no silence of the worker's.
    fn note_alive(&mut self, request: &Request) {
        let known = self.fleet.get(&request.worker);
        let is_current = known.is_some_and(|w| w.is_current(&request.incarnation) && !w.is_dead());
        if is_current && matches!(request.body, WorkerMessage::Register { .. }) {
            self.hear(request, ReportedStatus::Healthy);
        }
    }

    /// One request changes at most one workload and one worker's row.
    const fn room_needed(&self) -> usize {
        if self.quarantine.is_careful() { 1 } else { 2 }
    }
}

/// Answers that wait for commits; above it requests are forgotten.
const REPLIES_MAX: usize = 20_000;
