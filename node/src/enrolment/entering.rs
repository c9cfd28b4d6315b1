//! How an account enters a network or a pool, and what comes next on the way there: pure functions of the state, for the running node
//! and for the commands that people give.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::command::{CommandRefused, check_unsigned};
use lucid_consensus::ledger::registry::Membership;
use lucid_consensus::ledger::state::State;
use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, Command, Entry, NodeAction, Registration};
use lucid_types::id::{NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::join::{BearerInvite, JoinPool};
use lucid_types::key::NodeKey;
use lucid_types::pool::JoinPolicy;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::ticket::Ticket;
use lucid_types::time::{Epoch, UnixMillis};

use super::stamp::Wanted;

/// Stands where a stamp is to come.
const BLANK: Stamp = Stamp { epoch: Epoch::ZERO, nonce: 0 };

/// What an account says of itself when it comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// Who runs the node.
    pub operator: NodeId,
    /// Where it is paid.
    pub payout_address: PayoutAddress,
    /// Without whose signature that never changes.
    pub payout_key: Option<PublicKey>,
    /// What its bridge pays from.
    pub gas_address: Option<PayoutAddress>,
    /// What it declares to offer.
    pub capacity: Capacity,
}

/// By what a pool is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// It is open: by work.
    Stamp(PoolId),
    /// Its owner approves of members: by work, and then the approval.
    Request(PoolId),
    /// Its owner has invited the node, which opens every pool.
    Invite(BearerInvite),
    /// The node has become inactive in it, and comes back.
    Return(PoolId),
}

/// A command by which an account enters, but for its stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entering {
    /// The account comes into being, in the network alone if there is no door.
    Register(NewAccount, Option<Door>),
    /// It is registered, and enters a pool.
    Join(Door),
}

/// The pool takes invites only, and there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool takes invites only: ask its owner for a join string with one, as `lucid pool invite` prints it")]
pub struct InvitesOnly;

impl Door {
    /// The door to a pool that lets in whom this policy says.
    ///
    /// # Errors
    /// [`InvitesOnly`].
    pub fn of(wanted: &JoinPool, takes: JoinPolicy) -> Result<Self, InvitesOnly> {
        Ok(match (wanted, takes) {
            (JoinPool::Invited(bearer), _) => Self::Invite(bearer.clone()),
            (JoinPool::Named(pool), JoinPolicy::Open) => Self::Stamp(*pool),
            (JoinPool::Named(pool), JoinPolicy::Approval) => Self::Request(*pool),
            (JoinPool::Named(_), JoinPolicy::Invite) => return Err(InvitesOnly),
        })
    }

    const fn pool(&self) -> PoolId {
        match self {
            Self::Stamp(pool) | Self::Request(pool) | Self::Return(pool) => *pool,
            Self::Invite(bearer) => bearer.invite().record.pool,
        }
    }

    fn ticket(&self, stamp: Stamp) -> Ticket {
        match self {
            Self::Stamp(_) => Ticket::Stamp(stamp),
            Self::Request(_) => Ticket::Request(stamp),
            Self::Invite(bearer) => Ticket::Invite(bearer.invite().clone()),
            Self::Return(_) => Ticket::Return,
        }
    }
}

impl Entering {
    const fn door(&self) -> Option<&Door> {
        match self {
            Self::Register(_, door) => door.as_ref(),
            Self::Join(door) => Some(door),
        }
    }

    /// The pool that it enters.
    pub fn pool(&self) -> Option<PoolId> {
        self.door().map(Door::pool)
    }

    /// The key that signs beside the account's.
    pub fn key(&self) -> Option<NodeKey> {
        match self.door() {
            Some(Door::Invite(bearer)) => Some(bearer.key()),
            _ => None,
        }
    }

    /// Whether a stamp has to be worked out for it.
    pub fn needs_stamp(&self) -> bool {
        !matches!(self.door(), Some(Door::Invite(_) | Door::Return(_)))
    }

    /// The command's action with this stamp, which is left out where none is needed.
    pub fn action(&self, stamp: Option<Stamp>) -> Action {
        let stamp = stamp.unwrap_or(BLANK);
        let pool = |door: &Door| (door.pool(), door.ticket(stamp));
        match self {
            Self::Register(new, door) => {
                let entry = door.as_ref().map(pool).map(|(pool, ticket)| Entry::Pool { pool, ticket });
                let NewAccount { operator, payout_address, payout_key, gas_address, capacity } = *new;
                let entry = entry.unwrap_or(Entry::Network(stamp));
                Action::Register(Registration { operator, payout_address, payout_key, gas_address, capacity, entry })
            }
            Self::Join(door) => {
                let (pool, ticket) = pool(door);
                Action::Node(NodeAction::Join { pool, ticket })
            }
        }
    }
}

/// Who enters, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The account.
    pub account: NodeId,
    /// What it registers with; `None` if nobody has said where it is to be paid.
    pub new: Option<NewAccount>,
    /// The pool; `None` for the network alone.
    pub pool: Option<JoinPool>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is in. With the first epoch in which it may be drawn for the pool, if it wanted one.
    Entered(Option<Epoch>),
    /// The pool's owner has to approve.
    Approval {
        /// The end of the request.
        until: UnixMillis,
    },
    /// It gives this command, with a stamp that is worth what is wanted.
    Enter(Box<Entering>, Option<Wanted>),
    /// No command of it would apply.
    Refused(Refused),
}

/// Why an account does not get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In words, with what to do.
    pub problem: String,
    /// Whether it passes by itself.
    pub is_passing: bool,
}

impl Applicant {
    /// What comes next after a state. `time` is that of the next block, as far as this node knows.
    pub fn next(&self, spec: &ChainSpec, state: &State, time: UnixMillis) -> Next {
        let row = state.node(&self.account);
        let wanted = self.pool.as_ref().map(JoinPool::id);
        match (row, &wanted) {
            (Some(row), _) if row.is_retired => return refused(&CommandRefused::Retired),
            (Some(_), None) => return Next::Entered(None),
            (Some(row), Some(pool)) => match row.membership {
                Some(Membership { pool: of, from, until: None }) if of == *pool => return Next::Entered(Some(from)),
                _ => {}
            },
            (None, _) => {}
        }
        let waits = |pool: &PoolId| state.requests(pool).find(|(node, _)| *node == self.account);
        if let Some((_, request)) = wanted.as_ref().and_then(waits) {
            return Next::Approval { until: request.until };
        }
        let door = match &self.pool {
            None => None,
            Some(wanted) if state.inactive_in(&self.account).is_some_and(|(pool, _)| pool == wanted.id()) => {
                Some(Door::Return(wanted.id()))
            }
            Some(wanted) => match state.pool(&wanted.id()).map(|pool| Door::of(wanted, pool.join)) {
                None => return refused(&CommandRefused::NoPool(wanted.id())),
                Some(Err(error)) => return stop(error.to_string()),
                Some(Ok(door)) => Some(door),
            },
        };
        let entering = match (row, door, self.new) {
            (Some(_), Some(door), _) => Entering::Join(door),
            (None, door, Some(new)) => Entering::Register(new, door),
            (Some(_), None, _) => return Next::Entered(None),
            (None, _, None) => {
                return stop(
                    "the node is not registered, and nobody has said where it is to be paid: stop it, and start it with `lucid join \
                     STRING --payout-address T...`"
                        .to_owned(),
                );
            }
        };
        self.try_out(spec, state, time, entering)
    }

    /// What the next block would say to a command without its stamp: anything but that the stamp is missing is worth knowing before work
    /// is done for it.
    fn try_out(&self, spec: &ChainSpec, state: &State, time: UnixMillis, entering: Entering) -> Next {
        let nonce = state.nonce(&self.account).next;
        let command = Command { account: self.account, nonce, until: time, action: entering.action(None) };
        match check_unsigned(spec, state, [], &command, time) {
            Ok(()) | Err(CommandRefused::StampEpoch { .. } | CommandRefused::StampBits { .. }) => {}
            Err(error) => return refused(&error),
        }
        if !entering.needs_stamp() {
            return Next::Enter(Box::new(entering), None);
        }
        let pool = entering.pool();
        let wanted = state.newest_close().and_then(|(epoch, close)| {
            let bits = state.stamp_bits(pool.as_ref(), epoch)?;
            let target = StampTarget { network: *spec.id(), account: self.account, pool, beacon: close.beacon };
            Some(Wanted { target, epoch, bits })
        });
        match wanted {
            Some(wanted) => Next::Enter(Box::new(entering), Some(wanted)),
            None => Next::Refused(Refused {
                problem: "the chain has no block yet that a stamp could be made for".to_owned(),
                is_passing: true,
            }),
        }
    }
}

const fn stop(problem: String) -> Next {
    Next::Refused(Refused { problem, is_passing: false })
}

fn refused(error: &CommandRefused) -> Next {
    Next::Refused(Refused { problem: error.to_string(), is_passing: is_passing(error) })
}

/// Whether a refusal ends by itself: by time, by the work of others, or by what is waiting.
const fn is_passing(error: &CommandRefused) -> bool {
    matches!(
        error,
        CommandRefused::Expired { .. }
            | CommandRefused::TooFarAhead { .. }
            | CommandRefused::NonceUsed { .. }
            | CommandRefused::NonceAhead { .. }
            | CommandRefused::TooOften { .. }
            | CommandRefused::Full(_)
            | CommandRefused::MemberUntil { .. }
            | CommandRefused::StampEpoch { .. }
            | CommandRefused::StampBits { .. }
            | CommandRefused::TooManyInvites
            | CommandRefused::TooManyRequests
            | CommandRefused::Requested(_)
            | CommandRefused::Waits
            | CommandRefused::Conflict(_)
            | CommandRefused::Busy
            | CommandRefused::BusyEntry(_)
            | CommandRefused::BusyInvites
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests;
