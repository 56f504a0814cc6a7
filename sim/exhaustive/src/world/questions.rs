//! Questions to the database, and their answers.

use super::World;
use crate::{
    database::{Database, wall},
    node::{Line, Node, Question, within},
    properties::Violation,
};
use niyanta_core::{Effect, Event, ids::Incarnation};

impl World {
    pub(super) fn first(&self, place: usize, line: Line) -> Option<Question> {
        self.nodes[place].lines[line as usize].front().cloned()
    }

    /// Carries out the first question of a line, and gives the answer.
    pub(super) fn execute(&mut self, place: usize, line: Line) -> Result<Option<Event>, Violation> {
        let question = self.nodes[place].change(|node| node.lines[line as usize].pop_front());
        let Some(question) = question else {
            return Ok(None);
        };
        self.execute_for(place, &question)
    }

    pub(super) fn execute_for(
        &mut self,
        place: usize,
        question: &Question,
    ) -> Result<Option<Event>, Violation> {
        let truth = self.truth();
        let now = self.now;
        let asker = asked_by(question, &self.nodes[place]);
        let effect = &question.effect;
        let answer = if changes(effect) {
            self.database
                .change(|database| database.answer(&asker, effect, now, &truth))?
        } else {
            // A reading of a copy changes nothing.
            Database::clone(&self.database).answer(&asker, effect, now, &truth)?
        };
        self.tell(|| format!("    database  {} of {asker}", words(effect)));
        Ok(answer)
    }

    pub(super) fn carry_out(&mut self, place: usize, line: Line) -> Result<(), Violation> {
        let Some(question) = self.first(place, line) else {
            return Ok(());
        };
        // The driver has stopped waiting.
        if within(&question.effect).is_some_and(|span| self.now.since(question.asked) > span) {
            return self.give_up(place, line);
        }
        let answer = self.execute(place, line)?;
        answer.map_or(Ok(()), |event| self.hand(place, event))
    }

    pub(super) fn give_up(&mut self, place: usize, line: Line) -> Result<(), Violation> {
        let question = self.nodes[place].change(|node| {
            let question = node.lines[line as usize].pop_front();
            node.orphans.extend(question.clone().filter(writes));
            question
        });
        self.fail(place, question.as_ref())
    }

    /// It was carried out, and the driver does not hear of that.
    pub(super) fn lose_answer(&mut self, place: usize, line: Line) -> Result<(), Violation> {
        let question = self.first(place, line);
        self.execute(place, line)?;
        self.fail(place, question.as_ref())
    }

    fn fail(&mut self, place: usize, question: Option<&Question>) -> Result<(), Violation> {
        let event = question.and_then(|question| question.effect.unanswered(wall(self.now)));
        event.map_or(Ok(()), |event| self.hand(place, event))
    }

    pub(super) fn orphan(&mut self, place: usize, index: usize) -> Result<(), Violation> {
        let question = self.nodes[place].change(|node| node.orphans.remove(index));
        self.execute_for(place, &question).map(|_| ())
    }
}

/// Whether a question changes the database.
pub(super) fn writes(question: &Question) -> bool {
    changes(&question.effect)
}

/// Whether this changes the database.
pub(super) const fn changes(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::TakeLease { .. }
            | Effect::RenewLease { .. }
            | Effect::ResignLease { .. }
            | Effect::Persist(_)
    )
}

/// In whose name a question is asked: an orphan's process may be gone, and its node another.
fn asked_by(question: &Question, node: &Node) -> Incarnation {
    if let Effect::Persist(batch) = &*question.effect {
        return batch.incarnation.clone();
    }
    node.incarnation.clone()
}

/// A question in a few words.
fn words(effect: &Effect) -> String {
    if let Effect::Persist(batch) = effect {
        return format!("batch {} of term {}", batch.number, batch.generation);
    }
    effect.kind().to_owned()
}
