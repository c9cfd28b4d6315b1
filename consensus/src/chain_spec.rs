//! A network as its genesis fixes it. What blocks can change stands in the state.

use std::sync::Arc;

use lucid_types::genesis::{Genesis, GenesisError};
use lucid_types::id::NetworkId;
use lucid_types::policy::FixedPolicy;
use lucid_types::time::Height;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::ValidatorSets;

use crate::rules::{Rules, Standard};

/// A checked genesis. Immutable.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    id: NetworkId,
    genesis: Genesis,
    validators: Arc<ValidatorSet>,
    rules: &'static dyn Rules,
}

impl ChainSpec {
    /// Checks the genesis. Its nodes follow the [`Standard`] rules.
    ///
    /// # Errors
    /// As [`Genesis::check`].
    pub fn new(genesis: Genesis) -> Result<Self, GenesisError> {
        let validators = Arc::new(genesis.check()?);
        let id = genesis.network_id();
        Ok(Self { id, validators, genesis, rules: &Standard })
    }

    /// The same network with other rules, for a simulator that shows what comes of them.
    #[must_use]
    pub fn with_rules(self, rules: &'static dyn Rules) -> Self {
        Self { rules, ..self }
    }

    /// The rules that its nodes follow.
    pub const fn rules(&self) -> &'static dyn Rules {
        self.rules
    }

    /// The network's id.
    pub const fn id(&self) -> &NetworkId {
        &self.id
    }

    /// The genesis.
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The parameters that are the genesis' for ever. Of all others the state knows which are in force:
    /// [`Rows::policy`](crate::ledger::state::Rows::policy).
    pub const fn fixed(&self) -> FixedPolicy {
        self.genesis.policy.fixed()
    }

    /// The validators of the first blocks. Those of others are in the state.
    pub const fn first_validators(&self) -> &Arc<ValidatorSet> {
        &self.validators
    }

    /// The same as the beginning of all that follow.
    pub fn first_sets(&self) -> ValidatorSets {
        ValidatorSets::new(Height::ZERO, Arc::clone(&self.validators))
    }
}
