//! A storm of newcomers on a network of processes: every epoch a thousand nodes that nobody knows become members of ten open pools, all at
//! once and by their commands alone. Blocks, measuring and memory stand it.

use std::collections::BTreeMap;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use lucid_types::id::{NodeId, PoolId};
use lucid_types::pool::JoinPolicy;

use crate::harness::{Network, until};
use crate::load::network_id;
use crate::newcomers::{Follower, Times, Work, hand_in, key, new_pool, sign, tally};

const EPOCH: Duration = Duration::from_secs(5);
const EPOCHS: u64 = 4;
/// Newcomers of an epoch, and pools, the one that pays among them.
const NEWCOMERS: u64 = 1_000;
const POOLS: u64 = 10;
const USERS: u64 = 16;
/// What a validator may have resident at most, in bytes.
const MEMORY: u64 = 256 << 20;
/// Within which time all newcomers of an epoch are members: before those of the next one come.
const MOST: Duration = EPOCH;
const SPARE: u8 = 3;

/// The time from a block's proposal until it was stored, by heights, as a node's log says.
fn ages(net: &Network, name: &str) -> BTreeMap<u64, Duration> {
    let log = std::fs::read_to_string(net.home(name).join("node.log")).unwrap();
    let field = |line: &str, field: &str| {
        let value = line.split_once(&format!("{field}="))?.1;
        value.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let decided = log.lines().filter(|line| line.contains("block decided"));
    decided.filter_map(|line| Some((field(line, "height")?, Duration::from_millis(field(line, "age_ms")?)))).collect()
}

#[test]
#[ignore = "takes the whole machine for a minute: make load"]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn a_thousand_newcomers_an_epoch_become_members() {
    let mut net = Network::up_alone(&["--workers", "1", "--epoch-length", "5s"]);
    net.ready();
    let network = network_id(&net);
    let apis: Vec<_> = net.validators().iter().map(|name| net.api(name)).collect();
    let follower = Follower::of(&net, "validator-1");
    let validator: NodeId = net.node_id("validator-1").parse().unwrap();
    let mut pools: Vec<PoolId> = vec![net.pool_id().parse().unwrap()];
    for i in 1..POOLS {
        let (owner, name) = (key("storm owner", i), format!("pool {i}"));
        let work = until("work", || Work::ask(&apis[0], network, None));
        let create = new_pool(&name, &owner, validator, JoinPolicy::Open);
        for command in [work.register(&owner, SPARE), sign(&network, owner.account(), 1, create, &[&owner])] {
            hand_in(&apis[0], &command).unwrap();
            assert!(follower.inclusion((owner.account(), command.record.nonce), Instant::now() + EPOCH).is_some());
        }
        pools.push(PoolId::derive(&network, &name));
    }
    let idle = net.most_resident();
    let first = follower.blocks().len();
    let begun = Instant::now();
    let (mut times, mut refused) = (Vec::new(), Vec::new());
    for epoch in 0..EPOCHS {
        let start = begun + EPOCH * u32::try_from(epoch).unwrap();
        std::thread::sleep(start.saturating_duration_since(Instant::now()));
        // All have made their stamps when the storm breaks.
        let work: Vec<_> =
            pools.iter().map(|pool| until("work", || Work::ask(&apis[0], network, Some(*pool)))).collect();
        let register = |i: u64| {
            let work = &work[usize::try_from(i % POOLS).unwrap()];
            work.register(&key("storm", epoch * NEWCOMERS + i), SPARE)
        };
        let commands: Vec<_> = (0..NEWCOMERS).map(register).collect();
        let (broke, outcomes) = (Instant::now(), RwLock::new(Vec::new()));
        std::thread::scope(|scope| {
            for user in 0..USERS {
                let (commands, apis, outcomes) = (&commands, &apis, &outcomes);
                scope.spawn(move || {
                    for command in commands.iter().skip(user.try_into().unwrap()).step_by(USERS.try_into().unwrap()) {
                        let api = &apis[usize::from(command.record.account.as_bytes()[0]) % apis.len()];
                        let outcome = hand_in(api, command);
                        outcomes.write().unwrap().push((command.record.account, outcome));
                    }
                });
            }
        });
        let deadline = broke + 4 * EPOCH;
        for (account, outcome) in outcomes.into_inner().unwrap() {
            match outcome.map(|()| follower.inclusion((account, 0), deadline)) {
                Ok(Some(at)) => times.push(at - broke),
                Ok(None) => refused.push("acknowledged, and in no block".to_owned()),
                Err(why) => refused.push(why),
            }
        }
    }
    let final_before = net.status_number("validator-1", "epoch").unwrap();
    until("scores of the storm", || (net.status_number("validator-1", "final_epoch")? >= final_before).then_some(()));
    let members = times.len();
    println!(
        "{members} newcomers in {EPOCHS} epochs of {EPOCH:?} into {POOLS} pools; refused:{}",
        tally(refused.clone())
    );
    let times = Times::new(times);
    println!("members, from the storm's start in their epoch on: {times}, the last after {:.1?}", times.place(100));
    let blocks = follower.blocks().split_off(first);
    let late = blocks.iter().filter(|block| block.round > 0).count();
    let most = blocks.iter().map(|block| (block.commands, block.bytes >> 10)).max().unwrap();
    println!("{} blocks, {late} not in round 0; the greatest has {} commands, {} KiB", blocks.len(), most.0, most.1);
    let ages = ages(&net, "validator-1");
    let of = |is_great: &dyn Fn(usize) -> bool| {
        let blocks = blocks.iter().filter(|block| is_great(block.commands));
        Times::new(blocks.filter_map(|block| ages.get(&block.height).copied()))
    };
    println!("from proposal to durable, blocks of 100 commands and more: {}", of(&|n| n >= 100));
    println!("the same, of fewer: {}", of(&|n| n < 100));
    let resident = net.most_resident();
    println!("memory of a validator: {} MB before, {} MB at most", idle >> 20, resident >> 20);
    drop(follower);
    net.command(&["down"]);
    net.end();
    assert_eq!(refused, Vec::<String>::new());
    assert!(times.place(100) < MOST, "{times}");
    assert!(resident < MEMORY, "{resident} bytes");
    assert!(late * 20 <= blocks.len(), "{late} of {} blocks", blocks.len());
}
