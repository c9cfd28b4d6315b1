//! The owner of the simulated pool, and a monitor of what treasury signers and the vault rely on.

use std::collections::BTreeMap;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::event::{Event, Settled};
use lucid_consensus::ledger::pool::Hold;
use lucid_consensus::ledger::state::State;
use lucid_consensus::replica::FinalizedBlock;
use lucid_types::amount::MicroUsdt;
use lucid_types::command::{Action, Command};
use lucid_types::id::{NetworkId, PayoutId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::payout::{SettlementRoot, VaultLimits};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};
use lucid_types::pool::PoolAction;
use lucid_types::signed::MultiSigned;

use crate::genesis::{FAR, owner_key, signer_key, signer_set, worker_id};

/// Returns what is wrong unless this holds.
macro_rules! demand {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

/// What the owner of a pool commands.
pub fn by_owner(owner: &NodeKey, nonce: u64, pool: PoolId, action: PoolAction) -> Command {
    Command { account: owner.account(), nonce, until: FAR, action: Action::Pool { pool, action } }
}

/// A command signed by all these.
pub fn sign(network: &NetworkId, command: &Command, keys: &[NodeKey]) -> SignedCommand {
    let sign = |key: &NodeKey| {
        let signed = key.sign_command(network, command.clone()).into_inner();
        (signed.signer, signed.signature)
    };
    MultiSigned::collect(command.clone(), keys.iter().map(sign))
}

/// The pool's owner. It has its era's signers at hand, and not always a command that applies.
#[derive(Default)]
pub struct Owner {
    given: Vec<SignedCommand>,
}

impl Owner {
    /// What it asks for when the pool stands as in `state`.
    pub fn command(&mut self, spec: &ChainSpec, state: &State, mut random: impl FnMut(u64) -> u64) -> SignedCommand {
        if !self.given.is_empty() && random(4) == 0 {
            let at = usize::try_from(random(u64::try_from(self.given.len()).unwrap())).unwrap();
            return self.given[at].clone();
        }
        let (id, pool) = state.pools().next().unwrap();
        let (era, nonce) = (pool.vault.signers.era, pool.vault.nonce);
        let member = worker_id(usize::try_from(random(3)).unwrap());
        // Now and then as much as brings a sum to its bound.
        let amount = MicroUsdt::new(if random(6) == 0 { 1 << 61 } else { 1 + random(5_000_000) });
        let accounts: Vec<_> = state.accounts(&id).map(|(account, _)| account).collect();
        let account = accounts.get(usize::try_from(random(4)).unwrap() % accounts.len().max(1)).copied();
        let held = state.accounts(&id).find(|(_, account)| matches!(account.hold, Hold::Since(_)));
        let action = match random(8) {
            0..4 if pool.suspended_from.is_some() => PoolAction::Suspend(false),
            0 => PoolAction::Hold(member),
            1 => PoolAction::Resume(held.map_or(member, |(_, account)| account.node)),
            2 => PoolAction::Suspend(true),
            3 | 4 => {
                let account = account.unwrap_or(AccountId::from_bytes([0; 32]));
                PoolAction::Correct { account, amount }
            }
            5 => PoolAction::Losses(amount),
            6 => PoolAction::Signers { nonce, next: signer_set(era + 1) },
            _ => {
                let push_fee = if random(6) == 0 { u64::MAX - 1 } else { random(100_000) };
                let cap = MicroUsdt::new(amount.get().max(push_fee + 1));
                let next = VaultLimits { cap, push_fee: MicroUsdt::new(push_fee) };
                PoolAction::Limits { era, nonce, next }
            }
        };
        let mut keys = vec![owner_key()];
        if action.needs_signers() {
            let absent = u32::try_from(random(4)).unwrap();
            keys.extend((0..3).filter(|i| *i != absent).map(|i| signer_key(era, i)));
        }
        let nonce = state.nonce(&owner_key().account()).next + random(4) / 2;
        let command = sign(spec.id(), &by_owner(&owner_key(), nonce, id, action), &keys);
        self.given.push(command.clone());
        command
    }
}

/// What the chain has promised so far, block by block.
#[derive(Default)]
pub struct Promises {
    height: u64,
    newest: BTreeMap<PoolId, SettlementRoot>,
    /// Every settlement's root, as it was made.
    pub roots: BTreeMap<(PoolId, u64), SettlementRoot>,
    owed: BTreeMap<(PoolId, AccountId), OwedAccount>,
    requested: BTreeMap<AccountId, MicroUsdt>,
    requests: BTreeMap<PayoutId, u64>,
    /// The commands that blocks hold, in order.
    pub commands: Vec<Command>,
}

impl Promises {
    /// Looks at a block when the first node stores it; what is wrong with it.
    pub fn watch(&mut self, spec: &ChainSpec, stored: &FinalizedBlock) -> Result<(), String> {
        let (block, applied) = (&stored.decided.block, &stored.applied);
        if block.header.height.get() != self.height + 1 {
            return Ok(());
        }
        self.height += 1;
        for command in &block.commands {
            let given = self.commands.iter().filter(|given| given.account == command.record.account).count();
            demand!(u64::try_from(given) == Ok(command.record.nonce), "a command twice, or one left out");
            self.commands.push(command.record.clone());
        }
        for (pool, root) in applied.state.pools().filter_map(|(_, pool)| Some((pool, pool.newest?))) {
            demand!(root.era == pool.vault.signers.era, "who is to sign it is in force no more");
        }
        let newest = applied.state.pools().filter_map(|(id, pool)| Some((id, pool.newest?)));
        let new: Vec<_> = newest.filter(|(id, root)| self.newest.get(id) != Some(root)).collect();
        let issued: Vec<_> = new.iter().map(|(_, root)| *root).collect();
        let told = |event: &Event| match event {
            Event::Settled(settled) => Some(settled.root),
            Event::Reissued(root) => Some(*root),
            _ => None,
        };
        let mut told: Vec<_> = applied.events.iter().filter_map(told).collect();
        told.sort_by_key(|root| root.pool);
        demand!(told == issued, "the events name other roots");
        for event in &applied.events {
            if let Event::Settled(settled) = event {
                self.check_leaves(spec, &applied.state, settled)?;
            }
            if let Event::Shared { pool, settlement, fee, .. } = event {
                let root = |event: &Event| match event {
                    Event::Settled(made) if (made.root.pool, made.root.settlement) == (*pool, *settlement) => {
                        Some(made.requests.len())
                    }
                    _ => None,
                };
                let n = u64::try_from(applied.events.iter().find_map(root).unwrap_or(0)).unwrap();
                let most = n.saturating_mul(applied.state.pool(pool).unwrap().push_fee.get());
                demand!(fee.get() <= most, "a fee of {fee} for {n} requests of settlement {settlement}");
            }
        }
        for (id, root) in new {
            let before = self.newest.insert(id, root);
            check_succession(before.as_ref(), &root)?;
        }
        Ok(())
    }

    fn check_leaves(&mut self, spec: &ChainSpec, state: &State, settled: &Settled) -> Result<(), String> {
        let Settled { root, leaves, requested, requests } = settled;
        demand!(PayoutTree::new(leaves).unwrap().root() == root.root, "the root is of other leaves");
        let is_first = self.roots.insert((root.pool, root.settlement), *root).is_none();
        demand!(is_first, "two roots of a settlement");
        let (due, rest) = leaves.split_at(requests.len());
        demand!(due.is_sorted_by_key(|leaf| leaf.id) && rest.is_sorted_by_key(|leaf| leaf.id), "leaves out of order");
        let owed = MicroUsdt::sum(leaves.iter().map(|leaf| leaf.owed)).unwrap();
        let pool = state.pool(&root.pool).unwrap();
        demand!(!pool.is_suspended(root.settlement), "a root of a pool that is suspended");
        let total = MicroUsdt::sum([owed, root.fees, pool.losses]);
        demand!(total == Some(root.total), "{root:?} is not of {total:?}");
        for leaf in leaves {
            let before = self.owed.insert((root.pool, leaf.id), *leaf);
            demand!(
                before.is_none_or(|before| before.owed <= leaf.owed && before.to == leaf.to),
                "{before:?}, {leaf:?}"
            );
        }
        let known = self.owed.keys().filter(|(pool, _)| *pool == root.pool).count();
        demand!(known == leaves.len(), "an account was dropped, or stands in the tree twice");
        for (request, leaf) in requests.iter().zip(due) {
            let is_of_leaf = (request.account, request.to, request.owed) == (leaf.id, leaf.to, leaf.owed);
            demand!(is_of_leaf, "{request:?} for {leaf:?}");
            let account = AccountId::derive(spec.id(), &root.pool, request.kind, &request.node);
            demand!(request.account == account, "{request:?} is of another account");
            demand!(request.id == PayoutId::derive(&account, root.settlement), "{request:?} has another id");
            demand!(self.requests.insert(request.id, root.settlement).is_none(), "a request twice");
            let before = self.requested.insert(account, request.owed).unwrap_or_default();
            demand!(before.checked_add(request.amount) == Some(request.owed), "{request:?} after {before:?}");
        }
        let so_far = leaves.iter().filter_map(|leaf| Some((leaf.id, *self.requested.get(&leaf.id)?))).collect();
        demand!(*requested == so_far, "{requested:?} was not requested");
        Ok(())
    }
}

/// What a signer and the vault demand of a pool's next root.
fn check_succession(before: Option<&SettlementRoot>, root: &SettlementRoot) -> Result<(), String> {
    demand!(root.fees <= root.total && root.total <= root.promised, "{root:?}");
    let Some(before) = before else { return Ok(()) };
    let of = |root: &SettlementRoot| (root.settlement, root.era, root.total, root.fees, root.promised);
    let ((s, e, t, f, p), (s2, e2, t2, f2, p2)) = (of(before), of(root));
    demand!(s <= s2 && e <= e2 && t <= t2 && f <= f2 && p <= p2, "{before:?}, then {root:?}");
    if s == s2 {
        let again = SettlementRoot { era: e, total: t, promised: p, ..*root };
        demand!(again == *before, "issued again with more than another era or total");
    }
    Ok(())
}
