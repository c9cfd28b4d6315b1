//! The genesis: everything that the nodes of a network agree on before the first block.

use serde::{Deserialize, Serialize};

use crate::codec::{Wire, encode};
use crate::id::{NetworkId, PayoutAddress, SolidBlockId};
use crate::policy::{Policy, PolicyError};
use crate::time::{Epoch, UnixMillis};
use crate::validator::{Validator, ValidatorSet, ValidatorSetError};

/// A network's genesis. Nodes and pools are none of it: they enter by commands. Its text form is TOML; the [`NetworkId`] is the hash of the parsed structure's codec bytes,
/// so spelling and comments do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// For people.
    pub name: String,
    /// Start of epoch 1.
    pub genesis_time: UnixMillis,
    /// Where payouts are made.
    pub tron: PaymentNetwork,
    /// Every parameter of the protocol.
    pub policy: Policy,
    /// The first validators.
    #[serde(rename = "validator")]
    pub validators: Vec<Validator>,
}

/// The payment network, pinned: a transaction carries no chain id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentNetwork {
    /// `mainnet`, `nile`, `shasta` or `local`; for people and defaults.
    pub network: String,
    /// Id of its block 0: a node refuses an endpoint that serves another.
    pub genesis_block: SolidBlockId,
    /// The USDT contract.
    pub usdt: PayoutAddress,
}

impl Wire for Genesis {
    /// One answer holds it: [`ValidatorSet::MAX_MEMBERS`] validators take less.
    const MAX_BYTES: usize = 512 << 10;
}

/// Why a genesis is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A parameter.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The validators.
    #[error(transparent)]
    Validators(#[from] ValidatorSetError),
    /// It does not fit into an answer of a peer.
    #[error("the genesis takes {0} bytes; it has at most {most}: shorten its names", most = Genesis::MAX_BYTES)]
    TooLong(usize),
}

impl Genesis {
    /// The network's id. Account ids and pool ids follow from it.
    pub fn network_id(&self) -> NetworkId {
        NetworkId::from_bytes(*blake3::hash(&encode(self)).as_bytes())
    }

    /// Start of an epoch; epoch 0 is the moment of genesis.
    pub fn epoch_start(&self, epoch: Epoch) -> UnixMillis {
        let elapsed = epoch.previous().get().saturating_mul(self.policy.epoch_ms);
        UnixMillis::new(self.genesis_time.get().saturating_add(elapsed))
    }

    /// End of an epoch (exclusive).
    pub fn epoch_end(&self, epoch: Epoch) -> UnixMillis {
        let elapsed = epoch.get().saturating_mul(self.policy.epoch_ms);
        UnixMillis::new(self.genesis_time.get().saturating_add(elapsed))
    }

    /// The epoch that covers `time`; 0 before the genesis time.
    pub fn epoch_at(&self, time: UnixMillis) -> Epoch {
        match time.checked_sub(self.genesis_time) {
            Some(elapsed) => Epoch::new(elapsed.get() / self.policy.epoch_ms.max(1) + 1),
            None => Epoch::ZERO,
        }
    }

    /// Checks all that a parser cannot, and returns the first validator set.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<ValidatorSet, GenesisError> {
        self.policy.check()?;
        let length = encode(self).len();
        if length > Self::MAX_BYTES {
            return Err(GenesisError::TooLong(length));
        }
        let set = ValidatorSet::new(self.validators.clone())?;
        for Validator { node, keys, .. } in set.members() {
            keys.check(node).map_err(|error| ValidatorSetError::Keys(*node, error))?;
        }
        Ok(set)
    }
}
