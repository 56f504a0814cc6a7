//! The way of a message.

use super::{Inbound, Occurrence, World};
use crate::{
    clock::Moment,
    message::{Address, Command, Message},
    picture::Arrow,
    story::named,
};
use niyanta_core::Event;
use std::sync::Arc;

impl World {
    /// Sends to one.
    pub(super) fn send(&mut self, from: Address, to: Address, message: Message) {
        if self.is_absent(to) {
            return;
        }
        let [first, second] = self.broker.carry(&mut self.decider, from, to);
        let now = self.now;
        self.trace.draw(|picture| {
            for copy in [Some(first), second.map(Some)].into_iter().flatten() {
                picture.arrow(Arrow {
                    from: from.to_string(),
                    to: to.to_string(),
                    sent: now,
                    arrives: copy.map(|delay| now.plus(delay)),
                    text: named(&crate::story::message(&message)),
                });
            }
        });
        if first.is_none() {
            self.trace
                .tell(self.now, from, || format!("  (lost on the way to {to})"));
        }
        if let Some(delay) = second {
            let message = message.clone();
            self.after(delay, Occurrence::Message { to, message });
        }
        if let Some(delay) = first {
            self.after(delay, Occurrence::Message { to, message });
        }
    }

    fn is_absent(&self, who: Address) -> bool {
        match who {
            Address::Coordinator(place) => self.nodes[place].plan.absent,
            Address::Worker(place) => self.hosts[place].plan.absent,
        }
    }

    /// Sends to the coordinators, the sender left out.
    pub(super) fn tell_coordinators(&mut self, from: Address, message: &Message) {
        for place in 0..self.nodes.len() {
            let to = Address::Coordinator(place);
            if to != from {
                self.send(from, to, message.clone());
            }
        }
    }

    /// Sends to everybody, the sender left out.
    pub(super) fn broadcast(&mut self, from: Address, message: &Message) {
        self.tell_coordinators(from, message);
        for place in 0..self.hosts.len() {
            self.send(from, Address::Worker(place), message.clone());
        }
    }

    /// Sends to every process under a worker's id.
    pub(super) fn command(&mut self, from: Address, command: Command) {
        let command = Arc::new(command);
        for place in 0..self.hosts.len() {
            if self.plan.workers[place].profile.worker == command.worker {
                let message = Message::Command(Arc::clone(&command));
                self.send(from, Address::Worker(place), message);
            }
        }
    }

    pub(super) fn deliver(&mut self, to: Address, message: Message) {
        if !self.broker.is_reachable(to) {
            return;
        }
        match to {
            Address::Coordinator(place) => {
                let epoch = self.nodes[place].epoch;
                self.reach_node(place, epoch, Inbound::Message(message));
            }
            Address::Worker(place) => self.reach_worker(place, message),
        }
    }

    /// A coordinator reads a message.
    pub(super) fn read_message(&mut self, place: usize, arrived: Moment, message: Message) {
        let event = match message {
            Message::FromWorker(said) => {
                self.read_said(place, arrived, said);
                return;
            }
            Message::LeaderElected(elected) => {
                let heard = self.nodes[place].process.as_ref();
                let heard = heard.map(|process| process.core.generation_heard());
                if heard.is_none_or(|heard| elected.generation <= heard) {
                    return;
                }
                Event::GenerationSeen(elected.generation)
            }
            Message::LeaderResigned(generation) => Event::LeaderResigned(generation),
            // Hints are for whoever leads.
            Message::WorkloadsHinted(_) | Message::WorkersHinted | Message::CustomersHinted(_)
                if !self.leads(place) =>
            {
                return;
            }
            Message::WorkloadsHinted(ids) => Event::WorkloadsHinted(ids),
            Message::WorkersHinted => Event::WorkersHinted,
            Message::CustomersHinted(ids) => Event::CustomersHinted(ids),
            Message::Probe { nonce } => Event::ProbeHeard { nonce },
            Message::KeyRevoked(_)
            | Message::Answer(_)
            | Message::Command(_)
            | Message::Unheard(_) => return,
        };
        self.hand(place, &event);
    }
}
