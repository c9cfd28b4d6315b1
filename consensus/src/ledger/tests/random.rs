//! Any commands of anybody, in any order, while epochs pass: what must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::change::{NetworkChange, PolicyChange};
use lucid_types::command::{
    Action, Command, Cosigner, Entry, MaintenanceScope, NodeAction, ValidatorAction, ValidatorChange,
};
use lucid_types::id::{Hash, NodeId, PoolId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::payout::{AccountKind, VaultLimits};
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::pool::{JoinPolicy, NewPool, PoolAction, PoolTerms, SplitRule};
use lucid_types::stamp::Stamp;
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::Epoch;
use lucid_types::validator::Validator;
use lucid_types::vault::Vault;
use proptest::prelude::*;

use super::chain::{
    Chain, ROTATIONS, address, as_validator, key_of, observation, signer_of, signers, start_with, validator_key,
    worker_key,
};
use super::entry::newcomer;
use crate::admission::View;
use crate::commands::{PendingCommands, Source};
use crate::ledger::build::{Pending, Turn, build};
use crate::ledger::command::{SignedCommand, apply, next_block};
use crate::ledger::entry::{KEPT_CLOSES, MAX_REQUESTS};
use crate::ledger::execute::validate;
use crate::ledger::pool::{Hold, MAX_FORMING, PoolState, PoolStatus, Standing};
use crate::ledger::proposals::{MAX_PROPOSED, ProposedChange};
use crate::ledger::state::{Rows, State};
use crate::ledger::table::{Accounts, Closes, Invites, Members, NodeKeys, Nodes, Nonces, Requests, UsedKeys};
use crate::ledger::validators::UsedKey;
use crate::reports::Reports;

const NAMES: [&str; 4] = ["pool", "pool", "a", "b"];

/// What a test case is made of.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Somebody gives a command, which the bytes choose.
    Give([u8; 6]),
    /// A block holds what waits and can stand in it.
    Block,
    /// The same, and the open epoch ends, its reports are revealed and settled. Of the workers all are reached, or every other one; of
    /// the validators all reveal, or at times some do not.
    Close { reaches_all: bool, forfeits: bool },
    /// Nobody does anything for some epochs.
    Pause(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<[u8; 6]>().prop_map(Step::Give),
        3 => Just(Step::Block),
        2 => any::<[bool; 2]>().prop_map(|[reaches_all, forfeits]| Step::Close { reaches_all, forfeits }),
        1 => (1u8..5).prop_map(Step::Pause),
    ];
    proptest::collection::vec(step, 30..120)
}

fn keys() -> Vec<NodeKey> {
    (0..4).map(validator_key).chain((0..3).map(worker_key)).chain((1..=6).map(newcomer)).collect()
}

fn secret() -> NodeKey {
    newcomer(99)
}

/// Keys that are no account's first one.
fn spare_keys() -> Vec<NodeKey> {
    (70..76).map(newcomer).collect()
}

/// A ticket that is good more often than not.
fn ticket(chain: &Chain, account: NodeId, pool: PoolId, [kind, how]: [u8; 2]) -> Ticket {
    let bits = chain.state.stamp_bits(Some(&pool), chain.state.closed()).unwrap_or(8);
    let good = || chain.stamp_of(account, Some(pool), (chain.state.closed(), bits), true);
    let row = chain.state.get::<Members>(&(pool, account));
    if how % 2 == 0 && row.is_some_and(|row| matches!(row.standing, Standing::Inactive(_))) {
        return Ticket::Return;
    }
    let stamp = || if how % 8 == 0 { Stamp { epoch: Epoch::new(u64::from(how)), nonce: 1 } } else { good() };
    match kind % 4 {
        0 | 1 => Ticket::Request(stamp()),
        2 => {
            let owner = chain.state.pool(&pool).map_or(account, |pool| pool.owner);
            let owner = chain.state.key_of(&owner);
            let mut all = keys().into_iter().chain(spare_keys());
            let key = all.find(|key| owner == Some(key.public_key())).unwrap_or_else(secret);
            let until = chain.state.time().after(Duration::from_secs(u64::from(how)));
            let invite = Invite { pool, key: secret().public_key(), until, uses: u32::from(how % 4) };
            Ticket::Invite(key.sign_invite(chain.spec.id(), invite).into_inner())
        }
        _ => Ticket::Stamp(stamp()),
    }
}

/// A change of the policy that waits.
fn policy_proposal(state: &State) -> Option<(Hash, &ProposedChange)> {
    state.proposals().find(|(_, it)| it.change.policy().is_some())
}

/// Another policy: possible mostly.
fn policy_change(state: &State, [a, b]: [u8; 2]) -> NetworkChange {
    let newest = Policy::clone(state.policies().newest().1);
    let base = if a == 0 { Hash::from_bytes([b; 32]) } else { newest.hash() };
    let policy = match a % 10 {
        0 => Policy { stamp_bits: 8 + b % 3, ..newest },
        1 => Policy { free_joins: u32::from(b % 4), ..newest },
        2 => Policy { min_pool_members: 1 + u32::from(b % 3), ..newest },
        3 => Policy { inactive_after: 1 + u32::from(b % 3), ..newest },
        4 => Policy { max_scored: 1 + u32::from(b % 5), ..newest },
        5 => Policy { payout_threshold: MicroUsdt::new(u64::from(b) * 100_000), ..newest },
        6 => Policy { min_uptime: Ppm::new(u32::from(b) * 3_900), ..newest },
        7 => Policy { leader_cooldown: u64::from(b % 4), leader_timeout_ms: 1_000 + u64::from(b), ..newest },
        8 => Policy { pings: 4 + u32::from(b % 2), echo_bytes_per_credit: 1 + u64::from(b) * 1_000, ..newest },
        _ => Policy { settle_every: 3, ..newest },
    };
    PolicyChange { base, policy }.into()
}

fn action(chain: &Chain, account: NodeId, [kind, a, b, c]: [u8; 4]) -> Action {
    let keys = keys();
    let node = keys[usize::from(a) % keys.len()].account();
    let pool = PoolId::derive(chain.spec.id(), NAMES[usize::from(b) % NAMES.len()]);
    let to = address(usize::from(a % 210));
    let join = [JoinPolicy::Open, JoinPolicy::Invite, JoinPolicy::Approval, JoinPolicy::Approval][usize::from(c % 4)];
    let terms = PoolTerms {
        budget: MicroUsdt::new(u64::from(c) * 1_000_000),
        split: [SplitRule::Credits, SplitRule::Equal, SplitRule::CreditsTimesScore][usize::from(a % 3)],
        commission: Ppm::new(u32::from(c) * 4_000),
        commission_address: to,
    };
    let vault = chain.state.pool(&pool).map(|pool| pool.vault.clone());
    let vault = vault.unwrap_or_else(|| chain.start.pools[0].vault.clone());
    let worker = AccountId::derive(chain.spec.id(), &pool, AccountKind::Worker, &node);
    let by_owner = |action| Action::Pool { pool, action };
    let max_members = u32::from(c % 8);
    // Somebody who waits for the owner, or for the end of a hold or of a ban.
    let asking = chain.state.requests(&pool).map(|(node, _)| node).next();
    let held = chain.state.accounts(&pool).find(|(_, account)| matches!(account.hold, Hold::Since(_)));
    let held = held.map(|(_, account)| account.node);
    let banned = chain.state.members(&pool).find(|(_, member)| member.standing == Standing::Banned);
    let banned = banned.map(|(node, _)| node);
    match kind % 30 {
        0 | 1 => Chain::registration(
            &keys.iter().find(|key| key.account() == account).unwrap().clone(),
            usize::from(a % 210),
            Entry::Pool { pool, ticket: ticket(chain, account, pool, [a, c]) },
        ),
        2 => {
            let (newest, _) = chain.state.newest_close().unwrap();
            let stamp = chain.stamp_of(account, None, (newest, 8), c % 8 != 0);
            let key = keys.iter().find(|key| key.account() == account).unwrap().clone();
            Chain::registration(&key, usize::from(a % 210), Entry::Network(stamp))
        }
        3 if c % 3 > 0 => {
            let (open, scope) = (chain.state.closed().get() + 1, [MaintenanceScope::All, MaintenanceScope::Traffic]);
            let from = Epoch::new((open + u64::from(b % 6)).saturating_sub(1));
            let (epochs, scope) = (u32::from(a % 5), scope[usize::from(c % 2)]);
            Action::Node(NodeAction::Maintenance { from, epochs, scope })
        }
        3 => Action::Node(NodeAction::Update { gas_address: Some(to), capacity: Capacity::default() }),
        4 => Action::Node(NodeAction::PayoutAddress(to)),
        5 => Action::Node(NodeAction::VetoPayoutAddress),
        24 if c % 16 > 0 => {
            let next = spare_keys()[usize::from(a) % 6].public_key();
            Action::Node(NodeAction::RotateKey(if c % 16 > 2 { next } else { node.first_key() }))
        }
        24 | 25 => Action::Node(NodeAction::VetoKey),
        6 | 7 => Action::Node(NodeAction::Join { pool, ticket: ticket(chain, account, pool, [a, c]) }),
        8 => Action::Node(NodeAction::Leave),
        9 if c % 4 == 0 => Action::Node(NodeAction::Retire),
        9 | 10 => {
            let vault = Vault { address: address(100 + usize::from(c % 5)), ..vault };
            let name = NAMES[usize::from(b) % NAMES.len()].to_owned();
            Action::CreatePool(NewPool { name, terms, join, max_members, vault })
        }
        11 => Action::Validator(ValidatorAction::ApprovePool(pool)),
        12 => {
            let proposed = chain.state.proposals().map(|(id, _)| id).nth(usize::from(b % 2));
            let proposed = proposed.unwrap_or_else(|| NetworkChange::from(ValidatorChange::Remove(node)).id());
            let key = keys.iter().find(|key| key.account() == node).unwrap();
            let own = chain.state.proposals().find(|(_, it)| it.approvals.contains(&account)).map(|(id, _)| id);
            let nth = b % ROTATIONS;
            let added = Validator { keys: signer_of(key, nth).keys(&node), ..as_validator(key, 1 + u64::from(b % 2)) };
            // Its own key mostly, at times another's.
            let own_key = keys.iter().find(|key| key.account() == account).filter(|_| a % 8 > 0).unwrap_or(key);
            let rotated = signer_of(own_key, nth).keys(&account);
            Action::Validator(match c % 12 {
                0 | 1 => ValidatorAction::Propose(ValidatorChange::Add(added).into()),
                2 => ValidatorAction::Propose(ValidatorChange::Remove(node).into()),
                3 => {
                    let change = ValidatorChange::Power { validator: node, power: u64::from(b % 3) };
                    ValidatorAction::Propose(change.into())
                }
                4 | 5 => ValidatorAction::Approve(proposed),
                6..=8 => ValidatorAction::Withdraw(own.unwrap_or(proposed)),
                9 => ValidatorAction::Resign,
                _ => ValidatorAction::RotateKey(rotated),
            })
        }
        27.. => Action::Validator(match policy_proposal(&chain.state) {
            Some((id, _)) if c % 8 > 0 => ValidatorAction::Approve(id),
            _ => ValidatorAction::Propose(policy_change(&chain.state, [a, b])),
        }),
        13 => by_owner(PoolAction::Update { terms, join, max_members }),
        14 => by_owner(PoolAction::Approve(asking.unwrap_or(node))),
        15 => by_owner(PoolAction::Refuse(asking.unwrap_or(node))),
        16 => by_owner(PoolAction::Ban(node)),
        17 => by_owner(PoolAction::Unban(banned.unwrap_or(node))),
        18 => by_owner(match held.filter(|_| c % 2 == 0) {
            Some(node) => PoolAction::Resume(node),
            None => PoolAction::Hold(node),
        }),
        19 => by_owner(PoolAction::Suspend(c % 2 == 0)),
        20 => by_owner(PoolAction::Correct { account: worker, amount: MicroUsdt::new(u64::from(c)) }),
        21 => by_owner(PoolAction::Losses(MicroUsdt::new(u64::from(c)))),
        22 if c % 2 == 0 => {
            let next = signers(vault.signers.era + 1, 2 + a % 2);
            by_owner(PoolAction::Signers { nonce: vault.nonce, next })
        }
        22 => {
            let next =
                VaultLimits { cap: MicroUsdt::new(u64::from(c) + 1), push_fee: MicroUsdt::new(u64::from(b % 4)) };
            by_owner(PoolAction::Limits { era: vault.signers.era, nonce: vault.nonce, next })
        }
        23 => {
            let former = if b % 8 > 0 { vault.address } else { to };
            let signers = signers(1 + u32::from(a % 3), 2);
            by_owner(PoolAction::Vault {
                former,
                next: Vault { address: address(100 + usize::from(c % 40)), signers, ..vault },
            })
        }
        _ if c % 3 == 0 => by_owner(PoolAction::Disband),
        _ => by_owner(PoolAction::Transfer(node)),
    }
}

/// Whether an action of this kind is one of a pool's owner.
const fn is_owners(kind: u8) -> bool {
    kind > 12 && kind < 27 && kind != 24 && kind != 25
}

/// A command that applies at times: mostly of who may give it, and signed by all who must.
fn command(chain: &Chain, [kind, who, a, b, c, how]: [u8; 6]) -> SignedCommand {
    let keys = keys();
    let mut key = keys[usize::from(who) % keys.len()].clone();
    let pool = PoolId::derive(chain.spec.id(), NAMES[usize::from(b) % NAMES.len()]);
    if let Some(pool) = chain.state.pool(&pool).filter(|_| is_owners(kind % 30) && how % 8 > 0) {
        key = keys.iter().find(|key| key.account() == pool.owner).unwrap_or(&key).clone();
    }
    if matches!(kind % 30, 11 | 12 | 27..) && how % 4 > 0 {
        let members = chain.state.next_validators().members();
        let approves = |node: &NodeId| policy_proposal(&chain.state).is_some_and(|(_, it)| it.approvals.contains(node));
        let asked = members.iter().map(|member| member.node).find(|node| kind % 30 >= 27 && !approves(node));
        let member = asked.unwrap_or(members[usize::from(who) % members.len()].node);
        key = keys.iter().find(|key| key.account() == member).unwrap_or(&key).clone();
    }
    if kind % 30 == 25
        && let Some(account) = keys.iter().find(|key| chain.state.announced_key(&key.account()).is_some())
    {
        key = account.clone();
    }
    let account = key.account();
    let draft = chain.draft_of(account, action(chain, account, [kind, a, b, c]));
    let record = Command { nonce: draft.nonce + u64::from(how.is_multiple_of(16)), ..draft };
    let key_of = |account: NodeId| chain.state.key_of(&account).unwrap_or_else(|| account.first_key());
    let mut by = BTreeSet::from([key_of(account)]);
    for cosigner in record.cosigners() {
        match cosigner {
            Cosigner::Key(key) => drop(by.insert(key)),
            Cosigner::Account(account) => drop(by.insert(key_of(account))),
            Cosigner::PayoutKey => {}
            Cosigner::Treasury(pool) => {
                let signers = chain.state.pool(&pool).into_iter().flat_map(|pool| &pool.vault.signers.members);
                by.extend(signers.map(|signer| key_of(signer.node)));
            }
        }
    }
    if how % 32 == 1 {
        by.pop_last();
    }
    let all = keys.into_iter().chain(spare_keys()).chain([secret()]);
    let all: Vec<_> = all.filter(|key| by.contains(&key.public_key())).collect();
    chain.sign(record, &all)
}

/// What holds of every state.
fn holds(state: &State) {
    let open = state.closed().next();
    let mut members = BTreeMap::<PoolId, u32>::new();
    for (id, node) in state.nodes() {
        let Some(membership) = node.membership else { continue };
        assert!(state.pool(&membership.pool).is_some(), "a member of no pool");
        *members.entry(membership.pool).or_default() += u32::from(membership.until.is_none());
        let has_row = state.has::<Members>(&(membership.pool, id));
        assert!(has_row || !membership.has_not_ended_by(open), "a member without a row");
        assert!(!node.is_retired || membership.until.is_some(), "who has retired works on");
    }
    for (_, node) in state.nodes() {
        let all = &node.maintenance;
        assert!(all.len() <= 3 && all.iter().all(|it| it.from < it.until), "{all:?}");
        assert!(all.windows(2).all(|pair| pair[0].until <= pair[1].from), "{all:?}");
    }
    keys_hold(state);
    let drawn = |node: &NodeId| state.open().is_some_and(|draw| draw.scored.iter().any(|it| it.node == *node));
    for ((pool, node), member) in state.all::<Members>() {
        let (row, pool_row) = (state.node(&node), state.pool(&pool));
        assert!(row.is_some() && pool_row.is_some(), "a row of nobody, or of no pool");
        let Standing::Inactive(since) = member.standing else { continue };
        let membership = row.unwrap().membership.unwrap();
        assert_eq!((membership.pool, membership.until), (pool, Some(since)), "inactive, and elsewhere or not");
        assert!(!row.unwrap().is_retired && !matches!(pool_row.unwrap().status, PoolStatus::Disbanded { .. }));
        assert!(open < since || !drawn(&node), "an inactive member is drawn");
    }
    let forming = state.pools().filter(|(_, pool)| matches!(pool.status, PoolStatus::Forming { .. })).count();
    assert!(forming <= MAX_FORMING);
    for (id, pool) in state.pools() {
        assert_eq!(pool.members, members.get(&id).copied().unwrap_or(0), "the count of members");
        assert!(2 * pool.vault.signers.needed() > pool.vault.signers.members.len(), "2k > n");
        let is_forming = matches!(pool.status, PoolStatus::Forming { .. });
        assert!(!is_forming || (pool.budgets, pool.newest) == (MicroUsdt::ZERO, None), "a forming pool promises");
        assert!(state.all_of::<Requests, _>(&id).count() <= MAX_REQUESTS);
        if let Some(root) = pool.newest {
            assert_eq!(
                (root.vault, root.era),
                (pool.vault.address, pool.vault.signers.era),
                "a root for another vault"
            );
        }
    }
    for ((pool, node), request) in state.all::<Requests>() {
        assert!(state.pool(&pool).is_some());
        let points_here = state.node(&node).is_some_and(|row| row.request == Some(pool));
        assert!(request.node.is_some() || points_here, "a request that its node does not know");
    }
    let vaults: Vec<_> =
        state.pools().flat_map(|(_, pool)| pool.former_vaults.iter().chain([&pool.vault.address])).collect();
    assert_eq!(vaults.iter().collect::<BTreeSet<_>>().len(), vaults.len(), "a vault of two pools, or one that is back");
    assert!(state.all::<Invites>().all(|((pool, _), _)| state.pool(&pool).is_some()));
    assert!(state.all::<Closes>().count() <= KEPT_CLOSES);
    assert!(state.accounts_balance(), "sums do not balance");
    for height in [state.height().next(), state.height().plus(2)] {
        let set = state.validators(height).unwrap();
        assert!(!set.members().is_empty() && set.members().iter().all(|member| member.power > 0), "no power");
        let keys: BTreeSet<_> = set.members().iter().map(|member| member.keys.bls_key).collect();
        assert_eq!(keys.len(), set.members().len(), "a key of two");
    }
    for member in state.sets().newest().1.members() {
        let used = UsedKey { account: member.node, is_given_up: false };
        assert_eq!(state.get::<UsedKeys>(&member.keys.id), Some(&used), "a key that its validator does not have");
    }
    let mut proposed = BTreeMap::<NodeId, usize>::new();
    let policies = state.policies();
    let all: Vec<_> = policies.iter().collect();
    assert!(all.windows(2).all(|pair| pair[0].1.fixed() == pair[1].1.fixed() && pair[0].1 != pair[1].1));
    assert!(all.iter().all(|(_, policy)| policy.check() == Ok(())));
    assert!(policies.newest().0.get() <= open.get() + 2, "nobody decides farther ahead");
    for (id, proposal) in state.proposals() {
        assert_eq!(id, proposal.change.id());
        let is_next = |change: &PolicyChange| change.base == policies.newest().1.hash();
        assert!(proposal.change.policy().is_none_or(is_next), "a change of a policy that is not the newest");
        assert!(!proposal.approvals.is_empty() && proposal.approvals.is_sorted_by(|one, next| one < next));
        if proposal.change.needs_approval() {
            *proposed.entry(proposal.by).or_default() += usize::from(proposal.until >= state.time());
        } else {
            let own = (proposal.change.validators().map(ValidatorChange::validator), proposal.approvals.as_slice());
            assert_eq!(own, (Some(proposal.by), [proposal.by].as_slice()), "others have a say in a validator's keys");
            assert_eq!(state.rotation(&proposal.by).map(|(id, _)| id), Some(id), "two rotations of one account");
        }
    }
    assert!(proposed.values().all(|count| *count <= MAX_PROPOSED));
    let scored = state.open().map(|draw| &draw.scored).into_iter().flatten();
    for it in scored {
        let node = state.node(&it.node).unwrap();
        let takes_nothing = it.echo_bytes.is_none() && it.quota == 0;
        match node.maintenance_in(open) {
            None => {}
            Some(MaintenanceScope::Traffic) => assert!(takes_nothing, "traffic in maintenance"),
            Some(MaintenanceScope::All) => panic!("drawn in maintenance"),
        }
        assert!(node.membership.is_some_and(|membership| membership.pool == it.pool && membership.from <= open));
    }
}

/// One account a key, one key an account; keys of accounts are no accounts.
fn keys_hold(state: &State) {
    let mut in_force = BTreeSet::<PublicKey>::new();
    for (id, node) in state.nodes() {
        let key = state.key_of(&id).unwrap();
        assert_eq!(state.account_of(&key), Some(id));
        assert!(in_force.insert(key), "a key of two accounts");
        assert!(key == id.first_key() || state.get::<NodeKeys>(&key) == Some(&id), "a key without a row");
        assert!(!state.has::<NodeKeys>(&id.first_key()), "an account by the key of another");
        if let Some((_, announced)) = node.announced_key(state.final_through()) {
            assert_eq!((state.get::<NodeKeys>(&announced), state.account_of(&announced)), (Some(&id), None));
        }
    }
    for (key, account) in state.all::<NodeKeys>() {
        assert!(state.has::<Nodes>(account), "a key of nobody");
        assert_eq!(state.account_of(&key), in_force.contains(&key).then_some(*account), "a key that is not in force");
        assert_eq!(state.key_of(&NodeId::from_first_key(key)), None, "a key that would be an account");
    }
}

/// What never falls.
fn grows(before: &State, after: &State) {
    let [was, is] = [before, after].map(|state| state.policies().iter().collect::<Vec<_>>());
    assert!(is.starts_with(&was) && is.len() <= was.len() + 1, "a policy is forgotten, or two come with one block");
    let closed = after.closed().next();
    assert!(is[was.len()..].iter().all(|(from, _)| from.get() == closed.get() + 2), "it counts too early or late");
    for (key, account) in before.all::<Accounts>() {
        let now = after.get::<Accounts>(&key).map(|now| now.owed);
        assert!(now.is_some_and(|now| now >= account.owed), "less is owed than before");
    }
    for (id, pool) in before.pools() {
        let Some(now) = after.pool(&id) else { continue };
        let sums = |pool: &PoolState| pool.newest.map(|root| (root.settlement, root.total, root.fees, root.promised));
        let [was, is] = [pool, now].map(sums);
        let falls = was.zip(is).is_some_and(|(was, is)| is.0 < was.0 || is.1 < was.1 || is.2 < was.2 || is.3 < was.3);
        assert!(!falls && was.is_some() <= is.is_some(), "a root promises less than one before");
        let vaults = |pool: &PoolState| [pool.former_vaults.as_slice(), &[pool.vault.address]].concat();
        assert!(vaults(now).starts_with(&vaults(pool)), "a vault is forgotten");
    }
    for (account, nonce) in before.all::<Nonces>() {
        assert!(after.get::<Nonces>(&account).is_some_and(|now| now.next >= nonce.next), "a number is used again");
    }
    for (key, used) in before.all::<UsedKeys>() {
        let now = after.get::<UsedKeys>(&key).copied();
        let stays = now.is_some_and(|now| now.account == used.account && now.is_given_up >= used.is_given_up);
        assert!(stays, "a key that was used is somebody else's, or nobody's");
    }
    let newest = |state: &State| state.sets().newest().1.clone();
    for member in newest(after).members() {
        let Some(was) = newest(before).of(&member.node).copied() else { continue };
        let announced = before.proposals().filter_map(|(_, it)| it.change.validators());
        let mut announced = announced.filter(|change| change.validator() == member.node);
        let mut is_announced = || announced.any(|change| change.keys() == Some(&member.keys));
        assert!(was.keys == member.keys || is_announced(), "other keys than it has announced");
    }
    for (id, node) in before.nodes() {
        let Some(now) = after.node(&id) else { panic!("an account is gone") };
        assert!(now.is_retired >= node.is_retired, "who has retired is back");
        let [was, is] = [before, after].map(|state| state.key_of(&id).unwrap());
        if was != is {
            assert_eq!(before.announced_key(&id).map(|(_, key)| key), Some(is), "a key that nobody has announced");
            assert_eq!(after.account_of(&was), None, "two keys of one account");
        }
    }
    for (key, account) in before
        .all::<NodeKeys>()
        .filter(|(key, account)| before.announced_key(account).is_none_or(|(_, announced)| announced != *key))
    {
        assert_eq!(after.get::<NodeKeys>(&key), Some(account), "a key that was in force is free again");
        assert!(
            before.account_of(&key).is_some() || after.account_of(&key).is_none(),
            "a key that was given up is back"
        );
    }
}

/// A command that does not apply changes nothing.
fn is_whole(chain: &Chain, command: &SignedCommand) {
    let mut overlay = next_block(&chain.state, chain.state.next_time(&chain.spec));
    let delta = |overlay: &crate::ledger::state::Overlay<'_>| overlay.clone().finish(chain.state.block()).1;
    let before = delta(&overlay);
    let mut events = Vec::new();
    if apply(&chain.spec, &mut overlay, command, &mut events).is_err() {
        assert_eq!((delta(&overlay), events), (before, vec![]));
    }
}

/// The block that is built from what waits; it is valid.
fn next(chain: &mut Chain, pending: &mut PendingCommands, closing: Option<(bool, bool)>) {
    let mut draft = if let Some((all, _)) = closing {
        chain.draft(|_, worker| Some(observation(if all || worker % 2 == 0 { 4 } else { 0 }, true)))
    } else {
        chain.at(chain.state.next_time(&chain.spec))
    };
    // Which ones, the height says.
    if closing.is_some_and(|(_, forfeits)| forfeits) {
        let n = u64::try_from(draft.reveals.len()).unwrap();
        let height = draft.header.height.get();
        draft.reveals.truncate(usize::try_from(height % (n + 1)).unwrap());
    }
    let mut reports = Reports::default();
    let network = *chain.spec.id();
    for commitment in &draft.commitments {
        reports.add_commitment(&chain.spec, &chain.state, commitment.clone().verify(&network).unwrap());
    }
    for reveal in &draft.reveals {
        reports.add_reveal(&chain.spec, &chain.state, reveal.clone().verify(&network).unwrap());
    }
    let key = key_of(&draft.header.proposer);
    let waiting = Pending { reports, commands: std::mem::take(pending), ..Pending::default() };
    let turn = Turn { key, round: 0, now: draft.header.time };
    let (block, _) = build(&chain.spec, &chain.state, &waiting, turn).unwrap();
    let before = chain.state.clone();
    chain.apply(block);
    holds(&chain.state);
    grows(&before, &chain.state);
    *pending = waiting.commands;
    pending.follow(&chain.spec, &chain.state, chain.state.time());
}

/// Plays the steps; the actions that blocks hold, and how often the policy has changed.
fn play(steps: &[Step]) -> (Vec<Action>, usize) {
    let mut chain = Chain::new(start_with(|start| {
        (start.genesis.policy.free_joins, start.genesis.policy.inactive_after) = (2, 2);
        start.genesis.policy.validation_ppm = Ppm::new(200_000);
        start.genesis.policy.max_forfeits = Ppm::new(300_000);
    }));
    let mut pending = PendingCommands::default();
    for step in steps {
        match step {
            Step::Give(bytes) => {
                let command = command(&chain, *bytes);
                is_whole(&chain, &command);
                let view = View { spec: &chain.spec, state: &chain.state };
                if let Ok(command) = view.command(command, chain.state.time()) {
                    let _known = pending.add(&chain.spec, &chain.state, command, chain.state.time(), Source::Peer);
                }
            }
            Step::Block => next(&mut chain, &mut pending, None),
            Step::Close { reaches_all, forfeits } => {
                let closing = Some((*reaches_all, *forfeits));
                next(&mut chain, &mut pending, closing);
                while chain.state.pending().next().is_some() {
                    next(&mut chain, &mut pending, closing);
                }
            }
            Step::Pause(epochs) => {
                let end = chain.spec.genesis().epoch_end(Epoch::new(chain.state.closed().get() + u64::from(*epochs)));
                let before = chain.state.clone();
                let block = chain.at(end.max(chain.state.next_time(&chain.spec)));
                chain.apply(block);
                holds(&chain.state);
                grows(&before, &chain.state);
                pending.follow(&chain.spec, &chain.state, chain.state.time());
            }
        }
    }
    let mut again = chain.start.state(&chain.spec);
    for block in chain.blocks.values() {
        let block = block.clone().verify(chain.spec.id()).unwrap();
        again = validate(&chain.spec, &again, &block).unwrap().state;
    }
    assert_eq!(again, chain.state, "a replay leads elsewhere");
    let changes = chain.state.policies().iter().count() - 1;
    let commands = chain.blocks.into_values().flat_map(|block| block.commands);
    (commands.map(|command| command.record.action).collect(), changes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_commanded_the_state_is_sound(steps in steps()) {
        play(&steps);
    }
}

/// The steps above are not all refused: blocks hold commands of every kind.
#[test]
fn random_commands_apply_at_times() {
    let mut random = 1u64;
    let mut byte = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random.to_be_bytes()[0]
    };
    let mut kinds = BTreeMap::<String, usize>::new();
    let mut policies = 0;
    for _ in 0..40 {
        let steps = (0..150).map(|i| {
            if i % 6 == 5 {
                Step::Close { reaches_all: i % 36 == 5, forfeits: i % 24 == 5 }
            } else {
                Step::Give([(); 6].map(|()| byte()))
            }
        });
        let (actions, changes) = play(&steps.collect::<Vec<_>>());
        policies += changes;
        for action in actions {
            let of = match &action {
                Action::Register(registration) => format!("{:?}", registration.entry),
                Action::Node(NodeAction::Join { ticket: Ticket::Return, .. }) => "Return".to_owned(),
                Action::Node(action) => format!("{action:?}"),
                Action::Pool { action, .. } => format!("{action:?}"),
                Action::CreatePool(_) => "CreatePool".to_owned(),
                Action::Validator(action) => format!("{action:?}"),
            };
            let kind = of.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
    }
    let every = [
        "Network",
        "Pool",
        "Update",
        "PayoutAddress",
        "VetoPayoutAddress",
        "RotateKey",
        "VetoKey",
        "Join",
        "Return",
        "Leave",
        "Retire",
        "Maintenance",
        "CreatePool",
        "ApprovePool",
        "Propose",
        "Withdraw",
        "Resign",
        "Approve",
        "Refuse",
        "Ban",
        "Unban",
        "Hold",
        "Resume",
        "Suspend",
        "Correct",
        "Losses",
        "Signers",
        "Limits",
        "Vault",
        "Transfer",
        "Disband",
    ];
    let missing: Vec<_> = every.iter().filter(|kind| !kinds.contains_key(**kind)).collect();
    assert!(policies > 0, "no policy has changed");
    assert!(missing.is_empty(), "no block holds {missing:?}: {kinds:?}");
}
