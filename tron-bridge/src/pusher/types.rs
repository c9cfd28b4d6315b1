//! What goes into a pusher and what comes out of it.

use std::collections::BTreeMap;

use lucid_tron_types::proto::ContractResult;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::codec::Wire;
use lucid_types::id::{NodeId, TxId};
use lucid_types::payout::{CosignReply, CosignRequest, Requested, SettlementRoot};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot};
use lucid_types::time::UnixMillis;
use lucid_types::vault::SignerSet;
use serde::{Deserialize, Serialize};

use super::alert::Alert;
use crate::client::{BroadcastOutcome, Estimate, TransactionInfo};
use crate::trc20::TokenFlags;
use crate::vault::{VaultRevert, VaultSnapshot};

/// A pusher's name for one transaction of its own.
pub type JobId = u64;

/// What the ledger says at this node's finalized head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The pool's newest root, as it was issued last.
    pub root: SettlementRoot,
    /// Changes that the vault has seen, by the ledger's count.
    pub nonce: u32,
    /// The signers in force.
    pub signers: SignerSet,
    /// This node's place in the pool's newest election: 0 for the leader. `None`: not elected.
    pub rank: Option<u32>,
    /// How many were elected, the leader included.
    pub n_elected: u32,
}

/// A root of the ledger with its leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedRoot {
    /// As it was issued last.
    pub root: SettlementRoot,
    /// In the tree's order.
    pub leaves: Vec<OwedAccount>,
    /// What was requested of them, with this root.
    pub requested: Requested,
}

impl IssuedRoot {
    /// Whether an account that the vault has paid so much is to be paid more.
    pub fn is_due(&self, account: &AccountId, paid: MicroUsdt) -> bool {
        self.requested.get(account).is_some_and(|requested| paid < *requested)
    }
}

/// What the ledger says of a root that the vault shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It issued it.
    Issued(Box<IssuedRoot>),
    /// It never issued it.
    NeverIssued,
    /// Nothing can be said, or the leaves are not here: the root is from before what this node has read.
    Unavailable,
}

impl Loaded {
    /// What a ledger that has everything says.
    pub fn of(issued: Option<IssuedRoot>) -> Self {
        issued.map_or(Self::NeverIssued, |issued| Self::Issued(Box::new(issued)))
    }
}

/// The vault at a solidified block, as all provider groups agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolidView {
    /// The block's time; of several groups the oldest.
    pub time: UnixMillis,
    /// What accounts have had is the least of what the groups say.
    pub snapshot: VaultSnapshot,
}

/// All that is needed of the newest block to decide on a transaction, as one provider group sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadView {
    /// The block's time.
    pub time: UnixMillis,
    /// The vault.
    pub snapshot: VaultSnapshot,
    /// What the token would do to payments out of the vault.
    pub token: TokenFlags,
    /// What the gas account can spend on energy and bandwidth: its TRX, and the worth of energy that it has staked or rented.
    pub gas: Sun,
    /// Price of a unit of energy.
    pub energy_price: Sun,
    /// Price of a byte of bandwidth.
    pub byte_price: Sun,
}

/// Which of a vault's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// At the newest solidified block, of all provider groups.
    Solid,
    /// At the newest block, of one of them.
    Head,
}

/// What a call would do at the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estimated {
    /// It would use this much energy.
    Energy(u64),
    /// The vault would refuse it.
    Reverted(VaultRevert),
    /// It would need more energy or time than the network gives a call.
    OutOfEnergy,
    /// It would fail for another reason.
    Failed(String),
    /// No provider answered.
    Unavailable,
}

impl From<Estimate> for Estimated {
    fn from(estimate: Estimate) -> Self {
        let Some(revert) = estimate.revert else { return Self::Energy(estimate.energy) };
        match revert.of_vault() {
            Some(VaultRevert::OutOfEnergy) => Self::OutOfEnergy,
            Some(known) => Self::Reverted(known),
            // java-tron has only words for it: `OutOfEnergyException` and `OutOfTimeException` of its VM.
            None if ["Not enough energy", "CPU timeout"].iter().any(|words| revert.message.contains(words)) => {
                Self::OutOfEnergy
            }
            None => Self::Failed(revert.to_string()),
        }
    }
}

/// What a transaction is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Posts a root.
    Post {
        /// Its settlement.
        settlement: u64,
        /// The root.
        root: PayoutRoot,
        /// What may be paid out under it.
        total: MicroUsdt,
        /// Whose signatures it carries.
        era: u32,
    },
    /// Pays neighbouring leaves.
    Batch {
        /// The posted root's settlement.
        settlement: u64,
        /// Index of the first leaf.
        start: u64,
        /// Whom it is meant to pay: leaves between them that lack nothing are not named.
        accounts: Vec<AccountId>,
        /// How much it is meant to pay.
        amount: MicroUsdt,
    },
}

/// A transaction that the gas key has signed. It is durable before it is sent, and fed back to a new [`super::Pusher`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The pusher's name for it.
    pub id: JobId,
    /// What it is for.
    pub work: Work,
    /// Its id on the network.
    pub tx_id: TxId,
    /// When it can no longer be included.
    pub expiration: UnixMillis,
    /// The most that its energy costs.
    pub fee_limit: Sun,
    /// The encoded transaction.
    pub bytes: Vec<u8>,
}

impl Wire for InFlight {
    const MAX_BYTES: usize = 128 << 10;
}

/// What the gas account paid for a transaction. Kept for a day, because the cap counts that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// When it was seen.
    pub at: UnixMillis,
    /// How much.
    pub fee: Sun,
}

/// How an included transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Time of the block that includes it.
    pub block_time: UnixMillis,
    /// All that it cost.
    pub fee: Sun,
    /// How it ended.
    pub outcome: Outcome,
}

/// See [`Receipt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did something.
    Success,
    /// The vault refused it.
    Reverted(VaultRevert),
    /// Its fee limit was too low, or it took too long.
    OutOfEnergy,
    /// It failed for another reason.
    Failed(String),
}

impl From<&TransactionInfo> for Receipt {
    fn from(info: &TransactionInfo) -> Self {
        let outcome = match (info.result, info.vault_revert()) {
            _ if info.is_success() => Outcome::Success,
            (_, Some(VaultRevert::OutOfEnergy)) | (ContractResult::OutOfEnergy | ContractResult::OutOfTime, _) => {
                Outcome::OutOfEnergy
            }
            (_, Some(revert)) => Outcome::Reverted(revert),
            (result, None) => Outcome::Failed(format!("{} {}", result.name(), info.message).trim_end().into()),
        };
        Self { block_time: info.block_time, fee: info.fee, outcome }
    }
}

/// What the head says of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A block includes it.
    Included(Receipt),
    /// No block does.
    NotIncluded,
    /// No provider answered.
    Unavailable,
}

/// What happened. Anything may come late, twice or never; inputs about what is unknown or over are ignored.
#[derive(Clone, Debug)]
pub enum Input {
    /// The pool has a root, or the election or the signers changed.
    Root(Box<Assignment>),
    /// Answer to [`Effect::LoadLeaves`].
    Leaves {
        /// The settlement asked for.
        settlement: u64,
        /// The root asked for.
        root: PayoutRoot,
        /// What the ledger says of it.
        loaded: Loaded,
    },
    /// Answer to [`Effect::RequestSignature`].
    Signature {
        /// The request.
        request: CosignRequest,
        /// Who was asked.
        signer: NodeId,
        /// `None` if the signer could not be reached.
        reply: Option<CosignReply>,
    },
    /// Answer to [`Effect::ReadVault`], or a view that was read for another reason; `None` if it could not be read.
    Solid(Option<Box<SolidView>>),
    /// As above.
    Head(Option<Box<HeadView>>),
    /// Answer to [`Effect::Estimate`].
    Estimated {
        /// The transaction.
        id: JobId,
        /// What it would do.
        outcome: Estimated,
    },
    /// Answer to [`Effect::Prepare`]; `None` if it could not be built or stored.
    Prepared {
        /// The transaction.
        id: JobId,
        /// What was stored.
        transaction: Option<Box<InFlight>>,
    },
    /// Answer to [`Effect::Broadcast`]: the best news of all providers, `None` if none answered.
    Sent {
        /// The transaction.
        id: JobId,
        /// What they said.
        outcome: Option<BroadcastOutcome>,
    },
    /// Answer to [`Effect::ReadReceipt`].
    Receipt {
        /// The transaction.
        id: JobId,
        /// What was found.
        found: Lookup,
    },
    /// Time passed.
    Tick,
}

/// What to do. All are independent of each other and may run at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a treasury signer.
    RequestSignature {
        /// For what.
        request: CosignRequest,
        /// Whom.
        signer: NodeId,
    },
    /// Read a root and its leaves from the ledger's history.
    LoadLeaves {
        /// The settlement.
        settlement: u64,
        /// The root.
        root: PayoutRoot,
    },
    /// Read the vault.
    ReadVault {
        /// Where.
        view: View,
        /// Which accounts.
        accounts: Vec<AccountId>,
    },
    /// Run a call of the vault at the head without sending it, as the gas account.
    Estimate {
        /// The transaction.
        id: JobId,
        /// Call data.
        data: Vec<u8>,
    },
    /// Build the transaction from the head, sign it with the gas key, make it durable, then answer. If one with this id is
    /// stored, answer with that.
    Prepare {
        /// The transaction.
        id: JobId,
        /// What it is for, to be stored with it.
        work: Work,
        /// Call data.
        data: Vec<u8>,
        /// The most that its energy may cost.
        fee_limit: Sun,
    },
    /// Send these bytes to every provider group.
    Broadcast {
        /// The transaction.
        id: JobId,
        /// Its id on the network.
        tx_id: TxId,
        /// The encoded transaction.
        bytes: Vec<u8>,
    },
    /// See at the head whether a block includes the transaction.
    ReadReceipt {
        /// The transaction.
        id: JobId,
        /// Its id on the network.
        tx_id: TxId,
    },
    /// Delete what was stored for a transaction, and in the same write keep what it cost.
    Forget {
        /// The transaction.
        id: JobId,
        /// `None` if it was not included.
        spent: Option<Spent>,
    },
    /// Tell the operator. Not repeated while it lasts: [`super::Pusher::alerts`] has all that are in force.
    Alert(Alert),
    /// Show and keep a change.
    Report(Report),
}

/// A change to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// How far the collection of signatures is.
    Signatures {
        /// The root's settlement.
        settlement: u64,
        /// Valid signatures.
        have: usize,
        /// Signatures that the vault wants.
        needed: usize,
        /// What is the matter with those who have not signed.
        problems: BTreeMap<NodeId, String>,
    },
    /// The head shows the ledger's newest root in the vault, whoever posted it.
    Posted {
        /// Its settlement.
        settlement: u64,
    },
    /// A transaction's status changed.
    Transaction {
        /// Its id on the network.
        tx_id: TxId,
        /// What it is for.
        work: Work,
        /// The new status.
        status: TransactionStatus,
    },
    /// Everything due under this settlement's root is paid on the solid view.
    Finished {
        /// The settlement.
        settlement: u64,
    },
}

/// How far a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// A provider took it.
    Sent,
    /// A block includes it, and it succeeded.
    Included {
        /// That block's time.
        block_time: UnixMillis,
        /// What it cost.
        fee: Sun,
    },
    /// It is in a solidified block.
    Solid {
        /// What it cost.
        fee: Sun,
    },
    /// A block includes it, and it did nothing.
    Failed {
        /// What it cost.
        fee: Sun,
        /// Why.
        problem: String,
    },
    /// It can no longer be included.
    Expired,
}
