//! Precompiled contracts that tell about votes and stakes (java-tron's `RewardBalance` and those after it, with
//! `FreezeV2Util`).
//!
//! Nobody votes on this network, and there are no rewards; its one witness is the one that makes the blocks.

use revm::primitives::{Address, Bytes, U256};

use super::energy::exists;
use super::vm::Ctx;
use crate::chain::params::SLOT_MS;
use crate::chain::resource::TRX;
use crate::chain::usage::whole;
use crate::chain::{Account, MAX_UNSTAKING, Resource, Stake};

/// What can be asked. Addresses come as words, and so do resources: 0 for bandwidth, 1 for energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    RewardBalance,
    IsWitness,
    VoteCount,
    UsedVoteCount,
    ReceivedVoteCount,
    TotalVoteCount,
    ChainParameter,
    AvailableUnfreezes,
    UnfreezableBalance,
    ExpiredUnfreezes,
    Delegatable,
    Resource,
    CheckUndelegate,
    Usage,
    TotalResource,
    TotalDelegated,
    TotalAcquired,
}

use Query::{
    AvailableUnfreezes, ChainParameter, CheckUndelegate, Delegatable, ExpiredUnfreezes, IsWitness, ReceivedVoteCount,
    RewardBalance, TotalAcquired, TotalDelegated, TotalResource, TotalVoteCount, UnfreezableBalance, UsedVoteCount,
    VoteCount,
};

/// From address 0x1000005 on: the query, its energy, its arguments and its answers, in words.
const ALL: [(Query, u64, usize, usize); 17] = [
    (RewardBalance, 500, 0, 1),
    (IsWitness, 20, 1, 1),
    (VoteCount, 500, 2, 1),
    (UsedVoteCount, 20, 1, 1),
    (ReceivedVoteCount, 20, 1, 1),
    (TotalVoteCount, 20, 1, 1),
    (ChainParameter, 50, 1, 1),
    (AvailableUnfreezes, 50, 1, 1),
    (UnfreezableBalance, 50, 2, 1),
    (ExpiredUnfreezes, 50, 2, 1),
    (Delegatable, 50, 2, 1),
    (Query::Resource, 50, 3, 1),
    (CheckUndelegate, 50, 3, 3),
    (Query::Usage, 50, 2, 2),
    (TotalResource, 50, 2, 1),
    (TotalDelegated, 50, 2, 1),
    (TotalAcquired, 50, 2, 1),
];
const FIRST: u32 = 0x100_0005;

/// What stakes are measured by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StakeRules {
    /// Milliseconds since the epoch of the block before.
    pub(crate) head_time: u64,
    /// Its slot.
    pub(crate) slot: u64,
    /// Bytes a day of all stakes.
    pub(crate) net_limit: u64,
    /// Energy a day of all stakes.
    pub(crate) energy_limit: u64,
    /// Days that unstaking takes.
    pub(crate) unfreeze_delay_days: u64,
}

/// A query with what its table says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    query: Query,
    pub(super) energy: u64,
    takes: usize,
    gives: usize,
}

/// The query at a precompiled contract's address.
pub(super) fn at(number: u32) -> Option<Asked> {
    let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
    let (query, energy, takes, gives) = *ALL.get(index)?;
    Some(Asked { query, energy, takes, gives })
}

impl Asked {
    /// Arguments of another length than wanted are answered with zeros.
    pub(super) fn answer(self, ctx: &mut Ctx<'_>, data: &[u8]) -> Bytes {
        let words: Vec<U256> = data.chunks_exact(32).map(U256::from_be_slice).collect();
        let answer = if data.len() == 32 * self.takes { self.query.answer(ctx, &words) } else { Vec::new() };
        let answer = answer.into_iter().chain(std::iter::repeat(0)).take(self.gives);
        answer.flat_map(|word| U256::from(word).to_be_bytes::<32>()).collect()
    }
}

fn to_address(word: U256) -> Address {
    Address::from_word(word.into())
}

/// A number as java-tron reads it: at most 63 bits.
fn long(word: U256) -> u64 {
    u64::try_from(word).unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs())
}

fn resource(word: U256) -> Option<Resource> {
    match long(word) {
        0 => Some(Resource::Bandwidth),
        1 => Some(Resource::Energy),
        _ => None,
    }
}

/// An account, be it as new as the transaction.
fn account(ctx: &mut Ctx<'_>, word: U256) -> Option<Account> {
    let address = to_address(word);
    match ctx.journaled_state.database.account(address) {
        Some(account) => Some(account.clone()),
        None => exists(ctx, address).then(|| Account::new(0)),
    }
}

fn limit(rules: StakeRules, resource: Resource) -> u64 {
    match resource {
        Resource::Bandwidth => rules.net_limit,
        Resource::Energy => rules.energy_limit,
    }
}

impl Query {
    fn answer(self, ctx: &mut Ctx<'_>, words: &[U256]) -> Vec<u64> {
        match (self, words) {
            (IsWitness, [address]) => vec![u64::from(to_address(*address) == ctx.chain.witness)],
            (ChainParameter, [code]) => vec![parameter(ctx, long(*code))],
            (Self::Resource, [to, from, kind]) if to_address(*to) != to_address(*from) => {
                let delegations = ctx.journaled_state.database.delegations(to_address(*from), to_address(*to));
                let delegation = resource(*kind).map(|resource| *delegations.of(resource)).unwrap_or_default();
                vec![delegation.open.saturating_add(delegation.locked)]
            }
            (_, [address, rest @ ..]) => match account(ctx, *address) {
                Some(account) => self.of_account(ctx, &account, rest),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn of_account(self, ctx: &Ctx<'_>, account: &Account, words: &[U256]) -> Vec<u64> {
        let rules = ctx.chain.stakes;
        let last = words.last().copied().unwrap_or_default();
        match self {
            TotalVoteCount => {
                let staked = Resource::ALL.iter().map(|r| account.stake(*r)).map(|s| s.own.saturating_add(s.delegated));
                vec![staked.fold(0, u64::saturating_add) / TRX]
            }
            AvailableUnfreezes => {
                let under_way = account.unstaking.iter().filter(|u| u.free_at > rules.head_time).count();
                vec![u64::try_from(MAX_UNSTAKING.saturating_sub(under_way)).unwrap_or(0)]
            }
            ExpiredUnfreezes => vec![account.withdrawable(long(last).saturating_mul(1_000))],
            _ => match resource(last) {
                Some(resource) => self.of_stake(ctx, account.stake(resource), resource, words),
                None => Vec::new(),
            },
        }
    }

    fn of_stake(self, ctx: &Ctx<'_>, stake: &Stake, resource: Resource, words: &[U256]) -> Vec<u64> {
        match self {
            UnfreezableBalance | Self::Resource => vec![stake.own],
            TotalResource => vec![stake.in_force()],
            TotalDelegated => vec![stake.delegated],
            TotalAcquired => vec![stake.acquired],
            Self::Usage => {
                let (in_use, seconds) = use_of(ctx, stake, resource);
                vec![in_use, seconds]
            }
            Delegatable => {
                let (in_use, _) = use_of(ctx, stake, resource);
                vec![stake.own.saturating_sub(in_use.saturating_sub(stake.acquired))]
            }
            CheckUndelegate => {
                let wanted = words.first().map_or(0, |word| long(*word));
                if wanted == 0 { Vec::new() } else { split(wanted, stake.in_force(), use_of(ctx, stake, resource)) }
            }
            _ => Vec::new(),
        }
    }
}

fn parameter(ctx: &Ctx<'_>, code: u64) -> u64 {
    let rules = ctx.chain.stakes;
    let weight = |resource: Resource| ctx.journaled_state.database.total(resource.weight());
    match code {
        1 => rules.net_limit,
        2 => weight(Resource::Bandwidth),
        3 => rules.energy_limit,
        4 => weight(Resource::Energy),
        5 => rules.unfreeze_delay_days,
        _ => 0,
    }
}

/// Sun whose yield is in use, and the seconds until none is.
fn use_of(ctx: &Ctx<'_>, stake: &Stake, resource: Resource) -> (u64, u64) {
    let now = ctx.chain.stakes.slot;
    let left = stake.usage.slot.saturating_add(stake.usage.slots()).saturating_sub(now);
    if left == 0 {
        return (0, 0);
    }
    let weight = ctx.journaled_state.database.total(resource.weight());
    let limit = limit(ctx.chain.stakes, resource).max(1);
    let in_use = stake.usage.at(now) as f64 * weight as f64 / limit as f64 * TRX as f64;
    (whole(in_use), left.saturating_mul(SLOT_MS) / 1_000)
}

/// Of a delegation of `wanted` to somebody with `limit` of which some is in use: what is not, what is, and for how long.
fn split(wanted: u64, limit: u64, (in_use, seconds): (u64, u64)) -> Vec<u64> {
    let wanted = wanted.min(limit);
    if limit <= in_use {
        return vec![0, wanted, seconds];
    }
    let clean = whole(wanted as f64 * ((limit - in_use) as f64 / limit as f64));
    vec![clean, wanted.saturating_sub(clean), seconds]
}
