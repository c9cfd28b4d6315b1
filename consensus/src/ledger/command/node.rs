//! What accounts do about themselves.

use lucid_types::command::{Entry, NodeAction, Registration};
use lucid_types::id::{NodeId, PayoutAddress};

use crate::ledger::command::{Applying, CommandRefused};
use crate::ledger::event::Event;
use crate::ledger::pool::{PoolState, PoolStatus};
use crate::ledger::registry::Node;
use crate::ledger::settle;
use crate::ledger::state::Rows;
use crate::ledger::table::{Nodes, Pools, Requests};
use crate::ledger::validators;

impl Applying<'_, '_> {
    pub(super) fn register(&mut self, registration: &Registration) -> Result<(), CommandRefused> {
        let &Registration { operator, payout_address, payout_key, gas_address, capacity, ref entry } = registration;
        if self.rows.has::<Nodes>(&self.account) {
            return Err(CommandRefused::Registered);
        }
        let node = Node {
            operator,
            payout_address,
            next_payout: None,
            payout_key,
            gas_address,
            capacity,
            membership: None,
            request: None,
            is_retired: false,
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
                let next = self.next_settlement();
                node.next_payout.take_if(|(from, _)| *from >= next).ok_or(CommandRefused::NothingAnnounced)?;
                self.rows.put::<Nodes>(&self.account, node);
            }
            NodeAction::Join { pool, ticket } => self.enter_pool(node, pool, ticket)?,
            NodeAction::Leave => self.leave(node)?,
            NodeAction::Retire => self.retire(node)?,
        }
        Ok(())
    }

    /// The settlement whose root is computed next, of every pool.
    fn next_settlement(&self) -> u64 {
        settle::newest(self.spec, self.rows).saturating_add(1)
    }

    /// Another payout address, from the second root after on.
    fn announce(&mut self, node: Node, address: PayoutAddress) -> Result<(), CommandRefused> {
        self.check_address("payout_address", &address)?;
        let next = self.next_settlement();
        let from = next.saturating_add(1);
        let payout_address = node.payout_address_in(next);
        self.rows.put::<Nodes>(&self.account, Node { payout_address, next_payout: Some((from, address)), ..node });
        self.events.push(Event::PayoutAddress { account: self.account, address, from });
        Ok(())
    }

    fn leave(&mut self, mut node: Node) -> Result<(), CommandRefused> {
        if let Some(id) = node.pool() {
            let mut pool = self.pool_of(&id)?;
            self.end_membership(&self.account.clone(), &mut node, &mut pool);
            self.put_pool(&id, pool);
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
        if validators::newest(self.rows).get(&self.account).is_some() {
            return Err(CommandRefused::Validates);
        }
        if let Some(id) = node.pool() {
            let mut pool = self.pool_of(&id)?;
            self.end_membership(&self.account.clone(), &mut node, &mut pool);
            self.put_pool(&id, pool);
        }
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
