//! Everything that can happen next in a world.

use super::{ProcessFault, Step, Time, Wish, World};
use crate::node::Line;
use niyanta_core::workload::Desired;

fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

impl World {
    /// Everything that can happen, the ordinary first.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let place = small(place);
            if node.is_due(self.now) {
                steps.push(Step::Tick(place));
            }
            for line in Line::ALL {
                if !node.lines[line as usize].is_empty() {
                    steps.push(Step::Answer(place, line));
                }
            }
        }
        for (place, process) in self.processes.iter().enumerate() {
            if process.is_due(self.now) {
                steps.push(Step::Wake(small(place)));
            }
        }
        let mut last = None;
        for (index, message) in self.messages.iter().enumerate() {
            if last != Some(message.print()) {
                steps.push(Step::Deliver(small(index)));
            }
            last = Some(message.print());
        }
        self.work(&mut steps);
        self.wishes(&mut steps);
        self.faults(&mut steps);
        if self.left.passes > 0 && self.is_quiet() && !self.is_done() {
            steps.push(Step::Time(Time::Pass));
        }
        steps
    }

    fn work(&self, steps: &mut Vec<Step>) {
        for (place, process) in self.processes.iter().enumerate() {
            if self.now >= process.guarded_until {
                continue;
            }
            for (workload, attempt) in &process.running {
                steps.push(Step::Complete(small(place), *workload, *attempt));
                if self.left.failures > 0 {
                    steps.push(Step::Fail(small(place), *workload, *attempt));
                }
            }
        }
    }

    fn wishes(&self, steps: &mut Vec<Step>) {
        let left = &self.left;
        for row in self.database.workloads.values() {
            let wishes = [
                (left.cancels, Desired::Cancel),
                (left.pauses, Desired::Pause),
                (left.resumes, Desired::Run),
            ];
            let ended = row.leader.status.is_terminal();
            for (_, wish) in wishes
                .into_iter()
                .filter(|(left, wish)| *left > 0 && !ended && row.desired != *wish)
            {
                steps.push(Step::Wish(Wish::Workload(row.id, wish)));
            }
        }
        if left.drains > 0 {
            steps.extend(
                (0..self.database.workers.len()).map(|place| Step::Wish(Wish::Drain(small(place)))),
            );
        }
    }

    fn faults(&self, steps: &mut Vec<Step>) {
        let left = &self.left;
        for (place, node) in self.nodes.iter().enumerate() {
            let place = small(place);
            for line in Line::ALL {
                if node.lines[line as usize].is_empty() {
                    continue;
                }
                if left.lapses > 0 {
                    steps.push(Step::AnswerLate(place, line));
                }
                if left.unknown > 0 {
                    steps.push(Step::LoseAnswer(place, line));
                    steps.push(Step::GiveUp(place, line));
                }
            }
            let orphans = 0..node.orphans.len();
            steps.extend(orphans.map(|index| Step::Orphan(place, small(index))));
            if left.crashes > 0 {
                steps.push(Step::Process(ProcessFault::Crash(place)));
            }
        }
        for index in 0..self.messages.len() {
            if left.lost > 0 {
                steps.push(Step::Lose(small(index)));
            }
            if left.doubled > 0 {
                steps.push(Step::Double(small(index)));
            }
        }
        for place in 0..self.processes.len() {
            if left.crashes > 0 {
                steps.push(Step::Process(ProcessFault::CrashWorker(small(place))));
            }
            if left.seconds > 0 {
                steps.push(Step::Process(ProcessFault::Second(small(place))));
            }
        }
        if left.lapses > 0 {
            steps.push(Step::Time(Time::Pause));
            steps.push(Step::Time(Time::WorkersLeaseEnds));
            if self.database.lease_ends >= self.now {
                steps.push(Step::Time(Time::LeaseEnds));
            }
        }
    }
}
