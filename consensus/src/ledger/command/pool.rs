//! Pools: how they come into being and end, and what their owners do.

use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::{MAX_POOLS, NewPool, PoolAction, PoolTerms};
use lucid_types::vault::Vault;

use crate::ledger::command::{Applying, CommandRefused, current_key};
use crate::ledger::event::Event;
use crate::ledger::pool::{
    Account, Hold, KEPT_CHANGES, MAX_FORMER_VAULTS, MAX_FORMING, MAX_FORMING_TIME, MAX_PROMISED, Member, PoolState,
    PoolStatus, Standing, VaultChange, VaultTerms,
};
use crate::ledger::registry::{Nonce, payout_address};
use crate::ledger::settle;
use crate::ledger::state::{Overlay, Rows};
use crate::ledger::table::{Accounts, Invites, Members, Nodes, Nonces, Pools, Requests, Table, TableKey};

impl Applying<'_, '_> {
    pub(super) fn create_pool(&mut self, new: &NewPool) -> Result<(), CommandRefused> {
        self.registered(&self.account)?;
        let id = PoolId::derive(self.spec.id(), &new.name);
        if self.rows.has::<Pools>(&id) {
            return Err(CommandRefused::NameTaken);
        }
        let (mut n_pools, mut n_forming) = (0, 0);
        for (other, pool) in self.rows.all::<Pools>() {
            let is_forming = matches!(pool.status, PoolStatus::Forming { .. });
            if is_forming && pool.owner == self.account {
                return Err(CommandRefused::FormsPool(other));
            }
            n_forming += usize::from(is_forming);
            n_pools += usize::from(!matches!(pool.status, PoolStatus::Disbanded { .. }));
        }
        if n_pools >= MAX_POOLS {
            return Err(CommandRefused::TooManyPools);
        }
        if n_forming >= MAX_FORMING {
            return Err(CommandRefused::TooManyForming);
        }
        self.check_terms(&new.terms)?;
        self.check_vault(&new.vault, &[new.terms])?;
        let status = PoolStatus::Forming { until: self.now().after(MAX_FORMING_TIME), approvals: Vec::new() };
        let settled = settle::newest(self.spec, self.rows);
        self.put_pool(&id, PoolState::new(new.clone(), self.account, status, settled));
        self.events.push(Event::PoolCreated { pool: id });
        Ok(())
    }

    /// Checks a vault that a pool with these terms shall have.
    fn check_vault(&self, vault: &Vault, terms: &[PoolTerms]) -> Result<(), CommandRefused> {
        if vault.address == self.spec.genesis().tron.usdt {
            return Err(CommandRefused::Address { key: "vault.address", what: "the USDT contract" });
        }
        if self.rows.all::<Pools>().any(|(_, pool)| pool.has_vault(&vault.address)) {
            return Err(CommandRefused::VaultTaken);
        }
        if terms.iter().any(|terms| terms.commission_address == vault.address) {
            return Err(CommandRefused::Address { key: "commission_address", what: "the pool's vault" });
        }
        Ok(())
    }

    fn check_terms(&self, terms: &PoolTerms) -> Result<(), CommandRefused> {
        self.check_address("commission_address", &terms.commission_address)
    }

    /// By a validator.
    pub(super) fn approve_pool(&mut self, id: &PoolId) -> Result<(), CommandRefused> {
        let mut pool = self.pool_to_enter(id)?;
        let PoolStatus::Forming { approvals, .. } = &mut pool.status else { return Err(CommandRefused::NotForming) };
        match approvals.binary_search(&self.account) {
            Ok(_) => return Err(CommandRefused::Approved),
            Err(place) => approvals.insert(place, self.account),
        }
        self.activate(id, &mut pool);
        self.put_pool(id, pool);
        Ok(())
    }

    /// Makes a forming pool active if it has the members and the approval that it needs. The row is the caller's to write.
    pub(super) fn activate(&mut self, id: &PoolId, pool: &mut PoolState) {
        let PoolStatus::Forming { approvals, .. } = &pool.status else { return };
        let set = self.validators();
        let powers = approvals.iter().filter_map(|node| set.of(node)).map(|validator| validator.power);
        let power = powers.fold(0, u64::saturating_add);
        if set.is_third(power) && pool.members >= self.rows.policy_in_force().min_pool_members {
            let from = self.counts_from();
            pool.status = PoolStatus::Active { from };
            self.events.push(Event::PoolActive { pool: *id, from });
        }
    }

    pub(super) fn pool(&mut self, id: &PoolId, action: &PoolAction) -> Result<(), CommandRefused> {
        let mut pool = self.pool_of(id)?;
        if pool.owner != self.account {
            return Err(CommandRefused::NotOwner(pool.owner));
        }
        check_status(&pool, action)?;
        match action {
            PoolAction::Update { terms, join, max_members } => {
                self.check_terms(terms)?;
                let (next, from) = (pool.settled.saturating_add(1), self.after_notice(pool.settled));
                // By them members earn already, in a settlement whose turn has not come.
                if pool.next_terms.is_some_and(|(announced, _)| announced > next && announced < from) {
                    return Err(CommandRefused::TermsUnderWay);
                }
                pool.terms = *pool.terms_in(next);
                pool.next_terms = Some((from, *terms));
                (pool.join, pool.max_members) = (*join, *max_members);
            }
            PoolAction::Approve(node) => return self.approve(id, *node),
            PoolAction::Refuse(node) => {
                let request = self.rows.get::<Requests>(&(*id, *node)).filter(|it| it.until >= self.now());
                request.ok_or(CommandRefused::NoRequest)?;
                self.remove_request(id, node);
            }
            PoolAction::Ban(node) => self.ban(id, &mut pool, node)?,
            PoolAction::Unban(node) => self.unban(id, node)?,
            PoolAction::Hold(node) => self.hold(id, &pool, node)?,
            PoolAction::Resume(node) => {
                let key = (*id, AccountId::derive(self.spec.id(), id, AccountKind::Worker, node));
                let held = self.rows.get::<Accounts>(&key).filter(|account| matches!(account.hold, Hold::Since(_)));
                let held = held.cloned().ok_or(CommandRefused::NotHeld)?;
                self.rows.put::<Accounts>(&key, Account { hold: Hold::Ends, ..held });
            }
            PoolAction::Suspend(suspended) => {
                if pool.suspended_from.is_some() == *suspended {
                    return Err(CommandRefused::SuspendedAlready);
                }
                pool.suspended_from = suspended.then_some(self.after_notice(pool.settled));
            }
            PoolAction::Correct { account, amount } => self.correct(id, &pool, account, *amount)?,
            PoolAction::Losses(amount) => lose(&mut pool, *amount)?,
            PoolAction::Signers { nonce, next } => {
                let expected = pool.vault.signers.era.saturating_add(1);
                if next.era != expected {
                    return Err(CommandRefused::Era { given: next.era, expected });
                }
                change_vault(&mut pool, *nonce, VaultTerms::Signers(next.clone()))?;
                pool.vault.signers = next.clone();
                if let Some(newest) = &mut pool.newest {
                    newest.era = next.era;
                }
            }
            PoolAction::Limits { era, nonce, next } => {
                let expected = pool.vault.signers.era;
                if *era != expected {
                    return Err(CommandRefused::Era { given: *era, expected });
                }
                change_vault(&mut pool, *nonce, VaultTerms::Limits(*next))?;
                pool.vault.limits = *next;
                pool.next_push_fee = Some((self.after_notice(pool.settled), next.push_fee));
            }
            PoolAction::Vault { former, next } => {
                let expected = pool.vault.address;
                if *former != expected {
                    return Err(CommandRefused::OtherVault { given: *former, expected });
                }
                if pool.former_vaults.len() >= MAX_FORMER_VAULTS {
                    return Err(CommandRefused::TooManyVaults);
                }
                let terms: Vec<_> = pool.next_terms.iter().map(|(_, terms)| *terms).chain([pool.terms]).collect();
                self.check_vault(next, &terms)?;
                let push_fee_from = self.after_notice(pool.settled);
                pool.replace_vault(next.clone(), push_fee_from);
            }
            PoolAction::Transfer(owner) => {
                if self.registered(owner)?.is_retired {
                    return Err(CommandRefused::NotRegistered(*owner));
                }
                pool.owner = *owner;
                self.events.push(Event::PoolTransferred { pool: *id, owner: *owner });
            }
            PoolAction::Disband => return self.disband(id, pool),
        }
        self.put_pool(id, pool);
        Ok(())
    }

    fn approve(&mut self, id: &PoolId, account: NodeId) -> Result<(), CommandRefused> {
        let pool = self.pool_to_enter(id)?;
        let request = self.rows.get::<Requests>(&(*id, account)).filter(|it| it.until >= self.now());
        let applicant = request.ok_or(CommandRefused::NoRequest)?.node.clone();
        let is_registered = self.rows.has::<Nodes>(&account);
        let node = match applicant.filter(|_| !is_registered) {
            Some(node) => {
                // Another account may have announced its key since.
                current_key(self.rows, &account)?;
                self.check_addresses(&node)?;
                node
            }
            None => self.registered(&account)?,
        };
        if node.is_retired {
            return Err(CommandRefused::NotRegistered(account));
        }
        self.check_member(id, &account, &node)?;
        self.check_room(&pool)?;
        if !is_registered && !self.rows.has::<Nonces>(&account) {
            // Its registration was the first of its commands.
            let first = Nonce::filled_to(None, self.rows.head.closed);
            self.rows.put::<Nonces>(&account, Nonce { next: 1, ..first });
        }
        self.let_in(id, pool, account, node);
        Ok(())
    }

    fn ban(&mut self, id: &PoolId, pool: &mut PoolState, account: &NodeId) -> Result<(), CommandRefused> {
        let mut node = self.registered(account)?;
        let member = self.rows.get::<Members>(&(*id, *account)).copied().unwrap_or_default();
        if member.standing == Standing::Banned {
            return Err(CommandRefused::BannedAlready);
        }
        if node.pool() == Some(*id) {
            self.end_membership(account, &mut node, pool);
            self.rows.put::<Nodes>(account, node);
        }
        self.remove_request(id, account);
        self.rows.put::<Members>(&(*id, *account), Member { standing: Standing::Banned, ..member });
        self.events.push(Event::Banned { pool: *id, node: *account });
        Ok(())
    }

    fn unban(&mut self, id: &PoolId, account: &NodeId) -> Result<(), CommandRefused> {
        let key = (*id, *account);
        let banned = self.rows.get::<Members>(&key).filter(|member| member.standing == Standing::Banned);
        let member = Member { standing: Standing::Good, ..*banned.ok_or(CommandRefused::NotBanned)? };
        let works = self.rows.get::<Nodes>(account).and_then(|node| node.pool_from(self.epoch)) == Some(*id);
        if member == Member::default() && !works {
            self.rows.remove::<Members>(&key);
        } else {
            self.rows.put::<Members>(&key, member);
        }
        Ok(())
    }

    fn hold(&mut self, id: &PoolId, pool: &PoolState, node: &NodeId) -> Result<(), CommandRefused> {
        let key = (*id, AccountId::derive(self.spec.id(), id, AccountKind::Worker, node));
        // Or somebody who was a member, and has something in its row still: it may be held for what it has earned so far.
        let is_member = self.rows.has::<Members>(&(*id, *node));
        let to = payout_address(self.rows, pool, (AccountKind::Worker, node), pool.settled).filter(|_| is_member);
        let to = to.ok_or(CommandRefused::NotMember)?;
        let new = || Account::new(AccountKind::Worker, *node, to);
        let account = self.rows.get::<Accounts>(&key).cloned().unwrap_or_else(new);
        if account.hold != Hold::No {
            return Err(CommandRefused::HeldAlready);
        }
        self.rows.put::<Accounts>(&key, Account { hold: Hold::Since(self.after_notice(pool.settled)), ..account });
        Ok(())
    }

    fn correct(
        &mut self,
        pool: &PoolId,
        state: &PoolState,
        id: &AccountId,
        amount: MicroUsdt,
    ) -> Result<(), CommandRefused> {
        let pending = self.rows.all_of::<Accounts, _>(pool).map(|(_, account)| account.correction);
        let pending = MicroUsdt::sum(pending).ok_or(CommandRefused::TooGreat)?;
        grown(state.budgets.saturating_add(pending), amount)?;
        let account = self.rows.get_mut::<Accounts>(&(*pool, *id)).ok_or(CommandRefused::NoAccount)?;
        account.correction = account.correction.saturating_add(amount);
        Ok(())
    }

    /// All members leave. A forming pool is gone with that; another one keeps what it owes.
    fn disband(&mut self, id: &PoolId, mut pool: PoolState) -> Result<(), CommandRefused> {
        self.events.push(Event::PoolDisbanded { pool: *id });
        let PoolStatus::Active { from } = pool.status else {
            remove_pool(self.rows, id);
            return Ok(());
        };
        let members: Vec<_> = self.rows.all_of::<Members, _>(id).map(|((_, node), _)| node).collect();
        for account in members {
            let Some(mut node) = self.rows.get::<Nodes>(&account).cloned() else { continue };
            if node.pool() == Some(*id) {
                self.end_membership(&account, &mut node, &mut pool);
                self.rows.put::<Nodes>(&account, node);
            } else if node.membership.is_some_and(|it| it.pool == *id) {
                self.give_up_return(&account, &node);
            }
        }
        remove_entries(self.rows, id);
        pool.status = PoolStatus::Disbanded { from, until: self.counts_from() };
        self.put_pool(id, pool);
        Ok(())
    }
}

/// What a pool that pays nothing yet has no use for, and what comes too late in one that has ended.
fn check_status(pool: &PoolState, action: &PoolAction) -> Result<(), CommandRefused> {
    let is_payout = match action {
        PoolAction::Hold(_)
        | PoolAction::Resume(_)
        | PoolAction::Suspend(_)
        | PoolAction::Correct { .. }
        | PoolAction::Losses(_)
        | PoolAction::Signers { .. }
        | PoolAction::Limits { .. }
        | PoolAction::Vault { .. } => true,
        PoolAction::Update { .. }
        | PoolAction::Approve(_)
        | PoolAction::Refuse(_)
        | PoolAction::Ban(_)
        | PoolAction::Unban(_)
        | PoolAction::Transfer(_)
        | PoolAction::Disband => false,
    };
    match pool.status {
        PoolStatus::Forming { .. } if is_payout => Err(CommandRefused::Forming),
        PoolStatus::Disbanded { .. } if !is_payout && !matches!(action, PoolAction::Transfer(_)) => {
            Err(CommandRefused::Disbanded)
        }
        _ => Ok(()),
    }
}

/// Removes the forming pools whose time is over, and returns their ids.
pub(crate) fn remove_expired(rows: &mut Overlay<'_>) -> Vec<PoolId> {
    let time = rows.head.time;
    let is_over = |pool: &PoolState| matches!(pool.status, PoolStatus::Forming { until, .. } if until < time);
    let over: Vec<_> = rows.all::<Pools>().filter(|(_, pool)| is_over(pool)).map(|(id, _)| id).collect();
    over.iter().for_each(|id| remove_pool(rows, id));
    over
}

/// Removes a pool that owes nothing, with its members' memberships.
fn remove_pool(rows: &mut Overlay<'_>, id: &PoolId) {
    let members: Vec<_> = rows.all_of::<Members, _>(id).map(|((_, node), _)| node).collect();
    for account in members {
        let node = rows.get_mut::<Nodes>(&account);
        if let Some(node) = node.filter(|node| node.membership.is_some_and(|it| it.pool == *id)) {
            node.membership = None;
        }
        rows.remove::<Members>(&(*id, account));
    }
    remove_entries(rows, id);
    rows.remove::<Pools>(id);
}

/// Removes a pool's requests and invites.
fn remove_entries(rows: &mut Overlay<'_>, id: &PoolId) {
    for (_, account) in keys::<Requests>(rows, id) {
        if let Some(node) = rows.get_mut::<Nodes>(&account).filter(|node| node.request == Some(*id)) {
            node.request = None;
        }
        rows.remove::<Requests>(&(*id, account));
    }
    keys::<Invites>(rows, id).iter().for_each(|key| rows.remove::<Invites>(key));
}

fn keys<T: Table>(rows: &Overlay<'_>, part: &impl TableKey) -> Vec<T::Key> {
    rows.all_of::<T, _>(part).map(|(key, _)| key).collect()
}

/// Keeps a change of the vault for the signers in force, and uses its nonce up.
fn change_vault(state: &mut PoolState, nonce: u32, next: VaultTerms) -> Result<(), CommandRefused> {
    if nonce != state.vault.nonce {
        return Err(CommandRefused::VaultNonce { given: nonce, expected: state.vault.nonce });
    }
    let used = nonce.checked_add(1).filter(|used| *used <= Vault::MAX_NONCE);
    state.vault.nonce = used.ok_or(CommandRefused::TooManyChanges)?;
    state.changes.insert(nonce, VaultChange { by: state.vault.signers.clone(), next });
    while state.changes.len() > KEPT_CHANGES {
        state.changes.pop_first();
    }
    Ok(())
}

fn grown(sum: MicroUsdt, amount: MicroUsdt) -> Result<MicroUsdt, CommandRefused> {
    sum.checked_add(amount).filter(|sum| *sum <= MAX_PROMISED).ok_or(CommandRefused::TooGreat)
}

fn lose(state: &mut PoolState, amount: MicroUsdt) -> Result<(), CommandRefused> {
    state.losses = grown(state.losses, amount)?;
    if let Some(newest) = &mut state.newest {
        newest.total = newest.total.saturating_add(amount);
        newest.promised = newest.promised.saturating_add(amount);
    }
    Ok(())
}
