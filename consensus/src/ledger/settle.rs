//! Settlements: shares become rewards, rewards add to owed totals, a leader is elected, and a payout root is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_score::credits::validation_credits;
use lucid_score::draw::EpochDraw;
use lucid_score::leader::{Candidate, order};
use lucid_score::reward::{part, split};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::id::{Hash, NodeId, PayoutAddress, PayoutId, PoolId};
use lucid_types::payout::{AccountKind, PayoutRequest, SettlementRoot};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;

use crate::chain_spec::ChainSpec;
use crate::ledger::check::InvalidBlock;
use crate::ledger::duties::{PoolValidations, Validation, duty_in};
use crate::ledger::event::{Event, Settled};
use crate::ledger::pool::{Account, Election, Hold, MAX_PROMISED, Member, PoolState, Standing};
use crate::ledger::registry::{Node, payout_address};
use crate::ledger::state::{EpochScores, Overlay, Rows, State};
use crate::ledger::table::{Accounts, Members, Nodes, Pools, Validations, Workers};

/// How often as long as it takes a member to become inactive it can come back.
const INACTIVE_FOR: u64 = 4;

/// The most settlements that a member's earnings are held: then they are owed whatever the owner says.
pub const MAX_HOLD: u64 = 7;

/// Adds an epoch's scores to the shares of the pools' settlement under way: to that of the pool for which the epoch's draw has scored
/// the worker, which may have left it since, for another one too. Notes there whether validators have reached it.
pub(crate) fn add_shares(
    spec: &ChainSpec,
    overlay: &mut Overlay<'_>,
    draw: &EpochDraw,
    scores: &EpochScores,
) -> Result<(), InvalidBlock> {
    let settlement = spec.fixed().settlement_of(scores.epoch);
    for row in &scores.rows {
        let scored = draw.scored.binary_search_by_key(&row.worker, |scored| scored.node).ok();
        let Some(id) = scored.map(|place| draw.scored[place].pool) else { continue };
        let Some(split) = overlay.get::<Pools>(&id).map(|pool| pool.terms_in(settlement).split) else { continue };
        let credits = u128::from(row.credits.get());
        let share = match split {
            SplitRule::CreditsTimesScore => credits * u128::from(row.score.get()),
            SplitRule::Credits | SplitRule::Equal => credits,
        };
        let key = (id, row.worker);
        let mut member = overlay.get::<Members>(&key).copied().unwrap_or_default();
        let sum = member.share.unwrap_or(0).checked_add(share).ok_or(InvalidBlock::Overflow)?;
        member.probed(row.reachable_ms > 0);
        member.share = Some(if split == SplitRule::Equal { u128::from(sum > 0) } else { sum });
        overlay.put::<Members>(&key, member);
    }
    Ok(())
}

/// The newest settlement all of whose epochs are final: that of every pool, once the block is executed.
pub(crate) fn newest(spec: &ChainSpec, rows: &impl Rows) -> u64 {
    let policy = spec.fixed();
    let last = rows.final_through().get() / policy.settle_every;
    policy.last_settlement.map_or(last, |end| last.min(end))
}

impl State {
    /// The newest settlement all of whose epochs are final, of every pool.
    pub fn newest_settlement(&self, spec: &ChainSpec) -> u64 {
        newest(spec, self)
    }
}

/// Computes the settlements all of whose epochs are final now. Of several at once, only the first can have measured epochs: the
/// others were over before anybody knew their seeds. `beacon` is that before the block: its proposer could not choose it.
pub(crate) fn settle(
    spec: &ChainSpec,
    overlay: &mut Overlay<'_>,
    beacon: &Hash,
    events: &mut Vec<Event>,
) -> Result<(), InvalidBlock> {
    let last = newest(spec, overlay);
    let due = overlay.all::<Pools>().filter(|(_, state)| state.settled < last);
    let due: Vec<_> = due.map(|(id, state)| (id, state.clone())).collect();
    for (id, state) in due {
        let mut settling = Settling::begin(spec, id, state, overlay);
        events.extend(settling.reward(overlay)?);
        if settling.is_measured {
            events.push(settling.elect(overlay, beacon));
        }
        events.extend(settling.make_root(overlay)?.map(|made| Event::Settled(Box::new(made))));
        carry(spec, &mut settling.state, last)?;
        settling.finish(overlay, events);
    }
    Ok(())
}

/// Carries the budgets of settlements without a measured epoch, up to `last`.
fn carry(spec: &ChainSpec, state: &mut PoolState, last: u64) -> Result<(), InvalidBlock> {
    let budgets = state.budget(spec.fixed().settle_every, (state.settled.saturating_add(1), last));
    let budgets = budgets.min(MAX_PROMISED.saturating_sub(state.budgets));
    add(&mut state.budgets, budgets)?;
    add(&mut state.carried, budgets)?;
    state.settled = last;
    Ok(())
}

fn add(sum: &mut MicroUsdt, amount: MicroUsdt) -> Result<(), InvalidBlock> {
    *sum = sum.checked_add(amount).ok_or(InvalidBlock::Overflow)?;
    Ok(())
}

/// What is shared out of a pot less fee, to whom.
#[derive(Clone, Copy, Default)]
struct Cut {
    commission: MicroUsdt,
    validators: MicroUsdt,
    members: MicroUsdt,
}

/// A settlement of one pool under way: its rows, taken out of their tables until [`Self::finish`].
struct Settling<'a> {
    spec: &'a ChainSpec,
    /// That of the settlement's last epoch.
    policy: Arc<Policy>,
    id: PoolId,
    settlement: u64,
    /// Whether any member was measured in it.
    is_measured: bool,
    state: PoolState,
    accounts: BTreeMap<AccountId, Account>,
    members: BTreeMap<NodeId, Member>,
    /// What each validator's measurements of its workers count in it.
    validators: Vec<(NodeId, u128)>,
}

impl<'a> Settling<'a> {
    /// Begins the settlement after the pool's newest. From now on accounts are paid where their nodes say now.
    fn begin(spec: &'a ChainSpec, id: PoolId, mut state: PoolState, overlay: &Overlay<'_>) -> Self {
        let settlement = state.settled.saturating_add(1);
        state.settled = settlement;
        if let Some((_, terms)) = state.next_terms.take_if(|(from, _)| *from <= settlement) {
            state.terms = terms;
        }
        let account = |((_, id), account): (_, &Account)| {
            let of = (account.kind, &account.node);
            let to = payout_address(overlay, &state, of, settlement).unwrap_or(account.to);
            (id, Account { to, ..account.clone() })
        };
        let accounts = overlay.all_of::<Accounts, _>(&id).map(account).collect();
        let members = overlay.all_of::<Members, _>(&id).map(|((_, node), row)| (node, *row));
        let members: BTreeMap<_, _> = members.collect();
        let is_measured = members.values().any(|member| member.share.is_some());
        let policy = Arc::clone(overlay.policy(spec.fixed().last_epoch_of(settlement)));
        let validations = overlay.get::<Validations>(&id).into_iter().flat_map(PoolValidations::iter);
        let weight = |&Validation { validator, sessions }: &Validation| {
            let duty = duty_in(overlay, &validator, settlement);
            let is_paid = !spec.rules().loses_validation_pay(&policy, &duty);
            (validator, if is_paid { validation_credits(sessions).get().into() } else { 0 })
        };
        let validators = validations.map(weight).collect();
        Self { spec, policy, id, settlement, is_measured, state, accounts, members, validators }
    }

    /// Writes the rows that have changed. Members that have been unreachable for long become inactive by this, and those that were
    /// inactive for long are forgotten: a settlement reads all members' rows and changes the pool's anyway.
    fn finish(self, overlay: &mut Overlay<'_>, events: &mut Vec<Event>) {
        let Self { spec, policy, id, mut state, accounts, members, .. } = self;
        let (open, inactive_after) = (overlay.head.closed.next(), policy.inactive_after);
        // As a member that leaves with this block: whom nearer epochs draw may be known.
        let until = spec.genesis().epoch_at(overlay.head.time).next().next();
        for (account, row) in accounts {
            let key = (id, account);
            if overlay.get::<Accounts>(&key) != Some(&row) {
                overlay.put::<Accounts>(&key, row);
            }
        }
        for (node, mut member) in members {
            let key = (id, node);
            let row = overlay.get::<Nodes>(&node);
            let is_member = row.and_then(|row| row.pool_from(open)) == Some(id);
            if member.unreached >= inactive_after && row.and_then(Node::pool) == Some(id) {
                member = Member { standing: Standing::Inactive(until), unreached: 0, ..member };
                if let Some(membership) = overlay.get_mut::<Nodes>(&node).and_then(|row| row.membership.as_mut()) {
                    membership.until = Some(until);
                }
                state.members = state.members.saturating_sub(1);
                events.push(Event::Inactive { pool: id, node, until });
            }
            if let Standing::Inactive(until) = member.standing
                && open.get() >= until.get().saturating_add(INACTIVE_FOR.saturating_mul(inactive_after.into()))
            {
                member.standing = Standing::Good;
                events.push(Event::Left { pool: id, node, until });
            }
            if !is_member {
                member.unreached = 0;
            }
            if member == Member::default() && !is_member {
                overlay.remove::<Members>(&key);
            } else if overlay.get::<Members>(&key) != Some(&member) {
                overlay.put::<Members>(&key, member);
            }
        }
        overlay.remove::<Validations>(&id);
        overlay.put::<Pools>(&id, state);
    }

    /// Sum of all owed totals.
    fn owed(&self) -> Result<MicroUsdt, InvalidBlock> {
        MicroUsdt::sum(self.accounts.values().map(|account| account.owed)).ok_or(InvalidBlock::Overflow)
    }

    /// Shares the budget and what was carried out among owner, validators and members, or carries it.
    ///
    /// `fee = min(pot, due * push fee)`, where the accounts are due that the settlement requests if the pot is split without a fee;
    /// `commission = floor((pot - fee) * rate)`, and likewise the validators' part, if any is paid; the rest goes to the members by their
    /// shares. The part of a node that is gone and has no account is carried, as is that of a validator that was never registered.
    fn reward(&mut self, overlay: &Overlay<'_>) -> Result<Option<Event>, InvalidBlock> {
        let Self { spec, policy, id, settlement, state, accounts, members, validators, .. } = self;
        if let Some((_, fee)) = state.next_push_fee.take_if(|(from, _)| *from <= *settlement) {
            state.push_fee = fee;
        }
        release(state, accounts, *settlement)?;
        let budget = state.budget(spec.fixed().settle_every, (*settlement, *settlement));
        let budget = budget.min(MAX_PROMISED.saturating_sub(state.budgets));
        add(&mut state.budgets, budget)?;
        let pot = state.carried.checked_add(budget).ok_or(InvalidBlock::Overflow)?;
        let shares = members.iter_mut().filter_map(|(node, member)| Some((*node, member.share.take()?)));
        let shares: Vec<_> = shares.collect();
        let is_earned = shares.iter().any(|(_, share)| *share > 0);
        // The account of each part, as it is before, and its amount.
        let account_of = |((kind, node), amount)| {
            let account_id = AccountId::derive(spec.id(), id, kind, &node);
            let new = || Some(Account::new(kind, node, payout_address(overlay, state, (kind, &node), *settlement)?));
            Some((account_id, (accounts.get(&account_id).cloned().or_else(new)?, amount)))
        };
        let is_validated = validators.iter().any(|(_, weight)| *weight > 0);
        let validation = if is_validated { policy.validation_ppm } else { Ppm::ZERO };
        let cut = |pot: MicroUsdt| {
            let (commission, validators) = (part(pot, state.terms.commission), part(pot, validation));
            // Together they may be more than all: commission comes first.
            let left = pot.saturating_sub(commission);
            let validators = validators.min(left);
            Cut { commission, validators, members: left.saturating_sub(validators) }
        };
        let parts_of = |cut: Cut| -> BTreeMap<AccountId, (Account, MicroUsdt)> {
            if !is_earned {
                return BTreeMap::new();
            }
            let of = |kind, whole, weights: &[(NodeId, u128)]| {
                let nodes: Vec<_> = weights.iter().map(|(node, _)| (kind, *node)).collect();
                nodes.into_iter().zip(split(whole, weights))
            };
            let members = of(AccountKind::Worker, cut.members, &shares);
            let validators = of(AccountKind::Validator, cut.validators, validators);
            let all = members.chain(validators).chain([((AccountKind::Commission, state.owner), cut.commission)]);
            all.filter(|(_, amount)| *amount > MicroUsdt::ZERO).filter_map(account_of).collect()
        };

        let without_fee = parts_of(cut(pot));
        let (mut due, mut sum) = (0_u64, MicroUsdt::ZERO);
        for id in accounts.keys().chain(without_fee.keys().filter(|id| !accounts.contains_key(*id))) {
            let account = accounts.get(id);
            let is_held = account.is_some_and(|account| account.hold.is_in_force(*settlement));
            let part = without_fee.get(id).map(|(_, part)| *part).filter(|_| !is_held).unwrap_or_default();
            let (owed, requested) = account.map_or_else(Default::default, |account| (account.owed, account.requested));
            let after = owed.checked_add(part).ok_or(InvalidBlock::Overflow)?;
            add(&mut sum, after)?;
            due += u64::from(is_due(after, requested, policy.payout_threshold));
        }
        if !state.makes_root(*settlement, sum) {
            due = 0;
        }
        let fee = due.checked_mul(state.push_fee.get()).map_or(pot, |fee| pot.min(MicroUsdt::new(fee)));
        let whole = pot;
        let pot = pot.checked_sub(fee).ok_or(InvalidBlock::Overflow)?;
        let shared_out = if is_earned { cut(pot) } else { Cut::default() };
        let parts = parts_of(shared_out);
        add(&mut state.fees, fee)?;
        let mut shared = MicroUsdt::ZERO;
        for (id, (account, part)) in parts {
            let account = accounts.entry(id).or_insert(account);
            let sum = if account.hold.is_in_force(*settlement) { &mut account.held } else { &mut account.owed };
            add(sum, part)?;
            add(&mut shared, part)?;
        }
        // Weights too small beside the others to give anything to leave something over.
        state.carried = spec.rules().carried(pot, shared).ok_or(InvalidBlock::Overflow)?;
        let Cut { commission, validators, members } = shared_out;
        let is_told = is_earned || fee > MicroUsdt::ZERO;
        Ok(is_told.then_some(Event::Shared {
            pool: *id,
            settlement: *settlement,
            pot: whole,
            fee,
            commission,
            validators,
            members,
        }))
    }

    /// Elects the leader and its successors, among the members that count in the open epoch and offer to lead.
    fn elect(&mut self, overlay: &Overlay<'_>, beacon: &Hash) -> Event {
        let Self { ref policy, id, settlement, .. } = *self;
        let (scored, open) = (overlay.head.scored, overlay.head.closed.next());
        let candidate = |(node, member): (&NodeId, &Member)| {
            let row = overlay.get::<Nodes>(node).filter(|row| row.pool_in(open) == Some(id))?;
            row.gas_address?;
            let stats = overlay.get::<Workers>(node)?;
            Some(Candidate {
                node: *node,
                is_eligible: stats.is_eligible(policy, scored),
                last_led: member.last_led,
                live: stats.live(policy, scored),
            })
        };
        let candidates: Vec<_> = self.members.iter().filter_map(candidate).collect();
        let mut order = order(&candidates, settlement, policy.leader_cooldown, beacon);
        order.truncate(usize::try_from(policy.leader_successors).unwrap_or(usize::MAX).saturating_add(1));
        if let Some(leader) = order.first() {
            self.members.entry(leader.node).or_default().last_led = Some(settlement);
        }
        let (height, time) = (overlay.head.height, overlay.head.time);
        self.state.election = Some(Election { settlement, height, time, order: order.clone() });
        Event::Elected { pool: id, settlement, order }
    }

    /// Makes the root if any owed total has grown since the newest one, unless the pool is suspended.
    fn make_root(&mut self, overlay: &Overlay<'_>) -> Result<Option<Settled>, InvalidBlock> {
        let owed = self.owed()?;
        let Self { spec, policy, id, settlement, state, accounts, .. } = self;
        if !state.makes_root(*settlement, owed) {
            return Ok(None);
        }
        let threshold = policy.payout_threshold;
        let (mut requests, mut requested) = (Vec::new(), BTreeMap::new());
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (id, account) in accounts {
            let leaf = OwedAccount { id: *id, to: account.to, owed: account.owed };
            if is_due(account.owed, account.requested, threshold) {
                requests.push(PayoutRequest {
                    id: PayoutId::derive(id, *settlement),
                    account: *id,
                    kind: account.kind,
                    node: account.node,
                    to: account.to,
                    amount: account.owed.saturating_sub(account.requested),
                    owed: account.owed,
                });
                account.requested = account.owed;
                first.push(leaf);
            } else if account.owed > MicroUsdt::ZERO {
                rest.push(leaf);
            }
            if account.requested > MicroUsdt::ZERO {
                requested.insert(*id, account.requested);
            }
        }
        let leaves = [first, rest].concat();
        let tree = PayoutTree::new(&leaves).map_err(|_| InvalidBlock::Overflow)?;
        let sum = |parts: &[MicroUsdt]| MicroUsdt::sum(parts.iter().copied()).ok_or(InvalidBlock::Overflow);
        let leader = state.election.as_ref().filter(|election| election.settlement == *settlement);
        let leader = leader.and_then(|election| overlay.get::<Nodes>(&election.leader()?)?.gas_address);
        let turn = policy.leader_timeout_ms.saturating_add(overlay.head.time.get()).div_ceil(1_000);
        let root = SettlementRoot {
            pool: *id,
            settlement: *settlement,
            vault: state.vault.address,
            era: state.vault.signers.era,
            root: tree.root(),
            total: spec.rules().root_total(owed, state.fees, state.losses).ok_or(InvalidBlock::Overflow)?,
            fees: state.fees,
            promised: sum(&[state.budgets, state.losses])?,
            leader,
            until: leader.map_or(0, |_| turn),
        };
        state.rooted = owed;
        state.newest = Some(root);
        Ok(Some(Settled { root, leaves, requested, requests }))
    }
}

/// Whether a total that went from `before` to `after` has crossed a multiple of the threshold; without one, whether it grew.
pub fn is_due(after: MicroUsdt, before: MicroUsdt, threshold: MicroUsdt) -> bool {
    let times = |total: MicroUsdt| total.get().checked_div(threshold.get()).unwrap_or(total.get());
    times(after) > times(before)
}

/// Corrections become owed, and so does what was held when its hold is over.
fn release(
    pool: &mut PoolState,
    accounts: &mut BTreeMap<AccountId, Account>,
    settlement: u64,
) -> Result<(), InvalidBlock> {
    for account in accounts.values_mut() {
        let correction = std::mem::take(&mut account.correction);
        add(&mut account.owed, correction)?;
        add(&mut pool.budgets, correction)?;
        let is_over = match account.hold {
            Hold::No => false,
            Hold::Since(since) => settlement.saturating_sub(since) >= MAX_HOLD,
            Hold::Ends => true,
        };
        if is_over {
            account.hold = Hold::No;
            let held = std::mem::take(&mut account.held);
            add(&mut account.owed, held)?;
        }
    }
    Ok(())
}

impl Account {
    /// An account that was never owed anything.
    pub(crate) const fn new(kind: AccountKind, node: NodeId, to: PayoutAddress) -> Self {
        let none = MicroUsdt::ZERO;
        Self { kind, node, to, owed: none, requested: none, held: none, hold: Hold::No, correction: none }
    }
}
