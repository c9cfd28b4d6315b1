//! Accounts that nobody knows enter a network by commands alone, with no process of their own; and somebody sees when blocks hold them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_consensus::ledger::command::SignedCommand;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::codec::{decode, encode};
use lucid_types::command::{Action, Command, Entry, Registration};
use lucid_types::id::{Hash, NetworkId, NodeId, PayoutAddress, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::payout::VaultLimits;
use lucid_types::pool::{JoinPolicy, NewPool, PoolTerms, SplitRule};
use lucid_types::signed::MultiSigned;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::sync::CertifiedBlock;
use lucid_types::ticket::Ticket;
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};
use serde_json::{Value, json};

use crate::harness::{Network, http_bytes, http_get, http_post, now_ms};

/// Between two looks for a block.
const LOOK: Duration = Duration::from_millis(10);
/// How long a command is good.
const GOOD: Duration = Duration::from_secs(600);

/// The key of a number, of a kind.
pub(crate) fn key(kind: &str, number: u64) -> NodeKey {
    NodeKey::from_seed(Hash::derive("lucid test newcomer 1", &[kind.as_bytes(), &number.to_le_bytes()]).as_bytes())
}

/// Any address.
pub(crate) fn address(of: &NodeKey) -> PayoutAddress {
    let mut hash = [7; 20];
    hash.copy_from_slice(&of.account().as_bytes()[..20]);
    PayoutAddress::from_hash20(hash)
}

/// An account's command, signed by these keys.
pub(crate) fn sign(
    network: &NetworkId,
    account: NodeId,
    nonce: u64,
    action: Action,
    keys: &[&NodeKey],
) -> SignedCommand {
    let record = Command { account, nonce, until: UnixMillis::new(now_ms()).after(GOOD), action };
    let sign = |key: &&NodeKey| {
        let signed = key.sign_command(network, record.clone()).into_inner();
        (signed.signer, signed.signature)
    };
    MultiSigned::collect(record.clone(), keys.iter().map(sign))
}

/// What a new account says of itself.
pub(crate) fn registration(key: &NodeKey, entry: Entry) -> Action {
    Action::Register(Registration {
        operator: key.account(),
        payout_address: address(key),
        payout_key: None,
        gas_address: None,
        capacity: Capacity { cores: 1, ..Capacity::default() },
        entry,
    })
}

/// A pool that takes a thousand members. Its vault is anybody's guess: it forms, and pays nothing.
pub(crate) fn new_pool(name: &str, owner: &NodeKey, signer: NodeId, join: JoinPolicy) -> Action {
    let of = |what: &str| address(&key(&format!("{what} of {name}"), 0));
    Action::CreatePool(NewPool {
        name: name.to_owned(),
        terms: PoolTerms {
            budget: MicroUsdt::new(1),
            split: SplitRule::Equal,
            commission: Ppm::ZERO,
            commission_address: address(owner),
        },
        join,
        max_members: 1_000,
        vault: Vault {
            address: of("vault"),
            nonce: 0,
            limits: VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::ZERO },
            signers: SignerSet {
                era: 1,
                threshold: 1,
                members: vec![TreasurySigner { node: signer, key_address: of("signer") }],
            },
        },
    })
}

/// For what stamps are made at the moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) network: NetworkId,
    pub(crate) pool: Option<PoolId>,
    pub(crate) epoch: Epoch,
    pub(crate) beacon: Hash,
    pub(crate) bits: u8,
}

impl Work {
    /// As the node with this API says.
    pub(crate) fn ask(api: &str, network: NetworkId, pool: Option<PoolId>) -> Option<Self> {
        let path = pool.map_or_else(|| "/api/v1/stamp".to_owned(), |pool| format!("/api/v1/stamp?pool={pool}"));
        let view: Value = serde_json::from_str(&http_get(api, &path, "")?).unwrap();
        let (epoch, bits) = (view["epoch"].as_u64().unwrap(), view["bits"].as_u64().unwrap());
        let beacon = view["beacon"].as_str().unwrap().parse().unwrap();
        Some(Self { network, pool, epoch: Epoch::new(epoch), beacon, bits: bits.try_into().unwrap() })
    }

    /// A stamp whose worth is one of these.
    pub(crate) fn stamp(&self, account: NodeId, worth: impl Fn(u32) -> bool) -> Stamp {
        let target = StampTarget { network: self.network, account, pool: self.pool, beacon: self.beacon };
        let mut stamps = (0..).map(|nonce| Stamp { epoch: self.epoch, nonce });
        stamps.find(|stamp| worth(stamp.bits(&target))).unwrap()
    }

    /// The way in with a stamp.
    pub(crate) fn entry(&self, stamp: Stamp) -> Entry {
        match self.pool {
            None => Entry::Network(stamp),
            Some(pool) => Entry::Pool { pool, ticket: Ticket::Stamp(stamp) },
        }
    }

    /// Registers a key, with so many bits to spare: the next blocks may ask for more.
    pub(crate) fn register(&self, key: &NodeKey, spare: u8) -> SignedCommand {
        let stamp = self.stamp(key.account(), |worth| worth >= u32::from(self.bits + spare));
        sign(&self.network, key.account(), 0, registration(key, self.entry(stamp)), &[key])
    }
}

/// Hands a command in; why it is refused.
pub(crate) fn hand_in(api: &str, command: &SignedCommand) -> Result<(), String> {
    let body = json!({ "signed_command": hex::encode(encode(command)) });
    match http_post(api, "/api/v1/commands", &body) {
        Some((202, _)) => Ok(()),
        Some((status, answer)) => {
            let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
            Err(format!("{status}: {}", answer["error"]["message"].as_str().unwrap_or("no reason given")))
        }
        None => Err("no answer".to_owned()),
    }
}

/// A block as it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenBlock {
    pub(crate) height: u64,
    pub(crate) round: u32,
    pub(crate) commands: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Seen {
    /// When a block with this command was final first.
    commands: HashMap<(NodeId, u64), Instant>,
    blocks: Vec<SeenBlock>,
}

type Shared = Arc<(Mutex<Seen>, Condvar)>;

/// Follows a node's blocks, from the newest one on.
pub(crate) struct Follower {
    seen: Shared,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) fn of(net: &Network, name: &str) -> Self {
        let (api, mut height) = (net.api(name), net.status_number(name, "height").unwrap());
        let (seen, stop) = (Shared::default(), Arc::new(AtomicBool::new(false)));
        let (there, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(bytes) = http_bytes(&api, &format!("/api/v1/blocks/{}/raw", height + 1), "") else {
                    std::thread::sleep(LOOK);
                    continue;
                };
                height += 1;
                let (at, block) = (Instant::now(), decode::<CertifiedBlock>(&bytes).unwrap().block);
                assert_eq!(block.header.height, Height::new(height));
                let mut seen = lock(&there);
                for command in &block.commands {
                    seen.commands.entry((command.record.account, command.record.nonce)).or_insert(at);
                }
                let (round, commands) = (block.header.round, block.commands.len());
                seen.blocks.push(SeenBlock { height, round, commands, bytes: bytes.len() });
                there.1.notify_all();
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// When a block with a command was final; `None` if that has not been by then.
    pub(crate) fn inclusion(&self, command: (NodeId, u64), deadline: Instant) -> Option<Instant> {
        let mut seen = lock(&self.seen);
        loop {
            if let Some(at) = seen.commands.get(&command) {
                return Some(*at);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            seen = self.seen.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All blocks so far.
    pub(crate) fn blocks(&self) -> Vec<SeenBlock> {
        lock(&self.seen).blocks.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn lock(seen: &Shared) -> MutexGuard<'_, Seen> {
    seen.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Durations in order, for their places.
#[derive(Debug)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        assert!(!times.is_empty(), "nothing was measured");
        Self(times)
    }

    /// The time within which so many of a hundred are.
    pub(crate) fn place(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:.1?}, 99 of 100 within {:.1?}", self.place(50), self.place(99))
    }
}

/// Counts of reasons.
pub(crate) fn tally(reasons: impl IntoIterator<Item = String>) -> String {
    let mut counts: HashMap<String, usize> = HashMap::new();
    reasons.into_iter().for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines: Vec<_> = counts.iter().map(|(reason, count)| format!("\n  {count} times: {reason}")).collect();
    if lines.is_empty() { " none".to_owned() } else { lines.concat() }
}
