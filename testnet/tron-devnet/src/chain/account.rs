//! An account as the chain keeps it.

use std::sync::Arc;

use lucid_tron_types::proto;
use revm::primitives::{B256, KECCAK_EMPTY};

use super::resource::{Resource, Stake};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Sun.
    pub balance: u64,
    /// Given by its owner, or the contract's; may be no text.
    pub name: Vec<u8>,
    /// Created by a deployment.
    pub is_contract: bool,
    /// Milliseconds since the epoch of the block that created it; 0 for accounts of the genesis.
    pub created_at: u64,
    /// Milliseconds since the epoch of the head when it last acted.
    pub last_operation: u64,
    /// Bytes of free bandwidth in use at [`Self::free_net_slot`].
    pub free_net_usage: u64,
    /// Slot in which free bandwidth was last used.
    pub free_net_slot: u64,
    /// Stakes for bandwidth.
    pub bandwidth: Stake,
    /// Stakes for energy.
    pub energy: Stake,
    /// What it is unstaking, oldest first.
    pub unstaking: Vec<Unstaking>,
    /// Keccak-256 of the code.
    pub code_hash: B256,
    /// Set permissions; the rule for a single key applies without.
    pub permissions: Option<Arc<Permissions>>,
}

/// Staked TRX on its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unstaking {
    /// What it was staked for.
    pub resource: Resource,
    /// Sun.
    pub amount: u64,
    /// Milliseconds since the epoch from which it can be withdrawn.
    pub free_at: u64,
}

/// Permissions set by an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Permissions {
    /// Id 0.
    pub owner: proto::Permission,
    /// Ids from 2.
    pub actives: Vec<proto::Permission>,
}

impl Eq for Permissions {}

impl Account {
    /// An account that just came to be.
    pub fn new(created_at: u64) -> Self {
        Self {
            balance: 0,
            name: Vec::new(),
            is_contract: false,
            created_at,
            last_operation: 0,
            free_net_usage: 0,
            free_net_slot: 0,
            bandwidth: Stake::default(),
            energy: Stake::default(),
            unstaking: Vec::new(),
            code_hash: KECCAK_EMPTY,
            permissions: None,
        }
    }

    /// Its stakes for a resource.
    pub const fn stake(&self, resource: Resource) -> &Stake {
        match resource {
            Resource::Bandwidth => &self.bandwidth,
            Resource::Energy => &self.energy,
        }
    }

    pub(crate) const fn stake_mut(&mut self, resource: Resource) -> &mut Stake {
        match resource {
            Resource::Bandwidth => &mut self.bandwidth,
            Resource::Energy => &mut self.energy,
        }
    }

    /// Sun whose unstaking has ended at `time`.
    pub fn withdrawable(&self, time: u64) -> u64 {
        self.unstaking.iter().filter(|u| u.free_at <= time).fold(0, |sum, u| sum.saturating_add(u.amount))
    }
}
