//! The contracts that pay for pools, and who signs for them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, PayoutAddress};
use crate::payout::VaultLimits;

/// A pool's vault contract and who signs for it. It must stand on the payment network as described here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// The contract.
    pub address: PayoutAddress,
    /// Changes of signers and limits that it has seen.
    pub nonce: u32,
    /// Its limits.
    pub limits: VaultLimits,
    /// Its signers.
    pub signers: SignerSet,
}

/// The treasury signers of an era, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerSet {
    /// Counts the sets that the vault has had, from 1.
    pub era: u32,
    /// Signatures needed: more than half of the signers.
    pub threshold: u8,
    /// Who signs, at most [`SignerSet::MAX`]. The vault's list has the same order.
    #[serde(rename = "signer")]
    pub members: Vec<TreasurySigner>,
}

/// A node that signs for a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreasurySigner {
    /// The node that is asked for the signature.
    pub node: NodeId,
    /// The address of the key it signs with.
    pub key_address: PayoutAddress,
}

impl Vault {
    /// The vault counts its changes in 24 bits.
    pub const MAX_NONCE: u32 = (1 << 24) - 1;

    /// Checks what the vault would refuse, and what would keep it from ever paying.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        self.signers.check()?;
        if self.nonce > Self::MAX_NONCE {
            return Err(format!("nonce {}; a vault sees at most {} changes", self.nonce, Self::MAX_NONCE));
        }
        self.limits.check()
    }
}

impl SignerSet {
    /// The most signers.
    pub const MAX: usize = 16;

    /// The signature threshold as a count.
    pub fn needed(&self) -> usize {
        usize::from(self.threshold)
    }

    /// Who signs with the key of this address.
    pub fn by_key(&self, key_address: &PayoutAddress) -> Option<&TreasurySigner> {
        self.members.iter().find(|signer| signer.key_address == *key_address)
    }

    /// Checks what the vault would refuse.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let (k, n) = (self.needed(), self.members.len());
        if !(1..=Self::MAX).contains(&n) {
            return Err(format!("{n} signers; there are 1 to {}", Self::MAX));
        }
        if k > n || k.saturating_mul(2) <= n {
            return Err(format!("threshold {k} of {n} signers; more than half and at most all must sign"));
        }
        let nodes: BTreeSet<_> = self.members.iter().map(|signer| signer.node).collect();
        let keys: BTreeSet<_> = self.members.iter().map(|signer| signer.key_address).collect();
        if nodes.len() != n || keys.len() != n {
            return Err("a signer is listed twice".into());
        }
        if keys.iter().any(|key| key.hash20() == [0; 20]) {
            return Err("a signer's key_address is the zero address".into());
        }
        if self.era == 0 {
            return Err("era 0; a vault's eras count from 1".into());
        }
        Ok(())
    }
}
