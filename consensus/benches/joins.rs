//! A storm of newcomers: `cargo bench -p lucid-consensus --profile dev --bench joins`.
//!
//! Ten pools, and in each of ten epochs 1,000 nodes that nobody knows register as members, by stamp, 100 in each pool: all commands of an
//! epoch wait before its first block is built. Measured are what a node does with each command that comes, signature and all; what its proposer
//! takes to build the greatest block, and others to check and execute it; and the state in the end. Memory is by the kernel's count.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and takes its time, and fails by panicking"
)]

mod memory;
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod thousand;

use std::time::{Duration, Instant};

use lucid_consensus::admission::View;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::commands::{PendingCommands, Source};
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::execute::validate;
use lucid_consensus::ledger::state::State;
use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, Command, Entry, Registration};
use lucid_types::id::{Hash, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::signed::MultiSigned;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::ticket::Ticket;
use lucid_types::time::Epoch;
use lucid_types::vault::Vault;

use self::memory::{resident_of, rows_of, size};
use self::thousand::start::{Pool, Start};
use self::thousand::{address, signer_of, start_with, unpaid, validator_of};

const POOLS: u16 = 10;
const EPOCHS: u64 = 10;
const NEWCOMERS: u16 = 1_000;
/// A block of nothing but newcomers must not hold up the next one: half of the least time between blocks of a local network.
const BLOCK: Duration = Duration::from_millis(125);

fn validator() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

/// The network and its state before block 1.
fn begin() -> (ChainSpec, State) {
    let key = validator();
    let (tron, vault) = unpaid(&key);
    let start = start_with(0, vec![validator_of(&key)], tron, vault);
    let pool = |i| {
        let first = start.pools[0].clone();
        let vault = Vault { address: address(61_000 + i), ..first.vault.clone() };
        Pool { name: format!("pool {i}"), vault, ..first }
    };
    let pools = (0..POOLS).map(pool).collect();
    let spec = ChainSpec::new(start.genesis.clone()).unwrap();
    let state = Start { pools, ..start }.state(&spec);
    (spec, state)
}

/// Registers somebody as a member of a pool, by a stamp for the newest closed epoch.
fn newcomer(spec: &ChainSpec, state: &State, number: u64, pool: PoolId) -> SignedCommand {
    let key = NodeKey::from_seed(Hash::derive("lucid bench newcomer 1", &[&number.to_le_bytes()]).as_bytes());
    let account = key.account();
    let (epoch, close) = state.newest_close().unwrap();
    let bits = state.stamp_bits(Some(&pool), epoch).unwrap();
    let target = StampTarget { network: *spec.id(), account, pool: Some(pool), beacon: close.beacon };
    let mut stamps = (0..).map(|nonce| Stamp { epoch, nonce });
    let stamp = stamps.find(|stamp| stamp.bits(&target) >= u32::from(bits)).unwrap();
    let registration = Registration {
        operator: account,
        payout_address: address(u16::try_from(number % 50_000).unwrap()),
        payout_key: None,
        gas_address: Some(address(50_000 + u16::try_from(number % 5_000).unwrap())),
        capacity: Capacity::default(),
        entry: Entry::Pool { pool, ticket: Ticket::Stamp(stamp) },
    };
    let until = state.time().after(Duration::from_hours(1));
    let command = Command { account, nonce: 0, until, action: Action::Register(registration) };
    let signed = key.sign_command(spec.id(), command.clone()).into_inner();
    MultiSigned::collect(command, vec![(signed.signer, signed.signature)])
}

fn main() {
    if memory::is_reader() {
        return;
    }
    let (spec, mut state) = begin();
    let pools: Vec<_> = state.pools().map(|(id, _)| id).collect();
    let mut pending = Pending::default();
    let (mut number, mut admitted, mut n_blocks, mut most) = (0, Duration::ZERO, 0, (0, 0));
    let (mut built, mut checked, mut executed) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for epoch in (1..=EPOCHS).map(Epoch::new) {
        let newcomers: Vec<_> = (0..NEWCOMERS)
            .map(|i| {
                number += 1;
                newcomer(&spec, &state, number, pools[usize::from(i % POOLS)])
            })
            .collect();
        let start = Instant::now();
        for command in newcomers {
            let command = View { spec: &spec, state: &state }.command(command, state.time()).unwrap();
            pending.commands.add(&spec, &state, command, state.time(), Source::Peer).unwrap();
        }
        admitted += start.elapsed();
        while state.closed() < epoch || !pending.commands.is_empty() {
            let end = spec.genesis().epoch_end(epoch);
            let now = if pending.commands.is_empty() { end } else { state.time() };
            let key = validator();
            let start = Instant::now();
            let (block, _) = build(&spec, &state, &pending, Turn { key: &signer_of(&key), round: 0, now }).unwrap();
            built = built.max(start.elapsed());
            let bytes: usize =
                block.commands.iter().map(|it| lucid_types::codec::encode::<SignedCommand>(it).len()).sum();
            most = most.max((block.commands.len(), bytes));
            n_blocks += usize::from(!block.commands.is_empty());
            let start = Instant::now();
            let block = block.verify(spec.id()).unwrap();
            checked = checked.max(start.elapsed());
            let start = Instant::now();
            state = validate(&spec, &state, &block).unwrap().state;
            executed = executed.max(start.elapsed());
            pending.commands = {
                let mut commands: PendingCommands = std::mem::take(&mut pending.commands);
                commands.follow(&spec, &state, state.time());
                commands
            };
        }
    }
    let members: usize = pools.iter().map(|pool| state.members(pool).count()).sum();
    assert_eq!(members, usize::from(NEWCOMERS) * usize::try_from(EPOCHS).unwrap());
    println!("{members} members of {POOLS} pools in {EPOCHS} epochs, in {n_blocks} blocks");
    println!("a command that comes: {:.2?}", admitted / u32::try_from(members).unwrap());
    println!("the greatest block: {} commands, {} KiB", most.0, most.1 >> 10);
    println!("to build a block: at most {built:.2?}");
    println!("to check its signatures: at most {checked:.2?}");
    let is_met = executed < BLOCK;
    println!("to execute it: at most {executed:.2?} {}", if is_met { "(met)" } else { "(MISSED)" });
    let rows = rows_of(&state);
    println!("state: {} rows, {} KB; {} MB in memory", rows.len(), size(&rows) / 1_000, resident_of(&rows) / 1_000_000);
    assert!(is_met, "a limit was missed");
}
