use proptest::prelude::*;

use super::*;

/// How a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// A page of this many blocks after so many milliseconds.
    Honest(u64, u64),
    /// It has blocks up to this height.
    Short(u64),
    /// A byte a page.
    Drip,
    Silent,
    Liar,
}

use Manner::{Drip, Honest, Liar, Short, Silent};

const BLOCK_BYTES: usize = 1_000;
/// The mesh's time-out.
const TIMEOUT_MS: u64 = 20_000;

struct Sim {
    plan: Plan<Height>,
    now: u64,
    head: Height,
    peers: Vec<(Peer, Manner)>,
    /// Answers by the time at which they come.
    answers: BTreeMap<(u64, u64), Download>,
    /// Who was asked how often.
    asked: BTreeMap<PublicKey, u64>,
    most_at_a_time: usize,
    most_ready: usize,
}

fn peer(number: u8, is_validator: bool) -> Peer {
    Peer { key: PublicKey::from_bytes([number; 32]), is_validator }
}

impl Sim {
    /// Peers, of which the last is no validator.
    fn new(manners: &[Manner]) -> Self {
        let last = manners.len() - 1;
        let peers = manners.iter().enumerate().map(|(i, manner)| (peer(u8::try_from(i).unwrap(), i != last), *manner));
        let plan = Plan::new(UnixMillis::ZERO, Height::ZERO);
        Self {
            plan,
            now: 0,
            head: Height::ZERO,
            peers: peers.collect(),
            answers: BTreeMap::new(),
            asked: BTreeMap::new(),
            most_at_a_time: 0,
            most_ready: 0,
        }
    }

    fn ask(&mut self, id: u64, download: Download) {
        *self.asked.entry(download.peer).or_default() += 1;
        let manner = self.peers.iter().find(|(peer, _)| peer.key == download.peer).unwrap().1;
        let takes = match manner {
            Honest(takes, _) => takes,
            Short(_) | Liar => 20,
            Drip => 1_000,
            Silent => TIMEOUT_MS,
        };
        self.answers.insert((self.now + takes, id), download);
    }

    fn outcome(&self, download: &Download) -> Result<Page<Height>, Fault> {
        let manner = self.peers.iter().find(|(peer, _)| peer.key == download.peer).unwrap().1;
        let page = |last: u64| {
            let heights = (download.next.get()..=download.to.get().min(last)).map(Height::new);
            let blocks: Vec<_> = heights.map(|height| (height, BLOCK_BYTES)).collect();
            if blocks.is_empty() { Err(Fault::Nothing) } else { Ok(Page { bytes: blocks.len() * BLOCK_BYTES, blocks }) }
        };
        match manner {
            Honest(_, blocks) => page(download.next.get() + blocks - 1),
            Short(last) => page(last),
            Drip => Ok(Page { blocks: Vec::new(), bytes: 1 }),
            Silent => Err(Fault::Silent("time-out".to_owned())),
            Liar => Err(Fault::Lie("not decided")),
        }
    }

    /// Runs until the target is stored, or so long; the time it took.
    fn run(&mut self, target: u64, at_most_ms: u64) -> Option<u64> {
        while self.now < at_most_ms {
            let now = UnixMillis::new(self.now);
            self.plan.follow(now, self.head, Height::new(target));
            while let Some(block) = self.plan.next_ready() {
                assert_eq!(block, self.head.next(), "in order");
                self.head = block;
                self.plan.follow(now, self.head, Height::new(target));
            }
            if self.head.get() == target {
                return Some(self.now);
            }
            let peers: Vec<_> = self.peers.iter().map(|(peer, _)| *peer).collect();
            for Ask { id, download } in self.plan.assign(now, &peers) {
                self.ask(id, download);
            }
            let at_work: Vec<_> = self.plan.running.values().map(|it| it.peer.key).collect();
            assert_eq!(at_work.iter().collect::<BTreeSet<_>>().len(), at_work.len(), "one download of a peer");
            self.most_at_a_time = self.most_at_a_time.max(at_work.len());
            self.most_ready = self.most_ready.max(self.plan.ready_bytes);
            let tick = self.now + 500;
            let due = self.answers.first_key_value().map(|(key, _)| *key).filter(|(at, _)| *at <= tick);
            let Some((at, id)) = due else {
                self.now = tick;
                continue;
            };
            self.now = at;
            let download = self.answers.remove(&(at, id)).unwrap();
            let outcome = self.outcome(&download);
            if let Some(download) = self.plan.ended(UnixMillis::new(at), id, download, outcome) {
                self.ask(id, download);
            }
        }
        None
    }

    fn asked(&self, number: u8) -> u64 {
        self.asked.get(&peer(number, true).key).copied().unwrap_or(0)
    }
}

#[test]
fn several_peers_are_asked_at_once_one_of_them_no_validator() {
    let mut sim = Sim::new(&[Honest(100, 16); 8]);
    let took = sim.run(1_000, 60_000).unwrap();
    assert_eq!(sim.most_at_a_time, SLOTS);
    assert!(sim.asked(7) > 0, "the one that is no validator");
    // Alone, one peer brings 16 blocks in 100 ms.
    assert!(took * 3 < 1_000 / 16 * 100, "{took} ms");
}

#[test]
fn one_block_is_asked_of_one_peer() {
    let mut sim = Sim::new(&[Honest(100, 16); 8]);
    assert_eq!(sim.run(1, 60_000), Some(100));
    assert_eq!(sim.asked.values().sum::<u64>(), 1);
}

#[test]
fn a_peer_that_is_silent_holds_up_what_comes_next_for_moments() {
    let mut sim = Sim::new(&[Silent, Honest(100, 64), Honest(100, 64)]);
    let took = sim.run(64, 60_000).unwrap();
    assert!((2_000..3_500).contains(&took), "{took} ms");
}

#[test]
fn a_peer_that_drips_is_overtaken_and_loses_its_turn() {
    let mut sim = Sim::new(&[Honest(1_000, 1), Honest(100, 64), Honest(100, 64)]);
    let took = sim.run(64, 60_000).unwrap();
    assert!(took < 4_000, "{took} ms");
    let asked = sim.asked(0);
    assert!(sim.run(640, 60_000).is_some());
    assert_eq!(sim.asked(0), asked, "it is not asked again while others are there");
}

#[test]
fn peers_that_bring_a_byte_at_a_time_do_not_hold_the_chain_up() {
    let mut sim = Sim::new(&[Drip, Drip, Drip, Drip, Drip, Drip, Honest(100, 64)]);
    let took = sim.run(640, 60_000).unwrap();
    assert!(took < 60_000, "{took} ms");
}

#[test]
fn a_peer_that_lied_is_not_asked_again_even_alone() {
    let mut sim = Sim::new(&[Liar]);
    assert_eq!(sim.run(64, 300_000), None);
    assert_eq!(sim.asked(0), 1);
    let mut sim = Sim::new(&[Liar, Liar, Liar, Honest(50, 64)]);
    assert!(sim.run(640, 60_000).is_some());
    assert!((0..3).all(|liar| sim.asked(liar) <= 1));
}

#[test]
fn a_peer_without_the_blocks_is_asked_again_when_there_is_nobody_else() {
    let mut sim = Sim::new(&[Short(10)]);
    assert_eq!(sim.run(20, 10_000), None);
    assert_eq!(sim.head, Height::new(10));
    // Not more often than it would be if nobody else asked it anything: it answers 32 questions a second.
    let asked: u64 = sim.asked.values().sum();
    assert!((15..=22).contains(&asked), "{asked} questions in 10 s");
    sim.peers[0].1 = Honest(50, 64);
    assert!(sim.run(20, 20_000).is_some());
}

#[test]
fn a_peer_that_leaves_gives_its_range_to_another() {
    let mut sim = Sim::new(&[Silent, Honest(100, 64)]);
    let peers: Vec<_> = sim.peers.iter().map(|(peer, _)| *peer).collect();
    sim.plan.follow(UnixMillis::ZERO, Height::ZERO, Height::new(10));
    let asks = sim.plan.assign(UnixMillis::ZERO, &peers[..1]);
    assert_eq!(asks.len(), 1);
    let asks = sim.plan.assign(UnixMillis::new(1), &peers[1..]);
    assert_eq!(asks.first().map(|ask| (ask.download.peer, ask.download.next)), Some((peers[1].key, Height::new(1))));
    assert!(!sim.plan.is_running(0));
}

#[test]
fn blocks_that_the_driver_never_stores_are_fetched_again() {
    let mut plan = Plan::new(UnixMillis::ZERO, Height::ZERO);
    plan.follow(UnixMillis::ZERO, Height::ZERO, Height::new(1));
    let peers = [peer(1, true)];
    let Ask { id, download } = plan.assign(UnixMillis::ZERO, &peers).remove(0);
    plan.ended(UnixMillis::ZERO, id, download, Ok(Page { blocks: vec![(Height::new(1), 1)], bytes: 1 }));
    assert_eq!(plan.next_ready(), Some(Height::new(1)));
    assert!(plan.assign(UnixMillis::new(1), &peers).is_empty());
    plan.follow(UnixMillis::ZERO.after(STORING), Height::ZERO, Height::new(1));
    assert_eq!(plan.assign(UnixMillis::ZERO.after(STORING), &peers).len(), 1);
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        (1..3_000u64, 1..80u64).prop_map(|(takes, blocks)| Honest(takes, blocks)),
        (0..300u64).prop_map(Short),
        Just(Drip),
        Just(Silent),
        Just(Liar),
    ]
}

proptest! {
    /// One good peer is enough, whoever else is there.
    #[test]
    fn with_one_good_peer_the_target_is_reached(
        manners in prop::collection::vec(manner(), 0..8),
        place in 0..8usize,
        target in 1..600u64,
    ) {
        let mut manners = manners;
        manners.insert(place.min(manners.len()), Honest(100, 64));
        let mut sim = Sim::new(&manners);
        // Every range may first go to others, of whom each costs a time-out at most.
        prop_assert!(sim.run(target, 600_000).is_some(), "{:?}", sim.plan);
        prop_assert!(sim.most_at_a_time <= SLOTS);
        prop_assert!(sim.most_ready <= MAX_READY_BYTES + usize::try_from(RANGE).unwrap() * BLOCK_BYTES * SLOTS);
    }
}
