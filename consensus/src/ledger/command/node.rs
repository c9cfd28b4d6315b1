//! What accounts do about themselves.

use lucid_types::command::{Entry, MAX_MAINTENANCE, MaintenanceScope, NodeAction, Registration};
use lucid_types::id::{NodeId, PayoutAddress, PublicKey};
use lucid_types::network_group::NetworkGroup;
use lucid_types::time::Epoch;

use crate::ledger::command::{Applying, CommandRefused, current_key};
use crate::ledger::event::Event;
use crate::ledger::pool::{PoolState, PoolStatus};
use crate::ledger::registry::{Maintenance, Node, owner_of};
use crate::ledger::settle;
use crate::ledger::state::Rows;
use crate::ledger::table::{NodeKeys, Nodes, Nonces, Pools, Requests};
use crate::ledger::validators;

impl Applying<'_, '_> {
    pub(super) fn register(&mut self, registration: &Registration) -> Result<(), CommandRefused> {
        let &Registration { operator, payout_address, payout_key, gas_address, capacity, ref entry } = registration;
        if self.rows.has::<Nodes>(&self.account) {
            return Err(CommandRefused::Registered);
        }
        let key = current_key(self.rows, &self.account)?;
        let node = Node {
            key,
            next_key: None,
            operator,
            payout_address,
            next_payout: None,
            payout_key,
            gas_address,
            capacity,
            membership: None,
            request: None,
            is_retired: false,
            group: NetworkGroup::NONE,
            maintenance: Vec::new(),
        };
        self.check_addresses(&node)?;
        match entry {
            Entry::Network(stamp) => self.enter_network(node, stamp),
            Entry::Pool { pool, ticket } => self.enter_pool(node, pool, ticket),
        }
    }

    pub(super) fn check_addresses(&self, node: &Node) -> Result<(), CommandRefused> {
        self.check_address("payout_address", &node.payout_address)?;
        node.gas_address.map_or(Ok(()), |gas| self.check_address("gas_address", &gas))
    }

    pub(super) fn node(&mut self, action: &NodeAction) -> Result<(), CommandRefused> {
        let mut node = self.registered(&self.account)?;
        match action {
            NodeAction::Update { gas_address, capacity } => {
                let node = Node { gas_address: *gas_address, capacity: *capacity, ..node };
                node.gas_address.map_or(Ok(()), |gas| self.check_address("gas_address", &gas))?;
                self.rows.put::<Nodes>(&self.account, node);
            }
            NodeAction::PayoutAddress(address) => self.announce(node, *address)?,
            NodeAction::VetoPayoutAddress => {
                let next = settle::newest(self.spec, self.rows).saturating_add(1);
                node.next_payout.take_if(|(from, _)| *from >= next).ok_or(CommandRefused::NothingAnnounced)?;
                self.rows.put::<Nodes>(&self.account, node);
            }
            NodeAction::RotateKey(key) => self.rotate(node, *key)?,
            NodeAction::VetoKey => {
                let done = self.rows.final_through();
                let (_, key) = node.next_key.take_if(|(with, _)| *with > done).ok_or(CommandRefused::NoKeyAnnounced)?;
                self.rows.remove::<NodeKeys>(&key);
                self.rows.put::<Nodes>(&self.account, node);
            }
            NodeAction::Join { pool, ticket } => self.enter_pool(node, pool, ticket)?,
            NodeAction::Leave => self.leave(node)?,
            NodeAction::Retire => self.retire(node)?,
            NodeAction::Maintenance { from, epochs, scope } => self.maintain(node, *from, *epochs, *scope)?,
        }
        Ok(())
    }

    /// Maintenance from an epoch on, and no other from then on. What is over is forgotten; so there are at most three: one for the epoch under
    /// way, one for the next, and the new one.
    fn maintain(
        &mut self,
        mut node: Node,
        from: Epoch,
        epochs: u32,
        scope: MaintenanceScope,
    ) -> Result<(), CommandRefused> {
        let (earliest, latest) =
            (self.counts_from(), Epoch::new(self.epoch.get().saturating_add(MAX_MAINTENANCE.into())));
        if from > latest {
            return Err(CommandRefused::MaintenanceTooLate { from, latest });
        }
        let from = from.max(earliest);
        if epochs == 0 && node.maintenance.iter().all(|it| it.until <= from) {
            return Err(CommandRefused::NoMaintenance);
        }
        let under_way = self.epoch;
        node.maintenance.retain_mut(|it| {
            it.until = it.until.min(from);
            it.from < earliest && it.until > it.from.max(under_way)
        });
        if epochs > 0 {
            let until = Epoch::new(from.get().saturating_add(epochs.into()));
            node.maintenance.push(Maintenance { from, until, scope });
        }
        self.rows.put::<Nodes>(&self.account, node);
        Ok(())
    }

    /// Another payout address, from a root on that is computed a settlement later at the earliest.
    fn announce(&mut self, node: Node, address: PayoutAddress) -> Result<(), CommandRefused> {
        self.check_address("payout_address", &address)?;
        let newest = settle::newest(self.spec, self.rows);
        let from = self.after_notice(newest);
        let payout_address = node.payout_address_in(newest.saturating_add(1));
        self.rows.put::<Nodes>(&self.account, Node { payout_address, next_payout: Some((from, address)), ..node });
        self.events.push(Event::PayoutAddress { account: self.account, address, from });
        Ok(())
    }

    /// Another node key, in force when a root is computed a settlement later at the earliest. It replaces one that is announced, which is free again:
    /// it has signed nothing for the account.
    fn rotate(&mut self, node: Node, key: PublicKey) -> Result<(), CommandRefused> {
        let (account, done) = (self.account, self.rows.final_through());
        let announced = node.announced_key(done).map(|(_, announced)| announced);
        if announced != Some(key) {
            self.check_key(&key)?;
        }
        if let Some(announced) = announced {
            self.rows.remove::<NodeKeys>(&announced);
        }
        // The clock is that of the settlements, and goes on when there are no more.
        let settle_every = self.spec.fixed().settle_every;
        let from = self.after_notice(done.get() / settle_every);
        let with = Epoch::new(from.saturating_mul(settle_every));
        self.rows.put::<NodeKeys>(&key, account);
        self.rows.put::<Nodes>(&account, Node { key: node.key_at(done), next_key: Some((with, key)), ..node });
        self.events.push(Event::NodeKey { account, key, with });
        Ok(())
    }

    /// Whether no account has or had this key, nor has announced it, nor is known by it.
    pub(super) fn check_key(&self, key: &PublicKey) -> Result<(), CommandRefused> {
        let rows = &*self.rows;
        let account = owner_of(rows, key);
        let is_known = |account: &NodeId| {
            let is_in = |pool: &PoolState| {
                pool.owner == *account || pool.vault.signers.members.iter().any(|signer| signer.node == *account)
            };
            rows.has::<Nodes>(account)
                || rows.has::<Nonces>(account)
                || validators::newest(rows).of(account).is_some()
                || rows.all::<Pools>().any(|(_, pool)| is_in(pool))
        };
        if rows.has::<NodeKeys>(key) || is_known(&account) {
            return Err(CommandRefused::KeyTaken { key: *key, account });
        }
        Ok(())
    }

    fn leave(&mut self, mut node: Node) -> Result<(), CommandRefused> {
        if let Some(id) = node.pool() {
            let mut pool = self.pool_of(&id)?;
            self.end_membership(&self.account.clone(), &mut node, &mut pool);
            self.put_pool(&id, pool);
        } else if self.give_up_return(&self.account.clone(), &node) {
            return Ok(());
        } else {
            let request = node.request.take().map(|pool| (pool, self.account));
            let waiting = request.filter(|key| self.rows.get::<Requests>(key).is_some_and(|it| it.until >= self.now()));
            self.rows.remove::<Requests>(&waiting.ok_or(CommandRefused::NotMember)?);
        }
        self.rows.put::<Nodes>(&self.account, node);
        Ok(())
    }

    fn retire(&mut self, mut node: Node) -> Result<(), CommandRefused> {
        let is_owned =
            |pool: &PoolState| pool.owner == self.account && !matches!(pool.status, PoolStatus::Disbanded { .. });
        if let Some((id, _)) = self.rows.all::<Pools>().find(|(_, pool)| is_owned(pool)) {
            return Err(CommandRefused::OwnsPool(id));
        }
        if validators::newest(self.rows).of(&self.account).is_some() {
            return Err(CommandRefused::Validates);
        }
        if let Some(id) = node.pool() {
            let mut pool = self.pool_of(&id)?;
            self.end_membership(&self.account.clone(), &mut node, &mut pool);
            self.put_pool(&id, pool);
        }
        self.give_up_return(&self.account.clone(), &node);
        if let Some(pool) = node.request.take() {
            self.rows.remove::<Requests>(&(pool, self.account));
        }
        self.rows.put::<Nodes>(&self.account, Node { is_retired: true, ..node });
        self.events.push(Event::Retired { account: self.account });
        Ok(())
    }

    /// The node leaves its pool. Both rows are the caller's to write.
    pub(super) fn end_membership(&mut self, id: &NodeId, node: &mut Node, pool: &mut PoolState) {
        let until = self.counts_from();
        if let Some(membership) = &mut node.membership {
            membership.until = Some(until);
            pool.members = pool.members.saturating_sub(1);
            self.events.push(Event::Left { pool: membership.pool, node: *id, until });
        }
    }
}
