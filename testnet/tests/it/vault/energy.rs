//! What calls cost, printed beside a direct transfer, and compared with the table in docs/src/payout-vault.md.
//!
//! `cargo test -p lucid-testnet --test it vault::energy -- --nocapture`
#![expect(clippy::print_stdout, reason = "figures are for people")]

use lucid_tron_devnet::token;

use super::abi::{self, Word};
use super::code::{self, Code};
use super::succession::succeed;
use super::tree::Root;
use super::world::{Setup, Token, Who, World, id};

const SETUP: Setup = Setup {
    token: Token::Usdt,
    is_token_owner: false,
    signers: 5,
    k: 3,
    cap: 1_000_000_000,
    push_fee: 0,
    funds: 1_000_000_000,
    workers: 64,
};

// The figures of docs/src/payout-vault.md; three are of recipients that hold none, hold some, and were paid before.
const DEPLOYMENT: u64 = 2_674_796;
const FIRST_ROOT: u64 = 62_608;
const LATER_ROOT: u64 = 32_608;
const RANGE_OF_50: [u64; 3] = [53_744, 38_744, 23_352];
const RANGE_OF_10: [u64; 3] = [55_064, 40_064, 24_958];
const CLAIM: [u64; 3] = [73_614, 58_614, 43_462];
const WITH_FEE: u64 = 26_531;
const LOST_RACE: u64 = 30_252;
/// Of 500 accounts that nothing was paid, in a vault without predecessors, with one, two and three.
const SNAPSHOT: [u64; 4] = [295_771, 942_396, 1_586_396, 2_230_396];
const DIRECT: u64 = 13_200;
const DIRECT_FIRST: u64 = 28_200;
/// Bytes of the deployed code.
const CODE: usize = 12_355;

/// Energy of the last transaction for each of its `n` items, and bytes.
fn per_item(world: &World, n: usize) -> (u64, u64) {
    let n = u64::try_from(n).unwrap();
    (world.receipt.energy_usage_total / n, u64::try_from(world.bytes).unwrap() / n)
}

fn line(what: &str, (energy, bytes): (u64, u64), documented: u64) {
    println!("{what:<58} {energy:>9} energy {bytes:>5} bytes");
    // Which of two hashes is the smaller changes some instructions.
    assert!(energy.abs_diff(documented) * 100 <= documented, "{what}: {energy}, and the docs say {documented}");
}

#[test]
fn figures_are_the_documented_ones() {
    assert_eq!(code::description()["deployedBytecode"].as_str().unwrap().len(), 2 * CODE);
    let mut world = World::with(&Code::genuine(), SETUP);
    world.deploy(&world.deployment()).unwrap();
    line("deployment with 5 signers", per_item(&world, 1), DEPLOYMENT);

    world.post(1, &[1_000; 64]).unwrap();
    line("root, 3 of 5, the first", per_item(&world, 1), FIRST_ROOT);
    // Sixty-four workers without tokens; the next sixty-four will hold some.
    let mut holders = world.clone();
    for i in 0..64 {
        let to = abi::address(holders.at(Who::Worker(i)));
        holders.token_call(Who::Deployer, "transfer(address,uint256)", &[to, abi::number(1)]);
    }
    line("direct transfer, to somebody who holds none", per_item(&holders, 1), DIRECT_FIRST);
    let to = abi::address(holders.at(Who::Worker(0)));
    holders.token_call(Who::Deployer, "transfer(address,uint256)", &[to, abi::number(1)]);
    line("direct transfer, to a holder", per_item(&holders, 1), DIRECT);

    for (n, start, [first, holder, again]) in [(50, 0, RANGE_OF_50), (10, 50, RANGE_OF_10)] {
        world.push(Who::Leader, 1, start, n).unwrap();
        line(&format!("range of {n}, holds none, never paid"), per_item(&world, n), first);
        holders.push(Who::Leader, 1, start, n).unwrap();
        line(&format!("range of {n}, holder, never paid"), per_item(&holders, n), holder);
        let mut later = world.clone();
        later.post(2, &[2_000; 64]).unwrap();
        if n == 50 {
            line("root, 3 of 5, a later one", per_item(&later, 1), LATER_ROOT);
        }
        later.push(Who::Leader, 2, start, n).unwrap();
        line(&format!("range of {n}, holder, paid before"), per_item(&later, n), again);
    }
    world.push(Who::Leader, 1, 0, 50).unwrap_err();
    line("range of 50 that somebody else has pushed, in all", per_item(&world, 1), LOST_RACE);

    let [first, holder, again] = CLAIM;
    world.claim(1, 60).unwrap();
    line("claim, holds none, never paid", per_item(&world, 1), first);
    holders.claim(1, 60).unwrap();
    line("claim, holder, never paid", per_item(&holders, 1), holder);
    world.post(2, &[2_000; 64]).unwrap();
    world.claim(2, 60).unwrap();
    line("claim, holder, paid before", per_item(&world, 1), again);

    // With a push fee to a leader who holds USDT.
    let mut world = World::with(&Code::genuine(), Setup { push_fee: 5, ..SETUP });
    for settlement in [1, 2] {
        let root = world.root(settlement, &[1_000 * settlement; 64]);
        world.post_root(&Root { total: root.total + 10_000, fees: 10_000, ..root }).unwrap();
        world.push(Who::Leader, settlement, 0, 50).unwrap();
        world.push(Who::Leader, settlement, 50, 10).unwrap();
    }
    line("range of 10, holder, paid before, with push fee", per_item(&world, 10), WITH_FEE);
    assert_eq!(world.read_token("decimals()", &[]), token::number_word(6));
}

#[test]
fn a_snapshot_takes_many_accounts() {
    let mut world = World::with(&Code::genuine(), SETUP);
    let ids: Vec<Word> = (0..500).map(id).collect();
    let ids = abi::array(ids.len(), &ids);
    let bytes = u64::try_from(abi::encode(std::slice::from_ref(&ids)).len() + 4).unwrap();
    for (predecessors, documented) in (0..).zip(SNAPSHOT) {
        let energy = world.read_energy("snapshot(bytes32[])", std::slice::from_ref(&ids));
        line(&format!("snapshot of 500 accounts, {predecessors} predecessors"), (energy, bytes), documented);
        succeed(&mut world, 0);
    }
}
