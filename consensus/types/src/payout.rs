//! Payout attempts and what validators report of the payment network, as plain integers and bytes.
//!
//! Only `lucid-tron-bridge` turns an attempt into transaction bytes and a chain's answer into a verdict.

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Sun};
use crate::bytes::hex_bytes;
use crate::codec::Wire;
use crate::id::{AttemptId, NodeId, PayoutAddress, PayoutId, PoolId, SolidBlockId, TxId};
use crate::signed::SignedRecord;
use crate::time::UnixMillis;

/// A solidified block of the payment network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SolidBlock {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: SolidBlockId,
    /// Its time.
    pub time: UnixMillis,
}

/// What a validator saw of one pool's treasury.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreasuryView {
    /// The pool.
    pub pool: PoolId,
    /// The treasury's USDT.
    pub usdt: MicroUsdt,
    /// The treasury's TRX.
    pub trx: Sun,
    /// What one unit of energy costs.
    pub energy_price: Sun,
    /// What the token would do to a transfer.
    pub flags: TokenFlags,
    /// Whether the treasury's permission on the payment network is the one the pool declares: id, threshold, keys.
    pub permission_matches: bool,
}

/// Conditions of the token or treasury under which no attempt may open. All false is clean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFlags {
    /// Transfers are paused.
    pub paused: bool,
    /// The contract has been replaced.
    pub deprecated: bool,
    /// A transfer fee is switched on; the recipient would get less.
    pub fee: bool,
    /// The treasury is on the black list.
    pub treasury_blacklisted: bool,
}

impl TokenFlags {
    /// Whether transfers work as expected.
    pub const fn is_clean(self) -> bool {
        !(self.paused || self.deprecated || self.fee || self.treasury_blacklisted)
    }
}

/// One attempt to pay a payout: everything from which the transaction's bytes are derived. Fixed by a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutAttempt {
    /// The payout.
    pub payout: PayoutId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Appended to the call data.
    pub id: AttemptId,
    /// The pool that pays.
    pub pool: PoolId,
    /// The settlement it is paid for.
    pub settlement: u64,
    /// The worker that is paid.
    pub worker: NodeId,
    /// Where to.
    pub to: PayoutAddress,
    /// How much.
    pub amount: MicroUsdt,
    /// The account that pays.
    pub treasury: PayoutAddress,
    /// The USDT contract.
    pub token: PayoutAddress,
    /// The treasury's permission under which the signatures count.
    pub permission_id: u32,
    /// The reference block; its time is the transaction's time stamp.
    pub reference: SolidBlock,
    /// The transaction cannot be included in a block whose parent is at or after this time.
    pub expiration: UnixMillis,
    /// The most that the transfer's energy may cost.
    pub fee_limit: Sun,
}

impl Wire for PayoutAttempt {
    const MAX_BYTES: usize = 512;
}

/// How an attempt ended, judged from solidified blocks only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Included, successful, and its only log is exactly the transfer.
    Paid {
        /// The transaction.
        tx_id: TxId,
        /// The block that includes it.
        block: u64,
        /// What it cost the treasury.
        fee: Sun,
    },
    /// Included and successful, but its logs are others than the transfer: ends the payout and pauses the pool.
    PaidUnexpected {
        /// The transaction.
        tx_id: TxId,
        /// The block that includes it.
        block: u64,
        /// What it cost the treasury.
        fee: Sun,
        /// What the recipient got.
        received: MicroUsdt,
    },
    /// Included and not successful.
    Failed {
        /// The transaction.
        tx_id: TxId,
        /// The block that includes it.
        block: u64,
        /// What it cost the treasury.
        fee: Sun,
    },
    /// Not included, and it can never be.
    Dead,
}

/// A validator's unchangeable vote on how an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptVote {
    /// The payout.
    pub payout: PayoutId,
    /// The attempt.
    pub attempt: u32,
    /// How it ended.
    pub verdict: Verdict,
}

/// A leader's request to a treasury signer: it names an attempt, never bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CosignRequest {
    /// The payout.
    pub payout: PayoutId,
    /// The attempt.
    pub attempt: u32,
}

impl Wire for CosignRequest {
    const MAX_BYTES: usize = 36;
}

impl SignedRecord for CosignRequest {
    const TAG: &'static str = "lucid/cosign/1";
}

hex_bytes!(
    /// A treasury signer's signature of a transaction: r, s, v.
    TreasurySignature, 65
);

/// A treasury signer's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CosignReply {
    /// The signature over the transaction that the signer derived itself.
    Signed(TreasurySignature),
    /// The signer does not know the attempt yet: ask again after the next block.
    NotFinal,
    /// The signer refuses, and says why.
    Refused(String),
}

impl Wire for CosignReply {
    const MAX_BYTES: usize = 1 << 10;
}
