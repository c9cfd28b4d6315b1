//! More of something than a record has room for does not stop the chain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::admission::{Refusal, View};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::PoolState;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::Equivocations;
use lucid_consensus::replica::{Effect, Input};
use lucid_types::amount::MicroUsdt;
use lucid_types::block::Block;
use lucid_types::codec::encode;
use lucid_types::genesis::Genesis;
use lucid_types::id::Hash;
use lucid_types::key::NodeKey;
use lucid_types::message::CompactProposal;
use lucid_types::payout::VaultLimits;
use lucid_types::pool::PoolAction;
use lucid_types::report::ReportCommitment;
use lucid_types::signed::Signature;
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vault::{SignerSet, TreasurySigner};

use lucid_sim::genesis::{address, network, signing_key, start, validator_key};
use lucid_sim::liar::{junk, offer, propose, proposer, valid};
use lucid_sim::pool::{by_owner, sign};
use lucid_sim::start::Pool;
use lucid_sim::world::World;

fn pool_owner(i: u8) -> NodeKey {
    NodeKey::from_seed(&[i + 150; 32])
}

#[test]
fn commands_beyond_a_blocks_room_wait_for_the_next() {
    const POOLS: u8 = 40;
    let spec = network(4, 1);
    let mut start = start(&spec);
    let sample = start.pools[0].clone();
    let keys: Vec<_> = (0..16).map(|i| NodeKey::from_seed(&[i + 220; 32])).collect();
    let signer = |(i, key): (u8, &NodeKey)| TreasurySigner { node: key.account(), key_address: address(i) };
    let members: Vec<_> = (1..).zip(&keys).map(signer).collect();
    start.pools.extend((0..POOLS).map(|i| {
        let owner = pool_owner(i).account();
        let mut pool = Pool { name: format!("pool {i}"), owner, members: vec![], ..sample.clone() };
        pool.vault.address = address(i + 101);
        pool.vault.signers = SignerSet { era: 1, threshold: 16, members: members.clone() };
        pool
    }));
    let state = start.state(&spec);
    let mut world = World::beginning(spec, state.clone(), 4, 12);
    world.run(100, |_| false);
    let id = *world.spec.id();
    let owner_of = |pool: &PoolState| (0..POOLS).map(pool_owner).find(|key| key.account() == pool.owner);
    let pools: Vec<_> = state.pools().filter_map(|(id, pool)| Some((id, owner_of(pool)?))).collect();
    let mut bytes = 0;
    for (pool, owner) in &pools {
        let everyone = [&keys[..], std::slice::from_ref(owner)].concat();
        for number in 1..=8 {
            let next = VaultLimits { cap: MicroUsdt::new(number), push_fee: MicroUsdt::ZERO };
            let action = PoolAction::Limits { era: 1, nonce: u32::try_from(number).unwrap() - 1, next };
            let command = sign(&id, &by_owner(owner, number - 1, *pool, action), &everyone);
            bytes += encode(&command).len();
            let verified = command.verify(&id).unwrap();
            for node in 0..4 {
                world.input(node, Input::Command(verified.clone()));
            }
        }
    }
    let all = pools.len() * 8;
    assert!(bytes > 2 * Block::MAX_COMMAND_BYTES);
    assert!(world.run(60_000, |w| w.promises.commands.len() == all), "{} of {all}", world.promises.commands.len());
    let blocks = world.nodes[0].disk.blocks.values().map(|decided| decided.block.commands.clone());
    let full: Vec<usize> = blocks.map(|commands| commands.iter().map(|it| encode(it).len()).sum()).collect();
    assert!(full.iter().all(|bytes| *bytes <= Block::MAX_COMMAND_BYTES), "{full:?}");
    world.check();
}

#[test]
fn what_is_sent_again_and_again_costs_nothing() {
    let mut world = World::new(network(4, 1), 4, 7);
    assert!(world.run(20_000, |w| w.proposal(1).is_some()));
    let proposal = world.proposal(1).unwrap();
    let (now, id) = (world.now, *world.spec.id());
    let replica = world.nodes[1].replica.as_mut().unwrap();
    for _ in 0..100 {
        let proposal = proposal.clone().verify(&id).unwrap();
        let from = validator_key(0).account();
        let effects = replica.handle(now, Input::Proposal { proposal, from, arrived: now });
        assert!(
            !effects.iter().any(|effect| matches!(effect, Effect::AppendLog { .. } | Effect::Fetch { .. })),
            "{effects:?}"
        );
    }
    assert!(world.run(20_000, |w| w.lowest() >= 2));
    world.check();
}

/// Four validators, of which this one has the first turn of all.
fn network_that_begins_with(first: usize) -> Arc<ChainSpec> {
    let named = |i: u32| {
        let genesis = network(4, 1).genesis().clone();
        ChainSpec::new(Genesis { name: format!("simulated {i}"), ..genesis }).unwrap()
    };
    let has_turn = |spec: &ChainSpec| State::genesis(spec).next_proposers().of(0).keys.id == signing_key(first).id();
    Arc::new((0..).map(named).find(has_turn).unwrap())
}

/// The core keeps two blocks for a round. A validator that names dozens for every round, in and out of its turn, stops nobody; and
/// a block of its own that the others vote for is not pushed out by another.
#[test]
fn a_validator_that_proposes_in_every_round_stops_nobody() {
    let mut world = World::new(network_that_begins_with(3), 4, 8);
    world.run(100, |_| false);
    world.take_down(3);
    let (liar, spec) = (signing_key(3), Arc::clone(&world.spec));
    world.liars.insert(liar.id());
    let mut decided = 0;
    for height in (1..=8).map(Height::new) {
        // Just before the height may start, or the time of a block would be ahead of the clocks.
        let due = world.nodes[0].replica.as_ref().unwrap().state().next_time(&spec).before(Duration::from_millis(60));
        world.run(u64::try_from(world.now.until(due).as_millis()).unwrap(), |_| false);
        let turns: Vec<_> = (0..=10).map(|round| proposer(&world, round) == liar.id()).collect();
        let is_turn = |round: u32| turns[usize::try_from(round).unwrap()];
        for node in 0..3 {
            for round in (0..=10).rev() {
                for salt in 1..=63 {
                    let passed = offer(&mut world, node, junk(&spec, &liar, height, round, salt));
                    assert_eq!(passed.is_ok(), is_turn(round), "round {round}: {passed:?}");
                    // In round 0 its turn is kept for the block below.
                    if round == 0 {
                        break;
                    }
                }
            }
            if is_turn(0) {
                let earliest = world.nodes[0].replica.as_ref().unwrap().state().next_time(&spec);
                let block = valid(&world, &liar, world.now.max(earliest));
                let hash = block.hash();
                offer(&mut world, node, propose(&spec, &liar, block, 0, None)).unwrap();
                offer(&mut world, node, junk(&spec, &liar, height, 4, 64)).unwrap();
                decided += usize::from(
                    node == 2 && world.run(30_000, |w| w.lowest() >= height.get()) && {
                        let blocks = &world.nodes[0].disk.blocks;
                        blocks[&height].block.hash() == hash
                    },
                );
            }
        }
        assert!(world.run(30_000, |w| w.lowest() >= height.get()), "height {height} is not decided");
    }
    assert!(decided > 0, "none of its valid blocks was decided");
    // The evidence is in a block, and every node holds it against the liar.
    for node in 0..3 {
        let state = world.nodes[node].replica.as_ref().unwrap().state();
        let proved: BTreeSet<_> = state.all::<Equivocations>().map(|(validator, _)| validator).collect();
        assert_eq!(proved, [validator_key(3).account()].into());
    }
    world.check();
}

/// What the engine and the log hold of one height is bounded, however much is proposed.
#[test]
fn proposals_beyond_two_a_round_are_not_kept() {
    let mut world = World::new(network(4, 1), 4, 8);
    world.run(100, |_| false);
    world.take_down(3);
    let (liar, spec) = (signing_key(3), Arc::clone(&world.spec));
    world.liars.insert(liar.id());
    assert!(world.run(60_000, |w| w.lowest() == w.height(0) && proposer(w, 1) == liar.id()));
    let height = Height::new(world.height(0)).next();
    let logged = |world: &World| world.nodes[0].disk.log.len() + world.nodes[0].disk.unsynced.len();
    for salt in 1..=200 {
        offer(&mut world, 0, junk(&spec, &liar, height, 1, salt)).unwrap();
    }
    world.run(50, |_| false);
    let few = logged(&world);
    for salt in 1..=200 {
        offer(&mut world, 0, junk(&spec, &liar, height, 1, salt)).unwrap();
    }
    assert!(few < 30 && logged(&world) == few, "{few}, {}", logged(&world));
}

/// A proposal names its block by a header that its round's proposer has signed for; anything else is its sender's fault.
#[test]
fn proposals_that_say_nothing_are_rejected() {
    let mut world = World::new(network(4, 1), 4, 9);
    let has_items = |w: &World| w.proposal(1).is_some_and(|it| !it.items.is_empty());
    assert!(world.run(20_000, has_items));
    let good = world.proposal(1).unwrap();
    let (round, height) = (good.proposal.record.round, good.proposal.record.height);
    let spec = Arc::clone(&world.spec);
    assert_eq!(height.get(), world.height(1) + 1);
    let turns: Vec<_> = (0..8).map(|round| proposer(&world, round)).collect();
    let key = |round: u32| {
        let turn = turns[usize::try_from(round).unwrap()];
        (0..4).map(signing_key).find(|key| key.id() == turn).unwrap()
    };
    let block =
        Block { header: good.header.clone(), commitments: vec![], reveals: vec![], commands: vec![], evidence: vec![] };
    let with = |edit: &dyn Fn(&mut CompactProposal)| {
        let mut compact = good.clone();
        edit(&mut compact);
        compact
    };
    let signed_by = |signer, round, pol| {
        let compact = propose(&spec, &key(signer), block.clone(), round, pol);
        CompactProposal { items: good.items.clone(), ..compact }
    };
    let rejected = |reason| Err(Refusal::Reject(reason));
    for (what, compact, verdict) in [
        ("as it is", good.clone(), Ok(())),
        ("another header", with(&|c| c.header.time = UnixMillis::new(1)), rejected("proposal")),
        ("fewer items", with(&|c| c.items.truncate(c.items.len() - 1)), rejected("proposal")),
        ("more items", with(&|c| c.items.push(c.items[0])), rejected("proposal")),
        ("another length", with(&|c| c.items[0].bytes += 1), rejected("proposal")),
        (
            "another's signature",
            with(&|c| c.proposal.signature = Signature::from_bytes([1; 64])),
            rejected("signature"),
        ),
        ("out of turn", signed_by(round + 1, round, None), rejected("proposer")),
        ("built in another round", signed_by(round + 1, round + 1, None), rejected("proof-of-lock")),
        ("again, under a lock", signed_by(round + 1, round + 1, Some(round)), Ok(())),
        ("under a lock of its own round", signed_by(round, round, Some(round)), rejected("proof-of-lock")),
    ] {
        let items = compact.items.len();
        let state = world.nodes[1].replica.as_ref().unwrap().state();
        let found = View { spec: &spec, state }.proposal(compact).map(drop);
        assert_eq!(found, verdict, "{what}, {items} items");
    }
}

/// Blocks of a time that has not come are decided in no round, however they are proposed.
#[test]
fn no_proposer_moves_time_ahead() {
    let mut world = World::new(network(4, 1), 4, 9);
    world.run(100, |_| false);
    world.take_down(3);
    let (liar, spec) = (signing_key(3), Arc::clone(&world.spec));
    let mut offered = 0;
    while offered < 2 {
        let height = world.nodes[0].replica.as_ref().unwrap().state().height().next();
        if proposer(&world, 0) == liar.id() {
            let far = UnixMillis::new(world.now.get() + 10 * 365 * 86_400_000);
            let block = valid(&world, &liar, far);
            // Its next turn is round 4. The engine knows a value by its hash, not by its round.
            for node in 0..3 {
                offer(&mut world, node, propose(&spec, &liar, block.clone(), 4, Some(0))).unwrap();
                offer(&mut world, node, propose(&spec, &liar, block.clone(), 0, None)).unwrap();
            }
            offered += 1;
        }
        let before = world.highest();
        assert!(world.run(60_000, |w| w.lowest() > before), "height {height} is not decided");
    }
    let now = world.now;
    assert!(world.nodes[0].disk.blocks.values().all(|decided| decided.block.header.time <= now));
    world.check();
}

/// A validator that tells each half of the others another commitment: whoever lacks the one that is proposed fetches it.
#[test]
fn items_that_the_mempool_refused_are_fetched_for_a_proposal() {
    let mut world = World::new(network(4, 1), 4, 16);
    world.run(100, |_| false);
    world.take_down(3);
    let (liar, spec) = (signing_key(3), Arc::clone(&world.spec));
    for epoch in 1..=4 {
        let epoch = Epoch::new(epoch);
        assert!(world.run(30_000, |w| {
            (0..3).all(|i| w.nodes[i].replica.as_ref().unwrap().state().closed() >= epoch.previous())
        }));
        for node in 0..3 {
            let report = Hash::from_bytes([u8::try_from(node).unwrap() + 1; 32]);
            let commitment = liar.sign_report_commitment(spec.id(), ReportCommitment { epoch, report });
            world.input(node, Input::Commitment(commitment));
        }
        assert!(
            world.run(30_000, |w| w.final_through() >= epoch.get()),
            "{epoch}: heights {:?}",
            crate::liveness::heights(&world)
        );
    }
    let blocks = world.nodes[0].disk.blocks.values();
    let committed = |it: &lucid_types::sync::CertifiedBlock| it.block.commitments.iter().any(|c| c.signer == liar.id());
    assert!(blocks.clone().filter(|it| committed(it)).count() >= 4, "its commitments stand in blocks");
    // No round is lost but those in which it is its turn, and it is down.
    let first_turn = |height: &Height| {
        let known = world.first_turns.get(height).copied();
        known.unwrap_or_else(|| world.first.next_proposers().of(0).keys.id)
    };
    let is_its_turn = |it: &lucid_types::sync::CertifiedBlock| first_turn(&it.certificate.height) == liar.id();
    assert!(blocks.clone().all(|it| it.certificate.round == 0 || is_its_turn(it)));
    world.check();
}
