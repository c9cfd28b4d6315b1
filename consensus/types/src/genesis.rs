//! The genesis: everything that the nodes of a network agree on before the first block.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::amount::{MicroUsdt, Ppm};
use crate::attestation::Capacity;
use crate::codec::{Wire, encode};
use crate::id::{NetworkId, NodeId, PayoutAddress, PoolId, SolidBlockId};
use crate::payout::VaultLimits;
use crate::policy::{Policy, PolicyError};
use crate::time::{Epoch, UnixMillis};
use crate::validator::{Validator, ValidatorSet, ValidatorSetError};

/// A network's genesis. Its text form is TOML; the [`NetworkId`] is the hash of the parsed structure's codec bytes,
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
    /// Workers that are registered from the start.
    #[serde(rename = "worker", default)]
    pub workers: Vec<GenesisWorker>,
    /// Pools that exist from the start.
    #[serde(rename = "pool", default)]
    pub pools: Vec<GenesisPool>,
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

/// A worker that is registered from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisWorker {
    /// Its key.
    pub node: NodeId,
    /// Who runs it.
    pub operator: NodeId,
    /// Where its payouts go.
    pub payout_address: PayoutAddress,
    /// The account from which its bridge pays for transactions; with one it stands as its pool's leader.
    #[serde(default)]
    pub gas_address: Option<PayoutAddress>,
    /// What it declares to offer.
    pub capacity: Capacity,
}

/// How a pool's budget is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitRule {
    /// In proportion to the sum of credits times score.
    CreditsTimesScore,
    /// In proportion to the sum of credits.
    Credits,
    /// Equally over members that earned any credit.
    Equal,
}

/// A pool that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisPool {
    /// Its name, unique in the network.
    pub name: String,
    /// Whose key directs it.
    pub owner: NodeId,
    /// Its workers.
    pub members: Vec<NodeId>,
    /// What it shares out for each settlement.
    pub budget: MicroUsdt,
    /// How.
    pub split: SplitRule,
    /// The owner's part of the budget.
    pub commission: Ppm,
    /// Where the owner's part goes.
    pub commission_address: PayoutAddress,
    /// The contract that pays.
    pub vault: Vault,
}

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

impl Wire for Genesis {
    const MAX_BYTES: usize = 4 << 20;
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
    /// Anything else, with where it stands.
    #[error("{place}: {problem}")]
    Entry {
        /// For example `pool "local"`.
        place: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl Genesis {
    /// The most workers: their scores of an epoch, their sums and what they are owed must fit their records.
    pub const MAX_WORKERS: usize = 10_000;
    /// The most pools.
    pub const MAX_POOLS: usize = 1_000;
    /// The most members of a pool: all accounts of a pool stand in one record.
    pub const MAX_MEMBERS: usize = 4_000;

    /// The longest name of a pool.
    pub const MAX_NAME_BYTES: usize = 64;

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
    /// Names the entry, what is wrong with it and what would be right.
    pub fn check(&self) -> Result<ValidatorSet, GenesisError> {
        self.policy.check()?;
        let set = ValidatorSet::new(self.validators.clone())?;
        for Validator { node, keys, .. } in set.members() {
            keys.check(node).map_err(|error| ValidatorSetError::Keys(*node, error))?;
        }
        for (place, count, most) in
            [("workers", self.workers.len(), Self::MAX_WORKERS), ("pools", self.pools.len(), Self::MAX_POOLS)]
        {
            if count > most {
                return Err(entry(place.to_owned(), format!("{count} are listed; a network has at most {most}")));
            }
        }
        let mut workers = BTreeSet::new();
        for worker in &self.workers {
            let place = || format!("worker {}", worker.node);
            if !workers.insert(worker.node) {
                return Err(entry(place(), "is listed twice"));
            }
            if !worker.capacity.is_plausible() {
                return Err(entry(place(), "capacity: bytes are at most 2^46 and bandwidth_kbit_s at most 2^31"));
            }
            self.check_payout_address(place, "payout_address", &worker.payout_address)?;
            if let Some(gas) = &worker.gas_address {
                self.check_payout_address(place, "gas_address", gas)?;
            }
        }
        self.check_pools(&workers)?;
        Ok(set)
    }

    fn check_pools(&self, workers: &BTreeSet<NodeId>) -> Result<(), GenesisError> {
        let (mut names, mut members, mut vaults) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for pool in &self.pools {
            let place = || format!("pool \"{}\"", pool.name);
            if !(1..=Self::MAX_NAME_BYTES).contains(&pool.name.len()) {
                return Err(entry(place(), format!("a name has 1 to {} bytes", Self::MAX_NAME_BYTES)));
            }
            if !names.insert(&pool.name) {
                return Err(entry(place(), "the name is used by another pool"));
            }
            if !vaults.insert(pool.vault.address) {
                return Err(entry(place(), "the vault belongs to another pool"));
            }
            if pool.members.len() > Self::MAX_MEMBERS {
                let problem = format!("{} members; a pool has at most {}", pool.members.len(), Self::MAX_MEMBERS);
                return Err(entry(place(), problem));
            }
            if pool.commission > Ppm::ONE {
                return Err(entry(place(), "commission is at most 1000000 (all of the budget)"));
            }
            for member in &pool.members {
                if !workers.contains(member) {
                    return Err(entry(place(), format!("member {member} is no registered worker")));
                }
                if !members.insert(*member) {
                    return Err(entry(place(), format!("member {member} is in two pools, or listed twice")));
                }
            }
            self.check_payout_address(place, "commission_address", &pool.commission_address)?;
            pool.vault.check().map_err(|problem| entry(place(), format!("vault: {problem}")))?;
        }
        Ok(())
    }

    /// The token and the vaults are refused as payout addresses.
    fn check_payout_address(
        &self,
        place: impl Fn() -> String,
        key: &str,
        address: &PayoutAddress,
    ) -> Result<(), GenesisError> {
        if *address == self.tron.usdt {
            return Err(entry(place(), format!("{key} is the USDT contract; give an account of your own")));
        }
        if self.pools.iter().any(|pool| pool.vault.address == *address) {
            return Err(entry(place(), format!("{key} is a pool's vault; give an account of your own")));
        }
        address.check_not_zero(key).map_err(|problem| entry(place(), problem))
    }

    /// The pools with their ids, in the order of the ids.
    pub fn pools_by_id(&self) -> Vec<(PoolId, &GenesisPool)> {
        let network = self.network_id();
        let mut pools: Vec<_> = self.pools.iter().map(|pool| (PoolId::derive(&network, &pool.name), pool)).collect();
        pools.sort_by_key(|(id, _)| *id);
        pools
    }
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

fn entry(place: String, problem: impl Into<String>) -> GenesisError {
    GenesisError::Entry { place, problem: problem.into() }
}
