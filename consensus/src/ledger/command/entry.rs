//! How nodes enter the network and its pools: stamps, invites, requests.

use std::time::Duration;

use lucid_types::id::{NodeId, PoolId};
use lucid_types::pool::JoinPolicy;
use lucid_types::signed::Signed;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::ticket::{Invite, Ticket};

use crate::ledger::command::{Applying, CommandRefused};
use crate::ledger::entry::{InviteUse, MAX_INVITES, MAX_REQUESTS, Request, required_bits};
use crate::ledger::event::Event;
use crate::ledger::pool::{Member, PoolState, Standing};
use crate::ledger::registry::{Membership, Node, key_of, owner_of};
use crate::ledger::state::Rows;
use crate::ledger::table::{Closes, Invites, Members, Nodes, Requests};

/// How long a request waits.
const REQUEST_TIME: Duration = Duration::from_hours(24);

impl Applying<'_, '_> {
    /// The account enters the network alone, with this row.
    pub(super) fn enter_network(&mut self, node: Node, stamp: &Stamp) -> Result<(), CommandRefused> {
        self.check_stamp(None, stamp)?;
        let newest = self.rows.all::<Closes>().last().map(|(epoch, _)| epoch);
        if let Some(close) = newest.and_then(|epoch| self.rows.get_mut::<Closes>(&epoch)) {
            close.joins = close.joins.saturating_add(1);
        }
        self.rows.put::<Nodes>(&self.account, node);
        self.events.push(Event::Registered { account: self.account });
        Ok(())
    }

    /// The account enters a pool, or asks to. `node` is its row before, or the one that it registers with.
    pub(super) fn enter_pool(&mut self, node: Node, id: &PoolId, ticket: &Ticket) -> Result<(), CommandRefused> {
        let account = self.account;
        let mut pool = self.pool_to_enter(id)?;
        self.check_member(id, &account, &node)?;
        let is_taken = match ticket {
            Ticket::Stamp(_) => pool.join == JoinPolicy::Open,
            Ticket::Request(_) => pool.join == JoinPolicy::Approval,
            Ticket::Invite(_) | Ticket::Return => true,
        };
        if !is_taken {
            return Err(CommandRefused::Policy(pool.join));
        }
        match ticket {
            Ticket::Stamp(stamp) => {
                self.check_room(&pool)?;
                self.check_stamp(Some(id), stamp)?;
                self.count_join(&mut pool);
                self.let_in(id, pool, account, node);
            }
            Ticket::Invite(invite) => {
                self.check_room(&pool)?;
                self.use_invite(id, &pool, invite)?;
                self.let_in(id, pool, account, node);
            }
            Ticket::Return => {
                self.inactive(id, &account).ok_or(CommandRefused::NotInactive)?;
                self.check_room(&pool)?;
                self.let_in(id, pool, account, node);
            }
            Ticket::Request(stamp) => {
                self.check_stamp(Some(id), stamp)?;
                self.ask(id, pool, node)?;
            }
        }
        Ok(())
    }

    /// Whether the pool could take the node, but for its room.
    pub(super) fn check_member(&self, id: &PoolId, account: &NodeId, node: &Node) -> Result<(), CommandRefused> {
        let row = self.rows.get::<Members>(&(*id, *account));
        if row.is_some_and(|member| member.standing == Standing::Banned) {
            return Err(CommandRefused::Banned);
        }
        match node.membership {
            Some(Membership { pool, until: None, .. }) if pool == *id => Err(CommandRefused::Member),
            Some(Membership { pool, until: None, .. }) => Err(CommandRefused::MemberElsewhere(pool)),
            // No draw may lose it.
            Some(Membership { pool, until: Some(until), .. }) if until > self.epoch => {
                Err(CommandRefused::MemberUntil { pool, until })
            }
            _ => Ok(()),
        }
    }

    /// The row of a member that is inactive.
    fn inactive(&self, pool: &PoolId, account: &NodeId) -> Option<Member> {
        let row = self.rows.get::<Members>(&(*pool, *account)).copied();
        row.filter(|member| matches!(member.standing, Standing::Inactive(_)))
    }

    /// A node that has become inactive in the pool that it was in last cannot come back any more; whether it could. Its own row stays.
    pub(super) fn give_up_return(&mut self, account: &NodeId, node: &Node) -> bool {
        let Some(Membership { pool, until: Some(until), .. }) = node.membership else { return false };
        let Some(member) = self.inactive(&pool, account) else { return false };
        self.rows.put::<Members>(&(pool, *account), Member { standing: Standing::Good, ..member });
        self.events.push(Event::Left { pool, node: *account, until });
        true
    }

    /// Whether the pool has room for one more.
    pub(super) fn check_room(&self, pool: &PoolState) -> Result<(), CommandRefused> {
        if pool.members < pool.max_members { Ok(()) } else { Err(CommandRefused::Full(pool.members)) }
    }

    /// Whether the stamp shows as much work as the block that it names asks for.
    fn check_stamp(&self, pool: Option<&PoolId>, stamp: &Stamp) -> Result<(), CommandRefused> {
        let Some((beacon, needed)) = required_bits(self.rows, pool, stamp.epoch) else {
            let newest = self.rows.all::<Closes>().last().map_or(self.rows.head.closed, |(epoch, _)| epoch);
            return Err(CommandRefused::StampEpoch { found: stamp.epoch, newest });
        };
        let (network, account) = (*self.spec.id(), self.account);
        let found = stamp.bits(&StampTarget { network, account, pool: pool.copied(), beacon });
        if found < u32::from(needed) { Err(CommandRefused::StampBits { found, needed }) } else { Ok(()) }
    }

    /// Counts an entry or a request by stamp.
    fn count_join(&self, pool: &mut PoolState) {
        let mut closes = self.rows.all::<Closes>().map(|(epoch, _)| epoch);
        if let Some(oldest) = closes.next() {
            pool.count_join(oldest, closes.last().unwrap_or(oldest));
        }
    }

    /// Uses the invite once more, if it is good.
    fn use_invite(&mut self, id: &PoolId, pool: &PoolState, invite: &Signed<Invite>) -> Result<(), CommandRefused> {
        let Signed { signer, record: Invite { key, until, uses, .. }, .. } = invite;
        let time = self.rows.head.time;
        if key_of(self.rows, &pool.owner) != Some(*signer) {
            let was_owners = owner_of(self.rows, signer) == pool.owner;
            return Err(if was_owners { CommandRefused::InviteKey } else { CommandRefused::InviteOwner });
        }
        if *until < time {
            return Err(CommandRefused::InviteOver(*until));
        }
        let row = self.rows.get::<Invites>(&(*id, *key)).copied();
        let InviteUse { used, until: before } = row.unwrap_or(InviteUse { used: 0, until: *until });
        if used >= *uses {
            return Err(CommandRefused::InviteUsed(*uses));
        }
        if row.is_none() && self.rows.all_of::<Invites, _>(id).count() >= MAX_INVITES {
            let over = self.rows.all_of::<Invites, _>(id).filter(|(_, it)| it.until < time);
            let over: Vec<_> = over.map(|(key, _)| key).collect();
            if over.is_empty() {
                return Err(CommandRefused::TooManyInvites);
            }
            over.iter().for_each(|key| self.rows.remove::<Invites>(key));
        }
        let used = InviteUse { used: used.saturating_add(1), until: before.max(*until) };
        self.rows.put::<Invites>(&(*id, *key), used);
        Ok(())
    }

    /// The account's request waits for the pool's owner.
    fn ask(&mut self, id: &PoolId, mut pool: PoolState, mut node: Node) -> Result<(), CommandRefused> {
        let (account, time) = (self.account, self.rows.head.time);
        let own = [Some(*id), node.request].into_iter().flatten();
        let waiting = own.filter_map(|pool| self.rows.get::<Requests>(&(pool, account))).map(|it| it.until).max();
        if let Some(until) = waiting.filter(|until| *until >= time) {
            return Err(CommandRefused::Requested(until));
        }
        if self.rows.all_of::<Requests, _>(id).count() >= MAX_REQUESTS {
            let over = self.rows.all_of::<Requests, _>(id).filter(|(_, it)| it.until < time);
            let over: Vec<_> = over.map(|((_, node), _)| node).collect();
            if over.is_empty() {
                return Err(CommandRefused::TooManyRequests);
            }
            over.iter().for_each(|node| self.remove_request(id, node));
        }
        let is_registered = self.rows.has::<Nodes>(&account);
        if let Some(before) = node.request.take() {
            self.rows.remove::<Requests>(&(before, account));
        }
        let until = time.after(REQUEST_TIME);
        if is_registered {
            self.rows.put::<Nodes>(&account, Node { request: Some(*id), ..node });
            self.rows.put::<Requests>(&(*id, account), Request { node: None, until });
        } else {
            self.rows.put::<Requests>(&(*id, account), Request { node: Some(node), until });
        }
        self.count_join(&mut pool);
        self.put_pool(id, pool);
        self.events.push(Event::Requested { pool: *id, node: account });
        Ok(())
    }

    /// Removes a request, and what its node's row says of it.
    pub(super) fn remove_request(&mut self, id: &PoolId, node: &NodeId) {
        self.rows.remove::<Requests>(&(*id, *node));
        if let Some(row) = self.rows.get_mut::<Nodes>(node).filter(|row| row.request == Some(*id)) {
            row.request = None;
        }
    }

    /// A node becomes a member. Whoever was not registered is now.
    pub(super) fn let_in(&mut self, id: &PoolId, mut pool: PoolState, account: NodeId, mut node: Node) {
        for before in [Some(*id), node.request.take()].into_iter().flatten() {
            self.rows.remove::<Requests>(&(before, account));
        }
        if node.membership.is_some_and(|it| it.pool != *id) {
            self.give_up_return(&account, &node);
        }
        let from = self.counts_from();
        node.membership = Some(Membership { pool: *id, from, until: None });
        if !self.rows.has::<Nodes>(&account) {
            self.events.push(Event::Registered { account });
        }
        self.rows.put::<Nodes>(&account, node);
        let member = self.rows.get::<Members>(&(*id, account)).copied().unwrap_or_default();
        self.rows.put::<Members>(&(*id, account), Member { standing: Standing::Good, unreached: 0, ..member });
        pool.members = pool.members.saturating_add(1);
        self.events.push(Event::Joined { pool: *id, node: account, from });
        self.activate(id, &mut pool);
        self.put_pool(id, pool);
    }
}
