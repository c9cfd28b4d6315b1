//! The manager as a whole: its bounds under any sequence of events, and who gets in when slots are full.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::bounds::Near;
use super::testing::TIMING;
use super::*;

const BOUNDS: Bounds = Bounds {
    total: 192,
    inbound: 144,
    per_peer: 3,
    near: Some(Near { per_host: 12, per_group: 48, pending_per_host: 8 }),
    pending_inbound: 256,
    pending_outbound: 32,
    target: 48,
    known: 1024,
};
const SMALL: Bounds = Bounds {
    total: 12,
    inbound: 6,
    per_peer: 2,
    near: Some(Near { per_host: 3, per_group: 4, pending_per_host: 2 }),
    pending_inbound: 5,
    pending_outbound: 3,
    target: 4,
    known: 16,
};
/// The only trusted peers of the tests below.
const TRUSTED: [u32; 3] = [1, 2, 3];
/// Nobody else has its addresses.
const HONEST: (u32, [u8; 4]) = (9_000, [203, 0, 113, 1]);

impl Address for [u8; 4] {
    fn ip(&self) -> Option<IpAddr> {
        Some(IpAddr::from(*self))
    }
}

type Manager = PeerManager<u64, u32, [u8; 4]>;

/// A manager with its connections, as a swarm would drive it.
struct World {
    manager: Manager,
    now: Instant,
    next: u64,
    open: BTreeMap<u64, (u32, Direction, [u8; 4])>,
    evicted: Vec<u32>,
    /// Connections that we close do not end.
    is_stuck: bool,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let mut manager = Manager::new(0, bounds, TIMING, [7; 32]);
        manager.set_validators(TRUSTED.into());
        Self { manager, now: Instant::now(), next: 0, open: BTreeMap::new(), evicted: Vec::new(), is_stuck: false }
    }

    /// As this node's own choice, if it dials.
    fn arrive(&mut self, peer: u32, ip: [u8; 4], direction: Direction) -> Result<u64, Refusal> {
        if direction == Direction::Outbound {
            self.manager.learn(self.now, peer, [ip], Source::ThirdParty);
            self.manager.dialling(&peer);
        }
        self.connect(peer, ip, direction)
    }

    fn connect(&mut self, peer: u32, ip: [u8; 4], direction: Direction) -> Result<u64, Refusal> {
        let Arrival { verdict, evicted, close } = self.manager.arrives(self.now, peer, ip.ip(), direction);
        self.evicted.extend(evicted);
        let is_stuck = self.is_stuck;
        for (_, id) in close.into_iter().filter(|_| !is_stuck) {
            self.close(id);
        }
        if direction == Direction::Outbound && verdict.is_err() {
            self.manager.dial_not_sent(self.now, &peer);
        }
        verdict?;
        self.next += 1;
        let dialled = (direction == Direction::Outbound).then_some(ip);
        self.manager.established(self.now, self.next, peer, ip.ip(), direction, dialled);
        self.manager.identified(&peer);
        self.open.insert(self.next, (peer, direction, ip));
        Ok(self.next)
    }

    fn inbound(&mut self, peer: u32, ip: [u8; 4]) -> Result<u64, Refusal> {
        self.arrive(peer, ip, Direction::Inbound)
    }

    fn close(&mut self, id: u64) {
        self.manager.closed(self.now, &id);
        self.open.remove(&id);
    }

    fn is_connected(&self, peer: u32) -> bool {
        self.open.values().any(|(other, ..)| *other == peer)
    }

    fn classes(&self, class: PeerClass) -> usize {
        self.open.values().filter(|(peer, ..)| self.manager.class(peer) == class).count()
    }

    /// Strangers from all over the world, until no slot is free.
    fn fill(&mut self, n: u32) {
        for i in 0..n {
            let [_, _, high, low] = i.to_be_bytes();
            let _refused = self.inbound(1_000 + i, [10, high, low, 1]);
        }
    }
}

#[test]
fn full_slots_let_an_honest_and_a_trusted_peer_in() {
    for strangers in [50, 150, 1_000] {
        let mut world = World::new(BOUNDS);
        world.fill(strangers);
        assert_eq!(world.classes(PeerClass::Inbound), 144.min(usize::try_from(strangers).unwrap_or(0)));
        assert!(world.inbound(HONEST.0, HONEST.1).is_ok());
        // Even at a host and in a group that strangers have filled.
        assert!(world.inbound(TRUSTED[0], [10, 0, 0, 1]).is_ok());
        assert!(world.is_connected(HONEST.0) && world.is_connected(TRUSTED[0]));
    }
}

/// The control: it is eviction that lets them in.
#[test]
fn where_nobody_can_be_evicted_a_newcomer_is_refused() {
    let mut world = World::new(BOUNDS);
    world.manager.set_validators((1_000..2_000).collect());
    world.fill(192);
    assert_eq!(world.inbound(HONEST.0, HONEST.1), Err(Refusal::Total));
    assert!(world.evicted.is_empty());
    world.manager.set_validators((1_001..2_000).collect());
    assert!(world.inbound(HONEST.0, HONEST.1).is_ok());
    assert_eq!(world.evicted, [1_000]);
}

#[test]
fn a_party_that_goes_on_arriving_evicts_itself() {
    let mut world = World::new(BOUNDS);
    for i in 0..100u8 {
        assert!(world.inbound(u32::from(i) + 100, [20, i, 0, 1]).is_ok());
    }
    for i in 0..1_000u32 {
        // Four hosts of one group, and as many identities as they like.
        let _refused = world.inbound(1_000 + i, [66, 0, 0, u8::try_from(i % 4).unwrap_or(0)]);
    }
    assert!((100..200).all(|peer| world.is_connected(peer)), "whoever is from elsewhere stays");
    // The control: whoever has more groups than anybody gets a newcomer out again, though not those that have been here for long.
    let mut wide = World::new(BOUNDS);
    wide.fill(143);
    assert!(wide.inbound(HONEST.0, HONEST.1).is_ok());
    assert!(wide.inbound(2_000, [30, 0, 0, 1]).is_ok());
    assert_eq!(wide.evicted, [HONEST.0]);
}

#[test]
fn whom_lookups_dial_takes_slots_of_inbound_peers_only() {
    let mut world = World::new(BOUNDS);
    for i in 0..250u8 {
        assert!(world.connect(u32::from(i) + 1_000, [10, i, 0, 1], Direction::Outbound).is_ok());
    }
    assert_eq!((world.open.len(), world.classes(PeerClass::Inbound)), (144, 144));
    assert!(world.inbound(HONEST.0, HONEST.1).is_ok());
    world.manager.learn(world.now, 500, [[30, 0, 0, 1]], Source::ThirdParty);
    assert_eq!(world.manager.due(world.now).len(), 1, "nor do they stop dialling");
    // The control: the application wanted these, and they stay.
    let mut world = World::new(BOUNDS);
    for i in 0..192u8 {
        assert!(world.connect(u32::from(i) + 1_000, [10, i, 0, 1], Direction::Outbound).is_ok());
        world.manager.choose(&(u32::from(i) + 1_000));
    }
    assert_eq!(world.inbound(HONEST.0, HONEST.1), Err(Refusal::Total));
}

#[test]
fn connections_that_do_not_end_are_bounded_and_cost_their_host() {
    let mut world = World { is_stuck: true, ..World::new(BOUNDS) };
    world.fill(144);
    assert!(world.inbound(HONEST.0, HONEST.1).is_ok());
    for i in 0..200u8 {
        let _refused = world.inbound(5_000 + u32::from(i), [20, i, 0, 1]);
    }
    assert_eq!(world.open.len(), 144 + Limits::CLOSING);
    assert_eq!(world.inbound(500, [30, 0, 0, 1]), Err(Refusal::Closing));
    assert!(world.inbound(TRUSTED[0], HONEST.1).is_ok(), "but not for these");

    let mut world = World { is_stuck: true, ..World::new(Bounds { inbound: 6, ..BOUNDS }) };
    for i in 0..100 {
        let _refused = world.inbound(1_000 + i, [66, 0, 0, 1]);
    }
    assert_eq!(world.open.len(), 12);
    assert!(world.inbound(HONEST.0, HONEST.1).is_ok());
}

#[test]
fn a_host_and_a_group_have_bounds_unless_addresses_are_shared() {
    let mut world = World::new(BOUNDS);
    for i in 0..12 {
        assert!(world.inbound(100 + i, [66, 0, 0, 1]).is_ok());
    }
    assert_eq!(world.inbound(200, [66, 0, 0, 1]), Err(Refusal::PerHost));
    assert!(world.arrive(200, [66, 0, 0, 1], Direction::Outbound).is_ok(), "we wanted this one");
    for i in 12..48 {
        assert!(world.inbound(100 + i, [66, 0, 0, u8::try_from(i / 12 + 1).unwrap_or(0)]).is_ok());
    }
    assert!(world.evicted.is_empty());
    assert!(world.inbound(HONEST.0, [66, 0, 0, 99]).is_ok(), "somebody of the group makes room");
    assert_eq!(world.evicted.len(), 1);
    let mut shared = World::new(Bounds { near: None, ..BOUNDS });
    for i in 0..144 {
        assert!(shared.inbound(100 + i, [127, 0, 0, 1]).is_ok());
    }
    assert!(shared.evicted.is_empty());
}

#[test]
fn a_peer_that_comes_back_makes_room_for_itself() {
    let mut world = World::new(SMALL);
    let first = world.inbound(100, [20, 0, 0, 1]);
    assert!(first.is_ok() && world.inbound(100, [20, 0, 0, 1]).is_ok());
    let arrival = world.manager.arrives(world.now, 100, [20, 0, 0, 1].ip(), Direction::Inbound);
    assert_eq!(arrival.verdict, Err(Refusal::PerPeer));
    assert_eq!(arrival.close, [(100, 1)]);
}

#[test]
fn a_banned_peer_that_comes_back_costs_no_more_handshakes_until_its_ban_ends() {
    let mut world = World::new(BOUNDS);
    let (ip, now) = ([66, 0, 0, 1], world.now);
    let end = now + Duration::from_secs(60);
    let begins = |world: &mut World, now, ip: [u8; 4]| {
        world.next += 1;
        let begun = world.manager.handshake_begins(now, world.next, ip.ip(), Direction::Inbound);
        world.manager.handshake_ended(&world.next);
        begun
    };
    world.manager.ban(now, 100, end);
    assert_eq!(begins(&mut world, now, ip), Ok(()), "who it is shows at the end of the handshake");
    assert_eq!(world.inbound(100, ip), Err(Refusal::Banned));
    assert_eq!(begins(&mut world, now, ip), Err(Refusal::BannedHost));
    assert_eq!(begins(&mut world, now, [66, 0, 0, 2]), Ok(()));
    assert_eq!(begins(&mut world, end, ip), Ok(()));
    assert!(world.manager.check_ban(end, &100).is_ok());

    // Neither where a trusted peer is, nor where addresses say nothing.
    let mut world = World::new(BOUNDS);
    assert!(world.inbound(TRUSTED[0], ip).is_ok());
    let mut shared = World::new(Bounds { near: None, ..BOUNDS });
    for world in [&mut world, &mut shared] {
        world.manager.ban(now, 100, end);
        assert_eq!(world.inbound(100, ip), Err(Refusal::Banned));
        assert_eq!(begins(world, now, ip), Ok(()));
    }
}

#[test]
fn idle_sockets_of_one_host_or_group_leave_room_for_other_handshakes() {
    let mut world = World::new(BOUNDS);
    let begin = |world: &mut World, ip: [u8; 4]| {
        world.next += 1;
        world.manager.handshake_begins(world.now, world.next, ip.ip(), Direction::Inbound)
    };
    for host in 0..9u8 {
        for n in 0..9 {
            let expected = match (host, n) {
                (8, _) => Err(Refusal::PendingPerGroup),
                (_, 8) => Err(Refusal::PendingPerHost),
                _ => Ok(()),
            };
            assert_eq!(begin(&mut world, [66, 0, 0, host]), expected);
        }
    }
    assert_eq!(begin(&mut world, HONEST.1), Ok(()));
    // The control: hosts all over the world do fill the slots.
    for i in 0..250 {
        let _refused = begin(&mut world, [20, i, 0, 1]);
    }
    assert_eq!(begin(&mut world, [30, 0, 0, 1]), Err(Refusal::PendingInbound));
}

#[test]
fn inbound_strangers_do_not_stop_dialling() {
    let mut world = World::new(BOUNDS);
    for i in 0..100u8 {
        let peer = u32::from(i) + 100;
        world.manager.learn(world.now, peer, [[30, i, 0, 1]], Source::ThirdParty);
    }
    world.fill(150);
    let mut dialled = 0;
    for _ in 0..20 {
        for (peer, addresses) in world.manager.due(world.now) {
            dialled += 1;
            assert!(world.arrive(peer, addresses[0], Direction::Outbound).is_ok());
        }
    }
    assert_eq!(dialled, 48);
    // The control: outbound peers do, but not for those that are always dialled.
    world.manager.configure(world.now, 500, [40, 0, 0, 1]);
    assert_eq!(world.manager.due(world.now), [(500, vec![[40, 0, 0, 1]])]);
}

#[test]
fn one_group_is_a_part_of_the_target_and_only_validators_dial_all_validators() {
    let mut world = World::new(BOUNDS);
    for i in 0..100u8 {
        world.manager.learn(world.now, u32::from(i) + 100, [[66, 0, 0, i]], Source::ThirdParty);
    }
    for _ in 0..20 {
        for (peer, addresses) in world.manager.due(world.now) {
            assert!(world.arrive(peer, addresses[0], Direction::Outbound).is_ok());
        }
    }
    assert_eq!(world.classes(PeerClass::Outbound), 8);
    world.manager.learn(world.now, TRUSTED[0], [[66, 0, 0, 200]], Source::ThirdParty);
    assert_eq!(world.manager.due(world.now), []);
    world.manager.set_validators([0, 1].into());
    assert_eq!(world.manager.due(world.now), [(TRUSTED[0], vec![[66, 0, 0, 200]])]);
}

/// Who is being dialled has a place already: one host that lets its dials wait would otherwise have all of them.
#[test]
fn dials_under_way_count_towards_the_target_and_their_group() {
    let mut world = World::new(BOUNDS);
    for i in 0..100u8 {
        world.manager.learn(world.now, u32::from(i) + 100, [[66, 0, 0, i]], Source::ThirdParty);
        world.manager.learn(world.now, u32::from(i) + 300, [[70, i, 0, 1]], Source::ThirdParty);
    }
    let (mut near, mut all) = (0, 0);
    for _ in 0..20 {
        let dialled = world.manager.due(world.now);
        all += dialled.len();
        near += dialled.iter().filter(|(peer, _)| *peer < 300).count();
    }
    assert_eq!((near, all), (8, 48), "nobody has answered, and nobody more is dialled");
}

#[test]
fn a_validator_looks_for_those_whose_place_it_does_not_know() {
    let mut world = World::new(BOUNDS);
    let unknown =
        |world: &World| (0..10).filter_map(|chance| world.manager.unknown_validator(chance)).collect::<BTreeSet<_>>();
    world.manager.set_validators([1, 2, 3].into());
    assert_eq!(unknown(&world), BTreeSet::new(), "it is none itself");
    world.manager.set_validators([0, 1, 2, 3].into());
    assert_eq!(unknown(&world), BTreeSet::from([1, 2, 3]));
    world.manager.learn(world.now, 1, [[66, 0, 0, 1]], Source::ThirdParty);
    assert!(world.inbound(2, HONEST.1).is_ok());
    assert_eq!(unknown(&world), BTreeSet::from([3]));
    // A ban does not make it forget where a validator is.
    world.manager.ban(world.now, 1, world.now + Duration::from_secs(60));
    assert_eq!(unknown(&world), BTreeSet::from([3]));
}

#[test]
fn one_sentence_says_why_for_each_peer() {
    let mut world = World::new(Bounds { target: 1, ..BOUNDS });
    world.fill(20);
    for peer in [200, 201] {
        world.manager.learn(world.now, peer, [[30, 0, 0, 1]], Source::ThirdParty);
    }
    assert!(world.arrive(200, [30, 0, 0, 1], Direction::Outbound).is_ok());
    assert!(world.inbound(TRUSTED[0], HONEST.1).is_ok());
    world.manager.configure(world.now, 202, [40, 0, 0, 1]);
    world.manager.dial_failed(world.now, &202);
    world.manager.ban(world.now, 300, world.now + Duration::from_secs(60));
    let why = world.manager.why(world.now);
    let text = |peer: u32| why.iter().find(|why| why.peer == peer).map_or("", |why| why.text.as_str());
    for (peer, expected) in [
        (TRUSTED[0], "connected for 0 s: it dialled this node; never evicted, because it is a validator"),
        (200, "connected for 0 s: this node dialled it; evicted only for a trusted peer"),
        (201, "not dialled: this node has dialled 1 peers, and wants 1"),
        (202, "not dialled for another 1 s, after 1 failure"),
        (300, "refused: banned for another 60 s"),
        (1_019, "connected for 0 s: it dialled this node; evicted for a newcomer when"),
        (1_002, "connected for 0 s: it dialled this node; protected from eviction by the age"),
    ] {
        assert!(text(peer).starts_with(expected), "{peer}: {}", text(peer));
    }
    let peers: BTreeSet<_> = why.iter().map(|why| why.peer).collect();
    assert_eq!(peers.len(), why.len(), "one each");
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(u32, [u8; 4], bool),
    Close(u64),
    Ban(u32),
    Handshake([u8; 4], bool),
    HandshakeEnds(u64),
    Learn(u32, [u8; 4]),
    Dial,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let ip = || (0u8..4, 0u8..4).prop_map(|(group, host)| [66, 0, group, host]);
    prop_oneof![
        8 => (1u32..30, ip(), any::<bool>()).prop_map(|(peer, ip, is_inbound)| Step::Arrive(peer, ip, is_inbound)),
        3 => (1u64..100).prop_map(Step::Close),
        1 => (4u32..30).prop_map(Step::Ban),
        3 => (ip(), any::<bool>()).prop_map(|(ip, is_inbound)| Step::Handshake(ip, is_inbound)),
        1 => (1u64..100).prop_map(Step::HandshakeEnds),
        2 => (1u32..60, ip()).prop_map(|(peer, ip)| Step::Learn(peer, ip)),
        1 => Just(Step::Dial),
        1 => (0u64..20).prop_map(Step::Wait),
    ]
}

proptest! {
    /// In whatever order what happens: no bound is exceeded, nobody trusted is evicted, whoever is evicted made room for somebody, and
    /// an honest newcomer gets in as long as there is an inbound stranger or a free slot.
    #[test]
    fn bounds_hold_trusted_peers_stay_and_newcomers_get_in(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new(SMALL);
        let mut handshakes: BTreeMap<u64, ([u8; 4], Direction)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Arrive(peer, ip, is_inbound) => {
                    let direction = if is_inbound { Direction::Inbound } else { Direction::Outbound };
                    let before = world.evicted.len();
                    let outcome = world.arrive(peer, ip, direction);
                    prop_assert!(outcome.is_ok() || world.evicted.len() == before, "evicted for nobody");
                }
                Step::Close(id) => world.close(id),
                Step::Ban(peer) => {
                    let end = world.now + Duration::from_secs(10);
                    world.manager.ban(world.now, peer, end);
                }
                Step::Handshake(ip, is_inbound) => {
                    let direction = if is_inbound { Direction::Inbound } else { Direction::Outbound };
                    world.next += 1;
                    if world.manager.handshake_begins(world.now, world.next, ip.ip(), direction).is_ok() {
                        handshakes.insert(world.next, (ip, direction));
                    }
                }
                Step::HandshakeEnds(id) => {
                    world.manager.handshake_ended(&id);
                    handshakes.remove(&id);
                }
                Step::Learn(peer, ip) => world.manager.learn(world.now, peer, [ip], Source::ThirdParty),
                Step::Dial => {
                    for (peer, _) in world.manager.due(world.now) {
                        prop_assert!(!world.is_connected(peer));
                        world.manager.dial_failed(world.now, &peer);
                    }
                }
                Step::Wait(seconds) => world.now += Duration::from_secs(seconds),
            }
            prop_assert!(world.open.len() <= SMALL.total);
            for peer in 1..60 {
                prop_assert!(world.open.values().filter(|(other, ..)| *other == peer).count() <= SMALL.per_peer);
            }
            let pending = |of| handshakes.values().filter(|(_, direction)| *direction == of).count();
            prop_assert!(pending(Direction::Inbound) <= SMALL.pending_inbound);
            prop_assert!(pending(Direction::Outbound) <= SMALL.pending_outbound);
            prop_assert!(world.evicted.iter().all(|peer| !TRUSTED.contains(peer)));
            prop_assert!(world.manager.why(world.now).len() <= SMALL.known + SMALL.total + 26);
        }
        let has_room = world.open.len() < SMALL.total || world.classes(PeerClass::Inbound) > 0;
        prop_assert_eq!(world.inbound(HONEST.0, HONEST.1).is_ok(), has_room);
    }

    /// Those that only dial this node hold no more than their slots, at each host and in each group, whatever is closed in between.
    #[test]
    fn inbound_strangers_hold_only_their_slots(
        steps in prop::collection::vec((4u32..60, 0u8..4, 0u8..4, prop::option::of(1u64..80)), 0..120)
    ) {
        let mut world = World::new(SMALL);
        for (peer, group, host, close) in steps {
            let _refused = world.inbound(peer, [66, 0, group, host]);
            close.into_iter().for_each(|id| world.close(id));
            let at = |pick: &dyn Fn([u8; 4]) -> bool| world.open.values().filter(|(_, _, ip)| pick(*ip)).count();
            prop_assert!(world.open.len() <= SMALL.inbound);
            prop_assert!(at(&|ip| ip == [66, 0, group, host]) <= 3);
            prop_assert!(at(&|ip| ip[2] == group) <= 4);
        }
    }
}
