//! Several nodes on a model of the lease row, whose statements and answers are delayed, lost and
//! doubled at will; and one node fed with anything at the edges of the number range.

use super::*;
use alloc::{collections::BTreeMap, format};
use proptest::prelude::*;

type Row = (usize, Generation, Duration, bool);

/// The row, judged by a clock that is the nodes' here.
#[derive(Debug)]
struct Database {
    holder: usize,
    generation: Generation,
    expires_at: Timestamp,
    resigned: bool,
}

/// What is on its way.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Statement(usize, Step),
    Answer(usize, Answer),
    Resigned(Generation),
    Probe(usize, u64),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Taken(AskId, Generation),
    Refused(AskId, Row),
    Read(AskId, Row),
    Renewed(AskId, Generation),
    Lost(Generation),
    Unknown(AskId),
}

struct World {
    nodes: Vec<Leadership>,
    database: Database,
    sent: Vec<Sent>,
    now: Timestamp,
    /// Which node each generation belonged to.
    terms: BTreeMap<Generation, usize>,
}

fn name(node: usize) -> Incarnation {
    format!("n{node}").parse().unwrap()
}

impl World {
    fn new(nodes: usize) -> Self {
        let config = |node| Config {
            enable_ha: true,
            ..Config::new(name(node), u64::try_from(node).unwrap())
        };
        Self {
            nodes: (0..nodes)
                .map(|node| Leadership::new(&config(node)))
                .collect(),
            database: Database {
                holder: usize::MAX,
                generation: Generation::ZERO,
                expires_at: Timestamp::ZERO,
                resigned: false,
            },
            sent: Vec::new(),
            now: Timestamp(1),
            terms: BTreeMap::new(),
        }
    }

    fn input(
        &mut self,
        node: usize,
        input: impl FnOnce(&mut Leadership, Timestamp, &mut Vec<Step>),
    ) {
        let mut steps = Vec::new();
        input(&mut self.nodes[node], self.now, &mut steps);
        for step in steps {
            match step {
                Step::Take { .. }
                | Step::Read { .. }
                | Step::Renew { .. }
                | Step::Resign { .. } => {
                    self.sent.push(Sent::Statement(node, step));
                }
                Step::Announce { generation } => self.sent.push(Sent::Resigned(generation)),
                Step::Probe { nonce } => self.sent.push(Sent::Probe(node, nonce)),
                Step::TermBegan { generation } => {
                    let last = self.terms.last_key_value().map(|(last, _)| *last);
                    assert!(last < Some(generation), "generations grow");
                    self.terms.insert(generation, node);
                }
                Step::TermEnded { generation, .. } => {
                    assert_eq!(self.terms.get(&generation), Some(&node));
                }
                Step::Exit { .. } => panic!("a node with enable_ha exits"),
            }
        }
        let trusts = |node: &&Leadership| node.trusted_until().is_some_and(|at| self.now < at);
        assert!(
            self.nodes.iter().filter(trusts).count() <= 1,
            "two nodes trust their lease"
        );
    }

    fn row(&self) -> Row {
        let Database {
            holder,
            generation,
            expires_at,
            resigned,
        } = self.database;
        (holder, generation, expires_at.since(self.now), resigned)
    }

    fn execute(&mut self, node: usize, statement: Step) -> Option<Answer> {
        let row = self.row();
        let (now, database) = (self.now, &mut self.database);
        match statement {
            Step::Take {
                ask, above, own, ..
            } => {
                let mine = database.holder == node && own == Some(database.generation);
                if database.expires_at >= now && !database.resigned && !mine {
                    return Some(Answer::Refused(ask, row));
                }
                *database = Database {
                    holder: node,
                    generation: database.generation.max(above).next(),
                    expires_at: now.plus(TTL),
                    resigned: false,
                };
                Some(Answer::Taken(ask, database.generation))
            }
            Step::Read { ask, .. } => Some(Answer::Read(ask, row)),
            Step::Renew {
                ask, generation, ..
            } => {
                if database.generation != generation || database.resigned {
                    return Some(Answer::Lost(generation));
                }
                database.expires_at = now.plus(TTL);
                Some(Answer::Renewed(ask, generation))
            }
            Step::Resign { generation } => {
                database.resigned |= database.generation == generation;
                self.input(node, |l, _, steps| l.on_resigned(generation, steps));
                None
            }
            Step::Announce { .. }
            | Step::Probe { .. }
            | Step::TermBegan { .. }
            | Step::TermEnded { .. }
            | Step::Exit { .. } => None,
        }
    }

    fn deliver(&mut self, sent: Sent) {
        match sent {
            Sent::Statement(node, statement) => {
                if let Some(answer) = self.execute(node, statement) {
                    self.sent.push(Sent::Answer(node, answer));
                }
            }
            Sent::Answer(node, answer) => self.input(node, |l, now, steps| {
                tell(l, answer, now, steps);
            }),
            Sent::Resigned(generation) => {
                for node in 0..self.nodes.len() {
                    self.input(node, |l, now, steps| {
                        l.on_leader_resigned(generation, now, steps)
                    });
                }
            }
            Sent::Probe(node, nonce) => {
                self.input(node, |l, now, steps| l.on_probe_heard(nonce, now, steps));
            }
        }
    }

    /// The outcome is unknown to the node; the statement may land, at once or never.
    fn fail(&mut self, sent: Sent, lands: bool) {
        if let Sent::Statement(node, statement) = sent {
            if lands {
                self.execute(node, statement);
            }
            if let Step::Take { ask, .. } | Step::Read { ask, .. } | Step::Renew { ask, .. } =
                statement
            {
                self.sent.push(Sent::Answer(node, Answer::Unknown(ask)));
            }
        }
    }

    fn pick(&self, index: usize) -> Option<usize> {
        (!self.sent.is_empty()).then(|| index % self.sent.len())
    }

    fn take(&mut self, act: &Act) {
        let count = self.nodes.len();
        match *act {
            Act::Deliver(index) => {
                if let Some(index) = self.pick(index) {
                    let sent = self.sent.remove(index);
                    self.deliver(sent);
                }
            }
            Act::Double(index) => {
                if let Some(index) = self.pick(index) {
                    self.sent.push(self.sent[index]);
                }
            }
            Act::Fail { index, lands } => {
                if let Some(index) = self.pick(index) {
                    let sent = self.sent.remove(index);
                    self.fail(sent, lands);
                }
            }
            Act::Wait(millis) => self.now = self.now.plus(Duration::from_millis(millis)),
            Act::Tick(node) => self.input(node % count, Leadership::on_tick),
            Act::Doubt(node) => self.input(node % count, Leadership::on_doubt),
            Act::Peer { node, above } => {
                let generation = Generation(self.database.generation.0 + above);
                self.input(node % count, |l, now, steps| {
                    l.on_peer_generation(generation, now, steps);
                });
            }
        }
    }

    /// Everything works again: what is sent arrives, and every node wakes when it asked to.
    fn heal(&mut self, time: Duration) {
        let end = self.now.plus(time);
        let mut wakes = 0;
        while self.now < end {
            while !self.sent.is_empty() {
                let sent = self.sent.remove(0);
                self.deliver(sent);
            }
            let due = self
                .nodes
                .iter()
                .filter_map(Leadership::next_deadline)
                .min()
                .unwrap();
            self.now = due.max(self.now.plus(Duration::from_millis(1)));
            for node in 0..self.nodes.len() {
                self.input(node, Leadership::on_tick);
            }
            wakes += 1;
        }
        assert!(
            wakes < 500,
            "a deadline that nothing comes of makes a driver spin"
        );
    }
}

fn tell(node: &mut Leadership, answer: Answer, now: Timestamp, steps: &mut Vec<Step>) {
    let lease = |(holder, generation, remaining, resigned)| LeaseRow {
        incarnation: name(holder),
        generation,
        remaining,
        resigned,
    };
    match answer {
        Answer::Taken(ask, generation) => node.on_taken(ask, generation, now, steps),
        Answer::Refused(ask, row) => node.on_refused(ask, &lease(row), now, steps),
        Answer::Read(ask, row) => node.on_lease_read(ask, &lease(row), now, steps),
        Answer::Renewed(ask, generation) => node.on_renewed(ask, generation, now, steps),
        Answer::Lost(generation) => node.on_renewal_refused(generation, now, steps),
        Answer::Unknown(ask) => {
            node.on_take_unknown(ask, now, steps);
            node.on_unanswered(ask, now, steps);
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Deliver(usize),
    Double(usize),
    Fail { index: usize, lands: bool },
    Wait(u64),
    Tick(usize),
    Doubt(usize),
    Peer { node: usize, above: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => any::<usize>().prop_map(Act::Deliver),
        1 => any::<usize>().prop_map(Act::Double),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(index, lands)| Act::Fail { index, lands }),
        3 => prop_oneof![0_u64..500, 0_u64..15_000].prop_map(Act::Wait),
        6 => any::<usize>().prop_map(Act::Tick),
        1 => any::<usize>().prop_map(Act::Doubt),
        1 => (any::<usize>(), 0_u64..3).prop_map(|(node, above)| Act::Peer { node, above }),
    ]
}

proptest! {
    #[test]
    fn at_most_one_node_trusts_its_lease_and_soon_one_leads(
        nodes in 1_usize..4,
        acts in proptest::collection::vec(act(), 0..200),
    ) {
        let mut world = World::new(nodes);
        for act in &acts {
            world.take(act);
        }
        world.heal(TTL * 4);
        let leaders = world.nodes.iter().filter(|node| node.term().is_some()).count();
        prop_assert_eq!(leaders, 1);
    }

    #[test]
    fn nothing_overflows_and_no_term_outlives_its_deadline(
        enable_ha in any::<bool>(),
        seed in any::<u64>(),
        ttl in prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), Just(TTL)],
        inputs in proptest::collection::vec((0_u8..12, edge(), edge(), edge()), 0..60),
    ) {
        let me: Incarnation = "me".parse().unwrap();
        let config = Config { enable_ha, leader_lease_ttl: ttl, ..Config::new(me, seed) };
        let mut node = Leadership::new(&config);
        let mut led = None;
        for (kind, now, number, other) in inputs {
            let mut steps = Vec::new();
            feed(&mut node, kind, Timestamp(now), number, other, &mut steps);
            for step in steps {
                match step {
                    Step::TermBegan { generation } => {
                        prop_assert_eq!(led, None);
                        led = Some(generation);
                    }
                    Step::TermEnded { generation, .. } => {
                        prop_assert_eq!(led.take(), Some(generation));
                    }
                    Step::Take { .. } | Step::Read { .. } | Step::Renew { .. }
                    | Step::Resign { .. } | Step::Announce { .. } | Step::Probe { .. }
                    | Step::Exit { .. } => {}
                }
            }
            prop_assert_eq!(led, node.term());
            let trusted = node.trusted_until();
            if kind != RESIGNED {
                prop_assert!(trusted.is_none_or(|deadline| Timestamp(now) < deadline));
            }
        }
    }
}

/// The kind of input that takes no moment.
const RESIGNED: u8 = 11;

fn edge() -> impl Strategy<Value = u64> {
    let largest = i64::MAX.cast_unsigned();
    prop_oneof![
        0_u64..20,
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(largest),
        any::<u64>()
    ]
}

fn feed(
    node: &mut Leadership,
    kind: u8,
    now: Timestamp,
    number: u64,
    other: u64,
    steps: &mut Vec<Step>,
) {
    // Mostly the last ask, which is the one that an answer is waited for.
    let ask = if number.is_multiple_of(4) {
        AskId(number)
    } else {
        node.next_ask
    };
    let generation = Generation(other);
    let holder = if number.is_multiple_of(2) {
        "me"
    } else {
        "other"
    };
    let resigned = number.is_multiple_of(3);
    let row = LeaseRow {
        resigned,
        ..row(holder, other, Duration::from_nanos(number))
    };
    match kind {
        0 | 1 => node.on_tick(now, steps),
        2 => node.on_taken(ask, generation, now, steps),
        3 => node.on_refused(ask, &row, now, steps),
        4 => node.on_take_unknown(ask, now, steps),
        5 => node.on_lease_read(ask, &row, now, steps),
        6 => node.on_renewed(ask, node.term().unwrap_or(generation), now, steps),
        7 => node.on_renewal_refused(node.term().unwrap_or(generation), now, steps),
        8 => node.on_unanswered(ask, now, steps),
        9 => node.on_peer_generation(generation, now, steps),
        10 => node.on_doubt(now, steps),
        _ => node.on_resigned(generation, steps),
    }
}
