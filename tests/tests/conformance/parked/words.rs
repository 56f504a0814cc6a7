//! What the coordinators of a cell ask for.

use sim::conformance::{BatchWords, CounterWords, MoveWords, Op, WorkerWords};

/// What a batch is made of, beside a worker's row and a customer's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: nothing but the fence keeps it from landing twice.
    Counts,
    /// The workload of the customer is given to the worker.
    Moves,
}

/// The first batch of a term, for a customer whose workload, and whose worker, has the same number.
pub(super) fn batch(node: usize, generation: u64, customer: u8, content: Content) -> Op {
    Op::Persist(batch_words(node, generation, customer, content))
}

pub(super) fn batch_words(
    node: usize,
    generation: u64,
    customer: u8,
    content: Content,
) -> BatchWords {
    let given = MoveWords {
        workload: customer,
        customer,
        from: (String::from("PENDING"), 0),
        to: (String::from("SCHEDULED"), 1),
        worker: Some((customer, 1)),
        wish_seen: 0,
        eligible: 0,
        stopping: None,
        error: None,
        kinds: vec![String::from("workload.scheduled")],
    };
    let put = WorkerWords::Put {
        worker: customer,
        start: 1,
        status: String::from("HEALTHY"),
        wish_seen: 0,
        registered: true,
        bad: false,
    };
    let counter = CounterWords {
        customer,
        left_queue: 1,
        running: 1,
    };
    BatchWords {
        generation,
        node,
        number: 1,
        moves: if content == Content::Moves {
            vec![given]
        } else {
            Vec::new()
        },
        workers: vec![put],
        counters: vec![counter],
    }
}

pub(super) fn take(own: Option<u64>, long: bool) -> Op {
    Op::TakeLease {
        above: 0,
        own,
        force: false,
        long,
    }
}

/// The workload of a customer, which has the customer's number.
pub(super) const fn submit(customer: u8) -> Op {
    Op::Submit {
        customer,
        workload: customer,
        key: None,
        priority: 0,
    }
}

/// The first wish of it. Whoever comes behind another one is told that he was overtaken, and that too
/// only once the other's is committed.
pub(super) fn wish(customer: u8, desired: &str) -> Op {
    Op::Wish {
        customer,
        workload: customer,
        desired: desired.to_owned(),
        upon: 0,
    }
}
