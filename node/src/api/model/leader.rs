//! What the API says of an election: who leads a pool, who takes over, and why.

use lucid_types::id::{NodeId, PayoutAddress, PoolId};
use lucid_types::time::{Height, UnixMillis};
use serde::{Deserialize, Serialize};

/// The newest election of a pool. `GET /api/v1/pools/{pool}/leader`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderOrderView {
    /// The pool.
    pub pool: PoolId,
    /// The settlement whose election it is. Who was elected carries everything unpaid, whatever settlement it is from.
    pub settlement: u64,
    /// The block that elected.
    pub elected_in: Height,
    /// That block's time.
    pub time: UnixMillis,
    /// The leader first, then its successors. Empty if nobody could lead.
    pub order: Vec<ElectedView>,
    /// Who alone earns push fees under the newest payout root, and until when; `null` if nobody, or if that root is not of this settlement.
    pub turn: Option<TurnView>,
    /// The pool's members that were not elected, and why not as far as their rows tell now.
    pub not_elected: Vec<NotElectedView>,
}

/// A member that was elected, as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectedView {
    /// Its place: 1 leads.
    pub rank: u32,
    /// The member.
    pub node: NodeId,
    /// Whether its credits and its uptime sufficed.
    pub is_eligible: bool,
    /// Credits, in proportion to the time that it was reachable.
    pub live: u64,
    /// Whether it had led one of the settlements before.
    pub is_cooling: bool,
    /// The settlement that it had led last; `null` if none.
    pub last_led: Option<u64>,
    /// The first settlement for which it does not cool down any more; `null` if it did not.
    pub cools_until: Option<u64>,
    /// The account from which its bridge pays, now; `null` if it has none any more.
    pub gas_address: Option<PayoutAddress>,
    /// Why it stands where it stands, in a sentence.
    pub why: String,
}

/// A leader's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnView {
    /// Whose.
    pub node: NodeId,
    /// When it ends.
    pub until: UnixMillis,
}

/// A member that was not elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotElectedView {
    /// The member.
    pub node: NodeId,
    /// Why.
    pub why: NotElected,
}

/// Why a member was not elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotElected {
    /// It has no account from which its bridge pays: it does not stand.
    NoGasAddress,
    /// It does not count as a member yet, or not any more.
    NotAMemberYet,
    /// It was never measured.
    NoStats,
    /// Others came first.
    Behind,
}

impl NotElected {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoGasAddress => "it has no gas account, so it does not stand",
            Self::NotAMemberYet => "it does not count as a member in this epoch",
            Self::NoStats => "it was never measured",
            Self::Behind => "others came first",
        }
    }
}
