//! Blocks: one for each epoch.

use serde::{Deserialize, Serialize};

use crate::codec::{MAX_MESSAGE_BYTES, Wire, encode};
use crate::commit::Commit;
use crate::id::NetworkId;
use crate::id::{BlockHash, Hash, NodeId, StateRoot};
use crate::payout::{PoolCommand, SettlementRoot};
use crate::report::Reveal;
use crate::signed::{MultiSigned, SignatureError, Signed, Verified};
use crate::time::{EpochNumber, UnixMillis};

/// The block that closes an epoch. What follows from it (credits, scores, rewards, leaders) is not written in it but
/// recomputed by everyone; `state_root` commits to the result. Payout roots are written in it although they follow, so that
/// the block and its certificate prove them to a treasury signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The epoch that it closes.
    pub height: EpochNumber,
    /// The block before; the network id for block 1.
    pub parent: BlockHash,
    /// Who built it.
    pub proposer: NodeId,
    /// Power-weighted median of the times in its commits, and greater than its parent's.
    pub time: UnixMillis,
    /// Commits, by epoch and signer: those of this epoch from more than two thirds of the power, and late ones of
    /// earlier epochs while their window is open.
    pub commits: Vec<Signed<Commit>>,
    /// Revealed reports, by epoch and signer, whose commits stand in earlier blocks.
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

    /// Checks the signatures of all commits, reveals and commands.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, SignatureError> {
        self.commits.iter().try_for_each(|commit| commit.check(network))?;
        self.reveals.iter().try_for_each(|reveal| reveal.check(network))?;
        self.commands.iter().try_for_each(|command| command.check(network))?;
        Ok(Verified::new(self))
    }
}
