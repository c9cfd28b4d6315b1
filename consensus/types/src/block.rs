//! Blocks.

use serde::{Deserialize, Serialize};

use crate::codec::{MAX_MESSAGE_BYTES, Wire, encode};
use crate::id::{BlockHash, Hash, NetworkId, NodeId, StateRoot};
use crate::payout::{PoolCommand, SettlementRoot};
use crate::report::{ReportCommitment, Reveal};
use crate::signed::{MultiSigned, SignatureError, Signed, Verified};
use crate::time::{Height, UnixMillis};

/// A block. What follows from it (scores, rewards, leaders) is not written in it but recomputed by everyone; `state_root` commits
/// to the result. Payout roots are written in it although they follow, so that the block and its certificate prove them to a
/// treasury signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its number.
    pub height: Height,
    /// The block before; the network id for block 1.
    pub parent: BlockHash,
    /// The round that it was built in.
    pub round: u32,
    /// Who built it: the proposer of that round.
    pub proposer: NodeId,
    /// When, by the proposer's clock. At least the policy's least interval after its parent. Every epoch that has ended by then
    /// and is open is closed by this block.
    pub time: UnixMillis,
    /// Commitments to reports of epochs whose window is open, by epoch and signer.
    pub commitments: Vec<Signed<ReportCommitment>>,
    /// Revealed reports, by epoch and signer, whose commitments stand in earlier blocks.
    pub reveals: Vec<Signed<Reveal>>,
    /// Commands of pools, by pool and number; at most [`Block::MAX_COMMAND_BYTES`].
    pub commands: Vec<MultiSigned<PoolCommand>>,
    /// The payout roots that this block issues, by pool.
    pub payout_roots: Vec<SettlementRoot>,
    /// [`crate::validator::ValidatorSet::hash`] of the set of `height + 2`.
    pub next_set: Hash,
    /// Root of the state after this block.
    pub state_root: StateRoot,
}

impl Wire for Block {
    /// Leaves room for a certificate and the envelope of an answer that carries both.
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES - (128 << 10);
}

impl Block {
    /// The most bytes of all commands.
    pub const MAX_COMMAND_BYTES: usize = 256 << 10;

    /// BLAKE3 of the canonical bytes.
    pub fn hash(&self) -> BlockHash {
        BlockHash::from_bytes(*blake3::hash(&encode(self)).as_bytes())
    }

    /// Checks the signatures of all commitments, reveals and commands.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, SignatureError> {
        self.commitments.iter().try_for_each(|commitment| commitment.check(network))?;
        self.reveals.iter().try_for_each(|reveal| reveal.check(network))?;
        self.commands.iter().try_for_each(|command| command.check(network))?;
        Ok(Verified::new(self))
    }
}
